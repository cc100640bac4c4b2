"""A stream of ten columns, folded by Spark on one core and on two, beside DuckDB: ``python -m bench.spark [ROWS …]``.

Each fold runs in a process of its own, from the same files, after one of a hundredth of the records that starts the
workers. DuckDB gets one thread. Rows default to 10, 30 and 100 million; the files take 65 bytes a row.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Report
from fourfold.engine import make_engine
from fourfold.fold import KeptSlices, Plan
from fourfold.log import Changes
from fourfold.model import ALL, DAY
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW, RUN

ROWS = (10_000_000, 30_000_000, 100_000_000)
FILE_ROWS = 1_000_000
_START = 1_700_000_000 // DAY * DAY
_ENGINES = {
    "DuckDB, one core": ("duckdb", ""),
    "Spark, one core": ("spark", "local[1]"),
    "Spark, two cores": ("spark", "local[2]"),
}


def main(sizes: list[int]) -> None:
    """Print the table."""
    lines, seconds = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            for i in range(len(list(Path(folder).iterdir())), -(-rows // FILE_ROWS)):
                _write(Path(folder) / f"{i:06d}.parquet", i, min(FILE_ROWS, rows))
            for name, (engine, master) in _ENGINES.items():
                found = _apart(folder, rows, engine, master)
                seconds[rows, name] = found["seconds"]
                rate = f"{rows / found['seconds'] / 1e6:.2f}"
                lines.append([f"{rows:,}", name, f"{found['seconds']:.1f} s", rate, f"{found['memory']:,} MB"])
                print(*lines[-1], flush=True)
        one, two, local = (
            seconds[sizes[-1], name] for name in ("Spark, one core", "Spark, two cores", "DuckDB, one core")
        )
    report = Report()
    report.table(
        "Spark: a stream of ten columns",
        ["rows", "engine", "wall time", "million rows a second", "memory of the driver's Python"],
        lines,
        f"Two cores are {one / two:.2f} times as fast as one; one core of Spark does {local / one:.2f} of what DuckDB "
        "does with one. The driver's memory is that of its Python process; the executors' are Spark's to set.",
    )


def _apart(folder: str, rows: int, engine: str, master: str) -> dict[str, float]:
    """One fold in a new process."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.spark", "--fold", folder, str(rows), engine, master]
    last = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    found: dict[str, float] = json.loads(last)
    return found


def _fold(folder: str, rows: int, engine: str, master: str) -> None:
    """Fold so many records, and print how long it took and what memory."""
    files = [str(path) for path in sorted(Path(folder).iterdir())][: -(-rows // FILE_ROWS)]
    schema = pq.read_schema(files[0])
    if engine == "spark":
        import os

        os.environ["FOURFOLD_SPARK_MASTER"] = master
    else:
        from fourfold.engine.duckdb.connection import one_thread

        one_thread()
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
    chosen = make_engine(engine)
    plan = chosen.fold_stream(Changes(0, schema, added=tuple(files[:1])), {ALL: KeptSlices()}, Plan()).plan
    began = time.perf_counter()
    folded = chosen.fold_stream(Changes(0, schema, added=tuple(files)), {ALL: KeptSlices()}, plan)
    took = time.perf_counter() - began
    assert folded.counts.num_rows
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": took, "memory": memory}))


def _write(path: Path, number: int, rows: int) -> None:
    """A file of records: five measurements, two whole numbers, two categories and a truth, in order of time."""
    random = np.random.default_rng(number)
    at = np.arange(rows) + number * FILE_ROWS
    micros = pa.array((_START + at // 30) * 1_000_000, META.field(EVENT_TIME).type)
    columns = {f"x{i}": pa.array(random.normal(i, 1 + i, rows)) for i in range(5)}
    columns |= {f"n{i}": pa.array(random.poisson(3 + 300 * i, rows)) for i in range(2)}
    for name, values in (("carrier", 16), ("origin", 100)):
        columns[name] = pa.array([f"{name}-{i}" for i in range(values)]).take(
            pa.array(random.integers(0, values, rows))
        )
    columns["late"] = pa.array(random.random(rows) < 0.2)
    meta = {
        KEY: pa.array(np.char.add("key-", at.astype(str))), EVENT_TIME: micros, LOG_TIME: micros,
        RUN: pa.nulls(rows, pa.string()), BATCH: pa.array([f"writer-{number:012d}"] * rows),
        ROW: pa.array(np.arange(rows)),
    }  # fmt: skip
    pq.write_table(pa.table(columns | meta), path, compression="zstd", compression_level=1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fold"]:
        _fold(sys.argv[2], int(sys.argv[3]), *sys.argv[4:6])
    else:
        main([int(text.replace("_", "")) for text in sys.argv[1:]] or [*ROWS])
