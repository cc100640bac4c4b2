"""Streams and their columns as signals: every series of a project, bucket by bucket, as arrays.

The first data of a column fix 16 cells (quantiles of a number, the most frequent values of a category), from which its
location, spread and shape are read off. Nothing here grows with the number of records.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fourfold.counts import KINDS
from fourfold.counts.binning import Binning, Floats, Ints, bins_of
from fourfold.counts.sizes import SIZED
from fourfold.model import EVERYTHING, OTHER, VERSIONS, Owner, Series, slice_names
from fourfold.state.bulk import StoredCounts
from fourfold.state.packing import unpack_counts, unpack_labels
from fourfold.watch.signals import measures
from fourfold.watch.signals.measures import Measure

CELLS = 16
ANCHOR_RECORDS, ANCHOR_BUCKETS = 200, 28  # records that fix a column's cells, and in how many first buckets at most
FEWEST = 30  # records of a bucket from which a distribution is judged
_DECAY = 0.5 ** (1 / 14)  # of the reference of ``shape``: half after 14 buckets
_KNOWN = 512  # categories remembered as seen


@dataclasses.dataclass(frozen=True, slots=True)
class Signal:
    """A measure of a series: what is judged."""

    stream: str
    column: str
    slice: str
    measure: Measure

    @property
    def key(self) -> str:
        """Its identity, the same in each check."""
        return json.dumps(["stream", self.stream, self.column, self.slice, self.measure.name], ensure_ascii=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Readings:
    """One bucket of some signals: the working value (NaN: nothing is known) with its sampling variance, and n."""

    bucket: int
    signals: Sequence[Signal]
    values: Floats
    noise: Floats
    n: Floats


@dataclasses.dataclass
class Anchor:
    """What a column's first data fixed: the edges of its cells, or its most frequent labels and all labels seen."""

    edges: list[float] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    seen: set[str] = dataclasses.field(default_factory=set)
    reference: Floats = dataclasses.field(default_factory=lambda: np.zeros(CELLS))
    start: Floats = dataclasses.field(default_factory=lambda: np.zeros(CELLS))  # the first data's cells

    def to_plain(self) -> list[Any]:
        """As JSON can hold it."""
        return [self.edges, self.labels, sorted(self.seen), self.reference.tolist(), self.start.tolist()]

    @staticmethod
    def from_plain(fields: Sequence[Any]) -> Anchor:
        """The inverse of ``to_plain``."""
        return Anchor(list(fields[0]), list(fields[1]), set(fields[2]), np.array(fields[3]), np.array(fields[4]))


Identity = tuple[str, str, str, str]  # stream, column, kind, slice


