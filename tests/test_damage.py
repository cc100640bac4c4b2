"""A store that is damaged in any way answers for all else, says what is wrong, and can be mended."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import DeltaError
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import fourfold as ff
from fourfold import config
from fourfold.cli import app
from fourfold.errors import FourfoldError, StoreError
from fourfold.ingest.mending import mended
from fourfold.ingest.retry import retry
from fourfold.log import messages, open_inbox
from fourfold.metrics import custom
from fourfold.model import Status
from fourfold.reports.doctor import examine
from fourfold.reports.integrity import quarantined
from fourfold.reports.recount import differences, recounted
from fourfold.sdk import Session
from fourfold.store import Store
from tests import damage
from tests.support import SLOWER, START, Sender


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "store"
    damage.build(folder)
    return folder


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "copy"))


def rows(folder: Path, stream: str, name: str = "rows") -> float | None:
    store = Store(folder, "test")
    try:
        return store.metric(stream, name).value.value
    finally:
        store.close()


def log_more(folder: Path) -> None:
    """One more record of each stream, as another process would send it."""
    session = ff.init(folder, "test")
    for stream in ("bad", "good"):
        ff.log(stream, key="new", score=0.5, v=0.5, c="a")
    ff.flush()
    session.close()


@pytest.mark.parametrize("kind", damage.KINDS)
def test_damage_is_named_and_costs_nothing_else_and_is_mended(copy: Path, kind: str) -> None:
    do, answers, left = damage.KINDS[kind]
    do(copy)
    for stream in ("good", "bad", "task"):
        try:
            value = rows(copy, stream, "coverage" if stream == "task" else "rows")
        except FourfoldError as error:
            said = str(error)
            assert ("\n" in said, "SELECT" in said, stream == "good" and answers) == (False,) * 3
        else:
            assert stream == "task" or value == 15.0
    assert examine(copy, "test") != [] or kind == "odd declarations"
    assert list(mended(copy, "test")) != [] or kind in ("empty state", "no state", "no log", "no log of bad",
        "odd message", "folder for a message", "odd note", "folder for a note", "odd declarations")  # fmt: skip
    assert rows(copy, "good") == 15.0
    assert rows(copy, "bad") == left
    gone = "no log" in kind or kind == "text for the log"
    assert gone or not {p.kind for p in examine(copy, "test")} & {"damaged_log", "damaged_state", "unusable_store"}
    if not gone:
        log_more(copy)
        assert (rows(copy, "good"), rows(copy, "bad")) == (16.0, left + 1)


@SLOWER
@given(st.lists(st.sampled_from(sorted(damage.KINDS)), min_size=2, max_size=3, unique=True), st.booleans())
def test_whatever_is_damaged_only_our_errors_are_raised_and_doctor_never_does(
    template: Path, kinds: list[str], more: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(template, Path(place) / "store"))
        for kind in kinds:
            try:
                damage.KINDS[kind][0](folder)
            except (OSError, IndexError, ValueError):  # what it damages is gone already
                continue
            except (sqlite3.Error, DeltaError):
                continue
        no_log = bool({"no log", "text for the log"} & {*kinds})
        nothing_left = no_log and bool(damage.STATE_GONE & {*kinds})
        if more:
            try:
                log_more(folder)
            except StoreError:
                more = False
        for stream in ("good", "bad", "task"):
            try:
                value = rows(folder, stream, "coverage" if stream == "task" else "rows")
            except FourfoldError:
                locked_out = "folder for the lock" in kinds  # where something is to be taken or counted
                answers = all(damage.KINDS[kind][1] for kind in kinds) and not locked_out
                assert stream != "good" or not answers or nothing_left
            else:
                assert stream != "good" or value in (15.0, 16.0, 1.0)
        assert examine(folder, "test") != [] or set(kinds) == {"odd declarations"} or nothing_left
        list(mended(folder, "test"))
        if not no_log:
            assert rows(folder, "good") == 15.0 + more
        assert "unusable_store" not in {found.kind for found in examine(folder, "test")} or no_log


def test_a_state_of_a_newer_version_is_not_set_aside(copy: Path) -> None:
    damage.sql("UPDATE alembic_version SET version_num = '9999'")(copy)
    with pytest.raises(StoreError, match="newer"):
        list(mended(copy, "test"))
    assert sorted(path.name for path in copy.glob("state.db*")) == ["state.db"]


def test_each_command_exits_with_3_where_the_state_is_damaged_and_doctor_says_why(copy: Path) -> None:
    damage.flip(copy / "state.db")
    for command in (["status"], ["metrics", "good", "rows"], ["fold"]):
        found = subprocess.run(
            [sys.executable, "-c", "from fourfold.cli import main; main()", *command, "--store", str(copy)],
            capture_output=True, text=True, timeout=60, env={**os.environ, "FOURFOLD_PROJECT": "test"},
        )  # fmt: skip
        assert found.returncode == 3, found.stderr
        assert "doctor --mend" in " ".join(found.stderr.split())
        assert "Traceback" not in found.stderr
    told = CliRunner().invoke(app, ["doctor", "--store", str(copy), "--project", "test", "--json"])
    assert told.exit_code == 0
    assert [row["kind"] for row in json.loads(told.stdout)["rows"]] == ["unusable_store"]
    told = CliRunner().invoke(app, ["doctor", "--store", str(copy), "--project", "test", "--mend", "--json"])
    steps = json.loads(told.stdout)["rows"]
    assert "moved to state.db.damaged-" in steps[0]["mended"]
    assert steps[-1]["kind"] == "state_made_anew"


def test_counts_that_are_ahead_of_their_log_say_so(copy: Path) -> None:
    damage.commits(copy)[-1].unlink()
    store = Store(copy, "test")
    value = store.metric("bad", "rows").value
    assert (value.value, value.status) == (15.0, Status.PROVISIONAL)
    assert "ends at version 1, and version 2 of it was counted" in value.reason
    assert store.metric("good", "rows").value.reason == ""
    store.close()


def test_records_wait_while_what_their_log_lacks_can_be_brought_back(copy: Path) -> None:
    damage.commits(copy)[-1].unlink()
    log_more(copy)
    assert (rows(copy, "bad"), rows(copy, "good")) == (15.0, 16.0)
    list(mended(copy, "test"))
    assert rows(copy, "bad") == 16.0


def test_half_written_messages_of_dead_processes_are_told_of_and_removed(copy: Path) -> None:
    damage.half_written(copy)
    assert [p.kind for p in examine(copy, "test")] == ["half_written"]
    assert [step.split(" were")[0] for step in mended(copy, "test")] == ["1 incomplete messages"]
    assert examine(copy, "test") == []


# while a process runs -----------------------------------------------------------------------------------------------


def test_a_store_that_goes_away_and_comes_back_is_an_error_meanwhile(copy: Path) -> None:
    store = Store(copy, "test")
    assert store.metric("bad", "rows").value.value == 15.0
    copy.rename(copy.with_name("away"))
    for _ in range(2):
        with pytest.raises(StoreError, match="is gone"):
            store.metric("bad", "rows")
    copy.with_name("away").rename(copy)
    assert store.metric("bad", "rows").value.value == 15.0
    store.close()


def test_a_store_that_is_replaced_is_read_anew(copy: Path, tmp_path: Path) -> None:
    store = Store(copy, "test")
    assert store.metric("bad", "rows").value.value == 15.0
    other = Store(tmp_path / "other", "test")
    for sequence in range(4):
        Sender(other).records("bad", [{"key": str(sequence), "x": 1.0, "time": START, "log_time": START}])
        other.writer.catch_up()
    other.close()
    shutil.rmtree(copy)
    (tmp_path / "other").rename(copy)
    assert store.metric("bad", "rows").value.value == 4.0
    assert store.reader.log("bad").rows == 4
    store.close()


READER = """
import sys, os, logging
import pyarrow, deltalake, duckdb, sqlalchemy
import fourfold as ff
from fourfold.errors import StoreError
from fourfold.store import Store
from fourfold.reports.doctor import examine
import fourfold.reports.problems, alembic.command, fourfold.sdk.batch, pyarrow.dataset, pyarrow.parquet
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
logging.basicConfig(format="%(message)s")
store = Store(sys.argv[1], "test")
for _ in range(2):
    print(store.metric("good", "rows").value.value, store.metric("task", "coverage").value.value)
