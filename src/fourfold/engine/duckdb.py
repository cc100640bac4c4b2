"""Folding in this process: DuckDB joins, the kernel counts."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds
import pyarrow.parquet as pq

from fourfold import counts
from fourfold.counts.binning import Ints
from fourfold.engine import joins, matching, stopping
from fourfold.engine.protocol import EVERYTHING, Changed, Discrepancy, Extent, Folded, Splits, TooSlowError, Wanted
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
    labels_of,
    plan_columns,
)  # fmt: skip
from fourfold.fold.tasks import Joined, fold_pairs, fold_task, judged, plan_task
from fourfold.model import ALL, DAY, LABEL_PREFIX, MOST_SLICES, Dimension, Task, label_of
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW, users

LEAST_SECONDS = 10.0  # that users' expressions may take, however few the records
ROWS_A_SECOND = 20_000  # beyond; the slowest that is still taken for counting and not for a mistake


class DuckDB:
    """The embedded engine."""

    def stop(self, thread: threading.Thread) -> None:
        """See ``Engine.stop``."""
        stopping.stop(thread)

    def levels(self, log: Changed, dimension: Dimension, known: Levels) -> Levels:
        """See ``Engine.levels``."""
        if not log.added or not dimension.parts:
            return known
        what = f"slices by {dimension}"
        limit = _expression_seconds([log], dimension)
        with _connected() as connection, _explained(what, dimension), _bounded(connection, limit):
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
        values = [tuple(None if text is None else label_of(text) for text in row) for row in rows]
        return known.admitting(list(dict.fromkeys(values)))

    def fold_stream(self, log: Changed, splits: Splits, plan: Plan, extent: Extent = EVERYTHING) -> Folded:
        """See ``Engine.fold_stream``."""
        adder = _Adder()
        newest: tuple[pa.Table, Ints] | None = None
        divided = {dimension: levels for dimension, levels in splits.items() if dimension.parts}
        for files, turn in ((log.added, 1), (log.removed, -1)):
            for batch in _batches(files, log.schema, extent):
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
        for batch in _duplicates(log, divided, extent):
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
        limit = _expression_seconds(logs.values(), *divided, sums=bool(task.sums))
        with _connected() as connection, _explained(f"task {task.name!r}"), _bounded(connection, limit):
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

    def usable_labels(self, task: Task, labels: pa.Table) -> list[bool]:
        """See ``Engine.usable_labels``."""
        with _connected() as connection:
            connection.register("labels", labels)
            rows = connection.execute(f"SELECT {joins.usable_sql(task, labels.schema)} FROM labels").fetchall()
            return [bool(row[0]) for row in rows]

    def unusable_labels(self, task: Task, log: Changed, most: int) -> list[tuple[str, int]]:
        """See ``Engine.unusable_labels``."""
        with _connected() as connection:
            joins.register(connection, "log", log.added, log.schema)
            text = joins.text_sql(task.label.column, log.schema)
            rows = connection.execute(
                f"SELECT left(coalesce({text}, '?'), 100) AS said, count(*) AS n FROM log WHERE {KEY} IS NOT NULL "
                f"AND NOT {joins.usable_sql(task, log.schema)} GROUP BY said ORDER BY n DESC, said LIMIT {int(most)}"
            ).fetchall()
            return [(str(said), int(n)) for said, n in rows]

    def keys(
        self, log: Changed, dimension: Dimension, levels: Levels, value: Sequence[str | None], extent: Extent
    ) -> pa.Array:
        """See ``Engine.keys``."""
        with _connected() as connection:
            joins.register(connection, "log", log.added, log.schema)
            parts = _part_columns(log.schema, {dimension: levels})
            # narrowed by the characters that a label keeps in any case, then held against whole labels
            conditions = "".join(
                f" AND left({sql}, {LABEL_PREFIX}) IS NOT DISTINCT FROM left(?, {LABEL_PREFIX})"
                for sql in parts.values()
            )
            listed = "".join(f", {sql} AS {name}" for name, sql in parts.items())
            bounds = joins.bounds(extent, EVENT_TIME)
            query = f"SELECT {KEY}{listed} FROM log WHERE {KEY} IS NOT NULL{conditions}{bounds}"
            table: pa.Table = connection.sql(query, params=list(value)).to_arrow_table().combine_chunks()
        for name, text in zip(parts, value, strict=True):
            if text is not None:
                table = table.filter(pc.equal(labels_of(table[name].combine_chunks()), label_of(text)))
        return pc.unique(table[KEY].combine_chunks())


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
def _explained(what: str, dimension: Dimension | None = None) -> Iterator[None]:
    """What DuckDB refuses in users' expressions, as our own error."""
    try:
        yield
    except duckdb.InterruptException as error:
        stopping.check()
        raise TooSlowError(f"{what}: its SQL expressions took too long, and were stopped", dimension) from error
    except duckdb.Error as error:
        raise ConfigError(f"{what}: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Interrupt what the connection does after a time; None: never."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _expression_seconds(logs: Iterable[Changed], *dimensions: Dimension, sums: bool = False) -> float | None:
    """How long counting these logs may take where users' expressions are evaluated on them; None where none are."""
    if not sums and not any(part.sql for dimension in dimensions for part in dimension.parts):
        return None
    files = [file for log in logs for file in (*log.before, *log.added, *log.removed)]
    rows: int = sum(pq.read_metadata(file).num_rows for file in files)
    return LEAST_SECONDS + rows / ROWS_A_SECOND


@contextlib.contextmanager
def _connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own, with its own temporary tables; it takes what has no time zone for UTC."""
    with stopping.stoppable(_database().cursor()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """The process's database in memory, which stays empty: making one takes longer than many a query."""
    spill = os.path.join(tempfile.gettempdir(), f"fourfold-{os.getpid()}")  # else it would be in the working folder
    connection = duckdb.connect(config={"temp_directory": spill, "python_enable_replacements": False})
    atexit.register(_close, connection)
    return connection


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    """While the interpreter is whole: what a thread keeps alive beyond that, the driver reports as leaked."""
    _database.cache_clear()
    connection.close()


def _batches(files: Sequence[str], schema: pa.Schema, extent: Extent) -> Iterator[pa.Table]:
    """The records of some files in tables of a moderate size."""
    if not files:
        return
    dataset = pds.dataset(list(files), schema=schema, format="parquet")
    known = None
    if extent.as_of is not None:
        known = pc.field(LOG_TIME) <= pa.scalar(extent.as_of, META.field(LOG_TIME).type)
    if extent.closed is not None:
        open_ = pc.field(EVENT_TIME) >= pa.scalar(extent.closed, META.field(EVENT_TIME).type)
        known = open_ if known is None else known & open_
    waiting: list[pa.RecordBatch] = []
    for batch in dataset.to_batches(
        batch_size=joins.BATCH_ROWS, batch_readahead=2, fragment_readahead=2, filter=known
    ):  # fmt: skip
        stopping.check()
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
    seconds = LEAST_SECONDS + batch.num_rows / ROWS_A_SECOND
    with _connected() as connection, _explained("slices"), _bounded(connection, seconds):
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


def _duplicates(log: Changed, splits: Splits, extent: Extent) -> Iterator[pa.Table]:
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
        known = "" if extent.as_of is None else f"AND epoch_us({LOG_TIME}) <= {int(extent.as_of)}"
        open_ = "" if extent.closed is None else f"AND epoch_us(time) >= {int(extent.closed)}"
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
            SELECT time, is_::BIGINT - was::BIGINT AS sign {names} FROM ranked WHERE is_ <> was {open_}
            """,
        )
