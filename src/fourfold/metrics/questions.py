"""Questions: a metric's name and parameters as users write them."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from fourfold.counts import Counts, Panel
from fourfold.errors import InputError, suggest
from fourfold.metrics import custom
from fourfold.metrics.declared import METRICS, Additive, FromLog, Parameter
from fourfold.model import Task

_LARGEST = sys.float_info.max
_EXAMPLES = {"k": 10}


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A metric with its parameters: ``quantile(0.9)``, ``recall(threshold=0.3)``, ``f1(average=micro)``."""

    metric: Additive | FromLog
    parameters: dict[str, Parameter]
    text: str

    @property
    def needs_bins(self) -> bool:
        """Whether bins must be read; so they must for another threshold than the task's."""
        return self.metric.bins or "threshold" in self.parameters

    @property
    def series(self) -> str:
        """The column of the series to read, for a task's metric."""
        return self.metric.series.format(k=self._k)

    @property
    def title(self) -> str:
        """The title of a column of its values: "NDCG@10"."""
        if self.metric.name == "quantile" and self.parameters.get("q") == 0.5:
            return "median"
        return (self.metric.title or self.metric.name) + (f"@{self._k}" if "k" in self.parameters else "")

    @property
    def _k(self) -> str:
        k = self.parameters.get("k")
        return f"{k:g}" if isinstance(k, (int, float)) else str(k)

    def of(self, counts: Counts, reference: Counts | None = None, task: Task | None = None) -> Any:
        """The metric of some counts: a ``Value``, or a ``Curve`` where it has several.

        Args:
            counts: of one series in one window, of a kind that the metric can be read from.
            reference: for a distance, what to compare with.
            task: for a metric that needs it.
        """
        assert isinstance(self.metric, Additive), "a metric that is not additive is read from the log"
        return self.metric.of(counts, reference, task, **self.parameters)

    def of_panel(self, panel: Panel) -> list[Any] | None:
        """The metric of each row; None if it must be computed row by row."""
        if not (isinstance(self.metric, Additive) and self.metric.by_panel):
            return None
        return self.metric.of_panel(panel, **self.parameters)


def known_metrics(target: str | None = None, kind: str | None = None) -> list[str]:
    """The names of the metrics for a kind of target, and a kind of task."""
    fit = [name for name, several in METRICS.items() if any(_fits(metric, target, kind) for metric in several)]
    return [*fit, *(custom.REGISTERED if target in (None, "task") else ())]


def headlines(kind: str, k: int) -> list[str]:
    """The main metrics of a kind of task; k is the rank at which a ranking is evaluated."""
    fit = [m for several in METRICS.values() for m in several if m.headline and kind in m.tasks]
    return [f"{m.name}({k})" if "k" in m.required else m.name for m in sorted(fit, key=lambda m: m.headline)]


def parse(text: str, target: str | None = None, kind: str | None = None) -> Question:
    """The metric that a text names, such as ``recall``, ``quantile(0.9)`` or ``recall(threshold=0.3)``.

    Args:
        text: the metric, with its parameters.
        target: its kind of target: "column", "stream" or "task".
        kind: for a task, its kind.

    Raises:
        UnknownNameError: no metric has that name, or none for this kind of target.
        InputError: a parameter is unknown, missing, or of the wrong type.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise InputError(f"metric {text!r} is not of the form name or name(number)") from error
    name = tree.func if isinstance(tree, ast.Call) else tree
    if not isinstance(name, ast.Name):
        raise InputError(f"metric {text!r} is not of the form name or name(number)")
    metric = _metric(name.id, target, kind)
    given: dict[str, Parameter] = {}
    if isinstance(tree, ast.Call):
        names = list(metric.parameters)
        if len(tree.args) + len(tree.keywords) > len(names):
            raise InputError(f"metric {text!r}: {metric.name} takes {names or 'no parameters'}")
        for parameter, node in [
            *zip(names, tree.args, strict=False),
            *((k.arg or "", k.value) for k in tree.keywords),
        ]:
            if parameter not in names:
                raise InputError(f"metric {text!r}: {metric.name} has no parameter {parameter!r}, only {names}")
            given[parameter] = _READ[metric.parameters[parameter]](node, f"metric {text!r}: {parameter}")
    for parameter in metric.required:
        if parameter not in given:
            example = f"{metric.name}({_EXAMPLES.get(parameter, 0.9)})"
            raise InputError(f"metric {text!r}: give {parameter}, as in {example}")
    return Question(metric, given, text.strip())


def _metric(name: str, target: str | None, kind: str | None) -> Additive | FromLog:
    if name in custom.REGISTERED and target in (None, "task"):
        return custom.REGISTERED[name].metric
    for metric in METRICS.get(name, ()):
        if _fits(metric, target, kind):
            return metric
    what = f"metric of a {f'{kind} ' if kind else ''}{target}" if target else "metric"
    raise suggest(what, name, known_metrics(target, kind))


def _fits(metric: Additive, target: str | None, kind: str | None) -> bool:
    return target in (None, metric.target) and (kind is None or kind in metric.tasks)


def _text(node: ast.expr, what: str) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int)) and not isinstance(node.value, bool):
        return str(node.value)
    raise InputError(f"{what} must be a text")


def _number(node: ast.expr, what: str) -> float:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise InputError(f"{what} must be a finite number")
    return value


def _whole(node: ast.expr, what: str) -> int:
    value = _number(node, what)
    if value != int(value) or value < 1:
        raise InputError(f"{what} must be a whole number, at least 1")
    return int(value)


_READ: dict[type, Callable[[ast.expr, str], Parameter]] = {str: _text, float: _number, int: _whole}
