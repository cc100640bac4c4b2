"""A log's data files, each read by Arrow in the task that counts it, without a way through the JVM.

Spark makes rows of Parquet, and hands them to Python cell by cell, which takes several times as long as to count
them. So what needs no join reads the files itself, where these are on a disk: one that a fold's executors share, for
Spark would have to open the same paths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fourfold.engine.duckdb import files
from fourfold.engine.duckdb.connection import one_thread
from fourfold.engine.protocol import ChangedLog, Extent
from fourfold.fold.category import hash_texts
from fourfold.model.records import KEY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_MOST_TASKS = 4_096
_HASHES = 4_000_000  # that one task compares
_CUT = pa.schema([("part", pa.int32()), ("hashes", pa.binary())])


@dataclasses.dataclass(frozen=True)
class Reading:
    """Reads some columns of the files that a frame of ``listed`` names."""

    log: ChangedLog
    extent: Extent
    names: Sequence[str]

    def __call__(self, named: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
        """The records of each file, in tables of a moderate size, with its sign."""
        for some in named:
            for file in some.to_pylist():
                for table in files.tables(self.log, [file["path"]], self.extent, [*self.names]):
                    yield file["sign"], table


def is_direct(log: ChangedLog) -> bool:
    """Whether the files can be read so."""
    return not any("://" in path for path in (*log.added, *log.removed))


def listed(session: SparkSession, log: ChangedLog) -> DataFrame:
    """The added files, with the sign 1, and the removed ones, with −1: spread evenly over tasks."""
    named = [(path, 1) for path in log.added] + [(path, -1) for path in log.removed]
    table = pa.table({"path": [path for path, _ in named], "sign": pa.array([sign for _, sign in named], pa.int32())})
    return session.createDataFrame(table).coalesce(1).repartition(min(len(named), _MOST_TASKS))


def repeated(session: SparkSession, log: ChangedLog, extent: Extent) -> DataFrame:
    """The hashes of keys that several of the records have, as the column ``hash``.

    Each task sends its hashes in as many parts as there are tasks to compare them: Spark moves a few large values.
    """
    parts = 1 + log.rows() // _HASHES
    cut = _Cut(Reading(log, Extent(as_of=extent.as_of), [KEY]), parts)
    return (
        listed(session, log)
        .mapInArrow(cut, "part int, hashes binary")
        .repartition(parts, "part")
        .mapInArrow(_compared, "hash bigint")
    )


@dataclasses.dataclass(frozen=True)
class _Cut:
    """The hashes of keys, cut into parts."""

    reading: Reading
    parts: int

    def __call__(self, named: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        one_thread()
        for _, table in self.reading(named):
            found = hash_texts(table[KEY].combine_chunks().drop_null())
            part = (found >> np.uint64(32)) % np.uint64(self.parts)
            for number in np.unique(part).tolist():
                row = {"part": number, "hashes": found[part == number].tobytes()}
                yield pa.RecordBatch.from_pylist([row], schema=_CUT)


def _compared(cut: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The hashes that are there more than once."""
    found = [np.frombuffer(each, np.int64) for batch in cut for each in batch["hashes"].to_pylist()]
    hashes, times = np.unique(np.concatenate(found or [np.zeros(0, np.int64)]), return_counts=True)
    yield pa.RecordBatch.from_arrays([pa.array(hashes[times > 1])], names=["hash"])
