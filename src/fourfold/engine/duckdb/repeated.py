"""Repetitions of a key in a stream, as SQL for DuckDB: all of its records but the first one logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.connection import batches, connected
from fourfold.engine.duckdb.files import needed, read, register
from fourfold.engine.duckdb.touched import FIRST, PARTS, changed_files
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


def repetitions(log: ChangedLog, splits: Splits, extent: Extent) -> Iterator[Batch]:
    """See ``Engine.repetitions``."""
    if not (log.added or log.removed):
        return
    columns = needed(log.schema, (), splits)
    tables = {part: read(log, files, columns) for part, files in changed_files(log)}
    keys = _few(tables.values())
    if keys is not None:
        distinct = pc.unique(keys)
        before = log.before_with(distinct, columns) if log.before else None
        untouched = not log.before if before is None else not before.num_rows
        if untouched and len(distinct) == len(keys):
            return
        if before is not None:
            tables["before"] = before
    touched = ""
    if log.before and "before" not in tables:
        keys_of = " UNION ".join(f"SELECT {KEY} FROM records_{part}" for part in tables)
        touched = f"AND {KEY} IN ({keys_of})"
        tables["before"] = None
    with connected() as connection:
        for part, table in tables.items():
            if table is None:
                register(connection, f"records_{part}", log, getattr(log, part))
            else:
                connection.register(f"records_{part}", table)
        yield from _asked(connection, log, [*tables], splits, extent, touched)


def _few(tables: Iterable[pa.Table | None]) -> pa.ChunkedArray | None:
    """The keys of what is in memory; None where not all is."""
    chunks = []
    for table in tables:
        if table is None:
            return None
        chunks += table[KEY].chunks
    return pa.chunked_array(chunks, pa.string()).drop_null()


def _asked(
    connection: duckdb.DuckDBPyConnection,
    log: ChangedLog,
    present: Sequence[str],
    splits: Splits,
    extent: Extent,
    touched: str,
) -> Iterator[Batch]:
    """The repetitions among the parts of a log that are present; of touched keys, where a condition says so."""
    parts = sql.parts_sql(log.schema, splits)
    columns = ", ".join([KEY, EVENT_TIME, FIRST, *(f"{text} AS {name}" for name, text in parts.items())])
    queries = []
    for part in present:
        in_before, in_after = PARTS[part]
        queries.append(_RECORDS.format(columns=columns, part=part, in_before=in_before, in_after=in_after))
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
