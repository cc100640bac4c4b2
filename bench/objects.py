"""A log on object storage: requests, bytes and money for a million records.

``python -m bench.objects [--short]`` runs this table alone and rewrites its section of RESULTS.md; a short run has few
records, to look at, and writes nothing. The server is the tests' own, so that requests and bytes mean something, and
times do not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import fs
from tests.objects import KINDS, Traffic, environment, fresh, server

import fourfold as ff
from bench.measure import RESULTS, Report

MILLION = 1_000_000
# The list price of S3 Standard in us-east-1, in dollars; removing costs nothing.
PER_THOUSAND = {"PUT": 0.005, "COPY": 0.005, "POST": 0.005, "LIST": 0.005, "GET": 0.0004, "HEAD": 0.0004, "DELETE": 0.0}
PER_GIGABYTE_AND_MONTH = 0.023


def price(traffic: Traffic) -> float:
    """What requests cost, in dollars."""
    return sum(PER_THOUSAND[kind] * number / 1_000 for kind, number in traffic.requests.items())


def row(what: str, traffic: Traffic, records: int) -> list[str]:
    """A line of the table, for a million records."""
    scale = MILLION / records if records else 1.0
    numbers = [f"{traffic.requests[kind] * scale:,.0f}" for kind in KINDS]
    sizes = [f"{size * scale / 1e6:,.1f} MB" for size in (traffic.uploaded, traffic.downloaded)]
    return [what, *numbers, *sizes, f"${price(traffic) * scale:.5f}"]


def stored(address: str) -> int:
    """How many bytes are under an address."""
    files = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    selector = fs.FileSelector(address.removeprefix("s3://"), recursive=True)
    return sum(info.size or 0 for info in files.get_file_info(selector))


def measured(batch: int, batches: int) -> tuple[list[list[str]], str]:
    """Predictions and their labels in batches: logged, taken and counted batch by batch, and asked for; and what a
    month of a million records costs.
    """
    proxy, chance, passed = server(), np.random.default_rng(0), dict[str, list[Traffic]]()

    def do(what: str, action: Callable[[], object]) -> None:
        with proxy.counting() as traffic:
            action()
        passed.setdefault(what, []).append(traffic())

    address = fresh()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= environment(proxy) | {"FOURFOLD_SPOOL": str(Path(folder) / "spool")}
        session = ff.init(address, "bench", state=str(Path(folder) / "state"))
        ff.task("late", prediction="predict.score", label="arrivals.late", threshold=0.5, slices=["side"])
        ff.flush()
        session.store.writer.catch_up()
        for number in range(batches):
            keys = [f"{number}-{i}" for i in range(batch)]
            predictions = pa.table(
                {"id": keys, "score": chance.random(batch), "side": chance.choice(["l", "r"], batch)}
            )
            labels = pa.table({"id": keys, "late": chance.random(batch) < 0.5})

            def log(predictions: pa.Table = predictions, labels: pa.Table = labels) -> None:
                ff.log("predict", predictions, key="id")
                ff.log("arrivals", labels, key="id")
                ff.flush()

            do("log", log)
            do("collect", session.store.writer.collect)
            do("fold", session.store.writer.catch_up)
            do("ask", lambda: ff.metric("late", "recall", by="side"))
        session.close()
    records = 2 * batch * batches
    total = {what: _sum(several) for what, several in passed.items()}
    size = f"{batches:,} × 2 messages of {batch:,}"
    rows = [row(f"{what}, {size}", total[what], records) for what in ("log", "collect", "fold")]
    rows.append(row(f"one question, nothing new ({size} before)", passed["ask"][-1], 0))
    size_of_million = stored(address) * MILLION / records
    month = f"${size_of_million / 1e9 * PER_GIGABYTE_AND_MONTH:.5f}"
    return rows, f"After {size}, a million records take {size_of_million / 1e6:,.1f} MB ({month} a month)."


def _sum(several: list[Traffic]) -> Traffic:
    total = Traffic()
    for traffic in several:
        total.requests.update(traffic.requests)
    return Traffic(total.requests, total.faults, sum(t.uploaded for t in several), sum(t.downloaded for t in several))


def run(report: Report, *, short: bool = False) -> None:
    """Measure and report."""
    found = [measured(*size) for size in ([(1_000, 3)] if short else [(1_000, 60), (25_000, 10)])]
    report.table(
        "Log on object storage: requests",
        ["for a million records", *KINDS, "in", "out", "requests cost"],
        [line for lines, _ in found for line in lines],
        "Half of the records are predictions, half their labels. Each pair of messages is taken and counted before the "
        "next is sent; messages that wait are taken together, so that a fold every minute needs the requests of one "
        "pair a minute whatever their number. The last line of each size is of one question, not of a million records. "
        "Assumed is the list price of S3 Standard (us-east-1): PUT, COPY, POST and LIST $0.005 for 1,000, GET and HEAD "
        f"$0.0004, DELETE nothing, and ${PER_GIGABYTE_AND_MONTH} for a gigabyte and month; traffic within a region "
        "costs nothing. A bulk delete is counted as a POST. " + " ".join(said for _, said in found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few records; write nothing")
    arguments = parser.parse_args()
    report = Report()
    run(report, short=arguments.short)
    if not arguments.short:
        report.update(RESULTS)


if __name__ == "__main__":
    main()
