"""The records of one log in a change, as a data frame: those that came or went, and the earlier ones of their keys.

``was`` and ``is`` say whether a record was there before the change, and is there after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourfold.engine.protocol import ChangedLog
from fourfold.engine.spark.files import Columns, frame
from fourfold.model.records import BATCH, LOG_TIME, ROW

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


def changed(session: SparkSession, log: ChangedLog, columns: Columns) -> DataFrame:
    """The added and the removed records."""
    new = _standing(frame(session, log.added, columns), False, True)
    return new.unionByName(_standing(frame(session, log.removed, columns), True, False)) if log.removed else new


def before(session: SparkSession, log: ChangedLog, columns: Columns) -> DataFrame:
    """The records that were there and still are."""
    return _standing(frame(session, log.before, columns), True, True)


def order(columns: Columns) -> Column:
    """What puts records in the order in which they were logged."""
    from pyspark.sql import functions as F  # noqa: N812

    return F.struct(*(F.col(columns.place(name)) for name in (LOG_TIME, BATCH, ROW)))


def _standing(records: DataFrame, was: bool, now: bool) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    return records.withColumns({"was": F.lit(was), "is": F.lit(now)})
