"""A data frame of Spark's, which is no log: counted where it is, once and in one job."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.counts.binning import Ints
from fourfold.engine.spark.partial import counted, total
from fourfold.engine.spark.session import asked
from fourfold.fold import (
    Plan,
    bucket_starts,
    event_seconds,
    fold_columns,
    fold_keys,
    group_records,
    plan_columns,
    to_arrow,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FIRST = 1 << 17  # records that a plan is made from
_PARTS = 8


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is told of a frame: its number of records, and a fingerprint, which does not depend on their order.

    ``times``: how many records have a value in the time column that was named.
    """

    rows: int
    times: int
    fingerprint: str


def facts(frame: DataFrame, time: str | None) -> Facts:
    """The facts about a frame, from one pass over it."""
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql.types import MapType

    hashed = [_column(field.name) for field in frame.schema if not isinstance(field.dataType, MapType)]
    digits = F.sum(F.xxhash64(*hashed).cast("decimal(38,0)")) if hashed else F.lit(0)
    times = F.count(_column(time)) if time is not None else F.lit(0)
    with asked(frame.sparkSession, "a frame"):
        (row,) = frame.agg(F.count(F.lit(1)).alias("n"), digits.alias("digits"), times.alias("times")).collect()
    text = repr((frame.columns, row["n"], str(row["digits"])))
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return Facts(row["n"], row["times"], f"frame:{digest}")


def counts_of(frame: DataFrame, time: str | None, moment: int, by: Sequence[str], plan: Plan) -> tuple[pa.Table, Plan]:
    """The counts of a frame, and the plan with what it lacked.

    Args:
        frame: the frame.
        time: the column of the event times, without nulls; None: all records are of one moment.
        moment: that moment, in seconds since 1970.
        by: columns by whose values the records are counted, too.
        plan: what is fixed already.
    """
    with asked(frame.sparkSession, "a frame"):
        columns, seconds = _columns(to_arrow(frame.limit(_FIRST).toArrow()), time, moment)
        plan = plan_columns(columns, plan, seconds)
        found = total(counted(frame, _Count(time, moment, tuple(by), plan), _PARTS), _PARTS)
    return counts.heaviest(found), plan


@dataclasses.dataclass(frozen=True)
class _Count:
    time: str | None
    moment: int
    by: tuple[str, ...]
    plan: Plan

    def __call__(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            columns, seconds = _columns(to_arrow(table), self.time, self.moment)
            groups = group_records(bucket_starts(seconds), columns.select(list(self.by)) if self.by else None)
            yield fold_columns(columns, seconds, groups, self.plan)
            yield from (fold_keys(None, group) for group in groups)


def _columns(table: pa.Table, time: str | None, moment: int) -> tuple[pa.Table, Ints]:
    """The columns that are counted, and the event times."""
    if time is None:
        return table, np.full(table.num_rows, moment)
    return table.drop_columns([time]), event_seconds(table[time])


def _column(name: str) -> Any:
    from pyspark.sql import functions as F  # noqa: N812

    return F.col("`" + name.replace("`", "``") + "`")
