"""The join of a task's streams, as SQL for DuckDB.

Of a key's predictions the first stands, of its labels (and outcomes) the last, both by log time. A log comes in three
parts: ``before``, ``added`` and ``removed``; a record *stood* before the change and *stands* after it. For every key
that a change touches, the joined records are worked out as they were and as they are: what is late, repeated,
corrected or removed needs no case of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.dataset as pds

from fourfold.engine.expressions import columns_of
from fourfold.engine.protocol import Changed, Extent, Splits
from fourfold.engine.stopping import check
from fourfold.errors import ConfigError
from fourfold.fold import Levels, bucket_names
from fourfold.fold.tasks.custom import column_of
from fourfold.model import Part, Task
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, ROW, RUN

BATCH_ROWS = 1 << 18
# The three parts of a changed log, and whether their records stood before the change and stand after it.
PARTS = (("before", True, True), ("added", False, True), ("removed", True, False))
SIDES = (("was", -1), ("is_", 1))
_ORDER = f"{LOG_TIME}, {BATCH}, {ROW}"
LATEST = f"{LOG_TIME} DESC, {BATCH} DESC, {ROW} DESC"
# of times that are far apart the difference would be beyond 64 bits
_DELAY = "(epoch_us({}.time)::DOUBLE - epoch_us({}.time)::DOUBLE) / 1e6"
_META = (KEY, EVENT_TIME, LOG_TIME, BATCH, ROW, RUN)


class Join:
    """One task's join on one connection: tables of who stands in for each key, then the joined records."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, task: Task, logs: Mapping[str, Changed], splits: Splits,
        extent: Extent,
    ) -> None:  # fmt: skip
        self._connection, self._task, self._extent = connection, task, extent
        self._recorded: list[str] = []
        self._slices = {
            f"slice_{i}_{j}": part_sql(part, logs[task.prediction.stream].schema, levels)
            for i, (dimension, levels) in enumerate(splits.items())
            for j, part in enumerate(dimension.parts)
        }
        sources = [("p", logs[task.prediction.stream], self._predicted(logs[task.prediction.stream].schema))]
        sources.append(("l", logs[task.label.stream], self._labelled(logs[task.label.stream].schema)))
        if task.outcome is not None:
            schema = logs[task.outcome.stream].schema
            sources.append(("o", logs[task.outcome.stream], {"outcome": number_sql(task.outcome.column, schema)}))
        self._prepare(sources)

    def records(self, side: str) -> Iterator[pa.Table]:
        """The joined records as they were or as they are."""
        task = self._task
        columns = {
            "key": "key", "time": "coalesce(p.time, l.time)", "prediction": "p.prediction", "label": "l.label",
            "delay": _DELAY.format("l", "p"), "orphan": "p.time IS NULL",
            "has_label": "coalesce(l.has_label, false)",
            "withdrawn": "l.has_label IS NOT NULL AND NOT l.has_label",
            "pairs": f"coalesce(p.copies_{side} * l.copies_{side}, 0)::BIGINT",
            **{name: f"p.{name}" for name in self._slices},
        }  # fmt: skip
        for name, wanted in (("version", task.version), ("query", task.query), ("probabilities", task.probabilities)):
            if wanted:
                columns[name] = f"p.{name}"
        if task.version:
            columns["served"] = f"coalesce(p.served_{side}, true)"
        if task.outcome is not None:
            columns["outcome"] = "o.outcome"
        query = f"""
            SELECT {_listed(columns)} {"".join(f", {name}_record" for name in self._recorded)}
            FROM (SELECT * FROM p_wins WHERE {side}) p FULL JOIN (SELECT * FROM l_wins WHERE {side}) l USING (key)
            {f"LEFT JOIN (SELECT * FROM o_wins WHERE {side}) o USING (key)" if task.outcome is not None else ""}
            WHERE (p.time IS NOT NULL OR l.has_label)
                {bounds(self._extent, "coalesce(p.time, l.time)")} {self._of_queries()}
            {self._open()}
        """
        if task.sums:
            query = self._with_custom(query, list(columns))
        yield from whole_queries(self._connection, query) if task.query else stream(self._connection, query)

    def pairs(self, side: str) -> Iterator[pa.Table]:
        """The keys that two model versions predicted, with both predictions."""
        yield from stream(
            self._connection,
            f"""
            SELECT key, a.time AS time, a.prediction, b.prediction AS other, a.version, b.version AS against, l.label,
                {_DELAY.format("l", "a")} AS delay, false AS orphan,
                coalesce(l.has_label, false) AS has_label, false AS withdrawn, 1::BIGINT AS pairs
            FROM (SELECT * FROM p_wins WHERE {side}) a JOIN (SELECT * FROM p_wins WHERE {side}) b USING (key)
                JOIN (SELECT * FROM l_wins WHERE {side}) l USING (key)
            WHERE a.version < b.version {bounds(dataclasses.replace(self._extent, start=self._first()), "a.time")}
            """,
        )

    def _open(self) -> str:
        """What is not closed: of a ranking task by the newest item of a query, of a lone label by its horizon."""
        closed = self._extent.closed
        if closed is None:
            return ""
        clause, time = "AND", "p.time"
        if self._task.query:
            clause, time = "QUALIFY", "max(p.time) OVER (PARTITION BY p.query)"
        horizon = self._task.horizon * 1_000_000
        return f"{clause} coalesce(epoch_us({time}), epoch_us(l.time) - {horizon}) >= {int(closed)}"

    def _first(self) -> int | None:
        """The first prediction time that is meant."""
        return max((m for m in (self._extent.start, self._extent.closed) if m is not None), default=None)

    def _predicted(self, schema: pa.Schema) -> dict[str, str]:
        """The prediction's columns, each as an expression over the log."""
        task = self._task
        columns = {"prediction": _value_sql(task, task.prediction.column, schema), **self._slices}
        if task.version:
            columns["version"] = text_sql(task.version, schema)
        if task.query:
            columns["query"] = f"coalesce({text_sql(task.query, schema)}, {KEY})"
        if task.probabilities:
            columns["probabilities"] = _raw(task.probabilities, schema)
        return columns | self._record("prediction", schema)

    def _labelled(self, schema: pa.Schema) -> dict[str, str]:
        label, task = self._task.label.column, self._task
        has_label = f"NOT ({_is_missing(label, schema)})"
        return {"label": label_sql(task, schema), "has_label": has_label, **self._record("label", schema)}

    def _record(self, side: str, schema: pa.Schema) -> dict[str, str]:
        """The columns of a stream that custom sums are over, as one struct."""
        wanted = {name[1] for name in self._custom_columns() if name[0] == side and len(name) > 1}
        missing = sorted(wanted - set(schema.names))
        if missing:
            known = [name for name in schema.names if not name.startswith("_ff_")]
            raise ConfigError(f"task {self._task.name!r}: {side}.{missing[0]} is not a column of its stream: {known}")
        if not wanted:
            return {}
        self._recorded.append(side)
        fields = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in sorted(wanted))
        return {f"{side}_record": f"struct_pack({fields})"}

    def _custom_columns(self) -> set[tuple[str, ...]]:
        """What the custom sums' expressions are over."""
        found: set[tuple[str, ...]] = set()
        for sums in self._task.sums:
            for name, sql in sums.expressions:
                for column in columns_of(sql):
                    if column[0] not in ("prediction", "label", "score", "actual", "delay"):
                        raise ConfigError(
                            f"metric {sums.metric!r}, sum {name!r}: {'.'.join(column)!r} is not known; there are "
                            "prediction.COLUMN, label.COLUMN, score, actual and delay"
                        )
                    found.add(column)
        return found

    def _with_custom(self, query: str, columns: Sequence[str]) -> str:
        """The query with the custom sums' expressions, to which a record is ``prediction``, ``label``, ``score``, …"""
        inner = {f"_ff_{name}": name for name in columns}
        inner |= {"score": "prediction", "actual": "label", "delay": "delay"}
        inner |= {side: f"{side}_record" for side in self._recorded}
        outer = {name: f"_ff_{name}" for name in columns}
        for i, sums in enumerate(self._task.sums):
            for j, (_, sql) in enumerate(sums.expressions):
                outer[column_of(i, j)] = f"TRY_CAST(TRY({sql}\n) AS DOUBLE)"  # null where it fails on a record
        return f"SELECT {_listed(outer)} FROM (SELECT {_listed(inner)} FROM ({query}))"

    def _prepare(self, sources: Sequence[tuple[str, Changed, Mapping[str, str]]]) -> None:
        """The tables ``p_wins``, ``l_wins`` and ``o_wins``: of all affected keys the records that stand in for them."""
        connection, task = self._connection, self._task
        views = {name: _view(connection, name, log, columns) for name, log, columns in sources}
        condition = "key IS NOT NULL"
        if self._extent.as_of is not None:
            condition += f" AND epoch_us({LOG_TIME}) <= {int(self._extent.as_of)}"
        if self._extent.piece is not None:
            index, pieces = self._extent.piece
            condition += f" AND hash(key) % {int(pieces)} = {int(index)}"
        whole = not any(log.before or log.removed for _, log, _ in sources)
        if not whole:
            changed = [f"SELECT NULL::VARCHAR AS {KEY} WHERE false"]  # a compaction changes no record
            changed += [f"SELECT {KEY} FROM {name}_{part}" for name, log, _ in sources
                        for part in ("added", "removed") if getattr(log, part)]  # fmt: skip
            connection.execute(f"CREATE TEMP TABLE affected AS {' UNION ALL '.join(changed)}")
            if task.query:
                connection.execute(
                    f"CREATE TEMP TABLE queries AS SELECT DISTINCT query FROM ({_united(views['p'])}) "
                    f"WHERE key IN (SELECT {KEY} FROM affected)"
                )
                connection.execute(
                    f"INSERT INTO affected SELECT key FROM ({_united(views['p'])}) "
                    "WHERE query IN (SELECT query FROM queries)"
                )
        for name, view in views.items():
            # a record that came or went is of an affected key; of those before, the keys are looked for
            sought = f"{condition} AND key IN (SELECT {KEY} FROM affected)"
            selects = [
                f"SELECT * FROM ({select}) WHERE {condition if whole or part != 'before' else sought}"
                for part, select in view.items()
            ]
            connection.execute(f"CREATE TEMP TABLE {name} AS {' UNION ALL '.join(selects)}")
            _make_winners(connection, name, first=name == "p", version=name == "p" and bool(task.version))
        self._restricted = not whole and bool(task.query)

    def _of_queries(self) -> str:
        return "AND (p.query IS NULL OR p.query IN (SELECT query FROM queries))" if self._restricted else ""


