"""Estimates on the flights with labels hidden for 30 days, beside the last known value, against what came true."""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile

import fourfold as ff
from bench.measure import Report
from fourfold.examples import flights

METRICS = ("roc_auc", "recall", "precision", "accuracy")
HIDDEN = dt.timedelta(days=30)
WEEK = dt.timedelta(days=7)
FIRST, LAST = dt.date(2013, 5, 20), dt.date(2013, 12, 23)  # from when on a week is settled, to the last whole one


def run(report: Report) -> None:
    """For each week: what was estimated when it ended, what was known last then, and what it turned out to be."""
    with tempfile.TemporaryDirectory() as folder:
        session = ff.init(folder, "flights")
        flights.main()
        rows = [_row(metric) for metric in METRICS]
        session.close()
    report.table(
        "Estimates with labels hidden for 30 days: the flights, by week",
        ["metric", "weeks", "estimate: mean absolute error", "last known value: mean absolute error", "ratio"],
        rows,
        "When a week has ended, none of its labels, nor of the 30 days before, is known. The estimate takes the week's "
        "scores with the calibration of all that is settled; the naive answer is the metric of the newest settled "
        "week. Both are held against the week's metric once all labels are in. `roc_auc` and `recall` are those that "
        "the estimate has to win.",
    )


def _row(metric: str) -> list[str]:
    weeks = [FIRST + i * WEEK for i in range((LAST - FIRST) // WEEK)]
    estimated, naive = [], []
    for start in weeks:
        truth = _value(metric, start)
        last_known = _value(metric, start - HIDDEN)
        error = ff.metric("late", metric, start=start, end=start + WEEK, estimate="error").value.value
        if error is not None and truth is not None and last_known is not None:
            estimated.append(abs(error))
            naive.append(abs(last_known - truth))
    ours, theirs = statistics.mean(estimated), statistics.mean(naive)
    return [f"`{metric}`", str(len(estimated)), f"{ours:.4f}", f"{theirs:.4f}", f"{ours / theirs:.2f}"]


def _value(metric: str, start: dt.date) -> float | None:
    return ff.metric("late", metric, start=start, end=start + WEEK).value.value
