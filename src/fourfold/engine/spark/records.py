"""A stream's changed records, counted on the cluster: the records themselves, and the repetitions of a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold.engine.drive import count_records, count_repetitions, divided
from fourfold.engine.duckdb import parts_of
from fourfold.engine.duckdb.files import needed, sliced
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.engine.spark.direct import Reading, is_direct, listed, repeated
from fourfold.engine.spark.files import Columns, columns_of, frame, within
from fourfold.engine.spark.partial import by_sign, counted
from fourfold.engine.spark.touched import before, changed, order
from fourfold.fold import Plan
from fourfold.model.records import EVENT_TIME, KEY, LOG_TIME, users

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def records(
    session: SparkSession, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent, parts: int
) -> DataFrame:
    """The counts of a log's added and removed records."""
    from pyspark.sql import functions as F  # noqa: N812

    names = {*users(log.schema.names), KEY, EVENT_TIME} | sliced(log.schema, splits)
    if is_direct(log):
        reading = Reading(log, extent, columns_of(log, names).names)
        return counted(listed(session, log), _ReadRecords(reading, splits, plan), parts)
    columns = columns_of(log, names | ({LOG_TIME} if extent.as_of is not None else set()))
    signed = [
        within(frame(session, files, columns), columns, extent).withColumn("sign", F.lit(sign))
        for files, sign in ((log.added, 1), (log.removed, -1))
        if files
    ]
    whole = signed[0] if len(signed) == 1 else signed[0].unionByName(signed[1])
    return counted(whole, _Records(columns, splits, plan), parts)


def repetitions(session: SparkSession, log: ChangedLog, splits: Splits, extent: Extent, parts: int) -> DataFrame | None:
    """The counts of a log's repetitions, if there are any: of a key's records all but the first one logged are.

    So there are as many of them as records, less one for each key. Where keys come once only, these are the same; of
    the others, the changed records are counted, and the keys' first ones subtracted.
    """
    from pyspark.sql import functions as F  # noqa: N812

    if not log.before and is_direct(log) and not repeated(session, log, extent).limit(1).toArrow().num_rows:
        return None
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
    """Counts the records of the files that it is given the names of."""

    reading: Reading
    splits: Splits
    plan: Plan

    def __call__(self, named: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for sign, part in self.reading(named):
            yield from _counted(sign, part, self.splits, self.plan)


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
