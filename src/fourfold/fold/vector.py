"""Vector columns (embeddings): their norm, and their projections on 16 fixed random directions."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.counts.binning import Floats

PROJECTIONS = 16


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column type is a list of numbers."""
    return bool(
        pa.types.is_list(kind) and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
    )


def first_width(array: pa.ListArray) -> int:
    """The length of a vector column's first vector that is not empty; 0 where there is none."""
    lengths = np.diff(array.offsets.to_numpy().astype(np.int64))
    valid = array.is_valid().to_numpy(zero_copy_only=False) & (lengths > 0)
    return int(lengths[valid][0]) if valid.any() else 0


def vector_parts(array: pa.ListArray, width: int) -> Iterator[tuple[str, Floats, npt.NDArray[np.bool_]]]:
    """Name suffix, values and validity of each part of a vector column.

    A vector counts as null where it is null, empty, holds a null, or is not as long as ``width``.
    """
    offsets = array.offsets.to_numpy().astype(np.int64)
    lengths = np.diff(offsets)
    valid = array.is_valid().to_numpy(zero_copy_only=False) & (lengths > 0)
    valid &= lengths == width
    flat = array.values.cast(pa.float64(), safe=False)
    values = flat.to_numpy(zero_copy_only=False)
    index = offsets[:-1][valid][:, None] + np.arange(width)
    matrix = values[index] if width else np.zeros((int(valid.sum()), 0))
    if flat.null_count:
        whole = ~flat.is_null().to_numpy(zero_copy_only=False)[index].any(axis=1)
        valid[np.flatnonzero(valid)[~whole]] = False
        matrix = matrix[whole]
    with np.errstate(over="ignore", invalid="ignore"):
        yield "norm", _spread(np.sqrt((matrix * matrix).sum(axis=1)), valid), valid
        projected = matrix @ directions(width)
        for i in range(PROJECTIONS):
            yield f"projection_{i:02d}", _spread(projected[:, i], valid), valid


@functools.lru_cache(maxsize=32)
def directions(width: int) -> Floats:
    """16 fixed random unit directions (width × 16): the same in every process, for a given width."""
    drawn = np.random.default_rng([20130101, width]).standard_normal((width, PROJECTIONS))
    unit: Floats = drawn / np.maximum(np.sqrt((drawn * drawn).sum(axis=0)), 1e-300)
    return unit


def _spread(values: Floats, valid: npt.NDArray[np.bool_]) -> Floats:
    out = np.zeros(len(valid))
    out[valid] = values
    return out
