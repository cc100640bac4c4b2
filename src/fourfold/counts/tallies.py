"""Counts without their bins, as matrices: what most metrics are functions of, added up in microseconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.counts import SIZED, Counts, lists
from fourfold.counts.binning import Binning, Floats, Ints

_NO_BINS = np.zeros(0, np.int64)


@dataclasses.dataclass(frozen=True, slots=True)
class Tallies:
    """The tallies, sums and extremes of one column's series of one kind, a row per series, bucket and binning.

    ``tallies`` is rows × names, ``sums`` too; ``slices`` says which slice a series is of.
    """

    column: str
    kind: str
    slices: Mapping[int, str]
    series: Ints
    buckets: Ints
    binnings: Ints
    tallies: Ints
    sums: Floats
    low: Floats
    high: Floats

    def __len__(self) -> int:
        return len(self.series)

    def rebucket(self, buckets: Ints) -> Tallies:
        """Each row in another bucket (a day, a window), added up."""
        if not len(self):
            return self
        keys = np.stack((buckets, self.series, self.binnings))
        order = np.lexsort(keys[::-1])
        keys = keys[:, order]
        first = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)))
        with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is said to, by the metric
            return dataclasses.replace(
                self,
                buckets=keys[0, first],
                series=keys[1, first],
                binnings=keys[2, first],
                tallies=np.add.reduceat(self.tallies[order], first),
                sums=np.add.reduceat(self.sums[order], first),
                low=np.fmin.reduceat(self.low[order], first),
                high=np.fmax.reduceat(self.high[order], first),
            )

    def rows(self, binnings: Mapping[tuple[str, int], Binning]) -> Iterator[tuple[tuple[int, str], Counts]]:
        """Each row's bucket and slice, and its counts; ``binnings`` is by column and version."""
        columns = (
            self.series, self.buckets, self.binnings, self.tallies, self.sums, self.low, self.high
        )  # fmt: skip
        for series, bucket, version, tallies, sums, low, high in zip(*(c.tolist() for c in columns), strict=True):
            found = Counts(
                self.kind, tallies, sums, low, high, _NO_BINS, [], _NO_BINS, _NO_BINS,
                binnings.get((self.column, version % SIZED)), self.column,
            )  # fmt: skip
            yield (bucket, self.slices[series]), found


def of_table(table: pa.Table, column: str, kind: str) -> Tallies:
    """The tallies of a counts table that holds one column's series of one kind."""
    slices = table["slice"].combine_chunks().dictionary_encode()
    return Tallies(
        column,
        kind,
        slices=dict(enumerate(slices.dictionary.to_pylist())),
        series=slices.indices.to_numpy().astype(np.int64),
        buckets=table["bucket"].to_numpy(),
        binnings=table["binning"].to_numpy().astype(np.int64),
        tallies=as_matrix(lists(table["tallies"])[0], table.num_rows),
        sums=as_matrix(lists(table["sums"])[0], table.num_rows),
        low=table["low"].to_numpy(),
        high=table["high"].to_numpy(),
    )


def as_matrix(flat: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """Numbers that stand row after row, as many in each, as rows × numbers."""
    return flat.reshape(rows, len(flat) // max(rows, 1))
