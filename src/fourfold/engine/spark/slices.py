"""What is fixed of a dimension, from all records on the cluster: its most frequent values, and its buckets' edges."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from fourfold.engine.duckdb import labelled, parts_of, sql
from fourfold.engine.duckdb.connection import one_thread
from fourfold.engine.duckdb.files import sliced
from fourfold.engine.protocol import WHOLE, ChangedLog
from fourfold.engine.spark.files import columns_of, frame, gathered
from fourfold.engine.spark.prepared import prepared
from fourfold.engine.spark.reading import ADDED, Reading, Source
from fourfold.errors import FourfoldError
from fourfold.fold import KeptSlices
from fourfold.model import MOST_SLICES, Dimension

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ACCURACY = 10_000  # of approximate quantiles: their ranks are within one in so many


def kept_slices(session: SparkSession, log: ChangedLog, dimension: Dimension, known: KeptSlices) -> KeptSlices:
    """See ``Engine.kept_slices``."""
    edges = {**known.edges}
    for part in dimension.parts:
        if part.buckets and part.name not in edges:
            found = _quantiles(session, log, part.name, [i / part.buckets for i in range(1, part.buckets)])
            if found:
                edges[part.name] = tuple(dict.fromkeys(found))
    known = dataclasses.replace(known, edges=edges)
    return known if known.full else known.admitting(_most_frequent(session, log, dimension, known))


def _most_frequent(
    session: SparkSession, log: ChangedLog, dimension: Dimension, known: KeptSlices
) -> list[tuple[str | None, ...]]:
    """The values of a dimension, the most frequent first."""
    from pyspark.sql import functions as F  # noqa: N812

    names = [f"slice_0_{j}" for j in range(len(dimension.parts))]
    ddl = ", ".join([*(f"{name} string" for name in names), "n bigint", "failure binary"])
    columns = sorted(sliced(log.schema, [dimension])) or log.schema.names[:1]
    ((read, records),) = Reading(log, {ADDED: columns}, WHOLE).frames(session)
    found = read.mapInArrow(_Frequencies(records, dimension, known), ddl)
    found = found.groupBy(*names, "failure").agg(F.sum("n").alias("n"))
    order = [F.col("failure").desc_nulls_last(), F.col("n").desc(), *(F.col(name).asc_nulls_last() for name in names)]
    rows = found.orderBy(*order).limit(MOST_SLICES + len(known.kept) + 1).collect()
    if rows and rows[0]["failure"] is not None:
        raise pickle.loads(bytes(rows[0]["failure"]))
    return labelled(tuple(row[name] for name in names) for row in rows)


@dataclasses.dataclass(frozen=True)
class _Frequencies:
    """One task: how often each value occurs among its records."""

    records: Source
    dimension: Dimension
    known: KeptSlices

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        one_thread()
        try:
            for _, records in self.records(gathered(batches)):
                parts = parts_of(records, {self.dimension: self.known})
                counted = parts.group_by(self._names).aggregate([([], "count_all")]).combine_chunks()
                found = {name: counted[name].cast(pa.string()) for name in self._names}
                found |= {"n": counted["count_all"], "failure": pa.nulls(counted.num_rows, pa.binary())}
                yield from pa.table(found).to_batches()
        except FourfoldError as error:
            failure = {name: pa.nulls(1, pa.string()) for name in self._names}
            failure |= {"n": pa.array([0], pa.int64()), "failure": pa.array([pickle.dumps(error)], pa.binary())}
            yield from pa.table(failure).to_batches()

    @property
    def _names(self) -> list[str]:
        return [f"slice_0_{j}" for j in range(len(self.dimension.parts))]


def _quantiles(session: SparkSession, log: ChangedLog, name: str, shares: list[float]) -> list[float]:
    """The quantiles of a column's finite values, exactly as DuckDB's ``quantile_cont`` has them.

    Approximate quantiles say where the values of the wanted ranks are; those around them are counted exactly.
    """
    from pyspark.sql import functions as F  # noqa: N812

    values = _numbers(session, log, name).where(~F.isnan("v") & (F.abs("v") != math.inf))
    margins = [min(max(share + sign * 2 / _ACCURACY, 0.0), 1.0) for share in shares for sign in (-1, 1)]
    first = values.agg(F.count("v").alias("n"), F.percentile_approx("v", margins, _ACCURACY).alias("around")).collect()
    rows, around = int(first[0]["n"]), first[0]["around"]
    if not rows:
        return []
    found = []
    for i, share in enumerate(shares):
        place = (rows - 1) * share
        lower, upper = math.floor(place), math.ceil(place)
        found.append(_between(_ranked(values, around[2 * i], around[2 * i + 1], lower, upper), place - lower))
    return found


def _ranked(values: DataFrame, low: float, high: float, lower: int, upper: int) -> tuple[float, float]:
    """The values of two ranks, which are likely to lie between two others."""
    from pyspark.sql import functions as F  # noqa: N812

    before = values.where(F.col("v") < low).count()
    near = values.where(F.col("v").between(low, high)).groupBy("v").count().orderBy("v").collect()
    found: list[float] = []
    for rank in (lower, upper):
        at = before
        for row in near:
            at += row["count"]
            if before <= rank < at:
                found.append(float(row["v"]))
                break
    if len(found) < 2:  # they lie elsewhere
        return _ranked(values, -math.inf, math.inf, lower, upper)
    return found[0], found[1]


def _between(neighbours: tuple[float, float], share: float) -> float:
    """The value between two others, as DuckDB rounds it."""
    with duckdb.connect() as connection:
        connection.register("two", pa.table({"v": list(neighbours)}))
        row = connection.execute(f"SELECT quantile_cont(v, [{share!r}::DOUBLE]) FROM two").fetchone()
    assert row is not None
    return float(row[0][0])


def _numbers(session: SparkSession, log: ChangedLog, name: str) -> DataFrame:
    """A column's values as floats, as ``v``."""
    from pyspark.sql import functions as F  # noqa: N812

    columns = columns_of(log, [name])
    if name not in columns.present:
        return session.range(0).select(F.lit(None).cast("double").alias("v"))
    records, kind = frame(session, log.added, columns), log.schema.field(name).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        text = f"CAST({sql.number_sql(name, log.schema)} AS VARCHAR)"
        records = prepared(records, columns, {"text": text})
        return records.select(F.col("text").cast("double").alias("v")).where(F.col("v").isNotNull())
    return records.select(F.col(columns.place(name)).cast("double").alias("v")).where(F.col("v").isNotNull())
