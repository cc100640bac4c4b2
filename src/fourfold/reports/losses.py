"""The slices of a task, by how much of the whole's loss each carries."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from fourfold.model import Value
from fourfold.query.result import Result, Slice

_SMALLER = (  # is better
    "loss", "error", "fan_out", "override_rate", "label_delay", "hamming", "false_", "orphan_labels", "expired_labels",
    "withdrawn_labels", "bias", "residual_quantile",
)  # fmt: skip
_SIGNED = ("bias", "residual_quantile")  # are worse the farther from 0


@dataclasses.dataclass(frozen=True, slots=True)
class SliceLoss:
    """A slice: its value, its share of what the metric is about, and of the loss.

    The loss of a share is the number of its events that are not right (1 − recall of the positives, say), that of an
    error the sum of it; None for metrics that do not add up so, such as an AUC.
    """

    slice: Slice
    value: Value
    share: float | None
    loss: float | None


def losses(result: Result, metric: str) -> list[SliceLoss]:
    """The rows of a metric by slice, those that carry most of the loss first; then by value, the worst first."""
    rows = list(result)
    total = sum(row.value.n for row in rows)
    parts = [_loss(row.value, metric) for row in rows]
    whole = sum(part for part in parts if part is not None)
    found = [
        SliceLoss(
            row.slice, row.value, row.value.n / total if total else None,
            part / whole if part is not None and whole > 0 else None,
        )
        for row, part in zip(rows, parts, strict=True)
    ]  # fmt: skip
    return sorted(
        found,
        key=lambda s: (-(s.loss or 0.0), s.value.value is None, -_badness(s.value, metric), str(dict(s.slice))),
    )


def is_smaller_better(metric: str) -> bool:
    """Whether a smaller value of a metric is better.

    >>> is_smaller_better("brier_score_loss"), is_smaller_better("recall"), is_smaller_better("false_negatives")
    (True, False, True)
    """
    return any(part in metric for part in _SMALLER)


def _badness(value: Value, metric: str) -> float:
    """What is larger the worse a value is."""
    if metric.partition("(")[0] in _SIGNED:
        return abs(value.value or 0.0)
    return (value.value or 0.0) * (1 if is_smaller_better(metric) else -1)


def _loss(value: Value, metric: str) -> float | None:
    if value.value is None or not _adds_up(metric):
        return None
    return value.n * (abs(value.value) if is_smaller_better(metric) else max(1 - value.value, 0.0))


def _adds_up(metric: str) -> bool:
    name = metric.partition("(")[0]
    return name in _ADDITIVE


_ADDITIVE: Sequence[str] = (
    "accuracy", "recall", "precision", "specificity", "coverage", "hit_rate", "agreement", "brier_score_loss",
    "log_loss", "mean_absolute_error", "mean_squared_error", "ndcg", "mean_reciprocal_rank", "override_rate",
    "mean_absolute_percentage_error",
)  # fmt: skip
