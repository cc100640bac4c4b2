"""The cells of a column: fixed by its first data, and what its later buckets are compared with."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from fourfold.counts.binning import Binning, Floats, Ints
from fourfold.counts.sizes import SIZED
from fourfold.model import OTHER, VERSIONS, Owner, Series, slice_names
from fourfold.state.bulk import StoredCounts
from fourfold.state.packing import unpack_counts, unpack_labels

CELLS = 16
ANCHOR_RECORDS, ANCHOR_BUCKETS = 100, 60  # records that fix a column's cells, and in how many first buckets at most
_WORN = 0.4  # of the records in one cell


@dataclasses.dataclass
class Anchor:
    """The cells of a series, and what its buckets are compared with.

    ``edges`` divide numbers; ``labels`` are a category's most frequent values, and ``seen`` all that it had.
    ``reference`` are the cells of recent buckets, older ones counting less.
    """

    edges: list[float] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    seen: set[str] = dataclasses.field(default_factory=set)
    reference: Floats = dataclasses.field(default_factory=lambda: np.zeros(CELLS))
    since: int = 0  # the first bucket with values: before it, there was no such column
    coarse: bool = False  # some value is so frequent that no other cells would tell more
    generation: int = 0

    @property
    def is_worn(self) -> bool:
        """Whether the numbers have moved into so few of the cells that others would tell more."""
        whole = float(self.reference.sum())
        return bool(self.edges) and not self.coarse and float(self.reference.max()) > _WORN * whole > 0


Identity = tuple[str, str, str, str]  # stream, column, kind, slice


def anchored(
    found: Sequence[tuple[Owner, Series]],
    stored: StoredCounts,
    binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]],
    anchors: dict[Identity, Anchor],
    before: int,
) -> None:
    """Fix the cells of series: those that have none from their first data, where these are enough; worn ones from
    their newest before a bucket.
    """
    places = {series.id: (owner, series) for owner, series in judged(found)}
    rows: dict[int, list[int]] = {}
    for i in np.argsort(stored.buckets, kind="stable").tolist():
        if (id_ := int(stored.series[i])) in places:
            rows.setdefault(id_, []).append(i)
    for id_, which in rows.items():
        owner, series = places[id_]
        known = anchors.get(identity_of(owner, series))
        if known is not None:
            which = [i for i in which[::-1] if stored.buckets[i] < before]
        anchor = _anchor(owner, series, stored, which, binnings)
        if anchor is not None:
            valued = [int(stored.buckets[i]) for i in which if stored.sizes[i]]
            anchor.generation = known.generation if known else 0
            anchor.since = known.since if known else min(valued, default=0)
            anchors[identity_of(owner, series)] = anchor
        elif known is not None:
            known.coarse = True


def without_anchor(
    found: Sequence[tuple[Owner, Series]], anchors: Mapping[Identity, Anchor]
) -> list[tuple[Owner, Series]]:
    """The series whose cells are not fixed yet, or are worn."""
    found = [entry for entry in judged(found) if entry[1].kind != "opaque"]
    known = ((entry, anchors.get(identity_of(*entry))) for entry in found)
    return [entry for entry, anchor in known if anchor is None or anchor.is_worn]


def _anchor(
    owner: Owner, series: Series, stored: StoredCounts, rows: Sequence[int],
    binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]],
) -> Anchor | None:  # fmt: skip
    if series.kind == "stream":
        return Anchor()
    if series.kind == "category":
        return _of_labels(stored, rows)
    return _of_numbers(series, stored, rows, binnings.get(owner, {})) if series.kind == "numeric" else None


def _of_labels(stored: StoredCounts, rows: Sequence[int]) -> Anchor | None:
    totals: Counter[str] = Counter()
    for i in rows:
        labels = unpack_labels(stored.bins[i], stored.sizes[i])
        totals.update(dict(zip(labels, unpack_counts(stored.counts[i], stored.sizes[i]), strict=True)))
        if totals.total() >= ANCHOR_RECORDS:
            break
    else:
        return None
    frequent = [label for label, _ in totals.most_common(CELLS - 1)]
    cells = np.zeros(CELLS)
    for label, number in totals.items():
        cells[frequent.index(label) if label in frequent else CELLS - 1] += number
    return Anchor([], frequent, set(totals), cells)


def _of_numbers(
    series: Series, stored: StoredCounts, rows: Sequence[int], binnings: Mapping[tuple[str, int], Binning]
) -> Anchor | None:
    middles, numbers, total = [], [], 0
    for i in rows[:ANCHOR_BUCKETS]:
        binning = binnings.get((series.column, int(stored.binnings[i]) % SIZED))
        if binning is None or not stored.sizes[i]:
            continue
        middles.append(binning.middles(np.frombuffer(stored.bins[i], "<i4").astype(np.int64)))
        numbers.append(counts_of(stored.counts[i], stored.sizes[i]))
        total += int(numbers[-1].sum())
        if total >= 8 * ANCHOR_RECORDS:
            break
    if total < ANCHOR_RECORDS:
        return None
    values, counted = np.concatenate(middles), np.concatenate(numbers)
    order = np.argsort(values)
    values, reached = values[order], np.cumsum(counted[order])
    edges = values[np.searchsorted(reached, total * np.arange(1, CELLS) / CELLS)]
    cells = np.bincount(np.searchsorted(edges, values, side="right"), counted[order], CELLS).astype(np.float64)
    return Anchor(edges.tolist(), reference=cells, coarse=float(cells.max()) > _WORN * total)


def judged(found: Sequence[tuple[Owner, Series]]) -> list[tuple[Owner, Series]]:
    """The series that are judged: without model versions, and without what stands for all other slices."""
    left_out = {
        text
        for text in {series.slice for _, series in found}
        if set(slice_names(text)) & set(VERSIONS) or f'"{OTHER}"' in text
    }
    return [entry for entry in found if entry[1].slice not in left_out]


def identity_of(owner: Owner, series: Series) -> Identity:
    """What identifies a series, though its number may change."""
    return owner.name, series.column, series.kind, series.slice


def counts_of(packed: bytes, size: int) -> Ints:
    """One row's counts."""
    return np.frombuffer(packed, "<i4" if len(packed) == 4 * size else "<i8").astype(np.int64)
