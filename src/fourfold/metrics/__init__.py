"""Metrics: pure functions from counts to ``Value``, by scikit-learn's names, in one list.

To add one, write its function in the file of its family, list it here and describe it in docs/metrics.md.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from fourfold.errors import InputError, suggest
from fourfold.metrics import classification, drift, quality


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, its function, and the counts it is a function of."""

    name: str
    function: Callable[..., Any]  # (Counts, **parameters) -> Value; a distance takes (Counts, reference Counts)
    kinds: tuple[str, ...]  # the kinds of series it can be read from, the preferred first
    bins: bool = False  # whether it needs the bins, or tallies and sums will do
    target: str = "column"  # what it is asked of: "column", "stream" or "task"
    series: str = ""  # for a task: the column of the series it is read from
    distance: bool = False
    curve: bool = False  # whether it gives several values, by name

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters, in order."""
        return list(inspect.signature(self.function).parameters)[2 if self.distance else 1 :]


_COLUMN = ("numeric", "category", "opaque")
_VALUES = ("category", "numeric")  # where a column has both forms, its values tell more than bins
_BINARY = ("binary",)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in [
        Metric("rows", quality.rows, ("stream",), target="stream"),
        Metric("duplicate_keys", quality.duplicate_keys, ("stream",), target="stream"),
        Metric("null_keys", quality.null_keys, ("stream",), target="stream"),
        Metric("null_rate", quality.null_rate, _COLUMN),
        Metric("nan_rate", quality.nan_rate, ("numeric",)),
        Metric("infinite_rate", quality.infinite_rate, ("numeric",)),
        Metric("negative_rate", quality.negative_rate, ("numeric",)),
        Metric("zero_rate", quality.zero_rate, ("numeric",)),
        Metric("min", quality.minimum, ("numeric",)),
        Metric("max", quality.maximum, ("numeric",)),
        Metric("mean", quality.mean, ("numeric",)),
        Metric("std", quality.standard_deviation, ("numeric",), bins=True),
        Metric("quantile", quality.quantile, ("numeric",), bins=True),
        Metric("distinct", quality.distinct, ("category",), bins=True),
        *(
            Metric(function.__name__, function, kinds, bins=True, distance=True)
            for function, kinds in (
                (drift.population_stability_index, _VALUES), (drift.jensen_shannon, _VALUES),
                (drift.hellinger, _VALUES), (drift.total_variation, _VALUES),
                (drift.kolmogorov_smirnov, ("numeric",)), (drift.wasserstein, ("numeric",)),
            )
        ),
        *(
            Metric(function.__name__, function, _BINARY, target="task")
            for function in (
                classification.accuracy, classification.balanced_accuracy, classification.precision,
                classification.recall, classification.specificity, classification.f1,
                classification.matthews_corrcoef, classification.true_positives, classification.false_positives,
                classification.false_negatives, classification.true_negatives, classification.base_rate,
                classification.log_loss, classification.brier_score_loss, classification.coverage,
                classification.predictions, classification.orphan_labels, classification.expired_labels,
            )
        ),
        *(
            Metric(function.__name__, function, _BINARY, target="task", bins=True)
            for function in (
                classification.roc_auc, classification.average_precision,
                classification.expected_calibration_error,
            )
        ),
        Metric("calibration_curve", classification.calibration_curve, _BINARY, True, "task", curve=True),
        Metric("label_delay", quality.quantile, ("numeric",), True, "task", series="delay"),
    ]
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A metric with its parameters: ``quantile(0.9)``, ``recall(threshold=0.3)``."""

    metric: Metric
    parameters: dict[str, float]
    text: str

    @property
    def needs_bins(self) -> bool:
        """Whether bins must be read; another threshold than the task's is read off them too."""
        return self.metric.bins or "threshold" in self.parameters


def parse(text: str, target: str | None = None) -> Question:
    """The metric that a text names, such as ``recall``, ``quantile(0.9)`` or ``recall(threshold=0.3)``.

    Raises:
        UnknownNameError: no metric of that name, or none for this kind of target.
        InputError: a parameter is unknown, missing, or not a number.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise InputError(f"metric {text!r} is not of the form name or name(number)") from error
    name = tree.func if isinstance(tree, ast.Call) else tree
    if not isinstance(name, ast.Name):
        raise InputError(f"metric {text!r} is not of the form name or name(number)")
    metric = METRICS.get(name.id)
    known = [m.name for m in METRICS.values() if target in (None, m.target)]
    if metric is None or metric.name not in known:
        raise suggest(f"metric of a {target}" if target else "metric", name.id, known)
    given: dict[str, float] = {}
    if isinstance(tree, ast.Call):
        names = metric.parameters
        if len(tree.args) + len(tree.keywords) > len(names):
            raise InputError(f"metric {text!r}: {metric.name} takes {names or 'no parameters'}")
        for parameter, node in [
            *zip(names, tree.args, strict=False),
            *((k.arg or "", k.value) for k in tree.keywords),
        ]:
            if parameter not in names:
                raise InputError(f"metric {text!r}: {metric.name} has no parameter {parameter!r}, only {names}")
            given[parameter] = _number(node, text, parameter)
    signature = inspect.signature(metric.function).parameters
    for required in metric.parameters:
        if signature[required].default is inspect.Parameter.empty and required not in given:
            raise InputError(f"metric {text!r}: give {required}, as in {metric.name}(0.9)")
    return Question(metric, given, text.strip())


def _number(node: ast.expr, text: str, parameter: str) -> float:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"metric {text!r}: {parameter} must be a number")
    return value
