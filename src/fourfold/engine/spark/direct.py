"""A log's data files, each read by Arrow in the task that counts it, without a way through the JVM.

Spark makes rows of Parquet, and hands them to Python cell by cell, which takes several times as long as to count
them. So what needs no join reads the files itself, where these are on a disk: one that a fold's executors share, for
Spark would have to open the same paths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.duckdb import files
from fourfold.engine.duckdb.touched import changed_files
from fourfold.engine.protocol import ChangedLog, Extent
from fourfold.model.records import EVENT_TIME

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BEFORE, ADDED = "before", "added"
_ROWS_A_TASK = 4_000_000  # beyond so many tasks as there are at least: each takes some hundredths of a second to begin
_LEAST_TASKS, _MOST_TASKS = 16, 4_096


@dataclasses.dataclass(frozen=True)
class Reading:
    """Reads the files of a log as they were known at the moment of an extent.

    ``shares`` are the files of each task: their paths, and the part of the log that they are of.
    """

    log: ChangedLog
    extent: Extent
    shares: Sequence[Sequence[tuple[str, str]]]

    @classmethod
    def of(cls, log: ChangedLog, extent: Extent) -> Reading:
        """How all files are read, in shares of about the same size."""
        named = [(path, part) for part, paths in changed_files(log) for path in paths]
        named += [(path, BEFORE) for path in log.before]
        tasks = min(len(named), max(_LEAST_TASKS, log.rows() // _ROWS_A_TASK), _MOST_TASKS)
        return cls(log, extent, [named[i::tasks] for i in range(tasks)])

    def tasks(self, session: SparkSession) -> DataFrame:
        """A frame of a number for each task, in a partition of its own."""
        return session.range(0, len(self.shares), 1, len(self.shares))

    def files(self, numbers: Iterable[pa.Table]) -> Iterator[tuple[str, str]]:
        """The files of the tasks with some numbers."""
        for table in numbers:
            for number in table["id"].to_pylist():
                yield from self.shares[number]

    def tables(self, path: str, names: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of the records of a file, in tables of a moderate size."""
        yield from files.tables(self.log, [path], Extent(as_of=self.extent.as_of), [*names])

    def open(self, records: pa.Table) -> pa.Table:
        """Those records that are not closed."""
        if self.extent.closed is None:
            return records
        since = pa.scalar(self.extent.closed, records.schema.field(EVENT_TIME).type)
        return records.filter(pc.greater_equal(records[EVENT_TIME], since)).combine_chunks()


def is_direct(log: ChangedLog) -> bool:
    """Whether the files can be read so."""
    return not any("://" in path for path in (*log.before, *log.added, *log.removed))
