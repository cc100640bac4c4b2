"""What was acknowledged is kept: listings that hide files, odd messages, ends of every kind, many processes."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold import config
from fourfold.errors import ConfigError, StoreError
from fourfold.log import Inbox, Quarantine, messages, open_inbox
from fourfold.log.messages import Dropped
from fourfold.log.wire import written
from fourfold.model import Run, RunStatus
from fourfold.model.records import KEY
from fourfold.reports.problems import problems
from fourfold.sdk import Session
from fourfold.sdk.batch import from_records
from fourfold.sdk.record import Record
from fourfold.store import Store
from tests.hosts.children import log_in_child, log_one
from tests.killed import KILLS
from tests.support import SLOW, Sender, waiting

SECONDS = KILLS / 5


def content_of(store: Store, sequence: int, stream: str = "predict", writer: str = "w") -> tuple[str, bytes]:
    """A message of one record: its id, and its file's bytes."""
    ((prepared, _),) = from_records([Record(stream, None, {"x": sequence}, f"k{sequence}", None, 10**18, None)])
    message = f"{writer}-{sequence:012d}"
    header = messages.records(store.project, stream, None, None)
    return message, written(header, prepared.table)


def put(store: Store, sequence: int, stream: str = "predict", writer: str = "w") -> None:
    open_inbox(store.folder / "inbox").deliver(*content_of(store, sequence, stream, writer))


def logged(store: Store, stream: str = "predict") -> list[str]:
    return sorted(pa.table(store.reader.log(stream).whole().records(None, [KEY]))[KEY].to_pylist())


# the inbox ----------------------------------------------------------------------------------------------------------


