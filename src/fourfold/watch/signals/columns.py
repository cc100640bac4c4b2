"""Streams and their columns as signals: every series of a project, bucket by bucket, as arrays.

The first data of a column fix 16 cells (quantiles of a number, the most frequent values of a category). A bucket's
location and shape are those of its cells against a reference that follows the column's recent buckets, so that
seasons move it along, and a change does not. Nothing here grows with the number of records.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fourfold.counts import KINDS
from fourfold.counts.binning import Binning, Floats, Ints, bins_of
from fourfold.counts.sizes import SIZED
from fourfold.model import DAY, EVERYTHING, Owner, Series
from fourfold.state.bulk import StoredCounts
from fourfold.state.packing import unpack_all, unpack_labels
from fourfold.watch.signals import measures
from fourfold.watch.signals.anchors import CELLS, Anchor, Identity, identity_of, judged
from fourfold.watch.signals.measures import Measure

FEWEST, FEWEST_OF_SHAPE = 5, 30  # records of a bucket from which its location, or its whole distribution, is judged
_HALF_LIFE = 14 * DAY  # of what a bucket is compared with
_KNOWN = 512  # categories remembered as seen
_SINGLE = 0.98  # of the records have one value
COMPARED = ("location", "shape")  # with the reference
_quoted = functools.lru_cache(100_000)(json.JSONEncoder(ensure_ascii=False).encode)  # most names come many times


@dataclasses.dataclass(frozen=True, slots=True)
class Signal:
    """A measure of a series: what is judged."""

    stream: str
    column: str
    slice: str
    measure: Measure

    generation: int = 0  # how often what it is compared with has begun anew
    hourly: bool = False

    @property
    def key(self) -> str:
        """Its identity, the same in each check."""
        level = "hour" if self.hourly else "day"
        names = ", ".join(map(_quoted, (self.stream, self.column, self.slice, self.measure.name)))
        return f'["stream", "{level}", {names}, {self.generation}]'


@dataclasses.dataclass(frozen=True, slots=True)
class Readings:
    """One bucket of some signals: the working value (NaN: nothing is known) with its sampling variance, and n."""

    bucket: int
    signals: Sequence[Signal]
    values: Floats
    noise: Floats
    n: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class _Labels:
    """The labels of a bucket of a category: the cell of each, whether it is new, and those that are."""

    cells: Ints
    new: npt.NDArray[np.bool_]
    unseen: Sequence[str]

    @classmethod
    def of(cls, anchor: Anchor, packed: bytes, size: int) -> _Labels:
        """Labels as they are stored."""
        places = {label: j for j, label in enumerate(anchor.labels)}
        labels = list(unpack_labels(packed, size))
        new = [label not in anchor.seen for label in labels]
        cells = np.array([places.get(label, CELLS - 1) for label in labels], np.int64)
        return cls(cells, np.array(new, bool), [label for label, is_new in zip(labels, new, strict=True) if is_new])


class ColumnSignals:
    """All series of some streams, over the buckets of one stretch of time.

    Args:
        found: the series, with their owners.
        stored: their counts in ``buckets``, which follow each other without gaps.
        buckets: the buckets' starts.
        level: their length in seconds.
        spans: each stream's first and last bucket to judge.
        logged: the streams whose records are logged; of others, a bucket without records says nothing.
        binnings: by owner, column and version.
        anchors: what first data fixed, by series; changed here as buckets are learned.
    """

    def __init__(
        self,
        found: Sequence[tuple[Owner, Series]],
        stored: StoredCounts,
        buckets: Sequence[int],
        level: int,
        spans: Mapping[str, tuple[int, int]],
        logged: Collection[str],
        binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]],
        anchors: dict[Identity, Anchor],
    ) -> None:
        self.buckets, self._level = buckets, level
        self._decay = 0.5 ** (level / _HALF_LIFE)
        self._found, self._anchors, self._logged = judged(found), anchors, logged
        size = len(self._found)
        self._rows, self._at = _places(np.array([series.id for _, series in self._found], np.int64), stored.series)
        self._when = (stored.buckets[self._rows] - buckets[0]) // level
        self._tally = {name: np.zeros((size, len(buckets))) for name in _TALLIES}
        self._cells = np.zeros((size, len(buckets), CELLS), np.float32)
        self._labels: dict[int, dict[int, list[str]]] = {}  # those not seen before, by bucket and series
        self._fill(stored, binnings)
        known = [anchors.get(identity_of(*entry)) or Anchor() for entry in self._found]
        self._reference = np.array([anchor.reference for anchor in known]).reshape(-1, CELLS)
        ends = [spans.get(owner.name, (2**62, 0)) for owner, _ in self._found]
        self._first, self._last = np.array(ends, np.int64).reshape(-1, 2).T
        self._since = self._begins(known)
        self._whole = self._wholes()
        self._absent = self._absences()
        self._categorical = self._categories()
        self._closed = np.array([0 < len(anchor.seen) < _KNOWN // 2 for anchor in known], bool)
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
        """The cells of all rows at once: what lies below each edge, found in the rows' bins, each raised by its own
        offset.
        """
        below, pair = self._edges(place[0], stored.binnings[rows] % SIZED, binnings)
        chosen = np.flatnonzero(pair >= 0)
        taken = rows[chosen].tolist()
        sizes = np.array([stored.sizes[i] for i in taken], np.int64)
        if not sizes.any():
            return
        span = np.int64(1) << 33
        bins = np.frombuffer(b"".join([stored.bins[i] for i in taken]), "<i4").astype(np.int64)
        bins += np.repeat(np.arange(len(taken)) * span, sizes)
        numbers = unpack_all([stored.counts[i] for i in taken], sizes)
        reached = np.concatenate([[0], np.cumsum(numbers)])
        ends = np.cumsum(sizes)
        edges = below[pair[chosen]] + np.arange(len(taken))[:, None] * span
        marks = np.column_stack([ends - sizes, np.searchsorted(bins, edges.ravel()).reshape(edges.shape), ends])
        cells = np.diff(reached[marks], axis=1)
        np.add.at(self._cells, (place[0][chosen], place[1][chosen]), cells)  # a bucket has a row for each binning

    def _edges(
        self, at: Ints, versions: Ints, binnings: Mapping[Owner, Mapping[tuple[str, int], Binning]]
    ) -> tuple[Ints, Ints]:
        """The edges of cells as bins, by series and version of its binning; and which of these each row has, or −1."""
        pairs, row = np.unique(at * SIZED + versions, return_inverse=True)
        number = np.full(len(pairs), -1)
        edges: list[Ints] = []
        for k, (i, version) in enumerate(zip((pairs // SIZED).tolist(), (pairs % SIZED).tolist(), strict=True)):
            owner, series = self._found[i]
            binning = binnings.get(owner, {}).get((series.column, version))
            anchor = self._anchors.get(identity_of(owner, series))
            if binning is not None and anchor is not None and len(anchor.edges) == CELLS - 1:
                number[k] = len(edges)
                edges.append(bins_of(np.array(anchor.edges), binning))
        return np.array(edges, np.int64).reshape(-1, CELLS - 1), number[row]

    def _fill_labels(self, stored: StoredCounts, rows: Ints, place: tuple[Ints, Ints]) -> None:
        """Most buckets of a column have the same labels, whose cells are looked up once."""
        lookups: dict[tuple[int, bytes], _Labels] = {}
        anchors = {at: self._anchors.get(identity_of(*self._found[at])) for at in np.unique(place[0]).tolist()}
        found: list[_Labels] = []
        chosen = np.flatnonzero([anchors[at] is not None for at in place[0].tolist()])
        for i, at in zip(rows[chosen].tolist(), place[0][chosen].tolist(), strict=True):
            key = at, stored.bins[i]
            if (labels := lookups.get(key)) is None:
                anchor = anchors[at]
                assert anchor is not None
                labels = lookups[key] = _Labels.of(anchor, stored.bins[i], stored.sizes[i])
            found.append(labels)
        if not found:
            return
        taken, sizes = rows[chosen].tolist(), np.array([len(labels.cells) for labels in found], np.int64)
        numbers = unpack_all([stored.counts[i] for i in taken], sizes)
        at, when = np.repeat(place[0][chosen], sizes), np.repeat(place[1][chosen], sizes)
        np.add.at(self._cells, (at, when, np.concatenate([labels.cells for labels in found])), numbers)
        new = np.concatenate([labels.new for labels in found])
        np.add.at(self._tally["new"], (at[new], when[new]), numbers[new])
        for labels, i, t in zip(found, place[0][chosen].tolist(), place[1][chosen].tolist(), strict=True):
            if labels.unseen:
                self._labels.setdefault(t, {}).setdefault(i, []).extend(labels.unseen)

    def _signals(self) -> tuple[list[Signal], list[tuple[int, Measure]]]:
        signals, columns = [], []
        for i, (owner, series) in enumerate(self._found):
            anchor = self._anchors.get(identity_of(owner, series)) or Anchor()
            for measure in _measures(series, owner.name in self._logged, bool(self._categorical[i])):
                generation = anchor.generation if measure.name in COMPARED else 0
                signals.append(Signal(owner.name, series.column, series.slice, measure, generation, self._level < DAY))
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
        outside = (self.buckets[t] < self._first) | (self.buckets[t] > self._last)
        values[outside[self._series]] = np.nan
        return Readings(self.buckets[t], self.signals, values, noise, n)

    def _by_measure(self, t: int) -> dict[str, tuple[Floats, Floats, Floats]]:
        """Each measure's working value, its variance and n, of all series."""
        rows = self._tally["rows"][:, t]
        cells = self._cells[:, t].astype(np.float64)
        within = cells.sum(axis=1)
        enough = within >= FEWEST
        reference = self._reference
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = rows[self._whole]
            nulls = self._tally["null"][:, t] + self._tally["nan"][:, t]
            absent = self._absent[:, t]
            infinite = self._tally["positive_infinity"][:, t] + self._tally["negative_infinity"][:, t]
            valued = rows - nulls
            share = cells / within[:, None]
            old = reference / reference.sum(axis=1, keepdims=True)
            constant = self._categorical & (np.fmax.reduce(share, axis=1) > _SINGLE) & (old.max(axis=1) > _SINGLE)
            enough &= ~constant  # one value at a time, as a date or a version has: to have another is no drift
            position = np.cumsum(old, axis=1) - old / 2
            location = np.where(enough, (share * position).sum(axis=1), np.nan)
            squared = ((np.sqrt(share) - np.sqrt(old)) ** 2).sum(axis=1) / 2
            used = np.maximum((np.maximum(share, old) > 0).sum(axis=1), 2)
            size = 1 / (1 / within + 1 / np.maximum(reference.sum(axis=1), 1))
            closed = self._closed & (old[:, -1] <= 0.5)  # most values are those of the beginning still
            by_chance = np.sqrt((used - 1) / (8 * size))
            told = enough & (within >= FEWEST_OF_SHAPE) & np.isfinite(squared)
            shape = np.where(told, np.sqrt(squared) - by_chance, np.nan)
            return {
                "rows": self._rows_of(t, rows),
                "share": _rate(rows, whole),
                "null_key_rate": _rate(self._tally["null_key"][:, t], rows),
                "duplicate_rate": _rate(self._tally["duplicate_key"][:, t], rows),
                "missing_rate": _rate(nulls + absent, np.where(self._since <= self.buckets[t], rows + absent, 0)),
                "negative_rate": _rate(self._tally["negative"][:, t], valued),
                "infinite_rate": _rate(infinite, valued),
                "new_rate": _rate(self._tally["new"][:, t], np.where(closed & enough, within, np.nan)),
                "location": (location, 1 / (12 * within), within),
                "shape": (shape, 1 / (16 * size), within),
            }

    def _rows_of(self, t: int, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """The volume; the noise of no records is that of the usual number."""
        usual = self._reference.sum(axis=1) * (1 - self._decay)
        return np.log1p(rows), 1 / np.maximum(np.maximum(rows, 0.05 * usual), 1.0), rows

    def learn(self, t: int, changed: npt.NDArray[np.bool_], settled: npt.NDArray[np.bool_]) -> None:
        """Let the references move on to the t-th bucket, but for the series that have changed.

        What a series has settled at is from then on all that it is compared with.
        """
        compared = np.array([measure.name in COMPARED for _, measure in self._columns], bool)
        for i in np.unique(self._series[settled & compared]).tolist():
            self._reference[i] = self._cells[i, t] / (1 - self._decay)
            if (anchor := self._anchors.get(identity_of(*self._found[i]))) is not None:
                anchor.generation += 1
        moving = np.ones(len(self._found), bool)
        moving[self._series[changed]] = False
        streams = np.array([series.kind == "stream" for _, series in self._found], bool)
        cells = self._cells[:, t].astype(np.float64)
        cells[streams, 0] = self._tally["rows"][streams, t]
        moving &= streams | cells.any(axis=1)
        self._reference[moving] = self._reference[moving] * self._decay + cells[moving]
        for i, labels in self._labels.get(t, {}).items():
            if moving[i] and (anchor := self._anchors.get(identity_of(*self._found[i]))) is not None:
                anchor.seen.update(labels[: max(_KNOWN - len(anchor.seen), 0)])

    def keep(self) -> None:
        """Write what was learned into the anchors."""
        for i, entry in enumerate(self._found):
            if (anchor := self._anchors.get(identity_of(*entry))) is not None:
                anchor.reference = self._reference[i].copy()

    def _categories(self) -> npt.NDArray[np.bool_]:
        """Which series are of columns that are counted by value."""
        columns = {(owner, series.column) for owner, series in self._found if series.kind == "category"}
        return np.array([(owner, series.column) in columns for owner, series in self._found], bool)

    def _begins(self, known: Sequence[Anchor]) -> Ints:
        """For each series, the first bucket with values; where there are too few values to say, none of these."""
        fixed = (s.kind in ("stream", "opaque") or identity_of(o, s) in self._anchors for o, s in self._found)
        return np.array([a.since if told else 2**62 for a, told in zip(known, fixed, strict=True)], np.int64)

    def _wholes(self) -> Ints:
        """For each series, the place of its stream's series of all records, for shares."""
        whole = {owner: i for i, (owner, s) in enumerate(self._found) if s.kind == "stream" and s.slice == EVERYTHING}
        return np.array([whole.get(owner, i) for i, (owner, _) in enumerate(self._found)], np.int64)

    def _absences(self) -> Floats:
        """For each column and bucket, the records that have no such column, as of frames; of all records alone."""
        rows, names = self._tally["rows"], dict[tuple[Owner, str], int]()
        group = np.array([names.setdefault((o, s.column), len(names)) for o, s in self._found], np.int64)
        whole = np.array([series.slice == EVERYTHING for _, series in self._found], bool)
        valued = np.array([series.kind in ("numeric", "category") for _, series in self._found], bool)
        present = np.zeros((len(names), rows.shape[1]))
        np.maximum.at(present, group[whole], rows[whole])  # however it is counted
        told = (whole & valued)[:, None] & ((rows > 0) | (present[group] == 0))
        return np.where(told, np.maximum(rows[self._whole] - present[group], 0.0), 0.0)


_TALLIES = (
    "rows", "null_key", "duplicate_key", "null", "nan", "positive_infinity", "negative_infinity", "negative", "new",
)  # fmt: skip


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


def _rate(part: Floats, whole: Floats) -> tuple[Floats, Floats, Floats]:
    known = whole > 0
    share = np.clip(np.divide(part, whole, out=np.zeros_like(whole, dtype=np.float64), where=known), 0.0, 1.0)
    value = np.where(known, np.arcsin(np.sqrt(share)), np.nan)
    return value, 1 / (4 * np.where(known, whole, np.nan)), whole


def _places(ids: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """The rows whose series are among ``ids``, and the place there of each."""
    if not len(ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(ids)
    place = order[np.minimum(np.searchsorted(ids, rows, sorter=order), len(ids) - 1)]
    chosen = np.flatnonzero(ids[place] == rows)
    return chosen, place[chosen]
