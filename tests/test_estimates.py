"""Estimates where labels are missing: near the truth where labels that are there mislead, or refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold import config
from fourfold.counts import Counts
from fourfold.metrics import estimate, parse
from fourfold.model import Status, Task, Value
from fourfold.sdk import Session
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
    of = question.of
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


def logistic(random: np.random.Generator, n: int, middle: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are slightly too sure of themselves, and labels."""
    logit = random.normal(middle, 1.3, n)
    return 1 / (1 + np.exp(-1.2 * logit)), (random.random(n) < 1 / (1 + np.exp(-logit))).astype(float)


@pytest.mark.parametrize("shift", [0.7, -0.5])
def test_precision_and_its_interval_hold_after_the_inputs_have_shifted(shift: float) -> None:
    random = np.random.default_rng(3)
    task = config.make_task("t", prediction="p.score", label="l.label", threshold=0.3)
    held, errors = [], []
    for _ in range(20):  # one settled prediction in forty is decided positive
        settled = fold_joined(task, *logistic(random, 8_000, -3.5))[""]
        score, label = logistic(random, 3_000, -3.5 + shift)
        guess = estimate.expected(fold_joined(task, score, np.full(3_000, np.nan))[""], settled, task)
        found, true = ask("precision", task, guess), label[score >= 0.3].mean()
        assert found.low is not None and found.high is not None
        held.append(found.low <= true <= found.high)
        errors.append((found.value or 0.0) - true)
    assert np.mean(held) >= 0.9
    assert abs(np.mean(errors)) < 0.03


def test_another_threshold_than_the_tasks_is_asked_of_expectations_not_of_whole_numbers() -> None:
    task = config.make_task("t", prediction="p.score", label="l.label", threshold=0.3)
    settled = fold_joined(task, *logistic(np.random.default_rng(3), 4_000, -1.0))[""]
    guess = estimate.expected(fold_joined(task, [0.7, 0.1], [np.nan] * 2)[""], settled, task)
    assert 0.2 < (ask("precision(threshold=0.6)", task, guess).value or 0.0) < 1.0


def test_without_a_shift_what_is_decided_at_a_threshold_within_a_bin_is_counted_as_it_was() -> None:
    random = np.random.default_rng(4)
    task = task_of("binary")
    score = random.choice([0.493, 0.499, 0.5, 0.501, 0.52], 4_000)
    label = (random.random(4_000) < np.where(score < 0.5, 0.2, 0.7)).astype(float)
    settled = fold_joined(task, score, label)[""]
    guess = estimate.expected(fold_joined(task, score, np.full(4_000, np.nan))[""], settled, task)
    for metric in ("precision", "recall", "accuracy"):
        assert ask(metric, task, guess).value == pytest.approx(ask(metric, task, settled).value, abs=0.01)
    assert ask("true_positives", task, guess).value == pytest.approx(((score >= 0.5) & (label == 1)).sum(), rel=0.02)


def test_an_interval_stays_within_the_metric_however_far_estimates_were_off() -> None:
    random = np.random.default_rng(8)
    task = task_of("binary")
    settled = fold_joined(task, *logistic(random, 2_000, 0.0))[""]
    window = fold_joined(task, logistic(random, 500, 0.0)[0], np.full(500, np.nan))[""]
    guess = estimate.expected(window, settled, task)
    of = parse("precision", "task", "binary").of
    plain, wide = estimate.value(guess, of), estimate.value(guess, of, drift=0.3)
    assert plain.low is not None and plain.high is not None and wide.low is not None and wide.high is not None
    assert 0 <= wide.low < plain.low < plain.high < wide.high <= 1


def test_a_metric_that_cannot_be_expected_is_refused() -> None:
    random = np.random.default_rng(9)
    task = task_of("regression")
    said, label, _ = regression(random)
    settled = fold_joined(task, said, label)
    guess = estimate.expected(settled[""], settled[""], task, residuals(settled))
    found = estimate.value(guess, parse("mean_absolute_percentage_error", "task", "regression").of)
    assert found.value is None and "cannot be expected" in found.reason


START = pd.Timestamp("2024-03-01", tz="UTC")


def log_days(days: int, a_day: int, *, without: dict[int, int]) -> pd.DataFrame:
    """Predictions of so many days, whose labels come six hours later but for some of the days' first ones."""
    random = np.random.default_rng(10)
    number = np.arange(days * a_day)
    at = START + pd.to_timedelta(number // a_day, unit="D")
    score, label = logistic(random, len(number), 0.0)
    frame = pd.DataFrame({"id": number, "at": at, "score": score})
    ff.log("predict", frame, key="id", time="at")
    known = np.array([n % a_day >= without.get(n // a_day, 0) for n in number.tolist()])
    truth = pd.DataFrame({"id": number, "at": at + pd.Timedelta(hours=6), "truth": label})[known]
    ff.log("labels", truth, key="id", time="at")
    ff.task("t", prediction="predict.score", label="labels.truth", horizon="600d")
    return frame.assign(day=number // a_day, truth=label)


def asked(metric: str, first: int, last: int, **more: Any) -> Value:
    start, end = ((START + pd.Timedelta(days=day)).to_pydatetime() for day in (first, last))
    return ff.metric("t", metric, start=start, end=end, **more).value


def test_days_whose_labels_are_all_there_are_settled_whatever_the_horizon(session: Session) -> None:
    frame = log_days(12, 100, without={4: 1, 11: 100})
    found = asked("accuracy", 11, 12, estimate=True)
    assert found.status is Status.ESTIMATED
    assert "expected from 1,000 labelled" in found.reason  # of ten days; of the fifth one label is still awaited
    assert "past estimates" in found.reason
    today = frame[frame.day == 11]
    true = ((today.score >= 0.5) == (today.truth == 1)).mean()
    assert found.low is not None and found.high is not None and found.low <= true <= found.high
    error = asked("accuracy", 10, 11, estimate_error=True)
    assert error.value is not None and abs(error.value) < 0.15
    assert "cannot be checked yet" in asked("accuracy", 4, 5, estimate_error=True).reason


def test_an_estimate_takes_no_labels_that_came_after_its_window_had_ended(session: Session) -> None:
    log_days(4, 100, without={})  # nothing was settled before the first day
    assert "no estimate" in asked("accuracy", 0, 1, estimate_error=True).reason
    late = pd.DataFrame({"id": np.arange(300), "at": START + pd.Timedelta(days=60), "truth": 0.0})
    ff.log("labels", late, key="id", time="at")
    reason = asked("accuracy", 3, 4, estimate_error=True).reason
    assert "no estimate" in reason  # the labels of the days before were in only two months later
