"""The counts of one series in one window, the input of every metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fourfold.counts.binning import Binning, Ints, bins_of
from fourfold.counts.kinds import KINDS
from fourfold.counts.lists import lists, offsets_of
from fourfold.counts.sizes import SIZED
from fourfold.counts.summing import largest_rank, summed

_PLACES = {kind: {name: i for i, name in enumerate(names.tallies)} for kind, names in KINDS.items()}
_NOT_FINITE = ("null", "nan", "positive_infinity", "negative_infinity")


@dataclasses.dataclass(slots=True)
class Counts:
    """The counts of one series in one window, the input of every metric."""

    kind: str
    tallies: list[int]
    sums: list[float]
    low: float
    high: float
    bins: Ints
    labels: list[str]
    counts: Ints
    registers: Ints
    binning: Binning | None = None
    column: str = ""

    def tally(self, name: str) -> int:
        """The exact count with a name from ``KINDS``."""
        return self.tallies[_PLACES[self.kind][name]]

    @property
    def finite(self) -> int:
        """The number of records with a finite value (numeric counts)."""
        return self.tally("rows") - sum(map(self.tally, _NOT_FINITE))

    @property
    def missing(self) -> int:
        """The number of records without a value: null, or NaN, since pandas does not tell them apart."""
        return self.tally("null") + (self.tally("nan") if self.kind == "numeric" else 0)

    def sum(self, name: str) -> float:
        """The sum with a name from ``KINDS``."""
        return self.sums[KINDS[self.kind].sums.index(name)]


def rows(table: pa.Table, binnings: dict[tuple[str, int], Binning]) -> Iterator[Counts]:
    """Each row as a ``Counts``; ``binnings`` is by column and version."""
    parts = {name: lists(table[name]) for name in ("tallies", "sums", "bins", "counts", "registers")}
    ends = {name: offsets_of(lengths).tolist() for name, (_, lengths) in parts.items()}
    tallies, sums = parts["tallies"][0].tolist(), parts["sums"][0].tolist()  # few per row: faster as Python numbers
    low, high = table["low"].to_numpy().tolist(), table["high"].to_numpy().tolist()
    kinds, columns, versions = (table[name].to_pylist() for name in ("kind", "column", "binning"))
    labels = table["labels"].to_pylist() if any(KINDS[kind].labelled for kind in set(kinds)) else None
    nothing = parts["bins"][0][:0]

    def cut(name: str, i: int) -> Any:
        start, end = ends[name][i], ends[name][i + 1]
        return parts[name][0][start:end] if end > start else nothing

    for i, (kind, column, version) in enumerate(zip(kinds, columns, versions, strict=True)):
        yield Counts(
            kind=kind,
            tallies=tallies[ends["tallies"][i] : ends["tallies"][i + 1]],
            sums=sums[ends["sums"][i] : ends["sums"][i + 1]],
            low=low[i],
            high=high[i],
            bins=cut("bins", i),
            labels=labels[i] if labels is not None else [],
            counts=cut("counts", i),
            registers=cut("registers", i),
            binning=binnings.get((column, version % SIZED)),
            column=column,
        )


def total(parts: Sequence[Counts]) -> Counts:
    """The sum of counts of one series; all must have the same kind and binning."""
    head = parts[0]
    if len(parts) == 1:
        return head
    labels = list(dict.fromkeys(label for part in parts for label in part.labels))
    place = {label: i for i, label in enumerate(labels)}
    codes = [place[label] for part in parts for label in part.labels] or np.concatenate([p.bins for p in parts])
    numbers = np.concatenate([p.counts for p in parts])
    codes, numbers, _ = summed(np.zeros(len(numbers), np.int64), np.asarray(codes, np.int64), numbers, 1)
    registers = np.unique(np.concatenate([p.registers for p in parts]))
    return Counts(
        kind=head.kind,
        tallies=[sum(column) for column in zip(*(p.tallies for p in parts), strict=True)],
        sums=[sum(column) for column in zip(*(p.sums for p in parts), strict=True)],
        low=float(np.fmin.reduce([p.low for p in parts])),
        high=float(np.fmax.reduce([p.high for p in parts])),
        bins=codes if not labels else codes[:0],
        labels=[labels[code] for code in codes] if labels else [],
        counts=numbers,
        registers=largest_rank(registers),
        binning=head.binning,
        column=head.column,
    )


def reproject(counts: Counts, target: Binning) -> Counts:
    """Numeric counts on other bins: each old bin goes where its middle falls; sums are converted exactly."""
    source = counts.binning
    if source is None or source == target or counts.kind != "numeric":
        return counts
    finite = counts.finite  # not the sum of the bins: these may not have been read
    shift, ratio = (source.centre - target.centre) / target.scale, source.scale / target.scale
    offset, squared = counts.sums
    sums = [
        ratio * offset + finite * shift,
        ratio * ratio * squared + 2 * ratio * shift * offset + finite * shift * shift,
    ]
    middles = np.clip(source.middles(counts.bins), counts.low, counts.high)
    bins, where = np.unique(bins_of(middles, target), return_inverse=True)
    moved = np.zeros(len(bins), np.int64)
    np.add.at(moved, where, counts.counts)
    return dataclasses.replace(counts, sums=sums, bins=bins, counts=moved, binning=target)
