"""Folding in this process: DuckDB joins, the kernel counts."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine import stopping
from fourfold.engine.drive import Adder, count_joined, count_records, count_repetitions, divided, folded, wanted_of
from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.connection import connected, expression_seconds, seconds_for
from fourfold.engine.duckdb.files import SMALL, needed, read, register, tables
from fourfold.engine.duckdb.joins import Join
from fourfold.engine.duckdb.matching import discrepancies
from fourfold.engine.duckdb.repeated import repetitions
from fourfold.engine.duckdb.sides import by_side
from fourfold.engine.engine import Engine
from fourfold.engine.planning import (
    SAMPLE,
    plan_joined,
    plan_log,
    plan_next,
    plan_records,
    plan_sampled,
    share_of,
)
from fourfold.engine.protocol import WHOLE, Batch, ChangedLog, Discrepancy, Extent, Folded, Splits, Wanted
from fourfold.fold import KeptSlices, Plan
from fourfold.fold.tasks import unplanned_task
from fourfold.model import ALL, LABEL_PREFIX, MOST_SLICES, Dimension, Task, label_of, slice_label
from fourfold.model.names import slice_text
from fourfold.model.records import EVENT_TIME, KEY

__all__ = ["DuckDB", "labelled", "parts_of"]


class DuckDB(Engine):
    """The embedded engine."""

    def stop(self, thread: threading.Thread) -> None:
        """See ``Engine.stop``."""
        stopping.stop(thread)

    def kept_slices(self, log: ChangedLog, dimension: Dimension, known: KeptSlices) -> KeptSlices:
        """See ``Engine.kept_slices``."""
        if not log.added or not dimension.parts:
            return known
        most = MOST_SLICES + len(known.kept) + 1
        columns = needed(log.schema, (), {dimension: known})
        if not known.full and _is_text(log.schema, dimension):
            table = read(log, log.added, columns)
            if table is not None:
                return known.admitting(_heaviest(table, dimension)[:most])
        seconds = expression_seconds([log], dimension)
        with connected(f"slices by {dimension}", dimension, seconds) as connection:
            register(connection, "log", log, log.added, columns)
            edges = {**known.edges}
            for part in dimension.parts:
                if part.buckets and part.name not in edges:
                    value = sql.number_sql(part.name, log.schema)
                    shares = [i / part.buckets for i in range(1, part.buckets)]
                    row = connection.execute(
                        f"SELECT quantile_cont(v, {shares}) FROM (SELECT {value} AS v FROM log) WHERE isfinite(v)"
                    ).fetchone()
                    if row and row[0]:
                        edges[part.name] = tuple(dict.fromkeys(row[0]))
            known = dataclasses.replace(known, edges=edges)
            if known.full:
                return known
            parts = sql.parts_sql(log.schema, {dimension: known})
            rows = connection.execute(
                f"SELECT {', '.join(parts)} FROM (SELECT {sql.listed(parts)}, count(*) AS n FROM log GROUP BY ALL) "
                f"ORDER BY n DESC, {', '.join(parts)} LIMIT {most}"
            ).fetchall()
        return known.admitting(labelled(rows))

    def fold_stream(self, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent = WHOLE) -> Folded:
        """See ``Engine.fold_stream``."""
        adder, kept = Adder(), divided(splits)
        batches = _records(log, kept, extent)
        first, second = next(batches, None), next(batches, None)
        if first is not None:
            plan = plan_records(first.records, plan)
            plan = plan if second is None else plan_log(log, extent, plan)
        for batch in filter(None, itertools.chain((first, second), batches)):
            for table in count_records(batch, splits, plan):
                adder.add(table)
        for batch in repetitions(log, kept, extent):
            for table in count_repetitions(batch, splits):
                adder.add(table)
        if log.added and ALL in splits:
            plan = plan_next(log, extent, plan, first.records if first is not None and second is None else None)
        return folded(adder.total(), plan)

    def fold_task(
        self,
        task: Task,
        logs: Mapping[str, ChangedLog],
        splits: Splits,
        plan: Plan,
        extent: Extent = WHOLE,
        wanted: Wanted | None = None,
    ) -> Folded:
        """See ``Engine.fold_task``."""
        adder, kept = Adder(), divided(splits)
        wanted = wanted_of(task, splits, wanted)
        pairs = bool(task.version) and "" in wanted.get(ALL, ())
        if unplanned_task(task, plan) and sum(log.rows() for log in logs.values()) > SMALL:
            plan = self._sampled(task, logs, plan, extent)
        seconds = expression_seconds(logs.values(), *kept, sums=bool(task.sums))
        with connected(f"task {task.name!r}", seconds=seconds) as connection:
            for batch in Join(connection, task, by_side(task, logs), kept, extent).records(pairs):
                plan = plan if batch.paired else plan_joined(task, batch.records, plan)
                for table in count_joined(task, batch, splits, wanted, plan):
                    adder.add(table)
        return folded(adder.total(), plan)

    def _sampled(self, task: Task, logs: Mapping[str, ChangedLog], plan: Plan, extent: Extent) -> Plan:
        """The plan with what it lacks chosen from samples of the joined records."""
        bare = dataclasses.replace(task, sums=())

        def sample(labelled: bool) -> pa.Table:
            share = None if labelled else share_of(logs.values(), extent)
            with connected() as connection:
                join = Join(connection, bare, by_side(task, logs), {}, extent, share)
                found = list(join.sample(SAMPLE, labelled=labelled))
            return pa.concat_tables(found).combine_chunks() if found else pa.table({})

        return plan_sampled(task, sample, plan)

    def joined(
        self, task: Task, logs: Mapping[str, ChangedLog], splits: Splits, extent: Extent = WHOLE
    ) -> Iterator[pa.Table]:
        """See ``Engine.joined``."""
        with connected(f"task {task.name!r}") as connection:
            yield from Join(connection, task, by_side(task, logs), splits, extent).joined()

    def discrepancies(
        self,
        here: ChangedLog,
        there: ChangedLog,
        columns: Sequence[str],
        relative: float,
        absolute: float,
        examples: int,
    ) -> list[Discrepancy]:
        """See ``Engine.discrepancies``."""
        with connected() as connection:
            return discrepancies(connection, here, there, columns, relative, absolute, examples)

    def usable_labels(self, task: Task, labels: pa.Table) -> list[bool]:
        """See ``Engine.usable_labels``."""
        with connected() as connection:
            connection.register("labels", labels)
            rows = connection.execute(f"SELECT {sql.usable_sql(task, labels.schema)} FROM labels").fetchall()
            return [bool(row[0]) for row in rows]

    def unusable_labels(self, task: Task, log: ChangedLog, most: int) -> list[tuple[str, int]]:
        """See ``Engine.unusable_labels``."""
        with connected() as connection:
            register(connection, "log", log, log.added)
            text = sql.text_sql(task.label.column, log.schema)
            rows = connection.execute(
                f"SELECT left(coalesce({text}, '?'), 100) AS said, count(*) AS n FROM log WHERE {KEY} IS NOT NULL "
                f"AND NOT {sql.usable_sql(task, log.schema)} GROUP BY said ORDER BY n DESC, said LIMIT {int(most)}"
            ).fetchall()
            return [(str(text), int(n)) for text, n in rows]

    def keys(
        self,
        log: ChangedLog,
        dimension: Dimension,
        kept_slices: KeptSlices,
        value: Sequence[str | None],
        extent: Extent,
    ) -> pa.Array:
        """See ``Engine.keys``."""
        with connected() as connection:
            register(connection, "log", log, log.added)
            parts = sql.parts_sql(log.schema, {dimension: kept_slices})
            # narrowed by the characters that a label keeps in any case, then held against whole labels
            conditions = "".join(
                f" AND left({part}, {LABEL_PREFIX}) IS NOT DISTINCT FROM left(?, {LABEL_PREFIX})"
                for part in parts.values()
            )
            columns = sql.listed({KEY: KEY, **parts})
            bounds = sql.bounds(extent, EVENT_TIME)
            query = f"SELECT {columns} FROM log WHERE {KEY} IS NOT NULL{conditions}{bounds}"
            texts = [None if label is None else slice_text(label) for label in value]
            table: pa.Table = connection.sql(query, params=texts).to_arrow_table().combine_chunks()
        for name, label in zip(parts, value, strict=True):
            if label is not None:
                labels = [slice_label(text) for text in table[name].to_pylist()]
                table = table.filter(pc.equal(pa.array(labels, pa.string()), label_of(label)))
        return pc.unique(table[KEY].combine_chunks())


def _records(log: ChangedLog, splits: Splits, extent: Extent) -> Iterator[Batch]:
    """The added records, then the removed ones."""
    for files, sign in ((log.added, 1), (log.removed, -1)):
        for table in tables(log, files, extent):
            yield Batch(sign, table, parts_of(table, splits))


def parts_of(records: pa.Table, splits: Splits) -> pa.Table:
    """What the parts of dimensions make of records; a column of text is its own text.

    Raises:
        ConfigError: DuckDB rejects a user's expression.
        TooSlowError: it took too long; of one dimension alone, it names it.
    """
    if all(_is_text(records.schema, dimension) for dimension in splits):
        columns = {
            f"slice_{i}_{j}": records[part.name]
            for i, dimension in enumerate(splits)
            for j, part in enumerate(dimension.parts)
        }
        return pa.table(columns)
    only = next(iter(splits)) if len(splits) == 1 else None
    what = "slices" if only is None else f"slices by {only}"
    with connected(what, only, seconds_for(records.num_rows)) as connection:
        connection.register("batch", records.select(needed(records.schema, (), splits)))
        query = f"SELECT {sql.listed(sql.parts_sql(records.schema, splits))} FROM batch"
        parts: pa.Table = connection.sql(query).to_arrow_table().combine_chunks()
        return parts


def _is_text(schema: pa.Schema, dimension: Dimension) -> bool:
    """Whether a dimension's parts are columns of text, and nothing has to be made of them."""
    return all(
        not part.sql and not part.buckets and part.name in schema.names and schema.field(part.name).type == pa.string()
        for part in dimension.parts
    )


def _heaviest(records: pa.Table, dimension: Dimension) -> list[tuple[str | None, ...]]:
    """The distinct values of a dimension of text, the most frequent first."""
    names = [part.name for part in dimension.parts]
    counted = records.select(names).group_by(names).aggregate([([], "count_all")])
    values = zip(*(counted[name].to_pylist() for name in names), strict=True)
    weighed = zip(counted["count_all"].to_pylist(), values, strict=True)
    ordered = sorted(weighed, key=lambda entry: (-entry[0], [(text is None, text or "") for text in entry[1]]))
    return labelled(value for _, value in ordered)


def labelled(rows: Iterable[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
    """Values of a dimension as labels, each once."""
    return list(dict.fromkeys(tuple(None if text is None else slice_label(text) for text in row) for row in rows))
