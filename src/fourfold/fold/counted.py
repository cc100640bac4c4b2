"""What is counted, column by column, and all of it as one counts table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.counts import SCHEMA, empty, offsets_of, ragged
from fourfold.counts.binning import Floats, Ints
from fourfold.fold.groups import Groups


@dataclasses.dataclass(frozen=True)
class Counted:
    """The counts of one column in each of its groups: matrices of a row a group, and flat lists.

    ``counts`` belong to ``bins``, or to ``labels`` where there are some; ``sizes`` and ``register_sizes`` say how many
    each group has (None: no group has any).
    """

    column: str
    kind: str
    groups: Groups
    tallies: Ints
    sums: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    binning: int = 0
    bins: Ints | None = None
    labels: pa.Array | None = None
    counts: Ints | None = None
    sizes: Ints | None = None
    registers: Ints | None = None
    register_sizes: Ints | None = None


def counts_table(parts: Sequence[Counted]) -> pa.Table:
    """The counts table of several columns, one row a group: made at once, for a table costs more than small counts."""
    if not parts:
        return empty()
    rows = [part.groups.size for part in parts]
    sizes = np.concatenate([_of_groups(part.sizes, part, 0) for part in parts])
    register_sizes = np.concatenate([_of_groups(part.register_sizes, part, 0) for part in parts])
    labelled = np.repeat([part.labels is not None for part in parts], rows)
    labels = [pa.array([], pa.string()), *(part.labels for part in parts if part.labels is not None)]
    return pa.table(
        [
            _repeated([part.column for part in parts], rows),
            _repeated([part.kind for part in parts], rows),
            pa.concat_arrays([part.groups.slice_array for part in parts]),
            pa.concat_arrays([part.groups.bucket_array for part in parts]),
            pa.array(np.repeat([part.binning for part in parts], rows)),
            _matrices([part.tallies for part in parts], rows, pa.int64()),
            _matrices([_sums(part) for part in parts], rows, pa.float64()),
            pa.array(np.concatenate([_of_groups(part.low, part, np.nan) for part in parts])),
            pa.array(np.concatenate([_of_groups(part.high, part, np.nan) for part in parts])),
            ragged(_flat([part.bins for part in parts]), offsets_of(np.where(labelled, 0, sizes)), pa.int64()),
            ragged(pa.concat_arrays(labels), offsets_of(np.where(labelled, sizes, 0)), pa.string()),
            ragged(_flat([part.counts for part in parts]), offsets_of(sizes), pa.int64()),
            ragged(_flat([part.registers for part in parts]), offsets_of(register_sizes), pa.int32()),
        ],
        schema=SCHEMA,
    )


def _of_groups(values: npt.NDArray[Any] | None, part: Counted, default: float) -> npt.NDArray[Any]:
    """Values, one a group, where there are some; else the default for each."""
    return values if values is not None else np.full(part.groups.size, default)


def _flat(lists: list[Ints | None]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *(values for values in lists if values is not None)])


def _sums(part: Counted) -> Floats:
    return part.sums if part.sums is not None else np.zeros((part.groups.size, 0))


def _repeated(texts: list[str], rows: list[int]) -> pa.Array:
    return pa.array(texts, pa.string()).take(pa.array(np.repeat(np.arange(len(texts)), rows)))


def _matrices(matrices: list[npt.NDArray[Any]], rows: list[int], item: pa.DataType) -> pa.ListArray:
    """Matrices as one list column: a list a row."""
    widths = np.repeat([matrix.shape[1] for matrix in matrices], rows)
    return ragged(np.concatenate([matrix.ravel() for matrix in matrices]), offsets_of(widths), item)
