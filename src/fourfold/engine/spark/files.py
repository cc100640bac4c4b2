"""A log's data files as Spark's data frames, and their batches as the log's records again.

The columns of a frame are named by their places in the log's schema (c0, c1, …): what users call theirs, no query of
Spark's has to read.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold.engine.protocol import ChangedLog

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

GATHERED = 1 << 17  # records that are counted at a time: Spark's batches are smaller
# a file that is missing or cannot be read is an error, whatever the session says; paths are no patterns, and name no
# partitions; times before 1900 are as they were written
_OPTIONS = {
    "ignoreMissingFiles": "false", "ignoreCorruptFiles": "false", "mergeSchema": "false",
    "recursiveFileLookup": "true", "__globPaths__": "false",
    "datetimeRebaseMode": "CORRECTED", "int96RebaseMode": "CORRECTED",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Columns:
    """Some columns of a log, by their places in a frame."""

    schema: pa.Schema  # of the log
    names: tuple[str, ...]

    @property
    def present(self) -> list[str]:
        """Those that a file may have; no file holds a column without a type."""
        return [name for name in self.names if not pa.types.is_null(self.schema.field(name).type)]

    def place(self, name: str) -> str:
        """The name of a column in the frame."""
        return f"c{self.schema.get_field_index(name)}"

    def records(self, table: pa.Table) -> pa.Table:
        """The log's records out of a batch of the frame."""
        arrays = [
            table[self.place(name)].cast(self.schema.field(name).type)
            if self.place(name) in table.column_names
            else pa.nulls(table.num_rows)
            for name in self.names
        ]
        return pa.table(arrays, names=list(self.names))


def columns_of(log: ChangedLog, names: Iterable[str]) -> Columns:
    """Columns of a log, in its order."""
    wanted = set(names)
    return Columns(log.schema, tuple(name for name in log.schema.names if name in wanted))


def frame(session: SparkSession, files: Sequence[str], columns: Columns) -> DataFrame:
    """The records of some files; a file that lacks a column has nulls in it."""
    from pyspark.sql import functions as F  # noqa: N812 - its usual name
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = from_arrow_schema(pa.schema([columns.schema.field(name) for name in columns.present]))
    if not files:
        nothing = [F.lit(None).cast(field.dataType).alias(columns.place(field.name)) for field in schema]
        return session.range(0).select(*nothing)
    read = session.read.options(**_OPTIONS).schema(schema).parquet(*map(url, files))
    return read.select(*(F.col(_quoted(field.name)).alias(columns.place(field.name)) for field in schema))


def url(path: str) -> str:
    """A data file's address for Hadoop: of a file on this machine its scheme, of one on S3 the scheme of its client."""
    scheme = re.match(r"(\w+)://", path)
    if scheme is None:
        return f"file:{path}"
    return f"s3a://{path[len('s3://') :]}" if scheme[1] == "s3" else path


def gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Spark's batches as tables of a moderate size."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= GATHERED:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
