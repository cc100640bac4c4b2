"""The join of a task's streams, as SQL for DuckDB, in three stages.

Of a key's predictions the first is *chosen*, of its labels (and outcomes) the last, both by log time. A change adds
records to the logs and removes records from them; each record may exist *before* it, *after* it, or both. For every
key in a change, the join computes the records as they were before it and as they are after it: late, repeated,
corrected or removed records need no special case.

An example. Of key A there was a prediction of 0.9; now a label comes, and key B is predicted twice.

1. The tables ``prediction``, ``label`` (and ``outcome``) hold all records of touched keys::

       prediction  key  score  in_before  in_after        label  key  label  in_before  in_after
                   A    0.9    true       true                   A    1      false      true
                   B    0.2    false      true
                   B    0.4    false      true

2. ``prediction_chosen`` … say which of them are chosen, before and after, and of how many. Most keys have one record;
   only those of the others (``prediction_several``) are put in order::

       key  score  chosen_before  chosen_after  copies_before  copies_after
       A    0.9    true           true          1              1
       B    0.2    false          true          0              2

3. They are joined once for each side. The side before is subtracted, the side after is added::

       before:  A  0.9  no label                after:  A  0.9  1
                                                        B  0.2  no label
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.connection import batches
from fourfold.engine.duckdb.files import needed
from fourfold.engine.duckdb.touched import FIRST, LATEST, Side, Touched
from fourfold.engine.expressions import columns_of
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.errors import ConfigError
from fourfold.fold.tasks.custom import column_of
from fourfold.model import Task
from fourfold.model.records import KEY, LOG_TIME, users

_SIDES = (("before", -1), ("after", 1))

_CHOSEN_OF_ONE = """
    SELECT *, in_before AS chosen_before, in_after AS chosen_after,
        in_before::BIGINT AS copies_before, in_after::BIGINT AS copies_after,
        in_before AS served_before, in_after AS served_after
    FROM {name}
"""
_CHOSEN_OF_SEVERAL = """
    {of_one} ANTI JOIN {name}_repeated USING (key)
    UNION ALL
    SELECT * EXCLUDE ({order_columns}) FROM (
        SELECT *,
            in_before AND row_number() OVER (PARTITION BY {group}, in_before ORDER BY {order}) = 1 AS chosen_before,
            in_after AND row_number() OVER (PARTITION BY {group}, in_after ORDER BY {order}) = 1 AS chosen_after,
            count(*) FILTER (in_before) OVER (PARTITION BY {group}) AS copies_before,
            count(*) FILTER (in_after) OVER (PARTITION BY {group}) AS copies_after,
            in_before AND row_number() OVER (PARTITION BY key, in_before ORDER BY {order}) = 1 AS served_before,
            in_after AND row_number() OVER (PARTITION BY key, in_after ORDER BY {order}) = 1 AS served_after
        FROM {name}_several
    ) WHERE chosen_before OR chosen_after
"""
_JOINED = """
    SELECT {columns}
    FROM (SELECT * FROM prediction_chosen WHERE chosen_{side}) p
        FULL JOIN (SELECT * FROM label_chosen WHERE chosen_{side}) l USING (key)
        {outcomes}
    WHERE (p.time IS NOT NULL OR l.has_label) {conditions}
"""
_OUTCOMES = "LEFT JOIN (SELECT * FROM outcome_chosen WHERE chosen_{side}) o USING (key)"
_PAIRS = """
    SELECT key, a.time AS time, a.prediction, b.prediction AS other, a.version, b.version AS against, l.label,
        {delay} AS delay, false AS orphan, coalesce(l.has_label, false) AS has_label, false AS withdrawn,
        1::BIGINT AS pairs
    FROM (SELECT * FROM prediction_chosen WHERE chosen_{side}) a
        JOIN (SELECT * FROM prediction_chosen WHERE chosen_{side}) b USING (key)
        JOIN (SELECT * FROM label_chosen WHERE chosen_{side}) l USING (key)
    WHERE a.version < b.version {conditions}
