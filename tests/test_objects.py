"""A store on object storage that fails in every way that a network and a service can: what was acknowledged is there
once, and the counts are those of the same records in a folder.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fourfold as ff
from fourfold.log import BucketError
from fourfold.model import Place
from fourfold.model.records import KEY
from fourfold.query.metric import metric
from fourfold.store import Store
from tests import objects, workers
from tests.faultproxy import FAULTS, Plan
from tests.killed import KILLS
from tests.objects import Proxy
from tests.services import place
from tests.support import START, Sender

pytestmark = pytest.mark.services

EACH = os.environ.get("FOURFOLD_FAULTS") == "each"  # each fault alone, too, which takes minutes
WRITERS, BATCHES = ("a", "b"), 3
_ONE: dict[str, dict[str, Any]] = {fault: {fault: 0.6 if "listing" in fault else 0.2} for fault in FAULTS}
PLANS = {name: Plan(**chosen, seed=7, later=1.0) for name, chosen in _ONE.items()}
_ALL: dict[str, Any] = dict.fromkeys(FAULTS, 0.03)
PLANS["all"] = Plan(**_ALL, seed=7, later=1.0)
METRICS = ("predictions", "true_positives", "false_positives", "true_negatives", "false_negatives", "coverage")


class Life:
    """A store in a bucket, with processes that log when they are told to, and one that counts all the time."""

    def __init__(self, folder: Path) -> None:
        self.batches, self._folder, self._told = 0, folder, folder / "told"
        self.at = Place(objects.fresh(), place(folder / "store").state or str(folder / "state"))
        self._counting = _started("count_until_told", self.at, str(self._told))
        self._writing = [_started("write_when_told", self.at, name) for name in WRITERS]
        assert [_line(process) for process in (self._counting, *self._writing)] == ["ready"] * (1 + len(WRITERS))

    def go_on(self) -> None:
        """Each writer logs some batches, which are all acknowledged."""
        self.batches += BATCHES
        for writer in self._writing:
            assert writer.stdin is not None
            writer.stdin.write(f"{BATCHES}\n")
            writer.stdin.flush()
        assert [_line(writer) for writer in self._writing] == [str(self.batches)] * len(WRITERS)
        assert self._counting.poll() is None, "the process that counts has ended"

    def in_a_folder(self) -> dict[str, Any]:
        """What is counted of the same records, logged into a folder."""
        session = ff.init(self._folder / f"same{self.batches}", "test")
        workers.declare()
        for batch in range(self.batches):
            for writer in WRITERS:
                workers.log(writer, batch)
        ff.flush()
        found = answers(session.store)
        session.close()
        return found

    def end(self) -> None:
        """End all processes as they would end themselves."""
        self._told.touch()
        said = [process.communicate(timeout=60) for process in (*self._writing, self._counting)]
        assert [process.returncode for process in (*self._writing, self._counting)] == [0] * (len(WRITERS) + 1)
        assert [error for _, error in said] == [""] * len(said)


def _started(what: str, at: Place, *arguments: str) -> subprocess.Popen[str]:
    code = f"import sys, logging; logging.disable(); sys.path.insert(0, {str(Path(__file__).parent.parent)!r}); "
    return subprocess.Popen(
        [sys.executable, "-c", f"{code}from tests.workers import {what}; {what}()", at.store, at.state, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if said := process.stdout.readline().strip():
        return said
    return process.communicate()[1]


def answers(store: Store) -> dict[str, Any]:
    """What is counted: all of the task by day and side, and how many records the streams have."""
    store.writer.catch_up()
    rows = store.metric("late", METRICS, by="side", every="1d")
    found: dict[str, Any] = {f"{row.metric} {row.window.start} {row.slice}": row.value.value for row in rows}
    for stream in ("predict", "arrivals"):
        for name in ("rows", "duplicate_keys"):
            found[f"{name} {stream}"] = store.metric(stream, name).value.value
    return found


def logged(store: Store, stream: str) -> list[str]:
    """The keys in a stream's log, each as often as it is there."""
    found: list[str] = store.writer.logs.get("test", stream).whole().records(None, [KEY])[KEY].to_pylist()
    return sorted(found)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("life")
        for name, value in objects.environment(objects.server()).items():
            patch.setenv(name, value)
        patch.setenv("FOURFOLD_SPOOL", str(folder / "spool"))
        begun = Life(folder)
        session = ff.init(begun.at.store, "test", state=begun.at.state)
        workers.declare()
        session.close()
        yield begun
        begun.end()


