"""The join of a task's streams as Spark's data frames: the three stages of ``duckdb/joins.py``, with its words.

Spark finds the records of touched keys, chooses one of each key and joins those, whatever their columns hold; what the
columns mean to the task, the kernel's batches ask DuckDB, as in one process. A key's records are aggregated where they
are before they travel, so that a key that has very many is no burden to one executor.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.files import needed, sliced
from fourfold.engine.duckdb.sides import prediction_names, recorded
from fourfold.engine.protocol import ChangedLog, Extent, Splits, Wanted
from fourfold.engine.spark.files import columns_of, moment, within
from fourfold.engine.spark.joined import CountJoined, CountPairs, Reading
from fourfold.engine.spark.partial import counted
from fourfold.engine.spark.prepared import prepared
from fourfold.engine.spark.touched import before, changed, order
from fourfold.fold import Plan
from fourfold.model import Task
from fourfold.model.records import EVENT_TIME, KEY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_SIGNS = {"is": 1, "was": -1}


class _Side:
    """One stream of a task: the records that are meant, and the chosen ones.

    ``texts`` are columns as text, which Spark groups by: ``version`` and ``query``.
    """

    def __init__(
        self, session: SparkSession, log: ChangedLog, names: set[str], texts: Mapping[str, str], extent: Extent
    ) -> None:
        self.log, self.texts = log, [*texts]
        self.columns = columns_of(log, {*needed(log.schema, ()), *names})
        self.sent = columns_of(log, {EVENT_TIME, *names})
        self.key, self.time = self.columns.place(KEY), self.columns.place(EVENT_TIME)
        self._session, self._expressions, self._extent = session, texts, extent

    def new(self) -> DataFrame:
        """What came or went."""
        return self._meant(changed(self._session, self.log, self.columns))

    def old(self, touched: DataFrame) -> DataFrame:
        """The earlier records of touched keys."""
        records = before(self._session, self.log, self.columns)
        return self._meant(records.join(touched.withColumnRenamed("k", self.key), self.key, "left_semi"))

    def every(self) -> DataFrame:
        """All records, whatever is meant."""
        records = changed(self._session, self.log, self.columns)
        if self.log.before:
            records = records.unionByName(before(self._session, self.log, self.columns))
        return prepared(records, self.columns, self._expressions)

    def _meant(self, records: DataFrame) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        records = within(records.where(F.col(self.key).isNotNull()), self.columns, self._extent, closed=False)
        piece = sql.of_piece(KEY, *self._extent.piece) if self._extent.piece is not None else None
        return prepared(records, self.columns, self._expressions, piece)

    def value(self) -> Column:
        """What is joined of a record."""
        from pyspark.sql import functions as F  # noqa: N812

        return F.struct(*(F.col(self.sent.place(name)) for name in self.sent.present))


class Join:
    """One task's join in one session. With ``share``, only keys whose MD5 is below it are meant."""

    def __init__(
        self,
        session: SparkSession,
        task: Task,
        logs: Mapping[str, ChangedLog],
        splits: Splits,
        extent: Extent,
        share: str | None = None,
    ) -> None:
        self._task, self._splits, self._extent, self._share = task, splits, extent, share
        self._sides = {"prediction": self._prediction(session, logs[task.prediction.stream])}
        for name, column in (("label", task.label), ("outcome", task.outcome)):
            if column is not None:
                log = logs[column.stream]
                names = {column.column, *recorded(task, name, log.schema)} & {*log.schema.names}
                self._sides[name] = _Side(session, log, names, {}, extent)
        self._stood = any(side.log.before or side.log.removed for side in self._sides.values())
        self._queries: DataFrame | None = None  # those that are touched, where not all are
        self._records = self._touched()

    def counted(self, wanted: Wanted, plan: Plan, parts: int, *, pairs: bool) -> list[DataFrame]:
        """The counts of the joined records, and of pairs of versions, as they were before and as they are after."""
        frames = []
        for side in _SIGNS if self._stood else ["is"]:
            sign = _SIGNS[side]
            frames.append(
                counted(self._joined(side), CountJoined(self._reading, self._splits, wanted, plan, sign), parts)
            )
            if pairs:
                frames.append(counted(self._pairs(side), CountPairs(self._reading, plan, sign), parts))
        return frames

    def sample(self, most: int, *, labelled: bool) -> pa.Table:
        """The joined records of the keys whose MD5 is smallest, at most so many; of those with a label, or of all."""
        from pyspark.sql import functions as F  # noqa: N812

        joined = self._joined("is", whole_queries=False)
        if labelled:
            joined = joined.where(F.col("p").isNotNull() & F.col("h"))
        by = [F.md5(F.col("k").cast("binary")), *([F.col("version")] if self._task.version else [])]
        table = joined.orderBy(*by).limit(most).toArrow().combine_chunks()
        return self._reading.records(table, {}) if table.num_rows else pa.table({})

    def _prediction(self, session: SparkSession, log: ChangedLog) -> _Side:
        task, schema = self._task, log.schema
        names = {name for name in schema.names if name in prediction_names(task)}
        names |= {*recorded(task, "prediction", schema)}
        names |= sliced(schema, self._splits)
        texts = {}
        if task.version:
            texts["version"] = sql.text_sql(task.version, schema)
        if task.query:
            names.add(KEY)
            texts["query"] = f"coalesce({sql.text_sql(task.query, schema)}, {KEY})"
        return _Side(session, log, names, texts, self._extent)

    @property
    def _reading(self) -> Reading:
        return Reading(self._task, {name: side.sent for name, side in self._sides.items()})

    # which records ---------------------------------------------------------------------------------------------------

    def _touched(self) -> dict[str, DataFrame]:
        """All records of touched keys, of each side."""
        new = {name: side.new() for name, side in self._sides.items()}
        if any(side.log.before for side in self._sides.values()):
            keys = functools.reduce(
                lambda one, other: one.union(other),
                (records.select(_column(self._sides[name].key).alias("k")) for name, records in new.items()),
            ).distinct()
            if self._task.query:
                keys = self._with_items(keys)
            for name, side in self._sides.items():
                if side.log.before:
                    new[name] = new[name].unionByName(side.old(keys))
        return {name: self._shared(name, records) for name, records in new.items()}

    def _shared(self, name: str, records: DataFrame) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        if self._share is None:
            return records
        return records.where(F.md5(F.col(self._sides[name].key).cast("binary")) < F.lit(self._share))

    def _with_items(self, keys: DataFrame) -> DataFrame:
        """Touched keys with those of all items of their ranking queries."""
        side = self._sides["prediction"]
        items = side.every().select(_column(side.key).alias("k"), "query")
        self._queries = items.join(keys, "k", "left_semi").select("query").distinct()
        return keys.union(items.join(self._queries, "query", "left_semi").select("k")).distinct()

    # which of them ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _chosen(self) -> dict[str, DataFrame]:
        """For each key (of predictions: and version) the chosen record before and after, and of how many."""
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        found = {}
        for name, side in self._sides.items():
            versioned = name == "prediction" and bool(self._task.version)
            group = [F.col(side.key).alias("k"), *([F.col("version")] if versioned else [])]
            pick = F.min_by if name == "prediction" else F.max_by
            value, at = side.value(), order(side.columns)
            if "query" in side.texts:
                value = F.struct(value.alias("v"), F.col("query"))
            picked = []
            for flag in _SIGNS if self._stood else ["is"]:
                picked.append(pick(F.when(F.col(flag), value), F.when(F.col(flag), at)).alias(flag))
                picked.append(F.count(F.when(F.col(flag), 1)).alias(f"{flag}_n"))
                if versioned:
                    picked.append(F.min(F.when(F.col(flag), at)).alias(f"{flag}_at"))
            chosen = self._records[name].groupBy(*group).agg(*picked)
            if versioned:  # of a key's versions, the first one was served
                for flag in _SIGNS if self._stood else ["is"]:
                    first = F.min(f"{flag}_at").over(Window.partitionBy("k"))
                    chosen = chosen.withColumn(f"{flag}_served", F.col(f"{flag}_at") == first)
            found[name] = chosen
        return found

    def _of_side(self, name: str, flag: str, short: str) -> DataFrame:
        """The chosen records of one side, before (``was``) or after (``is``)."""
        from pyspark.sql import functions as F  # noqa: N812

        columns = [F.col("k"), F.col(flag).alias(short), F.col(f"{flag}_n").alias(f"{short}n")]
        if name == "prediction":
            if self._task.query:
                columns[1:2] = [F.col(f"{flag}.v").alias(short), F.col(f"{flag}.query").alias("query")]
            if self._task.version:
                columns += [F.col("version"), F.col(f"{flag}_served").alias("served")]
        if name == "label":
            columns.append(self._has_label(F.col(flag)).alias("h"))
        return self._chosen[name].where(F.col(f"{flag}_n") > 0).select(*columns)

    def _has_label(self, label: Column) -> Column:
        """Whether a label is neither null nor NaN."""
        from pyspark.sql import functions as F  # noqa: N812

        sent, column = self._sides["label"].sent, self._task.label.column
        if column not in sent.present:
            return F.lit(False)
        value = label[sent.place(column)]
        if pa.types.is_floating(sent.schema.field(column).type):
            return value.isNotNull() & ~F.isnan(value)
        return value.isNotNull()

    # joined ----------------------------------------------------------------------------------------------------------

    def _joined(self, flag: str, *, whole_queries: bool = True) -> DataFrame:
        """The joined records before or after: a row for each, as ``Reading`` reads them."""
        from pyspark.sql import functions as F  # noqa: N812

        found = self._of_side("prediction", flag, "p").join(self._of_side("label", flag, "l"), "k", "full")
        if "outcome" in self._sides:
            found = found.join(self._of_side("outcome", flag, "o").drop("on"), "k", "left")
        found = found.where(F.col("p").isNotNull() | F.col("h"))
        time = F.coalesce(self._time("prediction", "p"), self._time("label", "l"))
        found = _bounded(found, time, self._extent)
        if self._queries is not None:
            meant = self._queries.withColumn("meant", F.lit(True))
            found = found.join(meant, "query", "left").where(F.col("query").isNull() | F.col("meant")).drop("meant")
        found = self._open(found)
        if self._task.query and whole_queries:
            found = found.repartition(F.coalesce("query", "k")).sortWithinPartitions("query")
        return found

    def _open(self, found: DataFrame) -> DataFrame:
        """What is not closed: of a ranking task by the newest item of a query, of a lone label by its horizon."""
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        closed = self._extent.closed
        if closed is None:
            return found
        time = self._time("prediction", "p")
        if self._task.query:
            time = F.max(time).over(Window.partitionBy("query", F.when(F.col("query").isNull(), F.col("k"))))
        horizon = self._task.horizon * 1_000_000
        since = F.coalesce(F.unix_micros(time), F.unix_micros(self._time("label", "l")) - F.lit(horizon))
        return found.withColumn("since", since).where(F.col("since") >= closed).drop("since")

    def _pairs(self, flag: str) -> DataFrame:
        """The keys that two model versions predicted, with both predictions."""
        from pyspark.sql import functions as F  # noqa: N812

        one = self._of_side("prediction", flag, "p").drop("pn", "served", "query")
        other = one.select("k", F.col("p").alias("q"), F.col("version").alias("against"))
        both = one.join(other, "k").where(F.col("version") < F.col("against"))
        found = both.join(self._of_side("label", flag, "l").drop("ln"), "k")
        first = max((m for m in (self._extent.start, self._extent.closed) if m is not None), default=None)
        return _bounded(found, self._time("prediction", "p"), Extent(start=first, end=self._extent.end))

    def _time(self, side: str, short: str) -> Column:
        return _column(f"{short}.{self._sides[side].time}")


def _bounded(records: DataFrame, time: Column, extent: Extent) -> DataFrame:
    """Those whose time is within an extent."""
    if extent.start is not None:
        records = records.where(time >= moment(extent.start))
    return records if extent.end is None else records.where(time < moment(extent.end))


def _column(name: str) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    return F.col(name)
