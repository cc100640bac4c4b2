"""Estimates where labels are missing: near the truth where labels that are there mislead, or refused with a reason."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from fourfold import config
from fourfold.counts import Counts
from fourfold.metrics import estimate, parse
from fourfold.model import Task, Value
from tests.support import fold_joined

N = 6_000
Drawn = tuple[Any, Any, np.ndarray]  # predictions, labels, and how sure the prediction is


def binary(random: np.random.Generator) -> Drawn:
    score = 1 / (1 + np.exp(-random.normal(-0.5, 1.5, N)))
    return score, (random.random(N) < score).astype(float), score


def multiclass(random: np.random.Generator) -> Drawn:
    said = random.choice(["cat", "dog", "eel"], N, p=(0.6, 0.3, 0.1))
    right = {"cat": 0.9, "dog": 0.6, "eel": 0.3}
    sure = np.array([right[name] for name in said])
    actual = np.where(random.random(N) < sure, said, random.choice(["cat", "dog", "eel"], N))
    return said.tolist(), actual.astype(object), sure


def regression(random: np.random.Generator) -> Drawn:
    said = random.gamma(4.0, 5.0, N)
    return said, said + random.normal(0, 0.2 * said), said / said.max()


CASES = [
    (binary, "binary", "recall"), (binary, "binary", "roc_auc"), (binary, "binary", "brier_score_loss"),
    (multiclass, "multiclass", "accuracy"), (multiclass, "multiclass", "recall(label=eel)"),
    (regression, "regression", "mean_absolute_error"), (regression, "regression", "mean_squared_error"),
]  # fmt: skip


def task_of(kind: str) -> Task:
    return config.make_task("t", prediction="p.score", label="l.label", kind=kind)


def ask(text: str, task: Task, counts: Counts | estimate.Estimated) -> Value:
    question = parse(text, "task", task.kind)
    of = functools.partial(question.metric.function, **question.parameters)
    value: Value = of(counts) if isinstance(counts, Counts) else estimate.value(counts, of)
    assert value.value is not None, value.reason
    return value


def hidden(label: Any, gone: np.ndarray) -> Any:
    return np.where(gone, None if label.dtype == object else np.nan, label)


def residuals(found: dict[str, Counts]) -> Any:
    return found["residual"].binning if "residual" in found else None


@pytest.mark.parametrize(("draw", "kind", "metric"), CASES)
def test_what_is_missing_by_score_is_weighted_in(draw: Any, kind: str, metric: str) -> None:
    random = np.random.default_rng(5)
    task = task_of(kind)
    said, label, sure = draw(random)
    gone = random.random(N) < 0.9 * sure  # the labels of what is surest are the last to come
    partly = fold_joined(task, said, hidden(label, gone))
    true = ask(metric, task, fold_joined(task, said, label)[""])
    guess = estimate.post_stratified({"{}": partly[""]}, task, residuals(partly))
    found, naive = ask(metric, task, guess), ask(metric, task, partly[""])
    assert found.low is not None and found.high is not None and true.value is not None
    assert found.low <= true.value <= found.high
    assert 30 < guess.effective <= N - gone.sum()
    assert abs((found.value or 0) - true.value) < abs((naive.value or 0) - true.value) + 0.002


@pytest.mark.parametrize(("draw", "kind", "metric"), CASES)
def test_without_labels_the_settled_ones_tell(draw: Any, kind: str, metric: str) -> None:
    random = np.random.default_rng(6)
    task = task_of(kind)
    said, label, _ = draw(random)
    settled = fold_joined(task, said, label)
    now = fold_joined(task, said[: N // 2], hidden(label, np.ones(N, bool))[: N // 2])
    guess = estimate.expected(now[""], settled[""], task, residuals(settled))
    found, true = ask(metric, task, guess), ask(metric, task, settled[""])
    assert found.low is not None and found.high is not None and true.value is not None
    assert found.low <= true.value <= found.high
    assert "no concept drift" in guess.reason


def test_a_stratum_without_any_label_is_refused_by_name() -> None:
    said, label, _ = multiclass(np.random.default_rng(7))
    task = task_of("multiclass")
    partly = fold_joined(task, said, hidden(label, np.array(said) == "eel"))[""]
    guess = estimate.post_stratified({"{}": partly}, task)
    assert (guess.counts, guess.reason) == (None, "no estimate: the class 'eel' has no label")
    few = fold_joined(task, said[:20], label[:20])[""]
    nothing = estimate.expected(partly, few, task)
    assert (nothing.counts, nothing.reason) == (None, "20 labels in settled windows before; 30 are needed")
