"""Folding in this process: DuckDB joins, the kernel counts.

What is late, repeated, corrected or removed needs no case of its own: for every key that a change touches, the
engine works out what stood before and what stands now, takes the one back and adds the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from fourfold import counts
from fourfold.binning import Floats, Ints
from fourfold.engine.protocol import Changed, Folded
from fourfold.fold import (
    Plan,
    better_binnings,
    bucket_starts,
    choose_binning,
    event_seconds,
    fold_binary,
    fold_columns,
    fold_delay,
    fold_duplicates,
    fold_keys,
    group_records,
    plan_columns,
)  # fmt: skip
from fourfold.fold.binary import DELAY_BINNING, SCORE_BITS
from fourfold.model import DAY, Task
from fourfold.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW

BATCH_ROWS = 1 << 18
_ORDER = f"({LOG_TIME}, {BATCH}, {ROW})"
# The three parts of a changed log, and whether their records stood before the change and stand after it.
_PARTS = (("before", True, True), ("added", False, True), ("removed", True, False))


class DuckDB:
    """The embedded engine."""

    def fold_stream(self, log: Changed, dimensions: Sequence[str], plan: Plan) -> Folded:
        """See ``Engine.fold_stream``."""
        adder = _Adder()
        newest: tuple[pa.Table, Ints] | None = None
        for dataset, turn in ((log.added, 1), (log.removed, -1)):
            for batch in _batches(dataset):
                seconds = event_seconds(batch[EVENT_TIME])
                columns = batch.drop_columns(list(META.names))
                plan = plan_columns(columns, plan, seconds)
                slices = _slice_columns(batch, [d for d in dimensions if d])
                groups = group_records(bucket_starts(seconds), slices, everything="" in dimensions)
                keys = batch[KEY].combine_chunks()
                table = pa.concat_tables(
                    [fold_columns(columns, seconds, groups, plan), *(fold_keys(keys, g) for g in groups)]
                )
                adder.add(table if turn > 0 else counts.negate(table))
                newest = (columns, seconds) if turn > 0 else newest
        for batch in self._duplicates(log, [d for d in dimensions if d]):
            sign = batch["sign"].to_numpy()
            slices = _slices(batch, [d for d in dimensions if d])
            starts = bucket_starts(event_seconds(batch["time"]))
            for grouping in group_records(starts, slices, everything="" in dimensions):
                adder.add(fold_duplicates(sign, grouping))
        if newest is not None and "" in dimensions:
            plan = plan.adding(better_binnings(*newest, plan), (int(newest[1].max()) // DAY + 1) * DAY)
        return Folded(counts.drop_zero(adder.total()), plan)

    def fold_task(self, task: Task, predictions: Changed, labels: Changed, plan: Plan) -> Folded:
        """See ``Engine.fold_task``."""
        adder = _Adder()
        for batch in self._joined(task, predictions, labels):
            plan = _plan_task(plan, _numbers(batch["score"]))
            for sign in (1, -1):
                part = batch.filter(pc.equal(batch["sign"], sign)).combine_chunks()
                if part.num_rows:
                    for table in _fold_joined(task, part, plan):
                        adder.add(table if sign > 0 else counts.negate(table))
        return Folded(counts.drop_zero(adder.total()), plan)

    def _duplicates(self, log: Changed, dimensions: Sequence[str]) -> Iterator[pa.Table]:
        """Records that have become, or have ceased to be, repetitions of a key: time, slices and sign."""
        with duckdb.connect() as connection:
            rows = _register(connection, "log", log, {f"slice_{i}": (d, "VARCHAR") for i, d in enumerate(dimensions)})
            names = "".join(f", slice_{i}" for i in range(len(dimensions)))
            yield from _stream(
                connection,
                f"""
                WITH affected AS ({_affected("log")}),
                ranked AS (
                    SELECT *,
                        stood AND row_number() OVER (PARTITION BY {KEY}, stood ORDER BY {_ORDER}) > 1 AS was,
                        stands AND row_number() OVER (PARTITION BY {KEY}, stands ORDER BY {_ORDER}) > 1 AS is_
                    FROM ({rows}) WHERE {KEY} IN (SELECT {KEY} FROM affected)
                )
                SELECT {EVENT_TIME} AS time, is_::BIGINT - was::BIGINT AS sign {names} FROM ranked WHERE is_ <> was
                """,
            )

    def _joined(self, task: Task, predictions: Changed, labels: Changed) -> Iterator[pa.Table]:
        """The joined records to take back (sign −1) and to add (+1), for all keys that the change touches.

        Of a key's predictions the first stands, of its labels the last; both by log time.
        """
        with duckdb.connect() as connection:
            slices = {f"slice_{i}": (name, "VARCHAR") for i, name in enumerate(task.slices)}
            predicted = _register(
                connection, "predictions", predictions, {"score": (task.prediction_column, "DOUBLE"), **slices}
            )
            labelled = _register(connection, "labels", labels, {"label": (task.label_column, "DOUBLE")})
            prediction = ", ".join(f"{name} := {name}" for name in ("score", *slices))
            aliases = "".join(f", p.{alias} AS {alias}" for alias in slices)
            sides = " UNION ALL ".join(
                f"""SELECT {sign}::BIGINT AS sign, coalesce(p.time, l.time) AS time, p.score AS score{aliases},
                        coalesce(l.label, CASE WHEN l.has_label THEN 2 END) AS label,
                        (epoch_us(l.time) - epoch_us(p.time)) / 1e6 AS delay, p.time IS NULL AS orphan
                    FROM (SELECT prediction_{side} AS p, label_{side} AS l FROM changed)
                    WHERE p.time IS NOT NULL OR l.has_label"""
                for side, sign in (("was", -1), ("is", 1))
            )
            yield from _stream(
                connection,
                f"""
                WITH affected AS ({_affected("predictions")} UNION {_affected("labels")}),
                p AS (
                    SELECT {KEY},
                        {_winner("arg_min", f"time := {EVENT_TIME}, {prediction}", "stood")} AS prediction_was,
                        {_winner("arg_min", f"time := {EVENT_TIME}, {prediction}", "stands")} AS prediction_is
                    FROM ({predicted}) WHERE {KEY} IN (SELECT {KEY} FROM affected) GROUP BY {KEY}
                ),
                l AS (
                    SELECT {KEY},
                        {_winner("arg_max", f"time := {EVENT_TIME}, label := label, has_label := has_label", "stood")}
                            AS label_was,
                        {_winner("arg_max", f"time := {EVENT_TIME}, label := label, has_label := has_label", "stands")}
                            AS label_is
                    FROM ({labelled}) WHERE {KEY} IN (SELECT {KEY} FROM affected) GROUP BY {KEY}
                ),
                changed AS (
                    SELECT * FROM p FULL JOIN l USING ({KEY})
                    WHERE prediction_was IS DISTINCT FROM prediction_is OR label_was IS DISTINCT FROM label_is
                )
                {sides}
                """,
            )


def _fold_joined(task: Task, batch: pa.Table, plan: Plan) -> Iterator[pa.Table]:
    """The counts of joined records: of all of them, then by each slice, in which orphans have no place."""
    seconds = event_seconds(batch["time"])
    starts, moment = bucket_starts(seconds), int(seconds[0])
    score, label, delay = (_numbers(batch[name]) for name in ("score", "label", "delay"))
    orphan = batch["orphan"].to_numpy()
    late = ~np.isnan(label) & (delay > task.horizon)
    labelled = ~np.isnan(label) & ~late & ~orphan
    joined = labelled & np.isfinite(score) & np.isin(label, (0, 1))
    slices = _slices(batch, task.slices).filter(pa.array(~orphan))
    everything = [(np.ones(len(orphan), bool), grouping) for grouping in group_records(starts)]
    sliced = [(~orphan, grouping) for grouping in group_records(starts[~orphan], slices, everything=False)]
    for mask, grouping in [*everything, *sliced]:
        yield fold_binary(
            score[mask], label[mask], labelled[mask], late[mask], orphan[mask], grouping, task.threshold,
            plan.binning("", moment),
        )  # fmt: skip
        yield fold_delay(delay[mask], joined[mask], grouping, plan.binning("delay", moment))


class _Adder:
    """Adds up counts tables as they come, so that memory holds counts and not batches."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        self._parts.append(table)
        self._rows += table.num_rows
        if self._rows > 200_000 and len(self._parts) > 1:
            self._parts = [self.total()]
            self._rows = -self._parts[0].num_rows  # at least as many new rows before the next addition

    def total(self) -> pa.Table:
        return counts.add(*self._parts)


