"""Whatever numbers are logged: no metric raises, none is silently wrong, and none spoils another's bucket or slice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fourfold as ff
from fourfold import config, counts
from fourfold.counts import Counts
from fourfold.fold import Plan, fold, plan_columns
from fourfold.metrics import METRICS, Additive
from fourfold.metrics.custom import REGISTERED, register
from fourfold.metrics.skew import column_skew
from fourfold.model import DAY, Status, Task, Value
from fourfold.query.counts import pooled
from fourfold.sdk import Session
from fourfold.store import Store
from tests.support import START, Sender, by_column, fold_joined, table_of_joined

HUGE = [1e308, -1e308, 1.7976931348623157e308, 1e300, -1e200, 1e155, 1e100, 1e77, 1e20, -1e16]
ODD = [*HUGE, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-300, 0.0, -0.0]
odd = st.one_of(st.sampled_from(ODD), st.floats())
numbers = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0, 3.0, 17.0]), odd)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)
tame = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=10)
texts = st.sampled_from(["cat", "dog", "owl", None])

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "quantile": [{"q": 0.0}, {"q": 0.5}, {"q": 1.0}],
    "label_delay": [{"q": 0.5}],
    "residual_quantile": [{"q": 0.1}],
    "mean_pinball_loss": [{"alpha": 0.9}],
    "top_k_accuracy": [{"k": 2}],
    "recall": [{}, {"threshold": 1e308}, {"threshold": -1e308}, {"threshold": 0.3}],
}
RANKS = ("ndcg", "mean_average_precision", "precision_at_k", "recall_at_k", "hit_rate")


def proper(value: Value, what: str) -> None:
    """What every value promises."""
    assert isinstance(value, Value), what
    if value.value is None:
        assert value.status is Status.NO_DATA and value.reason, (what, value)
    else:
        assert math.isfinite(value.value), (what, value)
    ends = [end for end in (value.low, value.high) if end is not None]
    assert not any(math.isnan(end) for end in ends), (what, value)
    if value.value is not None and len(ends) == 2:
        slack = 1e-9 + 1e-6 * abs(value.value)
        if "calibration" not in what:  # the interval of a distance takes away what chance adds
            assert ends[0] <= value.value + slack and value.value - slack <= ends[1], (what, value)


def task(kind: str) -> Task:
    known: dict[str, dict[str, Any]] = {
        "binary": {"values": {"true_positive": 1e308, "false_negative": -1e308}, "version": "model"},
        "multiclass": {"probabilities": "p.all", "classes": ["cat", "dog", "owl"]},
        "ranking": {"query": "q", "cutoffs": [2]},
        "decision": {"outcome": "o.good", "threshold": 0.5},
    }
    return config.make_task("t", prediction="p.x", label="l.y", kind=kind, **known.get(kind, {}))


def every(kind: str) -> list[Additive]:
    """All metrics of a kind of task."""
    return [metric for several in METRICS.values() for metric in several if kind in metric.tasks]


def answers(of: Task, found: Mapping[str, Counts]) -> dict[str, Value]:
    """All metrics of a task, of its counts."""
    out: dict[str, Value] = {}
    for entry in every(of.kind):
        series = entry.series.format(k=2)
        if series not in found:
            continue
        defaults: list[dict[str, Any]] = [{"k": 2}] if entry.name in RANKS else [{}]
        given_ = PARAMETERS.get(entry.name, defaults)
        for parameters in given_ if of.kind == "binary" or entry.name != "recall" else [{}]:
            answer = entry.of(found[series], task=of, **parameters)
            for name, value in answer if isinstance(answer, list) else [((), answer)]:
                out[f"{entry.name}{parameters}{name}"] = value
    return out


def folded(of: Task, rows: Sequence[tuple[Any, Any]], **more: Any) -> dict[str, Counts]:
    """The counts of predictions and labels, of whatever numbers."""
    prediction, label = (pa.array(side, pa.float64()) for side in zip(*rows, strict=True))
    if of.version:
        more |= {"served": np.ones(len(rows), bool)}
    return fold_joined(of, prediction, label, **more)


@given(pairs)
@example([(1.0, 1e300), (1.0, 1.0)])
@example([(-1e308, 1e308)])
@example([(5e-324, 0.0), (0.0, 5e-324), (1e-300, 1e300)])
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_no_number_makes_a_metric_of_a_task_raise(kind: str, rows: list[tuple[Any, Any]]) -> None:
    of = task(kind)
    for name, value in answers(of, folded(of, rows)).items():
        proper(value, name)


@given(pairs, st.lists(st.sampled_from(["q1", "q2", None]), min_size=12, max_size=12))
@example([(1.0, 1e308), (2.0, 1e308), (3.0, 1e308)], ["q1"] * 12)
@example([(1.0, 5e-324), (2.0, -1e308), (1e308, 1e308)], ["q1"] * 12)
def test_no_number_makes_a_metric_of_a_ranking_raise(rows: list[tuple[Any, Any]], queries: list[Any]) -> None:
    of = task("ranking")
    query = [name or f"k{i}" for i, name in enumerate(queries[: len(rows)])]
    for name, value in answers(of, folded(of, rows, query=query)).items():
        proper(value, name)
        assert (
            value.value is None or "@" in name or name.startswith(("predictions", "label", "fan")) or value.value <= 1
        )


@given(st.lists(st.tuples(texts, texts, st.lists(numbers, max_size=4)), min_size=1, max_size=8))
def test_no_probability_makes_a_metric_of_classes_raise(rows: list[tuple[Any, Any, Any]]) -> None:
    said, actual, probabilities = zip(*rows, strict=True)
    of = task("multiclass")
    column = pa.array(list(probabilities), pa.list_(pa.float64()))
    found = fold_joined(of, pa.array(said, pa.string()), pa.array(actual, pa.string()), probabilities=column)
    for name, value in answers(of, found).items():
        proper(value, name)


@given(st.lists(st.tuples(numbers, st.sampled_from(["true", "false", None]), numbers), min_size=1, max_size=12))
@example([(1.0, "true", 1e308), (1.0, "true", 1e308), (1.0, "false", -1e308), (1.0, "false", 5e-324)])
def test_no_outcome_makes_a_metric_of_decisions_raise(rows: list[tuple[Any, Any, Any]]) -> None:
    score, done, outcome = zip(*rows, strict=True)
    of = task("decision")
    found = fold_joined(
        of, pa.array(score, pa.float64()), pa.array(done, pa.string()), outcome=pa.array(outcome, pa.float64())
    )
    for name, value in answers(of, found).items():
        proper(value, name)


@settings(max_examples=25)
@given(pairs)
@example([(1e308, 1.0), (1e308, 1.0), (-1e308, 2.0)])
@example([(1e200, 1e-200)])
def test_no_number_makes_a_custom_metric_raise(rows: list[tuple[Any, Any]]) -> None:
    ways: dict[str, Any] = {
        "ratio": lambda sums: sums["a"] / sums["b"],
        "power": lambda sums: sums["a"] ** 2 / sums["records"],
        "root": lambda sums: math.sqrt(sums["a"] - sums["b"]),
        "exponential": lambda sums: math.exp(sums["a"]),
        "imaginary": lambda sums: (sums["a"] + 0j) ** 0.5,
        "wrong": lambda sums: sums["c"],
    }
    said, actual = (pa.array(side, pa.float64()) for side in zip(*rows, strict=True))
    try:
        for name, way in ways.items():
            register(f"odd_{name}", sums={"a": "score", "b": "actual"}, value=way)
            custom = REGISTERED[f"odd_{name}"]
            assert custom.sums is not None
            of = dataclasses.replace(task("regression"), sums=(custom.sums,))
            found = fold_joined(of, said, actual, custom_0_0=said, custom_0_1=actual)
            from fourfold.metrics.custom import read

            proper(read(found[f"odd_{name}"], custom), name)
    finally:
        for name in ways:
            REGISTERED.pop(f"odd_{name}", None)


def column(values: Sequence[Any], plan: Plan | None = None) -> dict[str, Counts]:
    """The counts of a column of numbers, by kind."""
    table = pa.table({"x": pa.array(values, pa.float64())})
    plan = plan if plan is not None else plan_columns(table, Plan())
    found = counts.rows(counts.add(fold(table, plan=plan)), plan.by_version())
    total = pooled(entry for entry in found if entry.kind == "numeric")
    assert total is not None
    return {"numeric": total}


COLUMN_METRICS = [m for several in METRICS.values() for m in several if m.target == "column" and "numeric" in m.kinds]


@settings(max_examples=50)
@given(st.lists(numbers, min_size=1, max_size=12), st.lists(numbers, min_size=1, max_size=12), st.booleans())
@example([1e308, -1e308], [1.0, 2.0], True)
@example([1.7e308, 1.7e308, -1.7e308], [1e-320, 5e-324], False)
def test_no_number_makes_a_metric_of_a_column_raise(one: list[Any], other: list[Any], shared: bool) -> None:
    plan = plan_columns(pa.table({"x": pa.array(one, pa.float64())}), Plan()) if shared else None
    here, there = column(one, plan), column(other, plan)
    for entry in COLUMN_METRICS:
        other_side = there["numeric"] if entry.distance else None
        for parameters in PARAMETERS.get(entry.name, [{}]):
            proper(entry.of(here["numeric"], other_side, **parameters), f"{entry.name}{parameters}")
    assert isinstance(column_skew("x", here, there).words, str)


@settings(max_examples=25)
@given(
    tame, st.lists(st.tuples(odd, odd), min_size=1, max_size=4), st.sampled_from(["regression", "decision", "custom"])
)
@example([(1.0, 2.0), (2.0, 4.0), (3.0, 3.5)], [(1.0, 1e300)], "regression")
@example([(1.0, 2.0), (2.0, 4.0), (3.0, 3.5)], [(1.0, 1e20), (1.0, -1e16)], "regression")
@example([(1.0, 2.0), (2.0, 4.0), (3.0, 3.5)], [(0.0, 1e-300)], "regression")
@example([(0.0, 0.0), (1.0, 2.225073858507203e-309)], [(1.0, 5e-324)], "regression")
@example([(1.0, 2.0), (2.0, 4.0), (3.0, 3.5)], [(1e16, 1e300)], "decision")
@example([(1.0, 2.0), (2.0, 4.0), (3.0, 3.5)], [(1e16, 1e300)], "custom")
def test_what_is_taken_back_leaves_what_was_before(rows: list[Any], wrong: list[Any], kind: str) -> None:
    """An odd label that is corrected: its counts are taken away, in another order and one by one."""
    of = task("regression" if kind == "custom" else kind)
    if kind == "custom":
        register("odd_product", sums={"a": "score", "b": "actual"}, value=lambda sums: sums["a"] + sums["b"])
        custom = REGISTERED.pop("odd_product")
        assert custom.sums is not None
        of = dataclasses.replace(of, sums=(custom.sums,))

    def counted(some: Sequence[Any], plan: Plan | None = None) -> tuple[pa.Table, Plan]:
        said, actual = (pa.array(side, pa.float64()) for side in zip(*some, strict=True))
        if kind == "decision":
            done = pa.array(["true" if x is not None and x > 0 else "false" for x, _ in some])
            return table_of_joined(of, said, done, outcome=actual, plan=plan)
        return table_of_joined(of, said, actual, plan=plan, custom_0_0=said, custom_0_1=actual)

    clean, plan = counted(rows)
    table = counts.add(clean, counted(wrong, plan)[0])
    for entry in wrong[::-1]:
        table = counts.drop_zero(counts.add(table, counts.negate(counted([entry], plan)[0])))
    before, after = by_column(clean, plan), by_column(table, plan)
    assert before.keys() == after.keys()
    for name, found in before.items():
        again = after[name]
        assert (again.tallies, again.bins.tolist(), again.labels) == (found.tallies, found.bins.tolist(), found.labels)
        if found.kind != "numeric":  # of a task's own series, only the bins are read
            sums, expected = ([x if math.isfinite(x) else math.inf for x in side.sums] for side in (again, found))
            assert sums == pytest.approx(expected, rel=1e-3, abs=1e-3)  # infinite or no number: the sums overflow
    for name, value in answers(of, before).items():
        other = answers(of, after)[name]
        if value.value is not None and "r2" not in name and "quantile" not in name and "median" not in name:
            assert other.value == pytest.approx(value.value, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("outlier", [1e16, 1e20, 1e155, 1e300, -1.7e308])
def test_a_sum_that_is_too_large_says_so_and_the_others_are_right(outlier: float) -> None:
    of = task("regression")
    rows = [(1.0, 2.0), (2.0, 4.0), (5.0, 6.0), (7.0, 5.0)] * 5
    found = answers(of, folded(of, [*rows, (0.0, outlier)]))
    mean = found["mean_absolute_error{}()"]
    assert mean.value == pytest.approx(abs(outlier) / 21) if abs(outlier) < 1e301 else "overflow" in mean.reason
    squared = found["mean_squared_error{}()"]
    assert squared.value == pytest.approx(outlier * outlier / 21) if abs(outlier) < 1e150 else squared.value is None
    assert squared.value is not None or squared.reason.startswith("the sums overflow")
    assert found["median_absolute_error{}()"].value == pytest.approx(2.0, rel=0.2)
    assert found["coverage{}()"].value == 1.0


BY_SLICE = [value for value in ODD if value not in (0.0, 1.0)]
WAYS: dict[str, list[dict[str, Any]]] = {
    "binary": [
        {},
        {"by": "side"},
        {"every": "1d", "by": "side"},
        {"as_of": "2100-01-01", "by": "side"},
        {"estimate": True},
    ],
    "regression": [{}, {"by": "side"}, {"every": "1d"}, {"estimate": True}, {"versions": ("a", "b")}],
}


ESTIMATED = ("accuracy", "log_loss", "roc_auc", "mean_squared_error", "mean_absolute_error")


def log(kind: str, *, odd_too: bool) -> None:
    """Two versions' predictions and their labels: usual ones in one slice, and odd ones in another, a day later."""
    rows = [(float(i % 2), 0.2 + 0.6 * (i % 2), "usual", "2024-03-01") for i in range(40)]
    if odd_too:
        rows += [(0.5, value, "odd", "2024-03-02") for value in BY_SLICE]
        rows += [(value, value, "odd", "2024-03-02") for value in BY_SLICE]
    for model in ("a", "b"):
        frame = pd.DataFrame(
            {"id": [f"k{i}" for i in range(len(rows))], "x": [row[0] for row in rows], "side": [row[2] for row in rows],
             "at": [row[3] for row in rows], "model": model}
        )  # fmt: skip
        ff.log("p", frame, key="id", time="at")
    labels = [row[1] if kind == "regression" or row[2] == "odd" else round(row[1]) for row in rows]
    frame = pd.DataFrame({"id": [f"k{i}" for i in range(len(rows))], "y": labels, "at": [row[3] for row in rows]})
    ff.log("l", frame, key="id", time="at")
    ff.task("t", prediction="p.x", label="l.y", kind=kind, slices=["side"], version="model")


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_odd_numbers_in_a_store_leave_other_slices_and_days_as_they_are(kind: str, tmp_path: Path) -> None:
    found: list[dict[str, Value]] = []
    for odd_too in (False, True):
        session = ff.init(tmp_path / str(odd_too), "test")
        log(kind, odd_too=odd_too)
        session.store.writer.catch_up()
        usual: dict[str, Value] = {}
        names = [f"{m.name}(0.5)" if m.name in ("label_delay", "residual_quantile") else m.name for m in every(kind)]
        for name in names:
            for way in WAYS[kind]:
                if "estimate" in way and name not in ESTIMATED:
                    continue
                try:
                    answer = ff.metric("t", name, **way)
                except ff.InputError:  # not in this way
                    continue
                for row in answer:
                    proper(row.value, f"{name} {way} {row.slice}")
                    if row.slice.get("side") == "usual" and row.window.start < 1_709_337_600:
                        usual[f"{name} {way} {row.slice}"] = row.value
        for name in ("mean", "std", "quantile(0.5)", "min", "max", "null_rate", "negative_rate"):
            for column in ("p.x", "l.y"):
                for row in ff.metric(column, name, every="1d"):
                    proper(row.value, name)
                    if row.window.start < 1_709_337_600:
                        usual[f"{column} {name}"] = row.value
        for row in ff.metric("t", names[0], as_of="2100-01-01", by="side"):
            proper(row.value, f"{names[0]} as of")
        for name in ("wasserstein", "population_stability_index", "kolmogorov_smirnov"):
            proper(ff.metric("l.y", name, against="p.x").value, name)
        assert ff.skew("p", "l") is not None
        assert all(len(text) for text in map(repr, (ff.skew("l", "p"), ff.metric("t", "coverage"))))
        found.append(usual)
        assert not session.store.reader.failures()
        session.close()
    clean, beside = found
    assert len(clean) > 20 and clean.keys() == beside.keys()
    for name, value in clean.items():
        read_off_bins = any(word in name for word in ("quantile", "median", "calibration", "roc", "average_precision"))
        assert beside[name].value == pytest.approx(value.value, abs=0.02 if read_off_bins else 1e-9), name


