"""Metrics: pure functions from counts to ``Value``, by scikit-learn's names, in one list.

To add one, write its function in the file of its family, list it here and describe it in docs/metrics.md. A name may
stand for several functions, each for other kinds of tasks: the ``recall`` of a binary and of a multiclass task.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from fourfold.errors import InputError, suggest
from fourfold.metrics import classes, classification, custom, drift, quality, ranking, regression, tasks
from fourfold.metrics.custom import register

__all__ = ["METRICS", "Metric", "Question", "parse", "register"]

Parameter = float | str
_LARGEST = sys.float_info.max


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, its function, and the counts it is a function of."""

    name: str
    function: Callable[..., Any]  # (Counts, **parameters) -> Value; a distance takes (Counts, reference Counts)
    kinds: tuple[str, ...]  # the kinds of series it can be read from, the preferred first
    bins: bool = False  # whether it needs the bins, or tallies and sums will do
    target: str = "column"  # what it is asked of: "column", "stream" or "task"
    series: str = ""  # of a task: the column of the series it is read from; {k} stands for a parameter
    tasks: tuple[str, ...] = ()  # of a task: the kinds of task that have it
    distance: bool = False
    curve: tuple[str, ...] = ()  # the columns by which it gives several values
    of_task: bool = False  # whether the function is given the task, too

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters, in order."""
        return list(_signature(self.function))[1 + (self.distance or self.of_task) :]


@functools.cache
def _signature(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _of_task(functions: dict[str, Callable[..., Any]], *kinds: str, bins: bool = False, **more: Any) -> list[Metric]:
    return [Metric(name, function, kinds, bins, "task", tasks=kinds, **more) for name, function in functions.items()]


def _series(name: str, function: Callable[..., Any], series: str, *kinds: str) -> Metric:
    return Metric(name, function, ("numeric",), True, "task", series, kinds)


_COLUMN = ("numeric", "category", "opaque")
_VALUES = ("category", "numeric")  # where a column has both forms, its values tell more than bins
_ALL = ("binary", "multiclass", "multilabel", "regression", "ranking", "decision")

_LISTED = [
    Metric("rows", quality.rows, ("stream",), target="stream"),
    Metric("duplicate_keys", quality.duplicate_keys, ("stream",), target="stream"),
    Metric("null_keys", quality.null_keys, ("stream",), target="stream"),
    Metric("null_key_rate", quality.null_key_rate, ("stream",), target="stream"),
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
    *_of_task(
        {f.__name__: f for f in (
            tasks.coverage, tasks.predictions, tasks.orphan_labels, tasks.expired_labels, tasks.withdrawn_labels,
            tasks.match_rate, tasks.fan_out,
        )},
        *_ALL,
    ),
    _series("label_delay", quality.quantile, "delay", *_ALL),
    *_of_task(
        {f.__name__: f for f in (
            classification.accuracy, classification.balanced_accuracy, classification.precision,
            classification.recall, classification.specificity, classification.f1,
            classification.matthews_corrcoef, classification.true_positives, classification.false_positives,
            classification.false_negatives, classification.true_negatives, classification.base_rate,
            classification.log_loss, classification.brier_score_loss,
        )},
        "binary",
    ),
    *_of_task(
        {f.__name__: f for f in (
            classification.roc_auc, classification.average_precision, classification.expected_calibration_error,
        )},
        "binary", bins=True,
    ),
    *_of_task({"calibration_curve": classification.calibration_curve}, "binary", bins=True, curve=("bin",)),
    *_of_task({"value": classification.value, "mean_value": classification.mean_value}, "binary", of_task=True),
    *_of_task(
        {"accuracy": classes.accuracy, "top_k_accuracy": classes.top_k_accuracy, "log_loss": classes.log_loss},
        "multiclass",
    ),
    *_of_task(
        {f.__name__: f for f in (
            classes.balanced_accuracy, classes.precision, classes.recall, classes.f1, classes.cohen_kappa,
            classes.matthews_corrcoef,
        )},
        "multiclass", bins=True,
    ),
    *_of_task({"confusion_matrix": classes.confusion_matrix}, "multiclass", bins=True, curve=("actual", "predicted")),
    *_of_task({"value": classes.value, "mean_value": classes.mean_value}, "multiclass", bins=True, of_task=True),
    *_of_task({"accuracy": classes.subset_accuracy, "jaccard": classes.jaccard}, "multilabel"),
    *_of_task(
        {"precision": classes.multilabel_precision, "recall": classes.multilabel_recall, "f1": classes.multilabel_f1,
         "hamming_loss": classes.hamming_loss},
        "multilabel", bins=True,
    ),
    *_of_task(
        {f.__name__: f for f in (
            regression.bias, regression.mean_absolute_error, regression.mean_squared_error,
            regression.root_mean_squared_error, regression.mean_absolute_percentage_error,
            regression.symmetric_mean_absolute_percentage_error, regression.mean_pinball_loss, regression.r2,
        )},
        "regression",
    ),
    _series("residual_quantile", regression.residual_quantile, "residual", "regression"),
    _series("median_absolute_error", regression.median_absolute_error, "absolute_error", "regression"),
    _series("mean_reciprocal_rank", ranking.mean, "reciprocal_rank", "ranking"),
    *(
        _series(name, ranking.at_cutoff, f"{series}_{{k}}", "ranking")
        for name, series in (
            ("ndcg", "ndcg"), ("mean_average_precision", "average_precision"), ("precision_at_k", "precision"),
            ("recall_at_k", "recall"), ("hit_rate", "hit"),
        )
    ),
    *_of_task(
        {f.__name__: f for f in (
            classes.override_rate, classes.agreement, classes.followed_outcome, classes.overridden_outcome,
            classes.outcome_difference,
        )},
        "decision",
    ),
    *_of_task({"cohen_kappa": classes.cohen_kappa}, "decision", bins=True),
    *_of_task({"decisions": classes.decisions}, "decision", bins=True, curve=("predicted", "done")),
]  # fmt: skip

METRICS: dict[str, tuple[Metric, ...]] = {}
for _metric in _LISTED:
    METRICS[_metric.name] = (*METRICS.get(_metric.name, ()), _metric)
custom.BUILT_IN |= METRICS.keys()


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A metric with its parameters: ``quantile(0.9)``, ``recall(threshold=0.3)``, ``f1(average=micro)``."""

    metric: Metric
    parameters: dict[str, Parameter]
    text: str

    @property
    def needs_bins(self) -> bool:
        """Whether bins must be read; another threshold than the task's is read off them too."""
        return self.metric.bins or "threshold" in self.parameters

    @property
    def series(self) -> str:
        """The column of the series to read, for a task's metric."""
        k = self.parameters.get("k")
        return self.metric.series.format(k=f"{k:g}" if isinstance(k, (int, float)) else k)