print([found.kind for found in examine(store.folder, "test")])
session = ff.init(sys.argv[1], "test")
ff.log("good", key="x", v=1.0)
try:
    ff.flush()
except StoreError as error:
    print("StoreError", "cannot be written" in str(error))
"""


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
@pytest.mark.parametrize("beside", [False, True])
def test_a_store_that_cannot_be_written_can_be_read(template: Path, beside: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(template, Path(place) / "store"))
        log_more(folder)
        writer = Store(folder, "test") if beside else None  # another user has the state open
        for path in (Path(place), folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            done = subprocess.run(
                [sys.executable, "-c", READER, str(folder)], capture_output=True, text=True, timeout=60, cwd="/"
            )
        finally:
            for path in (Path(place), folder, *folder.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            if writer is not None:
                writer.close()
    assert done.stdout.splitlines() == ["15.0 1.0", "15.0 1.0", "['read_only']", "StoreError True"], done.stderr
    told = [line for line in done.stderr.splitlines() if "read-only" in line]
    assert ["2 messages wait" in line for line in told] == [True, True]  # once a store that was opened
    assert "Traceback" not in done.stderr


# the declarations ---------------------------------------------------------------------------------------------------


@pytest.fixture
def worth() -> Iterator[None]:
    known = dict(custom.REGISTERED)
    ff.define_metric("worth", sums={"n": "1", "hit": "label"}, value=lambda n, hit: hit / n)
    yield
    custom.REGISTERED.clear()
    custom.REGISTERED.update(known)


def test_what_was_declared_is_found_again_with_the_logs(session: Session, tmp_path: Path) -> None:
    ff.task("t", prediction="p.score", label="l.y")
    ff.log("p", pa.table({"id": ["a"], "score": [0.5]}), key="id")
    ff.log("l", key="a", y=1)
    assert ff.metric("t", "coverage").value.value == 1.0
    copy = tmp_path / "store" / "log" / "test" / "_declarations.json"
    copy.unlink()
    ff.log("l", key="b", y=1)
    ff.metric("t", "coverage")
    assert json.loads(copy.read_text())["streams"]["p"] == ["id", None]  # written again
    session.close()
    damage.without_state(tmp_path / "store")
    assert rows(tmp_path / "store", "t", "coverage") == 1.0
    (found,) = [p for p in examine(tmp_path / "store", "test") if p.kind == "state_made_anew"]
    assert "runs, incidents and the counts of frames" in found.message


# quarantine ---------------------------------------------------------------------------------------------------------


def test_the_same_reason_many_times_is_one_problem(store: Store) -> None:
    for i in range(1_000):
        store.reader.quarantine.keep("p", f"w-{i:012d}", pa.table({"x": [i]}), f"batch w-{i:012d} is odd")
    store.reader.quarantine.keep("p", "w-1000", pa.table({"x": [1]}), "another reason")
    many, one = quarantined(store.reader.quarantine.entries())
    assert "1,000 times" in many.message
    assert "1,000 records" in many.advice
    assert one.message == "another reason"


def test_a_conflicting_value_is_named_in_its_record_and_put_back_when_it_was_put_right(store: Store) -> None:
    sender = Sender(store)
    sender.records("p", [{"key": "a", "x": 1, "Odd Name": 1, "time": START, "log_time": START}])
    store.writer.catch_up()
    for odd in ({"key": "b", "x": "02", "Odd Name": "07"}, {"key": "c", "x": None, "Odd Name": "08"}):
        sender.records("p", [{**odd, "time": START, "log_time": START}])
    store.writer.catch_up()
    records = store.reader.log("p").whole().records(None).to_pylist()
    assert {row["_ff_key"]: row["_ff_set_aside"] for row in records} == {
        "a": None, "b": ["x", "Odd Name"], "c": ["Odd Name"],
    }  # fmt: skip
    assert "p._ff_set_aside" not in [f"p.{name}" for name in store.reader.log_versions()]
    assert store.metric("p.Odd Name", "null_rate").value.value == pytest.approx(2 / 3)
    assert [(found.taken, "Cast" in found.message or "cast" in found.message) for found in retry(store.writer)] == [
        (False, True)
    ] * 3
    for entry in store.reader.quarantine.entries():
        table = pq.ParquetFile(entry.path).read()
        column = table[entry.column].cast(pa.int64())
        pq.write_table(table.set_column(table.schema.get_field_index(entry.column), entry.column, column), entry.path)
    assert [found.taken for found in retry(store.writer)] == [True] * 3
    assert store.reader.quarantine.entries() == []
    assert list(retry(store.writer)) == []
    records = store.reader.log("p").whole().records(None).to_pylist()
    assert {row["_ff_key"]: (row["x"], row["Odd Name"], row["_ff_set_aside"]) for row in records} == {
        "a": (1, 1, None), "b": (2, 7, None), "c": (None, 8, None),
    }  # fmt: skip
    assert store.metric("p", "rows").value.value == 3.0
    assert store.metric("p.Odd Name", "mean").value.value == pytest.approx(16 / 3)
    assert list(differences(store.caught_up())) == []


def test_a_fraction_among_whole_numbers_beyond_64_bits_is_not_rounded(store: Store) -> None:
    sender = Sender(store)
    for key, x in (("a", Decimal(2**63 + 5)), ("b", 0.5), ("c", 2.0)):
        sender.records("p", [{"key": key, "x": x, "time": START, "log_time": START}])
        store.writer.catch_up()
    assert sorted(store.reader.log("p").whole().records(None)["x"].to_pylist()) == [0.5, 2.0, float(2**63)]
    assert store.reader.quarantine.entries() == []


def test_a_batch_in_quarantine_is_taken_once_when_it_was_put_right_however_often_it_is_tried(store: Store) -> None:
    sender = Sender(store)
    sender.records("p", [{"key": "a", "x": 1.0, "time": START, "log_time": START}])
    store.writer.catch_up()
    sender.sequence += 1
    rows_ = [{"key": "b", "x": 2.0, "time": START, "log_time": START}]
    sender.records("p", rows_)
    (path,) = store.reader.waiting()
    message = store.writer._inbox.read(path)
    path.unlink()
    bad = message.table.append_column("X", pa.array([3.0]))  # twice but for its case, which no log can hold
    store.writer._inbox.put(message.writer, message.sequence, messages.records("test", "p", None, None), bad)
    store.writer.catch_up()
    (entry,) = store.reader.quarantine.entries()
    assert [found.taken for found in retry(store.writer)] == [False]
    pq.write_table(message.placed().table, entry.path)
    note, content = entry.note.read_text(), Path(entry.path).read_bytes()
    assert [found.taken for found in retry(store.writer)] == [True]
    entry.note.write_text(note)  # as if it had died before it removed them
    Path(entry.path).write_bytes(content)
    assert [found.taken for found in retry(store.writer)] == [True]
    assert store.reader.quarantine.entries() == []
    assert store.metric("p", "rows").value.value == 2.0


def test_a_message_in_quarantine_is_taken_once_it_can_be_read(store: Store) -> None:
    Sender(store).records("p", [{"key": "a", "x": 1.0, "time": START, "log_time": START}])
    (path,) = store.reader.waiting()
    content = path.read_bytes()
    damage.flip(Path(path), 50)
    store.writer.catch_up()
    (entry,) = store.reader.quarantine.entries()
    assert [found.taken for found in retry(store.writer)] == [False]
    entry.message.write_bytes(content)
    assert [found.taken for found in retry(store.writer)] == [True]
    assert store.metric("p", "rows").value.value == 1.0
    assert store.reader.quarantine.entries() == []


def test_a_declaration_that_the_state_refuses_is_kept_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    declared = config.make_task("t", prediction="p.x", label="l.y")
    with monkeypatch.context() as patched:
        patched.setattr("fourfold.ingest.applying._declare", lambda *_: 1 / 0)
        Sender(store).task(declared)
        store.writer.catch_up()
    (entry,) = store.reader.quarantine.entries()
    assert [found.taken for found in retry(store.writer)] == [True]
    assert entry.message.exists() is False
    assert store.metric("t", "coverage").value.value is None


# counting again -----------------------------------------------------------------------------------------------------


def test_counts_that_are_not_those_of_the_log_are_found_and_counted_anew(copy: Path) -> None:
    assert examine(copy, "test", deep=True) == []
    damage.sql(
        "UPDATE counts SET tallies = (SELECT tallies FROM counts c JOIN series s ON s.id = c.series_id "
        "WHERE s.owner = 'stream:load.frame' AND s.kind = 'stream' LIMIT 1) "
        "WHERE series_id IN (SELECT id FROM series WHERE owner = 'stream:good' AND kind = 'stream')"
    )(copy)
    done: list[float] = []
    (found,) = examine(copy, "test", deep=True, report=done.append)
    assert (found.kind, found.subject) == ("differing_counts", "stream good")
    assert done[-1] == 1.0
    assert "stream good was counted again from the log" in list(recounted(Store(copy, "test")))
    assert examine(copy, "test", deep=True) == []
    assert rows(copy, "good") == 15.0


def test_a_flipped_byte_in_a_data_file_is_found_by_reading_it(copy: Path) -> None:
    path = damage.data(copy)
    damage.flip(path, *range(100, path.stat().st_size - 2_000, 7))
    found = examine(copy, "test", deep=True)
    assert "bad" in {problem.subject.split()[-1] for problem in found}


def test_messages_that_wait_long_are_told_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    Sender(store).records("p", [{"key": "a", "x": 1.0, "time": START, "log_time": START}])
    (path,) = store.reader.waiting()
    os.utime(path, (START, START))
    open_inbox(store.folder / "inbox").put("newer", 1, {"format": 2, "kind": "records"})
    with caplog.at_level(logging.WARNING):
        store.writer.catch_up()
    Sender(store).records("p", [{"key": "b", "x": 1.0, "time": START, "log_time": START}])
    os.utime(next(p for p in store.reader.waiting() if p.stem not in store.reader.standing.left), (START, START))
    kinds = {problem.kind: problem.message for problem in examine(store.folder, "test")}
    assert "since 2023-11-15" in kinds["waiting"]
