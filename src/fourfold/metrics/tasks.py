"""Metrics of all kinds of tasks: coverage, counts of predictions and labels, and reasons for no data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fourfold.counts import Counts, Panel
from fourfold.counts.binning import Floats
from fourfold.metrics.declared import TASKS, metric
from fourfold.metrics.intervals import Interval, wilson
from fourfold.model import Value

OVERFLOW = "the sums overflow: some values are too large to be added up"
_REASONS = (
    ("expired", "labels came later than the horizon (does the label stream pass time=?)"),
    ("withdrawn", "labels were withdrawn (are null)"),
)
LABELS = {  # what a label must be
    "binary": "0 or 1, true or false; for other labels declare positive=", "regression": "a finite number",
    "ranking": "a finite number", "multilabel": "a list of classes", "multiclass": "a class",
    "decision": "the action taken; with a threshold true or false",
}  # fmt: skip


@metric(*TASKS, title="labelled", headline=9)
def coverage(counts: Counts) -> Value:
    """Labelled ÷ predicted."""
    predicted, labelled = counts.tally("predicted"), counts.tally("labelled")
    if predicted <= 0:
        return Value.no_data("no predictions in this window")
    return Value(labelled / predicted, *wilson(labelled, predicted), predicted, labelled / predicted)


@metric(*TASKS)
def predictions(counts: Counts) -> Value:
    """The number of predicted keys (ranking: queries); a repeated prediction counts once."""
    n = counts.tally("predicted")
    return Value(float(n), n=n, coverage=covered(counts)) if n else Value.no_data("no predictions in this window")


@metric(*TASKS)
def orphan_labels(counts: Counts) -> Value:
    """The number of labels whose key was never predicted, by the label's own time."""
    return Value(float(counts.tally("orphan")), n=counts.tally("orphan"))


@metric(*TASKS)
def expired_labels(counts: Counts) -> Value:
    """The number of predictions that were labelled only after the horizon."""
    return Value(float(counts.tally("expired")), n=counts.tally("predicted"))


@metric(*TASKS)
def withdrawn_labels(counts: Counts) -> Value:
    """The number of predictions whose newest label is null."""
    return Value(float(counts.tally("withdrawn")), n=counts.tally("predicted"))


@metric(*TASKS)
def match_rate(counts: Counts) -> Value:
    """The share of labels whose key was predicted: the health of the join."""
    matched, orphan = counts.tally("matched"), counts.tally("orphan")
    if matched + orphan <= 0:
        return Value.no_data("no labels in this window")
    return Value(matched / (matched + orphan), *wilson(matched, matched + orphan), matched + orphan)


@metric(*TASKS)
def fan_out(counts: Counts) -> Value:
    """The rows per key of a plain join of the two streams, over keys that both have; 1 if none is repeated."""
    matched = counts.tally("matched")
    if matched <= 0:
        return Value.no_data("no labels joined in this window")
    return Value(counts.tally("pairs") / matched, n=matched)


def covered(counts: Counts) -> float | None:
    """Labelled ÷ predicted, as the coverage that a value carries."""
    predicted = counts.tally("predicted")
    return counts.tally("labelled") / predicted if predicted > 0 else None


def unlabelled(counts: Counts) -> Value | None:
    """Why there is no data if no prediction has a label."""
    predicted, labelled = counts.tally("predicted"), counts.tally("labelled")
    if labelled > 0:
        return None
    if predicted <= 0:
        return Value.no_data("no predictions in this window")
    reason = f"no labels yet for {predicted} predictions"
    for tally, words in _REASONS:
        if counts.tally(tally):
            reason += f"; {counts.tally(tally)} {words}"
    return Value.no_data(reason, coverage=0.0)


def noted(value: Value, counts: Counts) -> Value:
    """The value, with the number of the window's unusable labels and predictions in its reason."""
    labels, predictions_ = counts.tally("invalid_label"), counts.tally("unscored")
    if not (labels > 0 or predictions_ > 0):
        return value
    notes = [value.reason]
    if labels > 0:
        notes.append(f"{unusable(labels)}: a label must be {LABELS[counts.kind]}")
    if predictions_ > 0:
        what = "null" if counts.labels or counts.kind in ("multiclass", "multilabel") else "null or not finite"
        notes.append(f"{predictions_} prediction{'s are' if predictions_ > 1 else ' is'} {what}")
    return dataclasses.replace(value, reason="; ".join(filter(None, notes)))


def unusable(labels: int) -> str:
    """How many labels are unusable, in words.

    >>> unusable(1), unusable(2_000)
    ('1 label is unusable', '2,000 labels are unusable')
    """
    return f"{labels:,} label{'s are' if labels != 1 else ' is'} unusable"


def undefined(reason: str, counts: Counts) -> Value:
    """No data, for a reason in the labels."""
    return Value.no_data(reason, counts.tally("labelled"), covered(counts))


def answered(value: float, interval: Interval, counts: Counts, n: int | None = None) -> Value:
    """A value with its interval, coverage, and number of records (default: all labelled)."""
    n = counts.tally("labelled") if n is None else n
    if not math.isfinite(value):
        return Value.no_data(OVERFLOW, n, covered(counts))
    low, high = interval
    if math.isnan(low) or math.isnan(high):
        low, high = -math.inf, math.inf
    return Value(value, low, high, n, covered(counts))


def by_row(
    panel: Panel,
    judged: npt.NDArray[np.bool_],
    why: Callable[[Counts], Value | None],
    value: Floats,
    low: Floats,
    high: Floats,
    expected: Floats | None = None,
) -> list[Value]:
    """A value per row of a panel; a row without labels, or otherwise undefined, has a reason instead."""
    predicted, labelled = panel.tally("predicted"), panel.tally("labelled")
    coverage = labelled / np.where(predicted > 0, predicted, 1)
    columns = [column.tolist() for column in (value, low, high, labelled, coverage)]
    chance = [None] * len(panel) if expected is None else expected.tolist()
    answers = [
        Value(number, lower, upper, n, share, expected=mean)
        for number, lower, upper, n, share, mean in zip(*columns, chance, strict=True)
    ]
    for i in np.flatnonzero(~(judged & (labelled > 0))).tolist():
        counts = panel.row(i)
        answers[i] = unlabelled(counts) or why(counts) or undefined(OVERFLOW, counts)
    return answers


def mean_of(counts: Counts, name: str, n: int | None = None) -> tuple[float, float]:
    """The mean of a sum over the labelled records (or n others), and the variance of that mean."""
    n = counts.tally("labelled") if n is None else n
    mean = counts.sum(name) / n
    return mean, max(counts.sum(f"{name}_squared") / n - mean * mean, 0.0) / max(n - 1, 1)
