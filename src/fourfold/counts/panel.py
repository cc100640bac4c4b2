"""The counts of one column's series of one kind, as matrices: the input of answers by window and slice."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.counts.binning import Binning, Floats, Ints
from fourfold.counts.entry import Counts
from fourfold.counts.kinds import KINDS
from fourfold.counts.lists import lists, offsets_of
from fourfold.counts.sizes import SIZED
from fourfold.counts.summing import summed

_NO_BINS = np.zeros(0, np.int64)
_CELLS = 1 << 14  # of a block, so that what is made of it stays in the processor's cache
Place = tuple[int, str]  # a bucket, or the number of a window, and a slice


class Block(NamedTuple):
    """Rows of about as many bins; ``bins`` and ``counts`` are rows × bins, with −1 and 0 beyond a row's last bin."""

    rows: Ints
    bins: npt.NDArray[np.int32]
    counts: npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """A row per series, bucket and binning; ``slices`` is each series' slice.

    ``tallies`` is rows × names, ``sums`` too. ``bins`` are those of each row, packed as 32-bit integers, and
    ``numbers`` their counts, packed as ``width``; both are empty where bins were not asked for. ``known`` has the
    binnings, by column and version. Kinds that count by label have no panel with bins.
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
    bins: Sequence[bytes] = ()
    numbers: Sequence[bytes] = ()
    width: str = "<i4"
    known: Mapping[tuple[str, int], Binning] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, counts: Counts) -> Panel:
        """One row."""
        bins, numbers = counts.bins, counts.counts
        if not (bins[1:] > bins[:-1]).all():
            bins, numbers, _ = summed(np.zeros(len(bins), np.int64), bins, numbers, 1)
        width = "<f8" if numbers.dtype.kind == "f" else "<i8"
        return cls(
            column=counts.column,
            kind=counts.kind,
            slices={0: ""},
            series=np.zeros(1, np.int64),
            buckets=np.zeros(1, np.int64),
            binnings=np.zeros(1, np.int64),
            tallies=np.array([counts.tallies]),
            sums=np.array([counts.sums], np.float64),
            low=np.array([counts.low]),
            high=np.array([counts.high]),
            bins=[bins.astype("<i4").tobytes()],
            numbers=[numbers.astype(width).tobytes()],
            width=width,
            known={} if counts.binning is None else {(counts.column, 0): counts.binning},
        )

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[tuple[Place, Counts]]:
        return zip(self.places, self._counts(range(len(self))), strict=True)

    @property
    def places(self) -> list[Place]:
        """Each row's bucket and slice."""
        return [(bucket, self.slices[s]) for bucket, s in zip(self.buckets.tolist(), self.series.tolist(), strict=True)]

    @property
    def binning(self) -> Binning | None:
        """The binning of its rows, where they are all on one (see ``is_aligned``)."""
        return self.known.get((self.column, int(self.binnings[0]) % SIZED)) if len(self) else None

    @property
    def is_aligned(self) -> bool:
        """Whether all rows are on the same version of the binning, and of the usual size: each place has one row."""
        return bool((self.binnings == self.binnings[:1]).all())

    def tally(self, name: str) -> Ints:
        """Each row's exact count of that name, as listed in ``KINDS``."""
        column: Ints = self.tallies[:, KINDS[self.kind].tallies.index(name)]
        return column

    def row(self, i: int) -> Counts:
        """One row's counts."""
        return next(self._counts(range(i, i + 1)))

    def _counts(self, rows: range) -> Iterator[Counts]:
        matrices = (self.tallies, self.sums, self.low, self.high, self.binnings)
        columns = (matrix[rows.start : rows.stop].tolist() for matrix in matrices)  # faster as Python numbers
        for i, tallies, sums, low, high, binning in zip(rows, *columns, strict=True):
            bins, counts = _NO_BINS, _NO_BINS
            if self.bins:
                bins = np.frombuffer(self.bins[i], "<i4").astype(np.int64)
                counts = np.frombuffer(self.numbers[i], self.width)
                counts = counts.astype(np.int64) if counts.dtype.kind == "i" else counts
            known = self.known.get((self.column, binning % SIZED))
            yield Counts(self.kind, tallies, sums, low, high, bins, [], counts, _NO_BINS, known, self.column)

    def blocks(self) -> Iterator[Block]:
        """All rows that have bins, in blocks of about as many bins."""
        sizes = np.array([len(packed) // 4 for packed in self.bins], np.int64)
        order = np.argsort(sizes, kind="stable")
        order = order[np.searchsorted(sizes[order], 1) :]
        lengths, item, start = sizes[order].tolist(), np.dtype(self.width).itemsize, 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * lengths[end] <= _CELLS:
                end += 1
            rows, size = order[start:end], lengths[end - 1]
            at = rows.tolist()
            bins = b"".join([self.bins[i].ljust(4 * size, b"\xff") for i in at])
            numbers = b"".join([self.numbers[i].ljust(item * size, b"\0") for i in at])
            yield Block(
                rows,
                np.frombuffer(bins, "<i4").reshape(-1, size),
                np.frombuffer(numbers, self.width).reshape(-1, size),
            )
            start = end

    def rebucket(self, buckets: Ints) -> Panel:
        """Each row in another bucket (a day, a window), added up."""
        if not len(self):
            return self
        keys = np.stack((buckets, self.series, self.binnings))
        order = np.lexsort(keys[::-1])
        keys = keys[:, order]
        new = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))
        first = np.flatnonzero(new)
        bins, numbers, width = self._added(order, new)
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
                bins=bins,
                numbers=numbers,
                width=width,
            )

    def _added(self, order: Ints, new: npt.NDArray[np.bool_]) -> tuple[Sequence[bytes], Sequence[bytes], str]:
        """The bins of rows in an order, each added to the new one before it."""
        at = order.tolist()
        bins, numbers = [self.bins[i] for i in at if self.bins], [self.numbers[i] for i in at if self.numbers]
        if not bins or new.all():
            return bins, numbers, self.width
        group = np.repeat(np.cumsum(new) - 1, [len(packed) // 4 for packed in bins])
        flat = (np.frombuffer(b"".join(bins), "<i4"), np.frombuffer(b"".join(numbers), self.width))
        codes, counts, sizes = summed(group, flat[0].astype(np.int64), flat[1].astype(np.int64), int(new.sum()))
        return cut(codes, sizes, "<i4"), cut(counts, sizes, "<i8"), "<i8"


def of_table(table: pa.Table, column: str, kind: str, *, bins: bool) -> Panel:
    """The panel of a counts table that holds one column's series of one kind, with its bins or without."""
    slices = table["slice"].combine_chunks().dictionary_encode()
    counts, sizes = lists(table["counts"])
    return Panel(
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
        bins=cut(lists(table["bins"])[0], sizes, "<i4") if bins else (),
        numbers=cut(counts, sizes, "<i8") if bins else (),
        width="<i8",
    )


def as_matrix(flat: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """Numbers row after row, equally many in each, as rows × numbers."""
    return flat.reshape(rows, len(flat) // max(rows, 1))


def cut(flat: npt.NDArray[Any], sizes: Ints, width: str) -> list[bytes]:
    """Values row after row, so many in each, as packed rows."""
    packed = flat.astype(width).tobytes()
    ends = (offsets_of(sizes) * np.dtype(width).itemsize).tolist()
    return [packed[start:end] for start, end in itertools.pairwise(ends)]
