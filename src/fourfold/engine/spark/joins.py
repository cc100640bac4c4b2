"""A task's join on the cluster: the records of a key meet in one task, where DuckDB joins them as in one process.

Tasks read the records of each side, keep the columns that the join is over, and pass them on, cut by the hash of their
key. The task that receives a part of them runs the embedded engine's own ``Join`` on it.

Of a ranking task, the items of a query have different keys: they are joined first, and then passed on once more, cut by
the hash of their query, to be judged together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold.engine.drive import count_joined, divided
from fourfold.engine.duckdb import joins, sql
from fourfold.engine.duckdb.connection import connected, expression_seconds
from fourfold.engine.duckdb.sides import by_side, sides_of
from fourfold.engine.duckdb.touched import COPIES
from fourfold.engine.protocol import WHOLE, Batch, ChangedLog, Extent, Splits, Wanted
from fourfold.engine.spark.cut import Cut, Sieve, hashes_of, held, passed
from fourfold.engine.spark.few import keys_of_few
from fourfold.engine.spark.partial import Passed, collected, combined, total
from fourfold.engine.spark.reading import PLACES, Reading, union
from fourfold.fold import Plan
from fourfold.model import Task
from fourfold.model.records import RUN

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BYTES_A_PART, _MOST_PARTS = 1 << 25, 4_096  # of records that one task joins; in memory they take several times as many
FEW = 1 << 23  # changed records, up to which every task is sent a sieve of their keys
_EARLIER = 4  # records that travel for each of so few, at most about
_SIGN = b"sign"


class Join:
    """A task's join in one session. With ``share``, only keys whose MD5 is below it are meant."""

    def __init__(
        self,
        session: SparkSession,
        task: Task,
        logs: Mapping[str, ChangedLog],
        splits: Splits,
        extent: Extent,
        share: str | None = None,
    ) -> None:
        kept = divided(splits)
        sides = sides_of(task, by_side(task, logs), kept, extent)
        names = {side.name: [name for name in side.names if name != RUN] for side in sides}
        size, touched = sum(_size(side.log, names[side.name]) for side in sides), None
        if not task.query and (keys := _changed_keys(logs.values())) is not None:
            touched = Sieve.of(hashes_of(pa.table({"key": keys}), "key"))
            size = min(size, size * _EARLIER * len(keys) // sum(log.rows() for log in logs.values()))
        self._parts = min(1 + size // BYTES_A_PART, _MOST_PARTS)
        frames, schemas = [], {}
        for side in sides:
            schemas[side.name] = pa.schema([*map(side.log.schema.field, names[side.name]), (COPIES, pa.int64())])
            reading = Reading(side.log, dict.fromkeys(PLACES, names[side.name]), WHOLE)
            frames += reading.counted(session, Cut.of(side, sql.meant(extent, share), touched, self._parts))
        self._passed = union(frames)
        met = dataclasses.replace(extent, as_of=None, piece=None)  # these conditions hold for all that was passed on
        self._met = _Met(task, schemas, kept, met)
        self._splits = splits

    def counts(self, wanted: Wanted, plan: Plan, parts: int, *, pairs: bool) -> pa.Table:
        """The counts of the joined records, as they were before the change and as they are after it."""
        task = self._met.task
        count = _Count(task, self._splits, wanted, plan)
        if not task.query:
            return total(combined(self._passed, self._parts, _Records(self._met, count, pairs), parts), parts)
        items = combined(self._passed, self._parts, _Items(self._met, self._parts))
        return total(combined(items, self._parts, _Queries(self._met.extent, count), parts), parts)

    def sample(self, most: int, *, labelled: bool) -> pa.Table:
        """The joined records of the keys whose MD5 is smallest, at most so many; of those with a label, or of all."""
        _, found = collected(combined(self._passed, self._parts, _Sample(self._met, most, labelled)))
        if not found:
            return pa.table({})
        with connected() as connection:
            connection.register("found", pa.concat_tables(found))
            order = "md5(key), version" if self._met.task.version else "md5(key)"
            table: pa.Table = connection.sql(f"SELECT * FROM found ORDER BY {order} LIMIT {int(most)}").to_arrow_table()
            return table.combine_chunks()


def _size(log: ChangedLog, names: Collection[str]) -> int:
    """About how many bytes some columns of all records take, by the footer of the first file."""
    files = [*log.added, *log.removed, *log.before][:1]
    if not files:
        return 0
    footer = next(log.dataset(files).get_fragments()).metadata
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    columns = [group.column(j) for group in groups for j in range(group.num_columns)]
    sizes = (c.total_uncompressed_size for c in columns if c.path_in_schema.partition(".")[0] in names)
    return int(log.rows() * sum(sizes) // max(footer.num_rows, 1))


def _changed_keys(logs: Collection[ChangedLog]) -> pa.ChunkedArray | None:
    """The keys of the records that changed, where there are earlier ones; None if they are very many."""
    return keys_of_few(logs, FEW) if any(log.before for log in logs) else None


@dataclasses.dataclass(frozen=True)
class _Met:
    """The records that meet in one task, and what is asked of them; ``schemas`` are those of the sides."""

    task: Task
    schemas: Mapping[str, pa.Schema]
    splits: Splits
    extent: Extent

    def batches(self, tables: list[pa.Table], *, pairs: bool) -> Iterator[Batch]:
        """The joined records; of a ranking task its items, apart from their queries."""
        logs = held(tables, self.schemas)
        seconds = expression_seconds(logs.values(), *self.splits, sums=bool(self.task.sums))
        with connected(f"task {self.task.name!r}", seconds=seconds) as connection:
            join = joins.Join(connection, self.task, logs, self.splits, self.extent, apart=bool(self.task.query))
            yield from join.records(pairs)


@dataclasses.dataclass(frozen=True)
class _Count:
    """Counts joined records."""

    task: Task
    splits: Splits
    wanted: Wanted
    plan: Plan

    def __call__(self, batches: Iterator[Batch]) -> Iterator[pa.Table]:
        for batch in batches:
            yield from count_joined(self.task, batch, self.splits, self.wanted, self.plan)


@dataclasses.dataclass(frozen=True)
class _Records:
    """Joins the records of a part, and counts them."""

    met: _Met
    count: _Count
    pairs: bool

    def __call__(self, tables: list[pa.Table]) -> Iterator[pa.Table]:
        return self.count(self.met.batches(tables, pairs=self.pairs))


@dataclasses.dataclass(frozen=True)
class _Items:
    """Joins the records of a part of a ranking task, and passes on the items."""

    met: _Met
    parts: int

    def __call__(self, tables: list[pa.Table]) -> Iterator[Passed]:
        for batch in self.met.batches(tables, pairs=False):
            hashes = hashes_of(batch.records, "coalesce(query, key)")
            yield from passed(batch.records.replace_schema_metadata({_SIGN: str(batch.sign)}), hashes, self.parts)


@dataclasses.dataclass(frozen=True)
class _Queries:
    """Counts the queries of a ranking task, of whose items all have met."""

    extent: Extent
    count: _Count

    def __call__(self, tables: list[pa.Table]) -> Iterator[pa.Table]:
        items: dict[int, list[pa.Table]] = {}
        for table in tables:
            items.setdefault(int(table.schema.metadata[_SIGN]), []).append(table.replace_schema_metadata(None))
        whole = {sign: pa.concat_tables(parts) for sign, parts in items.items()}
        with connected() as connection:
            yield from self.count(joins.whole_batches(connection, self.count.task, self.extent, whole))


@dataclasses.dataclass(frozen=True)
class _Sample:
    """Joins the records of a part, and passes on a sample of them."""

    met: _Met
    most: int
    labelled: bool

    def __call__(self, tables: list[pa.Table]) -> Iterator[Passed]:
        with connected() as connection:
            join = joins.Join(connection, self.met.task, held(tables, self.met.schemas), {}, self.met.extent)
            for table in join.sample(self.most, labelled=self.labelled):
                yield Passed(0, table)
