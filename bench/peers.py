"""One peer's report on a frame, timed: run by an environment that holds that peer only."""
# mypy: ignore-errors

import importlib.metadata
import json
import sys
import time

import pandas as pd

name, path = sys.argv[1:]
frame = pd.read_parquet(path)
half = len(frame) // 2
reference, current = frame.iloc[:half], frame.iloc[half:]
columns = [column for column in frame.columns if column != "t"]


def evidently():
    from evidently import Report
    from evidently.presets import DataDriftPreset

    def work():
        Report([DataDriftPreset()]).run(current[columns], reference[columns]).dict()

    return work


def whylogs():
    import whylogs

    return lambda: whylogs.log(frame).view()


def nannyml():
    import nannyml

    def work():
        calculator = nannyml.UnivariateDriftCalculator(
            column_names=columns, timestamp_column_name="t", chunk_period="D"
        )
        calculator.fit(reference).calculate(current)

    return work


work = {"evidently": evidently, "whylogs": whylogs, "nannyml": nannyml}[name]()
started, used = time.perf_counter(), time.process_time()
work()
timing = {"cpu": time.process_time() - used, "wall": time.perf_counter() - started}
print(json.dumps({**timing, "version": importlib.metadata.version(name)}))
