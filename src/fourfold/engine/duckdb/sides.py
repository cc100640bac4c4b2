"""What the sides of a task's join are over, as SQL for DuckDB: of a record of one stream, and of joined records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.files import needed
from fourfold.engine.duckdb.touched import COPIES, FIRST, Side
from fourfold.engine.expressions import columns_of
from fourfold.engine.protocol import ChangedLog, Extent, Splits
from fourfold.errors import ConfigError
from fourfold.fold.arrays import values_of
from fourfold.fold.tasks.custom import column_of
from fourfold.model import Task
from fourfold.model.records import KEY, users


def by_side(task: Task, logs: Mapping[str, ChangedLog]) -> dict[str, ChangedLog]:
    """The logs of a task's sides, by their names, out of those of its streams."""
    return {name: logs[stream] for name, stream in zip(("prediction", "label", "outcome"), task.streams, strict=False)}


def sides_of(task: Task, logs: Mapping[str, ChangedLog], splits: Splits, extent: Extent) -> list[Side]:
    """The sides of a task, of the logs ``by_side``.

    Raises:
        ConfigError: the task's custom sums name something that is not there.
    """
    prediction, label = logs["prediction"], logs["label"]
    columns = _prediction_columns(task, prediction.schema) | sql.parts_sql(prediction.schema, splits)
    names = {task.prediction.column, task.version, task.query, task.probabilities}
    found = [_side(task, "prediction", prediction, columns, names, splits, extent)]
    columns = {
        "label": sql.label_sql(task, label.schema),
        "has_label": f"NOT ({sql.missing_sql(task.label.column, label.schema)})",
    }
    found.append(_side(task, "label", label, columns, {task.label.column}, {}, extent))
    if task.outcome is not None:
        columns = {"outcome": sql.number_sql(task.outcome.column, logs["outcome"].schema)}
        found.append(_side(task, "outcome", logs["outcome"], columns, {task.outcome.column}, {}, extent))
    return found


def _side(
    task: Task, name: str, log: ChangedLog, columns: dict[str, str], names: set[str], splits: Splits, extent: Extent
) -> Side:
    """A side of the join, with the columns that custom sums are over as one struct."""
    wanted = _recorded(task, name, log.schema)
    if wanted:
        fields = ", ".join(f"{sql.quoted(column)} := {sql.quoted(column)}" for column in wanted)
        columns[f"{name}_record"] = f"struct_pack({fields})"
    if extent.keys is not None:
        columns[f"{name}_id"] = f"struct_pack({FIRST})"
    if COPIES in log.schema.names:
        columns[COPIES] = COPIES
    return Side(name, log, columns, needed(log.schema, {*filter(None, names), *wanted, COPIES}, splits))


def _prediction_columns(task: Task, schema: pa.Schema) -> dict[str, str]:
    """What is asked of a prediction, but for its slices."""
    columns = {"prediction": sql.value_sql(task, task.prediction.column, schema)}
    if task.version:
        columns["version"] = sql.text_sql(task.version, schema)
    if task.query:
        columns["query"] = f"coalesce({sql.text_sql(task.query, schema)}, {KEY})"
    if task.probabilities:
        columns["probabilities"] = sql.raw_sql(task.probabilities, schema)
    return columns


def _recorded(task: Task, side: str, schema: pa.Schema) -> list[str]:
    """The columns of a side that the task's custom sums are over, in order.

    Raises:
        ConfigError: they name something that is not there.
    """
    found = set()
    for sums in task.sums:
        for name, expression in sums.expressions:
            for column in columns_of(expression):
                if column[0] not in ("prediction", "label", "score", "actual", "delay"):
                    raise ConfigError(
                        f"metric {sums.metric!r}, sum {name!r}: {'.'.join(column)!r} is not known; there are "
                        "prediction.COLUMN, label.COLUMN, score, actual and delay"
                    )
                if column[0] == side and len(column) > 1:
                    found.add(column[1])
    missing = sorted(found - set(schema.names))
    if missing:
        known = users(schema.names)
        raise ConfigError(f"task {task.name!r}: {side}.{missing[0]} is not a column of its stream: {known}")
    return sorted(found)


def with_custom(task: Task, query: str, columns: Sequence[str], records: Sequence[str]) -> str:
    """A query with the custom sums' expressions, to which a record is ``prediction``, ``label``, ``score``, …

    Args:
        task: whose sums they are.
        query: that of the joined records.
        columns: the names of its columns.
        records: the sides of which it has a ``_record``.
    """
    inner = {f"_ff_{name}": name for name in columns}
    inner |= {"score": "prediction", "actual": "label", "delay": "delay"}
    inner |= {name: f"{name}_record" for name in records}
    outer = {name: f"_ff_{name}" for name in columns}
    for i, sums in enumerate(task.sums):
        for j, (_, expression) in enumerate(sums.expressions):
            outer[column_of(i, j)] = f"TRY_CAST(TRY({expression}\n) AS DOUBLE)"  # null where it fails on a record
    return f"SELECT {sql.listed(outer)} FROM (SELECT {sql.listed(inner)} FROM ({query}))"


def whole_queries(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables in order of their ranking query, cut so that each holds all items of the queries in it."""
    kept: pa.Table | None = None
    for table in tables:
        table = table if kept is None else pa.concat_tables([kept, table]).combine_chunks()
        texts = values_of(table["query"])
        last = texts[-1]
        if last is None:  # labels without a prediction, which are of no query
            kept = None
            yield table
            continue
        size = len(texts)
        while size and texts[size - 1] == last:
            size -= 1
        kept = table.slice(size)
        if size:
            yield table.slice(0, size)
    if kept is not None and kept.num_rows:
        yield kept
