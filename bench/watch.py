"""What a check costs: a replay of a year by day, and one more day, of thousands of series.

``python -m bench.watch [--series N] [--days D] [--quick] [--keep FOLDER]`` runs this table alone and rewrites its
section of RESULTS.md; a quick run has few series, to look at, and writes nothing. To seed the stores takes longer than
to check them: those in FOLDER are used again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import fourfold as ff
from bench.faults.simulated import SimulatedClock, simulated
from bench.measure import RESULTS, Report
from fourfold.model import DAY, HOUR
from fourfold.sdk import Session
from fourfold.state import incidents
from fourfold.state import memory as memories
from fourfold.watch.check import check
from fourfold.watch.histories import Histories
from fourfold.watch.settings import WatchSettings

PROJECT = "bench"
START = 1_735_689_600  # 2025-01-01, a Wednesday
COLUMNS, CATEGORIES = 100, 20  # of a frame: all, and those of them that are categories
LABELS = np.array(list("abcdefgh"))
FEW, MANY = 60, 600  # records a day
REPLAY, NEXT = 120, 1  # the goals, in seconds of CPU time


@dataclasses.dataclass(frozen=True)
class Size:
    """A store to check: so many counted columns and days, and records a day of each."""

    series: int
    days: int
    records: int

    @property
    def name(self) -> str:
        """The folder of such a store."""
        return f"{self.series}-series-{self.days}-days-{self.records}-records"


@dataclasses.dataclass(frozen=True)
class Cost:
    """CPU time in seconds, sizes in bytes, and how many incidents data without a fault raised."""

    replay: float
    again: float
    next: float
    signals: int
    memory: int
    resident: int
    incidents: int

    def row(self, size: Size) -> list[str]:
        """The line in the table."""
        numbers = [f"{n:,}" for n in (size.series, size.days, size.records, self.signals)]
        times = [f"{seconds:,.2f} s" for seconds in (self.replay, self.again, self.next)]
        sizes = [f"{size / 1e6:,.0f} MB" for size in (self.memory, self.resident)]
        return [*numbers, *times, *sizes, str(self.incidents)]


def frame(component: int, days: range, records: int) -> pd.DataFrame:
    """Some days of a component: numbers with a weekly season, and categories, that vary a little from day to day."""
    parts = []
    for day in days:
        random = np.random.default_rng([component, day])
        numbers = COLUMNS - CATEGORIES
        level = 0.2 * np.sin(2 * np.pi * day / 7 + np.arange(numbers)) + random.normal(0, 0.05, numbers)
        values = level + random.normal(size=(records, numbers))
        values[random.random(values.shape) < 0.02] = np.nan
        part = pd.DataFrame(values, columns=[f"x{i}" for i in range(numbers)])
        for i in range(CATEGORIES):
            part[f"c{i}"] = random.choice(LABELS, records, p=random.dirichlet(np.full(len(LABELS), 200.0)))
        parts.append(part.assign(time=START + day * DAY + 12 * HOUR))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(time=pd.to_datetime(found.time, unit="s", utc=True))


def seed(folder: Path, size: Size, days: range) -> None:
    """Count the frames of some days. A component has a run a day; one of its own passes on all its days, so that the
    counting is quick. One small stream is logged.
    """
    with simulated(SimulatedClock(START + days[0] * DAY)) as clock:
        session = ff.init(folder, PROJECT)
        for day in days:
            clock.go_to(START + (day + 1) * DAY)
            for component in range(size.series // COLUMNS):
                with ff.run(f"source{component}", at=START + day * DAY):
                    clock.now += 60
        for component in range(size.series // COLUMNS):
            with ff.run(f"store{component}", at=START + days[-1] * DAY) as run:
                run.output("rows", frame(component, days, size.records), time="time")
        starts = START + DAY * np.array(days)
        times = np.repeat(starts, 50) + np.tile(np.arange(50) * 1_700, len(days))
        log = pd.DataFrame({"time": pd.to_datetime(times, unit="s", utc=True)})
        ff.log("requests", log.assign(id=[f"{days[0]}-{i}" for i in range(len(log))]), key="id", time="time")
        ff.flush()
        session.store.caught_up()
        session.close()


def timed_check(session: Session, days: int) -> float:
    """The CPU time of a check on the morning after so many days."""
    session.store.caught_up()
    started = time.process_time()
    check(session.store, WatchSettings(), START + days * DAY + 6.0 * HOUR)
    return time.process_time() - started


def cost(store: Path, size: Size) -> Cost:
    """Check a seeded store: all its days, nothing new, and one more day."""
    session = ff.init(store, PROJECT)
    replay, again = timed_check(session, size.days), timed_check(session, size.days)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    session.close()
    seed(store, size, range(size.days, size.days + 1))
    session = ff.init(store, PROJECT)
    next_ = timed_check(session, size.days + 1)
    with session.store.reader.database.read() as connection:
        kept = memories.load_under(connection, PROJECT, "watch")
        raised = incidents.load(connection, PROJECT)
    for incident in raised:
        print(incident.title, file=sys.stderr)
    signals = len(Histories.of(kept).detectors["streams"].history.index)
    return Cost(replay, again, next_, signals, sum(map(len, kept.values())), resident, len(raised))


def apart(size: Size, kept: Path) -> Cost:
    """The cost, in a process of its own, of a copy of the seeded store."""
    seeded = kept / size.name
    if not seeded.exists():
        _run("--seed", size, kept / "unfinished")
        (kept / "unfinished").rename(seeded)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        shutil.copytree(seeded, store)
        return Cost(**json.loads(_run("--check", size, store)))


def _run(what: str, size: Size, folder: Path) -> str:
    values = [*map(str, dataclasses.astuple(size)), str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "bench.watch", what, *values], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def run(report: Report, kept: Path, *, series: int = 5_000, days: int = 365) -> None:
    """Measure and report."""
    few = max(series // 10, COLUMNS)
    sizes = [Size(series, days, FEW), Size(series, days // 6, FEW), Size(few, days, FEW), Size(few, days, MANY)]
    head = ["columns", "days", "records a day", "signals", "replay", "nothing new", "one more day"]
    report.table(
        "What a check costs",
        [*head, "remembered", "resident", "false incidents"],
        [apart(size, kept).row(size) for size in sizes],
        f"CPU time beyond the fold of a check that judges all days, one without new data, and one with a new day; "
        f"each column gives several signals. The goals, for 5,000 columns, are {REPLAY} s of a year and {NEXT} s of a "
        "day; the number of records should not matter, nor how long the history is.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, help="counted columns (5,000; 200 in a quick run)")
    parser.add_argument("--days", type=int, help="days to replay (365; 90 in a quick run)")
    parser.add_argument("--quick", action="store_true", help="few series, for a quick look; nothing is written")
    parser.add_argument("--keep", type=Path, help="where seeded stores are, and are kept")
    parser.add_argument("--seed", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--check", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if part := arguments.seed or arguments.check:
        size = Size(*map(int, part[:3]))
        if arguments.seed:
            seed(Path(part[3]), size, range(size.days))
        else:
            print(json.dumps(dataclasses.asdict(cost(Path(part[3]), size))))
        return
    report = Report()
    series, days = (
        arguments.series or (200 if arguments.quick else 5_000),
        arguments.days or (90 if arguments.quick else 365),
    )
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        run(report, kept, series=series, days=days)
    if not arguments.quick:
        report.update(RESULTS)


if __name__ == "__main__":
    main()