def _batches(dataset: pds.Dataset) -> Iterator[pa.Table]:
    """A dataset in tables of a moderate size."""
    waiting: list[pa.RecordBatch] = []
    for batch in dataset.to_batches(batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=2):
        if batch.num_rows:
            waiting.append(batch)
        if sum(b.num_rows for b in waiting) >= BATCH_ROWS:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _register(
    connection: duckdb.DuckDBPyConnection, name: str, log: Changed, columns: dict[str, tuple[str, str]]
) -> str:
    """Make a log's three parts tables of the connection; returns a query over all its records.

    ``columns`` maps each alias to a column and its SQL type; a column that the log lacks is null.
    """
    selects = []
    for part, stood, stands in _PARTS:
        dataset: pds.Dataset = getattr(log, part)
        table = f"{name}_{part}"
        connection.register(table, dataset)
        present = set(dataset.schema.names)
        picked = []
        for alias, (column, kind) in columns.items():
            if column not in present:
                picked.append(f"NULL::{kind} AS {alias}")
            else:
                picked.append(f"TRY_CAST({_quoted(column)} AS {kind}) AS {alias}")
            if alias == "label":
                exists = f"{_quoted(column)} IS NOT NULL" if column in present else "false"
                picked.append(f"{exists} AS has_label")
        listed = "".join(f", {expression}" for expression in picked)
        selects.append(
            f"SELECT {KEY}, {EVENT_TIME}, {LOG_TIME}, {BATCH}, {ROW}{listed}, "
            f"{stood} AS stood, {stands} AS stands FROM {table}"
        )
    return " UNION ALL ".join(selects)


