"""The experiment of "Failure Modes in Extending Prometheus for ML": real-time accuracy of predictions whose feedback
is logged separately, in 45 batches to 359,052 points, with Prometheus, PostgreSQL and fourfold in one run.

Needs Debian's packages ``prometheus`` and ``postgresql``, and a user ``postgres`` where it is run as root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import http.server
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fourfold as ff
from bench.measure import Report, milliseconds
from fourfold.sdk import Session

POINTS, BATCHES, WINDOW = 359_052, 45, 5  # the window is of so many batches, an hour each
START = pd.Timestamp("2024-01-01", tz="UTC")
NAMES = ("Prometheus", "PostgreSQL, join", "PostgreSQL, materialised view", "fourfold")
RUNS = 5  # of each query (but of Prometheus), of which the median counts
PICTURE = Path(__file__).parent / "mext.svg"


@dataclasses.dataclass
class Costs:
    """Seconds per batch: what it took to log it, to bring answers up to date, and to ask for the newest or for all."""

    log: list[float] = dataclasses.field(default_factory=list)
    refresh: list[float] = dataclasses.field(default_factory=list)
    newest: list[float] = dataclasses.field(default_factory=list)
    chart: list[float] = dataclasses.field(default_factory=list)


def run(report: Report, points: int = POINTS, batches: int = BATCHES) -> None:
    """All batches through all systems, and a table of the last five."""
    if shutil.which("prometheus") is None or _postgres() is None:
        report.section("The mext experiment", ["Not run: it needs Debian's packages prometheus and postgresql."])
        return
    costs = {name: Costs() for name in NAMES}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o755)
        database = stack.enter_context(_database(Path(folder)))
        prometheus = stack.enter_context(_prometheus(Path(folder)))
        session = ff.init(Path(folder) / "store", "mext")
        ff.task("accuracy", prediction="output.score", label="feedback.label", horizon="30d")
        for number, at in enumerate(np.array_split(np.arange(points), batches)):
            frame = _batch(at, number)
            truth = [
                _ask_prometheus(prometheus, frame, number, costs[NAMES[0]]),
                *_ask_postgres(database, frame, number, costs[NAMES[1]], costs[NAMES[2]]),
                _ask_fourfold(session, frame, number, costs[NAMES[3]]),
            ]
            assert all(np.allclose(found, truth[0], atol=1e-9) for found in truth), truth
        session.close()
    view = costs["PostgreSQL, materialised view"]
    rows: list[list[str]] = []
    for name, cost in costs.items():
        row = [name, milliseconds(_last(cost.log)), milliseconds(_last(cost.refresh)) if any(cost.refresh) else "–"]
        for ours, theirs in ((cost.newest, view.newest), (cost.chart, view.chart)):
            if not ours:
                row += ["–"] * 3
                continue
            growth = _last(ours) / statistics.median(ours[1:6])
            row += [milliseconds(_last(ours)), f"{growth:.1f}", f"{_last(theirs) / _last(ours):.1f}"]
        rows.append(row)
    report.table(
        f"Cumulative and windowed accuracy, feedback logged apart: {points:,} points in {batches} batches",
        ["", "log a batch", "refresh", "newest", "last / first", "view / it", "chart", "last / first", "view / it"],
        rows,
        f"Medians of the last five batches, wall time. *Newest* asks the accuracy of all points and of the last "
        f"{WINDOW} batches, *chart* both of these as they were after each batch; all systems gave the same numbers. "
        "*Last / first* is how a query grew from the first batches to the last (a chart's answer itself grows, to "
        f"{batches} rows), *view / it* how many times longer the "
        "materialised view's query takes. Prometheus: a series for each "
        "prediction and each feedback, joined on the id by PromQL, of which there is no chart; logging is the "
        "scrape. PostgreSQL: two tables with "
        "primary keys, through psql; the refresh is of the materialised view. fourfold: `ff.log` of both frames; the "
        "refresh is the fold. ![By batch](mext.svg)",
    )
    _plot(costs, points // batches)


def _batch(at: np.ndarray[Any, Any], number: int) -> pd.DataFrame:
    random = np.random.default_rng(number)
    score = random.random(len(at)).round(6)
    label = (random.random(len(at)) < score).astype(int)
    return pd.DataFrame({"id": at, "at": START + pd.Timedelta(hours=number), "score": score, "label": label})


def _last(values: Sequence[float]) -> float:
    return statistics.median(values[-5:])


# fourfold ----------------------------------------------------------------------------------------------------------


def _ask_fourfold(session: Session, frame: pd.DataFrame, number: int, cost: Costs) -> tuple[float, float]:
    started = time.perf_counter()
    ff.log("output", frame[["id", "at", "score"]], key="id", time="at")
    ff.log("feedback", frame[["id", "at", "label"]], key="id", time="at")
    cost.log.append(time.perf_counter() - started)
    started = time.perf_counter()
    session.store.writer.catch_up(600)
    cost.refresh.append(time.perf_counter() - started)
    start, end = (START + pd.Timedelta(hours=h) for h in (number - WINDOW + 1, number + 1))

    def ask() -> tuple[float, float]:
        whole = ff.metric("accuracy", "accuracy").value.value
        window = ff.metric("accuracy", "accuracy", start=max(start, START), end=end).value.value
        assert whole is not None and window is not None
        return whole, window

    def chart() -> list[tuple[float, float]]:
        found = ff.metric("accuracy", "accuracy", start=START, end=end, every="1h")
        share, n = np.array([(row.value.value or 0.0, row.value.n) for row in found]).T
        return _running(share * n, n)

    answer, seconds = _timed(ask)
    cost.newest.append(seconds)
    charted, seconds = _timed(chart)
    cost.chart.append(seconds)
    assert np.allclose(charted[-1], answer)
    whole, window = answer
    return whole, window


def _running(right: np.ndarray[Any, Any], n: np.ndarray[Any, Any]) -> list[tuple[float, float]]:
    """The accuracy of all up to each batch, and of the window that ends with it."""
    sums, sizes = (np.concatenate([np.zeros(WINDOW), np.cumsum(values)]) for values in (right, n))
    window = (sums[WINDOW:] - sums[:-WINDOW]) / (sizes[WINDOW:] - sizes[:-WINDOW])
    return list(zip((sums / np.maximum(sizes, 1))[WINDOW:].tolist(), window.tolist(), strict=True))


def _timed(ask: Callable[[], Any], runs: int = RUNS) -> tuple[Any, float]:
    times, answer = [], None
    for _ in range(runs):
        started = time.perf_counter()
        answer = ask()
        times.append(time.perf_counter() - started)
    return answer, statistics.median(times)


# PostgreSQL --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Psql:
    """A psql that stays open, as a client's connection does."""

    process: subprocess.Popen[str]

    def run(self, sql: str) -> tuple[list[str], float]:
        """The rows, and the seconds that psql measured."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{sql}\n\\echo done\n")
        self.process.stdin.flush()
        rows: list[str] = []
        seconds = 0.0
        for line in self.process.stdout:
            if line.strip() == "done":
                return rows, seconds
            timing = re.match(r"Time: ([\d.]+) ms", line)
            if timing:
                seconds += float(timing[1]) / 1000
            elif line.strip():
                rows.append(line.strip())
        raise RuntimeError("psql has ended")


def _postgres() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[Psql]:
    """A PostgreSQL of its own, with two tables and a materialised view."""
    binaries, data, port = _postgres(), folder / "postgres", str(_free_port())
    assert binaries is not None
    data.mkdir()
    as_user: list[str] = []
    if getpass.getuser() == "root":  # which PostgreSQL refuses to run as
        shutil.chown(data, "postgres", "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    initdb: list[str] = [*as_user, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "bench"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    subprocess.run(initdb, **quiet)
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log")]
    subprocess.run([*control, "-o", f"-p {port} -k {data} -c listen_addresses=''", "start"], **quiet)
    try:
        process = subprocess.Popen(
            ["psql", "-h", str(data), "-p", port, "-U", "bench", "-d", "postgres", "-qAt", "-F", ","],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        psql = Psql(process)
        psql.run(
            "CREATE TABLE output (id bigint PRIMARY KEY, batch int, score float8);\n"
            "CREATE TABLE feedback (id bigint PRIMARY KEY, label int);\n"
            "CREATE MATERIALIZED VIEW joined AS SELECT batch, ((score >= 0.5)::int = label)::int AS correct\n"
            "FROM output JOIN feedback USING (id);\n\\timing on"
        )
        yield psql
        process.terminate()
        process.wait()
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


def _ask_postgres(
    psql: Psql, frame: pd.DataFrame, number: int, join: Costs, view: Costs
) -> tuple[tuple[float, float], tuple[float, float]]:
    tables = {"output": frame[["id"]].assign(batch=number, score=frame.score), "feedback": frame[["id", "label"]]}
    logged = 0.0
    for name, table in tables.items():
        logged += psql.run(f"COPY {name} FROM STDIN CSV;\n{table.to_csv(index=False, header=False)}\\.")[1]
    _, refreshed = psql.run("REFRESH MATERIALIZED VIEW joined;")
    answers = []
    joined = "(SELECT batch, ((score >= 0.5)::int = label)::int AS correct FROM output JOIN feedback USING (id)) j"
    for source, cost, refresh in ((joined, join, 0.0), ("joined", view, refreshed)):
        newest = (
            f"SELECT avg(correct) FROM {source};\nSELECT avg(correct) FROM {source} WHERE batch > {number - WINDOW};"
        )
        chart = (
            "SELECT batch, sum(sum(correct)) OVER (ORDER BY batch) / sum(count(*)) OVER (ORDER BY batch), "
            f"sum(sum(correct)) OVER w / sum(count(*)) OVER w FROM {source} GROUP BY batch "
            f"WINDOW w AS (ORDER BY batch ROWS {WINDOW - 1} PRECEDING) ORDER BY batch;"
        )
        asked, charted = ([psql.run(sql) for _ in range(RUNS)] for sql in (newest, chart))
        cost.log.append(logged)
        cost.refresh.append(refresh)
        cost.newest.append(statistics.median(seconds for _, seconds in asked))
        cost.chart.append(statistics.median(seconds for _, seconds in charted))
        whole, window = map(float, asked[0][0])
        assert np.allclose([float(text) for text in charted[0][0][-1].split(",")[1:]], (whole, window))
        answers.append((whole, window))
    return answers[0], answers[1]


# Prometheus --------------------------------------------------------------------------------------------------------


class _Exposed(http.server.BaseHTTPRequestHandler):
    """The host's /metrics: a gauge for each prediction and each feedback so far, as a client library keeps them."""

    text = b""

    def do_GET(self) -> None:
        body = type(self).text
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as above
        """Nothing is printed."""