def bounds(extent: Extent, time: str) -> str:
    """The conditions that keep a time within an extent, each after an AND."""
    found = ""
    for sign, moment in ((">=", extent.start), ("<", extent.end)):
        if moment is not None:
            found += f" AND epoch_us({time}) {sign} {int(moment)}"
    return found


def _make_winners(connection: duckdb.DuckDBPyConnection, name: str, *, first: bool, version: bool) -> None:
    """The view ``NAME_wins`` over the table ``NAME``: the records that stand in for their key, before and after.

    Most keys have one record, for which there is nothing to order.
    """
    connection.execute(f"CREATE TEMP TABLE {name}_several AS SELECT key FROM {name} GROUP BY key HAVING count(*) > 1")
    several = connection.execute(f"SELECT count(*) FROM {name}_several").fetchone()
    single = "*, stood AS was, stands AS is_, 1 AS copies_was, 1 AS copies_is_"
    if version:
        single += ", stood AS served_was, stands AS served_is_"
    if not several or not several[0]:
        connection.execute(f"CREATE TEMP VIEW {name}_wins AS SELECT {single} FROM {name}")
        return
    order, group = (_ORDER if first else LATEST), "key, version" if version else "key"

    def wins(flag: str, by: str) -> str:
        return f"{flag} AND row_number() OVER (PARTITION BY {by}, {flag} ORDER BY {order}) = 1"

    ranked = f"*, {wins('stood', group)} AS was, {wins('stands', group)} AS is_"
    for flag, side in (("stood", "was"), ("stands", "is_")):
        ranked += f", count(*) FILTER (WHERE {flag}) OVER (PARTITION BY {group}) AS copies_{side}"
    if version:
        ranked += f", {wins('stood', 'key')} AS served_was, {wins('stands', 'key')} AS served_is_"
    connection.execute(
        f"""CREATE TEMP VIEW {name}_wins AS
            SELECT {single} FROM {name} ANTI JOIN {name}_several USING (key)
            UNION ALL
            SELECT * FROM (SELECT {ranked} FROM {name} SEMI JOIN {name}_several USING (key)) WHERE was OR is_"""
    )


