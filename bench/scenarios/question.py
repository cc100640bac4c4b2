"""What one warm question of a small store costs, and one after another process has written."""

import json
import statistics
import time

import fourfold as ff

ff.init("store", project="bench")
ff.task("late", prediction="predict.score", label="arrivals.late", slices=["carrier"])
for i in range(500):
    ff.log("predict", key=i, score=i / 500, carrier=f"C{i % 5}")
    ff.log("arrivals", key=i, late=i % 3 == 0)


def cost(by: str | None = None) -> float:
    times = []
    for _ in range(300):
        started = time.perf_counter()
        ff.metric("late", "recall", by=by)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


print(json.dumps({"one value": cost(), "by slice": cost(by="carrier")}))