@contextlib.contextmanager
def _prometheus(folder: Path) -> Iterator[str]:
    """A Prometheus of its own that scrapes us as often as it can; gives the address of its API."""
    _Exposed.text = b""
    exposed = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Exposed)
    threading.Thread(target=exposed.serve_forever, daemon=True).start()
    port, config = _free_port(), folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 10s, scrape_timeout: 10s}\n"
        f"scrape_configs: [{{job_name: model, static_configs: [{{targets: ['127.0.0.1:{exposed.server_port}']}}]}}]\n"
    )
    process = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", "--query.timeout=10m",
         f"--web.listen-address=127.0.0.1:{port}", "--query.max-samples=500000000"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}/api/v1/query"
    finally:
        process.terminate()
        process.wait()
        exposed.shutdown()


def _ask_prometheus(api: str, frame: pd.DataFrame, number: int, cost: Costs) -> tuple[float, float]:
    lines = [f'output{{id="{i}",batch="{number}"}} {s}' for i, s in zip(frame.id, frame.score, strict=True)]
    lines += [f'feedback{{id="{i}",batch="{number}"}} {v}' for i, v in zip(frame.id, frame.label, strict=True)]
    _Exposed.text += ("\n".join(lines) + "\n").encode()
    last = frame.id.iloc[-1]
    while _query(api, f'count(feedback{{id="{last}"}})') is None:  # until it has been scraped
        time.sleep(0.5)
    cost.log.append(_query(api, "scrape_duration_seconds") or 0.0)
    cost.refresh.append(0.0)
    batches = "|".join(str(n) for n in range(max(number - WINDOW + 1, 0), number + 1))

    def ask() -> tuple[float, float]:
        found = []
        for where in ("", f'{{batch=~"{batches}"}}'):
            right = f"(output{where} >= bool 0.5) == bool on (id) feedback{where}"
            found.append(_query(api, f"avg({right})") or 0.0)
        return found[0], found[1]

    answer, seconds = _timed(ask, 1)  # of seconds, one is enough
    cost.newest.append(seconds)
    whole, window = answer
    return whole, window


def _query(api: str, text: str) -> float | None:
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"{api}?{urllib.parse.urlencode({'query': text})}", timeout=600) as answer:
            result = json.load(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else None
    return None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _plot(costs: dict[str, Costs], size: int) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "fourfold"
    figure, panels = pyplot.subplots(1, 4, figsize=(14, 4), sharey=True, layout="constrained")
    colours = dict(zip(costs, ("#d95f02", "#7570b3", "#1b9e77", "#111111"), strict=True))
    for panel, part in zip(panels, ("newest", "chart", "log", "refresh"), strict=True):
        for name, cost in costs.items():
            values = getattr(cost, part)
            if any(values):
                at = [(i + 1) * size for i in range(len(values))]
                panel.plot(at, [1000 * v for v in values], label=name, color=colours[name], linewidth=1.6)
        panel.set(title=part, xlabel="points", yscale="log")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("milliseconds")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})
