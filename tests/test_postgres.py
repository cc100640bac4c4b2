"""A state in PostgreSQL: its locks, its fences, and what becomes of it when the server or a process does not go on."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from filelock import Timeout

import fourfold as ff
from fourfold.config import load
from fourfold.errors import FourfoldError, StoreError
from fourfold.model import DAY, Artifact, Owner, Place, Run, RunStatus
from fourfold.state import Database, LostLockError, StateError, catalogue, open_state, runs, series
from fourfold.state.moving import TABLES, move
from fourfold.store import Store
from tests.services import Postgres, postgres
from tests.support import START, Sender
from tests.test_processes import kill_at_random

pytestmark = pytest.mark.services

SECRET = "f0xtrot/tango@7"
ENCODED = "f0xtrot%2Ftango%407"


@pytest.fixture
def server() -> Postgres:
    return postgres()


@pytest.fixture
def address(server: Postgres) -> str:
    return server.address()


@pytest.fixture
def database(address: str) -> Iterator[Database]:
    opened = open_state(address, Path())
    yield opened
    opened.close()


@pytest.fixture
def other(address: str, database: Database) -> Iterator[Database]:
    """The same state, as another process has it."""
    opened = open_state(address, Path())
    yield opened
    opened.close()


def add(database: Database, name: str) -> None:
    with database.write() as connection:
        catalogue.add_stream(connection, "p", name, None, None)


def names(database: Database) -> list[str]:
    return list(database.recall(catalogue.streams, "p"))


def end_sessions(address: str, *, of_locks: bool = False) -> None:
    """End the sessions of a state as the server does where a process stands still."""
    which = "AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')" if of_locks else ""
    with psycopg.connect(address.partition("&schema=")[0], autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE application_name = 'fourfold' AND pid <> pg_backend_pid() {which}"
        )


# locks ----------------------------------------------------------------------------------------------------------------


def test_one_at_a_time_holds_a_lock_and_may_take_it_again(database: Database, other: Database) -> None:
    mine, theirs = database.lock("fold"), other.lock("fold")
    with mine, mine:
        for wait in (0.0, 0.05):
            with pytest.raises(Timeout):
                theirs.acquire(wait)
        with other.lock("watch"):
            add(other, "while another holds another lock")
    with theirs:
        add(other, "afterwards")
    assert len(names(database)) == 2


def test_the_locks_of_two_schemas_are_two(database: Database, server: Postgres) -> None:
    another = open_state(server.address(), Path())
    with database.lock("fold"), another.lock("fold"):
        add(another, "there")
    assert names(database) == []
    another.close()


HOLDER = """
import signal, sys
from pathlib import Path
from fourfold.state import LostLockError, StateError, advisory, catalogue, open_state, session
session._SETTINGS["idle_in_transaction_session_timeout"] = "1s"
advisory.STALL_SECONDS = 1  # not so long as for users
advisory._BEAT_SECONDS = 0.2
database = open_state(sys.argv[1], Path())
within = sys.argv[2] == "within"
with database.lock("fold"):
    try:
        with database.write() as connection:
            if within:
                catalogue.add_stream(connection, "p", "half done", None, None)
                print("ready", flush=True)
                sys.stdin.readline()
        if not within:
            print("ready", flush=True)
            sys.stdin.readline()
        with database.write() as connection:
            catalogue.add_stream(connection, "p", "too late", None, None)
        print("written")
    except StateError as error:
        print(type(error).__name__)
