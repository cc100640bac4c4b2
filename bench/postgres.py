"""The state in PostgreSQL beside SQLite: a year by day of 500 streams with 20 columns each.

``python -m bench.postgres [--streams N]`` makes the state in SQLite, moves it to PostgreSQL (a server of its own, over
a local socket), asks both the same, and writes its section of RESULTS.md; with fewer streams, to look at, it writes
nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from tests.services import postgres

from bench.measure import RESULTS, Report, milliseconds
from fourfold import counts
from fourfold.counts.binning import Binning
from fourfold.fold import Plan, fold
from fourfold.model import DAY, HOUR, Owner, Place
from fourfold.query.metric import metric
from fourfold.state import Database, adding, bulk, catalogue, taken
from fourfold.state.moving import move
from fourfold.store import Store

PROJECT, STREAMS, COLUMNS, DAYS, RECORDS = "bench", 500, 20, 365, 40
START = 1_735_689_600  # 2025-01-01
ROUNDS = 15
BINNING = Binning(0.0, 1.0)


def folded(start: int, days: int, every: str, seed: int) -> pa.Table:
    """The counts of a stream's records."""
    random = np.random.default_rng(seed)
    n = days * RECORDS
    times = pa.array((start + random.integers(0, days * DAY if every == "1d" else HOUR, n)) * 1_000_000)
    columns = {f"x{i}": random.standard_normal(n) for i in range(COLUMNS)}
    frame = pa.table({"t": times.cast(pa.timestamp("us")), **columns})
    return counts.add(fold(frame, time="t", every=every, plan=Plan().adding(dict.fromkeys(columns, BINNING))))


def seed(database: Database, streams: int) -> None:
    """A year of counts by day, the same few samples in turn."""
    samples = [folded(START, DAYS, "1d", number) for number in range(5)]
    for number in range(streams):
        owner = Owner.of_stream(f"s{number:03d}")
        with database.write() as connection:
            catalogue.add_stream(connection, PROJECT, owner.name, None, None)
            binnings = {f"x{i}": BINNING for i in range(COLUMNS)}
            catalogue.add_binnings(connection, PROJECT, owner, binnings, 0)
            adding.add(connection, PROJECT, owner, DAY, samples[number % len(samples)])


def questions(store: Store, streams: int) -> dict[str, Callable[[], object]]:
    """What is asked, of the middle stream."""
    reader, name = store.reader, f"s{streams // 2:03d}"
    newest = START + (DAYS - 1) * DAY

    def all_of_a_day() -> object:
        with reader.database.read() as connection:
            return bulk.select(connection, PROJECT, DAY, newest, newest + DAY)

    return {
        "rows of a stream, the year": lambda: metric(reader, name, "rows"),
        "rows of a stream, each day": lambda: metric(reader, name, "rows", every="1d"),
        "mean of a column, each day": lambda: metric(reader, f"{name}.x3", "mean", every="1d"),
        "0.9-quantile of a column, the year": lambda: metric(reader, f"{name}.x3", "quantile(0.9)"),
        "0.9-quantile of a column, each week": lambda: metric(reader, f"{name}.x3", "quantile(0.9)", every="7d"),
        "a day of all columns, as the watch reads it": all_of_a_day,
    }


