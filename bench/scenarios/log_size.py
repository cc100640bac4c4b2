"""The refresh of a task after 1,000 new records, with SMALL and then with LARGE records in the log."""

import json
import statistics
import sys
import time

import numpy as np
import pandas as pd

import fourfold as ff

SMALL, LARGE = int(sys.argv[1]), int(sys.argv[2])
NEW, COLUMNS, LATE = 1_000, 22, 200  # so many of the new labels are of predictions that were counted before
BATCH, REFRESHES = 250_000, 7
RANDOM = np.random.default_rng(0)


def log(first: int, records: int) -> None:
    """Predictions from a number on, a second apart, and labels for those LATE earlier."""
    at = np.arange(first, first + records)
    features = {f"f{i}": RANDOM.normal(size=records) for i in range(COLUMNS - 2)}
    times = pd.Timestamp("2026-03-01") + pd.to_timedelta(at, unit="s")
    frame = {"id": at.astype(str), "t": times, "score": RANDOM.random(records), "carrier": [f"C{i % 7}" for i in at]}
    ff.log("predict", pd.DataFrame(frame | features), key="id", time="t")
    labels = {"id": (at - LATE).astype(str), "t": times, "late": RANDOM.random(records) < 0.5}
    ff.log("arrivals", pd.DataFrame(labels), key="id", time="t")
    ff.flush()


def refresh() -> float:
    """The CPU time of the question after the log has grown."""
    used = time.process_time()
    ff.metric("delays", "recall")
    return time.process_time() - used


ff.init("store", project="bench")
ff.task("delays", prediction="predict.score", label="arrivals.late", slices=["carrier"])
figures, logged = {}, 0
for size in (SMALL, LARGE):
    while logged < size:
        records = min(BATCH, size - logged)
        log(logged, records)
        logged += records
        ff.metric("delays", "recall")
    while refresh() > 1.0:  # until what was logged is counted, and no first count is under way
        pass
    times = []
    for _ in range(REFRESHES):
        log(logged, NEW)
        logged += NEW
        times.append(refresh())
    figures["with few records in the log" if size == SMALL else "with many records in the log"] = statistics.median(
        times
    )
figures["many / few"] = figures["with many records in the log"] / figures["with few records in the log"]
print(json.dumps(figures))
