"""Several processes and sudden deaths: nothing acknowledged is lost, nothing is counted twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pyarrow.dataset as pds
import pytest

from fourfold import config
from fourfold.ingest import writer
from fourfold.model import Place
from fourfold.store import Store
from tests.killed import KILLS
from tests.services import place
from tests.support import START, Sender

# A parent that has everything imported forks a child for each trial: it logs and folds until it is killed.
VICTIM = """
import os, sys, time
import fourfold as ff
import fourfold.store, fourfold.engine  # what a fold needs is loaded before the fork

store, acknowledged, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
for trial in range(kills):
    child = os.fork()
    if child == 0:
        ff.init(store, "test")
        ff.task("late", prediction="predict.score", label="arrivals.late", slices=["side"])
        out = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for i in range(1_000_000):
            key = f"{trial}-{i}"
            ff.log("predict", key=key, score=0.9, side="l", time=1_700_000_000)
            ff.log("arrivals", key=key, late=True, time=1_700_003_600)
            ff.flush()
            os.write(out, f"{key}\\n".encode())
            if i % 4 == trial % 4:
                ff.metric("late", "recall")
    print(child, flush=True)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_at_random_points_nothing_acknowledged_is_lost_or_counted_twice(tmp_path: Path) -> None:
    kill_at_random(place(tmp_path / "store"), KILLS)


def kill_at_random(at: Place, kills: int) -> None:
    """Kill processes that log and fold, and see that nothing acknowledged is lost, and nothing is counted twice."""
    acknowledged = Path(at.store).with_name("acknowledged")
    Store(at, "test").close()
    chance = random.Random(0)
    victim = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", VICTIM, at.store, acknowledged, str(kills)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "FOURFOLD_STATE": at.state},
    )  # fmt: skip
    assert victim.stdout is not None
    assert victim.stdout.readline() == "ready\n"
    for _ in range(kills):
        child = int(victim.stdout.readline())
        time.sleep(chance.uniform(0.02, 0.5))
        os.kill(child, signal.SIGKILL)
    assert victim.wait() == 0
    victim.stdout.close()

    promised = set(acknowledged.read_text().split())
    assert len(promised) >= kills, "the children got something done"
    store = Store(at, "test")
    store.writer.catch_up()
    found = {}
    for stream in ("predict", "arrivals"):
        changes = store.writer.logs.get("test", stream).whole()
        keys = pds.dataset(list(changes.added)).to_table(["_ff_key"])["_ff_key"].to_pylist()
        assert len(keys) == len(set(keys)), "no record is in the log twice"
        assert promised <= set(keys), "each that was acknowledged is there"
        found[stream] = len(keys)
        assert store.metric(stream, "rows").value.value == len(keys), "each is counted once"
        assert store.metric(stream, "duplicate_keys").value.value == 0.0
    assert store.metric("late", "predictions").value.value == found["predict"]
    assert store.metric("late", "true_positives").value.value == min(found.values())
    assert store.metric("predict", "rows", by="side")[0].value.value == found["predict"]


WRITER = """
import sys
import fourfold as ff
ff.init(sys.argv[1], "test")
for i in range(2_000):
    ff.log("predict", key=f"{sys.argv[2]}-{i}", score=(i % 100) / 100, side=sys.argv[2], time=1_700_000_000)
    ff.log("arrivals", key=f"{sys.argv[2]}-{i}", late=i % 2, time=1_700_003_600)
    if i % 100 == 0:
        ff.flush()
"""


def test_four_processes_log_into_one_store_while_a_fifth_reads(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, folder, str(n)], stderr=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    store = Store(place(folder), "test")
    Sender(store).task(config.make_task("late", prediction="predict.score", label="arrivals.late", slices=["side"]))
    seen = [0.0]
    while any(writer.poll() is None for writer in writers):
        store.writer.catch_up()
        if any(name == "predict" for name in store.reader.log_versions()):
            value = store.metric("predict", "rows").value.value
            seen.append(value or 0.0)
    said = [writer.communicate()[1] for writer in writers]
    assert ([writer.returncode for writer in writers], said) == ([0] * 4, [""] * 4)
    assert seen == sorted(seen), "what was counted stays counted"
    assert store.metric("predict", "rows").value.value == 8_000.0
    assert [row.value.value for row in store.metric("late", "predictions", by="side")] == [2_000.0] * 4
    assert store.metric("late", "accuracy").value.n == 8_000
    assert store.metric("late", "coverage").value.value == 1.0


def test_several_processes_that_read_at_once_fold_once(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = Store(place(folder), "test")
    sender = Sender(store)
    for i in range(50):
        sender.records("predict", [{"key": f"k{i}", "time": START, "log_time": START + i, "score": 0.5}])
    code = "import sys, fourfold as ff; ff.init(sys.argv[1], 'test'); print(ff.metric('predict', 'rows').value.value)"
    readers = [
        subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]  # fmt: skip
    assert [reader.communicate()[0].strip() for reader in readers] == ["50.0"] * 4


BOTH = """
import sys, time
import pyarrow as pa
import fourfold as ff
ff.init(sys.argv[1], "test")
for i in range(8):
    ids = [f"{sys.argv[2]}-{i}-{j}" for j in range(50)]
    ff.log("predict", pa.table({"id": ids, "score": [0.5] * 50}), key="id")
    ff.log("arrivals", pa.table({"id": ids, "late": [1] * 50}), key="id")
    if i % 4 == 0:
        ff.metric("late", "predictions")
    time.sleep(0.02)
"""


def test_processes_that_log_and_read_see_each_other_and_end_without_a_word(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = Store(place(folder), "test")
    Sender(store).task(config.make_task("late", prediction="predict.score", label="arrivals.late"))
    store.writer.catch_up()
    several = [
        subprocess.Popen([sys.executable, "-c", BOTH, folder, str(n)], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    seen = [0.0]
    while any(process.poll() is None for process in several):
        seen.append(store.metric("late", "predictions").value.value or 0.0)
    assert [process.communicate()[1] for process in several] == [""] * 3
    assert seen == sorted(seen), "what was counted stays counted"
    assert store.metric("late", "predictions").value.value == 3 * 8 * 50
    assert store.metric("late", "accuracy").value.n == 3 * 8 * 50


def test_who_waits_long_for_another_that_counts_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "TOLD_AFTER", 0.05)
    with closing(Store(str(tmp_path / "store"), "p")) as other, closing(Store(str(tmp_path / "store"), "p")) as store:
        Sender(store).records("s", [{"key": "a", "time": START, "log_time": START, "x": 1}])
        held, over = threading.Event(), threading.Event()

        def count() -> None:
            with other.writer.locked():
                held.set()
                over.wait()

        thread = threading.Thread(target=count)
        thread.start()
        held.wait()
        threading.Timer(0.5, over.set).start()
        assert store.metric("s", "rows")[0].value.value == 1
        thread.join()
    assert "another process has been counting" in caplog.text
