"""A log's data files for DuckDB: what is small Arrow reads at once, of what is large DuckDB reads what it needs."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable, Iterator, Sequence

import duckdb
import pyarrow as pa
import pyarrow.dataset as pds

from fourfold.engine import stopping
from fourfold.engine.duckdb.connection import BATCH_ROWS
from fourfold.engine.duckdb.sql import literal
from fourfold.engine.expressions import columns_of_slice
from fourfold.engine.protocol import ChangedLog, Extent, Splits
from fourfold.model import Dimension, limits
from fourfold.model.records import EVENT_TIME, LOG_TIME, META

SMALL = 1 << 17  # records, up to which files are read at once


def needed(schema: pa.Schema, names: Collection[str], splits: Splits = {}) -> list[str]:  # noqa: B006 - it stays empty
    """The columns of a log that a question is over: fourfold's own, those named, and those of dimensions."""
    wanted, over = {name.casefold() for name in (*names, *META.names)}, sliced(schema, splits)
    return [name for name in schema.names if name.casefold() in wanted or name in over]


def sliced(schema: pa.Schema, dimensions: Iterable[Dimension]) -> set[str]:
    """The columns of a log that dimensions are over, in whatever case these write them."""
    wanted = {name.casefold() for dimension in dimensions for name in columns_of_slice(dimension)}
    return {name for name in schema.names if name.casefold() in wanted}


def read(log: ChangedLog, files: Sequence[str], columns: Sequence[str]) -> pa.Table | None:
    """Some columns of the records of some files of a log in memory; None where they are too many for that."""
    table = log.read(files, columns, min(SMALL, _at_once(columns)))
    return None if table is None else table.combine_chunks()


def tables(
    log: ChangedLog, files: Sequence[str], extent: Extent, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The records of some files, in their order and in tables of a moderate size; whole, or some of their columns."""
    if not files:
        return
    columns = log.schema.names if columns is None else columns
    if extent.as_of is None and extent.closed is None:
        table = read(log, files, columns)
        if table is not None:
            stopping.check()
            yield from [table] if table.num_rows else []
            return
    waiting: list[pa.RecordBatch] = []
    rows = min(BATCH_ROWS, _at_once(columns))
    for batch in log.dataset(files).to_batches(
        columns=columns, batch_size=rows, batch_readahead=2, fragment_readahead=2, filter=_within(extent)
    ):
        stopping.check()
        if batch.num_rows:
            waiting.append(batch)
        if sum(b.num_rows for b in waiting) >= rows:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _at_once(columns: Sequence[str]) -> int:
    """Of how many records so many columns may be in memory at once."""
    return limits.CELLS // max(len(columns), 1)


def last(log: ChangedLog, files: Sequence[str], extent: Extent) -> pa.Table:
    """The last records of some files: all of them where they are few, else at least so many as are read at once."""
    found: list[pa.Table] = []
    most = min(SMALL, _at_once(log.schema.names))
    if extent.as_of is None and extent.closed is None and (table := read(log, files, log.schema.names)) is not None:
        return table
    for fragment in reversed(list(log.dataset(files).get_fragments())):
        for part in reversed(fragment.split_by_row_group()):
            stopping.check()
            kept, rows = collections.deque[pa.RecordBatch](), 0
            for batch in part.to_batches(schema=log.schema, filter=_within(extent), batch_size=max(most, 1)):
                kept.append(batch)
                rows += batch.num_rows
                while rows - kept[0].num_rows >= most > 0:
                    rows -= kept.popleft().num_rows
            found.insert(0, pa.Table.from_batches(kept, log.schema))
            if sum(table.num_rows for table in found) >= most:
                return pa.concat_tables(found).combine_chunks()
    return pa.concat_tables([log.schema.empty_table(), *found]).combine_chunks()


def _within(extent: Extent) -> pds.Expression | None:
    """The condition that records were known at a moment, and are not closed; None where neither is asked for."""
    known = None
    if extent.as_of is not None:
        known = pds.field(LOG_TIME) <= pa.scalar(extent.as_of, META.field(LOG_TIME).type)
    if extent.closed is not None:
        open_ = pds.field(EVENT_TIME) >= pa.scalar(extent.closed, META.field(EVENT_TIME).type)
        known = open_ if known is None else known & open_
    return known


def register(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    log: ChangedLog,
    files: Sequence[str],
    columns: Sequence[str] | None = None,
) -> None:
    """Make some files of a log a view; a file that lacks a column has nulls in it.

    Args:
        connection: where the view is made.
        name: the view's.
        log: the log.
        files: their paths.
        columns: those that are asked for, which are read at once where they are few records; None: all, in any case
            by DuckDB.
    """
    schema = log.schema
    table = read(log, files, columns or schema.names) if columns or not files else None
    if table is not None:
        connection.register(name, table)
        return
    # what DuckDB takes for patterns, or cannot read, Arrow does
    if any(character in path for path in files for character in ("*", "?", "[", "://")):
        connection.register(name, log.dataset(files))
        return
    paths = ", ".join(literal(path) for path in files)
    source = f"read_parquet([{paths}], union_by_name = true)"
    present = {column.casefold() for column in connection.sql(f"SELECT * FROM {source} LIMIT 0").columns}
    if not all(column.casefold() in present for column in schema.names):
        connection.register(f"{name}_empty", schema.empty_table())
        source = f"(SELECT * FROM {name}_empty UNION ALL BY NAME SELECT * FROM {source})"
    connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {source}")