def _view(
    connection: duckdb.DuckDBPyConnection, name: str, log: Changed, columns: Mapping[str, str]
) -> dict[str, str]:  # fmt: skip
    """For each part of a log a query with the columns asked for, and whether its records stood and stand."""
    listed = "".join(f", {expression} AS {alias}" for alias, expression in columns.items())
    found = {}
    # of a log that is empty, too, there are columns
    for part, stood, stands in [entry for entry in PARTS if getattr(log, entry[0])] or [PARTS[1]]:
        register(connection, f"{name}_{part}", getattr(log, part), log.schema)
        found[part] = (
            f"SELECT {KEY} AS key, {EVENT_TIME} AS time, {LOG_TIME}, {BATCH}, {ROW}{listed}, "
            f"{stood} AS stood, {stands} AS stands FROM {name}_{part}"
        )
    return found


def _united(view: Mapping[str, str]) -> str:
    return " UNION ALL ".join(view.values())


def register(connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[str], schema: pa.Schema) -> None:
    """Make Parquet files a view with all columns of the schema; a file that lacks one has nulls in it."""
    connection.register(f"{name}_empty", schema.empty_table())
    if not files:
        connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {name}_empty")
        return
    if any(character in path for path in files for character in "*?["):  # which DuckDB takes for patterns
        connection.register(name, pds.dataset(list(files), schema=schema, format="parquet"))
        return
    paths = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
    source = f"read_parquet([{paths}], union_by_name = true)"
    present = {column.casefold() for column in connection.sql(f"SELECT * FROM {source} LIMIT 0").columns}
    if all(column.casefold() in present for column in schema.names):
        connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {source}")
    else:
        connection.execute(
            f"CREATE TEMP VIEW {name} AS SELECT * FROM {name}_empty UNION ALL BY NAME SELECT * FROM {source}"
        )


