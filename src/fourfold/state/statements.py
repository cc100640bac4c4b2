"""What statements have in common: rows that may be there already, and how many values one can bind."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_MOST = 500  # values bound in one statement
Row = Mapping[str, Any]
T = TypeVar("T")


def upsert(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row]) -> None:
    """Insert rows with all their columns; each takes the place of one with the same primary key."""
    _insert(connection, table, rows, replace=True)


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row]) -> None:
    """Insert rows, but for those whose primary key is there already: these stay as they are."""
    _insert(connection, table, rows, replace=False)


def chunked(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values, as many at a time as one statement can bind."""
    return (values[i : i + _MOST] for i in range(0, len(values), _MOST))


@dataclasses.dataclass(frozen=True)
class _Text:
    """A statement as a driver takes it, and its parameters in order where it takes them by place."""

    sql: str
    places: tuple[str, ...] | None


def _insert(connection: sa.Connection, table: sa.Table, rows: Row | Sequence[Row], *, replace: bool) -> None:
    listed = [rows] if isinstance(rows, Mapping) else rows
    if not listed:
        return
    # the values are plain numbers, texts and bytes, which drivers take as they are: several times quicker than bound
    # one by one, as counts are written by hundreds
    statement = _statement(type(connection.dialect), table, replace)
    values: Any = listed
    if statement.places is not None:
        values = [tuple(row[name] for name in statement.places) for row in listed]
    connection.exec_driver_sql(statement.sql, values)


@functools.cache
def _statement(system: type[sa.Dialect], table: sa.Table, replace: bool) -> _Text:
    insert = _INSERTS[system.name](table)
    keys = list(table.primary_key.columns)
    if replace:
        values = {column.name: insert.excluded[column.name] for column in table.columns if column not in keys}
        insert = insert.on_conflict_do_update(index_elements=keys, set_=values)
    else:
        insert = insert.on_conflict_do_nothing(index_elements=keys)
    compiled = insert.compile(dialect=system(), column_keys=table.columns.keys())
    return _Text(str(compiled), tuple(compiled.positiontup) if compiled.positional else None)
