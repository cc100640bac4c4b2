"""The counts of all columns of some streams in one stretch of time: read at once, and added up column by column."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from fourfold.counts import KINDS, Counts
from fourfold.counts.binning import Binning, Ints
from fourfold.counts.sizes import SIZED
from fourfold.model import DAY, EVERYTHING, HOUR, Owner, Series, Window
from fourfold.query.counts import pooled
from fourfold.query.filtered import ALL_RECORDS, Filter, Meant
from fourfold.query.reader import Reader
from fourfold.state import bulk, catalogue, series
from fourfold.state.bulk import StoredCounts
from fourfold.state.packing import unpack_all, unpack_labels
from fourfold.state.series import FIRST, LAST

Name = tuple[str, str, str]  # stream, column, kind
_NOTHING = np.zeros(0, np.int64)
_RANGE = 1 << 22  # bins that are added up in an array of their own


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Buckets of one length: those that begin in [start, end), but not in ``without``; seconds since 1970."""

    start: int
    end: int
    level: int
    without: Window | None = None

    @property
    def window(self) -> Window:
        """From when to when it is."""
        return Window(self.start, self.end)

    @staticmethod
    def of(window: Window, kept: int = FIRST) -> Stretch:
        """A window, in days if it is whole days or begins before the first ``kept`` hour, else in hours."""
        unit = DAY if window.start < kept or (window.start % DAY == 0 and window.end % DAY == 0) else HOUR
        return Stretch(window.start // unit * unit, -(-window.end // unit) * unit, unit)

    def beside(self, window: Window) -> Stretch | None:
        """What is left of it without the buckets that a window touches; None if nothing is."""
        out = Window(window.start // self.level * self.level, -(-window.end // self.level) * self.level)
        if out.end <= self.start or self.end <= out.start:
            return self
        if self.start < out.start and out.end < self.end:
            return dataclasses.replace(self, without=out)
        if out.start <= self.start and self.end <= out.end:
            return None
        start, end = (out.end, self.end) if out.start <= self.start else (self.start, out.start)
        return dataclasses.replace(self, start=start, end=end)

    def holds(self, buckets: Ints) -> Ints:
        """The places of the buckets that belong to it."""
        if self.without is None:
            return np.arange(len(buckets))
        touched = (buckets < self.without.end) & (buckets + self.level > self.without.start)
        return np.flatnonzero(~touched)


def kept_hours(reader: Reader, streams: Collection[str]) -> int:
    """From when on some streams have counts by the hour as far as they have any: those before are by the day alone."""
    days, hours = (reader.recall(bulk.spans, level) for level in (DAY, HOUR))
    found = [FIRST]
    for owner in {Owner.of_stream(name) for name in streams} & days.keys():
        first = hours[owner][0] if owner in hours else LAST
        found += [first] if first // DAY * DAY > days[owner][0] else []
    return max(found)


def together(
    reader: Reader,
    streams: Sequence[str],
    stretch: Stretch,
    where: Filter = ALL_RECORDS,
    columns: Collection[str] | None = None,
) -> dict[Name, Counts]:
    """The counts of each column of some streams, by stream, column ("" for the records) and kind; all records, or some.

    ``columns`` are those to read; None: all.

    A stream that is not counted by the names of the filter is left out. Registers are not read.

    Raises:
        InputError: a stream's counts cannot tell what the filter means.
    """
    wanted = {Owner.of_stream(name) for name in streams}
    chosen = {
        entry.id: (owner, entry)
        for owner, entry in _meant(_series(reader, wanted), where)
        if columns is None or entry.column in columns
    }
    owners = tuple(dict.fromkeys(owner for owner, _ in chosen.values()))
    plans = {owner: plan.by_version() for owner, plan in reader.recall(catalogue.plans, owners).items()}
    with reader.database.read() as connection:
        stored = bulk.select(connection, reader.project, stretch.level, stretch.start, stretch.end, set(chosen))
    places = stretch.holds(stored.buckets)
    rows: dict[Name, list[int]] = {}
    for i, id_ in zip(places.tolist(), stored.series[places].tolist(), strict=True):
        owner, entry = chosen[id_]
        rows.setdefault((owner.name, entry.column, entry.kind), []).append(i)
    found = {}
    for name, at in rows.items():
        counted = _added(stored, at, name, plans.get(Owner.of_stream(name[0]), {}))
        if counted is not None:
            found[name] = counted
    return found


def _series(reader: Reader, wanted: Collection[Owner]) -> list[tuple[Owner, Series]]:
    """The series of some streams: of one, they are not looked for among those of all."""
    if len(wanted) > 1:
        return [(owner, entry) for owner, entry in reader.recall(bulk.of_streams) if owner in wanted]
    return [(owner, entry) for owner in wanted for entry in reader.recall(series.find, owner)]


def slices_of(
    reader: Reader, streams: Sequence[str], stretch: Stretch
) -> dict[tuple[str, tuple[str, ...]], dict[str, float]]:
    """How many records each slice of some streams has in a stretch of time, by stream and the names of the slices."""
    wanted = {Owner.of_stream(name) for name in streams}
    known = {
        entry.id: (owner.name, entry)
        for owner, entry in reader.recall(bulk.of_streams)
        if entry.kind == "stream" and entry.slice != EVERYTHING and owner in wanted
    }
    if not known:
        return {}
    with reader.database.read() as connection:
        stored = bulk.select(connection, reader.project, stretch.level, stretch.start, stretch.end, set(known))
    found: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}
    for i in stretch.holds(stored.buckets).tolist():
        stream, entry = known[int(stored.series[i])]
        n = int(np.frombuffer(stored.tallies[i], "<i8", 1)[0])
        by_slice = found.setdefault((stream, entry.names), collections.defaultdict(float))
        by_slice[entry.slice] += n
    return found


def _meant(known: Sequence[tuple[Owner, Series]], where: Filter) -> Iterator[tuple[Owner, Series]]:
    if not where:
        yield from (each for each in known if each[1].slice == EVERYTHING)
        return
    names = tuple(sorted(where.names))
    by_owner: dict[Owner, list[Series]] = {}
    for owner, entry in known:
        by_owner.setdefault(owner, []).append(entry)
    for owner, entries in by_owner.items():
        if any(entry.names == names for entry in entries):
            meant = Meant(entries, where)
            meant.check(str(owner), ())
            yield from ((owner, entry) for entry in entries if entry.names == names and meant.holds(entry))


def _added(
    stored: StoredCounts, at: Sequence[int], name: Name, binnings: Mapping[tuple[str, int], Binning]
) -> Counts | None:
    by_version: dict[int, list[int]] = {}
    for i in at:
        by_version.setdefault(int(stored.binnings[i]) % SIZED, []).append(i)
    return pooled(_sum(stored, rows, name, binnings.get((name[1], v))) for v, rows in by_version.items())


def _sum(stored: StoredCounts, at: Sequence[int], name: Name, binning: Binning | None) -> Counts:
    _, column, kind = name
    tallies = np.frombuffer(b"".join([stored.tallies[i] for i in at]), "<i8").reshape(len(at), -1).sum(axis=0)
    low = min((end for i in at if (end := stored.low[i]) is not None), default=np.nan)
    high = max((end for i in at if (end := stored.high[i]) is not None), default=np.nan)
    labels: list[str] = []
    bins, numbers = _NOTHING, _NOTHING
    if KINDS[kind].labelled:
        heavy = _labels(stored, at)
        labels, numbers = list(heavy), np.array(list(heavy.values()), np.int64)
    elif KINDS[kind].sums:
        sizes = np.array([stored.sizes[i] for i in at], np.int64)
        flat = np.frombuffer(b"".join([stored.bins[i] for i in at]), "<i4").astype(np.int64)
        bins, numbers = _summed(flat, unpack_all([stored.counts[i] for i in at], sizes))
    sums = np.frombuffer(b"".join([stored.sums[i] for i in at]), "<f8").reshape(len(at), -1).sum(axis=0)
    return Counts(kind, tallies.tolist(), sums.tolist(), low, high, bins, labels, numbers, _NOTHING, binning, column)


def _labels(stored: StoredCounts, at: Sequence[int]) -> dict[str, int]:
    """How often each label was there; rows that have the same labels, as most days have, are added up at once."""
    alike: dict[bytes, list[int]] = {}
    for i in at:
        alike.setdefault(stored.bins[i], []).append(i)
    found: dict[str, int] = collections.defaultdict(int)
    for packed, rows in alike.items():
        size = stored.sizes[rows[0]]
        if not size:
            continue
        numbers = unpack_all([stored.counts[i] for i in rows], np.full(len(rows), size)).reshape(len(rows), size)
        for label, n in zip(unpack_labels(packed, size), numbers.sum(axis=0).tolist(), strict=True):
            found[label] += n
    return {label: n for label, n in found.items() if n}


def _summed(bins: Ints, numbers: Ints) -> tuple[Ints, Ints]:
    if not len(bins):
        return bins, numbers
    low = int(bins.min())
    if int(bins.max()) - low < _RANGE:
        dense = np.bincount(bins - low, numbers)  # exact: counts below 2^53
        used = np.flatnonzero(dense)
        return used + low, dense[used].astype(np.int64)
    codes, where = np.unique(bins, return_inverse=True)
    return codes, np.bincount(where, numbers, len(codes)).astype(np.int64)