def stream(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.Table]:
    """A query's result in tables of a moderate size."""
    reader = connection.sql(query).to_arrow_reader(BATCH_ROWS)
    for batch in reader:
        check()
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def whole_queries(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.Table]:
    """A query's result in tables that hold all items of each ranking query that they hold any of."""
    kept: pa.Table | None = None
    for table in stream(connection, f"{query} ORDER BY query"):
        table = table if kept is None else pa.concat_tables([kept, table]).combine_chunks()
        last = table["query"][-1].as_py()
        texts = table["query"].to_pylist()
        size = len(texts)
        while size and texts[size - 1] == last:
            size -= 1
        kept = table.slice(size)
        if size:
            yield table.slice(0, size)
    if kept is not None and kept.num_rows:
        yield kept


def part_sql(part: Part, schema: pa.Schema, levels: Levels) -> str:
    """What a part of a dimension makes of a record, as text."""
    if part.sql:
        wanted = {name[0].casefold() for name in columns_of(part.sql)}
        if not wanted <= {name.casefold() for name in schema.names}:  # a column that was not logged yet is null
            return "NULL::VARCHAR"
        return f"CAST(({part.sql}\n) AS VARCHAR)"
    if not part.buckets:
        return text_sql(part.name, schema)
    value = number_sql(part.name, schema)
    edges = levels.edges.get(part.name, ())
    names = [text.replace("'", "''") for text in bucket_names(edges)]
    steps = " ".join(f"WHEN {value} < {edge!r} THEN '{name}'" for edge, name in zip(edges, names, strict=False))
    return f"CASE WHEN {value} IS NULL OR isnan({value}) THEN NULL {steps} ELSE '{names[-1]}' END"


