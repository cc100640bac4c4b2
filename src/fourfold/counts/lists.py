"""List columns of Arrow as flat values with the lengths or offsets of their rows, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.counts.binning import Ints


def ragged(values: npt.NDArray[Any] | pa.Array, offsets: Ints, item: pa.DataType) -> pa.ListArray:
    """A list column from flat values and the n+1 offsets of its rows.

    Raises:
        OverflowError: the rows have more values than a list column can hold.
    """
    if offsets[-1] >= 1 << 31:
        raise OverflowError(f"{offsets[-1]:,} values are more than the rows of one list column can hold")
    flat = values if isinstance(values, pa.Array) else _array(values, item)
    return pa.ListArray.from_arrays(_array(offsets, pa.int32()), flat)


def _array(values: npt.NDArray[Any], item: pa.DataType) -> pa.Array:
    """As ``pa.array(values, item)``, which takes six times as long where it is given a type."""
    return pa.array(values.astype(item.to_pandas_dtype(), copy=False))


def offsets_of(lengths: npt.NDArray[np.integer[Any]]) -> Ints:
    """Row lengths to the n+1 offsets of a list column."""
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def lists(column: pa.ChunkedArray) -> tuple[npt.NDArray[Any], Ints]:
    """A list column of numbers as its flat values and row lengths."""
    combined = column.combine_chunks()
    return combined.flatten().to_numpy(zero_copy_only=False), lengths_of(combined)


def lengths_of(column: pa.ListArray) -> Ints:
    """The length of each list."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    lengths: Ints = np.diff(offsets)
    return lengths
