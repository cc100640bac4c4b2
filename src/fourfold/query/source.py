"""The source of an answer's counts: the state, or the log for an earlier moment (``as_of``)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from fourfold import counts
from fourfold.counts import Panel, of_table
from fourfold.counts.binning import Binning
from fourfold.engine import Extent
from fourfold.model import ALL, HOUR, Dimension, Task, slice_names
from fourfold.model.records import EVENT_TIME, LOG_TIME, META
from fourfold.query.reader import Reader
from fourfold.state import catalogue, series
from fourfold.state.series import Series


class Source(Protocol):
    """The counts of one owner."""

    def series(self) -> list[Series]:
        """All series there are."""

    def counts(self, wanted: Sequence[Series], level: int, start: int, end: int) -> pa.Table:
        """The counts of some series, by the buckets of a level that begin in [start, end)."""

    def panel(self, wanted: Sequence[Series], level: int, start: int, end: int, *, bins: bool) -> Panel:
        """As ``counts``, of one column and kind, with or without their bins (for kinds without labels)."""

    def span(self, level: int) -> tuple[int, int] | None:
        """The first and last bucket."""

    def binnings(self) -> dict[tuple[str, int], Binning]:
        """The binnings, by column and version."""

    def is_identifier(self, column: str) -> bool:
        """Whether a column is an identifier, so that its values are not counted one by one."""


class Stored:
    """What the state holds."""

    def __init__(self, reader: Reader, owner: str) -> None:
        self._reader, self._owner = reader, owner

    def series(self) -> list[Series]:
        """See ``Source``."""
        return self._reader.database.recall(series.find, self._reader.project, self._owner)

    def counts(self, wanted: Sequence[Series], level: int, start: int, end: int) -> pa.Table:
        """See ``Source``."""
        with self._reader.database.read() as connection:
            return series.select(connection, wanted, level, start, end)

    def panel(self, wanted: Sequence[Series], level: int, start: int, end: int, *, bins: bool) -> Panel:
        """See ``Source``."""
        with self._reader.database.read() as connection:
            panel = series.panel(connection, wanted, level, start, end, bins=bins)
        return dataclasses.replace(panel, known=self.binnings())

    def span(self, level: int) -> tuple[int, int] | None:
        """See ``Source``."""
        return self._reader.database.recall(series.span, self._reader.project, self._owner, level)

    def binnings(self) -> dict[tuple[str, int], Binning]:
        """See ``Source``."""
        return self._reader.database.recall(catalogue.plan, self._reader.project, self._owner).by_version()

    def is_identifier(self, column: str) -> bool:
        """See ``Source``."""
        return self._reader.database.recall(catalogue.plan, self._reader.project, self._owner).identifier(column)


class AsOf:
    """The counts at an earlier moment: the records logged by then, folded as they would have been."""

    def __init__(
        self, reader: Reader, streams: Sequence[str], task: Task | None, dimensions: Sequence[Dimension], as_of: int
    ) -> None:  # fmt: skip
        owner = f"task:{task.name}" if task is not None else f"stream:{streams[0]}"
        with reader.database.read() as connection:
            plan = catalogue.plan(connection, reader.project, owner)
            splits = {
                d: catalogue.levels(connection, reader.project, streams[0], d)
                for d in dict.fromkeys((ALL, *dimensions))
            }
        logs = {stream: reader.log(stream).whole() for stream in streams}
        if task is None:
            folded = reader.engine.fold_stream(logs[streams[0]], splits, plan, Extent(as_of=as_of))
        else:
            folded = reader.engine.fold_task(task, logs, splits, plan, Extent(as_of=as_of))
        self._table, self._plan = folded.counts, folded.plan
        names = ("column", "kind", "slice")
        self._keys = list(zip(*(self._table[name].to_pylist() for name in names), strict=True))  # of each row
        self._series = [(i, *key) for i, key in enumerate(dict.fromkeys(self._keys))]

    def series(self) -> list[Series]:
        """See ``Source``."""
        return self._series

    def counts(self, wanted: Sequence[Series], level: int, start: int, end: int) -> pa.Table:
        """See ``Source``."""
        names = {row[1:] for row in wanted}
        table = self._table.filter(pa.array([key in names for key in self._keys], pa.bool_()))
        if table.num_rows == 0:
            return table
        table = counts.rebucket(table, table["bucket"].to_numpy() // level * level)
        buckets = table["bucket"].to_numpy()
        return table.filter(pa.array((buckets >= start) & (buckets < end)))

    def panel(self, wanted: Sequence[Series], level: int, start: int, end: int, *, bins: bool) -> Panel:
        """See ``Source``."""
        panel = of_table(self.counts(wanted, level, start, end), *wanted[0][1:3], bins=bins)
        return dataclasses.replace(panel, known=self.binnings())

    def span(self, level: int) -> tuple[int, int] | None:
        """See ``Source``."""
        if self._table.num_rows == 0:
            return None
        buckets = self._table["bucket"].to_numpy() // level * level
        return int(buckets.min()), int(buckets.max())

    def binnings(self) -> dict[tuple[str, int], Binning]:
        """See ``Source``."""
        return self._plan.by_version()

    def is_identifier(self, column: str) -> bool:
        """See ``Source``."""
        return self._plan.identifier(column)


def newest(reader: Reader, stream: str, as_of: int | None = None) -> int | None:
    """The newest hour of a stream, by event time, but not later than now."""
    if as_of is None:
        found = Stored(reader, f"stream:{stream}").span(HOUR)
        return min(found[1], int(time.time()) // HOUR * HOUR) if found else None
    known = pc.field(LOG_TIME) <= pa.scalar(as_of, META.field(LOG_TIME).type)
    records = reader.log(stream).whole().records(known, [EVENT_TIME])
    last = pc.max(records[EVENT_TIME]).cast(pa.int64()).as_py()
    return None if last is None else min(int(last), as_of) // 1_000_000 // HOUR * HOUR


def of_dimension(found: Sequence[Series], names: tuple[str, ...]) -> list[Series]:
    """The series whose slices have these names."""
    return [row for row in found if slice_names(row[3]) == names]