@pytest.mark.parametrize("slip", [1e300, -1e20, 1e155, 1e-300])
def test_a_label_that_was_a_slip_and_is_corrected_leaves_the_right_answer(slip: float, tmp_path: Path) -> None:
    session = ff.init(tmp_path / "store", "test")
    rng = np.random.default_rng(1)
    said, true = rng.normal(10, 2, 50), rng.normal(10, 2, 50)
    frame = pd.DataFrame({"id": [f"k{i}" for i in range(50)], "x": said, "y": true})
    ff.log("p", frame[["id", "x"]], key="id")
    ff.log("l", frame[["id", "y"]], key="id")
    ff.task("t", prediction="p.x", label="l.y", kind="regression")
    names = ("mean_absolute_error", "mean_squared_error", "r2", "bias", "mean_absolute_percentage_error")
    before = {name: ff.metric("t", name).value for name in names}
    ff.log("l", key="k7", y=slip)
    wrong = ff.metric("t", "mean_squared_error").value
    assert wrong.value is not None or "overflow" in wrong.reason
    ff.log("l", key="k7", y=true[7])
    for name in names:
        after = ff.metric("t", name).value
        assert after.value == pytest.approx(before[name].value, rel=1e-9), name
        assert [after.low, after.high] == pytest.approx([before[name].low, before[name].high], rel=1e-3), name
    session.close()


