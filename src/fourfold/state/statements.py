"""What statements have in common: rows that may be there already, and how many values one can bind."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
Row = Mapping[str, Any]
T = TypeVar("T")
_MOST = 500  # values bound in one statement


def upsert(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row]) -> None:
    """Insert rows with all their columns; each takes the place of one with the same primary key."""
    if rows:
        connection.execute(_statement(connection.dialect.name, table, replace=True), rows)


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row]) -> None:
    """Insert rows, but for those whose primary key is there already: these stay as they are."""
    if rows:
        connection.execute(_statement(connection.dialect.name, table, replace=False), rows)


@functools.cache
def _statement(dialect: str, table: sa.Table, *, replace: bool) -> Any:
    statement = _INSERTS[dialect](table)
    keys = list(table.primary_key.columns)
    if not replace:
        return statement.on_conflict_do_nothing(index_elements=keys)
    values = {column.name: statement.excluded[column.name] for column in table.columns if column not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)


def chunked(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values, as many at a time as one statement can bind."""
    return (values[i : i + _MOST] for i in range(0, len(values), _MOST))
