"""Law 4 for tasks of every kind: metrics from counts equal scikit-learn's, SciPy's and plain oracles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from sklearn.preprocessing import MultiLabelBinarizer

from fourfold import config
from fourfold.counts import Counts
from fourfold.errors import ConfigError, InputError
from fourfold.metrics import parse, register
from fourfold.metrics.custom import REGISTERED
from fourfold.metrics.intervals import student_point
from fourfold.metrics.maturity import kaplan_meier
from fourfold.model import Status, Sums, Task, Value
from tests.support import fold_joined

RANDOM = np.random.default_rng(3)
CLASSES = np.array(["cat", "dog", "owl", "é\"'"])


def task(kind: str, **more: Any) -> Task:
    return config.make_task("t", prediction="p.x", label="l.y", kind=kind, **more)


def value(name: str, found: dict[str, Counts], of: Task) -> Value:
    question = parse(name, "task", of.kind)
    answer = question.of(found[question.series], task=of)
    assert isinstance(answer, Value), answer
    return answer


def number(name: str, found: dict[str, Counts], of: Task) -> float:
    answer = value(name, found, of)
    assert answer.value is not None, answer.reason
    if answer.low is not None and answer.high is not None:
        assert answer.low <= answer.value + 1e-12 and answer.value <= answer.high + 1e-12, (name, answer)
    return answer.value


def classes(n: int = 5_000) -> tuple[Any, Any]:
    actual = CLASSES[RANDOM.choice(4, n, p=[0.6, 0.25, 0.1, 0.05])]
    return np.where(RANDOM.random(n) < 0.7, actual, CLASSES[RANDOM.integers(0, 4, n)]), actual


@pytest.mark.parametrize("n", [1, 7, 60, 5_000])
def test_multiclass_metrics_equal_scikit_learn(n: int) -> None:
    said, actual = classes(n)
    of = task("multiclass")
    found = fold_joined(of, said, actual, chunks=3 if n > 3 else 1)
    expected = {"accuracy": sk.accuracy_score(actual, said)}
    for average in ("macro", "micro", "weighted"):
        for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            expected[f"{name}(average={average})"] = function(actual, said, average=average, zero_division=0)
    if set(said) <= set(actual) and len(set(said)) > 1:
        expected["cohen_kappa"] = sk.cohen_kappa_score(actual, said)
        expected["matthews_corrcoef"] = sk.matthews_corrcoef(actual, said)
        expected["balanced_accuracy"] = sk.balanced_accuracy_score(actual, said)
    if n == 5_000:
        for i, name in enumerate(sorted(CLASSES.tolist())):
            expected[f"recall(label={name!r})"] = sk.recall_score(actual, said, average=None)[i]
            expected[f"f1(label={name!r})"] = sk.f1_score(actual, said, average=None)[i]
    for name, truth in expected.items():
        assert number(name, found, of) == pytest.approx(truth, abs=1e-9), name


def test_a_confusion_matrix_and_what_its_cells_are_worth() -> None:
    said, actual = classes()
    of = task("multiclass", values={"cat": {"dog": -5.0, "cat": 1.0}})
    found = fold_joined(of, said, actual)[""]
    cells = dict(parse("confusion_matrix", "task", "multiclass").of(found))
    order = sorted(CLASSES)
    matrix = sk.confusion_matrix(actual, said, labels=order)
    for i, a in enumerate(order):
        for j, p in enumerate(order):
            assert (cells[a, p].n if (a, p) in cells else 0) == matrix[i, j]
    worth = matrix[order.index("cat"), order.index("cat")] - 5 * matrix[order.index("dog"), order.index("cat")]
    assert number("value", {"": found}, of) == pytest.approx(worth)
    binary = task("binary", values={"true_positive": 10, "false_positive": -1})
    counted = fold_joined(binary, [0.9, 0.8, 0.7, 0.1], [1, 1, 0, 1])
    assert number("value", counted, binary) == 19
    assert number("mean_value", counted, binary) == 19 / 4


@pytest.mark.parametrize("form", ["struct", "list"])
def test_probabilities_give_log_loss_and_top_k_as_scikit_learn(form: str) -> None:
    n, names = 2_000, sorted(CLASSES)
    actual = np.array(names)[RANDOM.integers(0, 4, n)]
    matrix = RANDOM.dirichlet(np.ones(4), n).round(1) + 0.01  # with ties
    matrix /= matrix.sum(1, keepdims=True)
    said = np.array(names)[matrix.argmax(1)]
    rows: list[Any] = [dict(zip(names, row, strict=True)) for row in matrix.tolist()]
    more = {}
    if form == "list":
        rows, more = matrix.tolist(), {"classes": names}
    of = task("multiclass", probabilities="x", **more)
    found = fold_joined(of, said, actual, probabilities=rows)
    assert number("log_loss", found, of) == pytest.approx(sk.log_loss(actual, matrix, labels=names), abs=1e-9)
    for k in (1, 2, 3):
        truth = sk.top_k_accuracy_score(actual, matrix, k=k, labels=names)
        assert number(f"top_k_accuracy({k})", found, of) == pytest.approx(truth, abs=1e-9)
    without = value("log_loss", fold_joined(task("multiclass"), said, actual), task("multiclass"))
    assert "declares no probabilities" in without.reason


def test_multilabel_metrics_equal_scikit_learn() -> None:
    def sets(n: int = 1_500) -> list[list[str]]:
        return [[c for c in CLASSES if RANDOM.random() < 0.3] for _ in range(n)]

    actual = sets()
    said = [[c for c in CLASSES if (c in row) != (RANDOM.random() < 0.2)] for row in actual]
    binarizer = MultiLabelBinarizer(classes=sorted(CLASSES)).fit(actual)
    a, s = binarizer.transform(actual), binarizer.transform(said)
    of = task("multilabel")
    found = fold_joined(of, said, actual, chunks=4)
    expected = {
        "accuracy": sk.accuracy_score(a, s),
        "hamming_loss": sk.hamming_loss(a, s),
        "jaccard": sk.jaccard_score(a, s, average="samples", zero_division=0),
    }
    for average in ("macro", "micro", "weighted", "samples"):
        for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            expected[f"{name}(average={average})"] = function(a, s, average=average, zero_division=0)
    for name, truth in expected.items():
        assert number(name, found, of) == pytest.approx(truth, abs=1e-9), name


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("n", [2, 40, 4_000])
def test_regression_metrics_equal_scikit_learn(n: int, shift: float) -> None:
    actual = RANDOM.standard_normal(n) * 10 + shift
    said = actual + RANDOM.standard_t(4, n) * 2 + 0.5
    of = task("regression")
    found = fold_joined(of, said, actual, chunks=2)
    error = actual - said
    expected = {
        "mean_absolute_error": sk.mean_absolute_error(actual, said),
        "mean_squared_error": sk.mean_squared_error(actual, said),
        "root_mean_squared_error": sk.root_mean_squared_error(actual, said),
        "mean_absolute_percentage_error": sk.mean_absolute_percentage_error(actual, said),
        "symmetric_mean_absolute_percentage_error": np.mean(2 * np.abs(error) / (np.abs(actual) + np.abs(said))),
        "bias": error.mean(),
        "mean_pinball_loss(0.9)": sk.mean_pinball_loss(actual, said, alpha=0.9),
        "r2": sk.r2_score(actual, said),
    }
    for name, truth in expected.items():
        assert number(name, found, of) == pytest.approx(truth, rel=1e-7, abs=1e-7), name
    for name, column, sample in (
        ("median_absolute_error", "absolute_error", np.abs(error)), ("residual_quantile(0.9)", "residual", error),
    ):  # fmt: skip
        q = 0.9 if "0.9" in name else 0.5
        exact = float(np.quantile(sample, q, method="inverted_cdf"))
        binning = found[column].binning
        assert binning is not None
        bound = 0.008 * (abs(exact - binning.centre) + binning.scale)
        assert abs(number(name, found, of) - exact) <= bound + 1e-9, name
    zero = fold_joined(of, [1.0, 2.0], [0.0, 2.0])
    assert "1 actual values are zero" in value("mean_absolute_percentage_error", zero, of).reason


def _ranked(scores: Any, relevance: Any, k: int) -> dict[str, float]:
    """A plain loop: the items of one query in the order of their scores."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    hits = [relevance[i] > 0 for i in order]
    total = sum(hits)
    first = next((r for r, hit in enumerate(hits, 1) if hit), math.inf)
    precision = [sum(hits[:r]) / r for r in range(1, len(hits) + 1)]
    return {
        "mean_reciprocal_rank": 1 / first,
        f"precision_at_k({k})": sum(hits[:k]) / k,
        f"recall_at_k({k})": sum(hits[:k]) / total if total else 0.0,
        f"hit_rate({k})": float(any(hits[:k])),
        f"mean_average_precision({k})": (
            sum(p for p, hit in list(zip(precision, hits, strict=True))[:k] if hit) / min(total, k) if total else 0.0
        ),
    }


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), st.integers(0, 3)), min_size=2, max_size=8),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([1, 3, 5]),
)
@settings(max_examples=60)
def test_ranking_metrics_equal_ndcg_score_and_a_plain_loop(queries: list[list[tuple[float, int]]], k: int) -> None:
    of = task("ranking", query="q", cutoffs=[k])
    scores = [score for items in queries for score, _ in items]
    relevance = [float(r) for items in queries for _, r in items]
    names = [f"q{i}" for i, items in enumerate(queries) for _ in items]
    found = fold_joined(of, scores, relevance, query=names)
    expected = {f"ndcg({k})": np.mean([sk.ndcg_score([[r for _, r in q]], [[s for s, _ in q]], k=k) for q in queries])}
    plain = [_ranked([s for s, _ in q], [r for _, r in q], k) for q in queries]
    expected |= {name: np.mean([entry[name] for entry in plain]) for name in plain[0]}
    for name, truth in expected.items():
        assert number(name, found, of) == pytest.approx(float(truth), abs=1e-9), name
    assert found[""].tally("predicted") == len(queries)
    assert found[""].tally("without_relevant") == sum(not any(r for _, r in q) for q in queries)