def known_metrics(target: str | None = None, kind: str | None = None) -> list[str]:
    """The names of the metrics of a kind of target, and of a kind of task."""
    fit = [m.name for m in _LISTED if target in (None, m.target) and (kind is None or not m.tasks or kind in m.tasks)]
    return list(dict.fromkeys([*fit, *(custom.REGISTERED if target in (None, "task") else ())]))


def parse(text: str, target: str | None = None, kind: str | None = None) -> Question:
    """The metric that a text names, such as ``recall``, ``quantile(0.9)`` or ``recall(threshold=0.3)``.

    Args:
        text: the metric, with its parameters.
        target: what it is asked of: "column", "stream" or "task".
        kind: of a task, its kind.

    Raises:
        UnknownNameError: no metric of that name, or none for this kind of target.
        InputError: a parameter is unknown, missing, or of the wrong type.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise InputError(f"metric {text!r} is not of the form name or name(number)") from error
    name = tree.func if isinstance(tree, ast.Call) else tree
    if not isinstance(name, ast.Name):
        raise InputError(f"metric {text!r} is not of the form name or name(number)")
    found = [m for m in METRICS.get(name.id, ()) if target in (None, m.target) and (kind is None or kind in m.tasks)]
    if name.id in custom.REGISTERED and target in (None, "task"):
        found = [_registered(custom.REGISTERED[name.id])]
    if not found:
        what = f"metric of a {f'{kind} ' if kind else ''}{target}" if target else "metric"
        raise suggest(what, name.id, known_metrics(target, kind))
    metric = found[0]
    given: dict[str, Parameter] = {}
    signature = _signature(metric.function)
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
            read = _text if signature[parameter].annotation == "str" else _number
            given[parameter] = read(node, text, parameter)
    for required in metric.parameters:
        if signature[required].default is inspect.Parameter.empty and required not in given:
            raise InputError(f"metric {text!r}: give {required}, as in {metric.name}({_EXAMPLES.get(required, 0.9)})")
    return Question(metric, given, text.strip())


_EXAMPLES = {"k": 10}


def _registered(found: custom.Custom) -> Metric:
    """A user's metric as one of ours."""
    if found.sums is None:
        return Metric(found.name, _not_additive, (), target="task", tasks=_ALL)
    return Metric(
        found.name, lambda counts: custom.read(counts, found), ("custom",), target="task", series=found.name, tasks=_ALL
    )  # fmt: skip


def _not_additive(counts: Any) -> Any:
    raise AssertionError("a metric that is not additive is read from the log")


def _text(node: ast.expr, text: str, parameter: str) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int)) and not isinstance(node.value, bool):
        return str(node.value)
    raise InputError(f"metric {text!r}: {parameter} must be a text")


def _number(node: ast.expr, text: str, parameter: str) -> float:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise InputError(f"metric {text!r}: {parameter} must be a finite number")
    return value