@SLOW
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sets(st.integers(1, 12)), st.sampled_from(["predict", "arrivals"]),
            st.sampled_from(["alone", "together", "both", "again"]),
        ),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_whatever_a_listing_hides_each_message_is_taken_once(steps: list[tuple[int, set[int], str, str]]) -> None:
    """Each step puts some messages: alone, together in one file, both, or together with all those before them."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store", "test")
        inbox, whole, sent = Inbox(Path(store.folder) / "inbox"), store.writer._inbox.pending, dict[str, list[str]]()
        every: list[tuple[str, bytes]] = []
        for step, (number, hidden, stream, how) in enumerate(steps):
            for sequence in range(len(every) + 1, len(every) + 1 + number):
                every.append(content_of(store, sequence, stream))
                sent.setdefault(stream, []).append(f"k{sequence}")
            new = every[len(every) - number :]
            if how in ("alone", "both"):
                for message, content in new:
                    inbox.deliver(message, content)
            if together := {"alone": [], "again": every}.get(how, new):
                inbox.deliver_together(f"{'az'[step % 2]}-{step + 1:012d}", together)
            listing = [path for place, path in enumerate(whole(), 1) if place not in hidden]
            store.writer._inbox.pending = lambda listing=listing: listing  # type: ignore[method-assign, misc]
            store.writer.catch_up()
        store.writer._inbox.pending = whole  # type: ignore[method-assign]
        store.writer.catch_up()
        for stream, keys in sent.items():
            assert logged(store, stream) == sorted(keys)
            assert store.metric(stream, "rows").value.value == len(keys)
        assert whole() == []
        store.close()


def test_a_message_that_was_taken_and_not_removed_is_not_taken_again(store: Store) -> None:
    for sequence in (1, 2, 3):
        put(store, sequence)
    copies = {path: path.read_bytes() for path in store.writer._inbox.pending()}
    store.writer.catch_up()
    for path, content in copies.items():
        path.write_bytes(content)
    store.writer.catch_up()
    assert logged(store) == ["k1", "k2", "k3"]
    assert store.metric("predict", "rows").value.value == 3.0


def test_counts_that_a_listing_hides_after_they_were_taken_are_not_taken_again(store: Store) -> None:
    session = ff.init(store.folder, "test")
    with ff.run("load") as run:
        run.output("frame", pa.table({"x": [1.0, 2.0]}))
    copies = {path: path.read_bytes() for path in waiting(session)}
    session.close()
    store.writer.catch_up()
    for path, content in copies.items():
        path.write_bytes(content)
    whole = store.writer._inbox.pending
    store.writer._inbox.pending = list  # type: ignore[method-assign]
    store.writer._collector.collect()
    store.writer._inbox.pending = whole  # type: ignore[method-assign]
    store.writer.catch_up()
    assert store.metric("load.frame", "rows").value.value == 2.0


@pytest.mark.parametrize("place", [0, 100, -30, -3])
def test_a_flipped_byte_puts_a_message_aside_and_nothing_else(store: Store, place: int) -> None:
    put(store, 1)
    put(store, 2)
    path = store.writer._inbox.pending()[0]
    assert isinstance(path, Path)
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    store.writer.catch_up()
    assert logged(store) == ["k2"]
    (kept,) = store.reader.quarantine.entries()
    assert "have changed" in kept.reason
    assert (store.folder / "quarantine" / path.name).read_bytes() == content


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"format": 1},
        {"format": 1, "kind": "records"},
        {"format": 1, "kind": "records", "project": "test", "stream": 5, "key": None, "time": None},
        {"format": 1, "kind": "run", "project": "test", "run": {"id": "x"}},
        {"format": 1, "kind": "task", "project": "test", "task": "{}"},
        {"format": 1, "kind": "task", "project": "test", "task": '{"name": "late", "from_the_future": 1}'},
        {"format": 1, "kind": "counts", "project": "test", "stream": "s", "started": 0, "binnings": {}, "small": []},
    ],
)
def test_a_message_that_makes_no_sense_is_kept_aside_and_stops_nothing(store: Store, header: Any) -> None:
    class Raw(dict[str, Any]):
        pass

    inbox = open_inbox(store.folder / "inbox")
    real, json.dumps = json.dumps, lambda *args, **kwargs: real(header)
    try:
        inbox.put("odd", 1, Raw(), pa.table({"x": [1]}))
    finally:
        json.dumps = real
    put(store, 1)
    for _ in range(2):
        assert store.metric("predict", "rows").value.value == 1.0
    assert len(store.reader.quarantine.entries()) == 1
    assert inbox.pending() == []


def test_a_run_as_an_older_fourfold_sends_it_is_taken(store: Store) -> None:
    run = Run("r", "train", RunStatus.RUNNING, 5.0, params={"name": "caf\udce9"})
    header = {"format": 1, "kind": "run", "project": "test", "run": dataclasses.asdict(run)}
    kept = dataclasses.replace(run, params={"name": "caf\\udce9"})
    assert messages.decode(header) == messages.Runs("test", (kept,))
    assert messages.decode(messages.runs("test", [messages.run_text(run)])) == messages.Runs("test", (kept,))


@pytest.mark.parametrize(
    "header", [{"format": 1, "kind": "incident"}, {"format": messages.FORMAT + 1, "kind": "records"}]
)
def test_a_message_of_a_newer_version_stays_and_is_told_of_once(
    store: Store, header: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    inbox = open_inbox(store.folder / "inbox")
    inbox.put("newer", 1, {"project": "test", "stream": "s", **header}, pa.table({"x": [1]}))
    put(store, 1)
    with caplog.at_level(logging.WARNING, "fourfold"):
        for _ in range(3):
            assert store.metric("predict", "rows").value.value == 1.0
    assert [path.stem for path in inbox.pending()] == ["newer-000000000001"]
    assert ["upgrade" in record.message for record in caplog.records] == [True]
    assert not store.writer.pending()


@pytest.mark.parametrize("stream", [5, None, "", "_delta_log", "a\ud800", ["a"], "..", "\x00"])
def test_a_stream_of_any_name_is_kept_and_stops_no_other(session: Session, stream: Any) -> None:
    ff.log(stream, key="x", v=1)
    ff.log(stream, pa.table({"id": ["a"], "v": [1]}), key="id")
    ff.log("good", key="a", v=1)
    for _ in range(2):
        assert ff.metric("good", "rows").value.value == 1.0
    others = [name for name in session.store.reader.log_versions() if name != "good"]
    assert [ff.metric(name, "rows").value.value for name in others] == [2.0]


def test_texts_that_utf8_cannot_hold_reach_the_state_escaped(session: Session) -> None:
    @ff.component
    def load(path: str) -> list[int]:
        return [1]

    load("caf\udce9.csv")
    with pytest.raises(ValueError, match="odd"), ff.run("train"):
        raise ValueError("odd \ud800")
    ff.log("z", key=1, v=1)
    for _ in range(2):
        assert ff.metric("z", "rows").value.value == 1.0


def test_a_damaged_log_keeps_its_records_waiting_and_the_other_streams_going(session: Session) -> None:
    for stream in ("bad", "good"):
        ff.log(stream, key="a", v=1)
    assert ff.metric("good", "rows").value.value == 1.0
    folder = session.store.reader.log("bad").folder / "_delta_log"
    (folder / f"{1:020d}.json").write_text("not json")
    for stream in ("bad", "good"):
        ff.log(stream, key="b", v=2)
    assert ff.metric("good", "rows").value.value == 2.0
    assert list(session.store.reader.standing.stuck) == ["bad"]
    (folder / f"{1:020d}.json").unlink()
    assert ff.metric("bad", "rows").value.value == 2.0


def test_a_folder_that_the_log_cannot_be_in_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\["):
        ff.init(tmp_path / "store-[x]")


# the folder ---------------------------------------------------------------------------------------------------------


def of_doctor(store: Store) -> list[str]:
    return [found.kind for found in problems(store.caught_up())]


def test_doctor_finds_a_data_file_and_commits_that_are_missing(store: Store) -> None:
    for sequence in (1, 2, 3):
        put(store, sequence)
        store.writer.catch_up()
    assert of_doctor(store) == []
    folder = Path(store.reader.log("predict").folder)
    data = sorted(folder.glob("*.parquet"))[0]
    content = data.read_bytes()
    data.write_bytes(content[:-1])
    assert of_doctor(store) == ["damaged_log"]
    data.write_bytes(content)
    (folder / "_delta_log" / f"{2:020d}.json").unlink()
    again = Store(store.place, "test")
    (found,) = problems(again.caught_up())
    assert (found.kind, found.subject) == ("damaged_log", "predict")
    assert "newest commits are gone" in found.message
    again.close()


def test_a_log_that_was_removed_and_begun_anew_is_counted_anew(store: Store) -> None:
    for sequence in range(1, 6):
        put(store, sequence)
        store.writer.catch_up()
    shutil.rmtree(store.reader.log("predict").folder)
    again = Store(store.place, "test")
    put(again, 6)
    assert again.metric("predict", "rows").value.value == 1.0
    put(again, 7)
    assert again.metric("predict", "rows").value.value == 2.0
    again.close()


def test_what_the_logs_hold_is_found_again_when_the_state_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", "test")
    Sender(store).task(config.make_task("t", prediction="predict.x", label="x" * 300 + ".x", slices=["x"]))
    put(store, 1)
    put(store, 2, "x" * 300)
    before = store.metric("t", "predictions").value
    store.close()
    for file in (tmp_path / "store").glob("state.db*"):
        file.unlink()
    store = Store(tmp_path / "store", "test")
    assert store.metric("t", "predictions").value == before
    assert store.metric("x" * 300, "rows").value.value == 1.0
    assert store.metric("predict", "rows", by="x")[0].value.value == 1.0
    store.close()


# types --------------------------------------------------------------------------------------------------------------


def test_a_column_widens_with_its_first_fraction_and_keeps_one_history(session: Session) -> None:
    for i, score in enumerate([1, 0.7, 0.2]):
        ff.log("p", key=i, score=score)
        assert ff.metric("p", "rows").value.value == i + 1
    for i in range(3):
        ff.log("l", key=i, y=1)
    ff.task("t", prediction="p.score", label="l.y")
    recall = ff.metric("t", "recall").value
    assert recall.n == 3
    assert recall.value == pytest.approx(2 / 3)
    assert ff.metric("p.score", "mean").value.value == pytest.approx(1.9 / 3)
    assert session.store.reader.quarantine.entries() == []


def test_a_field_that_comes_later_in_a_dict_is_kept(session: Session) -> None:
    ff.log("p", key="1", pred="a", probs={"a": 0.6, "b": 0.4})
    assert ff.metric("p", "rows").value.value == 1.0
    ff.log("p", key="2", pred="c", probs={"a": 0.1, "b": 0.1, "c": 0.8})
    ff.log("l", key="1", y="a")
    ff.log("l", key="2", y="c")
    ff.task("m", kind="multiclass", prediction="p.pred", label="l.y", probabilities="p.probs")
    assert ff.metric("m", "log_loss").value.value == pytest.approx(0.366984588, abs=1e-6)
    ff.log("p", key="3", pred="a", probs={"a": 1})
    ff.log("l", key="3", y="a")
    assert ff.metric("m", "log_loss").value.value == pytest.approx(2 * 0.366984588 / 3, abs=1e-6)


# the host -----------------------------------------------------------------------------------------------------------


def run_python(code: str, *arguments: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=60, **more
    )


def rows_of(folder: Path, stream: str = "p") -> float:
    store = Store(folder, "test")
    found = store.metric(stream, "rows").value.value
    store.close()
    return found or 0.0


def test_a_process_that_only_logs_loads_no_engine(tmp_path: Path) -> None:
    code = (
        "import sys, time, fourfold as ff; ff.init(sys.argv[1], 'test')\n"
        "for i in range(200): ff.log(f's{i}', key=i, v=1.0); ff.flush()\n"
        "ff.log('frame', [{'id': 1, 'v': 2}], key='id'); ff.task('t', prediction='s1.v', label='s2.v')\n"
        "ff.objective('o', 'recall(t) >= 0.9', by=['s'])\n"
        "time.sleep(1.2)\n"
        "print([m for m in ('duckdb', 'deltalake', 'sqlalchemy', 'alembic', 'pandas') if m in sys.modules])"
    )
    assert run_python(code, tmp_path / "store").stdout == "[]\n"
    assert not (tmp_path / "store" / "log").exists()


def test_a_plain_loop_of_two_hundred_thousand_calls_keeps_each(tmp_path: Path) -> None:
    code = (
        "import sys, fourfold as ff; ff.init(sys.argv[1], 'test', wait=60.0)\n"
        "for i in range(250_000): ff.log('p', key=i, v=1.0)"
    )
    assert run_python(code, tmp_path / "store").returncode == 0
    assert rows_of(tmp_path / "store") == 250_000.0


def test_dropped_records_are_counted_in_the_store(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.sdk.buffer.LIMIT", 10)
    with session.sender.outbox.lock:
        for i in range(25):
            ff.log("p", key=i, v=1)
    assert ff.metric("p", "rows").value.value == 10.0
    with session.sender.outbox.lock:
        for i in range(15):
            ff.log("p", key=100 + i, v=1)
    assert ff.metric("p", "rows").value.value == 20.0
    assert session.store.reader.quarantine.entries() == []
    (total,) = session.store.reader.quarantine.dropped()
    assert (total.records, total.process, total.project) == (20, os.getpid(), "test")
    (problem,) = [p for p in problems(session.store.caught_up()) if p.kind == "dropped_records"]
    assert "20 records were dropped" in problem.message and "came faster" in problem.message
    assert "lost" in problem.advice


def test_what_befell_dropped_records_is_told_and_nothing_else(store: Store) -> None:
    why = "they were refused: it answers 422 Unprocessable Content: more columns than 10000"
    store.reader.quarantine.note_dropped("w", Dropped(store.project, "here", 7, 3, 1.0, why))
    store.reader.quarantine.note_dropped("older", Dropped(store.project, "here", 8, 5, 0.0))
    refused, older = (p.message for p in problems(store.caught_up()) if p.kind == "dropped_records")
    assert why in refused and "faster" not in refused
    assert "faster" in older, "an older fourfold did not say"


def test_the_highest_number_of_dropped_records_stays_in_whatever_order_messages_come(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    for records in (3, 90, 40):
        quarantine.note_dropped("w", Dropped("test", "here", 7, records, float(records)))
    quarantine.note_dropped("other", Dropped("test", "here", 8, 5, 1.0))
    assert [(total.process, total.records) for total in quarantine.dropped()] == [(7, 90), (8, 5)]


def test_an_older_fourfold_keeps_the_number_of_dropped_records_as_a_note() -> None:
    header = messages.dropped(Dropped("test", "here", 7, 90, 1.0), "process 7: 90 records were dropped")
    older = {name: value for name, value in header.items() if name != "dropped"}
    assert messages.decode(older) == messages.Rejected("test", "dropped", "process 7: 90 records were dropped")
    assert messages.decode(header) == Dropped("test", "here", 7, 90, 1.0)
    said = Dropped("test", "here", 7, 90, 1.0, "they were refused")
    assert messages.decode(messages.dropped(said, "process 7: …")) == said


def test_a_relative_store_stays_where_it_was_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ff.init(project="test")
    ff.log("p", key="1", v=1.0)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ff.log("p", key="2", v=1.0)
    assert ff.metric("p", "rows").value.value == 2.0
    assert list((tmp_path / "elsewhere").iterdir()) == []
    session.close()


def test_a_store_that_is_away_for_a_moment_costs_nothing(tmp_path: Path) -> None:
    session = ff.init(tmp_path / "store", "test")
    ff.log("p", key="before", v=1)
    ff.flush()
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("in the way")
    ff.log("p", key="meanwhile", v=1)
    ff.log("p", pa.table({"id": ["frame"], "v": [1]}), key="id")
    with pytest.raises(StoreError, match=r"cannot be written.*are kept"):
        ff.flush()
    time.sleep(1.2)
    assert session.sender.is_alive()
    (tmp_path / "store").unlink()
    (tmp_path / "away").rename(tmp_path / "store")
    assert ff.metric("p", "rows").value.value == 3.0
    session.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals of this kind")
def test_a_termination_sends_what_is_in_the_buffer(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal, fourfold as ff; ff.init(sys.argv[1], 'test')\n"
        "for i in range(100): ff.log('p', key=i, v=1.0)\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    assert run_python(code, tmp_path / "store").returncode == -signal.SIGTERM
    assert rows_of(tmp_path / "store") == 100.0


LOCKED = """
import hashlib, os, signal, sys, threading, time
import fourfold as ff
ff.init(sys.argv[1], "test")
lock = threading.Lock()
lock.acquire()
for i in range(100): ff.log("p", key=i, v=1.0)
print("ready", flush=True)
if sys.argv[2] == "lock":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # so that it reaches another thread, as it may
    threading.Timer(0.1, lambda: None).start()
    lock.acquire()
