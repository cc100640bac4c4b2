"""SQL that users write: one scalar expression over columns, and nothing else."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from fourfold.errors import ConfigError
from fourfold.model import Dimension, Task

_GROWING = {  # functions whose value may have any size, and the arguments that determine it
    "repeat": (1,), "lpad": (1,), "rpad": (1,), "range": (0, 1, 2), "generate_series": (0, 1, 2), "bar": (3,),
    "list_resize": (1,), "array_resize": (1,), "bitstring": (1,), "format": (), "printf": (), "replace": (),
    "regexp_replace": (),
}  # fmt: skip
_FOLDING = {"list_reduce", "array_reduce", "reduce"}  # each step may double the value
_LARGEST = 1_000  # the largest such argument; memory is not limited within a single value


@functools.lru_cache(4_096)  # who sends may send any number
def columns_of(expression: str) -> frozenset[tuple[str, ...]]:
    """The columns in an expression, each as its parts: ("prediction", "amount").

    Raises:
        ConfigError: it is no single scalar expression: a statement, a query, an aggregate, or a function that is not
            deterministic.
    """
    with duckdb.connect() as connection:
        statement = _parsed(connection, expression)
        (blank,) = _parsed(connection, "1")
        whole, plain = ({**s["node"], "select_list": []} for s in (statement[0], blank))
        selected = statement[0]["node"].get("select_list", [])
        if len(statement) != 1 or len(selected) != 1 or whole != plain:
            raise ConfigError(f"SQL expression {expression!r}: give one expression over the columns")
        columns, functions = set(), set()
        for node in _nodes(selected):
            match node["class"]:
                case "COLUMN_REF":
                    columns.add(tuple(node["column_names"]))
                case "SUBQUERY" | "WINDOW" | "STAR" | "PARAMETER" as kind:
                    raise ConfigError(
                        f"SQL expression {expression!r}: a {kind.lower()} is not an expression of one record"
                    )
                case "FUNCTION":
                    functions.add(node["function_name"])
                    _check_size(expression, node)
        if found := functions & _FOLDING or _in_lambdas(selected) & _GROWING.keys():
            raise ConfigError(
                f"SQL expression {expression!r}: {min(found)} may create a value of any size there; write it without"
            )
        for name in sorted(functions):
            _check_function(connection, expression, name)
    return frozenset(columns)


def columns_of_slice(dimension: Dimension) -> set[str]:
    """The columns of a stream that a dimension uses."""
    return {
        name for part in dimension.parts
        for name in ({column[0] for column in columns_of(part.sql)} if part.sql else {part.name})
    }  # fmt: skip


def check_expression(expression: str, whose: str) -> None:
    """Reject an invalid expression at declaration time; ``whose`` names what it belongs to.

    Raises:
        ConfigError: as ``columns_of``.
    """
    try:
        columns_of(expression)
    except ConfigError as error:
        raise ConfigError(f"{whose}: {error}") from error


def check_slices(task: Task, whose: str) -> None:
    """Reject a task with an invalid expression among its slices; ``whose`` names the task.

    Raises:
        ConfigError: as ``columns_of``.
    """
    for dimension in task.slices:
        for part in dimension.parts:
            if part.sql:
                check_expression(part.sql, f"{whose}: slices")


def _parsed(connection: duckdb.DuckDBPyConnection, expression: str) -> list[dict[str, Any]]:
    """The statements in ``SELECT (expression)``, as DuckDB's parse tree."""
    try:
        row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]).fetchone()
    except (duckdb.Error, UnicodeError) as error:
        raise ConfigError(f"SQL expression {expression!r}: {str(error).splitlines()[0]}") from error
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree["error"]:
        raise ConfigError(f"SQL expression {expression!r}: {tree.get('error_message', 'cannot be read')}")
    statements: list[dict[str, Any]] = tree["statements"]
    return statements


def _check_function(connection: duckdb.DuckDBPyConnection, expression: str, name: str) -> None:
    rows = connection.execute(
        "SELECT DISTINCT function_type, stability FROM duckdb_functions() WHERE function_name = ?", [name]
    ).fetchall()
    kinds = {kind for kind, _ in rows}
    if not kinds & {"scalar", "macro", "aggregate"}:
        raise ConfigError(f"SQL expression {expression!r}: there is no scalar function {name}")
    if not kinds & {"scalar", "macro"}:
        raise ConfigError(f"SQL expression {expression!r}: {name} is an aggregate; fourfold does the summing itself")
    if not any(stability in (None, "CONSISTENT") for _, stability in rows):  # of some type it depends on the time zone
        raise ConfigError(f"SQL expression {expression!r}: {name} is not deterministic")


def _check_size(expression: str, node: dict[str, Any]) -> None:
    """Reject functions that turn a small value into a huge one: no memory limit holds within a single value."""
    name = node["function_name"]
    if name not in _GROWING:
        return
    arguments = [argument["expression"] for argument in node["arguments"]]
    inner = {entry["function_name"] for entry in _nodes(arguments) if entry["class"] == "FUNCTION"}
    sizes = [arguments[i] for i in _GROWING[name] if i < len(arguments)]
    moderate = all(map(_is_moderate, sizes)) and (name not in ("format", "printf") or _is_plain_format(arguments[0]))
    if inner & _GROWING.keys() or not moderate:
        raise ConfigError(
            f"SQL expression {expression!r}: {name} may create a value of any size; give it constant sizes of at most "
            f"{_LARGEST:,}, and no other such function within"
        )


def _is_moderate(argument: dict[str, Any]) -> bool:
    """Whether an argument is a constant whole number that is no larger than ``_LARGEST``."""
    if argument["class"] != "CONSTANT" or argument["literal"].get("kind") != "INTEGER":
        return False
    return abs(int(argument["literal"]["text"])) <= _LARGEST


def _is_plain_format(argument: dict[str, Any]) -> bool:
    """Whether an argument is a constant format with constant widths, no larger than ``_LARGEST``."""
    if argument["class"] != "CONSTANT" or argument["literal"].get("kind") != "STRING":
        return False
    text = str(argument["literal"]["text"])
    widths = (int("".join(run)) for is_number, run in itertools.groupby(text, str.isdecimal) if is_number)
    return not re.search(r"%[^a-zA-Z]*\*|\{[^}]*\{", text) and all(width <= _LARGEST for width in widths)


def _in_lambdas(tree: Any) -> set[str]:
    """The functions within lambdas: they are called once for each entry of a list."""
    if isinstance(tree, list):
        return set().union(*map(_in_lambdas, tree))
    if not isinstance(tree, dict):
        return set()
    if tree.get("class") == "LAMBDA":
        return {node["function_name"] for node in _nodes(tree["expr"]) if node["class"] == "FUNCTION"}
    return set().union(*map(_in_lambdas, tree.values()))


def _nodes(tree: Any, bound: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """All expressions within a parsed one, but the parameters of lambdas (``bound``), which are no columns."""
    if isinstance(tree, list):
        for entry in tree:
            yield from _nodes(entry, bound)
    elif isinstance(tree, dict):
        if tree.get("class") == "LAMBDA":
            parameters = {node["column_names"][0] for node in _nodes(tree["lhs"]) if node["class"] == "COLUMN_REF"}
            yield from _nodes(tree["expr"], bound | parameters)
            return
        if "class" in tree and not (tree["class"] == "COLUMN_REF" and tree["column_names"][0] in bound):
            yield tree
        for value in tree.values():
            yield from _nodes(value, bound)
