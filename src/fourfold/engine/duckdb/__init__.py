"""Folding in this process: DuckDB joins, the kernel counts."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine import stopping
from fourfold.engine.drive import Engine
from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.connection import connected, expression_seconds, seconds_for
from fourfold.engine.duckdb.files import needed, read, register, tables
from fourfold.engine.duckdb.joins import Join
from fourfold.engine.duckdb.matching import discrepancies
from fourfold.engine.duckdb.repeated import repetitions
from fourfold.engine.protocol import WHOLE, Batch, ChangedLog, Discrepancy, Extent, Splits
from fourfold.fold import KeptSlices, labels_of
from fourfold.model import LABEL_PREFIX, MOST_SLICES, Dimension, Task, label_of
from fourfold.model.records import EVENT_TIME, KEY

__all__ = ["DuckDB"]


class DuckDB(Engine):
    """The embedded engine."""

    def stop(self, thread: threading.Thread) -> None:
        """See ``Engine.stop``."""
        stopping.stop(thread)

    def kept_slices(self, log: ChangedLog, dimension: Dimension, known: KeptSlices) -> KeptSlices:
        """See ``Engine.levels``."""
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
        return known.admitting(_labelled(rows))

    def records(self, log: ChangedLog, splits: Splits, extent: Extent) -> Iterator[Batch]:
        """See ``Engine.records``."""
        for files, sign in ((log.added, 1), (log.removed, -1)):
            for table in tables(log, files, extent):
                yield Batch(sign, table, _parts(table, splits))

    def repetitions(self, log: ChangedLog, splits: Splits, extent: Extent) -> Iterator[Batch]:
        """See ``Engine.repetitions``."""
        return repetitions(log, splits, extent)

    def join(
        self, task: Task, logs: Mapping[str, ChangedLog], splits: Splits, extent: Extent, pairs: bool
    ) -> Iterator[Batch]:
        """See ``Engine.join``."""
        seconds = expression_seconds(logs.values(), *splits, sums=bool(task.sums))
        with connected(f"task {task.name!r}", seconds=seconds) as connection:
            yield from Join(connection, task, logs, splits, extent).records(pairs)

    def joined(
        self, task: Task, logs: Mapping[str, ChangedLog], splits: Splits, extent: Extent = WHOLE
    ) -> Iterator[pa.Table]:
        """See ``Engine.joined``."""
        with connected(f"task {task.name!r}") as connection:
            yield from Join(connection, task, logs, splits, extent).joined()

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
            table: pa.Table = connection.sql(query, params=list(value)).to_arrow_table().combine_chunks()
        for name, text in zip(parts, value, strict=True):
            if text is not None:
                table = table.filter(pc.equal(labels_of(table[name].combine_chunks()), label_of(text)))
        return pc.unique(table[KEY].combine_chunks())


def _parts(records: pa.Table, splits: Splits) -> pa.Table:
    """What the parts of dimensions make of records; a column of text is its own text."""
    if all(_is_text(records.schema, dimension) for dimension in splits):
        columns = {
            f"slice_{i}_{j}": records[part.name]
            for i, dimension in enumerate(splits)
            for j, part in enumerate(dimension.parts)
        }
        return pa.table(columns)
    with connected("slices", seconds=seconds_for(records.num_rows)) as connection:
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
    return _labelled(value for _, value in ordered)


def _labelled(rows: Iterable[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
    """Values of a dimension as labels, each once."""
    return list(dict.fromkeys(tuple(None if text is None else label_of(text) for text in row) for row in rows))
