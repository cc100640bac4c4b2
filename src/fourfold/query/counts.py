"""The counts behind an answer: as they are now, or as of an earlier moment; summed by window and slice."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold import counts
from fourfold.counts import KINDS, Counts, Panel, of_table
from fourfold.counts import Place as Place
from fourfold.counts.binning import Binning, Ints
from fourfold.engine import Extent
from fourfold.model import ALL, DAY, EVERYTHING, HOUR, Dimension, Owner, Series, SeriesName, Task, Window
from fourfold.model.records import EVENT_TIME, LOG_TIME, META
from fourfold.query.reader import Reader
from fourfold.state import catalogue, series
from fourfold.state.series import FIRST, LAST

EVER = Window(FIRST, LAST)
Found = Iterable[tuple[Place, Counts]]


class OwnerCounts(Protocol):
    """The counts of one owner."""

    def series(self) -> list[Series]:
        """All series there are."""

    def counts(self, wanted: Sequence[Series], level: int, start: int, end: int) -> pa.Table:
        """The counts of some series, by the buckets of a level that begin in [start, end)."""

    def panel(self, wanted: Sequence[Series], level: int, start: int, end: int, *, bins: bool) -> Panel:
        """As ``counts``, of one column and kind, with or without their bins (for kinds without labels)."""

    def span(self, level: int, before: int = LAST) -> tuple[int, int] | None:
        """The first and last bucket, of those that begin before a moment."""

    def binnings(self) -> dict[tuple[str, int], Binning]:
        """The binnings, by column and version."""

    def is_identifier(self, column: str) -> bool:
        """Whether a column is an identifier, so that its values are not counted one by one."""


class CurrentCounts:
    """What the state holds."""

    def __init__(self, reader: Reader, owner: Owner) -> None:
        self._reader, self._owner = reader, owner

    def series(self) -> list[Series]:
        """See ``OwnerCounts``."""
        return self._reader.database.recall(series.find, self._reader.project, self._owner)

    def counts(self, wanted: Sequence[Series], level: int, start: int, end: int) -> pa.Table:
        """See ``OwnerCounts``."""
        with self._reader.database.read() as connection:
            return series.select(connection, wanted, level, start, end)

    def panel(self, wanted: Sequence[Series], level: int, start: int, end: int, *, bins: bool) -> Panel:
        """See ``OwnerCounts``."""
        with self._reader.database.read() as connection:
            panel = series.panel(connection, wanted, level, start, end, bins=bins)
        return dataclasses.replace(panel, known=self.binnings())

    def span(self, level: int, before: int = LAST) -> tuple[int, int] | None:
        """See ``OwnerCounts``."""
        return self._reader.database.recall(series.span, self._reader.project, self._owner, level, before)

    def binnings(self) -> dict[tuple[str, int], Binning]:
        """See ``OwnerCounts``."""
        return self._reader.plan_of(self._owner).by_version()

    def is_identifier(self, column: str) -> bool:
        """See ``OwnerCounts``."""
        return self._reader.plan_of(self._owner).identifier(column)


class PastCounts:
    """The counts at an earlier moment: the records logged by then, folded as they would have been."""

    def __init__(
        self, reader: Reader, streams: Sequence[str], task: Task | None, dimensions: Sequence[Dimension], as_of: int
    ) -> None:
        owner = Owner.of_task(task.name) if task is not None else Owner.of_stream(streams[0])
        with reader.database.read() as connection:
            plan = catalogue.plan(connection, reader.project, owner)
            splits = {
                d: catalogue.kept_slices(connection, reader.project, streams[0], d)
                for d in dict.fromkeys((ALL, *dimensions))
            }
        logs = reader.whole(streams)
        if task is None:
            folded = reader.engine.fold_stream(logs[streams[0]], splits, plan, Extent(as_of=as_of))
        else:
            folded = reader.engine.fold_task(task, logs, splits, plan, Extent(as_of=as_of))
        self._table, self._plan = folded.counts, folded.plan
        names = ("column", "kind", "slice")
        keys = zip(*(self._table[name].to_pylist() for name in names), strict=True)
        self._keys = [SeriesName(*key) for key in keys]  # of each row
        self._series = [Series(i, *key) for i, key in enumerate(dict.fromkeys(self._keys))]

    def series(self) -> list[Series]:
        """See ``OwnerCounts``."""
        return self._series

    def counts(self, wanted: Sequence[Series], level: int, start: int, end: int) -> pa.Table:
        """See ``OwnerCounts``."""
        names = {entry.name for entry in wanted}
        table = self._table.filter(pa.array([key in names for key in self._keys], pa.bool_()))
        if table.num_rows == 0:
            return table
        table = counts.rebucket(table, table["bucket"].to_numpy() // level * level)
        buckets = table["bucket"].to_numpy()
        return table.filter(pa.array((buckets >= start) & (buckets < end)))

    def panel(self, wanted: Sequence[Series], level: int, start: int, end: int, *, bins: bool) -> Panel:
        """See ``OwnerCounts``."""
        panel = of_table(self.counts(wanted, level, start, end), wanted[0].column, wanted[0].kind, bins=bins)
        return dataclasses.replace(panel, known=self.binnings())

    def span(self, level: int, before: int = LAST) -> tuple[int, int] | None:
        """See ``OwnerCounts``."""
        buckets = self._table["bucket"].to_numpy() // level * level
        buckets = buckets[buckets < before]
        return (int(buckets.min()), int(buckets.max())) if len(buckets) else None

    def binnings(self) -> dict[tuple[str, int], Binning]:
        """See ``OwnerCounts``."""
        return self._plan.by_version()

    def is_identifier(self, column: str) -> bool:
        """See ``OwnerCounts``."""
        return self._plan.identifier(column)


def newest(reader: Reader, stream: str, as_of: int | None = None) -> int | None:
    """The newest hour of a stream, by event time, but not later than now."""
    if as_of is None:
        found = CurrentCounts(reader, Owner.of_stream(stream)).span(HOUR)
        return min(found[1], int(time.time()) // HOUR * HOUR) if found else None
    known = pc.field(LOG_TIME) <= pa.scalar(as_of, META.field(LOG_TIME).type)
    records = reader.log(stream).whole().records(known, [EVENT_TIME])
    last = pc.max(records[EVENT_TIME]).cast(pa.int64()).as_py()
    return None if last is None else min(int(last), as_of) // 1_000_000 // HOUR * HOUR


def of_dimension(found: Sequence[Series], names: tuple[str, ...]) -> list[Series]:
    """The series whose slices have these names."""
    return [entry for entry in found if entry.names == names]


def pooled(parts: Iterable[Counts]) -> Counts | None:
    """The sum of a series' counts, which may use several versions of its binning; None without counts."""
    found = list(parts)
    if not found:
        return None
    target = max((p.binning for p in found if p.binning is not None), key=lambda b: b.version, default=None)
    return counts.total([counts.reproject(p, target) if target is not None else p for p in found])


