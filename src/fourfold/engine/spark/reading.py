"""How the records of a log's data files reach the tasks that count or join them.

Spark makes rows of Parquet, and hands them to Python cell by cell, which takes several times as long as to count
them. So tasks read the files themselves, by Arrow, where these are on a disk: one that a fold's executors share, for
Spark would have to open the same paths. From elsewhere Spark reads them, as data frames.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.duckdb import files
from fourfold.engine.duckdb.touched import PARTS
from fourfold.engine.protocol import ChangedLog, Extent
from fourfold.engine.spark.files import Columns, columns_of, frame
from fourfold.engine.spark.partial import Passed, counted
from fourfold.model.records import EVENT_TIME, LOG_TIME

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BEFORE, ADDED, REMOVED = PLACES = tuple(PARTS)
_ROWS_A_TASK = 4_000_000  # beyond so many tasks as there are at least: each takes some hundredths of a second to begin
_LEAST_TASKS, _MOST_TASKS = 16, 4_096

Records = Iterator[tuple[str, pa.Table]]  # in tables of a moderate size, with the part of the log that they are of
Source = Callable[[Iterable[pa.Table]], Records]  # how a task that is given a part of a frame comes to them
Work = Callable[[Records], Iterator[pa.Table | Passed]]


@dataclasses.dataclass(frozen=True)
class Reading:
    """Reads records of a log, as they were known at the moment of an extent.

    ``columns`` are those that are asked for, of each part of the log that is read.
    """

    log: ChangedLog
    columns: Mapping[str, Sequence[str]]
    extent: Extent

    def counted(self, session: SparkSession, work: Work, parts: int = 1) -> list[DataFrame]:
        """What ``work`` makes of the records, as ``partial.counted`` gives it."""
        return [counted(frame, _Reader(read, work), parts) for frame, read in self.frames(session)]

    def frames(self, session: SparkSession) -> list[tuple[DataFrame, Source]]:
        """Frames, and how their tasks come to the records."""
        if is_direct(self.log):
            shares = self._shares()
            return [(session.range(0, len(shares), 1, len(shares)), _Direct(self, shares))] if shares else []
        found: list[tuple[DataFrame, Source]] = []
        for part, paths in self._files():
            known = [LOG_TIME] if self.extent.as_of is not None else []
            columns = columns_of(self.log, [*self.columns[part], *known])
            found.append((frame(session, paths, columns), _Framed(self, part, columns)))
        return found

    def tables(self, part: str, path: str) -> Iterator[pa.Table]:
        """The records of a file."""
        return files.tables(self.log, [path], Extent(as_of=self.extent.as_of), [*self.columns[part]])

    def _files(self) -> list[tuple[str, Sequence[str]]]:
        found = [(part, getattr(self.log, part)) for part in (ADDED, REMOVED, BEFORE) if part in self.columns]
        return [(part, paths) for part, paths in found if paths]

    def _shares(self) -> list[list[tuple[str, str]]]:
        """The files of each task, in shares of about the same size."""
        named = [(part, path) for part, paths in self._files() for path in paths]
        tasks = min(len(named), max(_LEAST_TASKS, self.log.rows() // _ROWS_A_TASK), _MOST_TASKS)
        return [named[i::tasks] for i in range(tasks)]


def is_direct(log: ChangedLog) -> bool:
    """Whether tasks can read the files themselves."""
    return not any("://" in path for path in (*log.before, *log.added, *log.removed))


def still_open(records: pa.Table, extent: Extent) -> pa.Table:
    """Those records that are not closed."""
    if extent.closed is None:
        return records
    since = pa.scalar(extent.closed, records.schema.field(EVENT_TIME).type)
    return records.filter(pc.greater_equal(records[EVENT_TIME], since)).combine_chunks()


def union(frames: Iterable[DataFrame]) -> DataFrame:
    """Frames of the same columns as one."""
    return functools.reduce(lambda one, other: one.union(other), frames)


@dataclasses.dataclass(frozen=True)
class _Reader:
    read: Source
    work: Work

    def __call__(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table | Passed]:
        return self.work(self.read(tables))


@dataclasses.dataclass(frozen=True)
class _Direct:
    """Reads the files of the tasks whose numbers it is given."""

    reading: Reading
    shares: Sequence[Sequence[tuple[str, str]]]

    def __call__(self, numbers: Iterable[pa.Table]) -> Records:
        for table in numbers:
            for number in table["id"].to_pylist():
                for part, path in self.shares[number]:
                    for records in self.reading.tables(part, path):
                        yield part, records


@dataclasses.dataclass(frozen=True)
class _Framed:
    """Makes records out of the batches of a frame."""

    reading: Reading
    part: str
    columns: Columns

    def __call__(self, tables: Iterable[pa.Table]) -> Records:
        as_of, names = self.reading.extent.as_of, self.reading.columns[self.part]
        for records in map(self.columns.records, tables):
            if as_of is not None:
                known = pc.less_equal(records[LOG_TIME], pa.scalar(as_of, records.schema.field(LOG_TIME).type))
                records = records.filter(known).combine_chunks()
            if records.num_rows:
                yield self.part, records.select(names)
