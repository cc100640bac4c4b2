"""Folding in this process: DuckDB joins, the kernel counts."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from fourfold import counts
from fourfold.binning import Ints
from fourfold.engine import joins, matching
from fourfold.engine.protocol import EVERYTHING, Changed, Discrepancy, Extent, Folded, Splits, Wanted
from fourfold.errors import ConfigError
from fourfold.fold import (
    Levels,
    Plan,
    Split,
    better_binnings,
    bucket_starts,
    event_seconds,
    fold_columns,
    fold_duplicates,
    fold_keys,
    group_records,
    plan_columns,
)  # fmt: skip
from fourfold.fold.tasks import Joined, fold_pairs, fold_task, judged, plan_task
from fourfold.model import ALL, DAY, MOST_SLICES, Dimension, Task
from fourfold.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW, users


class DuckDB:
    """The embedded engine."""

    def levels(self, log: Changed, dimension: Dimension, known: Levels) -> Levels:
        """See ``Engine.levels``."""
        if not log.added or not dimension.parts:
            return known
        with _connected() as connection, _explained(f"slices by {dimension}"):
            joins.register(connection, "log", log.added, log.schema)
            edges = {**known.edges}
            for part in dimension.parts:
                if part.buckets and part.name not in edges:
                    value = joins.number_sql(part.name, log.schema)
                    shares = [i / part.buckets for i in range(1, part.buckets)]
                    row = connection.execute(
                        f"SELECT quantile_cont(v, {shares}) FROM (SELECT {value} AS v FROM log) WHERE isfinite(v)"
                    ).fetchone()
                    if row and row[0]:
                        edges[part.name] = tuple(dict.fromkeys(row[0]))
            known = dataclasses.replace(known, edges=edges)
            if known.full:
                return known
            parts = _part_columns(log.schema, {dimension: known})
            listed = ", ".join(f"{sql} AS {name}" for name, sql in parts.items())
            rows = connection.execute(
                f"SELECT {', '.join(parts)} FROM (SELECT {listed}, count(*) AS n FROM log GROUP BY ALL) "
                f"ORDER BY n DESC, {', '.join(parts)} LIMIT {MOST_SLICES + len(known.kept) + 1}"
            ).fetchall()
        return known.admitting(rows)

    def fold_stream(self, log: Changed, splits: Splits, plan: Plan, *, as_of: int | None = None) -> Folded:
        """See ``Engine.fold_stream``."""
        adder = _Adder()
        newest: tuple[pa.Table, Ints] | None = None
        divided = {dimension: levels for dimension, levels in splits.items() if dimension.parts}
        for files, turn in ((log.added, 1), (log.removed, -1)):
            for batch in _batches(files, log.schema, as_of):
                seconds = event_seconds(batch[EVENT_TIME])
                columns = batch.select(users(batch.column_names))
                plan = plan_columns(columns, plan, seconds)
                starts = bucket_starts(seconds)
                groups = group_records(starts) if ALL in splits else []
                groups += [split.groups(starts) for split in _split(batch, log.schema, divided)]
                keys = batch[KEY].combine_chunks()
                table = pa.concat_tables(
                    [fold_columns(columns, seconds, groups, plan), *(fold_keys(keys, g) for g in groups)]
                )
                adder.add(table if turn > 0 else counts.negate(table))
                newest = (columns, seconds) if turn > 0 else newest
        for batch in _duplicates(log, divided, as_of):
            sign = batch["sign"].to_numpy()
            starts = bucket_starts(event_seconds(batch["time"]))
            groups = group_records(starts) if ALL in splits else []
            for grouping in [*groups, *(split.groups(starts) for split in _splits_of(batch, divided))]:
                adder.add(fold_duplicates(sign, grouping))
        if newest is not None and ALL in splits:
            plan = plan.adding(better_binnings(*newest, plan), (int(newest[1].max()) // DAY + 1) * DAY)
        return Folded(counts.drop_zero(adder.total()), plan)

    def fold_task(
        self,
        task: Task,
        logs: Mapping[str, Changed],
        splits: Splits,
        plan: Plan,
        extent: Extent = EVERYTHING,
        wanted: Wanted | None = None,
    ) -> Folded:
        """See ``Engine.fold_task``."""
        adder = _Adder()
        if wanted is None:
            wanted = dict.fromkeys(splits, ("", *(sums.metric for sums in task.sums)))
        divided = {dimension: levels for dimension, levels in splits.items() if dimension.parts}
        with _connected() as connection, _explained(f"task {task.name!r}"):
            join = joins.Join(connection, task, logs, divided, extent)
            for side, sign in joins.SIDES:
                if sign < 0 and not any(log.before or log.removed for log in logs.values()):
                    continue  # nothing stood before
                for batch in join.records(side):
                    records = Joined(judged(task, batch), task)
                    plan = plan_task(records, plan)
                    into = dict(zip(divided, _splits_of(records.table, divided), strict=True))
                    for table in fold_task(records, into, wanted, plan):
                        adder.add(table if sign > 0 else counts.negate(table))
                for batch in join.pairs(side) if task.version and "" in wanted.get(ALL, ()) else ():
                    for table in fold_pairs(Joined(batch, task), plan):
                        adder.add(table if sign > 0 else counts.negate(table))
        return Folded(counts.drop_zero(adder.total()), plan)

    def joined(
        self, task: Task, logs: Mapping[str, Changed], splits: Splits, extent: Extent = EVERYTHING
    ) -> Iterator[pa.Table]:
        """See ``Engine.joined``."""
        with _connected() as connection, _explained(f"task {task.name!r}"):
            yield from joins.Join(connection, task, logs, splits, extent).records("is_")

    def discrepancies(
        self, here: Changed, there: Changed, columns: Sequence[str], relative: float, absolute: float, examples: int
    ) -> list[Discrepancy]:
        """See ``Engine.discrepancies``."""
        with _connected() as connection:
            return matching.discrepancies(connection, here, there, columns, relative, absolute, examples)

    def keys(
        self, log: Changed, dimension: Dimension, levels: Levels, value: Sequence[str | None], extent: Extent
    ) -> pa.Array:
        """See ``Engine.keys``."""
        with _connected() as connection:
            joins.register(connection, "log", log.added, log.schema)
            parts = _part_columns(log.schema, {dimension: levels}).values()
            conditions = "".join(f" AND {sql} IS NOT DISTINCT FROM ?" for sql in parts)
            bounds = joins.bounds(extent, EVENT_TIME)
            query = f"SELECT DISTINCT {KEY} FROM log WHERE {KEY} IS NOT NULL{conditions}{bounds}"
            table: pa.Table = connection.sql(query, params=list(value)).to_arrow_table()
            return table[KEY].combine_chunks()


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


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """What DuckDB refuses in users' expressions, as our own error."""
    try:
        yield
    except duckdb.Error as error:
        raise ConfigError(f"{what}: {str(error).splitlines()[0]}") from error


