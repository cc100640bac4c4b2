"""Counting on the executors: batches of records become counts there, which are merged there, too.

A task of Spark's counts the records that it is given into one counts table, and cuts that by series into parts; the
same part of all tasks is merged by another task. Only these totals reach the driver. What a task found reaches others
if and when it has ended, and of repeated attempts one is taken: that is Spark's own promise about data frames.

An error of ours (a user's expression that fails) is no reason to try again: it is passed on as a row.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts.binning import Ints
from fourfold.engine.drive import Adder
from fourfold.engine.duckdb.connection import one_thread
from fourfold.engine.spark.files import gathered
from fourfold.errors import ConfigError, FourfoldError
from fourfold.fold.category import hash_texts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROW = pa.schema([("part", pa.int32()), ("counts", pa.binary()), ("failure", pa.binary())])
_DDL = "part int, counts binary, failure binary"
ROWS_A_PART, MOST_PARTS = 2_000_000, 64
_MUST_MATCH = ("duckdb", "numpy", "pyarrow")  # whose results are counted: in their first number


Work = Callable[[Iterator[pa.Table]], Iterator[pa.Table]]  # batches of a frame to signed counts


def parts_for(rows: int) -> int:
    """How many parts the counts of so many records are merged in."""
    return min(1 + rows // ROWS_A_PART, MOST_PARTS)


def counted(frame: DataFrame, work: Work, parts: int) -> DataFrame:
    """The counts of a frame's records, which are not merged yet."""
    return frame.mapInArrow(_Partial(work, parts, versions()), _DDL)


def total(partial: DataFrame, parts: int) -> pa.Table:
    """The merged counts.

    Raises:
        FourfoldError: as raised on an executor.
    """
    if parts > 1:
        partial = partial.repartition(parts, "part").mapInArrow(_merged, _DDL)
    adder = Adder()
    for row in partial.toArrow().to_pylist():
        if row["failure"] is not None:
            raise pickle.loads(row["failure"])
        adder.add(_unpacked(row["counts"]))
    return adder.total()


def versions() -> dict[str, str]:
    """What the driver and the executors must have in common."""
    return {
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
        try:
            one_thread()
            self._check()
            adder = Adder()
            for table in self.work(gathered(batches)):
                adder.add(table)
            found = adder.total()
        except FourfoldError as error:
            yield _row(0, failure=pickle.dumps(error))
            return
        if not found.num_rows:
            return
        part = _part_of(found, self.parts)
        for number in np.unique(part).tolist():
            yield _row(number, _packed(found.take(pa.array(np.flatnonzero(part == number)))))

    def _check(self) -> None:
        here = versions()
        for name, wanted in self.expected.items():
            if here[name] != wanted:
                raise ConfigError(
                    f"engine='spark': the executors have {name} {here[name]}, the driver has {wanted}; install the same"
                )


def _merged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One task: it merges the parts that it is given."""
    adder = Adder()
    for batch in batches:
        for row in batch.to_pylist():
            if row["failure"] is not None:
                yield _row(0, failure=row["failure"])
                return
            adder.add(_unpacked(row["counts"]))
    found = adder.total()
    if found.num_rows:
        yield _row(0, _packed(found))


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


def _row(part: int, packed: bytes | None = None, failure: bytes | None = None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"part": part, "counts": packed, "failure": failure}], schema=_ROW)


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _unpacked(packed: bytes) -> pa.Table:
    return pa.ipc.open_stream(packed).read_all()
