"""Records that tasks reduce and cut by key are joined in parts as they are in one process, without a cluster here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fourfold import config, counts
from fourfold.engine import DuckDB, Extent
from fourfold.engine.drive import count_joined, folded, wanted_of
from fourfold.engine.duckdb import files, sql
from fourfold.engine.duckdb.connection import connected
from fourfold.engine.duckdb.joins import Join, whole_batches
from fourfold.engine.duckdb.sides import by_side, sides_of
from fourfold.engine.duckdb.touched import COPIES
from fourfold.engine.planning import plan_constants
from fourfold.engine.protocol import WHOLE, Batch, ChangedLog
from fourfold.engine.spark import cut
from fourfold.engine.spark.cut import Cut, Sieve, hashes_of, held
from fourfold.engine.spark.few import keys_of_few
from fourfold.engine.spark.partial import Passed
from fourfold.engine.spark.reading import PLACES
from fourfold.fold import KeptSlices, Plan
from fourfold.model import ALL, HOUR, Task
from fourfold.store import Store
from tests.support import START, Sender, close, comparable

TASKS: dict[str, dict[str, Any]] = {
    "multiclass": {"version": "model"},
    "ranking": {"query": "side", "cutoffs": [1, 3]},
}
EXTENTS = {
    "whole": WHOLE,
    "as known": Extent(as_of=(START + 310) * 1_000_000),
    "closed": Extent(closed=(START + 20 * HOUR) * 1_000_000),
    "a piece": Extent(piece=(1, 2)),
}


def logged(store: Store, stream: str, column: str, n: int, random: np.random.Generator, first: int = 0) -> None:
    Sender(store).records(
        stream,
        [
            {
                "key": "often" if random.random() < 0.3 else f"k{random.integers(0, 200)}",
                "time": START + int(random.integers(0, 40)) * HOUR,
                "log_time": START + first + int(random.integers(0, n)),
                column: str(random.choice(["1", "2", "3"])),
                "side": str(random.choice(["a", "b", "c"])),
                "model": str(random.choice(["v1", "v2"])),
            }
            for _ in range(n)
        ],
    )
    store.writer.collect()


def passed(log: ChangedLog, work: Cut, names: Sequence[str]) -> Iterator[Passed]:
    """What is passed on by tasks that read a file each."""
    for place in PLACES:
        for path in getattr(log, place):
            table = log.read([path], names, 1 << 20)
            assert table is not None
            yield from work((place, table.slice(i, 50)) for i in range(0, table.num_rows, 50))


def in_parts(task: Task, logs: Mapping[str, ChangedLog], extent: Extent, parts: int) -> list[Batch]:
    """The joined records of all parts."""
    found: dict[int, list[pa.Table]] = {part: [] for part in range(parts)}
    sides = sides_of(task, by_side(task, logs), {}, extent)
    schemas, touched = {}, None
    if not task.query and (keys := keys_of_few(logs.values(), 1_000)) is not None:
        touched = Sieve.of(hashes_of(pa.table({"key": keys}), "key"))
    for side in sides:
        schemas[side.name] = pa.schema([*map(side.log.schema.field, side.names), (COPIES, pa.int64())])
        for each in passed(side.log, Cut.of(side, sql.meant(extent), touched, parts), side.names):
            found[each.part].append(each.table)
    batches: list[Batch] = []
    for tables in found.values():
        with connected() as connection:
            met = Extent(closed=extent.closed)
            batches += Join(connection, task, held(tables, schemas), {}, met, apart=bool(task.query)).records(
                bool(task.version)
            )
    if not task.query:
        return batches
    whole: list[Batch] = []
    for part in range(parts):
        items: dict[int, list[pa.Table]] = {}
        for batch in batches:
            mine = hashes_of(batch.records, "coalesce(query, key)") % parts == part
            items.setdefault(batch.sign, []).append(batch.records.filter(pa.array(mine)))
        with connected() as connection:
            together = {sign: pa.concat_tables(tables) for sign, tables in items.items()}
            whole += whole_batches(connection, task, extent, together)
    return whole


def test_a_sieve_lets_its_hashes_pass_and_few_others() -> None:
    random = np.random.default_rng(2)
    for n in (0, 1, 1_000, 20_000):
        mine, others = (random.integers(0, 1 << 64, size, np.uint64) for size in (n, 100_000))
        sieve = Sieve.of(mine)
        assert sieve.has(mine).all()
        assert sieve.has(others).mean() < 0.08


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("small", [0, 1 << 17])
def test_parts_are_joined_as_the_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, extent: str, small: int
) -> None:
    if (kind, extent) == ("ranking", "a piece"):
        pytest.skip("a ranking task is counted in one piece")
    monkeypatch.setattr(files, "SMALL", small)
    monkeypatch.setattr(cut, "HELD", 120)
    random = np.random.default_rng(11)
    task = config.make_task(
        "t", prediction="predict.score", label="labels.truth", kind=kind, horizon="3d", **TASKS[kind]
    )
    logged(store, "predict", "score", 300, random)
    logged(store, "labels", "truth", 200, random)
    versions = {stream: store.reader.log(stream).whole().version for stream in task.streams}
    logged(store, "predict", "score", 40, random, first=300)
    logged(store, "labels", "truth", 60, random, first=300)
    store.reader.log("labels").delete(["k5", "often"])
    splits, plan = {ALL: KeptSlices()}, plan_constants(task, Plan())
    wanted = wanted_of(task, splits, None)
    for since in ({}, versions):
        logs = {stream: store.reader.log(stream).changes(since.get(stream)) for stream in task.streams}
        expected = DuckDB().fold_task(task, logs, splits, plan, EXTENTS[extent]).counts
        for parts in (1, 3):
            batches = in_parts(task, logs, EXTENTS[extent], parts)
            tables = [table for batch in batches for table in count_joined(task, batch, splits, wanted, plan)]
            found = folded(counts.merge(*tables), plan).counts
            assert found.num_rows
            left, right = comparable(found), comparable(expected)
            assert left.keys() == right.keys()
            assert close(left, right, 1e-8)
