"""Logging to a bucket: the host never waits for it, and what it does not take now is kept on this machine's disk."""

from __future__ import annotations

import collections
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import fourfold as ff
from fourfold.log import Message, messages, new_writer, open_inbox, store_folder
from fourfold.model.records import KEY
from fourfold.sdk import Session, shipping
from fourfold.sdk.columns import Columns
from fourfold.sdk.spool import Spool, SpoolFullError, spool_folder
from tests import objects
from tests.objects import Plan, Proxy

pytestmark = pytest.mark.services

DOWN = Plan(drop_before=1.0)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
many_threads = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxy:
    found = objects.server()
    for name, value in objects.environment(found).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FOURFOLD_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(shipping, "SOONEST", 0.05)
    monkeypatch.setattr(shipping, "LATEST", 0.2)
    return found


@pytest.fixture
def address(proxy: Proxy) -> str:
    return objects.fresh()


@pytest.fixture
def session(address: str, tmp_path: Path) -> Iterator[Session]:
    started = ff.init(address, "test", state=str(tmp_path / "state"))
    yield started
    started.close()


def arrived(address: str) -> list[Message]:
    """The messages in a bucket."""
    inbox = open_inbox(store_folder(address) / "inbox")
    return [inbox.read(path) for path in inbox.pending()]


def keys(address: str) -> list[str]:
    """The keys of all records in a bucket, each as often as it is there."""
    of_records = (message for message in arrived(address) if message.header["kind"] == "records")
    return sorted(key for message in of_records for key in message.table[KEY].to_pylist())


def kept(address: str) -> list[Path]:
    """The messages in the spool, of all processes."""
    return sorted(spool_folder(address).glob("*/*.arrow"))


def frame(key: str, rows: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"id": [key] * rows, "score": [0.5] * rows})


