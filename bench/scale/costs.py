"""What a record costs on its way, measured: bytes, CPU time, files and rows of the state."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

import fourfold as ff
from fourfold.log.keys import _places
from fourfold.model import DAY, HOUR
from fourfold.sdk import Session

START = 1_735_689_600  # 2025-01-01
WIDTHS = (20, 100)  # columns, of which the cost of a column is the slope
LABELS = np.array([f"v{i}" for i in range(16)])


@dataclasses.dataclass(frozen=True)
class Line:
    """A cost that is a constant and a slope: ``at(n)`` is fixed + slope · n."""

    fixed: float
    slope: float

    def at(self, n: float) -> float:
        """The cost for so many."""
        return self.fixed + self.slope * n

    @classmethod
    def through(cls, xs: Sequence[float], ys: Sequence[float]) -> Line:
        """The line through measured points, by least squares; neither part is below zero."""
        slope, fixed = np.polyfit(xs, ys, 1)
        return cls(max(float(fixed), 0.0), max(float(slope), 0.0))


@dataclasses.dataclass(frozen=True)
class Costs:
    """CPU time in seconds and sizes in bytes; lines are over the number of columns, but where said otherwise."""

    send: Line  # a record, from a frame into the inbox
    inbox: Line  # its bytes there
    collect: Line  # from the inbox into the log
    log: Line  # its bytes there
    fold: Line  # counting it
    sliced: Line  # counting it by one dimension of 16 values as well
    label: float  # joining a label with its prediction and counting it
    scan: float  # reading a prediction for a join that reads all of them
    write: float  # adding to a row of the state: a column's counts in an hour or a day
    probe: Line  # looking for one key in one file's index, over the number of keys: seconds a file, and a key and file
    metadata: Line  # reading the list of a log's files, over their number
    state: Callable[[float], float]  # bytes of a row of the state: a column's counts in a bucket of so many records
    question: Line  # a metric by day, over the number of days

    def rows(self) -> list[list[str]]:
        """The table of what was measured."""

        def micro(line: Line) -> list[str]:
            return [f"{line.fixed * 1e6:,.2f} µs", f"{line.slope * 1e9:,.1f} ns"]

        def size(line: Line) -> list[str]:
            return [f"{line.fixed:,.0f} B", f"{line.slope:,.2f} B"]

        return [
            ["sending a record, of a frame", *micro(self.send)],
            ["its size in the inbox", *size(self.inbox)],
            ["taking it into the log", *micro(self.collect)],
            ["its size in the log", *size(self.log)],
            ["counting it", *micro(self.fold)],
            ["counting it by a dimension of 16 values, beyond", *micro(self.sliced)],
            ["joining a label with its prediction", f"{self.label * 1e6:,.2f} µs", ""],
            ["reading a prediction, where a join reads all", f"{self.scan * 1e6:,.2f} µs", ""],
            ["looking for keys in a data file's index, and a key more", *micro(self.probe)],
            ["reading a log's list of files, and a file more", *micro(self.metadata)],
            ["adding to a column's counts in an hour or a day", f"{self.write * 1e6:,.2f} µs", ""],
            ["their size, of 1,000 records", f"{self.state(1e3):,.0f} B", ""],
            ["their size, of 1,000,000 records", f"{self.state(1e6):,.0f} B", ""],
            ["a metric by day, and a day more", *micro(self.question)],
        ]


def frame(records: int, columns: int, at: int = 0, seconds: int = HOUR) -> pd.DataFrame:
    """Predictions: of the columns 60 % are continuous (with a float's precision), 20 % counts, 20 % categories."""
    random = np.random.default_rng([columns, at])
    made: dict[str, object] = {
        "id": [f"{at}-{i}" for i in range(records)],
        "at": pd.to_datetime(START + at + np.arange(records) * seconds // records, unit="s", utc=True),
        "score": random.random(records).round(6),
    }
    for i in range(columns):
        if i % 5 < 3:
            made[f"x{i}"] = random.normal(size=records).astype(np.float32)
        elif i % 5 == 3:
            made[f"n{i}"] = random.poisson(3, records)
        else:
            made[f"c{i}"] = LABELS[np.minimum(random.geometric(0.2, records) - 1, 15)]
    return pd.DataFrame(made)


def measured(records: int = 100_000) -> Costs:
    """All costs, each on stores made for it; a few minutes."""
    runs = {width: _way(records, width, sliced=False) for width in WIDTHS}
    sliced = {width: _way(records, width, sliced=True) for width in WIDTHS}
    lines = {name: Line.through(WIDTHS, [runs[w][name] / records for w in WIDTHS]) for name in runs[WIDTHS[0]]}
    beyond = [(sliced[w]["fold"] - runs[w]["fold"]) / records for w in WIDTHS]
    return Costs(
        **lines,
        sliced=Line.through(WIDTHS, [max(cost, 0.0) for cost in beyond]),
        label=_label(records),
        scan=_scan(records),
        write=_write(),
        probe=_probe(),
        metadata=_metadata(),
        state=_state(),
        question=_question(),
    )


@contextmanager
def _store() -> Iterator[tuple[Path, Session]]:
    folder = Path(tempfile.mkdtemp())
    session = ff.init(folder, "bench")
    try:
        yield folder, session
    finally:
        session.close()
        shutil.rmtree(folder, ignore_errors=True)


def _used(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def _way(records: int, columns: int, *, sliced: bool) -> dict[str, float]:
    """What records cost from a frame to counts; the first batch fixes the plan and is not measured."""
    with _store() as (folder, session):
        if sliced:
            ff.task("t", prediction="predict.score", label="labels.y", slices=["c4"])
        found: dict[str, float] = {}
        for round_ in range(2):
            data = frame(records, columns, round_ * HOUR)
            found["send"] = _used(lambda data=data: ff.log("predict", data, key="id", time="at"))  # type: ignore[misc]
            found["inbox"] = _size(folder / "inbox")
            before = _size(folder / "log", "*.parquet")
            found["collect"] = _used(session.store.writer.collect)
            found["log"] = _size(folder / "log", "*.parquet") - before
            found["fold"] = _used(session.store.writer.fold)
        return found


def _size(folder: Path, pattern: str = "*") -> float:
    return float(sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file()))


def _label(records: int) -> float:
    """A label that comes in a batch of many, beyond what it costs as a record of its stream."""
    costs = []
    for task in (False, True):
        with _store() as (_, session):
            if task:
                ff.task("t", prediction="predict.score", label="labels.y", horizon="60d")
            for hour in range(4):
                ff.log("predict", frame(records, 3, hour * HOUR), key="id", time="at")
            session.store.writer.fold()
            for hour in range(2):
                ids = frame(records, 3, hour * HOUR)[["id", "score"]]
                labels = ids.assign(
                    y=(ids.score > 0.5).astype(int), at=pd.Timestamp(START + 30 * DAY, unit="s", tz="UTC")
                )
                ff.log("labels", labels.drop(columns="score"), key="id", time="at")
                session.store.writer.collect()
                cost = _used(session.store.writer.fold)  # the first warms up
            costs.append(cost)
    return max(costs[1] - costs[0], 0.0) / records


def _scan(records: int) -> float:
    """What a prediction more costs a join that reads all of them, as the labels are too many to look them up."""
    costs, sizes, labels = [], (2 * records, 10 * records), 3 * records // 2
    for size in sizes:
        with _store() as (_, session):
            ff.task("t", prediction="predict.score", label="labels.y", horizon="60d")
            data = frame(size, 1)
            ff.log("predict", data, key="id", time="at")
            session.store.writer.fold()
            took = []
            for at in range(4):
                part = data[["id", "at"]].take(np.arange(labels) + at * records // 10).assign(y=at % 2)
                ff.log("labels", part, key="id", time="at")
                session.store.writer.collect()
                took.append(_used(session.store.writer.fold))
            costs.append(min(took[1:]))  # the first warms up
    return max(costs[1] - costs[0], 0.0) / (sizes[1] - sizes[0])


def _write(columns: int = 400) -> float:
    """What a fold of few records costs, of many columns: each has an hour and a day."""
    with _store() as (_, session):
        for hour in range(3):
            ff.log("predict", frame(20, columns, hour * HOUR, 60), key="id", time="at")
            session.store.writer.collect()
            cost = _used(session.store.writer.fold)
        return cost / (2 * columns)


def _probe(files: int = 60) -> Line:
    """Looking for keys that are in none of many data files, as those of labels are in nearly none."""
    with _store() as (_, session):
        session.store.writer.log("predict")
        for i in range(files):
            ff.log("predict", frame(20_000, 1, i * HOUR), key="id", time="at")
            session.store.writer.collect()
        paths = session.store.writer.log("predict").whole().added
        few, many = (pa.array([f"none-{i}" for i in range(n)]) for n in (1_000, 50_000))
        _places(paths, few)  # makes the indexes
        costs = [min(_used(lambda keys=keys: _places(paths, keys)) for _ in range(3)) for keys in (few, many)]  # type: ignore[misc]
        hashing = [min(_used(lambda keys=keys: _places(paths[:1], keys)) for _ in range(3)) for keys in (few, many)]  # type: ignore[misc]
        each = [(cost - one) / (len(paths) - 1) for cost, one in zip(costs, hashing, strict=True)]
        return Line.through((len(few), len(many)), each)


def _metadata() -> Line:
    """Reading the list of a table's files as a checkpoint has it; the files themselves need not be there."""
    numbers = (2_000, 20_000)
    costs = []
    schema = Schema.from_arrow(pa.schema([("key", pa.string()), ("at", pa.timestamp("us", "UTC"))]))
    for number in numbers:
        folder = Path(tempfile.mkdtemp())
        stats = json.dumps({"numRecords": 80_000, "minValues": {"key": "a" * 32}, "maxValues": {"key": "z" * 32}})
        actions = [AddAction(f"part-{i:08d}.parquet", 100 << 20, {}, 0, True, stats) for i in range(number)]
        create_table_with_add_actions(str(folder), schema, actions, mode="append", partition_by=[])
        DeltaTable(folder).create_checkpoint()
        costs.append(min(_used(lambda folder=folder: DeltaTable(folder).file_uris()) for _ in range(3)))  # type: ignore[misc]
        shutil.rmtree(folder)
    return Line.through(numbers, costs)


def _state() -> Callable[[float], float]:
    """The bytes of a row of the state, which is a column's counts in a bucket, over the records in it.

    Measured at several sizes, and between them read off in proportion to the logarithm: bins fill up, so that a row
    grows ever more slowly.
    """
    sizes, found = (100, 1_000, 10_000, 100_000, 1_000_000), []
    for records in sizes:
        with _store() as (folder, session):
            with ff.run("source") as run:
                run.output("rows", frame(records, 50, seconds=HOUR - 1), time="at")
            ff.flush()
            session.store.caught_up()
            session.store.close()
            with sqlite3.connect(folder / "state.db") as connection:
                pages = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'counts'").fetchone()[0]
                found.append(pages / connection.execute("SELECT count(*) FROM counts").fetchone()[0])
    return lambda n: float(np.interp(np.log(max(n, 1.0)), np.log(sizes), found))


def _question() -> Line:
    """A task's recall by day, over the number of days that it is asked for."""
    days = (30, 300)
    with _store() as (_, session):
        ff.task("t", prediction="predict.score", label="labels.y", horizon="1d")
        data = frame(days[-1] * 20, 1, seconds=days[-1] * DAY)
        ff.log("predict", data, key="id", time="at")
        ff.log("labels", data[["id", "at"]].assign(y=(data.score > 0.5).astype(int)), key="id", time="at")
        session.store.writer.fold()
        costs = []
        for number in days:
            ask = {"start": START, "end": START + number * DAY, "every": "1d"}
            costs.append(min(_used(lambda ask=ask: ff.metric("t", "recall", **ask)) for _ in range(5)))  # type: ignore[misc]
    return Line.through(days, costs)
