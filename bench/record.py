"""``ff.log`` of one record with 20 features, against a bare ``deque.append`` and a Prometheus counter."""

from __future__ import annotations

import collections
import gc
import statistics
import tempfile
import time
from collections.abc import Callable

import prometheus_client

import fourfold as ff
from bench.measure import Report

CALLS, ROUNDS = 2_000, 60


def per_call(action: Callable[[], object]) -> float:
    """Nanoseconds of this thread's CPU time for one call, over many in a row."""
    started = time.thread_time_ns()
    for _ in range(CALLS):
        action()
    return (time.thread_time_ns() - started) / CALLS


def alone(action: Callable[[], object]) -> int:
    """Nanoseconds of this thread's CPU time for one call, with reading the clock."""
    started = time.thread_time_ns()
    action()
    return time.thread_time_ns() - started


def run(report: Report) -> None:
    """Measure and report."""
    record = {f"feature_{i}": float(i) for i in range(20)} | {"id": "AA1"}
    queue: collections.deque[object] = collections.deque()
    counter = prometheus_client.Counter("calls", "calls", ["carrier"], registry=prometheus_client.CollectorRegistry())
    with tempfile.TemporaryDirectory() as folder:
        session = ff.init(folder, "bench")

        def keywords() -> None:
            ff.log("predict", key="AA1", **record)

        work: dict[str, Callable[[], object]] = {
            "deque.append of the same dict": lambda: queue.append(record),
            "prometheus_client Counter.labels(…).inc()": lambda: counter.labels("AA").inc(),
            "ff.log(stream, record, key=…)": lambda: ff.log("predict", record, key="id"),
            "ff.log(stream, key=…, **features)": keywords,
            "an empty call (what the loop itself costs)": lambda: None,
        }
        found: dict[str, list[float]] = {name: [] for name in work}
        gc.disable()
        for _ in range(ROUNDS):
            for name, action in work.items():
                found[name].append(per_call(action))
                queue.clear()
                session.sender.buffer.records.clear()  # what is sent in the background is not what the host waits for
        gc.enable()
        singles = {
            name: statistics.median(alone(action) for _ in range(20_000)) for name, action in list(work.items())[:4]
        }
        session.close()
    medians = {name: statistics.median(times) for name, times in found.items()}
    bare, prometheus, *_ = medians.values()
    one_bare, one_prometheus, *_ = singles.values()
    rows = []
    for name, ns in medians.items():
        single = singles.get(name)
        each = (
            [f"{single:,.0f} ns", f"{single / one_bare:.1f}", f"{single / one_prometheus:.2f}"]
            if single
            else ["", "", ""]
        )
        rows.append([name, f"{ns:,.0f} ns", f"{ns / bare:.1f}", f"{ns / prometheus:.2f}", *each])
    report.table(
        "Logging one record with 20 features",
        ["", "in a loop", "/ append", "/ inc", "call by call", "/ append", "/ inc"],
        rows,
        "Thread CPU time (`time.thread_time_ns`). In a loop: of 2,000 calls in a row, the median of 60 rounds in turn. "
        "Call by call: the median of 20,000 calls timed one at a time, with what reading the clock costs in each. "
        "The record is copied (the host may change it afterwards) and stamped with the time; that is most of it.",
    )
