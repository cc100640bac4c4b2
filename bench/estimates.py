"""Estimates on the flights with labels hidden for 30 days, beside the last known value, against what came true."""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile

import fourfold as ff
from bench.measure import Report
from fourfold.counts import Counts
from fourfold.examples import flights
from fourfold.metrics import estimate, parse
from fourfold.model import DAY, Window
from fourfold.store import Store
from fourfold.store.read import EVER, load, resolve
from fourfold.store.source import Stored

METRICS = ("roc_auc", "recall", "precision", "accuracy")
HIDDEN = dt.timedelta(days=30)
WEEK = dt.timedelta(days=7)
FIRST, LAST = dt.date(2013, 5, 20), dt.date(2013, 12, 23)  # from when on a week is settled, to the last whole one


def run(report: Report) -> None:
    """For each week: what was estimated when it ended, what was known last then, and what it turned out to be."""
    with tempfile.TemporaryDirectory() as folder:
        session = ff.init(folder, "flights")
        flights.main()
        rows = [_row(metric, session.store) for metric in METRICS]
        session.close()
    report.table(
        "Estimates with labels hidden for 30 days: the flights, by week",
        [
            "metric",
            "weeks",
            "estimate: mean absolute error",
            "last known value: mean absolute error",
            "ratio",
            "calibrated with the whole year's labels",
        ],
        rows,
        "When a week has ended, none of its labels, nor of the 30 days before, is known. The estimate takes the week's "
        "scores with the calibration of all that is settled; the naive answer is the metric of the newest settled "
        "week. Both are held against the week's metric once all labels are in. `roc_auc` and `recall` are those that "
        "the estimate has to win. The last column is what the same method errs by where it is calibrated with the labels "
        "of the whole year, its own week's too. Of the precision that is hardly less: how often a flight of a given score "
        "is late changes from month to month with what the model does not see (concept drift), which last month's value "
        "tells more of than any calibration that is the same for all the year.",
    )


def _row(metric: str, store: Store) -> list[str]:
    weeks = [FIRST + i * WEEK for i in range((LAST - FIRST) // WEEK)]
    estimated, naive, informed = [], [], []
    for start in weeks:
        truth = _value(metric, start)
        last_known = _value(metric, start - HIDDEN)
        error = ff.metric("late", metric, start=start, end=start + WEEK, estimate="error").value.value
        if error is not None and truth is not None and last_known is not None:
            estimated.append(abs(error))
            naive.append(abs(last_known - truth))
            informed.append(abs(_informed(metric, start, store) - truth))
    ours, theirs, best = (statistics.mean(errors) for errors in (estimated, naive, informed))
    return [f"`{metric}`", str(len(estimated)), f"{ours:.4f}", f"{theirs:.4f}", f"{ours / theirs:.2f}", f"{best:.4f}"]


def _informed(metric: str, start: dt.date, store: Store) -> float:
    """The estimate of a week that is calibrated with all labels of the year."""
    task, question = resolve(store, "late").task, parse(metric, "task", "binary")
    assert task is not None
    begin = int(dt.datetime.combine(start, dt.time(), dt.UTC).timestamp())
    week, year = (_counts(store, window) for window in (Window(begin, begin + 7 * DAY), EVER))
    found = estimate.value(estimate.expected(week, year, task), question.metric.function).value
    assert found is not None
    return found


def _counts(store: Store, window: Window) -> Counts:
    ((_, found),) = load(Stored(store, "task:late"), "", ("binary",), (), [window], DAY)[0]
    return found


def _value(metric: str, start: dt.date) -> float | None:
    return ff.metric("late", metric, start=start, end=start + WEEK).value.value