else:
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)  # native code that returns to Python much later
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals of this kind")
@pytest.mark.parametrize("busy", ["lock", "native code"])
def test_a_process_whose_main_thread_cannot_handle_a_termination_ends_all_the_same(tmp_path: Path, busy: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", LOCKED, tmp_path / "store", busy], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait(timeout=10) == -signal.SIGTERM
    process.stdout.close()
    assert rows_of(tmp_path / "store") == 100.0


def test_a_daemon_that_closes_all_descriptors_keeps_its_own_ones(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time, fourfold as ff; ff.init(sys.argv[1], 'test')\n"
        "ff.log('p', key=1, v=1.0); ff.flush(); os.closerange(3, 1000)\n"
        "ends = [os.pipe() for _ in range(20)]\n"
        "for _, end in ends: os.write(end, bytes([signal.SIGTERM]))\n"
        "time.sleep(1.5)\n"
        "print(sum(os.read(end, 9) == bytes([signal.SIGTERM]) for end, _ in ends))"
    )
    done = run_python(code, tmp_path / "store")
    assert (done.stdout, done.returncode) == ("20\n", 0)


def test_a_termination_within_a_flush_loses_nothing_of_the_buffer(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal, time, fourfold as ff; s = ff.init(sys.argv[1], 'test')\n"
        "put = s.sender.outbox.inbox.put\n"
        "def interrupted(*args):\n"
        "    s.sender.outbox.inbox.put = put\n"
        "    ff.log('p', key='meanwhile', v=1.0); os.kill(os.getpid(), signal.SIGTERM); return put(*args)\n"
        "s.sender.outbox.inbox.put = interrupted\n"
        "for i in range(100): ff.log('p', key=i, v=1.0)\n"
        "ff.flush(); time.sleep(30)"
    )
    assert run_python(code, tmp_path / "store").returncode == -signal.SIGTERM
    assert rows_of(tmp_path / "store") == 101.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals of this kind")
@pytest.mark.parametrize("busy", ["import pandas", "ff.metric('p', 'rows')", "ff.log('f', [{'id': 1}], key='id')"])
def test_a_termination_while_a_module_is_half_imported_sends_all_and_ends(tmp_path: Path, busy: str) -> None:
    code = (
        "import sys, time, fourfold as ff; ff.init(sys.argv[1], 'test')\n"
        f"ff.log('p', key=1, v=1.0); print('ready', flush=True); {busy}; time.sleep(30)"
    )
    for i in range(max(KILLS // 10, 2)):
        folder = tmp_path / str(i)
        process = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.05 * (i % 5))
        process.terminate()
        assert process.wait(timeout=10) == -signal.SIGTERM
        process.stdout.close()
        assert rows_of(folder) == 1.0


FORKED_IN_A_THREAD = """
import os, signal, sys, threading, time
import fourfold as ff
ff.init(sys.argv[1], "test")
signal.signal(signal.SIGUSR1, lambda *_: None)
def child():
    if (process := os.fork()) == 0:
        files = [open(f"{sys.argv[1]}.{i}", "w") for i in range(8)]
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.2)
        for file in files: file.close()
        os._exit(sum(os.path.getsize(file.name) for file in files))
    print(os.waitpid(process, 0)[1])
thread = threading.Thread(target=child)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_signals_of_a_child_that_a_thread_forked_are_written_nowhere(tmp_path: Path) -> None:
    done = run_python(FORKED_IN_A_THREAD, tmp_path / "store")
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_in_which_fourfold_is_set_up_sends_what_it_logged(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    for i in range(3):
        child = context.Process(target=log_in_child, args=(tmp_path / "store", i))  # type: ignore[attr-defined]
        child.start()
        child.join()
        assert child.exitcode == 0
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(log_in_child, [tmp_path / "store"] * 7, range(3, 10)))
    assert rows_of(tmp_path / "store") == 10.0


@pytest.mark.parametrize("method", ["spawn", *(["fork"] if hasattr(os, "fork") else [])])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_pool_that_is_left_sends_what_its_workers_logged(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOURFOLD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FOURFOLD_PROJECT", "test")
    session = ff.init()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert len(pool.map(log_one, range(200))) == 200
    assert ff.metric("p", "rows").value.value == 200.0
    session.close()


TERMINATED = """
import os, signal, sys, time
import fourfold as ff
ff.init(sys.argv[1], "test")
for _ in range(30):
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(7)
    os.kill(child, signal.SIGTERM)
    ended = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGTERM, ended
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_is_ended_in_its_first_moment_ends(tmp_path: Path) -> None:
    """Python forgets a signal that comes before a child's first bytecode; a pool that is left would wait for ever."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TERMINATED, str(tmp_path / "store")], capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


CLOSED = """
import os, signal, sys, time
import fourfold as ff
ff.init("http://127.0.0.1:9", "test")
ff.log("p", key="a", v=1.0)
time.sleep(0.3)
os.closerange(3, 1_000)
child = os.fork()
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_that_has_closed_all_descriptors_and_forks_can_be_ended(tmp_path: Path) -> None:
    environment = {**os.environ, "FOURFOLD_SPOOL": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", CLOSED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == -signal.SIGTERM, done.stderr


ENDING = """
import os, sys, threading, time
import fourfold as ff
ff.init(sys.argv[1], "test")
what, after = sys.argv[2], float(sys.argv[3])
until = time.monotonic() + after
def log():
    i = 0
    while time.monotonic() < until:
        ff.log("p", key=f"{os.getpid()}-{i}", v=1.0)
        if i % 50 == 0: ff.flush()
        i += 1
        time.sleep(0.0005)
if what == "ask":
    threading.Thread(target=log, daemon=True).start()
    while time.monotonic() < until: ff.metric("p", "rows")
elif what == "run":
    with ff.run("train"): log()
elif what == "count in the background":
    import numpy as np, pandas as pd
    n, random = 100_000, np.random.default_rng(0)
    frame = {f"x{i}": random.normal(size=n) for i in range(6)}
    ff.log("big", pd.DataFrame({"id": np.arange(n), **frame}), key="id")
    ff.log("truth", pd.DataFrame({"id": np.arange(n), "y": random.integers(0, 2, n)}), key="id")
    ff.task("t", prediction="big.x0", label="truth.y", slices=[{"column": "x1", "buckets": 8}])
    ff.metric("big", "rows", patience=0)
    time.sleep(after)
else:
    log()
if what == "exit in a thread":
    thread = threading.Thread(target=sys.exit); thread.start(); thread.join()
elif what == "exception": raise SystemExit(0)
elif what == "_exit": os._exit(0)
print(time.time(), flush=True)
"""


ENDS_OF = ("plain", "ask", "run", "exit in a thread", "exception", "_exit", "count in the background")


def test_ends_at_random_moments_are_no_crash_and_come_at_once(tmp_path: Path) -> None:
    chance = random.Random(1)
    for i in range(max(KILLS // 2, len(ENDS_OF))):
        what = ENDS_OF[i % len(ENDS_OF)]
        done = run_python(ENDING, tmp_path / "store", what, chance.uniform(0.0, 0.8))
        ended = time.time()
        assert (done.returncode, done.stderr) == (0, ""), what
        if done.stdout:
            assert ended - float(done.stdout) < 2.0 + 1.0, what


BUSY = """
import os, sys, time
import fourfold as ff
ff.init(sys.argv[1], "test")
until, i = time.monotonic() + float(sys.argv[3]), 0
out = os.open(f"{sys.argv[1]}.{sys.argv[2]}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while time.monotonic() < until:
    for _ in range(10):
        ff.log("p", key=f"{sys.argv[2]}-{i}", v=1.0)
        i += 1
    ff.flush()
    os.write(out, f"{i}\\n".encode())
"""
ASKING = """
import sys, time
import fourfold as ff
ff.init(sys.argv[1], "test")
while True: ff.metric("p", "rows")
"""


def test_what_is_logged_in_small_flushes_beside_those_who_ask_and_are_killed_is_kept_once(tmp_path: Path) -> None:
    folder, chance = tmp_path / "store", random.Random(2)
    writers = [subprocess.Popen([sys.executable, "-c", BUSY, folder, str(n), str(SECONDS)]) for n in range(4)]

    def asker() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", ASKING, folder], stderr=subprocess.DEVNULL)

    askers = [asker(), asker()]
    while any(writer.poll() is None for writer in writers):
        time.sleep(chance.uniform(0.3, 1.5))
        victim = chance.randrange(2)
        askers[victim].kill()
        askers[victim].wait()
        askers[victim] = asker()
    for process in askers:
        process.kill()
        process.wait()
    assert [writer.returncode for writer in writers] == [0] * 4
    promised = {
        f"{n}-{i}" for n in range(4) for i in range(int(Path(f"{folder}.{n}").read_text().split()[-1]))
    }  # fmt: skip
    store = Store(folder, "test")
    assert store.metric("p", "rows").value.value == len(promised)
    keys = logged(store, "p")
    assert len(keys) == len(promised)
    assert set(keys) == promised
    assert store.reader.quarantine.entries() == []
    store.close()