@pytest.mark.parametrize("fault", PLANS if EACH else ["all"])
def test_what_was_acknowledged_is_counted_once_whatever_fails(proxy: Proxy, life: Life, fault: str) -> None:
    with proxy.counting() as passed, proxy.faults(PLANS[fault]):
        life.go_on()
        store = Store(life.at, "test")
        for _ in range(3):
            workers.count(store)
    assert passed().faults[fault] or fault == "all", "it did fail"
    assert answers(store) == life.in_a_folder()
    keys = sorted(f"{w}-{b}-{n}" for w in WRITERS for b in range(life.batches) for n in range(workers.RECORDS))
    assert logged(store, "predict") == keys
    assert store.writer.waiting() == []
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_at_random_while_all_fails_nothing_acknowledged_is_lost_or_counted_twice(
    proxy: Proxy, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL", str(tmp_path / "spool"))
    at, notes = Place(bucket, place(tmp_path / "store").state or str(tmp_path / "state")), tmp_path / "done"
    notes.touch()
    session = ff.init(at.store, "test", state=at.state)
    workers.declare()
    ff.flush()
    session.close()
    parent = _started("fork_when_told", at, str(notes))
    assert _line(parent) == "ready"
    chance = random.Random(1)

    def child(name: str) -> int:
        assert parent.stdin is not None
        parent.stdin.write(f"{name}\n")
        parent.stdin.flush()
        return int(_line(parent))

    def done() -> dict[str, list[str]]:
        """What each child has done."""
        found: dict[str, list[str]] = {}
        for line in notes.read_text().split():
            found.setdefault(line.partition("-")[0], []).append(line)
        return found

    alive = {name: child(name) for name in ("w0", "w1", "c2")}
    killed: Counter[str] = Counter()
    with proxy.faults(PLANS["all"]):
        for kill in range(KILLS):
            victim = chance.choice([*alive])
            if chance.random() < 0.5:  # early, or only when it has got something done, however slow the machine is
                _wait(lambda victim=victim: victim in done(), f"{victim} does nothing")  # type: ignore[misc]
            time.sleep(chance.uniform(0.1, 1.0))
            os.kill(alive.pop(victim), signal.SIGKILL)
            killed[victim[0]] += 1
            successor = f"{victim[0]}{kill + 3}"
            alive[successor] = child(successor)
        for number in alive.values():
            os.kill(number, signal.SIGKILL)
    assert parent.communicate()[1] == ""

    session = ff.init(at.store, "test", state=at.state)
    store, spool = session.store, tmp_path / "spool"
    by_the_killed = metric(store.reader, "predict", "rows").value.value or 0.0
    _wait(lambda: not [*spool.rglob("[!.]*.arrow")], "what the dead have left is not sent by the next one")
    store.writer.catch_up()
    found = logged(store, "predict")
    batches = [line for name, lines in done().items() if name.startswith("w") for line in lines]
    promised = {f"{batch}-{n}" for batch in batches for n in range(workers.RECORDS)}
    lost, twice = promised - set(found), len(found) - len(set(found))
    print(
        f"{killed['w']} kills of those who log, {killed['c']} of who counts: {len(promised)} records acknowledged, "
        f"{len(lost)} lost, {twice} twice; the killed had counted {by_the_killed:.0f} of {len(found)}"
    )
    assert (lost, twice) == (set(), 0)
    assert by_the_killed > 0, "who counts got something done"
    assert store.metric("predict", "rows").value.value == len(found)
    assert store.metric("predict", "duplicate_keys").value.value == 0.0
    assert store.metric("late", "predictions").value.value == len(found)
    session.close()


def _wait(is_so: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until, otherwise
        time.sleep(0.05)


@pytest.mark.parametrize("what", ["the same", "another"])
def test_who_had_a_log_open_goes_on_where_others_have_erased_something(bucket: str, tmp_path: Path, what: str) -> None:
    at = Place(bucket, place(tmp_path / "store").state or str(tmp_path / "state"))
    first, second = Store(at, "test"), Store(at, "test")
    sender = Sender(first)

    def send(stream: str, *keys: str) -> None:
        sender.records(stream, [{"key": key, "time": START, "log_time": START, "score": 0.5} for key in keys])

    for stream in ("predict", "other"):
        send(stream, "a", "b")
        send(stream, "c")
    assert second.metric("other", "rows").value.value == 3
    assert second.metric("predict", "rows").value.value == 3
    for key in ("a", "b"):  # each begins every log anew
        first.writer.forget_keys([key], ["predict"] if what == "the same" else ["predict", "other"])
    log = second.reader.log("predict").whole()  # without a question to the counts
    assert log.records(None, [KEY])[KEY].to_pylist() == ["c"]
    send("predict", "d")
    send("other", "d")
    second.caught_up()
    for store in (second, first, Store(at, "test")):
        assert logged(store, "predict") == ["c", "d"]
        assert store.metric("predict", "rows").value.value == 2
        assert store.metric("other", "rows").value.value == len(logged(store, "other"))
        store.close()


def test_a_listing_without_the_newest_commits_makes_nothing_count_anew(
    proxy: Proxy, bucket: str, tmp_path: Path
) -> None:
    at = Place(bucket, place(tmp_path / "store").state or str(tmp_path / "state"))
    first = Store(at, "test")
    sender = Sender(first)
    for number in range(6):
        sender.records(
            "predict", [{"key": f"k{number}", "time": START, "log_time": START, "score": 0.5}]
        )  # fmt: skip
        first.writer.catch_up()
    counted = first.reader.log("predict").version or 0
    second = Store(at, "test")
    with proxy.faults(Plan(short_listing=1.0, paths="_delta_log")):
        with pytest.raises(BucketError, match="not listed yet"):
            second.reader.log("predict").newest(counted)
        second.writer.catch_up()
        assert second.metric("predict", "rows").value.value == 6
    assert second.reader.log("predict").newest(counted) == counted
    second.close()
    first.close()
