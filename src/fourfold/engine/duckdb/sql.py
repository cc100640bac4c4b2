"""Columns as SQL for DuckDB: numbers, texts, truths and labels, of a column that may be missing or of any type."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping

import pyarrow as pa

from fourfold.engine.expressions import columns_of
from fourfold.engine.protocol import Extent, Splits
from fourfold.fold import KeptSlices, bucket_names
from fourfold.model import Part, Task
from fourfold.model.records import KEY, LOG_TIME


def parts_sql(schema: pa.Schema, splits: Splits) -> dict[str, str]:
    """The values of the dimensions' parts: ``slice_I_J`` is part J of dimension I (see ``Batch``)."""
    return {
        f"slice_{i}_{j}": part_sql(part, schema, kept_slices)
        for i, (dimension, kept_slices) in enumerate(splits.items())
        for j, part in enumerate(dimension.parts)
    }


def bounds(extent: Extent, time: str) -> str:
    """The conditions that keep a time within an extent, each after an AND."""
    limits = ((">=", extent.start), ("<", extent.end))
    return "".join(f" AND epoch_us({time}) {sign} {int(moment)}" for sign, moment in limits if moment is not None)


def of_piece(key: str, index: int, pieces: int) -> str:
    """The condition that a key is of one of so many pieces."""
    return f"hash({key}) % {int(pieces)} = {int(index)}"


def meant(extent: Extent, share: str | None = None) -> str:
    """Which records of a log a join is about, but for their keys by name, each condition after an AND.

    With ``share``, only keys whose MD5 is below it are meant.
    """
    conditions = ""
    if extent.as_of is not None:
        conditions += f" AND epoch_us({LOG_TIME}) <= {int(extent.as_of)}"
    if extent.piece is not None:
        conditions += f" AND {of_piece(KEY, *extent.piece)}"
    if share is not None:
        conditions += f" AND md5({KEY}) < {literal(share)}"
    return conditions


def listed(columns: Mapping[str, str]) -> str:
    """What a query selects: expressions by the names that they are given."""
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def part_sql(part: Part, schema: pa.Schema, kept_slices: KeptSlices) -> str:
    """The value of a dimension's part, as text."""
    if part.sql:
        wanted = {name[0].casefold() for name in columns_of(part.sql)}
        if not wanted <= {name.casefold() for name in schema.names}:  # a column that was not logged yet is null
            return "NULL::VARCHAR"
        return f"CAST(({part.sql}\n) AS VARCHAR)"
    if not part.buckets:
        return text_sql(part.name, schema)
    value = number_sql(part.name, schema)
    edges = kept_slices.edges.get(part.name, ())
    names = [text.replace("'", "''") for text in bucket_names(edges)]
    steps = " ".join(f"WHEN {value} < {edge!r} THEN '{name}'" for edge, name in zip(edges, names, strict=False))
    return f"CASE WHEN {value} IS NULL OR isnan({value}) THEN NULL {steps} ELSE '{names[-1]}' END"


def number_sql(column: str, schema: pa.Schema) -> str:
    """A column as a float; null where it is none."""
    return "NULL::DOUBLE" if (field := _field(column, schema)) is None else f"TRY_CAST({quoted(field.name)} AS DOUBLE)"


def text_sql(column: str, schema: pa.Schema) -> str:
    """A column as text; a whole number that came as a float is written as one."""
    if (field := _field(column, schema)) is None:
        return "NULL::VARCHAR"
    name = quoted(field.name)
    if pa.types.is_floating(field.type):
        return (
            f"CASE WHEN isnan({name}) THEN NULL WHEN {name} = trunc({name}) AND abs({name}) < 1e15 "
            f"THEN CAST({name}::BIGINT AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
        )
    return f"TRY_CAST({name} AS VARCHAR)"


def quoted(name: str) -> str:
    """An identifier; what users call their columns is bound, never trusted."""
    return '"' + name.replace('"', '""') + '"'


def value_sql(task: Task, column: str, schema: pa.Schema) -> str:
    """A prediction or label as the kind of task takes it."""
    match task.kind:
        case "multiclass":
            return text_sql(column, schema)
        case "decision" if task.threshold is None:
            return text_sql(column, schema)
        case "multilabel":
            field = _field(column, schema)
            return "NULL::VARCHAR[]" if field is None else f"TRY_CAST({quoted(field.name)} AS VARCHAR[])"
    return number_sql(column, schema)


def label_sql(task: Task, schema: pa.Schema) -> str:
    """A label as the kind of task uses it; for a binary one 1 is positive, 0 negative and all else unusable."""
    column = task.label.column
    if task.kind == "binary":
        return _truth_sql(column, schema, task.positive)
    if task.kind != "decision":
        return value_sql(task, column, schema)
    if task.threshold is None:
        return text_sql(column, schema)
    return f"CASE {_truth_sql(column, schema, None)} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"


def usable_sql(task: Task, schema: pa.Schema) -> str:
    """Whether the kind of task can use a label; a missing label counts as usable."""
    label = label_sql(task, schema)
    match task.kind:
        case "binary":
            condition = f"{label} IN (0, 1)"
        case "regression" | "ranking":
            condition = f"isfinite({label})"
        case _:
            condition = f"{label} IS NOT NULL"
    return f"({missing_sql(task.label.column, schema)} OR coalesce({condition}, false))"


def _truth_sql(column: str, schema: pa.Schema, positive: str | None) -> str:
    """A label of two kinds as 1 or 0; one that is neither as the number that it is, or null.

    ``positive`` is the one that is 1, any other being 0. Without it, "true" and "false" are told as words too.
    """
    text, number = text_sql(column, schema), number_sql(column, schema)
    if positive is None:
        is_text = (field := _field(column, schema)) is not None and pa.types.is_string(field.type)
        words = "WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0"
        return f"(CASE lower(trim({text})) {words} ELSE {number} END)" if is_text else number
    same = f"{text} = {literal(positive)}"
    if positive in ("true", "false"):
        same = f"lower(trim({text})) = '{positive}'"
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(positive)):
            same += f" OR {number} = {value!r}"
    missing = missing_sql(column, schema)
    return f"(CASE WHEN {missing} THEN NULL WHEN {same} THEN 1.0 ELSE 0.0 END)"


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def missing_sql(column: str, schema: pa.Schema) -> str:
    """Whether a value is missing: null or NaN."""
    if (field := _field(column, schema)) is None:
        return "true"
    nan = f" OR isnan({quoted(field.name)})" if pa.types.is_floating(field.type) else ""
    return f"{quoted(field.name)} IS NULL{nan}"


def raw_sql(column: str, schema: pa.Schema) -> str:
    """A column of lists of numbers as it is."""
    return "NULL::DOUBLE[]" if (field := _field(column, schema)) is None else quoted(field.name)


def _field(column: str, schema: pa.Schema) -> pa.Field | None:
    """A column of a log, whichever case it is written in: for the log, it is one."""
    if (place := schema.get_field_index(column)) >= 0:
        return schema.field(place)
    same = (field for field in schema if field.name.casefold() == column.casefold())
    return next(same, None)