def flush_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a flush wait for a bucket that is away no longer than a test should."""
    monkeypatch.setattr(shipping, "FLUSH_WITHIN", 0.5)
    monkeypatch.setattr(shipping, "AWAY_WITHIN", 0.5)


def test_what_was_flushed_is_in_the_bucket_and_nothing_of_it_in_the_spool(
    address: str, session: Session, proxy: Proxy
) -> None:
    with proxy.counting() as traffic:
        ff.task("late", prediction="predict.score", label="arrivals.late")
        ff.log("predict", key="a", score=0.5)
        ff.log("predict", frame("b"), key="id")
        ff.flush()
    assert set(traffic().requests) == {"PUT"}
    with ff.run("train") as run:
        run.input("x", frame("c", 50))
    ff.flush()
    assert keys(address) == ["a", "b"]
    assert {message.header["kind"] for message in arrived(address)} == {"task", "records", "runs", "counts"}
    assert kept(address) == []


def test_one_record_after_the_other_makes_no_request_for_each(address: str, session: Session, proxy: Proxy) -> None:
    with proxy.counting() as traffic:
        for i in range(1_000):
            ff.log("predict", key=i, score=0.5)
        ff.flush()
    assert traffic().requests["PUT"] <= 2
    assert len(keys(address)) == 1_000


@pytest.mark.parametrize(
    "away", [DOWN, Plan(refuse=1.0), Plan(refuse_after=1.0), Plan(delay=1.0, seconds=2.0)],
    ids=["down", "overloaded", "answers that say no", "hanging"],
)  # fmt: skip
def test_while_the_bucket_is_away_the_host_goes_on_and_all_arrives_when_it_is_back(
    away: Plan, address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flush_soon(monkeypatch)
    with proxy.faults(away):
        session = ff.init(address, "test")
        ff.task("late", prediction="predict.score", label="arrivals.late")
        ff.log("predict", key="a", score=0.5)
        ff.log("predict", frame("b"), key="id")
        with pytest.raises(ff.StoreError, match=r"messages are kept in .*spool.* and are sent as soon as it can be"):
            ff.flush()
        assert len(kept(address)) == 3
    monkeypatch.setattr(shipping, "FLUSH_WITHIN", 30.0)
    monkeypatch.setattr(shipping, "AWAY_WITHIN", 30.0)
    ff.log("predict", key="c", score=0.5)
    ff.flush()
    session.close()
    assert keys(address) == ["a", "b", "c"]
    assert kept(address) == []


def test_an_outage_is_told_of_once_and_so_is_its_end(
    address: str, session: Session, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with proxy.faults(DOWN), caplog.at_level(logging.WARNING, "fourfold"):
        ff.log("predict", frame("a"), key="id")
        for _ in range(3):
            monkeypatch.setattr(shipping, "AWAY_WITHIN", 0.3)
            monkeypatch.setattr(shipping, "FLUSH_WITHIN", 1.0)
            with pytest.raises(ff.StoreError):
                ff.flush()
    monkeypatch.setattr(shipping, "AWAY_WITHIN", 30.0)
    with caplog.at_level(logging.WARNING, "fourfold"):
        ff.flush()
    told = [record.message for record in caplog.records if address in record.message]
    assert ["is away" if "is away" in text else "is back" for text in told] == ["is away", "is back"]


def test_a_message_that_the_bucket_refuses_stops_no_other(
    address: str, session: Session, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "FLUSH_WITHIN", 3.0)
    monkeypatch.setattr(shipping, "AWAY_WITHIN", 3.0)
    with proxy.faults(Plan(refuse=1.0, paths=r"-0{11}1\.arrow")):
        for key in "abcdefgh":
            ff.log("predict", frame(key), key="id")
        with pytest.raises(ff.StoreError, match="1 message"):
            ff.flush()
        assert keys(address) == list("bcdefgh")


# room ---------------------------------------------------------------------------------------------------------------


def test_beyond_its_bytes_new_records_are_dropped_and_counted_and_declarations_are_not(
    address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush_soon(monkeypatch)
    monkeypatch.setenv("FOURFOLD_SPOOL_BYTES", "20_000")
    with proxy.faults(DOWN):
        session = ff.init(address, "test")
        for i in range(40):
            ff.log("predict", frame(f"{i:02d}", 10), key="id")
        ff.task("late", prediction="predict.score", label="arrivals.late")
        assert sum(path.stat().st_size for path in kept(address)) < 25_000
        dropped = session.sender.dropped
        assert 0 < dropped < 400
    monkeypatch.setattr(shipping, "AWAY_WITHIN", 30.0)
    monkeypatch.setattr(shipping, "FLUSH_WITHIN", 30.0)
    ff.flush()
    ff.flush()
    session.close()
    assert keys(address) == [f"{i:02d}" for i in range(40 - dropped // 10) for _ in range(10)], "the oldest are kept"
    headers = [message.header for message in arrived(address)]
    assert "task" in {header["kind"] for header in headers}
    (told,) = [header for header in headers if header.get("dropped")]
    assert told["dropped"]["records"] == dropped
    assert told["dropped"]["why"].startswith("they found the spool full (FOURFOLD_SPOOL_BYTES")


def test_where_there_is_no_room_a_message_may_wait_for_some(tmp_path: Path) -> None:
    header = messages.records("test", "predict", None, None)
    full = Spool(tmp_path, Columns(), limit=1)
    full.put("w", 1, header, frame_table())
    with pytest.raises(SpoolFullError):
        full.put("w", 2, header, frame_table())
    patient = Spool(tmp_path / "patient", Columns(), limit=1, wait=60.0)
    patient.put("w", 1, header, frame_table())

    def make_room() -> None:
        message = patient.take()
        assert message is not None
        patient.sent(message)

    thread = threading.Thread(target=make_room)
    thread.start()
    patient.put("w", 2, header, frame_table())
    thread.join()
    assert [path.name for path in tmp_path.glob("patient/w/*")] == ["w-000000000002.arrow"]


def frame_table() -> pa.Table:
    return pa.table({KEY: ["a"]})


# processes ----------------------------------------------------------------------------------------------------------

HOST = """
import os, sys, time, fourfold as ff
from fourfold.sdk import sender
sender.END_SHIPPING = 0.5
ff.init(sys.argv[1], "test")
ff.task("late", prediction="predict.score", label="arrivals.late")
ff.log("predict", {"id": ["a", "b"], "score": [0.5, 0.5]}, key="id")
ff.log("predict", [{"id": "c", "score": 0.5}], key="id")
session = ff.sdk.session.session()
session.sender.flush()
"""
ENDS = {
    "its end": ("", 0),
    "an error": ("raise SystemExit(7)", 7),
    "SIGTERM": ("os.kill(os.getpid(), 15); time.sleep(60)", -15),
    "SIGKILL": ("os.kill(os.getpid(), 9)", -9),
}


@forks
@pytest.mark.parametrize("end", ENDS)
def test_what_a_process_leaves_behind_is_sent_by_the_next(
    end: str, address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, status = ENDS[end]
    with proxy.faults(DOWN):
        ended = subprocess.run(
            [sys.executable, "-c", HOST + code, address], capture_output=True, text=True, check=False
        )
    assert ended.returncode == status, ended.stderr
    assert len(kept(address)) == 3
    assert keys(address) == []
    session = ff.init(address, "test")
    wait_for(lambda: not kept(address))
    session.close()
    assert keys(address) == ["a", "b", "c"]
    assert list(spool_folder(address).iterdir()) == [], "nothing is left of either"


def test_a_process_that_ends_sends_what_it_has(address: str, proxy: Proxy) -> None:
    patient = "import fourfold.sdk.sender as sender; sender.END_SHIPPING = 60.0\n"  # the test's server may be slow
    last = "ff.log('predict', key='d', score=0.5)"
    subprocess.run([sys.executable, "-c", patient + HOST + last, address], check=True)
    assert keys(address) == ["a", "b", "c", "d"]
    assert kept(address) == []


HANGS = """
import os, sys, time, fourfold as ff
ff.init(sys.argv[1], "test")
ff.log("predict", {"id": ["a"], "score": [0.5]}, key="id")
print("logged", flush=True)
time.sleep(1.0)  # a request is under way
"""


def test_a_request_under_way_neither_holds_nor_breaks_the_end_of_a_process(address: str, proxy: Proxy) -> None:
    with proxy.faults(Plan(delay=1.0, seconds=600.0)):
        ended = subprocess.run([sys.executable, "-c", HANGS, address], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "logged\n"), ended.stderr
    assert len(kept(address)) == 1


@forks
def test_what_a_living_process_holds_is_left_to_it(tmp_path: Path) -> None:
    living, other = Spool(tmp_path, Columns()), Spool(tmp_path, Columns())
    writer = new_writer()
    living.put(writer, 1, messages.records("test", "predict", None, None), frame_table())
    other.take_over()
    assert other.take() is None
    living.close()
    other.take_over()
    taken = other.take()
    assert taken is not None
    assert taken.path.stem == f"{writer}-000000000001"
    third = Spool(tmp_path, Columns())
    third.take_over()
    assert third.take() is None, "one alone takes it over"
    other.sent(taken)
    assert list(tmp_path.iterdir()) == []


def log_some(worker: int) -> None:
    for i in range(50):
        ff.log("predict", key=f"{worker}-{i}", score=0.5)
    ff.log("predict", frame(f"{worker}-frame"), key="id")
    ff.flush()


def log_spawned(address: str, worker: int) -> None:
    ff.init(address, "test")
    log_some(worker)


@forks
@many_threads
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_parents_and_children_each_send_their_own_once(way: str, address: str, session: Session) -> None:
    ff.log("predict", key="before", score=0.5)
    ff.log("predict", frame("frame before"), key="id")
    context: Any = multiprocessing.get_context(way)
    workers = [
        context.Process(target=log_some, args=(i,)) if way == "fork" else
        context.Process(target=log_spawned, args=(address, i))
        for i in range(3)
    ]  # fmt: skip
    for worker in workers:
        worker.start()
        ff.log("predict", frame(f"between {worker.name}"), key="id")
    for worker in workers:
        worker.join()
    ff.flush()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    expected = {f"{worker}-{i}" for worker in range(3) for i in [*range(50), "frame"]}
    expected |= {"before", "frame before", *(f"between {worker.name}" for worker in workers)}
    assert collections.Counter(keys(address)) == collections.Counter(expected)
    assert kept(address) == []


FORKS = """
import os, sys, time, fourfold as ff
ff.init(sys.argv[1], "test")
for i in range(8):
    ff.log("predict", {"id": [f"parent {i}"], "score": [0.5]}, key="id")
    if os.fork() == 0:
        ff.log("predict", key=f"child {i}", score=0.5)
        ff.flush()
        sys.exit(0)
