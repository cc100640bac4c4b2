"""What counting a small batch costs: TASKS tasks, each of a stream of predictions and one of labels."""

import json
import sys
import time

import numpy as np
import pandas as pd

import fourfold as ff

TASKS, RECORDS, COLUMNS = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def log(random: np.random.Generator, day: int) -> None:
    for task in range(TASKS):
        keys = [f"{day}-{i}" for i in range(RECORDS)]
        times = pd.Timestamp("2026-03-01") + pd.to_timedelta(day * 86_400 + np.arange(RECORDS), unit="s")
        features = {f"f{i}": random.normal(size=RECORDS) for i in range(COLUMNS - 2)}
        score = random.random(RECORDS)
        frame = {"id": keys, "t": times, "score": score, "carrier": [f"C{i % 7}" for i in range(RECORDS)], **features}
        ff.log(f"predict{task}", pd.DataFrame(frame), key="id", time="t")
        late = pd.DataFrame({"id": keys, "t": times + pd.Timedelta("1h"), "late": random.random(RECORDS) < score})
        ff.log(f"arrivals{task}", late, key="id", time="t")
    ff.flush()


ff.init("store", project="bench")
for task in range(TASKS):
    ff.task(f"late{task}", prediction=f"predict{task}.score", label=f"arrivals{task}.late", slices=["carrier"])
generator = np.random.default_rng(0)
cpu, wall = [], []
for day in range(4):
    log(generator, day)
    used, started = time.process_time(), time.perf_counter()
    ff.metric("late0", "recall")
    cpu.append(time.process_time() - used)
    wall.append(time.perf_counter() - started)
print(json.dumps({"cpu a task": sorted(cpu[1:])[1] / TASKS, "wall a task": sorted(wall[1:])[1] / TASKS}))
