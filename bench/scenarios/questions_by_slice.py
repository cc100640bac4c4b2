"""What a year of a metric costs by day and by 16 carriers, warm, with FEW and with MANY predictions and labels."""

import json
import statistics
import sys
import time

import numpy as np
import pandas as pd

import fourfold as ff

FEW, MANY = int(sys.argv[1]), int(sys.argv[2])
DAYS, CARRIERS, TIMES, PART = 365, 16, 9, 250_000
QUESTIONS = ("recall", "roc_auc", "average_precision", "log_loss", "expected_calibration_error")


def fill(random: np.random.Generator, records: int) -> None:
    times = pd.to_datetime(np.sort(random.integers(0, DAYS * 86_400, records)) + 1_672_531_200, unit="s")
    score = random.random(records)
    carriers = [f"C{i:02d}" for i in random.integers(0, CARRIERS, records)]
    predicted = pd.DataFrame({"id": np.arange(records), "t": times, "score": score, "carrier": carriers})
    late = random.random(records) < score
    labels = pd.DataFrame({"id": predicted.id, "t": times + pd.Timedelta(hours=5), "late": late})
    for start in range(0, records, PART):
        ff.log("predict", predicted[start : start + PART], key="id", time="t")
        ff.log("arrivals", labels[start : start + PART], key="id", time="t")
    ff.flush()


figures = {}
for size, records in (("few", FEW), ("many", MANY)):
    ff.init(size, project="bench")
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["carrier"], horizon="30d")
    fill(np.random.default_rng(0), records)
    for question in QUESTIONS:
        cpu, wall = [], []
        for _ in range(TIMES):
            used, started = time.process_time(), time.perf_counter()
            answer = ff.metric("late", question, by="carrier", every="1d")
            cpu.append(time.process_time() - used)
            wall.append(time.perf_counter() - started)
        assert len(answer) >= DAYS * CARRIERS
        figures[f"cpu {question}, {size} records"] = statistics.median(cpu[2:])
        figures[f"wall {question}, {size} records"] = statistics.median(wall[2:])
for question in QUESTIONS:
    few, many = (figures[f"cpu {question}, {size} records"] for size in ("few", "many"))
    figures[f"cpu {question}, many / few"] = many / few
print(json.dumps(figures))