assert [os.wait()[1] for _ in range(8)] == [0] * 8
ff.flush()
"""


@forks
def test_a_fork_while_requests_are_under_way_leaves_children_that_can_send_and_end(address: str, proxy: Proxy) -> None:
    with proxy.faults(Plan(delay=1.0, seconds=0.2)):
        subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, address], check=True, timeout=120)
    assert keys(address) == sorted(f"{who} {i}" for who in ("parent", "child") for i in range(8))


# settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["FOURFOLD_SPOOL_BYTES", "FOURFOLD_SEND_EVERY"])
@pytest.mark.parametrize("value", ["many", "0", "-1", "nan", "inf"])
def test_a_setting_that_is_no_positive_number_is_refused(
    variable: str, value: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ff.ConfigError, match=f"{variable}='{value}': give a positive number"):
        ff.init(address, "test")


def test_the_spool_is_where_it_may_be_written(tmp_path: Path) -> None:
    home, blocked = tmp_path / "home", tmp_path / "file"
    blocked.touch()
    found = spool_folder("s3://b/x", {"XDG_STATE_HOME": str(home)})
    assert found.parent == home / "fourfold" / "spool"
    assert found.stat().st_mode & 0o077 == 0, "nobody else reads it"
    assert spool_folder("s3://b/x", {"XDG_STATE_HOME": str(home)}) == found
    assert spool_folder("s3://b/y", {"XDG_STATE_HOME": str(home)}) != found
    elsewhere = {"XDG_STATE_HOME": str(home), "AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}
    assert spool_folder("s3://b/x", elsewhere) != found, "the same address leads to another store"
    temporary = spool_folder("s3://b/x", {"XDG_STATE_HOME": str(blocked)})
    assert temporary.is_dir()
    assert blocked not in temporary.parents
    with pytest.raises(ff.ConfigError, match="FOURFOLD_SPOOL="):
        spool_folder("s3://b/x", {"FOURFOLD_SPOOL": str(blocked)})


def test_a_store_in_a_folder_has_no_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL", str(tmp_path / "spool"))
    with_folder = ff.init(tmp_path / "store", "test")
    ff.log("predict", key="a", score=0.5)
    ff.flush()
    with_folder.close()
    assert not (tmp_path / "spool").exists()
    assert len(list((tmp_path / "store" / "inbox").glob("*.arrow"))) == 1


def wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not done() and time.monotonic() < until:
        time.sleep(0.02)
    assert done()
