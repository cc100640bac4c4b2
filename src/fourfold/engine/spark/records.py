"""A stream's changed records, counted on the cluster: the records themselves, and the repetitions of a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold import counts
from fourfold.engine.drive import count_records, count_repetitions, divided
from fourfold.engine.duckdb import parts_of
from fourfold.engine.duckdb.files import needed, sliced
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.engine.spark.direct import ADDED, BEFORE, Reading, is_direct
from fourfold.engine.spark.files import Columns, columns_of, frame, within
from fourfold.engine.spark.partial import ROWS_A_PART, Passed, by_sign, collected, combined, counted, total
from fourfold.engine.spark.repeated import (
    FEW,
    Compare,
    CountRepetitions,
    Hashes,
    SubtractFirsts,
    parts_of_firsts,
    several_of,
)
from fourfold.engine.spark.touched import before, changed, order
from fourfold.fold import Plan
from fourfold.model.records import EVENT_TIME, KEY, LOG_TIME, users

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def fold_records(
    session: SparkSession, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent, parts: int
) -> pa.Table:
    """The counts of a log's added and removed records, and of the repetitions of a key."""
    if is_direct(log):
        return _read(session, log, splits, plan, extent, parts)
    found = _records(session, log, splits, plan, extent, parts)
    repeated = _repetitions(session, log, splits, extent, parts)
    return total(found if repeated is None else found.union(repeated), parts)


def _read(session: SparkSession, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent, parts: int) -> pa.Table:
    """As ``fold_records``, of files that tasks read themselves."""
    reading, compared = Reading.of(log, extent), 1 + log.rows() // ROWS_A_PART
    work = _ReadRecords(reading, _names(log, splits), splits, plan, compared)
    frame = counted(reading.tasks(session), work, parts)
    table, passed = collected(combined(frame, max(parts, compared), Compare(FEW // compared)))
    several = several_of(passed)
    if several is not None and not len(several):
        return table
    compared = parts_of_firsts(reading, several)
    again = CountRepetitions(reading, splits, several, compared)
    frame = counted(reading.tasks(session), again, 1)
    repeated, _ = collected(combined(frame, compared, SubtractFirsts(reading, splits)))
    return counts.merge(table, repeated)


def _names(log: ChangedLog, splits: Splits) -> tuple[str, ...]:
    """The columns that are counted, or counted by."""
    return columns_of(log, {*users(log.schema.names), KEY, EVENT_TIME} | sliced(log.schema, splits)).names


def _records(
    session: SparkSession, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent, parts: int
) -> DataFrame:
    """The counts of a log's added and removed records."""
    from pyspark.sql import functions as F  # noqa: N812

    columns = columns_of(log, {*_names(log, splits), *([LOG_TIME] if extent.as_of is not None else [])})
    signed = [
        within(frame(session, files, columns), columns, extent).withColumn("sign", F.lit(sign))
        for files, sign in ((log.added, 1), (log.removed, -1))
        if files
    ]
    whole = signed[0] if len(signed) == 1 else signed[0].unionByName(signed[1])
    return counted(whole, _Records(columns, splits, plan), parts)


def _repetitions(
    session: SparkSession, log: ChangedLog, splits: Splits, extent: Extent, parts: int
) -> DataFrame | None:
    """The counts of a log's repetitions, if there are any: of a key's records all but the first one logged are.

    So there are as many of them as records, less one for each key. Where keys come once only, these are the same; of
    the others, the changed records are counted, and the keys' first ones subtracted.
    """
    from pyspark.sql import functions as F  # noqa: N812

    columns = columns_of(log, needed(log.schema, (), splits))
    key = columns.place(KEY)
    new = changed(session, log, columns)
    every = new
    if log.before:
        keys = new.select(key).distinct()
        every = new.unionByName(before(session, log, columns).join(keys, key, "left_semi"))
    every = within(every.where(F.col(key).isNotNull()), columns, extent, closed=False)
    every = every.withColumn("hash", F.xxhash64(key))
    if (several := _several(session, every)) is None:
        return None
    every = every.join(several, "hash", "left_semi").drop("hash")
    rows = every.where(F.col("was") != F.col("is")).withColumn("sign", F.when(F.col("is"), 1).otherwise(-1))
    rows = rows.drop("was", "is")
    record = F.struct(*(columns.place(name) for name in columns.present))
    firsts = every.groupBy(key).agg(
        *(F.min_by(F.when(F.col(side), record), F.when(F.col(side), order(columns))).alias(side) for side in _SIDES)
    )
    for side, sign in _SIDES.items():
        first = firsts.where(F.col(side).isNotNull()).select(f"{side}.*", F.lit(sign).alias("sign"))
        rows = rows.unionByName(first)
    rows = within(rows, columns, Extent(closed=extent.closed))
    sent = columns_of(log, {EVENT_TIME} | sliced(log.schema, splits))
    return counted(rows.select(*(sent.place(name) for name in sent.present), "sign"), _Repetitions(sent, splits), parts)


_FEW = 1 << 20  # hashes that are sent to every executor
_SIDES = {"is": -1, "was": 1}  # what a key's first record adds to the number of repetitions


def _several(session: SparkSession, hashed: DataFrame) -> DataFrame | None:
    """The hashes that several records have; None where each has its own, as keys mostly do.

    Equal hashes are only a first sieve, and cost an eighth of what texts do. A few of them are worked out once, and
    not for each part of the question.
    """
    from pyspark.sql import functions as F  # noqa: N812

    found = hashed.groupBy("hash").agg(F.count("*").alias("n")).where(F.col("n") > 1).select("hash")
    few = found.limit(_FEW + 1).toArrow()
    if not few.num_rows:
        return None
    return found if few.num_rows > _FEW else F.broadcast(session.createDataFrame(few))


@dataclasses.dataclass(frozen=True)
class _ReadRecords:
    """Counts the records of files, and passes on the hashes of their keys; of earlier records only these are read."""

    reading: Reading
    names: Sequence[str]
    splits: Splits
    plan: Plan
    compared: int

    def __call__(self, numbers: Iterator[pa.Table]) -> Iterator[pa.Table | Passed]:
        hashes = Hashes(self.compared)
        for path, part in self.reading.files(numbers):
            for table in self.reading.tables(path, [KEY] if part == BEFORE else self.names):
                yield from hashes.add(table[KEY], earlier=part == BEFORE)
                if part != BEFORE and (records := self.reading.open(table)).num_rows:
                    yield from _counted(1 if part == ADDED else -1, records, self.splits, self.plan)
        yield from hashes.passed()


@dataclasses.dataclass(frozen=True)
class _Records:
    """Counts records."""

    columns: Columns
    splits: Splits
    plan: Plan

    def __call__(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for sign, part in by_sign(tables):
            yield from _counted(sign, self.columns.records(part), self.splits, self.plan)


def _counted(sign: int, records: pa.Table, splits: Splits, plan: Plan) -> Iterator[pa.Table]:
    batch = Batch(sign, records, parts_of(records, divided(splits)))
    return count_records(batch, splits, plan)


@dataclasses.dataclass(frozen=True)
class _Repetitions:
    """Counts repetitions."""

    columns: Columns
    splits: Splits

    def __call__(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for sign, part in by_sign(tables):
            whole = self.columns.records(part)
            times = whole.select([EVENT_TIME]).rename_columns(["time"])
            yield from count_repetitions(Batch(sign, times, parts_of(whole, divided(self.splits))), self.splits)