def by_window(
    source: OwnerCounts,
    column: str,
    kinds: Sequence[str],
    names: tuple[str, ...],
    windows: Sequence[Window],
    level: int,
    *,
    bins: bool = True,
) -> tuple[Found, list[str]]:
    """The counts of a column's series by window and slice, of the first kind that it has; and the slices."""
    found = [entry for entry in source.series() if entry.column == column]
    for kind in kinds:
        wanted = of_dimension([entry for entry in found if entry.kind == kind], names)
        if wanted:
            read = _with_labels if bins and KINDS[kind].labelled else functools.partial(_panel, bins=bins)
            return read(source, wanted, windows, level), sorted({entry.slice for entry in wanted})
    return [], []


def totals(reader: Reader, stream: str, window: Window = EVER, *, bins: bool = True) -> dict[str, dict[str, Counts]]:
    """The counts of all records of a stream, by column and kind."""
    source = CurrentCounts(reader, Owner.of_stream(stream))
    found: dict[str, dict[str, Counts]] = {}
    for _, column, kind, key in source.series():
        if key == EVERYTHING and column:
            for _, counted in by_window(source, column, (kind,), (), [window], DAY, bins=bins)[0]:
                found.setdefault(column, {})[kind] = counted
    return found


def _with_labels(source: OwnerCounts, wanted: Sequence[Series], windows: Sequence[Window], level: int) -> Found:
    table = source.counts(wanted, level, windows[0].start, windows[-1].end)
    buckets, numbers = table["bucket"].to_numpy(), number_of(windows, table["bucket"].to_numpy())
    if len(np.unique(buckets)) > len(np.unique(numbers)):  # a window is several buckets
        table = counts.rebucket(table, numbers)
        numbers = table["bucket"].to_numpy()
    places = zip(numbers.tolist(), table["slice"].to_pylist(), strict=True)
    found = zip(places, counts.rows(table, source.binnings()), strict=True)
    binnings = table["binning"].to_numpy()
    return found if (binnings == binnings[:1]).all() else _each_once(found)


def _panel(
    source: OwnerCounts, wanted: Sequence[Series], windows: Sequence[Window], level: int, *, bins: bool
) -> Found:
    panel = source.panel(wanted, level, windows[0].start, windows[-1].end, bins=bins)
    if not len(panel):
        return []
    panel = panel.rebucket(number_of(windows, panel.buckets))
    return panel if panel.is_aligned else _each_once(panel)


def number_of(windows: Sequence[Window], buckets: Ints) -> Ints:
    """The number of each bucket's window."""
    found: Ints = np.searchsorted([w.start for w in windows], buckets, side="right") - 1
    return found


def _each_once(found: Found) -> Found:
    """Counts by place, brought to one binning if they use several versions of it."""
    together: dict[Place, list[Counts]] = {}
    for place, entry in found:
        together.setdefault(place, []).append(entry)
    return [(place, total) for place, parts in together.items() if (total := pooled(parts)) is not None]