def _affected(name: str) -> str:
    """The keys that a change touches."""
    parts = " UNION ".join(f"SELECT {KEY} FROM {name}_{part}" for part in ("added", "removed"))
    return f"SELECT {KEY} FROM ({parts}) WHERE {KEY} IS NOT NULL"


def _winner(choose: str, fields: str, side: str) -> str:
    return f"{choose}(struct_pack({fields}), {_ORDER}) FILTER (WHERE {side})"


def _stream(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.Table]:
    reader = connection.sql(query).to_arrow_reader(BATCH_ROWS)
    for batch in reader:
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def _quoted(name: str) -> str:
    """An identifier; what users call their columns is bound, never trusted."""
    return '"' + name.replace('"', '""') + '"'


def _slice_columns(batch: pa.Table, names: Sequence[str]) -> pa.Table:
    """The slice columns of a log; one that was not logged yet is null, as it will read once it is."""
    absent = pa.nulls(batch.num_rows, pa.string())
    return pa.table({name: batch[name] if name in batch.column_names else absent for name in names})


def _slices(batch: pa.Table, names: Sequence[str]) -> pa.Table:
    """The slice columns of a query's result under the names that users know them by."""
    return batch.select([f"slice_{i}" for i in range(len(names))]).rename_columns(list(names))


def _numbers(column: pa.ChunkedArray) -> Floats:
    """A float column with NaN for null."""
    numbers: Floats = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    return numbers


def _plan_task(plan: Plan, score: Floats) -> Plan:
    """Fix the scores' binning from the first that are seen; delays have one for all."""
    if "" not in plan.binnings and np.isfinite(score).any():
        plan = plan.adding({"": choose_binning(score, SCORE_BITS)})
    if "delay" not in plan.binnings:
        plan = plan.adding({"delay": DELAY_BINNING})
    return plan
