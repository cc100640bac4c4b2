"""Batches of joined records on the executors: what their columns mean to the task, and their counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.drive import count_joined, divided
from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.connection import connected, seconds_for
from fourfold.engine.duckdb.sides import (
    label_columns,
    outcome_columns,
    prediction_columns,
    recorded,
    whole_queries,
    with_custom,
)
from fourfold.engine.protocol import Batch, Splits, Wanted
from fourfold.engine.spark.files import Columns
from fourfold.fold import Plan
from fourfold.model import Task
from fourfold.model.records import EVENT_TIME

_THERE = "_ff_there"  # whether a row has a record of the side


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a task's joined records are read, as Spark joins them; ``columns`` are those of each side.

    A row has the key ``k``; the records of the sides as structs: ``p``, ``l``, ``o``, null where there is none; of how
    many they were chosen: ``pn``, ``ln``; whether the label is one: ``h``; whether the prediction was ``served``.
    """

    task: Task
    columns: Mapping[str, Columns]

    def records(self, table: pa.Table, splits: Splits) -> pa.Table:
        """Joined records, as ``fold.tasks.Joined`` describes them, with their parts."""
        task = self.task
        prediction, label = self._side(table, "p", "prediction"), self._side(table, "l", "label")
        has_label = pc.fill_null(table["h"], False)
        copies = [pc.fill_null(table[name].cast(pa.int64()), 0) for name in ("pn", "ln")]
        schema = self.columns["prediction"].schema
        found = {
            "key": table["k"],
            "time": pc.coalesce(prediction[EVENT_TIME], label[EVENT_TIME]),
            "delay": _delay(prediction[EVENT_TIME], label[EVENT_TIME]),
            "orphan": pc.invert(prediction[_THERE]),
            "has_label": has_label,
            "withdrawn": pc.and_(label[_THERE], pc.invert(has_label)),
            "pairs": pc.multiply(*copies),
        }
        if task.version:
            found["served"] = pc.fill_null(table["served"], True)
        seconds = None
        if task.sums or any(part.sql for dimension in splits for part in dimension.parts):
            seconds = seconds_for(table.num_rows)
        with connected(f"task {task.name!r}", seconds=seconds) as connection:
            found |= _asked(connection, prediction, prediction_columns(task, schema) | sql.parts_sql(schema, splits))
            found["label"] = self._label(connection, label)
            if task.outcome is not None:
                outcome = self._side(table, "o", "outcome")
                found |= _asked(connection, outcome, outcome_columns(task, self.columns["outcome"].schema))
            joined = pa.table(found).combine_chunks()
            return self._with_custom(connection, joined, prediction, label) if task.sums else joined

    def pairs(self, table: pa.Table) -> pa.Table:
        """Keys that two versions predicted: ``p`` is what ``version`` says, ``q`` what ``against`` says."""
        expression = prediction_columns(self.task, self.columns["prediction"].schema)["prediction"]
        one, other = (self._side(table, short, "prediction") for short in ("p", "q"))
        label, rows = self._side(table, "l", "label"), table.num_rows
        with connected(f"task {self.task.name!r}") as connection:
            said = [_asked(connection, side, {"prediction": expression})["prediction"] for side in (one, other)]
            actual = self._label(connection, label)
        return pa.table(
            {
                "key": table["k"], "time": one[EVENT_TIME], "prediction": said[0], "other": said[1],
                "version": table["version"], "against": table["against"], "label": actual,
                "delay": _delay(one[EVENT_TIME], label[EVENT_TIME]), "orphan": pa.array(np.zeros(rows, bool)),
                "has_label": pc.fill_null(table["h"], False), "withdrawn": pa.array(np.zeros(rows, bool)),
                "pairs": pa.array(np.ones(rows, np.int64)),
            }
        ).combine_chunks()  # fmt: skip

    def _side(self, table: pa.Table, short: str, name: str) -> pa.Table:
        """The records of one side, and which rows have one."""
        column = table[short].combine_chunks()
        return self.columns[name].records(column).append_column(_THERE, column.is_valid())

    def _label(self, connection: duckdb.DuckDBPyConnection, label: pa.Table) -> pa.ChunkedArray:
        return _asked(connection, label, label_columns(self.task, self.columns["label"].schema))["label"]

    def _with_custom(
        self, connection: duckdb.DuckDBPyConnection, joined: pa.Table, prediction: pa.Table, label: pa.Table
    ) -> pa.Table:
        """Joined records with the values of the custom sums' expressions."""
        names, table = [], joined
        for name, side in (("prediction", prediction), ("label", label)):
            if wanted := recorded(self.task, name, self.columns[name].schema):
                arrays = [side[column].combine_chunks() for column in wanted]
                absent = pc.invert(side[_THERE]).combine_chunks()
                struct = pa.StructArray.from_arrays(arrays, wanted, mask=absent)
                table = table.append_column(f"{name}_record", struct)
                names.append(name)
        connection.register("joined", table)
        query = with_custom(self.task, "SELECT * FROM joined", joined.column_names, names)
        found: pa.Table = connection.sql(query).to_arrow_table()
        return found.combine_chunks()


@dataclasses.dataclass(frozen=True)
class CountJoined:
    """Counts joined records."""

    reading: Reading
    splits: Splits
    wanted: Wanted
    plan: Plan
    sign: int

    def __call__(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Of a ranking task, the tables are in order of the queries, and hold each as a whole."""
        task, kept = self.reading.task, divided(self.splits)
        found = (self.reading.records(table, kept) for table in tables)
        for records in whole_queries(found) if task.query else found:
            yield from count_joined(task, Batch(self.sign, records, records), self.splits, self.wanted, self.plan)


@dataclasses.dataclass(frozen=True)
class CountPairs:
    """Counts pairs of versions."""

    reading: Reading
    plan: Plan
    sign: int

    def __call__(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The tables may hold any of them."""
        for table in tables:
            records = self.reading.pairs(table)
            batch = Batch(self.sign, records, records, paired=True)
            yield from count_joined(self.reading.task, batch, {}, {}, self.plan)


def _asked(
    connection: duckdb.DuckDBPyConnection, side: pa.Table, columns: Mapping[str, str]
) -> dict[str, pa.ChunkedArray]:
    """Expressions over the records of a side; null where a row has none."""
    connection.register("side", side)
    if not pc.all(side[_THERE]).as_py():
        columns = {name: f"CASE WHEN {_THERE} THEN {expression} END" for name, expression in columns.items()}
    values = connection.sql(f"SELECT {sql.listed(columns)} FROM side").to_arrow_table()
    return {name: values[name] for name in columns}


def _delay(prediction: pa.ChunkedArray, label: pa.ChunkedArray) -> pa.ChunkedArray:
    """Label time less prediction time, in seconds."""
    micros = [side.cast(pa.int64()).cast(pa.float64(), safe=False) for side in (label, prediction)]
    return pc.divide(pc.subtract(*micros), 1e6)
