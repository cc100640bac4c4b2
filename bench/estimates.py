"""Estimates beside the last known value and a public estimator's method, against what came true."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import statistics
import tempfile
from collections.abc import Callable

import numpy as np
from sklearn.isotonic import IsotonicRegression
from tests.support import fold_joined

import fourfold as ff
from bench.measure import Report
from fourfold import config
from fourfold.counts import Counts
from fourfold.counts.binning import Floats
from fourfold.examples import flights
from fourfold.metrics import estimate, parse
from fourfold.model import DAY, Owner, Window
from fourfold.query.counts import EVER, CurrentCounts, by_window
from fourfold.query.target import resolve
from fourfold.store import Store

METRICS = ("roc_auc", "recall", "precision", "accuracy")
HIDDEN = dt.timedelta(days=30)
WEEK = dt.timedelta(days=7)
FIRST, LAST = dt.date(2013, 5, 20), dt.date(2013, 12, 23)  # from when on a week is settled, to the last whole one


# base log odds and threshold; how far the log odds shift; settled and unlabelled records; the truth behind a score
DECIDED = ((-1.0, 0.5), (-2.5, 0.5), (-3.5, 0.3), (0.0, 0.7))
SHIFTS = (0.0, 0.7, -0.5)
SIZES = ((3_000, 1_000), (20_000, 5_000))
SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "calibrated": lambda score: score,
    "too sure": lambda score: 1 / (1 + (1 / score - 1) ** 0.75 * math.exp(0.2)),
    "capped": lambda score: 0.02 + 0.6 * score,
}
SIMULATED = ("precision", "recall", "f1", "accuracy", "roc_auc")


def run(report: Report) -> None:
    """The simulation, and the flights."""
    _simulated(report)
    _flights(report)


def _simulated(report: Report, draws: int = 8) -> None:
    """Settled records and a window whose inputs have shifted: this estimate, isotonic calibration, the last value."""
    errors: dict[tuple[bool, str], list[list[float]]] = {}
    for shape, ((base, threshold), shift, sizes), number in itertools.product(
        SHAPES, itertools.product(DECIDED, SHIFTS, SIZES), range(draws)
    ):
        random = np.random.default_rng([number, *(round(10 * x) + 50 for x in (base, shift)), sizes[0]])
        settled, window = (_drawn(random, n, base + by, SHAPES[shape]) for n, by in zip(sizes, (0, shift), strict=True))
        task = config.make_task("t", prediction="p.score", label="l.label", threshold=threshold)
        hidden = fold_joined(task, window[0], np.full(sizes[1], np.nan))[""]
        ours = estimate.expected(hidden, fold_joined(task, *settled)[""], task).counts
        assert ours is not None
        isotonic = IsotonicRegression(out_of_bounds="clip").fit(*settled).predict(window[0])
        for name in SIMULATED:
            estimated = parse(name, "task", "binary").of(ours).value
            others = [_weighed(name, score, weight, threshold) for score, weight in ((window[0], isotonic), settled)]
            true = _weighed(name, window[0], window[1], threshold)
            if estimated is not None and not any(map(math.isnan, (true, *others))):
                errors.setdefault((shift != 0, name), []).append([abs(e - true) for e in (estimated, *others)])
    report.table(
        "Estimates without labels, simulated: mean absolute error",
        ["inputs", "metric", "draws", "estimate", "isotonic calibration", "last known value"],
        [
            [
                "shifted" if shifted else "as before",
                f"`{name}`",
                str(len(rows)),
                *(f"{x:.4f}" for x in np.mean(rows, 0)),
            ]
            for (shifted, name), rows in sorted(errors.items())
        ],
        "3,000 or 20,000 settled records and 1,000 or 5,000 of which no label is known, from scores that are "
        "calibrated, too sure, or capped; of 3 to 50 % the label is positive. Isotonic calibration of each score and "
        "the expected confusion matrix are the method of NannyML's CBPE, with scikit-learn's regression.",
    )


def _drawn(random: np.random.Generator, n: int, middle: float, shape: Callable[[Floats], Floats]) -> list[Floats]:
    score = 1 / (1 + np.exp(-random.normal(middle, 1.3, n)))
    return [score, (random.random(n) < shape(score)).astype(float)]


def _weighed(name: str, score: Floats, positive: Floats, threshold: float) -> float:
    """A metric of scores of which each is positive by some share (with labels: 0 or 1)."""
    negative, decided = 1 - positive, score >= threshold
    if name == "roc_auc":
        order = np.argsort(score)
        below = np.cumsum(negative[order]) - negative[order] / 2
        return float((positive[order] @ below) / (positive.sum() * negative.sum()))
    tp, fp, fn, tn = (
        float(x.sum()) for x in (positive[decided], negative[decided], positive[~decided], negative[~decided])
    )
    above, whole = {
        "precision": (tp, tp + fp), "recall": (tp, tp + fn), "f1": (2 * tp, 2 * tp + fp + fn),
        "accuracy": (tp + tn, len(score)),
    }[name]  # fmt: skip
    return above / whole if whole else math.nan


def _flights(report: Report) -> None:
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
        "the estimate has to win. The last column is what the same method errs by where it is calibrated with the "
        "labels of the whole year, its own week's too. Of the precision that is hardly less: how often a flight of a "
        "given score is late changes from month to month with what the model does not see (concept drift), of which "
        "last month's value tells more than any calibration that is the same for all the year.",
    )


def _row(metric: str, store: Store) -> list[str]:
    weeks = [FIRST + i * WEEK for i in range((LAST - FIRST) // WEEK)]
    estimated, naive, informed = [], [], []
    for start in weeks:
        truth = _value(metric, start)
        last_known = _value(metric, start - HIDDEN)
        error = ff.metric("late", metric, start=start, end=start + WEEK, estimate_error=True).value.value
        if error is not None and truth is not None and last_known is not None:
            estimated.append(abs(error))
            naive.append(abs(last_known - truth))
            informed.append(abs(_informed(metric, start, store) - truth))
    ours, theirs, best = (statistics.mean(errors) for errors in (estimated, naive, informed))
    return [f"`{metric}`", str(len(estimated)), f"{ours:.4f}", f"{theirs:.4f}", f"{ours / theirs:.2f}", f"{best:.4f}"]


def _informed(metric: str, start: dt.date, store: Store) -> float:
    """The estimate of a week that is calibrated with all labels of the year."""
    task, question = resolve(store.caught_up(), "late").task, parse(metric, "task", "binary")
    assert task is not None
    begin = int(dt.datetime.combine(start, dt.time(), dt.UTC).timestamp())
    week, year = (_counts(store, window) for window in (Window(begin, begin + 7 * DAY), EVER))
    found = estimate.value(estimate.expected(week, year, task), question.of).value
    assert found is not None
    return found


def _counts(store: Store, window: Window) -> Counts:
    ((_, found),) = by_window(
        CurrentCounts(store.caught_up(), Owner.of_task("late")), "", ("binary",), (), [window], DAY
    )[0]
    return found


def _value(metric: str, start: dt.date) -> float | None:
    return ff.metric("late", metric, start=start, end=start + WEEK).value.value
