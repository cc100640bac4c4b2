"""What a check costs: a replay of a year by day, and one more day, of thousands of series.

``python -m bench.watch [--series N] [--days D] [--quick]`` runs this table alone and rewrites its section of
RESULTS.md; a quick run has few series, to look at, and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import fourfold as ff
from bench.measure import RESULTS, Report
from fourfold.model import DAY, HOUR
from fourfold.sdk import Session
from fourfold.state import incidents
from fourfold.state import memory as memories
from fourfold.watch.check import check
from fourfold.watch.settings import WatchSettings

START = 1_735_689_600  # 2025-01-01, a Wednesday
COLUMNS, CATEGORIES = 100, 20  # of a frame: all, and those of them that are categories
FEW, MANY = 60, 600  # records a day
REPLAY, NEXT = 120.0, 1.0  # the goals, in seconds of CPU time


@dataclasses.dataclass(frozen=True)
class Size:
    """A store to check: so many counted columns and days, and records a day."""

    series: int
    days: int
    records: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """CPU time in seconds, sizes in bytes, and the incidents that data without a fault raised."""

    replay: float
    again: float
    next: float
    signals: int
    memory: int
    resident: int
    incidents: int
    seeding: float


def frame(component: int, days: range, records: int) -> pd.DataFrame:
    """Some days of a component: numbers and categories that vary by day of the week and from day to day."""
    parts = []
    for day in days:
        random = np.random.default_rng([component, day])
        numbers = COLUMNS - CATEGORIES
        level = 0.2 * np.sin(2 * np.pi * day / 7 + np.arange(numbers)) + random.normal(0, 0.05, numbers)
        values = level + random.normal(size=(records, numbers))
        values[random.random(values.shape) < 0.02] = np.nan
        part = pd.DataFrame(values, columns=[f"x{i}" for i in range(numbers)])
        labels = np.array(list("abcdefgh"))
        for i in range(CATEGORIES):
            part[f"c{i}"] = random.choice(labels, records, p=random.dirichlet(np.full(8, 200.0)))
        parts.append(part.assign(time=START + day * DAY + 12 * HOUR))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(time=pd.to_datetime(found.time, unit="s", utc=True))


def seed(session: Session, size: Size, days: range) -> None:
    """Count the frames of some days; one run passes on all, so that the counting is quick, and each day has its own."""
    for component in range(size.series // COLUMNS):
        name = f"source{component}"
        for day in days:
            with ff.run(name, at=START + day * DAY) as run:
                if day == days[-1]:
                    run.output("rows", frame(component, days, size.records), time="time")
    log = pd.DataFrame(
        {"time": np.repeat(START + DAY * np.array(days), 50) + np.tile(np.arange(50) * 1_700, len(days))}
    )
    log = log.assign(id=[f"{days[0]}-{i}" for i in range(len(log))], time=pd.to_datetime(log.time, unit="s", utc=True))
    ff.log("requests", log, key="id", time="time")
    ff.flush()
    session.store.caught_up()


def timed_check(session: Session, days: int) -> float:
    """The CPU time of a check on the morning after so many days."""
    started = time.process_time()
    check(session.store, WatchSettings(), START + days * DAY + 6.0 * HOUR)
    return time.process_time() - started


def cost(folder: Path, size: Size) -> Cost:
    """Seed a store, and check it: all its days, nothing, and one more day."""
    session = ff.init(folder, "bench")
    started = time.process_time()
    seed(session, size, range(size.days))
    seeding = time.process_time() - started
    replay, again = timed_check(session, size.days), timed_check(session, size.days)
    seed(session, size, range(size.days, size.days + 1))
    next_ = timed_check(session, size.days + 1)
    with session.store.reader.database.read() as connection:
        kept = memories.load(connection, "bench", "watch") or b""
        raised = len(incidents.load(connection, "bench"))
    signals = len(session_memory(kept))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(replay, again, next_, signals, len(kept), resident, raised, seeding)


def session_memory(kept: bytes) -> dict[str, int]:
    """The rows of the detector of days, by the keys of signals."""
    from fourfold.watch.memory import Memory

    return Memory.from_bytes(kept).detectors["streams"].history.index


def apart(size: Size) -> Cost:
    """The cost in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        values = [*map(str, dataclasses.astuple(size)), str(Path(folder, "store"))]
        done = subprocess.run(
            [sys.executable, "-m", "bench.watch", "--one", *values], check=True, stdout=subprocess.PIPE
        )
    return Cost(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=5_000, help="counted columns")
    parser.add_argument("--days", type=int, default=365, help="days to replay")
    parser.add_argument("--quick", action="store_true", help="few series, for a quick look; nothing is written")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        *numbers, folder = arguments.one
        print(json.dumps(dataclasses.asdict(cost(Path(folder), Size(*map(int, numbers))))))
        return


if __name__ == "__main__":
    main()
