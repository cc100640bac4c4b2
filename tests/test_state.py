"""The state store: migrations, packing, several processes at once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fourfold import counts
from fourfold.counts.binning import Binning
from fourfold.errors import StoreError
from fourfold.fold import Plan, fold
from fourfold.model import DAY, HOUR, Artifact, Owner, Run, RunStatus
from fourfold.state import Database, adding, catalogue, open_state, runs, series
from fourfold.state.database import HEAD, alembic_config
from fourfold.state.packing import pack, unpack
from fourfold.state.statements import insert_missing, upsert
from fourfold.state.tables import dimension, metadata
from tests.services import place
from tests.support import close, comparable


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_state(place(tmp_path).state, tmp_path)


def table(n: int = 500, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    frame = pa.table(
        {
            "t": pa.array(random.integers(0, 5 * DAY, n) * 1_000_000, pa.timestamp("us")),
            "x": random.standard_normal(n) * 100,
            "s": random.choice(["a", "", "é\x00", "long " * 40], n),
            "side": random.choice(["l", "r"], n),
        }
    )
    return counts.add(fold(frame, time="t", by=["side"], plan=Plan().adding({"x": Binning(0.0, 10.0)})))


def test_the_migrations_make_exactly_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == HEAD


def test_the_migrations_can_be_undone(database: Database) -> None:
    with database.engine.connect() as connection:
        command.downgrade(alembic_config(connection), "base")
        connection.commit()
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]


@pytest.mark.sqlite
def test_the_database_is_in_wal_mode(database: Database) -> None:
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_store_of_a_newer_version_is_refused(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(StoreError, match="newer fourfold"):
        open_state(place(tmp_path).state, tmp_path)


@pytest.mark.sqlite
def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    with pytest.raises(StoreError, match=r"state\.db"):
        open_state(place(tmp_path).state, tmp_path)


def test_packed_counts_come_back_as_they_were() -> None:
    whole = table()
    keys = [whole[name].to_pylist() for name in counts.KEYS]
    assert close(comparable(unpack(keys, pack(whole))), comparable(whole))


def test_counts_beyond_32_bits_are_packed_too() -> None:
    whole = table(20)
    flat, lengths = counts.lists(whole["counts"])
    index = whole.schema.get_field_index("counts")
    big = whole.set_column(index, "counts", counts.ragged(flat * 2**40, counts.offsets_of(lengths), pa.int64()))
    keys = [big[name].to_pylist() for name in counts.KEYS]
    assert unpack(keys, pack(big))["counts"].to_pylist() == big["counts"].to_pylist()


def test_adding_in_parts_stores_the_sum(database: Database) -> None:
    parts = [table(seed=i) for i in range(3)]
    for part in parts:
        with database.write() as connection:
            adding.add(connection, "p", Owner.of_stream("s"), DAY, part)
    with database.read() as connection:
        found = series.select(connection, series.find(connection, "p", Owner.of_stream("s")), DAY)
    assert close(comparable(found), comparable(counts.add(*parts)))


def test_what_comes_to_zero_is_removed(database: Database) -> None:
    with database.write() as connection:
        adding.add(connection, "p", Owner.of_stream("s"), DAY, table())
        adding.add(connection, "p", Owner.of_stream("s"), DAY, counts.negate(table()))
        assert series.select(connection, series.find(connection, "p", Owner.of_stream("s")), DAY).num_rows == 0


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def half() -> None:
        with database.write() as connection:
            adding.add(connection, "p", Owner.of_stream("s"), DAY, table())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    with database.read() as connection:
        assert series.find(connection, "p", Owner.of_stream("s")) == []


def test_projects_do_not_see_each_other(database: Database) -> None:
    with database.write() as connection:
        adding.add(connection, "p", Owner.of_stream("s"), DAY, table())
        catalogue.add_stream(connection, "p", "s", None, None)
        assert series.find(connection, "other", Owner.of_stream("s")) == []
        assert catalogue.streams(connection, "other") == {}


def test_a_run_that_has_ended_does_not_start_again(database: Database) -> None:
    started = Run("id", "train", RunStatus.RUNNING, 1.0)
    ended = Run("id", "train", RunStatus.FAILED, 1.0, 3.0, error="boom", params={"p": "'; DROP TABLE run; --"})
    with database.write() as connection:
        for record in (started, ended, started):
            runs.save(connection, "p", record)
        assert runs.recent(connection, "p") == [ended]


def train(project: str, status: RunStatus = RunStatus.SUCCEEDED, **more: Any) -> Run:
    """A run of one id in whichever project, and what in it says whose it is."""
    made = Artifact("model", "output", "model", "f", details={"by": project})
    return Run("r1", "train", status, 1.0, None if status is RunStatus.RUNNING else 2.0, params={"who": project},
               host="here", process=len(project), artifacts=(made,), **more)  # fmt: skip


@pytest.mark.parametrize("write", [runs.save, runs.report])
def test_projects_may_have_runs_of_the_same_id(database: Database, write: Callable[..., None]) -> None:
    use = Run("r2", "predict", RunStatus.SUCCEEDED, 3.0, 4.0, artifacts=(Artifact("model", "input", "model", "f"),))
    with database.write() as connection:
        for project in ("a", "bb", "a"):
            write(connection, project, train(project))
        write(connection, "bb", use)
        for project in ("a", "bb"):
            assert runs.by_id(connection, project, ["r1", "r1", "no"]) == {"r1": train(project)}
            assert runs.mentioning(connection, project, [project]) == ["r1"]
        assert runs.recent(connection, "a") == [train("a")] and runs.recent(connection, "bb") == [use, train("bb")]
        assert runs.mentioning(connection, "a", ["bb"]) == [] and runs.by_id(connection, "c", ["r1"]) == {}
        assert runs.edges(connection, "a") == [] and runs.edges(connection, "bb") == [("train", "predict", "model")]


def test_a_model_that_each_run_reads_makes_the_lineage_no_slower(database: Database) -> None:
    model = Artifact("model", "output", "model", "m"), Artifact("model", "input", "model", "m")
    several = [Run(f"{i}", "predict", RunStatus.SUCCEEDED, 100.0 + i, artifacts=model[1:]) for i in range(4_000)]
    with database.write() as connection:
        for record in (Run("t", "train", RunStatus.SUCCEEDED, 99.0, artifacts=model[:1]), *several):
            runs.save(connection, "a", record)
        before = time.process_time()
        assert runs.edges(connection, "a") == [("train", "predict", "model")]
        assert runs.inputs(connection, "a") == [("predict", "model")]
        assert time.process_time() - before < 1, "each run was compared with each other"


def test_a_lost_run_of_one_project_is_none_of_the_other(database: Database) -> None:
    with database.write() as connection:
        for project in ("a", "bb"):
            runs.save(connection, project, train(project, RunStatus.RUNNING))
        assert runs.running(connection, "here") == {("a", "r1"): 1, ("bb", "r1"): 2}
        runs.mark_lost(connection, [("bb", "r1")])
        assert runs.running(connection, "here") == {("a", "r1"): 1}
        (lost,) = runs.recent(connection, "bb")
    assert lost == dataclasses.replace(train("bb", RunStatus.RUNNING), status=RunStatus.LOST)


def test_runs_and_artifacts_of_an_older_state_are_kept(database: Database, tmp_path: Path) -> None:
    old = [train("a"), Run("r2", "é\x00", RunStatus.FAILED, 1e300, None, error="\0", seen=0.1 + 0.2)]
    with database.write() as connection:
        for record in old:
            runs.save(connection, "a", record)
        runs.save(connection, "bb", Run("r3", "train", RunStatus.RUNNING, 2.0, artifacts=train("bb").artifacts))
    with database.engine.connect() as connection:
        before = [runs.recent(connection, project) for project in ("a", "bb")]
        command.downgrade(alembic_config(connection), "0010")
        connection.commit()
        columns = {table: sa.inspect(connection).get_columns(table) for table in ("run", "artifact")}
        assert "project" not in {column["name"] for column in columns["artifact"]}
        assert sa.inspect(connection).get_pk_constraint("run")["constrained_columns"] == ["id"]
    database.close()
    again = open_state(place(tmp_path).state, tmp_path)
    with again.write() as connection:
        assert [runs.recent(connection, project) for project in ("a", "bb")] == before
        assert before[0] == sorted(old, key=lambda record: -record.started)
        runs.save(connection, "bb", train("bb"))
        assert [run.id for run in runs.recent(connection, "bb")] == ["r3", "r1"]
        connection.execute(sa.text("DELETE FROM run WHERE project = 'a'"))
        assert connection.execute(sa.text("SELECT DISTINCT project FROM artifact")).fetchall() == [("bb",)]
    assert again.faults() == []
    again.close()


def test_a_state_that_could_not_be_brought_over_is_as_it_was(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        runs.save(connection, "a", train("a"))
    with database.engine.connect() as connection:
        command.downgrade(alembic_config(connection), "0010")
        connection.commit()
    database.close()
    for stop in ("CREATE TABLE old_run", "DROP TABLE run", "INSERT INTO artifact", "UPDATE alembic_version"):

        def dies(connection: Any, cursor: Any, statement: str, *rest: Any, at: str = stop) -> None:
            if at in " ".join(statement.split()):
                raise InterruptedError

        sa.event.listen(sa.Engine, "before_cursor_execute", dies)
        try:
            with pytest.raises((InterruptedError, StoreError)):
                open_state(place(tmp_path).state, tmp_path)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", dies)
    again = open_state(place(tmp_path).state, tmp_path)
    with again.read() as connection:
        assert runs.recent(connection, "a") == [train("a")]
        assert not {"old_run", "old_artifact"} & set(sa.inspect(connection).get_table_names())
    again.close()


def test_of_runs_of_one_id_a_step_back_keeps_one(database: Database) -> None:
    with database.write() as connection:
        for project in ("bb", "a"):
            runs.save(connection, project, train(project))
    with database.engine.connect() as connection:
        command.downgrade(alembic_config(connection), "0010")
        connection.commit()
        assert connection.execute(sa.text("SELECT project, id FROM run")).fetchall() == [("a", "r1")]
        assert connection.execute(sa.text("SELECT run_id, details FROM artifact")).fetchall() == [("r1", '{"by": "a"}')]


@pytest.mark.sqlite
def test_what_is_asked_of_runs_is_looked_up_in_an_index(database: Database) -> None:
    plans: list[str] = []

    def asks(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "WITH")):
            found = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", rest[0])
            plans.extend(row[-1] for row in found)

    sa.event.listen(database.engine, "before_cursor_execute", asks)
    with database.write() as connection:
        runs.report(connection, "a", train("a"))
        runs.save(connection, "a", train("a"))
        runs.mark_lost(connection, [("a", "r1")])
        for read in (runs.recent, runs.edges, runs.inputs, runs.components, runs.expectations):
            read(connection, "a")
        runs.newest(connection, "a", 5)
        runs.mentioning(connection, "a", ["x"])
    tables = ("run", "artifact")
    assert [plan for plan in plans if plan.startswith("SCAN") and plan.split()[1] in tables] == []
    assert {plan.split()[1] for plan in plans if plan.startswith("SEARCH")} >= set(tables)


def test_a_row_that_is_there_is_replaced_or_kept_and_the_others_are_inserted(database: Database) -> None:
    rows = [{"project": "p", "stream": name, "definition": "d", "levels": "old"} for name in ("a", "b")]
    new = [{**row, "levels": "new"} for row in (*rows, {**rows[0], "stream": "c"})]
    with database.write() as connection:
        upsert(connection, dimension, rows)
        insert_missing(connection, dimension, new)
        kept = connection.execute(sa.select(dimension.c.stream, dimension.c.levels)).fetchall()
        upsert(connection, dimension, new[0])
        replaced = connection.execute(sa.select(dimension.c.stream, dimension.c.levels)).fetchall()
    assert sorted(kept) == [("a", "old"), ("b", "old"), ("c", "new")]
    assert sorted(replaced) == [("a", "new"), ("b", "old"), ("c", "new")]


def by_hour(columns: dict[str, list[object]], times: list[int], by: list[str]) -> pa.Table:
    frame = pa.table({"t": pa.array([t * 1_000_000 for t in times], pa.timestamp("us")), **columns})
    return counts.add(fold(frame, time="t", every="1h", by=by, plan=Plan().adding({"x": Binning(0.0, 1.0)})))


def test_counts_of_several_owners_are_added_as_those_of_each_alone(tmp_path: Path) -> None:
    together, alone = (open_state(place(tmp_path / name).state, tmp_path / name) for name in ("together", "alone"))
    random = np.random.default_rng(0)
    batches = [
        {
            Owner.of_stream(str(i)): by_hour(
                {"x": [float(x) for x in random.standard_normal(50)], "side": [str(n % 3) for n in range(50)]},
                [days * DAY + i * 100 * DAY + int(t) for t in random.integers(0, 2 * DAY, 50)], ["side"],
            )
            for i in range(3)
        }
        for days in (0, 1, 65)
    ]  # fmt: skip
    for batch in batches:
        with together.write() as connection:
            adding.add_levels(connection, "p", batch)
        for owner, hourly in batch.items():
            with alone.write() as connection:
                adding.add_levels(connection, "p", {owner: hourly})
    for owner in batches[0]:
        whole = counts.add(*(batch[owner] for batch in batches))
        for level in (HOUR, DAY):
            tables = []
            for database in (together, alone):
                with database.read() as connection:
                    tables.append(series.select(connection, series.find(connection, "p", owner), level))
            assert close(comparable(tables[0]), comparable(tables[1]))
        assert close(comparable(tables[0]), comparable(counts.rebucket(whole, whole["bucket"].to_numpy() // DAY * DAY)))


def test_a_column_that_is_new_is_null_in_the_slices_that_its_batch_lacks(database: Database) -> None:
    first = pa.concat_tables(
        [
            by_hour({"side": ["l", "r"]}, [0, 0], ["side"]),
            counts.add(pa.Table.from_pylist([records(key) for key in ("{}", *SIDES)], counts.SCHEMA)),
        ]
    )
    second = by_hour({"side": ["l"], "x": [1.0]}, [DAY], ["side"])
    with database.write() as connection:
        adding.add_levels(connection, "p", {Owner.of_stream("s"): first})
        adding.add_levels(connection, "p", {Owner.of_stream("s"): second})
        found = [row for row in series.find(connection, "p", Owner.of_stream("s")) if row[1] == "x"]
        rows = series.select(connection, found, DAY).to_pylist()
    place = counts.KINDS["numeric"].tallies.index("null")
    assert {(row["slice"], row["bucket"]): row["tallies"][place] for row in rows} == {
        ("{}", 0): 2, (SIDES[0], 0): 2, (SIDES[1], 0): 2, ("{}", DAY): 0, (SIDES[0], DAY): 0,
    }  # fmt: skip


SIDES = ('{"side": "l"}', '{"side": "r"}')


def records(key: str) -> dict[str, object]:
    """The count of two records of a stream in a slice."""
    tallies = [2 if name == "rows" else 0 for name in counts.KINDS["stream"].tallies]
    return {
        "column": "", "kind": "stream", "slice": key, "bucket": 0, "binning": 0, "tallies": tallies, "sums": [],
        "low": float("nan"), "high": float("nan"), "bins": [], "labels": [], "counts": [], "registers": [],
    }  # fmt: skip


def test_a_question_asks_once_whether_somebody_has_written(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    version = database.system.version

    def counted() -> Hashable:
        asked.append(None)
        return version()

    monkeypatch.setattr(database.system, "version", counted)

    def names() -> list[str]:
        return [*database.recall(catalogue.streams, "p")]

    with database.question():
        assert names() == []
        with database.write() as connection:
            catalogue.add_stream(connection, "p", "a", None, None)
        with ThreadPoolExecutor(1) as pool:  # what others ask meanwhile is no part of it
            assert pool.submit(names).result() == ["a"]
        with database.question():
            assert names() == []
    assert len(asked) == 2
    assert names() == ["a"] and len(asked) == 3


def _streams(database: Database) -> list[str]:
    with database.read() as connection:
        return [*catalogue.streams(connection, "p")]


def test_the_parts_of_a_question_see_one_state(database: Database) -> None:
    begun: list[None] = []
    with database.question():
        assert _streams(database) == []
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_add_stream, database, "a").result()
        sa.event.listen(database.engine, "begin", lambda connection: begun.append(None))
        assert _streams(database) == [] and not begun
        with pytest.raises(StoreError), database.read() as connection:
            connection.exec_driver_sql("SELECT name FROM nowhere").all()
        assert _streams(database) == ["a"]  # in another transaction, since that one failed
        _add_stream(database, "b")
        assert _streams(database) == ["a", "b"]  # what the question's own thread writes is seen
    _add_stream(database, "c")
    assert _streams(database) == ["a", "b", "c"]
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def _add_stream(database: Database, name: str) -> None:
    with database.write() as connection:
        catalogue.add_stream(connection, "p", name, None, None)


def test_a_question_that_stood_still_for_long_goes_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.question():
        assert _streams(database) == []
        with database.engine.connect() as other:
            if other.dialect.name == "postgresql":  # as the server does to who stands still in a transaction
                other.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND state = 'idle in transaction'"
                )
        monkeypatch.setattr("fourfold.state.database._IDLE_SECONDS", 0.0)
        _add_stream(database, "a")
        assert _streams(database) == ["a"]
        time.sleep(0.01)
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_what_is_read_together_takes_one_transaction_and_is_read_again_after_a_write(database: Database) -> None:
    begun: list[None] = []
    sa.event.listen(database.engine, "begin", lambda connection: begun.append(None))
    reads = (catalogue.tasks, catalogue.streams, catalogue.counted_to)
    for names in ([], ["a"]):
        begun.clear()
        database.recall_together(reads, "p")
        database.recall_together(reads, "p")
        assert [database.recall(read, "p") for read in reads] == [{}, dict.fromkeys(names, (None, None)), {}]
        assert len(begun) == 1
        with database.write() as connection:
            catalogue.add_stream(connection, "p", "a", None, None)
