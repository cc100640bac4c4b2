"""The state store: migrations, packing, several processes at once."""

from __future__ import annotations

from pathlib import Path

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
from fourfold.model import DAY, Run, RunStatus
from fourfold.state import Database, adding, catalogue, runs, series
from fourfold.state.database import HEAD, alembic_config
from fourfold.state.packing import pack, unpack
from fourfold.state.tables import metadata
from tests.support import close, comparable


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "state.db")


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


def test_the_database_is_in_wal_mode(database: Database) -> None:
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_store_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(StoreError, match="newer fourfold"):
        Database(database.path)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    with pytest.raises(StoreError, match=r"state\.db"):
        Database(tmp_path / "state.db")


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
            adding.add(connection, "p", "stream:s", DAY, part)
    with database.read() as connection:
        found = series.select(connection, series.find(connection, "p", "stream:s"), DAY)
    assert close(comparable(found), comparable(counts.add(*parts)))


def test_what_comes_to_zero_is_removed(database: Database) -> None:
    with database.write() as connection:
        adding.add(connection, "p", "stream:s", DAY, table())
        adding.add(connection, "p", "stream:s", DAY, counts.negate(table()))
        assert series.select(connection, series.find(connection, "p", "stream:s"), DAY).num_rows == 0


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def half() -> None:
        with database.write() as connection:
            adding.add(connection, "p", "stream:s", DAY, table())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    with database.read() as connection:
        assert series.find(connection, "p", "stream:s") == []


def test_projects_do_not_see_each_other(database: Database) -> None:
    with database.write() as connection:
        adding.add(connection, "p", "stream:s", DAY, table())
        catalogue.add_stream(connection, "p", "s", None, None)
        assert series.find(connection, "other", "stream:s") == []
        assert catalogue.streams(connection, "other") == {}


def test_a_run_that_has_ended_does_not_start_again(database: Database) -> None:
    started = Run("id", "train", RunStatus.RUNNING, 1.0)
    ended = Run("id", "train", RunStatus.FAILED, 1.0, 3.0, error="boom", params={"p": "'; DROP TABLE run; --"})
    with database.write() as connection:
        for record in (started, ended, started):
            runs.save(connection, "p", record)
        assert runs.recent(connection, "p") == [ended]
