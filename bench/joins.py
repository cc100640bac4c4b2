"""Labels that arrive in one batch, against the predictions of the horizon: the fold beside the bare hash join."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Report, Timing, in_turn, milliseconds
from fourfold import config
from fourfold.engine import DuckDB
from fourfold.fold import KeptSlices, Plan
from fourfold.log import Changes
from fourfold.model import ALL, DAY, Task
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW, RUN

PREDICTIONS, LABELS, FILES = 10_000_000, 1_000_000, 10
_START = 1_700_000_000 // DAY * DAY


def run(report: Report, rounds: int = 3) -> None:
    """Ten million predictions of a month, of which one million get their label at once."""
    with tempfile.TemporaryDirectory() as folder:
        predictions, labels = _write(Path(folder))
        bare, one, two = (
            config.make_task("late", prediction="predict.score", label="labels.late", slices=slices)
            for slices in ([], ["carrier"], ["carrier", "origin"])
        )
        plan = _warm(bare, predictions, labels)

        def fold(task: Task) -> None:
            splits = {dimension: KeptSlices() for dimension in (ALL, *task.slices)}
            DuckDB().fold_task(task, {"predict": predictions, "labels": labels}, splits, plan)

        timings = in_turn(
            {
                "bare DuckDB hash join of the two tables, labels and scores read": lambda: _join(predictions, labels),
                "fold of the task": lambda: fold(bare),
                "fold of the task, and by carrier (16)": lambda: fold(one),
                "fold of the task, and by carrier (16) and by origin (16)": lambda: fold(two),
            },
            rounds,
        )
    base = next(iter(timings.values()))
    report.table(
        f"{LABELS:,} labels that arrive in one batch, {PREDICTIONS:,} predictions of the horizon",
        ["", "CPU time", "wall time", "CPU / bare join"],
        [_row(name, timing, base) for name, timing in timings.items()],
        "Both read the same Parquet files. The fold takes back that these predictions had no label and adds what they "
        "count with it; the bare join counts the joined rows and adds up their scores.",
    )


def _row(name: str, timing: Timing, base: Timing) -> list[str]:
    return [name, milliseconds(timing.cpu), milliseconds(timing.wall), f"{timing.cpu / base.cpu:.1f}"]


def _write(folder: Path) -> tuple[Changes, Changes]:
    """The two logs, the predictions in files of a million."""
    random = np.random.default_rng(0)
    files = []
    slices = {
        "carrier": np.array([f"C{i:02d}" for i in range(16)]),
        "origin": np.array([f"O{i:02d}" for i in range(16)]),
    }
    for i in range(FILES):
        at = np.arange(PREDICTIONS // FILES) + i * PREDICTIONS // FILES
        sliced = {name: random.choice(values, len(at)) for name, values in slices.items()}
        table = _table(at, random, {"score": random.random(len(at)), **sliced}, i)
        files.append(str(folder / f"predictions-{i}.parquet"))
        pq.write_table(table, files[-1], compression="zstd", compression_level=1)
    at = np.sort(random.choice(PREDICTIONS, LABELS, replace=False))
    labels = _table(at, random, {"late": random.integers(0, 2, LABELS)}, FILES, later=DAY)
    path = str(folder / "labels.parquet")
    pq.write_table(labels, path, compression="zstd", compression_level=1)
    return Changes(1, table.schema, before=tuple(files)), Changes(0, labels.schema, added=(path,))


def _table(
    at: np.ndarray, random: np.random.Generator, columns: dict[str, np.ndarray], batch: int, later: int = 0
) -> pa.Table:  # fmt: skip
    rows = len(at)
    micros = (_START + at * 30 * DAY // PREDICTIONS + later) * 1_000_000
    meta = {
        KEY: pa.array(np.char.add("key-", at.astype(str))), EVENT_TIME: pa.array(micros, META.field(EVENT_TIME).type),
        LOG_TIME: pa.array(micros, META.field(LOG_TIME).type), RUN: pa.nulls(rows, pa.string()),
        BATCH: pa.array([f"writer-{batch:012d}"] * rows), ROW: pa.array(np.arange(rows)),
    }  # fmt: skip
    return pa.table(columns | meta)


def _warm(task: Task, predictions: Changes, labels: Changes) -> Plan:
    """The plan as it is once the predictions have been counted."""
    logs = {"predict": Changes(0, predictions.schema, added=predictions.before[:1]), "labels": Changes(-1, META)}
    return DuckDB().fold_task(task, logs, {ALL: KeptSlices()}, Plan()).plan


def _join(predictions: Changes, labels: Changes) -> None:
    with duckdb.connect() as connection:
        sides = [f"read_parquet({list(log.before or log.added)!r})" for log in (predictions, labels)]
        connection.execute(
            f"SELECT count(*), sum(score), sum(late) FROM {sides[0]} p JOIN {sides[1]} l ON p.{KEY} = l.{KEY}"
        ).fetchall()
