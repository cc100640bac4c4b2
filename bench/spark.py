"""A stream of ten columns, folded by Spark on one core and on two, beside DuckDB: ``python -m bench.spark [ROWS …]``.

Each fold runs in a process of its own, that is kept to as many cores as it may use, with its JVM and its workers; from
the same files, after one of a million records that starts the workers. Rows default to 10, 30 and 100 million; the
files take 65 bytes a row, in the folder for temporary files. The first number is counted with repeated keys, too: one
key has 30 % of the records. ``python -m bench.spark --task [ROWS …]`` joins one and three million predictions with as
many labels instead, and the first number of both with repeated keys.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Report
from fourfold.config import make_task
from fourfold.engine import MASTER, Engine, Folded, make_engine
from fourfold.fold import KeptSlices, Plan
from fourfold.log import Changes
from fourfold.model import ALL, DAY
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW, RUN

ROWS = (10_000_000, 30_000_000, 100_000_000)
JOINED = (1_000_000, 3_000_000)
FILE_ROWS = 1_000_000
OFTEN = 0.3  # of the records, that have one key
_START = 1_700_000_000 // DAY * DAY
_DUCKDB, _ONE, _TWO = "DuckDB, one core", "Spark, one core", "Spark, two cores"
_ENGINES = {_DUCKDB: ("duckdb", 1), _ONE: ("spark", 1), _TWO: ("spark", 2)}
_STREAMS = ("predictions", "labels")
_KINDS = ("driver", "JVM", "worker")
_EVERY = 0.2  # seconds between two looks at the processes


def main(sizes: Sequence[int]) -> None:
    """Print the table."""
    lines, wall, cpu = [], {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for rows, often in [*((rows, 0.0) for rows in sizes), (sizes[0], OFTEN)]:
            files = Path(folder) / ("repeated" if often else "unique")
            _fill(files, rows, often)
            for name, (engine, cores) in _ENGINES.items():
                found = _apart(str(files), rows, engine, cores)
                wall[rows, often, name], cpu[rows, often, name] = found["seconds"], found["cpu"]
                memory = [f"{found[kind]:,.0f}" if kind in found else "" for kind in _KINDS]
                lines.append(
                    [f"{rows:,}" + ", a key with 30 %" * bool(often), name, f"{found['seconds']:.1f} s",
                     f"{rows / found['seconds'] / 1e6:.2f}", f"{found['cpu']:.1f} s", *memory]
                )  # fmt: skip
                print(*lines[-1], sep=" | ", flush=True)
    report = Report()
    report.table(
        "Spark: a stream of ten columns",
        ["rows", "engine", "wall time", "million rows a second", "CPU time", *(f"{kind}, MB" for kind in _KINDS)],
        lines,
        _said(sizes, wall, cpu),
    )


def _said(
    sizes: Sequence[int], wall: dict[tuple[int, float, str], float], cpu: dict[tuple[int, float, str], float]
) -> str:
    """What the figures come to."""
    said = []
    for rows, often in [*((rows, 0.0) for rows in sizes), (sizes[0], OFTEN)]:
        local, one, two = (wall[rows, often, name] for name in _ENGINES)
        used = cpu[rows, often, _DUCKDB] / cpu[rows, often, _ONE]
        said.append(
            f"{rows:,} rows{', a key with 30 % of them' * bool(often)}: one core of Spark does {local / one:.2f} of "
            f"what one of DuckDB does ({used:.2f} by CPU time); two cores are {one / two:.2f} times as fast as one."
        )
    for less, more in itertools.pairwise(sizes):
        local, one, two = (wall[more, 0.0, name] - wall[less, 0.0, name] for name in _ENGINES)
        spent = [cpu[more, 0.0, name] - cpu[less, 0.0, name] for name in _ENGINES]
        said.append(
            f"Between {less:,} and {more:,} rows, without what a fold costs in any case: {local / one:.2f} of DuckDB "
            f"({spent[0] / spent[1]:.2f} by CPU time), and {one / two:.2f} times with two cores."
        )
    said.append("Memory is the most of the largest process of each kind: the driver's Python, Spark's JVM, a worker.")
    return "\n".join(said)


def join(sizes: Sequence[int]) -> None:
    """Print the table of a task."""
    lines, said = [], []
    with tempfile.TemporaryDirectory() as folder:
        for rows, often in [*((rows, 0.0) for rows in sizes), (sizes[0], OFTEN)]:
            files = Path(folder) / ("repeated" if often else "unique")
            what = f"{rows:,}" + ", a key with 30 %" * bool(often)
            for stream in _STREAMS:
                _fill(files / stream, rows, often, late=stream == "labels")
            cpu = []
            for name, (engine, cores) in _ENGINES.items():
                found = _apart(str(files), rows, engine, cores, "--join")
                cpu.append(found["cpu"])
                memory = [f"{found[kind]:,.0f}" if kind in found else "" for kind in _KINDS]
                lines.append([what, name, f"{found['seconds']:.1f} s", f"{found['cpu']:.1f} s", *memory])
                print(*lines[-1], sep=" | ", flush=True)
            said.append(f"{what}: one core of Spark does {cpu[0] / cpu[1]:.2f} of what DuckDB does by CPU time.")
    report = Report()
    header = ["predictions, and as many labels", "engine", "wall time", "CPU time", *(f"{kind}, MB" for kind in _KINDS)]
    report.table("Spark: a task of sixteen classes", header, lines, "\n".join(said))


def _apart(folder: str, rows: int, engine: str, cores: int, what: str = "--fold") -> dict[str, float]:
    """One fold in a new process."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.spark", what, folder, str(rows), engine, str(cores)]
    last = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    found: dict[str, float] = json.loads(last)
    return found