class ColumnSignals:
    """All series of some streams, over the buckets of one stretch of time.

    Args:
        found: the series, with their owners.
        stored: their counts in ``buckets``, which follow each other without gaps.
        buckets: the buckets' starts.
        logged: the streams whose records are logged; of others, a bucket without records says nothing.
        binnings: by owner, column and version.
        anchors: what first data fixed, by series; changed here as buckets are learned.
    """

    def __init__(
        self,
        found: Sequence[tuple[Owner, Series]],
        stored: StoredCounts,
        buckets: Sequence[int],
        logged: Mapping[str, tuple[int, int]],
        binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]],
        anchors: dict[Identity, Anchor],
    ) -> None:
        self.buckets = buckets
        self._found, self._anchors, self._logged = _judged(found), anchors, logged
        self._place = {series.id: i for i, (_, series) in enumerate(self._found)}
        size, step = len(self._found), buckets[1] - buckets[0] if len(buckets) > 1 else 1
        kept = np.array([id_ in self._place for id_ in stored.series.tolist()], bool)
        self._rows = np.flatnonzero(kept)
        self._at = np.array([self._place[id_] for id_ in stored.series[kept].tolist()], np.int64)
        self._when = (stored.buckets[kept] - buckets[0]) // step
        self._tally = {name: np.zeros((size, len(buckets))) for name in _TALLIES}
        self._cells = np.zeros((size, len(buckets), CELLS), np.float32)
        self._labels: dict[tuple[int, int], list[str]] = {}
        self._fill(stored, binnings)
        known = [anchors.get(_identity(*entry)) or Anchor() for entry in self._found]
        starts = np.array([anchor.start for anchor in known]).reshape(-1, CELLS)
        self._start = starts / np.maximum(starts.sum(axis=1, keepdims=True), 1)
        self._reference = np.array([anchor.reference for anchor in known]).reshape(-1, CELLS)
        spans = [logged.get(owner.name, (2**62, 0)) for owner, _ in self._found]
        self._first, self._last = np.array(spans, np.int64).reshape(-1, 2).T
        self._whole = self._wholes()
        self.signals, self._columns = self._signals()
        self._series = np.array([i for i, _ in self._columns], np.int64)
        self._of_measure: dict[str, list[int]] = {}
        for j, (_, measure) in enumerate(self._columns):
            self._of_measure.setdefault(measure.name, []).append(j)

    def _fill(self, stored: StoredCounts, binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]]) -> None:
        kinds = np.array([series.kind for _, series in self._found] or [""])[self._at]
        for kind in ("stream", "numeric", "category", "opaque"):
            chosen = np.flatnonzero(kinds == kind)
            if not len(chosen):
                continue
            rows = self._rows[chosen]
            packed = b"".join(stored.tallies[i] for i in rows.tolist())
            tallies = np.frombuffer(packed, "<i8").reshape(len(rows), -1)
            place = self._at[chosen], self._when[chosen]
            for name, values in zip(KINDS[kind].tallies, tallies.T, strict=True):
                if name in self._tally:
                    np.add.at(self._tally[name], place, values)
            if kind == "numeric":
                self._fill_numbers(stored, rows, place, binnings)
            elif kind == "category":
                self._fill_labels(stored, rows, place)

    def _fill_numbers(
        self, stored: StoredCounts, rows: Ints, place: tuple[Ints, Ints],
        binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]],
    ) -> None:  # fmt: skip
        """The cells of all rows at once: bins and edges, each raised by its row's own offset, searched in one go."""
        used: dict[tuple[int, int], int] = {}
        edges: list[Ints] = []
        pair = np.full(len(rows), -1)
        versions = (stored.binnings[rows] % SIZED).tolist()
        for k, (at, version) in enumerate(zip(place[0].tolist(), versions, strict=True)):
            if (number := used.get((at, version))) is None:
                owner, series = self._found[at]
                binning = binnings.get(owner, {}).get((series.column, version))
                anchor = self._anchors.get(_identity(owner, series))
                number = -1
                if binning is not None and anchor is not None and len(anchor.edges) == CELLS - 1:
                    number = len(edges)
                    edges.append(bins_of(np.array(anchor.edges), binning))
                used[at, version] = number
            pair[k] = number
        chosen = np.flatnonzero(pair >= 0)
        if not len(chosen):
            return
        taken = rows[chosen].tolist()
        sizes = np.array([stored.sizes[i] for i in taken], np.int64)
        bins = np.frombuffer(b"".join(stored.bins[i] for i in taken), "<i4").astype(np.int64)
        numbers = np.concatenate([_counts(stored.counts[i], stored.sizes[i]) for i in taken])
        row = np.repeat(np.arange(len(taken)), sizes)
        span = np.int64(1) << 33
        flat = np.concatenate([e + span * i for i, e in enumerate(edges)])
        group = pair[chosen][row]
        cell = np.searchsorted(flat, bins + span * group, side="right") - group * (CELLS - 1)
        np.add.at(self._cells, (place[0][chosen][row], place[1][chosen][row], cell), numbers)

    def _fill_labels(self, stored: StoredCounts, rows: Ints, place: tuple[Ints, Ints]) -> None:
        lookups: dict[int, tuple[dict[str, int], set[str]] | None] = {}
        for i, at, when in zip(rows.tolist(), place[0].tolist(), place[1].tolist(), strict=True):
            if at not in lookups:
                anchor = self._anchors.get(_identity(*self._found[at]))
                places = {label: j for j, label in enumerate(anchor.labels)} if anchor else {}
                lookups[at] = (places, anchor.seen) if anchor else None
            lookup = lookups[at]
            if lookup is None:
                continue
            labels = list(unpack_labels(stored.bins[i], stored.sizes[i]))
            cells, seen = lookup
            for label, number in zip(labels, unpack_counts(stored.counts[i], stored.sizes[i]), strict=True):
                self._cells[at, when, cells.get(label, CELLS - 1)] += number
                if label not in seen:
                    self._tally["new"][at, when] += number
                    self._labels.setdefault((at, when), []).append(label)

    def _signals(self) -> tuple[list[Signal], list[tuple[int, Measure]]]:
        both = {(owner, series.column) for owner, series in self._found if series.kind == "category"}
        signals, columns = [], []
        for i, (owner, series) in enumerate(self._found):
            for measure in _measures(series, owner.name in self._logged, (owner, series.column) in both):
                signals.append(Signal(owner.name, series.column, series.slice, measure))
                columns.append((i, measure))
        return signals, columns

    def readings(self, t: int) -> Readings:
        """All signals in the t-th bucket."""
        by_measure = self._by_measure(t)
        values, noise, n = (np.full(len(self._columns), np.nan) for _ in range(3))
        for name, which in self._of_measure.items():
            series = self._series[which]
            value, variance, count = by_measure[name]
            values[which], noise[which], n[which] = value[series], variance[series], count[series]
        return Readings(self.buckets[t], self.signals, values, noise, n)

    def _by_measure(self, t: int) -> dict[str, tuple[Floats, Floats, Floats]]:
        """Each measure's working value, its variance and n, of all series."""
        rows = self._tally["rows"][:, t]
        cells = self._cells[:, t].astype(np.float64)
        within = cells.sum(axis=1)
        enough = within >= FEWEST
        start, reference = self._start, self._reference
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = rows[self._whole]
            nulls = self._tally["null"][:, t] + self._tally["nan"][:, t]
            infinite = self._tally["positive_infinity"][:, t] + self._tally["negative_infinity"][:, t]
            valued = rows - nulls
            position = np.cumsum(start, axis=1) - start / 2
            share = cells / within[:, None]
            location = np.where(enough, (share * position).sum(axis=1), np.nan)
            spread = np.where(enough, (share * np.abs(2 * position - 1)).sum(axis=1), np.nan)
            old = reference / reference.sum(axis=1, keepdims=True)
            squared = ((np.sqrt(share) - np.sqrt(old)) ** 2).sum(axis=1) / 2
            used = np.maximum((np.maximum(share, old) > 0).sum(axis=1), 2)
            size = 1 / (1 / within + 1 / np.maximum(reference.sum(axis=1), 1))
            by_chance = np.sqrt((used - 1) / (8 * size))
            shape = np.where(enough & np.isfinite(squared), np.sqrt(squared) - by_chance, np.nan)
            return {
                "rows": self._rows_of(t, rows),
                "share": _rate(rows, whole),
                "null_key_rate": _rate(self._tally["null_key"][:, t], rows),
                "duplicate_rate": _rate(self._tally["duplicate_key"][:, t], rows),
                "null_rate": _rate(nulls, rows),
                "negative_rate": _rate(self._tally["negative"][:, t], valued),
                "infinite_rate": _rate(infinite, valued),
                "new_rate": _rate(self._tally["new"][:, t], np.where(within > 0, within, np.nan)),
                "location": (location, 1 / (12 * within), within),
                "spread": (spread, 1 / (12 * within), within),
                "shape": (shape, 1 / (16 * size), within),
            }

    def _rows_of(self, t: int, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """The volume: known to be nothing only between a stream's first bucket and the last that has come."""
        known = (self._first <= self.buckets[t]) & (self.buckets[t] <= self._last)
        usual = self._reference.sum(axis=1) * (1 - _DECAY)
        value = np.where(known, np.log1p(rows), np.nan)
        return value, 1 / np.maximum(np.maximum(rows, 0.05 * usual), 1.0), rows

    def learn(self, t: int, changed: npt.NDArray[np.bool_]) -> None:
        """Let the references move on to the t-th bucket, but for the series that have changed."""
        moving = np.ones(len(self._found), bool)
        moving[self._series[changed]] = False
        streams = np.array([series.kind == "stream" for _, series in self._found], bool)
        cells = self._cells[:, t].astype(np.float64)
        cells[streams, 0] = self._tally["rows"][streams, t]
        moving &= streams | cells.any(axis=1)
        self._reference[moving] = self._reference[moving] * _DECAY + cells[moving]
        for (i, when), labels in self._labels.items():
            if when == t and moving[i] and (anchor := self._anchors.get(_identity(*self._found[i]))) is not None:
                anchor.seen.update(labels[: max(_KNOWN - len(anchor.seen), 0)])

    def keep(self) -> None:
        """Write what was learned into the anchors."""
        for i, entry in enumerate(self._found):
            if (anchor := self._anchors.get(_identity(*entry))) is not None:
                anchor.reference = self._reference[i].copy()

    def _wholes(self) -> Ints:
        """For each series, the place of its stream's series of all records, for shares."""
        whole = {owner: i for i, (owner, s) in enumerate(self._found) if s.kind == "stream" and s.slice == EVERYTHING}
        return np.array([whole.get(owner, i) for i, (owner, _) in enumerate(self._found)], np.int64)


_TALLIES = (
    "rows", "null_key", "duplicate_key", "null", "nan", "positive_infinity", "negative_infinity", "negative", "new",
)  # fmt: skip


def anchored(
    found: Sequence[tuple[Owner, Series]],
    stored: StoredCounts,
    binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]],
    anchors: dict[Identity, Anchor],
) -> None:
    """Fix the cells of series that have none yet, from their first data, where these are enough."""
    places = {series.id: (owner, series) for owner, series in _judged(found)}
    rows: dict[int, list[int]] = {}
    for i in np.argsort(stored.buckets, kind="stable").tolist():
        if (id_ := int(stored.series[i])) in places and _identity(*places[id_]) not in anchors:
            rows.setdefault(id_, []).append(i)
    for id_, which in rows.items():
        owner, series = places[id_]
        anchor = _anchor(owner, series, stored, which, binnings)
        if anchor is not None:
            anchors[_identity(owner, series)] = anchor