def test_decisions_are_counted_by_what_was_done_and_what_came_of_it() -> None:
    of = task("decision", outcome="o.good")
    said = np.array(["yes", "yes", "no", "no", "yes", "no"])
    done = np.array(["yes", "no", "no", "yes", "yes", "no"])
    good = np.array([1.0, 0.0, 1.0, 1.0, np.nan, 0.0])
    found = fold_joined(of, said, done, outcome=good)
    assert number("override_rate", found, of) == pytest.approx(2 / 6)
    assert number("agreement", found, of) == pytest.approx(4 / 6)
    assert number("cohen_kappa", found, of) == pytest.approx(sk.cohen_kappa_score(said, done))
    assert number("followed_outcome", found, of) == pytest.approx(2 / 3)
    assert number("overridden_outcome", found, of) == pytest.approx(0.5)
    welch = stats.ttest_ind([0.0, 1.0], [1.0, 1.0, 0.0], equal_var=False)
    difference = value("outcome_difference", found, of)
    assert difference.value == pytest.approx(0.5 - 2 / 3)
    low, high = welch.confidence_interval()
    assert [difference.low, difference.high] == pytest.approx([low, high], rel=0.2)
    threshold = task("decision", threshold=0.5)
    found = fold_joined(threshold, [0.9, 0.9, 0.1], ["true", "false", "false"])
    assert number("override_rate", found, threshold) == pytest.approx(1 / 3)