"""


def holder(address: str, how: str = "between") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, address, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_the_lock_of_a_process_that_is_killed_is_free(database: Database, address: str) -> None:
    process = holder(address)
    with pytest.raises(Timeout):
        database.lock("fold").acquire(0.0)
    process.kill()
    with database.lock("fold"):
        add(database, "next")
    process.communicate()


@pytest.mark.parametrize(("how", "error"), [("between", "LostLockError"), ("within", "StateError")])
def test_a_process_that_stands_still_loses_the_lock_and_cannot_write_later(
    database: Database, address: str, how: str, error: str
) -> None:
    process = holder(address, how)
    process.send_signal(signal.SIGSTOP)
    with database.lock("fold"):  # the server has ended the session of the one that stands still
        add(database, "next")
    process.send_signal(signal.SIGCONT)
    assert process.communicate("\n")[0] == f"{error}\n"
    assert names(database) == ["next"]


def test_a_lock_whose_session_ended_is_lost_only_to_another_that_took_it(
    database: Database, other: Database, address: str
) -> None:
    mine = database.lock("fold")
    mine.acquire()
    end_sessions(address, of_locks=True)
    add(database, "nobody else has it")
    with other.lock("fold"):
        with pytest.raises(LostLockError, match="another has taken the lock 'fold'"):
            add(database, "too late")
        add(other, "next")
    with pytest.raises(LostLockError):  # also when that one is done
        add(database, "too late")
    mine.release()
    with mine:
        add(database, "again")
    assert names(database) == ["again", "next", "nobody else has it"]


def test_a_reader_waits_for_no_writer_and_sees_one_state(database: Database, other: Database) -> None:
    add(database, "a")
    with other.lock("fold"), database.read() as reading:
        assert list(catalogue.streams(reading, "p")) == ["a"]
        with other.write() as connection:
            catalogue.add_stream(connection, "p", "b", None, None)
            assert names(database) == ["a"], "what is remembered holds until it is committed"
        assert list(catalogue.streams(reading, "p")) == ["a"]
    assert names(database) == ["a", "b"]


def test_a_writer_waits_for_another_and_sees_what_it_wrote(database: Database, other: Database) -> None:
    seen: list[dict[str, Any]] = []

    def second() -> None:
        with other.write() as connection:
            seen.append(catalogue.streams(connection, "p"))

    with database.write() as connection:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        catalogue.add_stream(connection, "p", "first", None, None)
    thread.join()
    assert [list(found) for found in seen] == [["first"]]


# a server that does not go on -----------------------------------------------------------------------------------------


def test_sessions_that_a_server_has_ended_are_replaced(database: Database, server: Postgres) -> None:
    add(database, "before")
    with database.read() as one, database.read() as two:  # several connections
        assert catalogue.streams(one, "p") == catalogue.streams(two, "p")
    server.stop()
    with pytest.raises(StateError, match="Check that the server is running"):
        names(database)
    with pytest.raises(StateError, match="Check that the server is running"), database.write():
        pass
    server.start()
    assert names(database) == ["before"]
    add(database, "since")
    assert names(database) == ["before", "since"]


def test_what_a_crash_of_the_server_interrupts_is_not_written(database: Database, server: Postgres) -> None:
    def fold() -> None:
        with database.lock("fold"), database.write() as connection:
            catalogue.add_stream(connection, "p", "half done", None, None)
            server.stop("immediate")

    with pytest.raises(StateError):
        fold()
    server.start()
    with database.lock("fold"):
        assert names(database) == []
        add(database, "again")
    assert names(database) == ["again"]


def test_a_schema_that_is_dropped_is_gone_and_one_that_is_made_anew_is_reopened(
    database: Database, address: str
) -> None:
    add(database, "a")
    schema = address.partition("&schema=")[2]
    with psycopg.connect(address.partition("&schema=")[0], autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA "{schema}" CASCADE')
    for action in (database.reopen_if_replaced, lambda: names(database), lambda: add(database, "b")):
        with pytest.raises(StateError):
            action()
    anew = open_state(address, Path())
    database.reopen_if_replaced()
    assert names(database) == []
    add(anew, "c")
    assert names(database) == ["c"]
    anew.close()


# who may --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{ENCODED}@127.0.0.1:1/db",
        f"postgresql://u:{ENCODED}@nowhere.invalid/db",
        f"postgresql://u:{SECRET}@127.0.0.1/db",
        f"postgresql://u:{SECRET}@127.0.0.1:{SECRET}/db",
        f"postgresql://u@127.0.0.1:1/db?password={ENCODED}",
        f"postgresql://u:{ENCODED}@127.0.0.1:1/db?schema=pg_catalog",
        f"mysql://u:{ENCODED}@127.0.0.1/db",
    ],
)
def test_a_refused_connection_is_an_error_that_never_shows_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [repr(Place(str(tmp_path), url))]
    with pytest.raises(FourfoldError, match=r"Check that the server is running|state") as raised:
        Store(load(tmp_path / "store", "p", state=url).place, "p")
    shown += ["".join(traceback.format_exception(raised.value)), str(raised.value), repr(raised.value)]
    for part in (SECRET, ENCODED, "tango"):
        assert part not in "\n".join([*shown, caplog.text])


def test_the_password_of_a_state_that_is_open_is_not_shown_either(server: Postgres, tmp_path: Path) -> None:
    url = server.address().replace("fourfold@", f"fourfold:{ENCODED}@")
    database = open_state(url, tmp_path)
    assert "tango" not in " ".join(map(repr, (database.name, database.engine, database.engine.url, database.system)))
    server.stop()
    try:
        with pytest.raises(StateError) as raised:
            names(database)
    finally:
        server.start()
    assert "tango" not in "".join(traceback.format_exception(raised.value))
    database.close()


def test_a_user_who_may_only_read_gets_answers(server: Postgres, tmp_path: Path) -> None:
    address = server.address()
    store = Store(Place(str(tmp_path / "store"), address), "test")
    Sender(store).records("predict", [{"key": "k", "time": START, "log_time": START, "score": 0.5}])
    store.caught_up()
    _, _, schema = address.partition("&schema=")
    with psycopg.connect(address.partition("&schema=")[0], autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS looker")
        connection.execute("CREATE ROLE looker LOGIN")
        connection.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO looker')
        connection.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO looker')
    Sender(store).records("predict", [{"key": "l", "time": START, "log_time": START, "score": 0.5}])
    looking = Store(Place(str(tmp_path / "store"), server.address(schema, "looker")), "test")
    assert not looking.writer.writable
    assert looking.metric("predict", "rows").value.value == 1.0
    with pytest.raises(StateError, match="rights"):
        add(looking.reader.database, "x")
    assert store.metric("predict", "rows").value.value == 2.0
    looking.close()
    store.close()
    with pytest.raises(StateError, match="has an older version, or none"):
        open_state(server.address(user="looker"), tmp_path)
    with psycopg.connect(address.partition("&schema=")[0], autocommit=True) as connection:
        connection.execute("DROP OWNED BY looker; DROP ROLE looker")


@pytest.mark.parametrize("version", [None, "0005", "a1b2c3"])
def test_a_schema_of_another_application_is_refused_and_left_as_it_is(server: Postgres, version: str | None) -> None:
    address = server.address()
    database, _, schema = address.partition("&schema=")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"; CREATE TABLE "{schema}".run (id int)')
        if version:
            connection.execute(f'CREATE TABLE "{schema}".alembic_version (version_num text)')
            connection.execute(f"INSERT INTO \"{schema}\".alembic_version VALUES ('{version}')")
        with pytest.raises(StateError, match=r"another application .*\?schema=NAME"):
            open_state(address, Path())
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", (schema,)).fetchone()
    assert found == (2 if version else 1,)


def test_the_schema_may_stand_in_the_options_as_libpq_has_them(server: Postgres) -> None:
    address = server.address()
    database, _, schema = address.partition("&schema=")
    first, second = (open_state(url, Path()) for url in (address, f"{database}&options=-csearch_path%3D{schema}"))
    add(first, "a")
    assert names(second) == ["a"]
    first.close()
    second.close()


# the same as in SQLite ------------------------------------------------------------------------------------------------

HOSTILE = ["b", "B", "a\0b", "a\0", "a", "a\1b", "\1", "😀", "é", "e", "'; DROP TABLE run; --", "%s %(x)s :y {z}", "~"]


def test_texts_come_back_as_they_were_in_the_same_order(database: Database, tmp_path: Path) -> None:
    plain = open_state("", tmp_path)
    for each in (database, plain):
        for name in HOSTILE:
            add(each, name)
            with each.write() as connection:
                catalogue.add_small_integers(connection, "p", Owner.of_stream(name), frozenset(HOSTILE))
    assert sorted(HOSTILE) == names(plain) == names(database)
    for each in (database, plain):
        plans = each.recall(catalogue.plans, "p", tuple(map(Owner.of_stream, HOSTILE)))
        assert all(plan.small == frozenset(HOSTILE) for plan in plans.values())
    for each in (database, plain):  # half a surrogate pair is none
        with pytest.raises(UnicodeEncodeError):
            add(each, "\ud800")
    plain.close()


def test_columns_of_any_name_and_values_are_counted_as_in_sqlite(address: str, tmp_path: Path) -> None:
    columns = ["a\1b", "\1", "😀", "é", *HOSTILE[-3:]]  # of those the log takes together
    answers = []
    for state in ("", address):
        store = Store(Place(str(tmp_path / f"store{len(state)}"), state), "test")
        values = [{name: f"{name}\0{i % 2}" for name in columns} for i in range(6)]
        rows = [{"key": f"k{i}", "time": START + i * DAY, "log_time": START, **row} for i, row in enumerate(values)]
        Sender(store).records("s", rows)
        store.caught_up()
        with store.reader.database.read() as connection:
            found = series.select(connection, series.find(connection, "test", Owner.of_stream("s")), DAY)
        answers.append(sorted(map(str, found.to_pylist())))
        store.close()
    assert len(answers[0]) > 6 * len(columns) and answers[0] == answers[1]


# from one to the other ------------------------------------------------------------------------------------------------


def filled(folder: Path) -> Place:
    """A store with a task, objectives, runs and frames, and its state in SQLite."""
    started = ff.init(folder, "test")
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["side"])
    ff.objective("enough", "rows(predict) >= 5", window="30d")
    for i in range(40):
        ff.log("predict", key=f"k{i}", score=i / 40, side=HOSTILE[i % 3], time=START + i * DAY)
        ff.log("arrivals", key=f"k{i}", late=i % 2, time=START + i * DAY)
    with ff.run("train", params={"a": "\0", "b": float("inf")}) as run:
        run.output("frame", pa.table({"x": [1.0, float("nan"), None], "a\0": ["b", None, "c"]}))
    ff.flush()
    started.store.caught_up()
    started.close()
    return Place(str(folder))


def command(*arguments: str, state: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FOURFOLD_STATE": state}
    line = [sys.executable, "-c", "import sys; from fourfold.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=False)


def everything(at: Place) -> dict[str, list[Any]]:
    database = open_state(at.state, Path(at.store))
    with database.read() as connection:
        tables = {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in TABLES}
    database.close()
    return tables


def test_a_state_moves_there_and_back_and_stays_the_same(tmp_path: Path, address: str) -> None:
    plain = filled(tmp_path / "store")
    before = everything(plain)
    assert all(before[name] for name in ("series", "counts", "run", "artifact", "task", "objective", "binning"))
    for _ in range(2):  # a second time, it is there already
        done = command("move", "--store", plain.store, "--to", address, "--json")
        assert done.returncode == 0, done.stderr
    assert everything(plain) == before == everything(Place(plain.store, address))
    store = Store(Place(plain.store, address), "test")
    Sender(store).records("predict", [{"key": "new", "time": START, "log_time": START, "score": 0.5, "n": 1.5}])
    assert store.metric("predict", "rows").value.value == 41, "a new series takes a number of its own"
    store.close()
    refused = command("move", "--store", plain.store, "--to", plain.store, state=address)
    assert refused.returncode == 3 and "something else" in refused.stderr, "the old state is still there"
    assert everything(plain) == before
    for file in Path(plain.store).glob("state.db*"):
        file.unlink()
    assert command("move", "--store", plain.store, "--to", plain.store, state=address).returncode == 0
    assert everything(plain) == everything(Place(plain.store, address))
    store = Store(plain, "test")
    assert store.metric("predict", "rows").value.value == 41
    store.close()


def test_runs_of_one_id_in_two_projects_move_there_and_back(tmp_path: Path, address: str) -> None:
    made = Artifact("model", "output", "model", "f")
    places = [("", tmp_path / "one"), (address, tmp_path / "two"), ("", tmp_path / "three")]
    databases = [open_state(state, folder) for state, folder in places]
    with databases[0].write() as connection:
        for project in ("a", "b"):
            runs.save(connection, project, Run("r1", project, RunStatus.SUCCEEDED, 1.0, 2.0, artifacts=(made,)))
    for source, target in itertools.pairwise(databases):
        assert move(source, target)["artifact"].rows == 2
    with databases[-1].read() as connection:
        assert [runs.recent(connection, project)[0].component for project in ("a", "b")] == ["a", "b"]
        assert runs.by_id(connection, "b", ["r1"])["r1"].artifacts == (made,)
    for database in databases:
        database.close()


def test_a_move_killed_anywhere_has_changed_nothing_and_is_run_again(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = filled(tmp_path / "store")
    before = everything(plain)
    source, target = open_state("", Path(plain.store)), open_state(address, Path(plain.store))
    for after in (0.0, 0.4, 0.95):

        def die(share: float, after: float = after) -> None:
            if share > after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            move(source, target, die)
        assert not any(everything(Place(plain.store, address)).values())
    move(source, target)
    assert everything(plain) == before == everything(Place(plain.store, address))
    source.close()
    target.close()


def test_nobody_folds_or_decides_during_a_move_and_the_wrong_places_are_refused(tmp_path: Path, address: str) -> None:
    plain = filled(tmp_path / "store")
    source, target = open_state("", Path(plain.store)), open_state(address, Path(plain.store))
    taken = []

    def look(share: float) -> None:
        if share == 1.0:  # it may be over
            return
        for database, name in ((source, "fold"), (source, "watch"), (target, "fold")):
            with pytest.raises(Timeout):
                database.lock(name).acquire(0.0)
            taken.append(name)
        another = sqlite3.connect(Path(plain.store) / "state.db", timeout=0.0)
        with closing(another), pytest.raises(sqlite3.OperationalError, match="locked"):
            another.execute("BEGIN IMMEDIATE")

    move(source, target, look)
    assert taken
    add(target, "more")
    with pytest.raises(StateError, match="something else"):
        move(source, target)
    source.close()
    target.close()
    for to in (plain.store, "mysql://x/y"):
        assert command("move", "--store", plain.store, "--to", to).returncode == 2


# several processes ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_a_fork_has_connections_of_its_own(database: Database) -> None:
    add(database, "parent")
    pid = "SELECT pg_backend_pid()"
    with database.read() as connection:
        mine = connection.exec_driver_sql(pid).scalar()
    read, written = os.pipe()
    with database.lock("fold"):
        child = os.fork()
        if child == 0:
            try:
                with database.read() as connection:
                    theirs = connection.exec_driver_sql(pid).scalar()
                add(database, "child")
                os.write(written, f"{theirs} {names(database)}".encode())
                database.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        add(database, "parent again")
    said = os.read(read, 1_000).decode()
    assert said.endswith("['child', 'parent']") and int(said.split()[0]) != mine
    with database.read() as connection:
        assert connection.exec_driver_sql(pid).scalar() == mine
    assert names(database) == ["child", "parent", "parent again"]


def test_two_collectors_at_once_after_a_stall_append_each_record_once(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one stands still between looking into the log and appending, and meanwhile another takes it all."""
    at = Place(str(tmp_path / "store"), address)
    first, second = Store(at, "test"), Store(at, "test")
    stream: Any = importlib.import_module("fourfold.log.stream")
    sender, append = Sender(first), stream.write_deltalake
    rows = [{"key": f"k{i}", "time": START, "log_time": START + i, "score": 0.5} for i in range(4)]

    def stall(*arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(stream, "write_deltalake", append)
        end_sessions(address, of_locks=True)
        second.caught_up()
        append(*arguments, **named)

    for table_exists in (False, True):
        sender.records("predict", rows[2 * table_exists : 2 * table_exists + 1])
        sender.records("predict", rows[2 * table_exists + 1 : 2 * table_exists + 2])
        monkeypatch.setattr(stream, "write_deltalake", stall)
        first.caught_up()
        assert stream.write_deltalake is append, "it stood still"
        for store in (first, second):
            found = store.reader.log("predict").whole().records(pa.compute.scalar(True), ["_ff_key"])
            assert sorted(found["_ff_key"].to_pylist()) == [f"k{i}" for i in range(2 * table_exists + 2)]
            assert store.metric("predict", "rows").value.value == 2 * table_exists + 2
            assert store.metric("predict", "duplicate_keys").value.value == 0
            assert not store.writer.waiting()
    first.close()
    second.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_at_thirty_random_points_nothing_is_lost_or_counted_twice(address: str, tmp_path: Path) -> None:
    kill_at_random(Place(str(tmp_path / "store"), address), 30)


ASKS = """
import sys
import fourfold as ff
ff.init(sys.argv[1], "test")
for i in range(10):
    ff.log("predict", key=f"{sys.argv[2]}-{i}", score=0.5, time=1_700_000_000)
    ff.flush()
    assert ff.metric("predict", "rows").value.value >= i + 1
"""


def test_processes_that_fold_and_ask_count_each_record_once(address: str, tmp_path: Path) -> None:
    at = Place(str(tmp_path / "store"), address)
    environment = {**os.environ, "FOURFOLD_STATE": address}
    several = [
        subprocess.Popen(
            [sys.executable, "-c", ASKS, at.store, str(n)], stderr=subprocess.PIPE, text=True, env=environment
        )
        for n in ("a", "b")
    ]
    assert [process.communicate()[1] for process in several] == ["", ""]
    store = Store(at, "test")
    assert store.metric("predict", "rows").value.value == 20
    assert store.metric("predict", "duplicate_keys").value.value == 0
    store.close()


def test_a_store_without_its_server_says_so(server: Postgres, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be used"):
        Store(Place(str(tmp_path / "store"), "postgresql://fourfold@/none?host=" + str(server.folder)), "test")


def test_an_erasure_after_a_stall_removes_nothing_that_another_has_appended(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one stands still between looking at the log and removing files, and meanwhile another appends."""
    at = Place(str(tmp_path / "store"), address)
    first, second = Store(at, "test"), Store(at, "test")
    stream: Any = importlib.import_module("fourfold.log.stream")
    sender, checkpoint = Sender(first), stream.DeltaTable.create_checkpoint
    rows = [{"key": f"k{i}", "time": START, "log_time": START + i, "score": 0.5} for i in range(3)]

    def stall(table: Any) -> None:
        monkeypatch.setattr(stream.DeltaTable, "create_checkpoint", checkpoint)
        end_sessions(address, of_locks=True)
        sender.records("predict", rows[2:])
        second.caught_up()
        checkpoint(table)

    sender.records("predict", rows[:2])
    first.caught_up()
    monkeypatch.setattr(stream.DeltaTable, "create_checkpoint", stall)
    with pytest.raises(StoreError, match=r"stood still.*run it again"):
        first.writer.forget_keys(["k0"])
    for store in (first, second):
        assert store.metric("predict", "rows").value.value == 2
        found = store.reader.log("predict").whole().records(pa.compute.scalar(True), ["_ff_key"])
        assert sorted(found["_ff_key"].to_pylist()) == ["k1", "k2"]
    first.writer.forget_keys(["k0"])  # completes it
    assert b"k0" not in b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    first.close()
    second.close()
