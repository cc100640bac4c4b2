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
from fourfold.engine.duckdb.sides import sides_of, whole_queries, with_custom
from fourfold.engine.duckdb.touched import COPIES, FIRST, Touched
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.model import Task
from fourfold.model.records import KEY

_SIDES = (("after", 1), ("before", -1))

_CHOSEN_OF_ONE = """
    SELECT *, in_before AS chosen_before, in_after AS chosen_after,
        in_before::BIGINT * {copies} AS copies_before, in_after::BIGINT * {copies} AS copies_after,
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
            coalesce(sum({copies}) FILTER (in_before) OVER (PARTITION BY {group}), 0)::BIGINT AS copies_before,
            coalesce(sum({copies}) FILTER (in_after) OVER (PARTITION BY {group}), 0)::BIGINT AS copies_after,
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
        *,
        apart: bool = False,
    ) -> None:
        """The join of the logs of the task's sides (see ``by_side``).

        With ``share``, only keys whose MD5 is below it are meant.

        ``apart``: the items of a ranking task's queries lie with several joins. Then those that the logs hold are
        joined, each with whether its key is ``touched``; ``whole_batches`` puts the queries together.
        """
        self._connection, self._task, self._extent, self._share = connection, task, extent, share
        self._apart = apart
        self._sides = sides_of(task, logs, splits, extent)
        self._slices = sql.parts_sql(logs["prediction"].schema, splits)
        self._recorded = [side.name for side in self._sides if f"{side.name}_record" in side.columns]
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
        if self._task.query and not self._apart:
            return whole_queries(self._rows(_in_order(self._task, self._extent, f"({query})")))
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
        if self._apart:
            columns["touched"] = f"key IN (SELECT {KEY} FROM touched)" if self._rest else "true"
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
        """What is not closed, of a lone label by its horizon; of a ranking task see ``_in_order``."""
        closed = self._extent.closed
        if closed is None or self._task.query:
            return ""
        lone = f"epoch_us(l.time) - {int(self._task.horizon) * 1_000_000}"
        return f" AND coalesce(epoch_us(p.time), {lone}) >= {int(closed)}"

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
        self._rest = any(part.rest for part in records)
        self._restricted = bool(task.query) and self._rest and not self._apart
        if self._rest:
            self._find_touched(records)
        for part in records:
            name = part.side.name
            self._define(name, part.query(conditions, every=self._apart))
            copies = COPIES if COPIES in part.side.columns else "1"
            chosen = _CHOSEN_OF_ONE.format(name=name, copies=copies)
            if part.has_repeated(self._small):
                repeated = f"{conditions} AND {KEY} IN (SELECT key FROM {name}_repeated)"
                self._define(f"{name}_several", part.query(repeated, every=True, ordered=True))
                chosen = _CHOSEN_OF_SEVERAL.format(
                    of_one=chosen, name=name, order=part.side.order, group=", ".join(["key", *part.side.apart]),
                    order_columns=FIRST, copies=copies,
                )  # fmt: skip
            self._given.append(f"{name}_chosen AS ({chosen})")

    def _define(self, name: str, query: str) -> None:
        """Give a query a name; what is not small is made a table, to be worked out once."""
        if self._small:
            self._given.append(f"{name} AS ({query})")
        else:
            self._connection.execute(f"CREATE TEMP TABLE {name} AS {query}")

    def _conditions(self) -> str:
        """Which records are meant at all, each condition after an AND."""
        conditions = sql.meant(self._extent, self._share)
        if self._extent.keys is not None:
            self._connection.register("wanted", pa.table({"key": pa.array(self._extent.keys, pa.string())}))
            conditions += f" AND {KEY} IN (SELECT key FROM wanted)"
        return conditions

    def _find_touched(self, records: Sequence[Touched]) -> None:
        """Make the table of touched keys, of which the records before have to be looked for."""
        keys = " UNION ALL ".join(query for part in records for query in part.key_queries())
        self._connection.execute(f"CREATE TEMP TABLE touched AS {keys}")
        if self._restricted:  # of a query all items are touched
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


def whole_batches(
    connection: duckdb.DuckDBPyConnection, task: Task, extent: Extent, items: Mapping[int, pa.Table]
) -> Iterator[Batch]:
    """The items that several joins found, ``apart``, of the same queries of a ranking task: as ``Join.records``.

    ``items`` are those after the change (1) and before it (-1).
    """
    for sign, table in items.items():
        connection.register(f"items_{'after' if sign > 0 else 'before'}", table)
    queries = " UNION ".join(f"SELECT query FROM items_{side} WHERE touched" for side, sign in _SIDES if sign in items)
    connection.execute(f"CREATE TEMP TABLE queries AS {queries}")
    for side, sign in _SIDES:
        if sign in items:
            meant = (
                f"(SELECT * EXCLUDE (touched) FROM items_{side} "
                "WHERE CASE WHEN orphan THEN touched ELSE query IN (SELECT query FROM queries) END)"
            )
            for table in whole_queries(batches(connection, _in_order(task, extent, meant))):
                yield Batch(sign, table, table)


def _in_order(task: Task, extent: Extent, items: str) -> str:
    """A query of the items of a ranking task in order of their queries; of those whose newest item is not closed."""
    since = ""
    if extent.closed is not None:
        newest = "max(epoch_us(time)) FILTER (NOT orphan) OVER (PARTITION BY query)"
        lone = f"epoch_us(time) - {int(task.horizon) * 1_000_000}"
        since = f" QUALIFY coalesce({newest}, {lone}) >= {int(extent.closed)}"
    return f"SELECT * FROM {items}{since} ORDER BY query"