def _anchor(
    owner: Owner, series: Series, stored: StoredCounts, rows: Sequence[int],
    binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]],
) -> Anchor | None:  # fmt: skip
    if series.kind == "stream":
        return Anchor()
    if series.kind == "category":
        return _anchor_of_labels(stored, rows)
    return _anchor_of_numbers(series, stored, rows, binnings.get(owner, {})) if series.kind == "numeric" else None


def _anchor_of_labels(stored: StoredCounts, rows: Sequence[int]) -> Anchor | None:
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
    return Anchor([], frequent, set(totals), cells, cells)


def _anchor_of_numbers(
    series: Series, stored: StoredCounts, rows: Sequence[int], binnings: Mapping[tuple[str, int], Binning]
) -> Anchor | None:
    middles, numbers, total = [], [], 0
    for i in rows[:ANCHOR_BUCKETS]:
        binning = binnings.get((series.column, int(stored.binnings[i]) % SIZED))
        if binning is None or not stored.sizes[i]:
            continue
        middles.append(binning.middles(np.frombuffer(stored.bins[i], "<i4").astype(np.int64)))
        numbers.append(_counts(stored.counts[i], stored.sizes[i]))
        total += int(numbers[-1].sum())
        if total >= 4 * ANCHOR_RECORDS:
            break
    if total < ANCHOR_RECORDS:
        return None
    values, counted = np.concatenate(middles), np.concatenate(numbers)
    order = np.argsort(values)
    values, reached = values[order], np.cumsum(counted[order])
    edges = values[np.searchsorted(reached, total * np.arange(1, CELLS) / CELLS)]
    cells = np.bincount(np.searchsorted(edges, values, side="right"), counted[order], CELLS).astype(np.float64)
    return Anchor(edges.tolist(), reference=cells, start=cells)