def test_custom_sums_are_added_up_and_have_an_interval() -> None:
    register("ratio", sums={"a": "score", "b": "actual"}, value=lambda sums: sums["a"] / sums["b"])
    sums = REGISTERED["ratio"].sums
    assert sums is not None
    of = task("regression")
    said, actual = RANDOM.random(500) + 1, RANDOM.random(500) + 1
    from dataclasses import replace

    found = fold_joined(replace(of, sums=(sums,)), said, actual, custom_0_0=said, custom_0_1=actual, chunks=3)
    answer = value("ratio", found, of)
    assert answer.value is not None and answer.high is not None
    assert answer.value == pytest.approx(said.sum() / actual.sum())
    residual = (said - answer.value * actual) / actual.mean()
    assert answer.high - answer.value == pytest.approx(1.965 * residual.std() / math.sqrt(500), rel=1e-2)
    for wrong in ({"sums": {"a": "1"}}, {}, {"function": max, "sums": {"a": "1"}, "value": max}):
        with pytest.raises(ConfigError, match="give sums= and value=, or function="):
            register("wrong", **wrong)
    with pytest.raises(ConfigError, match="metric 'recall': fourfold uses this name itself"):
        register("recall", function=max)
    assert isinstance(Sums("a", ()), Sums)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression", "ranking", "decision"])
def test_without_labels_every_metric_is_no_data_with_a_reason(kind: str) -> None:
    more: dict[str, Any] = {"ranking": {"query": "q", "cutoffs": [5]}}.get(kind, {})
    of = task(kind, **more)
    score: Any = {"multilabel": [["a"], ["b"]], "multiclass": ["a", "b"], "decision": ["a", "b"]}.get(kind, [0.1, 0.2])
    columns: dict[str, Any] = {"query": ["a", "b"]} if more else {}
    found = fold_joined(of, score, [None, None], **columns)
    from fourfold.metrics import METRICS

    for metric in [m for name in METRICS.values() for m in name if kind in m.tasks and not m.series and not m.of_task]:
        if metric.name in ("predictions", "coverage", "orphan_labels", "expired_labels", "withdrawn_labels"):
            continue
        answer = metric.of(found[""])
        answer = answer[0][1] if isinstance(answer, list) else answer
        assert (answer.value, answer.status) == (None, Status.NO_DATA), metric.name
        assert "no labels" in answer.reason or "2 of each" in answer.reason, (metric.name, answer)


def test_wrong_parameters_say_what_there_is() -> None:
    said, actual = classes(50)
    found = fold_joined(task("multiclass"), said, actual)
    with pytest.raises(InputError, match="there is macro, micro, weighted"):
        value("f1(average=mean)", found, task("multiclass"))
    with pytest.raises(InputError, match="k is one of 1 to 10"):
        value("top_k_accuracy(11)", found, task("multiclass"))
    with pytest.raises(InputError, match="must be a text"):
        parse("f1(average=0.5)", "task", "multiclass")


@pytest.mark.parametrize("degrees", [3, 5, 9, 49, 1e6])
def test_students_point_is_scipys(degrees: float) -> None:
    assert student_point(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.03 if degrees < 5 else 2e-3)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=60),
)
def test_the_label_curve_is_scipys_kaplan_meier(records: list[tuple[int, bool]]) -> None:
    delays = np.array([float(t) for t, came in records if came])
    ages = np.array([float(t) for t, came in records if not came])
    curve = kaplan_meier(delays, np.ones(len(delays)), ages, np.ones(len(ages)))
    expected = stats.ecdf(stats.CensoredData(uncensored=delays, right=ages)).cdf
    moments = np.arange(0.5, 31)
    assert curve.at(moments) == pytest.approx(expected.evaluate(moments), abs=1e-9)
