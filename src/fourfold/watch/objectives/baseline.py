"""The best constant predictor: what the same metric would be if every prediction were the same."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

from fourfold.errors import FourfoldError
from fourfold.model import EVERYTHING, Owner, Task, Window, slice_key
from fourfold.model.objective import FRESHNESS, OF_RUNS
from fourfold.query.counts import CurrentCounts, by_window, pooled
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.query.result import Result
from fourfold.query.target import resolve
from fourfold.watch.objectives.reading import Reading


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """A constant predictor's value of a metric, and which it is; without a value, ``words`` says why there is none."""

    value: float | None
    words: str = ""

    @staticmethod
    def of(constants: Mapping[str, Baseline], place: Mapping[str, str | None]) -> Baseline:
        """That of a slice."""
        return constants.get(slice_key(place), _NOTHING)


_NOTHING = Baseline(None)
_SAME, _RATE = "always the same", "always the base rate"
_TRIVIAL = {  # metrics of which a constant makes a nonsense
    "recall": "deciding all positive finds each one: recall is 1, and says nothing",
    "specificity": "deciding all negative is right about each negative: specificity is 1, and says nothing",
    "base_rate": "labels do not depend on the predictions",
    "matthews_corrcoef": "a constant has no correlation with the labels",
    "coverage": "labels do not depend on the predictions", "match_rate": "labels do not depend on the predictions",
}  # fmt: skip
_BINARY: Mapping[str, tuple[Callable[[float], float], str]] = {  # from the share of positives
    "accuracy": (lambda p: max(p, 1 - p), "always the more frequent label"),
    "precision": (lambda p: p, "always positive"),
    "f1": (lambda p: 2 * p / (1 + p), "always positive"),
    "balanced_accuracy": (lambda p: 0.5, _SAME),
    "roc_auc": (lambda p: 0.5, _SAME),
    "average_precision": (lambda p: p, _SAME),
    "brier_score_loss": (lambda p: p * (1 - p), _RATE),
    "log_loss": (lambda p: _entropy([p, 1 - p]), _RATE),
    "expected_calibration_error": (lambda p: 0.0, _RATE),
}
_MULTICLASS: Mapping[str, tuple[Callable[[list[float]], float], str]] = {  # from the shares of the classes
    "accuracy": (lambda shares: max(shares), "always the most frequent class"),
    "balanced_accuracy": (lambda shares: 1 / len(shares), _SAME),
    "log_loss": (lambda shares: _entropy(shares), "always the shares of the classes"),
}
_REGRESSION: Mapping[str, tuple[Callable[[float], float], str]] = {  # from the variance of the actual values
    "mean_squared_error": (lambda variance: variance, "always their mean"),
    "root_mean_squared_error": (math.sqrt, "always their mean"),
    "r2": (lambda variance: 0.0, "always their mean"),
    "bias": (lambda variance: 0.0, "always their mean"),
}


def baselines(reader: Reader, reading: Reading) -> dict[str, Baseline]:
    """The best constant predictor in the window of an objective, by slice: of the labels that are in, from counts."""
    objective = reading.objective
    if reading.reason or objective.name_of_metric in (*OF_RUNS, FRESHNESS):
        return {}
    task = resolve(reader, objective.target).task
    if task is None:
        return {}

    def ask(name: str) -> Result:
        by = list(objective.by) or None
        return metric(reader, task.name, name, start=reading.window.start, end=reading.end, by=by)

    try:
        if (task.kind, objective.name_of_metric, objective.by) == ("regression", "mean_absolute_error", ()):
            return _of_median(reader, reading, task)
        found = _constants(task, objective.name_of_metric, ask)
    except FourfoldError:
        found = {}
    why = _TRIVIAL.get(objective.name_of_metric, f"none is known for {objective.name_of_metric} of a {task.kind} task")
    return {slice_key(one.slice): found.get(slice_key(one.slice), Baseline(None, why)) for one in reading.slices}


def _constants(task: Task, name: str, ask: Callable[[str], Result]) -> dict[str, Baseline]:
    match task.kind:
        case "binary" if name in _BINARY:
            of, words = _BINARY[name]
            shares = ((row.slice, row.value.value) for row in ask("base_rate"))
            return {slice_key(place): Baseline(of(p), words) for place, p in shares if p is not None}
        case "multiclass" if name in _MULTICLASS:
            of_shares, words = _MULTICLASS[name]
            several = _class_shares(ask("confusion_matrix")).items()
            return {place: Baseline(of_shares(shares), words) for place, shares in several}
        case "regression" if name in _REGRESSION:
            of, words = _REGRESSION[name]
            return {place: Baseline(of(variance), words) for place, variance in _variances(ask).items()}
    return {}


def _class_shares(matrix: Result) -> dict[str, list[float]]:
    """The share of each class among the labels, by slice."""
    found: dict[str, collections.Counter[str | None]] = collections.defaultdict(collections.Counter)
    for row in matrix:
        place = {name: value for name, value in row.slice.items() if name not in ("actual", "predicted")}
        if row.value.value:
            found[slice_key(place)][row.slice["actual"]] += round(row.value.value)
    return {place: [n / classes.total() for n in classes.values() if n] for place, classes in found.items()}


def _variances(ask: Callable[[str], Result]) -> dict[str, float]:
    """The variance of the actual values, by slice: MSE ÷ (1 − R²), by the definition of R²."""
    found = {}
    for error, explained in zip(ask("mean_squared_error"), ask("r2"), strict=True):
        squared, r2 = error.value.value, explained.value.value
        if squared is not None and r2 is not None and r2 < 1:
            found[slice_key(error.slice)] = squared / (1 - r2)
    return found


def _of_median(reader: Reader, reading: Reading, task: Task) -> dict[str, Baseline]:
    """The mean distance of the labels to their median, from the bins of their own stream, by their own times."""
    source = CurrentCounts(reader, Owner.of_stream(task.label.stream))
    window = Window(reading.window.start, reading.end)
    found, _ = by_window(source, task.label.column, ("numeric",), (), [window], reading.unit)
    total = pooled(entry for _, entry in found)
    if total is None or total.binning is None or not total.counts.sum():
        return {}
    middles, weights = total.binning.middles(total.bins), total.counts
    median = middles[np.searchsorted(np.cumsum(weights), weights.sum() / 2)]
    error = float(np.average(np.abs(middles - median), weights=weights))
    return {EVERYTHING: Baseline(error, "always their median (of the labels of this window by their own times)")}


def _entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share > 0)