def _judged(found: Sequence[tuple[Owner, Series]]) -> list[tuple[Owner, Series]]:
    """The series that are judged: without model versions, and without what stands for all other slices."""
    return [
        (owner, series)
        for owner, series in found
        if not set(slice_names(series.slice)) & set(VERSIONS) and f'"{OTHER}"' not in series.slice
    ]


def _measures(series: Series, logged: bool, categorical: bool) -> Sequence[Measure]:
    sliced = series.slice != EVERYTHING
    match series.kind:
        case "stream" if sliced:
            return (measures.SHARE,)
        case "stream":
            return measures.STREAM if logged else ()
        case "numeric" if categorical:
            return tuple(m for m in measures.NUMERIC if m.name == "location")
        case "numeric":
            return measures.SLICED_NUMERIC if sliced else measures.NUMERIC
        case "category":
            return measures.SLICED_CATEGORY if sliced else measures.CATEGORY
    return measures.OPAQUE


def _identity(owner: Owner, series: Series) -> Identity:
    return owner.name, series.column, series.kind, series.slice


def _rate(part: Floats, whole: Floats) -> tuple[Floats, Floats, Floats]:
    known = whole > 0
    share = np.clip(np.divide(part, whole, out=np.zeros_like(whole, dtype=np.float64), where=known), 0.0, 1.0)
    value = np.where(known, np.arcsin(np.sqrt(share)), np.nan)
    return value, 1 / (4 * np.where(known, whole, np.nan)), whole


def _counts(packed: bytes, size: int) -> Ints:
    return np.frombuffer(packed, "<i4" if len(packed) == 4 * size else "<i8").astype(np.int64)


def steps(first: int, last: int, level: int) -> list[int]:
    """The buckets from the first to the last, each."""
    return list(itertools.takewhile(lambda b: b <= last, itertools.count(first, level)))
