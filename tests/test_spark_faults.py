"""A fold on a cluster that loses executors, repeats tasks or dies itself counts once; real processes are killed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fourfold import counts
from fourfold.engine import DuckDB
from fourfold.fold import KeptSlices, Plan
from fourfold.model import ALL, Owner
from fourfold.store import Store
from tests import sessions
from tests.sessions import in_full
from tests.support import START, Sender, close, comparable, stored

pytestmark = pytest.mark.services

ROWS = 40_000
_FOLD = """
    import os, pathlib, pickle, signal, subprocess, sys, threading, time
    from tests.sessions import local
    from fourfold.engine import make_engine
    from fourfold.fold import KeptSlices, Plan
    from fourfold.model import ALL
    from fourfold.store import Store

    def executors():
        listed = subprocess.run(["ps", "-wweo", "pid,ppid,args"], capture_output=True, text=True).stdout.splitlines()
        rows = [line.split(None, 2) for line in listed[1:]]
        ours = {str(os.getpid())}
        for _ in range(8):  # the descendants of this process
            ours |= {pid for pid, parent, _ in rows if parent in ours}
        return [int(pid) for pid, _, args in rows
                if pid in ours and args.split()[0].endswith("java") and "CoarseGrainedExecutorBackend" in args]

    store = Store(sys.argv[1], "test")
    log = store.reader.log("predict").whole()
    with local(sys.argv[2], **{"spark.speculation": "true", "spark.speculation.multiplier": "1.01",
               "spark.speculation.quantile": "0.1", "spark.speculation.minTaskRuntime": "10ms",
               "spark.sql.files.maxPartitionBytes": "200000", "spark.sql.files.openCostInBytes": "0"}) as session:
        engine, result = make_engine("spark"), []
        engine.fold_stream(log, {ALL: KeptSlices()}, Plan())  # the workers are there
        victim, *_ = executors()
        tracker = session.sparkContext.statusTracker()
        killed = 0
        while not killed:  # a fold may be over before its tasks are seen
            result.clear()
            fold = threading.Thread(target=lambda: result.append(engine.fold_stream(log, {ALL: KeptSlices()}, Plan())))
            fold.start()
            while fold.is_alive() and not killed:
                stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
                if any(stage and stage.numActiveTasks for stage in stages):
                    os.kill(victim, signal.SIGKILL)
                    killed += 1
                time.sleep(0.002)
            fold.join()
        pathlib.Path(sys.argv[3]).write_bytes(pickle.dumps((killed, result[0].counts.to_pylist())))
"""


def records(store: Store) -> None:
    random, sender = np.random.default_rng(3), Sender(store)
    for part in range(4):
        sender.records(
            "predict",
            [
                {"key": f"k{random.integers(0, ROWS)}", "time": START + i, "log_time": START + part * ROWS + i,
                 "score": float(random.random()), "side": str(random.choice(["a", "b"]))}
                for i in range(ROWS // 4)
            ]
        )  # fmt: skip
        store.writer.collect()


def run(script: str, *arguments: str, wait: bool = True) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_WORKER_DIR": str(Path(arguments[0]).parent / "workers"),
    }
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *arguments]
    told = Path(arguments[0]).parent / "told"
    with told.open("wb") as stderr:
        process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=stderr)
    if wait and process.wait() != 0:
        lines = told.read_text(errors="replace").splitlines()
        pytest.fail(
            "\n".join([f"exit {process.returncode}", *(line for line in lines if not line.startswith("\tat "))])
        )
    return process


def test_an_executor_that_is_killed_costs_no_count_and_adds_none(
    request: pytest.FixtureRequest, store: Store, tmp_path: Path
) -> None:
    in_full(request)
    sessions.needed()
    records(store)
    run(_FOLD, str(store.folder), "local-cluster[2,1,1024]", str(tmp_path / "found"))
    killed, rows = pickle.loads((tmp_path / "found").read_bytes())
    assert killed == 1
    log = store.reader.log("predict").whole()
    expected = DuckDB().fold_stream(log, {ALL: KeptSlices()}, Plan()).counts
    assert close(comparable(pa.Table.from_pylist(rows, schema=counts.SCHEMA)), comparable(expected), 1e-8)


_DRIVER = """
    import sys
    from fourfold.engine.spark import few
    from fourfold.model import Place
    from fourfold.store import Store

    few.RECORDS = 0
    store = Store(Place(sys.argv[1], engine="spark"), "test")
    while True:
        open(sys.argv[2], "w").close()
        store.writer.fold()
"""


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_a_driver_that_is_killed_counts_once(
    request: pytest.FixtureRequest, store: Store, tmp_path: Path, seconds: float
) -> None:
    in_full(request)
    sessions.needed()
    records(store)
    driver = run(_DRIVER, str(store.folder), str(tmp_path / "begun"), wait=False)
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    time.sleep(seconds)
    os.killpg(driver.pid, signal.SIGKILL)  # with its JVM
    driver.wait()
    store.writer.catch_up()
    (rows,) = [row for row in stored(store, Owner.of_stream("predict")).to_pylist() if row["kind"] == "stream"]
    assert rows["tallies"][0] == ROWS
