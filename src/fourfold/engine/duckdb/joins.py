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
from fourfold.engine.duckdb.sides import (
    label_columns,
    outcome_columns,
    prediction_columns,
    prediction_names,
    recorded,
    whole_queries,
    with_custom,
)
from fourfold.engine.duckdb.touched import FIRST, LATEST, Side, Touched
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.model import Task
from fourfold.model.records import KEY, LOG_TIME

_SIDES = (("after", 1), ("before", -1))

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
        share: str | None = None,
    ) -> None:
        """With ``share``, only keys whose MD5 is below it are meant."""
        self._connection, self._task, self._extent, self._share = connection, task, extent, share
        self._recorded: list[str] = []  # the sides of which custom sums need columns
        prediction = logs[task.prediction.stream]
        self._slices = sql.parts_sql(prediction.schema, splits)
        columns = prediction_columns(task, prediction.schema) | self._slices
        self._sides = [self._side("prediction", prediction, columns, prediction_names(task), splits)]
        label = logs[task.label.stream]
        self._sides.append(self._side("label", label, label_columns(task, label.schema), {task.label.column}))
        if task.outcome is not None:
            log = logs[task.outcome.stream]
            self._sides.append(self._side("outcome", log, outcome_columns(task, log.schema), {task.outcome.column}))
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
        columns = self._columns(side, keys=keys)
        query = self._joined(side, columns)
        if self._task.sums:
            query = with_custom(self._task, query, list(columns), self._recorded)
        if self._task.query:
            return whole_queries(self._rows(f"{query} ORDER BY query"))
        return self._rows(query)

    def _columns(self, side: str, *, keys: bool) -> dict[str, str]:
        """The columns of joined records."""
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
        return columns

    def _joined(self, side: str, columns: Mapping[str, str], conditions: str = "") -> str:
        """The query of one side's joined records, with what custom sums are over."""
        conditions += sql.bounds(self._extent, "coalesce(p.time, l.time)") + self._of_queries() + self._open()
        return _JOINED.format(
            columns=sql.listed({**columns, **{f"{name}_record": f"{name}_record" for name in self._recorded}}),
            side=side,
            outcomes=_OUTCOMES.format(side=side) if self._task.outcome is not None else "",
            conditions=conditions,
        )

    def sample(self, most: int, *, labelled: bool) -> Iterator[pa.Table]:
        """As ``joined``, without the parts: the records of the keys whose MD5 is smallest, at most so many.

        ``labelled``: of those that are joined with a label.
        """
        columns = self._columns("after", keys=True)
        query = self._joined("after", columns, " AND p.time IS NOT NULL AND l.has_label" if labelled else "")
        order = "md5(key), version" if self._task.version else "md5(key)"
        return self._rows(f"SELECT * FROM ({query}) ORDER BY {order} LIMIT {int(most)}")

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

    def _side(
        self, name: str, log: ChangedLog, columns: dict[str, str], names: set[str | None], splits: Splits | None = None
    ) -> Side:
        """A side of the join, with the columns that custom sums are over as one struct."""
        wanted = recorded(self._task, name, log.schema)
        if wanted:
            self._recorded.append(name)
            fields = ", ".join(f"{sql.quoted(column)} := {sql.quoted(column)}" for column in sorted(wanted))
            columns[f"{name}_record"] = f"struct_pack({fields})"
        if self._extent.keys is not None:
            columns[f"{name}_id"] = f"struct_pack({FIRST})"
        return Side(name, log, columns, needed(log.schema, {*filter(None, names), *wanted}, splits or {}))

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
            conditions += f" AND {sql.of_piece(KEY, index, pieces)}"
        if self._share is not None:
            conditions += f" AND md5({KEY}) < {sql.literal(self._share)}"
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