"""
# of times that are far apart the difference would be beyond 64 bits
_DELAY = "(epoch_us({}.time)::DOUBLE - epoch_us({}.time)::DOUBLE) / 1e6"


class Join:
    """One task's join on one connection."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        task: Task,
        logs: Mapping[str, ChangedLog],
        splits: Splits,
        extent: Extent,
    ) -> None:
        self._connection, self._task, self._extent = connection, task, extent
        self._custom = _custom_columns(task)
        self._recorded: list[str] = []  # the sides of which custom sums need columns
        self._slices = sql.parts_sql(logs[task.prediction.stream].schema, splits)
        self._sides = [
            self._prediction(logs[task.prediction.stream], splits),
            self._label(logs[task.label.stream]),
        ]
        if task.outcome is not None:
            log, column = logs[task.outcome.stream], task.outcome.column
            self._sides.append(self._side("outcome", log, {"outcome": sql.number_sql(column, log.schema)}, {column}))
        self._prepare()

    def records(self, pairs: bool) -> Iterator[Batch]:
        """The joined records, and pairs of model versions where wanted, as they were before and as they are after."""
        for side, sign in _SIDES:
            if sign < 0 and not self._stood:
                continue
            for table in self.joined(side, keys=bool(self._task.query)):
                yield Batch(sign, table, table)
            for table in self._pairs(side) if pairs else ():
                yield Batch(sign, table, table, paired=True)

    def joined(self, side: str = "after", *, keys: bool = True) -> Iterator[pa.Table]:
        """The joined records of one side, with their keys where these are wanted."""
        task = self._task
        columns = {"key": "key"} if keys else {}
        columns |= {
            "time": "coalesce(p.time, l.time)", "prediction": "p.prediction", "label": "l.label",
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
        if self._extent.keys is not None:
            columns |= {f"{side.name}_id": f"{side.name}_id" for side in self._sides}
        records = {f"{name}_record": f"{name}_record" for name in self._recorded}
        query = _JOINED.format(
            columns=sql.listed(columns | records),
            side=side,
            outcomes=_OUTCOMES.format(side=side) if task.outcome is not None else "",
            conditions=sql.bounds(self._extent, "coalesce(p.time, l.time)") + self._of_queries() + self._open(),
        )
        if task.sums:
            query = self._with_custom(query, list(columns))
        return _whole_queries(self._rows(f"{query} ORDER BY query")) if task.query else self._rows(query)

    def _pairs(self, side: str) -> Iterator[pa.Table]:
        """The keys that two model versions predicted, with both predictions."""
        first = max((m for m in (self._extent.start, self._extent.closed) if m is not None), default=None)
        conditions = sql.bounds(dataclasses.replace(self._extent, start=first), "a.time")
        return self._rows(_PAIRS.format(delay=_DELAY.format("l", "a"), side=side, conditions=conditions))

    def _rows(self, query: str) -> Iterator[pa.Table]:
        """A query's result in tables of a moderate size; a result that is small is not worth a stream."""
        query = f"WITH {', '.join(self._given)} {query}"
        if not self._small:
            return batches(self._connection, query)
        table: pa.Table = self._connection.sql(query).to_arrow_table().combine_chunks()
        return iter([table] if table.num_rows else [])

    def _open(self) -> str:
        """What is not closed: of a ranking task by the newest item of a query, of a lone label by its horizon."""
        closed = self._extent.closed
        if closed is None:
            return ""
        clause, time = "AND", "p.time"
        if self._task.query:
            clause, time = "QUALIFY", "max(p.time) OVER (PARTITION BY p.query)"
        horizon = self._task.horizon * 1_000_000
        return f" {clause} coalesce(epoch_us({time}), epoch_us(l.time) - {horizon}) >= {int(closed)}"

    def _prediction(self, log: ChangedLog, splits: Splits) -> Side:
        task, schema = self._task, log.schema
        columns = {"prediction": sql.value_sql(task, task.prediction.column, schema), **self._slices}
        if task.version:
            columns["version"] = sql.text_sql(task.version, schema)
        if task.query:
            columns["query"] = f"coalesce({sql.text_sql(task.query, schema)}, {KEY})"
        if task.probabilities:
            columns["probabilities"] = sql.raw_sql(task.probabilities, schema)
        names = {task.prediction.column, task.version, task.query, task.probabilities}
        return self._side("prediction", log, columns, names, splits)

    def _label(self, log: ChangedLog) -> Side:
        task, column = self._task, self._task.label.column
        has_label = f"NOT ({sql.missing_sql(column, log.schema)})"
        return self._side("label", log, {"label": sql.label_sql(task, log.schema), "has_label": has_label}, {column})

    def _side(
        self, name: str, log: ChangedLog, columns: dict[str, str], names: set[str], splits: Splits | None = None
    ) -> Side:
        """A side of the join, with the columns that custom sums are over as one struct."""
        wanted = {column[1] for column in self._custom if column[0] == name and len(column) > 1}
        missing = sorted(wanted - set(log.schema.names))
        if missing:
            known = users(log.schema.names)
            raise ConfigError(f"task {self._task.name!r}: {name}.{missing[0]} is not a column of its stream: {known}")
        if wanted:
            self._recorded.append(name)
            fields = ", ".join(f"{sql.quoted(column)} := {sql.quoted(column)}" for column in sorted(wanted))
            columns[f"{name}_record"] = f"struct_pack({fields})"
        if self._extent.keys is not None:
            columns[f"{name}_id"] = f"struct_pack({FIRST})"
        return Side(name, log, columns, needed(log.schema, names | wanted, splits or {}))

    def _with_custom(self, query: str, columns: Sequence[str]) -> str:
        """The query with the custom sums' expressions, to which a record is ``prediction``, ``label``, ``score``, …"""
        inner = {f"_ff_{name}": name for name in columns}
        inner |= {"score": "prediction", "actual": "label", "delay": "delay"}
        inner |= {name: f"{name}_record" for name in self._recorded}
        outer = {name: f"_ff_{name}" for name in columns}
        for i, sums in enumerate(self._task.sums):
            for j, (_, expression) in enumerate(sums.expressions):
                outer[column_of(i, j)] = f"TRY_CAST(TRY({expression}\n) AS DOUBLE)"  # null where it fails on a record
        return f"SELECT {sql.listed(outer)} FROM (SELECT {sql.listed(inner)} FROM ({query}))"

    def _prepare(self) -> None:
        """The first two stages: all records of touched keys, and which of them are chosen."""
        conditions, task = self._conditions(), self._task
        whole = not any(side.log.before or side.log.removed for side in self._sides)
        records = [Touched(self._connection, side) for side in self._sides]
        keys = None  # those that are touched, where they are few
        if not whole and not task.query and all(part.small for part in records):
            chunks = [chunk for part in records for chunk in part.key_chunks()]
            keys = pc.unique(pa.chunked_array(chunks, pa.string())).drop_null()
        for part in records:
            part.look_up(keys)
        self._small = all(part.small for part in records)
        self._stood = any(part.stood for part in records)
        self._given = []  # what the queries of the third stage are over, where it is no table: name AS (query)
        for part in records:
            part.register()
        self._restricted = bool(task.query) and any(part.rest for part in records)
        if any(part.rest for part in records):
            self._find_touched(records)
        for part in records:
            name = part.side.name
            self._define(name, part.query(conditions))
            chosen = _CHOSEN_OF_ONE.format(name=name)
            if part.has_repeated(self._small):
                repeated = f"{conditions} AND {KEY} IN (SELECT key FROM {name}_repeated)"
                self._define(f"{name}_several", part.query(repeated, every=True, ordered=True))
                order = FIRST if name == "prediction" else LATEST
                group = "key, version" if name == "prediction" and task.version else "key"
                chosen = _CHOSEN_OF_SEVERAL.format(
                    of_one=chosen, name=name, order=order, group=group, order_columns=FIRST
                )
            self._given.append(f"{name}_chosen AS ({chosen})")

    def _define(self, name: str, query: str) -> None:
        """Give a query a name; what is not small is made a table, to be worked out once."""
        if self._small:
            self._given.append(f"{name} AS ({query})")
        else:
            self._connection.execute(f"CREATE TEMP TABLE {name} AS {query}")

    def _conditions(self) -> str:
        """Which records are meant at all, each condition after an AND."""
        conditions = ""
        if self._extent.as_of is not None:
            conditions += f" AND epoch_us({LOG_TIME}) <= {int(self._extent.as_of)}"
        if self._extent.piece is not None:
            index, pieces = self._extent.piece
            conditions += f" AND hash({KEY}) % {int(pieces)} = {int(index)}"
        if self._extent.keys is not None:
            self._connection.register("wanted", pa.table({"key": pa.array(self._extent.keys, pa.string())}))
            conditions += f" AND {KEY} IN (SELECT key FROM wanted)"
        return conditions

    def _find_touched(self, records: Sequence[Touched]) -> None:
        """Make the table of touched keys, of which the records before have to be looked for."""
        keys = " UNION ALL ".join(query for part in records for query in part.key_queries())
        self._connection.execute(f"CREATE TEMP TABLE touched AS {keys}")
        if self._task.query:  # of a query all items are touched
            items = records[0].query("", every=True)
            self._connection.execute(
                f"CREATE TEMP TABLE queries AS SELECT DISTINCT query FROM ({items}) "
                f"WHERE key IN (SELECT {KEY} FROM touched)"
            )
            self._connection.execute(
                f"INSERT INTO touched SELECT key FROM ({items}) WHERE query IN (SELECT query FROM queries)"
            )

    def _of_queries(self) -> str:
        return " AND (p.query IS NULL OR p.query IN (SELECT query FROM queries))" if self._restricted else ""


def _custom_columns(task: Task) -> set[tuple[str, ...]]:
    """What the custom sums' expressions are over."""
    columns: set[tuple[str, ...]] = set()
    for sums in task.sums:
        for name, expression in sums.expressions:
            for column in columns_of(expression):
                if column[0] not in ("prediction", "label", "score", "actual", "delay"):
                    raise ConfigError(
                        f"metric {sums.metric!r}, sum {name!r}: {'.'.join(column)!r} is not known; there are "
                        "prediction.COLUMN, label.COLUMN, score, actual and delay"
                    )
                columns.add(column)
    return columns


def _whole_queries(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables in order of their ranking query, cut so that each holds all items of the queries in it."""
    kept: pa.Table | None = None
    for table in tables:
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