def _fold(folder: str, rows: int, engine: str, cores: int) -> None:
    """Fold so many records, and print how long it took and what memory."""
    chosen, seen = _kept_to(engine, cores), Processes()
    plan = chosen.fold_stream(_log(Path(folder), FILE_ROWS), {ALL: KeptSlices()}, Plan()).plan
    _print(seen, lambda: chosen.fold_stream(_log(Path(folder), rows), {ALL: KeptSlices()}, plan))


def _join(folder: str, rows: int, engine: str, cores: int) -> None:
    """Join and count so many predictions and labels, and print the same."""
    chosen, seen = _kept_to(engine, cores), Processes()
    task = make_task("t", prediction="predictions.carrier", label="labels.carrier", kind="multiclass")

    def fold(rows: int, plan: Plan) -> Folded:
        logs = {stream: _log(Path(folder) / stream, rows) for stream in _STREAMS}
        return chosen.fold_task(task, logs, {ALL: KeptSlices()}, plan)

    plan = fold(FILE_ROWS, Plan()).plan
    _print(seen, lambda: fold(rows, plan))


def _log(folder: Path, rows: int) -> Changes:
    files = [str(path) for path in sorted(folder.iterdir())][: -(-rows // FILE_ROWS)]
    return Changes(0, pq.read_schema(files[0]), added=tuple(files))


def _kept_to(name: str, cores: int) -> Engine:
    """An engine that uses no more than so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    if name == "spark":
        os.environ[MASTER] = f"local[{cores}]"
    else:
        from fourfold.engine.duckdb.connection import one_thread

        one_thread()
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
    return make_engine(name)


def _print(seen: Processes, fold: Callable[[], Folded]) -> None:
    began, used = time.perf_counter(), seen.cpu()
    folded = fold()
    took, used = time.perf_counter() - began, seen.cpu() - used
    assert folded.counts.num_rows
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**seen.memory, "driver": own, "seconds": took, "cpu": used}))


class Processes:
    """This process and those that it started, as Linux tells of them; elsewhere only of this one."""

    def __init__(self) -> None:
        self.memory: dict[str, float] = {}  # the most of a process of each kind, in MB
        threading.Thread(target=self._look, daemon=True).start()

    def cpu(self) -> float:
        """The seconds of CPU time that they have used, with those that have ended."""
        if not Path("/proc/self/stat").exists():
            return time.process_time()
        ticks = os.sysconf("SC_CLK_TCK")
        return sum(sum(map(int, stat[11:15])) for _, stat in self._ours()) / ticks

    def _look(self) -> None:
        while True:
            for path, stat in self._ours():
                kind = "driver" if path.name == str(os.getpid()) else "JVM" if stat[-1] == "java" else "worker"
                try:
                    status = (path / "status").read_text()
                except OSError:
                    continue
                for line in status.splitlines():
                    if line.startswith("VmHWM"):
                        self.memory[kind] = max(self.memory.get(kind, 0.0), int(line.split()[1]) / 1024)
            time.sleep(_EVERY)

    def _ours(self) -> list[tuple[Path, list[str]]]:
        """The folder of each, and the fields of its ``stat`` from the third on, with its name at the end."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                before, _, after = (path / "stat").read_text().rpartition(")")
            except OSError:
                continue
            found[path.name] = (path, [*after.split(), before.partition("(")[2]])
        ours, size = {str(os.getpid())}, 0
        while size < len(ours):
            size = len(ours)
            ours |= {name for name, (_, stat) in found.items() if stat[1] in ours}
        return [found[name] for name in ours if name in found]


def _fill(folder: Path, rows: int, often: float, *, late: bool = False) -> None:
    """Write the files of so many records that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(list(folder.iterdir())), -(-rows // FILE_ROWS)):
        _write(folder / f"{i:06d}.parquet", i, min(FILE_ROWS, rows), often, late)


def _write(path: Path, number: int, rows: int, often: float, late: bool) -> None:
    """A file of records: five measurements, two whole numbers, two categories and a truth, in order of time.

    ``late``: each an hour later, and in any order.
    """
    random = np.random.default_rng([number, late])
    at = np.arange(rows) + number * FILE_ROWS
    if late:
        at = random.permutation(at)
    micros = pa.array((_START + at // 30 + 3_600 * late) * 1_000_000, META.field(EVENT_TIME).type)
    columns = {f"x{i}": pa.array(random.normal(i, 1 + i, rows)) for i in range(5)}
    columns |= {f"n{i}": pa.array(random.poisson(3 + 300 * i, rows)) for i in range(2)}
    for name, values in (("carrier", 16), ("origin", 100)):
        columns[name] = pa.array([f"{name}-{i}" for i in range(values)]).take(
            pa.array(random.integers(0, values, rows))
        )
    columns["late"] = pa.array(random.random(rows) < 0.2)
    keys = np.char.add("key-", at.astype(str))
    keys[random.random(rows) < often] = "often"
    meta = {
        KEY: pa.array(keys), EVENT_TIME: micros, LOG_TIME: micros,
        RUN: pa.nulls(rows, pa.string()), BATCH: pa.array([f"writer-{number:012d}"] * rows),
        ROW: pa.array(np.arange(rows)),
    }  # fmt: skip
    pq.write_table(pa.table(columns | meta), path, compression="zstd", compression_level=1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fold"]:
        _fold(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    elif sys.argv[1:2] == ["--join"]:
        _join(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    elif sys.argv[1:2] == ["--task"]:
        join([int(text.replace("_", "")) for text in sys.argv[2:]] or JOINED)
    else:
        main([int(text.replace("_", "")) for text in sys.argv[1:]] or ROWS)
