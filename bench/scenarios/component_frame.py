"""What a component around a frame of ROWS records and 22 columns costs its caller, with and without identifiers."""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

import fourfold as ff

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
PASSES = 3


def frame(random: np.random.Generator, *, identifiers: bool) -> pd.DataFrame:
    """A pandas frame of 20 columns of numbers, one of carriers, and one of identifiers or of airports."""
    columns: dict[str, object] = {f"x{i}": random.lognormal(size=ROWS) * 10.0 ** (i % 5) for i in range(20)}
    columns["carrier"] = pa.array([f"C{i}" for i in range(16)]).take(pa.array(random.integers(0, 16, ROWS))).to_pandas()
    codes = np.arange(ROWS) if identifiers else random.integers(0, 300, ROWS)
    columns["id" if identifiers else "airport"] = [f"flight-{code:08d}" for code in codes]
    return pd.DataFrame(columns)


def passes(work: Callable[[object], object], data: object) -> tuple[float, float]:
    """The median wall and CPU time of a call of a component, after the first."""
    wall, cpu = [], []
    for _ in range(PASSES + 1):
        used, started = time.process_time(), time.perf_counter()
        work(data)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
        ff.flush()
    return sorted(wall[1:])[PASSES // 2], sorted(cpu[1:])[PASSES // 2]


ff.init("store", project="bench")
figures = {}
for kind in ("numbers", "identifiers"):
    pandas = frame(np.random.default_rng(0), identifiers=kind == "identifiers")
    for form, data in (("pandas", pandas), ("arrow", pa.Table.from_pandas(pandas, preserve_index=False))):

        @ff.component(f"{kind}_{form}")
        def work(flights: object) -> None:
            """Nothing: what is measured is what the component adds."""

        figures[f"{kind}, {form}: wall"], figures[f"{kind}, {form}: cpu"] = passes(work, data)
print(json.dumps(figures))
