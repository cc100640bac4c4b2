"""Metrics of many rows at once: each row's answer is that of the row alone, and that of a plain form of the metric."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fourfold.counts import KINDS, Counts, Panel, cut
from fourfold.counts.binning import Binning, bins_of
from fourfold.metrics import Question, parse
from fourfold.metrics.intervals import Z, absolute_distances, erf, student_point, wilson
from fourfold.metrics.scores import score_counts
from fourfold.model import Status, Value

BY_PANEL = ["roc_auc", "average_precision", "expected_calibration_error", "expected_calibration_error(3)"]
BINNING = Binning(0.4, 0.3, bits=10)
RECORD = st.tuples(st.sampled_from([0.0, 0.1, 0.1001, 0.35, 0.5, 0.77, 1.0]), st.sampled_from([0, 1, None]))
ROWS = st.lists(st.lists(RECORD, max_size=40), min_size=1, max_size=12)


def panel_of(rows: list[list[tuple[float, int | None]]], binning: Binning = BINNING) -> Panel:
    """The panel of a binary task, a row for each list of scores and labels."""
    names = KINDS["binary"].tallies
    bins, numbers, tallies = [], [], []
    for records in rows:
        score = np.array([score for score, _ in records], np.float64)
        state = np.array([2 if label is None else label for _, label in records], np.int64)
        codes, counted = np.unique(bins_of(score, binning) * 4 + state, return_counts=True)
        bins.append(codes)
        numbers.append(counted)
        tally = {
            "predicted": len(records),
            "labelled": int((state < 2).sum()),
            "true_positive": int((state == 1).sum()),
            "false_positive": int((state == 0).sum()),
        }
        tallies.append([tally.get(name, 0) for name in names])
    size = len(rows)
    sizes = np.array([len(row) for row in bins])
    return Panel(
        "", "binary", {0: "{}"}, np.zeros(size, np.int64), np.arange(size), np.zeros(size, np.int64),
        np.array(tallies), np.zeros((size, 4)), np.full(size, math.nan), np.full(size, math.nan),
        cut(np.concatenate(bins), sizes, "<i4"), cut(np.concatenate(numbers), sizes, "<i4"), "<i4",
        {("", 0): binning},
    )  # fmt: skip


def answers(question: Question, panel: Panel) -> list[Value]:
    found = question.of_panel(panel)
    assert found is not None
    return found


def same(one: Value, other: Value) -> bool:
    numbers = [(getattr(one, name), getattr(other, name)) for name in ("value", "low", "high", "coverage", "expected")]
    return all(a == b if a is None or b is None else math.isclose(a, b, abs_tol=1e-12) for a, b in numbers) and (
        (one.n, one.status, one.reason) == (other.n, other.status, other.reason)
    )


def test_a_panel_of_no_rows_has_no_answers() -> None:
    whole = panel_of([[(0.1, 0)]])
    columns = ("series", "buckets", "binnings", "tallies", "sums", "low", "high", "bins", "numbers")
    empty = dataclasses.replace(whole, **{name: getattr(whole, name)[:0] for name in columns})
    for name in (*BY_PANEL, "calibration_curve"):
        assert parse(name, "task", "binary").of_panel(empty) == []


@given(ROWS)
@settings(max_examples=40)
def test_the_rows_of_a_panel_are_answered_as_each_alone(rows: list[list[tuple[float, int | None]]]) -> None:
    panel = panel_of(rows)
    for name in BY_PANEL:
        question = parse(name, "task", "binary")
        for (_, counts), answer in zip(panel, answers(question, panel), strict=True):
            assert same(answer, question.of(counts)), (name, answer, question.of(counts))


def many_rows() -> list[list[tuple[float, int | None]]]:
    """Rows of 0 to 20,000 records, of all labels, some and none, of one class and with scores right and wrong."""
    random = np.random.default_rng(7)
    rows: list[list[tuple[float, int | None]]] = [[], [(0.3, None)], [(0.9, 1)] * 3, [(0.1, 0), (0.9, 1)]]
    for size in (2, 9, 60, 500, 500, 20_000):
        score = random.random(size)
        label = (random.random(size) < score).astype(int)
        known = random.random(size) < 0.9
        rows.append([(s, x if k else None) for s, x, k in zip(score.tolist(), label.tolist(), known, strict=True)])
    return rows


@pytest.mark.parametrize("binning", [BINNING, Binning(1e-9, 1e-9, bits=10)], ids=["few bins", "many"])
def test_the_area_and_its_interval_are_those_of_the_plain_form(binning: Binning) -> None:
    panel = panel_of(many_rows(), binning)
    for (_, counts), answer in zip(panel, answers(parse("roc_auc", "task", "binary"), panel), strict=True):
        _, positives, negatives = score_counts(counts)
        p, n = positives.sum(), negatives.sum()
        if not p * n:
            assert answer.status is Status.NO_DATA and answer.reason
            continue
        below = (np.cumsum(negatives) - negatives / 2) / n
        above = (p - np.cumsum(positives) + positives / 2) / p
        value = positives @ below / p
        variance = positives @ (below - value) ** 2 / max(p - 1, 1) / p
        variance += negatives @ (above - value) ** 2 / max(n - 1, 1) / n
        assert answer.value == pytest.approx(value, abs=1e-12)
        if variance > 0:
            half = Z * math.sqrt(variance) / (value * (1 - value))
            middle = math.log(value / (1 - value))
            ends = [1 / (1 + math.exp(-end)) for end in (middle - half, middle + half)]
        else:
            ends = list(wilson(value * min(p, n), min(p, n)))
        assert [answer.low, answer.high] == pytest.approx(ends, abs=1e-12)


def test_the_calibration_of_many_rows_is_that_of_the_plain_form() -> None:
    panel = panel_of(many_rows())
    found = answers(parse("expected_calibration_error", "task", "binary"), panel)
    curves = parse("calibration_curve", "task", "binary").of_panel(panel)
    assert curves is not None
    for (_, counts), answer, curve in zip(panel, found, curves, strict=True):
        score, positives, negatives = score_counts(counts)
        n = positives + negatives
        if not n.sum():
            assert answer.status is Status.NO_DATA and answer.reason
            assert curve == [(("",), curve[0][1])] and curve[0][1].reason == answer.reason
            continue
        assert counts.binning is not None
        end = np.nextafter(counts.binning.edges(bins_of(score, counts.binning))[1], -np.inf)  # the last score in a bin
        place = np.minimum((np.clip(end, 0.0, 1.0) * 10).astype(int), 9)
        score = np.clip(score, 0.0, 1.0)
        sums = [np.bincount(place, weights, 10) for weights in (n, positives, score * n)]
        there = sums[0] > 0
        records, happened, predicted = (column[there] for column in sums)
        assert [value.value for _, value in curve] == pytest.approx(happened / records, abs=1e-12)
        assert [value.expected for _, value in curve] == pytest.approx(predicted / records, abs=1e-12)
        distances = np.abs(happened - predicted) / records
        assert answer.value == pytest.approx(float(records @ distances / records.sum()), abs=1e-12)


def plain_distances(weights: np.ndarray, distances: np.ndarray, errors: np.ndarray) -> list[float]:
    """What ``absolute_distances`` says, with all truths looked at."""
    lengths = np.abs(distances)
    seen = float((weights * lengths).sum())
    beyond = np.where(lengths > errors, lengths, 0.0)
    if not beyond.any():
        beyond = np.where(lengths == lengths.max(), 1.0, 0.0)
    truths = np.linspace(0.0, seen + 2 * Z * float(np.sqrt((weights**2 * errors**2).sum())), 33)
    ends = []
    for shape, sign in ((beyond / (weights * beyond).sum(), 1), ((1 + lengths / max(seen, 1e-12)) / 2, -1)):
        at = truths[:, None] * shape
        z = at / errors / math.sqrt(2)
        inside = np.array([math.erf(x) for x in z.ravel().tolist()]).reshape(z.shape)
        mean = errors * math.sqrt(2 / math.pi) * np.exp(-z * z) + at * inside
        spread = np.sqrt((weights**2 * np.maximum(at * at + errors**2 - mean * mean, 0.0)).sum(1))
        ends.append(float(np.interp(seen, (weights * mean).sum(1) + sign * Z * spread, truths)))
    return ends


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1), st.one_of(st.just(0.0), st.floats(-1, 1)), st.floats(1e-4, 0.5)),
        min_size=1,
        max_size=10,
    )
)
def test_the_interval_of_distances_is_that_of_all_truths_looked_at(drawn: list[tuple[float, float, float]]) -> None:
    weights, distances, errors = np.array(drawn).T
    weights = weights / weights.sum()
    found = absolute_distances(weights, distances, errors)
    assert [float(end) for end in found] == pytest.approx(plain_distances(weights, distances, errors), abs=1e-9)


def test_the_error_function_is_exact() -> None:
    x = np.concatenate([np.linspace(0, 7, 3001), [1e-300, 1e-9, 40.0, 1e300]])
    assert np.abs(erf(x) - [math.erf(at) for at in x.tolist()]).max() < 4e-16


def test_students_points_are_those_of_his_distribution() -> None:
    for whole in range(1, 6):
        assert student_point(whole) == pytest.approx(stats.t.ppf(0.975, whole), rel=1e-12)
    for degrees in (6.0, 7.0, 8.5, 12, 100):
        assert student_point(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=0.002)
    for degrees in (1.3, 2.5, 3.7, 5.9):  # of Welch's interval
        assert student_point(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.03)
    assert student_point(0.5) == math.inf


def test_a_values_number_is_its_float_and_no_data_says_why_there_is_none() -> None:
    assert float(Value(0.25)) == 0.25
    with pytest.raises(ValueError, match="no labels yet for 3 predictions"):
        float(Value.no_data("no labels yet for 3 predictions"))


def test_counts_beyond_32_bits_are_read_by_row() -> None:
    rows: list[list[tuple[float, int | None]]] = [[(0.2, 0), (0.7, 1)], [(0.2, 1), (0.7, 0), (0.9, 1)]]
    panel = panel_of(rows)
    numbers = [np.frombuffer(row, "<i4").astype("<i8") * 10**10 for row in panel.numbers]
    wide = dataclasses.replace(
        panel, numbers=[row.tobytes() for row in numbers], width="<i8", tallies=panel.tallies * 10**10
    )
    question = parse("roc_auc", "task", "binary")
    assert [value.value for value in answers(question, wide)] == [v.value for v in answers(question, panel)]
    assert isinstance(wide.row(0), Counts) and wide.row(0).counts.tolist() == [10**10, 10**10]