def number_sql(column: str, schema: pa.Schema) -> str:
    """A column as a float; null where it is none."""
    return f"TRY_CAST({quoted(column)} AS DOUBLE)" if column in schema.names else "NULL::DOUBLE"


def text_sql(column: str, schema: pa.Schema) -> str:
    """A column as text; a whole number that came as a float is written as one."""
    if column not in schema.names:
        return "NULL::VARCHAR"
    name = quoted(column)
    if pa.types.is_floating(schema.field(column).type):
        return (
            f"CASE WHEN isnan({name}) THEN NULL WHEN {name} = trunc({name}) AND abs({name}) < 1e15 "
            f"THEN CAST({name}::BIGINT AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
        )
    return f"TRY_CAST({name} AS VARCHAR)"


def quoted(name: str) -> str:
    """An identifier; what users call their columns is bound, never trusted."""
    return '"' + name.replace('"', '""') + '"'


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def _value_sql(task: Task, column: str, schema: pa.Schema) -> str:
    """A prediction or label as the kind of task takes it."""
    match task.kind:
        case "multiclass":
            return text_sql(column, schema)
        case "decision" if task.threshold is None:
            return text_sql(column, schema)
        case "multilabel":
            return f"TRY_CAST({quoted(column)} AS VARCHAR[])" if column in schema.names else "NULL::VARCHAR[]"
    return number_sql(column, schema)


def label_sql(task: Task, schema: pa.Schema) -> str:
    """A label as the kind of task takes it; of a binary one 1 is positive, 0 negative and all else of no use."""
    column = task.label.column
    if task.kind == "binary":
        return _truth_sql(column, schema, task.positive)
    if task.kind != "decision":
        return _value_sql(task, column, schema)
    if task.threshold is None:
        return text_sql(column, schema)
    return f"CASE {_truth_sql(column, schema, None)} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"


def usable_sql(task: Task, schema: pa.Schema) -> str:
    """Whether a label says something: it is missing, or is one that the kind of task can take."""
    label = label_sql(task, schema)
    match task.kind:
        case "binary":
            condition = f"{label} IN (0, 1)"
        case "regression" | "ranking":
            condition = f"isfinite({label})"
        case _:
            condition = f"{label} IS NOT NULL"
    return f"({_is_missing(task.label.column, schema)} OR coalesce({condition}, false))"


def _truth_sql(column: str, schema: pa.Schema, positive: str | None) -> str:
    """A label of two kinds as 1 or 0; one that is neither as the number that it is, or null.

    ``positive`` is the one that is 1, any other being 0. Without it, "true" and "false" are told as words too.
    """
    text, number = text_sql(column, schema), number_sql(column, schema)
    if positive is None:
        is_text = column in schema.names and pa.types.is_string(schema.field(column).type)
        words = "WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0"
        return f"(CASE lower(trim({text})) {words} ELSE {number} END)" if is_text else number
    same = f"{text} = {literal(positive)}"
    if positive in ("true", "false"):
        same = f"lower(trim({text})) = '{positive}'"
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(positive)):
            same += f" OR {number} = {value!r}"
    missing = _is_missing(column, schema)
    return f"(CASE WHEN {missing} THEN NULL WHEN {same} THEN 1.0 ELSE 0.0 END)"


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _is_missing(column: str, schema: pa.Schema) -> str:
    if column not in schema.names:
        return "true"
    nan = f" OR isnan({quoted(column)})" if pa.types.is_floating(schema.field(column).type) else ""
    return f"{quoted(column)} IS NULL{nan}"


def _raw(column: str, schema: pa.Schema) -> str:
    return quoted(column) if column in schema.names else "NULL::DOUBLE[]"
