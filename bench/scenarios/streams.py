"""What counting small batches of many streams costs: STREAMS streams of two columns, with RECORDS new records each."""

import json
import sys
import time

import numpy as np
import pandas as pd

import fourfold as ff

STREAMS, RECORDS = int(sys.argv[1]), int(sys.argv[2])


def log(random: np.random.Generator, day: int) -> None:
    times = pd.Timestamp("2026-03-01") + pd.to_timedelta(day * 86_400 + np.arange(RECORDS), unit="s")
    for stream in range(STREAMS):
        columns = {"x": random.normal(size=RECORDS), "carrier": [f"C{i % 7}" for i in range(RECORDS)]}
        frame = {"id": [f"{day}-{i}" for i in range(RECORDS)], "t": times, **columns}
        ff.log(f"events{stream}", pd.DataFrame(frame), key="id", time="t")
    ff.flush()


ff.init("store", project="bench")
generator = np.random.default_rng(0)
cpu, wall = [], []
for day in range(4):
    log(generator, day)
    used, started = time.process_time(), time.perf_counter()
    ff.metric("events0.x", "mean")
    cpu.append(time.process_time() - used)
    wall.append(time.perf_counter() - started)
print(json.dumps({"cpu a stream": sorted(cpu[1:])[1] / STREAMS, "wall a stream": sorted(wall[1:])[1] / STREAMS}))