def times(stores: dict[str, Store], streams: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Each question's CPU time in seconds in each system, just after something was written and when nothing was."""
    asked = {system: questions(store, streams) for system, store in stores.items()}
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for round_ in range(ROUNDS + 2):
        for question in next(iter(asked.values())):
            for system, store in stores.items():
                with store.reader.database.write() as connection:
                    taken.note(connection, [(question, round_)], time.time())
                pair = []
                for _ in range(2):
                    started = used()
                    asked[system][question]()
                    pair.append(used() - started)
                if round_ >= 2:  # to warm up: from the sixth time on, a statement is prepared
                    found.setdefault(question, {}).setdefault(system, []).append((pair[0], pair[1]))
    return {
        question: {s: (statistics.median(a for a, _ in t), statistics.median(b for _, b in t)) for s, t in by.items()}
        for question, by in found.items()
    }


def used() -> float:
    """The CPU time in seconds of this process, and of all processes of the server."""
    server = int((postgres().data / "postmaster.pid").read_text().split()[0])
    total = 0
    for process in (server, *map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    return time.process_time() + total / 1e9


def writing(database: Database, streams: int) -> float:
    """The seconds that it takes to add an hour of all columns in one transaction, as a fold does."""
    tables = {Owner.of_stream(f"s{n:03d}"): folded(START + DAYS * DAY, 1, "1h", n % 5) for n in range(streams)}
    started = used()
    with database.write() as connection:
        adding.add_levels(connection, PROJECT, tables)
    return used() - started


def size(database: Database, path: Path) -> int:
    """Bytes on the disk."""
    if not database.engine.dialect.name.startswith("postgresql"):
        return sum(file.stat().st_size for file in path.glob("state.db*"))
    query = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relkind = 'r' AND relnamespace = :schema"
    with database.read() as connection:
        schema = connection.scalar(sa.text("SELECT current_schema()::regnamespace::oid"))
        return int(connection.scalar(sa.text(query), {"schema": schema}) or 0)


def run(report: Report, folder: Path, address: str, streams: int) -> None:
    """Measure and report."""
    places = {"SQLite": Place(str(folder / "store")), "PostgreSQL": Place(str(folder / "store"), address)}
    with ExitStack() as closing:
        stores = {}
        for system, place in places.items():
            stores[system] = Store(place, PROJECT)
            closing.callback(stores[system].close)
        databases = {system: store.reader.database for system, store in stores.items()}
        started = time.perf_counter()
        seed(databases["SQLite"], streams)
        print(f"made in {time.perf_counter() - started:.0f} s", flush=True)
        started = time.perf_counter()
        moved = move(databases["SQLite"], databases["PostgreSQL"])
        seconds, rows = time.perf_counter() - started, sum(table.rows for table in moved.values())
        with databases["PostgreSQL"].engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE")
            connection.commit()
        sizes = {system: size(database, folder / "store") for system, database in databases.items()}
        asked = times(stores, streams)
        written = {
            system: statistics.median(writing(database, streams) for _ in range(3))
            for system, database in databases.items()
        }
    lines = []
    for question, by in asked.items():
        (a, b), (c, d) = by["SQLite"], by["PostgreSQL"]
        numbers = [milliseconds(a), milliseconds(c), f"{c / a:.2f}", milliseconds(b), milliseconds(d), f"{d / b:.2f}"]
        lines.append([question, *numbers])
    a, b = written["SQLite"], written["PostgreSQL"]
    fold_ = f"a fold's write: an hour of {streams * COLUMNS:,} columns"
    lines.append([fold_, milliseconds(a), milliseconds(b), f"{b / a:.2f}", "", "", ""])
    a, b = sizes["SQLite"], sizes["PostgreSQL"]
    lines.append(["size on the disk", f"{a / 1e6:,.0f} MB", f"{b / 1e6:,.0f} MB", f"{b / a:.2f}", "", "", ""])
    report.table(
        f"The state in PostgreSQL: {streams} streams of {COLUMNS} columns, a year by day",
        ["", "SQLite", "PostgreSQL", "ratio", "asked again: SQLite", "PostgreSQL", "ratio"],
        lines,
        f"CPU time of this process and of the server together, {ROUNDS} rounds in turn, the median. First: after "
        "something was written, so that nothing is remembered; then: asked again. `fourfold move` took "
        f"{seconds:,.0f} s for {rows:,} rows, with both checksums.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=STREAMS)
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        run(report, Path(folder), postgres().address(), arguments.streams)
    if arguments.streams == STREAMS:
        report.update(RESULTS)


if __name__ == "__main__":
    main()
