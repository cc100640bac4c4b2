"""SQL that users write: one scalar expression over columns, and nothing else."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import duckdb

from fourfold.errors import ConfigError


@functools.cache
def columns_of(expression: str) -> frozenset[tuple[str, ...]]:
    """The columns that an expression is over, each as its parts: ("prediction", "amount").

    Raises:
        ConfigError: it is no single scalar expression: a statement, a query, an aggregate, or a function that gives
            another answer each time.
    """
    with duckdb.connect() as connection:
        parsed = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]).fetchone()
        tree: dict[str, Any] = json.loads(parsed[0]) if parsed else {"error": True}
        if tree["error"]:
            raise ConfigError(f"SQL expression {expression!r}: {tree.get('error_message', 'cannot be read')}")
        node = tree["statements"][0]["node"]
        if len(tree["statements"]) != 1 or len(node["select_list"]) != 1 or node["from_table"]["type"] != "EMPTY":
            raise ConfigError(f"SQL expression {expression!r}: give one expression over the columns")
        found = set()
        for entry in _nodes(node["select_list"]):
            match entry["class"]:
                case "COLUMN_REF":
                    found.add(tuple(entry["column_names"]))
                case "SUBQUERY" | "WINDOW" | "STAR" as kind:
                    raise ConfigError(
                        f"SQL expression {expression!r}: a {kind.lower()} is not an expression of one record"
                    )
                case "FUNCTION":
                    _check_function(connection, expression, entry["function_name"])
    return frozenset(found)


def check_expression(expression: str, whose: str) -> None:
    """Refuse an expression that cannot be, while whoever wrote it looks; ``whose`` says what it belongs to.

    Raises:
        ConfigError: as ``columns_of``.
    """
    try:
        columns_of(expression)
    except ConfigError as error:
        raise ConfigError(f"{whose}: {error}") from error


def _check_function(connection: duckdb.DuckDBPyConnection, expression: str, name: str) -> None:
    rows = connection.execute(
        "SELECT DISTINCT function_type, stability FROM duckdb_functions() WHERE function_name = ?", [name]
    ).fetchall()
    if not rows:
        raise ConfigError(f"SQL expression {expression!r}: there is no function {name}")
    if any(kind == "aggregate" for kind, _ in rows) and not any(kind in ("scalar", "macro") for kind, _ in rows):
        raise ConfigError(f"SQL expression {expression!r}: {name} adds up records; the sums are made by fourfold")
    if not any(stability in (None, "CONSISTENT") for _, stability in rows):  # of some type it depends on the time zone
        raise ConfigError(f"SQL expression {expression!r}: {name} gives another answer each time it is asked")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All expressions within a parsed one."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
