"""The counting kernel on a million rows of 20 numeric and 5 text columns, by day.

Against the physical limit (a bare NumPy sum of the same columns), the same bins by GROUP BY in DuckDB SQL, and the
univariate drift reports of three peers, each in an environment of its own.

What limits it, and what was tried in vain, is in docs/how-it-works.md ("Bins that need no configuration"). Threads over
columns were tried too: with a second core that others used as well, two of them took 35 % more CPU time and 5 % less
wall time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Report, Timing, in_turn, milliseconds
from fourfold.fold import Plan, fold, plan_columns

ROWS, NUMERIC, TEXT, DAYS = 1_000_000, 20, 5, 30
DAY = "date_trunc('day', t) AS day"
PEERS = {  # with what their newest releases need to run
    "evidently": ["evidently", "pandas<3", "pyarrow"],
    "whylogs": ["whylogs", "pandas<2.3", "numpy<2", "pyarrow<18"],
    "nannyml": ["nannyml", "pandas<3", "statsmodels", "pyarrow"],
}
HERE = Path(__file__).parent


def frame(rows: int = ROWS) -> pa.Table:
    """A frame in order of time, as logs are."""
    random = np.random.default_rng(0)
    columns: dict[str, object] = {f"x{i}": random.lognormal(size=rows) * 10.0 ** (i % 5) for i in range(NUMERIC)}
    for i in range(TEXT):
        columns[f"s{i}"] = pa.array([f"value {j}" for j in range(10 ** (1 + i % 3))]).take(
            pa.array(random.integers(0, 10 ** (1 + i % 3), rows))
        )
    seconds = np.sort(random.integers(0, DAYS * 86_400, rows)) + 1_700_006_400
    columns["t"] = pa.array(seconds * 1_000_000, pa.timestamp("us"))
    return pa.table(columns)


def group_by(connection: duckdb.DuckDBPyConnection, table: pa.Table, names: list[str], plan: Plan) -> None:
    """The same bins and counts in SQL, column by column, with the tallies, sums, extremes and distinct counts."""
    connection.register("frame", table)
    for name in names:
        if name.startswith("s"):
            connection.sql(f"SELECT {DAY}, {name}, count(*) FROM frame GROUP BY ALL").to_arrow_table()
            connection.sql(f"SELECT {DAY}, approx_count_distinct({name}) FROM frame GROUP BY ALL").to_arrow_table()
            continue
        binning = plan.binning(name, 0)
        distance = f"(1 + abs(({name} - {binning.centre!r}) / {binning.scale!r}))"
        octave = f"floor(log2({distance}))"
        inside = f"(64 * {octave} + floor(64 * ({distance} / pow(2, {octave}) - 1)))::BIGINT"
        connection.sql(
            f"""
            SELECT {DAY}, CASE WHEN {name} < {binning.centre!r} THEN -{inside} - 1 ELSE {inside} END AS bin,
                count(*), count({name}), sum({name}), sum({name} * {name}), min({name}), max({name}),
                count(*) FILTER ({name} < 0), count(*) FILTER ({name} = 0), count(*) FILTER (isnan({name})),
                count(*) FILTER (isinf({name}))
            FROM frame GROUP BY ALL
            """
        ).to_arrow_table()


def peer(name: str, path: Path) -> tuple[Timing, str] | str:
    """A peer's report on the same frame, timed in its own process; or why it could not run."""
    environment = HERE / ".venvs" / name
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *PEERS[name]], capture_output=True, text=True
        )
        if done.returncode:
            return f"could not be installed: {done.stderr.strip().splitlines()[-1]}"
    done = subprocess.run(
        [str(python), "-W", "ignore", str(HERE / "peers.py"), name, str(path)], capture_output=True, text=True
    )
    if done.returncode:
        return f"did not run: {done.stderr.strip().splitlines()[-1]}"
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Timing(found["cpu"], found["wall"]), found["version"]


def run(report: Report, *, peers: bool) -> None:
    """Measure and report."""
    table = frame()
    numeric, texts = [f"x{i}" for i in range(NUMERIC)], [f"s{i}" for i in range(TEXT)]
    plan = plan_columns(table.drop_columns(["t"]), Plan())
    arrays = [table[name].combine_chunks().to_numpy() for name in numeric]
    only_numeric = table.select([*numeric, "t"])
    shuffled = only_numeric.take(pa.array(np.random.default_rng(1).permutation(ROWS))).combine_chunks()
    with duckdb.connect() as connection:
        found = in_turn(
            {
                "bare sum": lambda: [array.sum() for array in arrays],
                "numeric": lambda: fold(only_numeric, time="t", plan=plan),
                "shuffled": lambda: fold(shuffled, time="t", plan=plan),
                "kernel": lambda: fold(table, time="t", plan=plan),
                "group by": lambda: group_by(connection, table, [*numeric, *texts], plan),
            },
            rounds=3,
        )
    kernel = found["kernel"].cpu
    rows = [
        _row("kernel, 20 numeric + 5 text columns", found["kernel"], kernel),
        _row(f"DuckDB {duckdb.__version__}, the same GROUP BY", found["group by"], kernel),
    ]
    if peers:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "frame.parquet"
            pq.write_table(table, path)
            for name, title in (
                ("evidently", "Evidently {}, DataDriftPreset (current against reference, half each)"),
                ("whylogs", "whylogs {}, profile (no drift yet)"),
                ("nannyml", "NannyML {}, univariate drift by day (half the frame as reference)"),
            ):
                answer = peer(name, path)
                if isinstance(answer, str):
                    rows.append([title.format("").replace(" ,", ","), answer, "", ""])
                else:
                    rows.append(_row(title.format(answer[1]), answer[0], kernel))
    report.table(
        "The kernel: 1,000,000 rows by day",
        ["", "CPU time", "wall time", "CPU / kernel"], rows,
        "The peers read the frame from Parquet as pandas before the clock starts.",
    )  # fmt: skip
    limit = found["bare sum"].cpu
    report.table(
        "The kernel against the physical limit: 20 numeric columns",
        ["", "CPU time", "wall time", "CPU / bare sum"],
        [
            _row("NumPy sum of the same columns", found["bare sum"], limit),
            _row("kernel, records in order of time", found["numeric"], limit),
            _row("kernel, records in random order", found["shuffled"], limit),
        ],
    )


def _row(name: str, timing: Timing, unit: float) -> list[str]:
    return [name, milliseconds(timing.cpu), milliseconds(timing.wall), f"{timing.cpu / unit:,.1f}"]
