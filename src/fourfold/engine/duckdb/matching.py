"""Two streams compared key by key, as SQL for DuckDB."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from fourfold.engine.duckdb.files import register
from fourfold.engine.duckdb.sql import number_sql, text_sql
from fourfold.engine.duckdb.touched import LATEST
from fourfold.engine.protocol import ChangedLog, Discrepancy
from fourfold.model.records import KEY

_NEWEST = f"row_number() OVER (PARTITION BY {KEY} ORDER BY {LATEST}) = 1"
_FIELDS = ("matched", "mismatched", "only_current", "only_reference")


def discrepancies(
    connection: duckdb.DuckDBPyConnection,
    here: ChangedLog,
    there: ChangedLog,
    columns: Sequence[str],
    relative: float,
    absolute: float,
    examples: int,
) -> list[Discrepancy]:
    """See ``Engine.discrepancies``."""
    numeric = [all(_is_number(log.schema.field(name).type) for log in (here, there)) for name in columns]
    for side, log in (("a", here), ("b", there)):
        register(connection, f"log_{side}", log, log.added)
        values = "".join(
            f", {_number(name, log.schema) if number else text_sql(name, log.schema)} AS c{i}"
            for i, (name, number) in enumerate(zip(columns, numeric, strict=True))
        )
        connection.execute(
            f"CREATE TEMP VIEW {side} AS SELECT {KEY} AS key, true AS here {values} FROM log_{side} "
            f"WHERE {KEY} IS NOT NULL QUALIFY {_NEWEST}"
        )
    pairs = ", ".join(f"a.c{i} AS a{i}, b.c{i} AS b{i}" for i in range(len(columns)))
    connection.execute(
        "CREATE TEMP TABLE both_sides AS SELECT coalesce(a.key, b.key) AS key, a.here IS NOT NULL AS in_a, "
        f"b.here IS NOT NULL AS in_b{', ' if pairs else ''}{pairs} FROM a FULL JOIN b USING (key)"
    )
    found = [_compared(connection, "", ("in_a AND in_b", "false", "in_a AND NOT in_b", "in_b AND NOT in_a"), examples)]
    for i, (name, number) in enumerate(zip(columns, numeric, strict=True)):
        a, b = f"a{i}", f"b{i}"
        same = f"{a} = {b}"
        if number:  # an infinite value is near to none but itself
            near = f"abs({a} - {b}) <= {float(absolute)!r} + {float(relative)!r} * abs({b})"
            same = f"({a} = {b} OR (isfinite({a}) AND isfinite({b}) AND {near}))"
        conditions = (
            f"in_a AND in_b AND (({a} IS NULL AND {b} IS NULL) OR coalesce({same}, false))",
            f"{a} IS NOT NULL AND {b} IS NOT NULL AND NOT {same}",
            f"{a} IS NOT NULL AND {b} IS NULL",
            f"{b} IS NOT NULL AND {a} IS NULL",
        )
        found.append(_compared(connection, name, conditions, examples))
    return found


def _compared(
    connection: duckdb.DuckDBPyConnection, column: str, conditions: Sequence[str], examples: int
) -> Discrepancy:
    counted = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)
    row = connection.execute(f"SELECT {counted} FROM both_sides").fetchone()
    assert row is not None
    keys = {
        field: tuple(
            key for (key,) in connection.execute(
                f"SELECT key FROM both_sides WHERE {condition} ORDER BY key LIMIT {int(examples)}"
            ).fetchall()
        )
        for field, condition, n in zip(_FIELDS, conditions, row, strict=True)
        if field != "matched" and n
    }  # fmt: skip
    matched, mismatched, only_current, only_reference = row
    return Discrepancy(column, matched, mismatched, only_current, only_reference, keys)


def _number(column: str, schema: pa.Schema) -> str:
    """A column as a float; NaN is missing, as null is."""
    value = number_sql(column, schema)
    return f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END"


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
