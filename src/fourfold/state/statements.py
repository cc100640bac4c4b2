"""What statements have in common: rows that may be there already, and how many values one can bind."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from fourfold.model import Owner

_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_MOST = 500  # values bound in one statement
Row = Mapping[str, Any]
T = TypeVar("T")


def upsert(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row]) -> None:
    """Insert rows with all their columns; each takes the place of one with the same primary key."""
    _insert_rows(connection, table, rows, replace=True)


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row]) -> None:
    """Insert rows, but for those whose primary key is there already: these stay as they are."""
    _insert_rows(connection, table, rows, replace=False)


def upsert_columns(connection: sa.Connection, table: sa.Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """As ``upsert``, of rows that are given column by column."""
    _insert(connection, table, columns, replace=True)


def chunked(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values, as many at a time as one statement can bind."""
    return (values[i : i + _MOST] for i in range(0, len(values), _MOST))


@dataclasses.dataclass(frozen=True)
class _Text:
    """A statement as a driver takes it; its parameters, by place, are these columns."""

    sql: str
    columns: tuple[str, ...]


def _insert_rows(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row], *, replace: bool) -> None:
    listed = [rows] if isinstance(rows, Mapping) else rows
    _insert(
        connection, table, {c.name: [_plain(row[c.name]) for row in listed] for c in table.columns}, replace=replace
    )


def _insert(connection: sa.Connection, table: sa.Table, columns: Mapping[str, Sequence[Any]], *, replace: bool) -> None:
    # the values are plain numbers, texts and bytes, which drivers take as they are: several times quicker than bound
    # one by one, as counts are written by hundreds
    statement = _statement(connection.dialect, table, replace=replace)
    rows: list[Any] = list(zip(*(columns[name] for name in statement.columns), strict=True))
    if rows:
        connection.exec_driver_sql(statement.sql, rows)


def _plain(value: Any) -> Any:
    return value.key if isinstance(value, Owner) else value


@functools.lru_cache(maxsize=256)
def _statement(dialect: sa.Dialect, table: sa.Table, *, replace: bool) -> _Text:
    insert = _INSERTS[dialect.name](table)
    keys = list(table.primary_key.columns)
    values = {column.name: insert.excluded[column.name] for column in table.columns if column not in keys}
    if replace and values:
        insert = insert.on_conflict_do_update(index_elements=keys, set_=values)
    else:
        insert = insert.on_conflict_do_nothing(index_elements=keys)
    compiled = insert.compile(dialect=dialect, column_keys=table.columns.keys())
    return _Text(str(compiled), tuple(compiled.positiontup or ()))
