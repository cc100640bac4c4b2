"""Law 4: metrics from counts equal scikit-learn's and SciPy's on the raw records, within the stated bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

import fourfold as ff
from fourfold import config, counts
from fourfold.counts import KINDS, Counts
from fourfold.counts.binning import Binning
from fourfold.fold import Plan, fold
from fourfold.metrics import METRICS, parse
from fourfold.metrics.intervals import absolute_distances, wilson
from fourfold.model import Status, Value
from fourfold.sdk import Session
from tests.support import fold_joined

Floats = Any


def task_counts(score: Floats, label: Floats, threshold: float = 0.5, chunks: int = 1) -> Counts:
    """The counts of a binary task, folded in some chunks with the binning of the first."""
    task = config.make_task("t", prediction="p.score", label="l.label", threshold=threshold)
    return fold_joined(task, np.asarray(score, float), np.asarray(label, float), chunks=chunks)[""]


def column_counts(data: Floats, binning: Binning | None = None) -> Counts:
    data = pa.array(data)
    plan = Plan() if binning is None else Plan().adding({"x": binning})
    from fourfold.fold import plan_columns

    plan = plan_columns(pa.table({"x": data}), plan)
    table = counts.add(fold(pa.table({"x": data}), plan=plan))
    wanted = [i for i, kind in enumerate(table["kind"].to_pylist()) if kind in ("numeric", "category")]
    return next(counts.rows(table.take(wanted[-1:]), plan.by_version()))


def value(name: str, counted: Counts, reference: Counts | None = None) -> Value:
    question = parse(name, kind="binary" if counted.kind == "binary" else None)
    found = question.of(counted, reference)
    assert isinstance(found, Value)
    return found


def number(name: str, *arguments: Counts) -> float:
    found = value(name, *arguments).value
    assert found is not None, value(name, *arguments).reason
    return found


def samples() -> dict[str, tuple[Floats, Floats]]:
    random = np.random.default_rng(7)
    n = 20_000
    uniform = random.random(n)
    margin = random.standard_normal(n) * 3
    rare = random.beta(0.3, 30, n)
    return {
        "calibrated": (uniform, random.random(n) < uniform),
        "uninformative": (uniform, random.random(n) < 0.3),
        "rare": (rare, random.random(n) < rare),
        "all ties": (np.full(n, 0.7), random.random(n) < 0.5),
        "zeros and ones": (random.integers(0, 2, n).astype(float), random.random(n) < 0.4),
        "few": (uniform[:50], random.random(50) < uniform[:50]),
        "concentrated": (np.where(random.random(n) < 0.6, 0.0, 0.9 + 0.01 * uniform), random.random(n) < uniform),
        "margins": (margin, random.random(n) < 1 / (1 + np.exp(-margin))),
        "regression": (1e6 * margin + 5e6, margin > random.standard_normal(n)),
    }


EXACT: dict[str, Callable[[Floats, Floats, Floats], float]] = {
    "accuracy": lambda y, d, s: sk.accuracy_score(y, d),
    "balanced_accuracy": lambda y, d, s: sk.balanced_accuracy_score(y, d),
    "precision": lambda y, d, s: sk.precision_score(y, d),
    "recall": lambda y, d, s: sk.recall_score(y, d),
    "specificity": lambda y, d, s: sk.recall_score(~y, ~d),
    "f1": lambda y, d, s: sk.f1_score(y, d),
    "matthews_corrcoef": lambda y, d, s: sk.matthews_corrcoef(y, d),
}
PROBABILISTIC: dict[str, Callable[[Floats, Floats, Floats], float]] = {
    "log_loss": lambda y, d, s: sk.log_loss(y, s),
    "brier_score_loss": lambda y, d, s: sk.brier_score_loss(y, s),
}


@pytest.mark.parametrize("case", samples())
@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_decisions_and_losses_equal_scikit_learn_to_1e_9(case: str, threshold: float) -> None:
    score, label = samples()[case]
    decided = score >= threshold
    found = task_counts(score, label, threshold, chunks=7)
    for name, expected in EXACT.items():
        if name in ("precision", "f1") and not (decided & label).any():
            continue
        if name == "matthews_corrcoef" and (decided.all() or not decided.any()):
            assert value(name, found).status is Status.NO_DATA
            continue
        assert number(name, found) == pytest.approx(expected(label, decided, score), abs=1e-9), name
    for name, expected in PROBABILISTIC.items():
        if (score < 0).any() or (score > 1).any():
            assert "not probabilities" in value(name, found).reason
        else:
            assert number(name, found) == pytest.approx(expected(label, decided, score), abs=1e-9), name


@pytest.mark.parametrize("case", samples())
def test_auc_and_average_precision_are_within_0_002_of_scikit_learn(case: str) -> None:
    score, label = samples()[case]
    found = task_counts(score, label, chunks=3)
    assert number("roc_auc", found) == pytest.approx(sk.roc_auc_score(label, score), abs=0.002)
    bound = 0.004 if case == "concentrated" else 0.002  # 60 % of the scores are 0, the others within 0.9 to 0.91
    assert number("average_precision", found) == pytest.approx(sk.average_precision_score(label, score), abs=bound)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60), st.floats(0, 1))
def test_any_small_sample_agrees_with_scikit_learn(pairs: list[tuple[float, bool]], threshold: float) -> None:
    score, label = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    decided = score >= threshold
    found = task_counts(score, label, threshold)
    assert number("accuracy", found) == pytest.approx(sk.accuracy_score(label, decided), abs=1e-9)
    if label.any():
        assert number("recall", found) == pytest.approx(sk.recall_score(label, decided), abs=1e-9)
    else:
        assert "no positive label" in value("recall", found).reason
    if label.all() or not label.any():
        assert value("roc_auc", found).status is Status.NO_DATA
    else:
        assert number("log_loss", found) == pytest.approx(sk.log_loss(label, score), abs=1e-9)
        assert number("brier_score_loss", found) == pytest.approx(sk.brier_score_loss(label, score), abs=1e-9)


def test_another_threshold_is_read_off_the_score_bins() -> None:
    score, label = samples()["calibrated"]
    found = task_counts(score, label)
    for threshold in (0.1, 0.33, 0.8):
        expected = sk.recall_score(label, score >= threshold)
        assert number(f"recall(threshold={threshold})", found) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("off", [0.0, 0.05, 0.2])
def test_the_interval_of_the_calibration_error_holds_the_truth_in_few_records(off: float) -> None:
    random = np.random.default_rng(17)
    predicted = np.linspace(0.05, 0.95, 10)
    truth = np.clip(predicted + off, 0.0, 1.0)
    n, held = np.full(10, 8.0), []
    for _ in range(400):
        happened = random.binomial(8, truth) / 8
        likely = (happened * 8 + predicted * 4) / 12
        low, high = absolute_distances(n / 80, happened - predicted, np.sqrt(likely * (1 - likely) / n))
        held.append(low <= np.abs(truth - predicted).mean() <= high)
    assert np.mean(held) >= 0.92


def test_calibration_is_that_of_equally_wide_bins_of_the_score() -> None:
    from sklearn.calibration import calibration_curve

    score, label = samples()["calibrated"]
    found = task_counts(score**2, label)
    curve = dict(parse("calibration_curve").of(found))
    happened, predicted = calibration_curve(label, score**2, n_bins=10)
    assert [v.value for v in curve.values()] == pytest.approx(happened, abs=0.01)
    assert [v.expected for v in curve.values()] == pytest.approx(predicted, abs=0.002)
    place = np.minimum((score**2 * 10).astype(int), 9)
    error = sum(abs((label - score**2)[place == b].sum()) for b in range(10)) / len(score)
    assert number("expected_calibration_error", found) == pytest.approx(error, abs=0.003)
    calibrated = value("expected_calibration_error", task_counts(score, label))
    assert calibrated.value == pytest.approx(calibrated.expected, abs=0.01)


def test_the_interval_of_auc_is_delongs() -> None:
    random = np.random.default_rng(3)
    score = random.random(400)
    label = random.random(400) < score
    auc = sk.roc_auc_score(label, score)
    positive, negative = score[label], score[~label]
    wins = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    variance = wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
    found = value("roc_auc", task_counts(score, label))
    half = 1.96 * math.sqrt(variance) / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    assert found.low == pytest.approx(1 / (1 + math.exp(half - logit)), abs=0.003)
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - logit)), abs=0.003)


def test_rates_have_wilsons_interval() -> None:
    found = value("recall", task_counts([0.9] * 9 + [0.1], [1] * 10))
    low, high = stats.binomtest(9, 10).proportion_ci(method="wilson")
    assert [found.low, found.high] == pytest.approx([low, high])


@pytest.mark.parametrize(
    "name",
    [m.name for found in METRICS.values() for m in found if "binary" in m.tasks and not m.series and not m.of_task],
)
def test_no_labels_is_no_data_with_a_reason(name: str) -> None:
    unlabelled = task_counts([0.2, 0.9], [np.nan, np.nan])
    found = parse(name).of(unlabelled)
    found = found[0][1] if isinstance(found, list) else found
    if name in ("match_rate", "fan_out"):
        assert found.reason.startswith("no labels")
    elif name in ("coverage", "predictions", "orphan_labels", "expired_labels", "withdrawn_labels"):
        assert found.value is not None
    else:
        assert (found.value, found.status) == (None, Status.NO_DATA)
        assert "no labels yet for 2 predictions" in found.reason


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1e300, -1e300])), min_size=1, max_size=300),
    st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 1.0]),
)
def test_quantiles_are_within_the_stated_bound(data: list[float], q: float) -> None:
    x = np.array(data)
    found = column_counts(x)
    assert found.binning is not None
    exact = np.quantile(x, q, method="inverted_cdf")
    bound = 0.008 * (abs(exact - found.binning.centre) + found.binning.scale)
    assert abs(number(f"quantile({q})", found) - exact) <= bound * (1 + 1e-9)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=200))
@example([0.0, 0.0, 0.0, -1.0, -9.394334262816351e-156])
def test_moments_and_extremes_equal_numpys(data: list[float]) -> None:
    x, found = np.array(data), column_counts(np.array(data))
    size = np.abs(x).max() + 1
    assert number("mean", found) == pytest.approx(x.mean(), abs=1e-9 * size)
    assert number("std", found) == pytest.approx(x.std(ddof=1), rel=1e-6, abs=1e-5 * size)
    assert (number("min", found), number("max", found)) == (x.min(), x.max())


def test_rates_of_a_column_are_exact() -> None:
    data = [None, None, float("nan"), math.inf, -math.inf, -1.0, -2.0, 0.0, -0.0, 5.0]
    found = column_counts(pa.array(data, pa.float64()))
    expected = {
        "null_rate": 0.2,
        "nan_rate": 0.1,
        "missing_rate": 0.3,
        "infinite_rate": 0.2,
        "negative_rate": 0.3,
        "zero_rate": 0.2,
    }
    assert {name: number(name, found) for name in expected} == pytest.approx(expected)
    assert value("mean", found).n == 5


@pytest.mark.parametrize("name", ["mean", "std", "min", "max", "quantile(0.5)"])
def test_a_column_without_finite_values_is_no_data(name: str) -> None:
    found = value(name, column_counts(pa.array([None, None, float("nan")], pa.float64())))
    assert (found.value, found.status) == (None, Status.NO_DATA)
    assert "finite" in found.reason


def test_the_mean_of_the_largest_floats_does_not_overflow() -> None:
    assert number("mean", column_counts([1.7e308, 1.7e308])) == pytest.approx(1.7e308)
    assert "overflows" in value("std", column_counts([1.7e308, -1.7e308, 0.0, 1.0, 2.0])).reason


def test_distances_equal_scipys_on_the_raw_values() -> None:
    random = np.random.default_rng(1)
    reference, current = random.standard_normal(8_000), random.standard_normal(5_000) * 1.2 + 0.4
    here, there = column_counts(current), column_counts(reference)
    scale = (np.quantile(reference, 0.75) - np.quantile(reference, 0.25)) / 1.349
    ks = stats.ks_2samp(current, reference).statistic
    assert number("kolmogorov_smirnov", here, there) == pytest.approx(ks, abs=0.01)
    w1 = stats.wasserstein_distance(current, reference) / scale
    assert number("wasserstein", here, there) == pytest.approx(w1, rel=0.02)


def test_grouped_distances_equal_their_definition_on_the_references_deciles() -> None:
    from scipy.spatial.distance import jensenshannon

    random = np.random.default_rng(1)
    reference, current = random.standard_normal(50_000), random.standard_normal(40_000) + 0.5
    edges = np.quantile(reference, np.linspace(0, 1, 11)[1:-1])
    p = np.bincount(np.searchsorted(edges, current), minlength=10) / len(current)
    q = np.bincount(np.searchsorted(edges, reference), minlength=10) / len(reference)
    pair = column_counts(current), column_counts(reference)
    assert number("population_stability_index", *pair) == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=0.05)
    assert number("jensen_shannon", *pair) == pytest.approx(jensenshannon(p, q, 2), rel=0.03)
    assert number("hellinger", *pair) == pytest.approx(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2), rel=0.03)
    assert number("total_variation", *pair) == pytest.approx(np.abs(p - q).sum() / 2, rel=0.03)


def test_distances_of_categories_compare_value_by_value() -> None:
    here = column_counts(["a"] * 30 + ["b"] * 70)
    there = column_counts(["a"] * 50 + ["c"] * 50)
    assert number("total_variation", here, there) == pytest.approx(0.7)
    assert "order" not in value("total_variation", here, there).reason
    assert value("kolmogorov_smirnov", here, there).status is Status.NO_DATA


DISTANCES = [m.name for found in METRICS.values() for m in found if m.distance]


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("sizes", [(60, 400), (1_000, 30_000)])
def test_a_small_sample_without_change_is_as_far_as_expected_under_no_change(name: str, sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    reference = column_counts(random.standard_normal(sizes[1]))
    found = [value(name, column_counts(random.standard_normal(sizes[0])), reference) for _ in range(60)]
    measured = float(np.mean([v.value for v in found]))
    expected = float(np.mean([v.expected for v in found]))
    assert measured == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize("name", DISTANCES)
def test_whole_numbers_on_different_binnings_do_not_look_like_drift(name: str) -> None:
    random = np.random.default_rng(2)
    data = random.integers(0, 24, 20_000).astype(float)
    here = column_counts(data[:10_000], Binning(3.0, 1.0))
    there = column_counts(data[10_000:], Binning(11.5, 8.2))
    found = value(name, here, there)
    assert found.value is not None
    assert found.expected is not None
    assert found.value < 3 * found.expected + 0.02


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("recal", ff.UnknownNameError, "Did you mean 'recall'"),
        ("quantile", ff.InputError, r"give q, as in quantile\(0.9\)"),
        ("quantile(2)", ff.InputError, "from 0 to 1"),
        ("recall(x=1)", ff.InputError, "no parameter 'x'"),
        ("recall('a')", ff.InputError, "threshold must be a finite number"),
        ("__import__('os').system('true')", ff.InputError, "not of the form"),
        ("recall(", ff.InputError, "not of the form"),
    ],
)
def test_a_wrong_metric_is_refused_with_what_to_do(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        value(text, column_counts([1.0, 2.0]))


def test_every_tally_that_is_named_is_counted_somewhere() -> None:
    found = task_counts([0.9, 2.0, np.nan, 0.1], [1, 0, 1, 5])
    named = {name: found.tally(name) for name in KINDS["binary"].tallies}
    assert named == {
        "predicted": 4, "labelled": 2, "true_positive": 1, "false_positive": 1, "false_negative": 0,
        "true_negative": 0, "unscored": 1, "invalid_label": 1, "expired": 0, "orphan": 0, "not_probability": 1,
        "withdrawn": 0, "matched": 4, "pairs": 4,
    }  # fmt: skip


@pytest.mark.parametrize("n", range(1, 60))
def test_the_interval_of_a_share_holds_the_share_whatever_rounding_does(n: int) -> None:
    for hits in (0, n // 2, n):
        low, high = wilson(hits, n)
        assert 0.0 <= low <= hits / n <= high <= 1.0


def test_round_scores_on_the_edges_of_reliability_bins_count_above_them(session: Session) -> None:
    random = np.random.default_rng(5)
    score = random.integers(0, 11, 400) / 10
    label = random.random(400) < score**2
    ff.task("round", prediction="p.score", label="l.y")
    ff.log("p", {"id": np.arange(400), "score": score}, key="id")
    ff.log("l", {"id": np.arange(400), "y": label}, key="id")
    place = np.minimum((score * 10).round(9).astype(int), 9)
    parts = [(place == i) for i in range(10) if (place == i).any()]
    expected = sum(abs(label[part].mean() - score[part].mean()) * part.mean() for part in parts)
    assert ff.metric("round", "expected_calibration_error").value.value == pytest.approx(expected, abs=0.01)