@pytest.mark.parametrize(
    "expression", ["exp(score)", "score * score", "1 / actual", "score // actual", "ln(actual)", "CAST(score AS INT)"]
)
def test_an_expression_that_fails_on_one_record_leaves_out_that_record(session: Session, expression: str) -> None:
    for i, (x, y) in enumerate([(1.0, 2.0), (1e300, 0.0), (2.0, 1.0), (-1e308, -1.0)]):
        ff.log("p", key=i, x=x)
        ff.log("l", key=i, y=y)
    ff.task("t", prediction="p.x", label="l.y", kind="regression")
    try:
        register("odd_sum", sums={"a": expression}, value=lambda sums: sums["a"])
        value = ff.metric("t", "odd_sum").value
        proper(value, expression)
        assert value.n >= 2 and ff.metric("t", "coverage").value.value == 1.0
    finally:
        REGISTERED.pop("odd_sum", None)


def test_times_that_are_far_apart_make_no_metric_raise(store: Store) -> None:
    sender = Sender(store)
    early, far = -62_135_596_800, 253_402_300_799  # the years 1 and 9999, as far as a message's times may be
    sender.records("p", [{"key": k, "time": START if k == "a" else early, "log_time": START, "x": 0.9} for k in "ab"])
    sender.records("l", [{"key": k, "time": START if k == "a" else far, "log_time": START, "y": 1} for k in "ab"])
    sender.task(config.make_task("t", prediction="p.x", label="l.y"))
    assert store.metric("t", "recall", start=START, end=START + DAY).value.value == 1.0
    assert store.reader.failures() == {}
    assert store.metric("t", "expired_labels").value.value == 1.0
