"""Declaring tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fourfold import config
from fourfold.sdk.session import session


def task(
    name: str,
    *,
    prediction: str,
    label: str,
    kind: str = "binary",
    threshold: float | None = None,
    slices: Sequence[config.Slicing | Sequence[config.Slicing]] | Mapping[str, str] = (),
    horizon: str = "30d",
    version: str | None = None,
    probabilities: str | None = None,
    classes: Sequence[str] | None = None,
    query: str | None = None,
    cutoffs: Sequence[int] | None = None,
    outcome: str | None = None,
    values: Mapping[str, Any] | None = None,
    positive: str | float | None = None,
) -> None:
    """Declare a task: the join of a prediction stream with a label stream, before or after they are logged.

    Args:
        name: the task's name, for ``ff.metric``.
        prediction: "stream.column" of the prediction: a score (binary, ranking), a class (multiclass), a list of
            classes (multilabel), a number (regression), or the recommended action (decision).
        label: "stream.column" of the label: 0 or 1, a boolean, or these as text (binary; for others see
            ``positive``), a class, a list of classes, a number, the item's relevance (ranking), or the action taken
            (decision). Unusable labels are counted, and each answer's reason says how many.
        kind: "binary", "multiclass", "multilabel", "regression", "ranking" or "decision".
        threshold: a score at or above it decides "positive" (binary: 0.5 by default). A decision task with a threshold
            has a score as its prediction, and a boolean as the action taken.
        slices: how metrics can be split: columns of the prediction stream; {"column": "distance", "buckets": 4}, a
            number's quantile buckets; {"name": "night", "sql": "hour < 6"}, an expression; or a list of these, crossed.
            A mapping of names to expressions, {"night": "hour < 6"}, also works.
        horizon: how long after its prediction a label still counts, by the two event times.
        version: the prediction stream's column of the model version, for metrics by version or of two versions.
        probabilities: multiclass: the prediction stream's column of class probabilities, a dict or a list.
        classes: multiclass: the classes, in the order of these lists.
        query: ranking: the prediction stream's column of the item's query.
        cutoffs: ranking: the ranks k at which lists are evaluated. Default: 1, 5, 10.
        outcome: decision: "stream.column" of the outcome, a number such as 0 or 1.
        values: the worth of a record: {"true_positive": 10, "false_positive": -1} (binary), or
            {predicted: {actual: worth}} (multiclass).
        positive: binary: the label that is positive, such as "yes" or 2; any other is negative.

    Raises:
        ConfigError: the message names the field, its value and what is expected.
    """
    declared = config.make_task(
        name, prediction=prediction, label=label, kind=kind, threshold=threshold, slices=slices, horizon=horizon,
        version=version, probabilities=probabilities, classes=classes, query=query, cutoffs=cutoffs, outcome=outcome,
        values=values, positive=positive,
    )  # fmt: skip
    session().declare(declared)