def _connected() -> duckdb.DuckDBPyConnection:
    """A connection of its own, with its own temporary tables; it takes what has no time zone for UTC."""
    connection = _database().cursor()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """The process's database in memory, which stays empty: making one takes longer than many a query."""
    connection = duckdb.connect()
    atexit.register(_close, connection)
    return connection


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    """While the interpreter is whole: what a thread keeps alive beyond that, the driver reports as leaked."""
    _database.cache_clear()
    connection.close()


def _batches(files: Sequence[str], schema: pa.Schema, as_of: int | None) -> Iterator[pa.Table]:
    """The records of some files in tables of a moderate size."""
    if not files:
        return
    dataset = pds.dataset(list(files), schema=schema, format="parquet")
    known = None if as_of is None else pc.field(LOG_TIME) <= pa.scalar(as_of, META.field(LOG_TIME).type)
    waiting: list[pa.RecordBatch] = []
    for batch in dataset.to_batches(
        batch_size=joins.BATCH_ROWS, batch_readahead=2, fragment_readahead=2, filter=known
    ):  # fmt: skip
        if batch.num_rows:
            waiting.append(batch)
        if sum(b.num_rows for b in waiting) >= joins.BATCH_ROWS:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _part_columns(schema: pa.Schema, splits: Splits) -> dict[str, str]:
    return {
        f"slice_{i}_{j}": joins.part_sql(part, schema, levels)
        for i, (dimension, levels) in enumerate(splits.items())
        for j, part in enumerate(dimension.parts)
    }


def _split(batch: pa.Table, schema: pa.Schema, splits: Splits) -> list[Split]:
    """How the records of a log are split."""
    if not splits:
        return []
    with _connected() as connection, _explained("slices"):
        connection.register("batch", batch)
        listed = ", ".join(f"{sql} AS {name}" for name, sql in _part_columns(schema, splits).items())
        return _splits_of(connection.sql(f"SELECT {listed} FROM batch").to_arrow_table().combine_chunks(), splits)


def _splits_of(table: pa.Table, splits: Splits) -> list[Split]:
    """How records are split that carry what their dimensions make of them."""
    return [
        Split(
            tuple(part.name for part in dimension.parts),
            tuple(table[f"slice_{i}_{j}"].combine_chunks() for j in range(len(dimension.parts))),
            levels.kept if levels.full else None,
        )
        for i, (dimension, levels) in enumerate(splits.items())
    ]


def _duplicates(log: Changed, splits: Splits, as_of: int | None) -> Iterator[pa.Table]:
    """Records that have become, or have ceased to be, repetitions of a key: time, slices and sign."""
    parts = _part_columns(log.schema, splits)
    order = f"({LOG_TIME}, {BATCH}, {ROW})"
    with _connected() as connection:
        selects, changed = [], []
        for part, stood, stands in joins.PARTS:
            if files := getattr(log, part):
                joins.register(connection, f"log_{part}", files, log.schema)
                selects.append(f"SELECT *, {stood} AS stood, {stands} AS stands FROM log_{part}")
                changed += [f"SELECT {KEY} FROM log_{part}"] if part != "before" else []
        if not changed:
            return
        known = "" if as_of is None else f"AND epoch_us({LOG_TIME}) <= {int(as_of)}"
        connection.execute(f"CREATE TEMP VIEW records AS {' UNION ALL BY NAME '.join(selects)}")
        affected = f"AND {KEY} IN ({' UNION '.join(changed)})" if log.before or log.removed else ""
        connection.execute(
            f"CREATE TEMP TABLE several AS SELECT {KEY} FROM records WHERE {KEY} IS NOT NULL {known} {affected} "
            f"GROUP BY {KEY} HAVING count(*) > 1"
        )
        listed = "".join(f", {sql} AS {name}" for name, sql in parts.items())
        names = "".join(f", {name}" for name in parts)
        yield from joins.stream(
            connection,
            f"""
            WITH ranked AS (
                SELECT {EVENT_TIME} AS time {listed},
                    stood AND row_number() OVER (PARTITION BY {KEY}, stood ORDER BY {order}) > 1 AS was,
                    stands AND row_number() OVER (PARTITION BY {KEY}, stands ORDER BY {order}) > 1 AS is_
                FROM records WHERE {KEY} IN (SELECT {KEY} FROM several) {known}
            )
            SELECT time, is_::BIGINT - was::BIGINT AS sign {names} FROM ranked WHERE is_ <> was
            """,
        )
