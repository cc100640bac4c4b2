"""Columns of records as text, and pieces of keys, as DuckDB tells them: where Spark has to know them for a join."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.connection import connected, one_thread
from fourfold.engine.spark.files import Columns, gathered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def prepared(records: DataFrame, columns: Columns, texts: Mapping[str, str], condition: str | None = None) -> DataFrame:
    """Records with further columns of text, by expressions over the log's columns; only those that fit a condition."""
    from pyspark.sql.types import StringType, StructField, StructType

    if not texts and condition is None:
        return records
    schema = StructType([*records.schema.fields, *(StructField(name, StringType()) for name in texts)])
    return records.mapInArrow(_Prepared(columns, dict(texts), condition), schema)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    columns: Columns
    texts: dict[str, str]
    condition: str | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        one_thread()
        for table in gathered(batches):
            with connected() as connection:
                connection.register("batch", self.columns.records(table))
                asked = sql.listed({**self.texts, "meant": self.condition or "true"})
                found = connection.sql(f"SELECT {asked} FROM batch").to_arrow_table().combine_chunks()
            for name in self.texts:
                table = table.append_column(name, found[name])
            yield from table.filter(found["meant"]).combine_chunks().to_batches()
