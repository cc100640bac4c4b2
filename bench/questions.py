"""``ff.metric`` over a year by day and carrier, and after ten times the records were logged over the same period."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import fourfold as ff
from bench.measure import Report, milliseconds

DAYS, CARRIERS = 365, 16
QUESTIONS = ("recall", "roc_auc", "expected_calibration_error")


def filled(folder: Path, records: int) -> ff.Result:
    """A store with a year of predictions and labels; returns its first answer."""
    ff.init(folder, "bench")
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["carrier"], horizon="30d")
    random = np.random.default_rng(0)
    times = pd.to_datetime(np.sort(random.integers(0, DAYS * 86_400, records)) + 1_672_531_200, unit="s")
    score = random.random(records)
    frame = pd.DataFrame(
        {
            "id": np.arange(records),
            "t": times,
            "score": score,
            "carrier": [f"C{i:02d}" for i in random.integers(0, CARRIERS, records)],
        }
    )
    labels = pd.DataFrame({"id": frame.id, "t": times + pd.Timedelta(hours=5), "late": random.random(records) < score})
    for part in np.array_split(np.arange(records), max(records // 250_000, 1)):
        ff.log("predict", frame.iloc[part], key="id", time="t")
        ff.log("arrivals", labels.iloc[part], key="id", time="t")
    return ff.metric("late", "recall")


def timed(name: str) -> tuple[float, int]:
    """The median of warm answers, and how many rows an answer has."""
    times = []
    for _ in range(12):
        started = time.perf_counter()
        found = ff.metric("late", name, by="carrier", every="1d")
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:]), len(found)


def run(report: Report, records: int = 300_000) -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "once", Path(folder) / "ten times"
        for place, number in ((small, records), (large, 10 * records)):
            filled(place, number)
        found: dict[str, list[tuple[float, int]]] = {name: [] for name in QUESTIONS}
        for _ in range(3):  # in turn
            for place in (small, large):
                ff.init(place, "bench")
                for name in QUESTIONS:
                    found[name].append(timed(name))
        size = [sum(f.stat().st_size for f in place.glob("state.db*")) / 1e6 for place in (small, large)]
    rows = []
    for name, timings in found.items():
        once, ten = (statistics.median(t for t, _ in timings[i::2]) for i in (0, 1))
        rows.append([f"`{name}`, {timings[0][1]:,} rows", milliseconds(once), milliseconds(ten), f"{ten / once:.2f}"])
    report.table(
        "A year of a metric, by day and by 16 carriers, warm",
        ["", f"{records:,} records", f"{10 * records:,} records", "ratio"], rows,
        f"Wall time of `ff.metric`, looking for new records included. `recall` is read off exact tallies; `roc_auc` "
        f"reads the score bins, of which a day and carrier has at most as many as records until all are in use. "
        f"State: {size[0]:.0f} MB and {size[1]:.0f} MB.",
    )  # fmt: skip
