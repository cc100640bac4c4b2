"""Counting on the executors: batches of records become counts there, which are merged there, too.

A task of Spark's counts the records that it is given into one counts table, and cuts that by series into parts; the
same part of all tasks is merged by another task. Only these totals reach the driver. What else has to be compared
between tasks is passed on in the same way, as Arrow's bytes, which Spark moves as they are. What a task found reaches
others if and when it has ended, and of repeated attempts one is taken: that is Spark's own promise about data frames.

An error of ours (a user's expression that fails) is no reason to try again: it is passed on as a row.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts.binning import Ints
from fourfold.engine.drive import Adder
from fourfold.engine.duckdb.connection import connected, one_thread
from fourfold.engine.spark.files import gathered
from fourfold.errors import ConfigError, FourfoldError
from fourfold.fold.category import hash_texts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROW = pa.schema([("part", pa.int32()), ("counts", pa.binary()), ("passed", pa.binary()), ("failure", pa.binary())])
_DDL = "part int, counts binary, passed binary, failure binary"
_PACKED = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
ROWS_A_PART, MOST_PARTS = 2_000_000, 64
_MUST_MATCH = ("duckdb", "numpy", "pyarrow")  # whose results are counted: in their first number


@dataclasses.dataclass(frozen=True)
class Passed:
    """What is no count: records that all tasks pass on to the one that combines this part."""

    part: int
    table: pa.Table


Work = Callable[[Iterator[pa.Table]], Iterator[pa.Table | Passed]]  # batches of a frame to signed counts, and more
Combine = Callable[[list[pa.Table]], Iterator[pa.Table | Passed]]  # what was passed on, likewise


def parts_for(rows: int) -> int:
    """How many parts the counts of so many records are merged in."""
    return min(1 + rows // ROWS_A_PART, MOST_PARTS)


def counted(frame: DataFrame, work: Work, parts: int) -> DataFrame:
    """The counts of a frame's records, which are not merged yet."""
    return frame.mapInArrow(_Partial(work, parts, versions()), _DDL)


def combined(partial: DataFrame, parts: int, combine: Combine | None = None, further: int = 1) -> DataFrame:
    """The counts merged, and what was passed on combined, part by part; counts are cut in ``further`` parts again."""
    return partial.repartition(parts, "part").mapInArrow(_Merged(combine, further), _DDL)


def total(partial: DataFrame, parts: int) -> pa.Table:
    """The merged counts.

    Raises:
        FourfoldError: as raised on an executor.
    """
    return collected(combined(partial, parts) if parts > 1 else partial)[0]


def collected(partial: DataFrame) -> tuple[pa.Table, list[pa.Table]]:
    """The merged counts, and what was passed on.

    Raises:
        FourfoldError: as raised on an executor.
    """
    received = _Received()
    for batch in partial.toArrow().to_batches():
        received.add(batch)
    if received.failure is not None:
        raise pickle.loads(received.failure)
    return received.counts.total(), [table for tables in received.passed.values() for table in tables]


@functools.cache
def versions() -> dict[str, str]:
    """What the driver and the executors must have in common; keys meet by DuckDB's hash of them."""
    with connected() as connection:
        hashed = connection.execute("SELECT hash('key'), hash('a key that is longer')").fetchone()
    return {
        "DuckDB's hash": str(hashed),
        "fourfold": str(sys.modules["fourfold"].__version__),
        **{name: version(name).partition(".")[0] for name in _MUST_MATCH},
    }


def by_sign(tables: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """The records that are added, and those that are subtracted, as their column ``sign`` says."""
    for table in tables:
        for sign in (1, -1):
            part = table.filter(pc.equal(table["sign"], sign)).combine_chunks()
            if part.num_rows:
                yield sign, part


@dataclasses.dataclass(frozen=True)
class _Partial:
    """One task: it counts its batches. ``expected`` are the driver's versions."""

    work: Work
    parts: int
    expected: dict[str, str]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _rows(self._found(batches), self.parts)

    def _found(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table | Passed]:
        self._check()
        yield from self.work(gathered(batches))

    def _check(self) -> None:
        here = versions()
        for name, wanted in self.expected.items():
            if here[name] != wanted:
                raise ConfigError(
                    f"engine='spark': the executors have {name} {here[name]}, the driver has {wanted}; install the same"
                )


@dataclasses.dataclass(frozen=True)
class _Merged:
    """One task: it merges the parts that it is given."""

    combine: Combine | None
    further: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        received = _Received()
        for batch in batches:
            received.add(batch)
            if received.failure is not None:
                yield _row(0, failure=received.failure)
                return
        yield from _rows(self._found(received), self.further)

    def _found(self, received: _Received) -> Iterator[pa.Table | Passed]:
        yield received.counts.total()
        if self.combine is not None:
            while received.passed:
                _, tables = received.passed.popitem()
                yield from self.combine(tables)


class _Received:
    """What other tasks sent: counts, what they pass on, and an error."""

    def __init__(self) -> None:
        self.counts, self.passed = Adder(), dict[int, list[pa.Table]]()
        self.failure: bytes | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Add their rows."""
        part, counts, passed, failure = (batch[name] for name in _ROW.names)
        for i in range(batch.num_rows):
            if failure[i].is_valid:
                self.failure = failure[i].as_py()
            if counts[i].is_valid:
                self.counts.add(_unpacked(counts[i].as_buffer()))
            if passed[i].is_valid:
                self.passed.setdefault(part[i].as_py(), []).append(_unpacked(passed[i].as_buffer()))


def _rows(found: Iterator[pa.Table | Passed], parts: int) -> Iterator[pa.RecordBatch]:
    """What a task found as rows: what it passes on at once, the counts added up at the end."""
    one_thread()
    adder = Adder()
    try:
        for each in found:
            if isinstance(each, Passed):
                yield _row(each.part, passed=_packed(each.table))
            else:
                adder.add(each)
        table = adder.total()
    except FourfoldError as error:
        yield _row(0, failure=pickle.dumps(error))
        return
    for number, rows in in_parts(table, _part_of(table, parts)):
        yield _row(number, _packed(rows))


def in_parts(table: pa.Table, part: npt.NDArray[np.integer]) -> Iterator[tuple[int, pa.Table]]:
    """A table's rows by the part that each is of, in the order in which they are."""
    if not len(part):
        return
    order = np.argsort(part, kind="stable")
    table = table.take(pa.array(order)).combine_chunks()
    numbers, starts = np.unique(part[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
        yield number, table.slice(start, end - start)


def _part_of(table: pa.Table, parts: int) -> Ints:
    """The part of each row: that of its series and bucket."""
    if parts == 1:
        return np.zeros(table.num_rows, np.int64)
    hashes = np.zeros(table.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for name in ("column", "slice"):
            encoded = table[name].combine_chunks().dictionary_encode()
            hashes = hashes * np.uint64(31) + hash_texts(encoded.dictionary)[encoded.indices.to_numpy()]
        hashes += (table["bucket"].to_numpy() // 3600).astype(np.uint64)
    return (hashes % np.uint64(parts)).astype(np.int64)


def _row(
    part: int, counts: bytes | None = None, passed: bytes | None = None, failure: bytes | None = None
) -> pa.RecordBatch:
    row = {"part": part, "counts": counts, "passed": passed, "failure": failure}
    return pa.RecordBatch.from_pylist([row], schema=_ROW)


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_PACKED) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _unpacked(packed: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(packed).read_all()
