"""What pages cost where there are thousands of tasks × slices: ``python -m bench.pages [--keep FOLDER]``.

Two stores: many tasks of a few slices each, and a few tasks of many. Each page's answer is asked for once of a server
that has just begun, and its page is opened in Chromium, where it is installed. Times are CPU time: of the server, and
of the browser's main thread. Rewrites its section of RESULTS.md; ``--quick`` has small stores and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from starlette.testclient import TestClient
from tests.browsing import Tab, browser, served

import fourfold as ff
from bench.measure import RESULTS, Report
from fourfold.config import Settings
from fourfold.model import DAY
from fourfold.serve.app import application
from fourfold.serve.service import Reach, Service

PROJECT = "bench"
START = 1_735_689_600  # 2025-01-01
MOST = 200  # slices that one name has
BOXED = "start=2025-01-10&end=2025-01-12"


@dataclasses.dataclass(frozen=True)
class Size:
    """A store: tasks, slices of each, and days; each slice has a few records a day."""

    tasks: int
    slices: int
    days: int = 30
    records: int = 3

    @property
    def name(self) -> str:
        """The folder of such a store."""
        return f"{self.tasks}-tasks-{self.slices}-slices-{self.days}-days"

    @property
    def dimensions(self) -> list[str]:
        """The names that the records are sliced by."""
        return [f"by{i}" for i in range(-(-self.slices // MOST))]


def frames(size: Size, task: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of a task, sliced, and their labels."""
    random, each = np.random.default_rng(task), min(size.slices, MOST)
    n = size.days * each * size.records
    frame = pd.DataFrame({"id": [f"{task}-{i}" for i in range(n)], "score": random.random(n)})
    seconds = START + np.sort(random.integers(0, size.days * DAY, n))
    frame["at"] = pd.to_datetime(seconds, unit="s", utc=True)
    for i, name in enumerate(size.dimensions):
        places = random.permutation(n) if i else np.arange(n)
        frame[name] = [f"s{place:03d}" for place in (places % each).tolist()]
    label = pd.DataFrame({"id": frame.id, "happened": random.random(n) < frame.score, "at": frame["at"]})
    return frame, label


def seed(folder: Path, size: Size) -> None:
    """Log, join and count it."""
    session = ff.init(folder, PROJECT)
    for i in range(size.tasks):
        predicted, happened = frames(size, i)
        with ff.run(f"train{i}"):
            pass
        ff.log(f"predict{i}", predicted, key="id", time="at")
        ff.log(f"labels{i}", happened, key="id", time="at")
        ff.task(
            f"task{i}", prediction=f"predict{i}.score", label=f"labels{i}.happened", threshold=0.5,
            slices=size.dimensions,
        )  # fmt: skip
        if i % 25 == 24:
            ff.flush()
    ff.flush()
    session.store.caught_up()
    session.close()


def pages(size: Size) -> dict[str, tuple[str, str]]:
    """The pages by name: their addresses, and those of their answers."""
    return {
        "home": ("/", "/api/home"),
        "tasks": ("/tasks", "/api/tasks?limit=50"),
        "task": ("/tasks/task0", "/api/tasks/task0"),
        "search": ("/search?q=s00", "/api/search?q=s00&limit=200"),
        "pipeline": ("/pipeline", "/api/pipeline"),
        "streams": ("/streams", "/api/streams?limit=200"),
        "stream": ("/streams/predict0", "/api/streams/predict0?limit=200"),
        "compare": ("/compare", "/api/compare"),
        "box": (f"/box?target=task0&{BOXED}", f"/api/box?target=task0&{BOXED}&limit=20"),
    }


def answers(store: Path, size: Size) -> Iterator[tuple[str, float, int]]:
    """Each page's answer: its name, the CPU time that it takes, and its bytes."""
    for name, (_, address) in pages(size).items():
        service = Service(Settings(str(store), PROJECT), Reach())  # with nothing remembered
        with TestClient(application(service), base_url="http://127.0.0.1") as client:
            client.get("/healthz")
            began = time.process_time()
            answer = client.get(address)
            took = time.process_time() - began
        assert answer.status_code == 200, (address, answer.text[:300])
        yield name, took, len(answer.content)


def opened(store: Path, size: Size) -> Iterator[tuple[str, float, float, int]]:
    """Each page in a browser: its name, the main thread's CPU time to draw it and to scroll, and its elements."""
    with served(store, PROJECT) as (home, _), browser() as chromium:
        for name, (address, _) in pages(size).items():
            tab = Tab(chromium, home)
            session = tab.context.new_cdp_session(tab.page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})  # CPU time
            tab.go(address)
            drawn = _busy(session)
            for _ in range(20):
                tab.page.mouse.wheel(0, 2_000)
                tab.page.wait_for_timeout(50)
            yield name, drawn, _busy(session) - drawn, tab.page.evaluate("document.querySelectorAll('*').length")
            tab.close()


def _busy(session: Any) -> float:
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(found["TaskDuration"])


def rows(store: Path, size: Size) -> list[list[str]]:
    """The lines in the table."""
    seen = {
        name: [f"{drawn:.2f} s", f"{scrolled:.2f} s", f"{elements:,}"]
        for name, drawn, scrolled, elements in (opened(store, size) if shutil.which("chromium") else ())
    }
    return [
        [
            f"{size.tasks:,} × {size.slices:,}", name, f"{took:.2f} s", f"{length / 1e3:,.0f} kB",
            *seen.get(name, ["–"] * 3),
        ]
        for name, took, length in answers(store, size)
    ]  # fmt: skip


def run(report: Report, kept: Path, sizes: list[Size]) -> None:
    """Measure and report."""
    found = []
    for size in sizes:
        if not (kept / size.name).exists():
            values = map(str, dataclasses.astuple(size))
            subprocess.run(
                [sys.executable, "-m", "bench.pages", "--seed", *values, str(kept / "unfinished")], check=True
            )
            (kept / "unfinished").rename(kept / size.name)
        found += rows(kept / size.name, size)
    report.table(
        "Pages of thousands of tasks × slices",
        ["tasks × slices", "page", "answer", "its size", "to draw it", "to scroll it", "elements"],
        found,
        "CPU time of the server for the first answer after it began, and of the browser's main thread until the page "
        "is drawn, and for scrolling 40,000 pixels.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small stores, for a quick look; nothing is written")
    parser.add_argument("--keep", type=Path, help="where seeded stores are, and are kept")
    parser.add_argument("--seed", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if part := arguments.seed:
        seed(Path(part[4]), Size(*map(int, part[:4])))
        return
    report = Report()
    sizes = [Size(20, 10), Size(1, 400, 14, 2)] if arguments.quick else [Size(500, 10), Size(5, 1_000, 14, 2)]
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        run(report, kept, sizes)
    if not arguments.quick:
        report.update(RESULTS)


if __name__ == "__main__":
    main()
