"""Repetitions of a key in a stream, as SQL for DuckDB: all of its records but the first one logged."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.connection import batches
from fourfold.engine.duckdb.files import needed, read, register
from fourfold.engine.duckdb.joins import FIRST, PARTS, changed_files
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.model.records import EVENT_TIME, KEY, LOG_TIME

_RECORDS = "SELECT {columns}, {in_before} AS in_before, {in_after} AS in_after FROM records_{part}"
_REPEATED = f"""
    CREATE TEMP TABLE repeated AS
    SELECT {KEY} FROM records WHERE {KEY} IS NOT NULL {{conditions}} GROUP BY {KEY} HAVING count(*) > 1
"""
_CHANGED = f"""
    WITH ranked AS (
        SELECT *,
            in_before AND row_number() OVER (PARTITION BY {KEY}, in_before ORDER BY {FIRST}) > 1 AS was,
            in_after AND row_number() OVER (PARTITION BY {KEY}, in_after ORDER BY {FIRST}) > 1 AS is_now
        FROM records WHERE {KEY} IN (SELECT {KEY} FROM repeated) {{known}}
    )
    SELECT {EVENT_TIME} AS time, is_now AS added {{parts}} FROM ranked WHERE is_now <> was {{open}}
"""


def repetitions(
    connection: duckdb.DuckDBPyConnection, log: ChangedLog, splits: Splits, extent: Extent
) -> Iterator[Batch]:
    """See ``Engine.repetitions``."""
    columns = needed(log.schema, (), splits)
    tables = {part: read(files, log.schema, columns) for part, files in changed_files(log)}
    small = [table for table in tables.values() if table is not None]
    touched = ""
    if len(small) == len(tables):
        keys = pa.chunked_array([chunk for table in small for chunk in table[KEY].chunks], pa.string()).drop_null()
        distinct = pc.unique(keys)
        before = log.before_with(distinct, columns) if log.before else None
        untouched = not log.before if before is None else not before.num_rows
        if untouched and len(distinct) == len(keys):
            return
        if before is not None:
            tables["before"] = before
    if log.before and "before" not in tables:
        tables["before"] = None
        keys_of = " UNION ".join(f"SELECT {KEY} FROM records_{part}" for part in tables if part != "before")
        touched = f"AND {KEY} IN ({keys_of})"
    for part, table in tables.items():
        if table is None:
            register(connection, f"records_{part}", getattr(log, part), log.schema)
        else:
            connection.register(f"records_{part}", table)
    parts = sql.parts_sql(log.schema, splits)
    wanted = ", ".join([KEY, EVENT_TIME, *FIRST.split(", "), *(f"{text} AS {name}" for name, text in parts.items())])
    queries = [
        _RECORDS.format(columns=wanted, part=part, in_before=PARTS[part][0], in_after=PARTS[part][1]) for part in tables
    ]
    known = "" if extent.as_of is None else f"AND epoch_us({LOG_TIME}) <= {int(extent.as_of)}"
    open_ = "" if extent.closed is None else f"AND epoch_us({EVENT_TIME}) >= {int(extent.closed)}"
    connection.execute(f"CREATE TEMP VIEW records AS {' UNION ALL '.join(queries)}")
    connection.execute(_REPEATED.format(conditions=f"{known} {touched}"))
    names = "".join(f", {name}" for name in parts)
    for table in batches(connection, _CHANGED.format(known=known, open=open_, parts=names)):
        for sign, mask in ((1, table["added"]), (-1, pc.invert(table["added"]))):
            records = table.filter(mask).combine_chunks()
            if records.num_rows:
                yield Batch(sign, records, records)
