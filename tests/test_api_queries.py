"""What stands behind the pages: sums of slices, effects, and the counts of many columns at once, against oracles."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold.errors import InputError, UnknownNameError
from fourfold.model import (
    DAY,
    HOUR,
    Finding,
    Group,
    Incident,
    IncidentState,
    Owner,
    Run,
    RunStatus,
    Severity,
    Value,
    Where,
    Window,
)
from fourfold.query.filtered import Filter, chosen
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.query.result import Result
from fourfold.query.together import Stretch, together
from fourfold.reports import box
from fourfold.reports.box import Difference, differences, sides
from fourfold.reports.columns import overview, summaries
from fourfold.reports.losses import losses
from fourfold.reports.shapes import Effect, apart, effect, of_names
from fourfold.serve.remembered import Answer, Remembered
from fourfold.state import runs
from fourfold.store import Store
from fourfold.views import box as box_view
from fourfold.views import column as column_view
from fourfold.views import compare as compare_view
from fourfold.views import incident as incident_view
from fourfold.views import run as run_view
from fourfold.views import stream as stream_view
from fourfold.views import task as task_view
from fourfold.views.asking import Asked
from fourfold.views.compare import difference
from fourfold.views.differing import gathered, row
from fourfold.views.forms import changes
from fourfold.watch.lineage import Lineage
from fourfold.watch.rows import iso
from tests.support import Sender

START = 1_700_006_400


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("queries") / "store"
    session = ff.init(str(folder), "shop")
    ff.task("buys", prediction="p.score", label="l.y", slices=["group", ["group", "size"]], horizon="5d")
    rng = np.random.default_rng(1)
    n = 900
    groups = [["a", "b", "c=d", None][i] for i in rng.integers(0, 4, n).tolist()]
    sizes = rng.choice(["s", "l"], n).tolist()
    scores, at = rng.random(n).tolist(), [START + 600 * i for i in range(n)]
    numbers = [None if i % 9 == 0 else float(x) for i, x in enumerate(rng.normal(size=n).tolist())]
    ids = [f"k{i}" for i in range(n)]
    records = {"id": ids, "at": at, "score": scores, "group": groups, "size": sizes, "x": numbers}
    ff.log("p", records, key="id", time="at")
    ff.log("l", {"id": ids, "at": at, "y": (rng.random(n) < scores).tolist()}, key="id", time="at")
    ff.flush()
    session.close()
    store = Store(str(folder), "shop")
    yield store.caught_up()
    store.close()


def values(reader: Reader, name: str, where: Filter) -> Value:
    return metric(reader, "buys", name, where=where)[0].value


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "log_loss", "label_delay(0.5)", "coverage"])
def test_only_one_slice_is_that_slice(reader: Reader, name: str) -> None:
    by = {row.slice["group"]: row.value for row in metric(reader, "buys", name, by="group")}
    for group, value in by.items():
        found = values(reader, name, Filter.of([chosen("group", group)], []))
        assert found.value == pytest.approx(value.value) and found.n == value.n


def test_all_slices_but_some_are_the_sum_of_the_others(reader: Reader) -> None:
    known = ("a", "b", "c=d", None)
    for left in known:
        without = values(reader, "roc_auc", Filter.of([], [chosen("group", left)]))
        only = values(reader, "roc_auc", Filter.of([chosen("group", g) for g in known if g != left], []))
        assert without == only
    assert values(reader, "accuracy", Filter.of([chosen("group", g) for g in known], [])).n == 900


def test_two_names_are_filtered_where_they_are_counted_together(reader: Reader) -> None:
    both = values(reader, "accuracy", Filter.of(["group=a"], ["size=l"]))
    by = {
        (r.slice["group"], r.slice["size"]): r.value for r in metric(reader, "buys", "accuracy", by=["group", "size"])
    }
    assert both.n == by["a", "s"].n and both.value == by["a", "s"].value
    split = metric(reader, "buys", "accuracy", by="group", where=Filter.of(["size=s"], []))
    assert {row.slice["group"]: row.value.n for row in split} == {g: v.n for (g, size), v in by.items() if size == "s"}
    with pytest.raises(InputError, match="declare"):
        values(reader, "accuracy", Filter.of(["colour=red"], []))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, list[tuple[str, str]]]]:
    """Records whose values of c, and of c and d together, are more than have a slice of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fourfold.fold.kept_slices.MOST_SLICES", 5)
        folder = tmp_path_factory.mktemp("cut") / "store"
        session = ff.init(str(folder), "shop")
        ff.task("t", prediction="p.score", label="l.y", slices=["c", "d", ["c", "d"]], horizon="5d")
        rng = np.random.default_rng(2)
        numbers, letters = rng.zipf(1.4, 400).tolist(), rng.choice(list("xyz"), 400).tolist()
        pairs = [(f"c{min(number, 8)}", letter) for number, letter in zip(numbers, letters, strict=True)]
        for at in range(0, 400, 100):
            for i, (c, d) in enumerate(pairs[at : at + 100]):
                ff.log("p", {"score": 0.5, "c": c, "d": d}, key=f"k{at + i}", time=START + 60 * (at + i))
            ff.flush()
            assert ff.metric("p", "rows").value.n == at + 100
        session.close()
        store = Store(str(folder), "shop")
        yield store.caught_up(), pairs
        store.close()


C, D = [*(f"c{i}" for i in range(1, 9)), "c99"], ["x", "y", "z", "q"]
SOME = st.lists(st.sampled_from([*(f"c={c}" for c in C), *(f"d={d}" for d in D)]), max_size=3, unique=True)


@given(SOME, SOME)
def test_some_slices_are_those_records_or_it_is_said_that_nobody_can_tell(
    cut: tuple[Reader, list[tuple[str, str]]], only: list[str], without: list[str]
) -> None:
    reader, pairs = cut
    where = Filter.of(only, without)
    meant = [(c, d) for c, d in pairs if where.fits({"c": c, "d": d})]
    with contextlib.suppress(InputError):
        assert metric(reader, "p", "rows", where=where)[0].value.n == len(meant)
    for name, place in (("c", 0), ("d", 1)):
        with contextlib.suppress(InputError):
            for row in metric(reader, "p", "rows", by=name, where=where):
                if (value := row.slice.get(name)) not in (None, "(other)"):
                    assert row.value.n == sum(pair[place] == value for pair in meant), (row, where)


def test_what_counts_can_tell_is_told(cut: tuple[Reader, list[tuple[str, str]]]) -> None:
    reader, pairs = cut

    def rows(only: list[str], without: list[str]) -> int:
        return metric(reader, "p", "rows", where=Filter.of(only, without))[0].value.n

    first = max({c for c, _ in pairs}, key=[c for c, _ in pairs].count)
    assert rows([f"c={first}"], []) == sum(c == first for c, _ in pairs)
    assert rows([], [f"c={first}"]) == sum(c != first for c, _ in pairs)
    assert rows([], ["d=x"]) == sum(d != "x" for _, d in pairs)
    assert rows(["d=q"], []) == 0
    others = rows(["c=(other)"], [])
    assert others and others + rows([], ["c=(other)"]) == len(pairs)
    for wrong in (["c=c99"], []), ([], ["c=c99"]), ([], [f"c={first}", "d=x"]), (["d=x"], [f"c={first}"]):
        with pytest.raises(InputError, match="counted together as '\\(other\\)'"):
            rows(*wrong)


@given(st.text(min_size=1, max_size=8), st.none() | st.text(max_size=8))
def test_any_slice_survives_its_text(name: str, value: str | None) -> None:
    [(found, wanted)] = Filter.of([chosen(name, value)], []).only
    assert (found, wanted) == (name, frozenset([value]))


def test_columns_read_together_are_the_columns_read_one_by_one(reader: Reader) -> None:
    window = Window(START // DAY * DAY, START // DAY * DAY + 4 * DAY)
    found = together(reader, ["p"], Stretch.of(window))
    assert found["p", "x", "numeric"].missing == 64 and found["p", "", "stream"].tally("rows") == 576
    one = metric(reader, "p.x", "quantile(0.5)", start=window.start, end=window.end)[0].value
    numeric = found["p", "x", "numeric"]
    assert one.n == numeric.finite and int(numeric.counts.sum()) == one.n
    group = found["p", "group", "category"]
    assert sum(group.counts.tolist()) + group.missing == 576
    part = together(
        reader, ["p"], dataclasses.replace(Stretch.of(window), without=Window(window.start, window.start + DAY))
    )
    assert part["p", "", "stream"].tally("rows") == 576 - 144


def test_a_baseline_leaves_out_what_is_inside() -> None:
    chosen_ = sides(Window(10 * DAY, 12 * DAY), Window(0, 20 * DAY))
    assert all(half.without == Window(10 * DAY, 12 * DAY) for half in chosen_.baseline)
    hours = sides(Window(10 * DAY + 3_600, 10 * DAY + 7_200), Window(0, 20 * DAY))
    assert hours.inside.level == 3_600 and hours.baseline[0].without == Window(10 * DAY, 11 * DAY)
    with pytest.raises(InputError, match="nothing is left"):
        sides(Window(0, 20 * DAY), Window(DAY, 2 * DAY))
    before = sides(Window(10 * DAY + 3_600, 10 * DAY + 7_200), Window(0, 10 * DAY + 3_600), kept=8 * DAY)
    assert before.compared_with == Window(0, 10 * DAY)
    assert {half.level for half in before.baseline} == {DAY}


@pytest.mark.parametrize(("p", "q"), [((0.5, 0.5), (0.5, 0.5)), ((0.2, 0.8), (0.4, 0.6)), ((1.0, 0.0), (0.0, 1.0))])
def test_the_size_of_the_data_does_not_decide_the_effect(p: tuple[float, float], q: tuple[float, float]) -> None:
    true = math.sqrt(sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(p, q, strict=True)) / 2)
    found = [effect(np.array(p) * n, np.array(q) * n) for n in (1_000.0, 1_000_000.0)]
    assert found[0].value == pytest.approx(true, abs=0.03) and found[1].value == pytest.approx(true, abs=0.001)
    assert found[1].high - found[1].low < found[0].high - found[0].low


def test_the_interval_of_an_effect_holds_the_true_one() -> None:
    rng, held = np.random.default_rng(3), []
    p, q = np.full(10, 0.1), np.linspace(0.02, 0.18, 10)
    true = math.sqrt(float(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)) / 2)
    for n, m in [(100, 2_000), (1_000, 1_000), (5_000, 50_000)] * 200:
        found = effect(rng.multinomial(n, p).astype(float), rng.multinomial(m, q).astype(float))
        held.append(found.low <= true <= found.high)
    assert 0.92 <= np.mean(held) <= 1.0


def test_samples_of_the_same_differ_by_about_nothing() -> None:
    rng = np.random.default_rng(4)
    lows = [effect(*(rng.multinomial(n, np.full(12, 1 / 12)).astype(float) for n in (80, 900))).low for _ in range(500)]
    assert np.mean(np.array(lows) > 0) < 0.08


NUMBERS = st.dictionaries(st.text(max_size=3), st.integers(1, 10**6))


@given(NUMBERS, NUMBERS)
def test_an_effect_is_a_share_whatever_the_counts(a: dict[str, int], b: dict[str, int]) -> None:
    found, groups = of_names({k: float(v) for k, v in a.items()}, {k: float(v) for k, v in b.items()})
    assert 0 <= found.low <= found.high <= 1 and 0 <= found.value <= 1
    assert sum(groups.inside.tolist()) == sum(a.values()) and len(groups.labels) <= 13


def of_runs(tmp_path: Path, several: Iterable[Run], inside: int, days: int = 28) -> list[dict[str, object]]:
    """What differs between so many last days and those before, as a page shows it."""
    with contextlib.closing(Store(str(tmp_path / "store"), "shop")) as store:
        with store.reader.database.write() as connection:
            for run in several:
                runs.save(connection, "shop", run)
        first = START // DAY * DAY
        middle, end = first + DAY * days, first + DAY * (days + inside)
        found = differences(store.caught_up(), sides(Window(middle, end), Window(first, middle)), [])
        return [row(one) for one in found]


def daily(days: int, **more: Callable[[int], object]) -> list[Run]:
    return [
        Run(str(i), "predict", RunStatus.SUCCEEDED, 2e9 + i, 2e9 + i + 0.5, at=START // DAY * DAY + DAY * i + 60.0,
            params={name: of(i) for name, of in more.items()})
        for i in range(days)
    ]  # fmt: skip


@pytest.mark.parametrize("inside", [1, 2, 3, 6, 7, 20])
def test_a_parameter_that_changed_leads_however_few_runs_are_inside(tmp_path: Path, inside: int) -> None:
    depth = {"depth": lambda i: 6 if i < 28 else 9}
    varied = {"seed": lambda i: 17 * i, "day": lambda i: f"day {i}", "shard": lambda i: i % 2, "trees": lambda i: 100}
    found = of_runs(tmp_path, daily(28 + inside, **depth, **varied), inside)
    assert [(found[0]["name"], found[0]["effect"], found[0]["size"])] == [("params: depth", 1.0, "large")]
    assert (found[0]["low"], found[0]["high"]) == (None, None), "the runs are no sample"
    assert {one["name"] for one in found} <= {"params: depth", "params: shard"}
    assert all(one["size"] in ("none", "small") for one in found[1:])


@pytest.mark.parametrize("before", [1, 2, 4])
def test_of_few_runs_before_nobody_can_tell_yet_what_is_usual(tmp_path: Path, before: int) -> None:
    several = daily(before + 1, depth=lambda i: 6 if i < before else 9, seed=lambda i: 17 * i)
    found = of_runs(tmp_path, several, 1, before)
    assert (found[0]["name"], found[0]["size"], found[0]["effect"]) == ("params: depth", "cannot be told yet", 1.0)


def test_what_a_run_that_lasts_will_come_to_is_no_difference(tmp_path: Path) -> None:
    several = daily(29, depth=lambda i: 6)
    several[-1] = dataclasses.replace(several[-1], status=RunStatus.RUNNING, ended=None)
    assert of_runs(tmp_path, several, 1) == []
    several[-1] = dataclasses.replace(several[-1], status=RunStatus.FAILED, ended=2e9 + 60)
    assert [(one["name"], one["size"]) for one in of_runs(tmp_path, several, 1)] == [("status", "large")]


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_the_distance_of_runs_is_a_share_and_so_is_what_is_usual(baseline: list[str], inside: list[str]) -> None:
    for value in apart([*inside, "a"], baseline):
        assert 0 <= value <= 1 + 1e-12
    assert apart(baseline, baseline)[0] == pytest.approx(0)
    assert apart(["new"], baseline)[0] == pytest.approx(1)
    assert apart(["a"], ["b"]) == (1, 1)
    assert apart(["a"], ["b"] * 9) == (1, 0)
    numbers = list(map(str, range(20)))
    assert apart(numbers[:3], numbers[3:]) == pytest.approx((1, 1))


def test_the_loss_of_slices_adds_up_to_the_whole(reader: Reader) -> None:
    found = losses(metric(reader, "buys", "accuracy", by="group"), "accuracy")
    assert sum(one.loss or 0.0 for one in found) == pytest.approx(1) and sum(one.share or 0.0 for one in found) == 1
    assert all(one.loss is None for one in losses(metric(reader, "buys", "roc_auc", by="group"), "roc_auc"))


@pytest.mark.parametrize(
    ("asked", "by_value"),
    [
        ("bias", [30.0, -10.0, -0.5, 0.0, None]),
        ("residual_quantile(0.9)", [-10.0, 3.0, None]),
        ("false_positives", [9.0, 2.0, 0.0]),
        ("orphan_labels", [5.0, 1.0]),
        ("recall", [0.2, 0.7]),
        ("median_absolute_error", [3.0, 1.0]),
    ],
)
def test_the_worst_slice_is_first_whatever_is_good_in_its_metric(asked: str, by_value: list[float | None]) -> None:
    values = [Value.no_data("none") if value is None else Value(value, n=5) for value in reversed(by_value)]
    slices = [{"g": str(i)} for i in range(len(values))]
    found = losses(Result(asked, ["g"], [Window(0, DAY)] * len(values), slices, values), asked)
    assert [one.value.value for one in found] == by_value


def test_a_difference_is_sure_only_where_the_intervals_say_so() -> None:
    found = difference(Value(0.9, 0.85, 0.95, 100), Value(0.5, 0.4, 0.6, 50))
    assert found.value == pytest.approx(0.4) and found.low == pytest.approx(0.4 - math.hypot(0.05, 0.1))
    assert difference(Value.no_data("none"), Value(1.0)).value is None


@pytest.mark.parametrize(("start", "end", "length"), [("-7d", "", 7), ("-1w", "", 7), ("2023-11-16", "2023-11-18", 2)])
def test_a_window_is_whole_days_as_many_as_asked_for(reader: Reader, start: str, end: str, length: int) -> None:
    shown = Asked(start=start, end=end).window(reader, Owner.of_task("buys"), 2e9)
    assert shown.window.end - shown.window.start == length * DAY or shown.every == "1h"


def test_an_answer_is_given_again_while_it_is_true_and_an_expensive_one_for_a_while() -> None:
    answer = Answer(b"", "x", 1, 120.0, took=2.0)
    assert answer.holds(1, 179.0) and not answer.holds(1, 181.0)
    assert answer.holds(2, 125.0) and not answer.holds(2, 127.0)
    assert not Answer(b"", "x", 1, 120.0, took=0.0).holds(2, 120.0)


def test_old_answers_make_room(tmp_path: Path) -> None:
    kept = Remembered()
    for i in range(300):
        kept.get(i, lambda: 1, lambda now: b"x" * 200_000)
    assert kept._size <= 32 << 20 and 299 in kept._answers and 0 not in kept._answers


def test_the_quick_look_at_columns_says_what_the_full_one_says(reader: Reader) -> None:
    window = Window(START // DAY * DAY, START // DAY * DAY + 3 * DAY)
    quick, full = overview(reader, "p", window), summaries(reader, "p", window)
    told = [(c.name, c.kind, c.rows, c.missing, c.low, c.high) for c in quick]
    assert told == [(c.name, c.kind, c.rows, c.missing, c.low, c.high) for c in full] and len(told) == 4
    some = summaries(reader, "p", window, {"x"})
    assert some == [column for column in full if column.name == "x"]


def test_a_stream_s_table_says_of_each_column_what_the_column_s_own_metrics_say(reader: Reader) -> None:
    window = Window(START // DAY * DAY, START // DAY * DAY + 30 * DAY)
    found = [column for column in summaries(reader, "p", window) if column.mean is not None]
    assert {column.name for column in found} == {"score", "x"}
    for column in found:
        told = (column.mean, column.median, column.low, column.high)
        asked = ("mean", "quantile(0.5)", "min", "max")
        own = [metric(reader, f"p.{column.name}", name)[0].value.value for name in asked]
        assert told == pytest.approx(tuple(own), rel=1e-12)


def test_a_stream_and_a_task_of_one_name_both_have_a_page(tmp_path: Path) -> None:
    session = ff.init(str(tmp_path / "store"), "shop")
    ff.task("late", prediction="predict.score", label="late.y")
    ff.log("predict", [{"id": "a", "score": 0.9}, {"id": "b", "score": 0.2}], key="id")
    ff.log("late", [{"id": "a", "y": True}], key="id")
    ff.flush()
    session.close()
    with contextlib.closing(Store(str(tmp_path / "store"), "shop")) as store:
        shown = stream_view.page(store.caught_up(), Asked.of([("stream", "late")]), 0.0)
        assert shown.data["stream"]["rows"] == 1 and "rows" in shown.charts
        assert column_view.page(store.reader, Asked.of([("stream", "late"), ("column", "y")]), 0.0).data["kinds"]
        assert task_view.page(store.reader, Asked.of([("task", "late")]), 0.0).data["value"]["n"] == 1
        with pytest.raises(ff.UnknownNameError, match="column of stream 'late'"):
            column_view.page(store.reader, Asked.of([("stream", "late"), ("column", "z")]), 0.0)


def test_a_column_that_passes_through_several_streams_is_one_difference() -> None:
    def at(stream: str, name: str, value: float, kind: str = "column") -> Difference:
        return Difference(kind, stream, name, Effect(value, value - 0.05, value + 0.05), None, 1, 1)

    streams = {"joined": "join", "flights": "ingest", "clean.raw": "clean", "clean.output": "clean"}
    lineage = Lineage.of([("ingest", "join", "rows")], [("clean", "raw")], streams, [])
    found = [
        at("joined", "hour", 0.5),
        at("flights", "hour", 0.48),
        at("flights", "day", 0.48),
        at("joined", "day", 0.1),
    ]
    several = [[(one.where, one.name) for one in group] for group in gathered(found, lineage)]
    assert several == [[("flights", "hour"), ("joined", "hour")], [("flights", "day")], [("joined", "day")]]
    read = [at("clean.output", "amount", 0.5), at("clean.raw", "amount", 0.48)]
    assert [[one.where for one in group] for group in gathered(read, lineage)] == [["clean.raw", "clean.output"]]
    apart = [at("joined", "hour", 0.5), at("another", "hour", 0.5)]  # by name alone it is not the same
    assert len(gathered(apart, lineage)) == 2
    runs = [at("train", "code", 0.5, "parameter"), at("publish", "code", 0.5, "parameter")]
    assert len(gathered(runs, lineage)) == 2


def test_a_difference_leads_to_where_it_is() -> None:
    def shown(kind: str, name: str, value: str | None = None) -> tuple[str, str | None]:
        found = row(Difference(kind, "predict", name, Effect(0.5, 0.4, 0.6), None, 1, 1, value))
        return found["href"], found["only"]

    assert shown("column", "hour") == ("/columns/predict/hour", None)
    assert shown("slice", "hour", "7") == ("/streams/predict", "hour=7")
    assert shown("slice", "hour × day") == ("/streams/predict", None)
    assert shown("parameter", "params: depth", "6") == ("/runs?component=predict", None)


def test_a_parameter_that_says_which_day_a_run_is_about_is_no_change() -> None:
    runs = [
        Run(str(i), "predict", RunStatus.SUCCEEDED, 0.0, at=START + DAY * i, params={"day": day, "depth": i})
        for i, day in enumerate(["2023-11-15", "2023-11-16"])
    ]
    assert changes(*runs) == ["params: depth"]
    other = dataclasses.replace(runs[1], at=runs[0].at)  # about the same day, which it names otherwise
    assert changes(runs[0], other) == ["params: day", "params: depth"]


def many_runs(store: Store, n: int, changed: int) -> Reader:
    """Runs of a component, ten minutes apart: ten of the first failed, and from one on they have another parameter."""
    with store.reader.database.write() as connection:
        for i in range(n):
            status = RunStatus.FAILED if 100 <= i < 110 else RunStatus.SUCCEEDED
            started = float(START + 600 * i)
            params = {"depth": 6 if i < changed else 9}
            runs.save(connection, store.project, Run(f"r{i}", "score", status, started, started + 5, params=params))
    return store.caught_up()


def test_runs_are_listed_by_status_however_old_they_are(store: Store) -> None:
    reader = many_runs(store, 1_300, 1_250)

    def listed(limit: int = 100, offset: int = 0, **more: str) -> tuple[int, list[str]]:
        data = run_view.page(reader, Asked(limit=limit, offset=offset, more=more), 0.0).data
        return data["total"], [row["id"] for row in data["rows"]]

    assert listed(component="score", status="failed") == (10, [f"r{i}" for i in range(109, 99, -1)])
    assert listed(status="failed", limit=2, offset=9) == (10, ["r100"])
    assert listed(run="r3") == listed(run="r3", component="score", status="succeeded") == (1, ["r3"])
    assert listed(limit=3, offset=1_298) == (1_300, ["r1", "r0"])
    assert listed(run="r3", status="failed") == (0, [])
    with pytest.raises(UnknownNameError, match="r1299"):
        listed(run="r1299x")
    one, failed = (
        run_view.page(reader, Asked(more=more), 0.0).data["rows"][0] for more in ({"run": "r1250"}, {"run": "r100"})
    )
    assert (one["changed"], failed["changed"]) == (["params: depth"], [])


def test_runs_of_older_stretches_are_compared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = many_runs(store, 2_600, 300)
    then = START + 600 * 300 // HOUR * HOUR

    def told() -> list[tuple[str, int, int, str]]:
        found = differences(reader, sides(Window(then, then + DAY), Window(then - DAY, then)), [])
        return [(d.name, d.inside, d.baseline, d.words[0]) for d in found if d.name == "params: depth"]

    assert told() == [("params: depth", 144, 144, "9 100.0 %")]
    monkeypatch.setattr(box, "_RUNS", 50)
    assert told() == [("params: depth", 50, 100, "9 100.0 %; of the newest 50 runs")]


@pytest.mark.parametrize(
    ("kind", "column", "more", "shown"),
    [
        ("out_of_range", "x", {"high": 100.0}, "k7"),
        ("negative_values", "x", {"low": 0.0}, "k8"),
        ("nulls", "x", {}, "k9"),
        ("missing_rate", "x", {"value": 0.3, "expected": 0.0}, "k9"),
        ("missing_rate", "x", {"value": 0.0, "expected": 0.3}, "k0"),
        ("drift", "x", {"low": 0.2, "high": 0.4}, "k0"),
        ("out_of_range", "x", {"high": 1e9}, "k0"),  # it was, and is no longer there
        ("out_of_range", "region", {"high": 1.0}, "k0"),
    ],
)
def test_the_example_of_an_incident_shows_what_is_wrong(
    store: Store, kind: str, column: str, more: dict[str, float], shown: str
) -> None:
    values = [*range(1, 7), 24.0, 2_000.0, -3.0, None, 3_000.0, -4.0, None]
    rows: list[dict[str, object]] = [
        {"key": f"k{i}", "time": START + 60 * i, "log_time": START, "x": x, "region": "south" if i > 9 else "north"}
        for i, x in enumerate(values)
    ]
    Sender(store).records("p", rows)
    reader = store.caught_up()

    def example(where: Where) -> str | None:
        found = Finding("s", kind, "", Group.STATELESS_SINGLE, Severity.PAGE, where, *[float(START)] * 4, **more)  # type: ignore[arg-type]
        incident = Incident(
            id="1", state=IncidentState.OPEN, severity=Severity.PAGE, title="", kind=kind, group=found.group,
            began=float(START), began_low=START, began_high=START, opened=START, where=where, findings=(found,),
        )  # fmt: skip
        return incident_view._first_key(reader, "p", incident)

    assert example(Where(stream="p", column=column)) == shown
    south = {"k7": "k10", "k8": "k11", "k9": "k12", "k0": "k10"}
    assert example(Where(stream="p", column=column, slice='{"region": "south", "fold": "a"}')) == south[shown]


def test_the_time_line_has_the_runs_about_the_onset_however_many_came_later(store: Store) -> None:
    reader = many_runs(store, 1_000, 300)
    began = float(START + 600 * 300)
    incident = Incident(
        id="1", state=IncidentState.OPEN, severity=Severity.TICKET, title="", kind="drift", group=Group.STATEFUL_SINGLE,
        began=began, began_low=began, began_high=began, opened=began, where=Where("score"),
    )  # fmt: skip
    told = [(at, what) for at, what, _, _ in incident_view._changes(reader, incident)]
    assert told == [(began, "score: params: depth"), (START + 60_000.0, "score: failed: no error message was reported")]


def test_a_baseline_is_whole_although_its_hours_are_no_more_kept(store: Store) -> None:
    sender = Sender(store)
    days, each = 100, 12
    times = [START + day * DAY + 7_000 * i for day in range(days) for i in range(each)]
    rows = [{"key": f"{i}", "time": at, "log_time": at, "x": float(i % 5)} for i, at in enumerate(times)]
    first = START // DAY * DAY
    sender.records("p", rows)
    reader = store.caught_up()

    def boxed(start: int, end: int, against: str = "") -> tuple[dict[str, str], int, int]:
        asked = Asked(start=iso(start), end=iso(end), against=against, more={"target": "p"})
        data = box_view.page(reader, asked, 0.0).data
        (row,) = (row for row in data["rows"] if row["column"] == "x")
        assert data["window"]["inside"] == {"start": iso(start), "end": iso(end)}
        return data["window"]["baseline"], row["inside"]["n"], row["baseline"]["n"]

    start = first + 50 * DAY + 5 * HOUR
    window, inside, n = boxed(start, start + 7 * HOUR)
    assert window == {"start": iso(first + 22 * DAY), "end": iso(first + 50 * DAY)}
    inside_and_before = [(start, start + 7 * HOUR), (first + 22 * DAY, first + 50 * DAY)]
    assert (inside, n) == tuple(sum(a <= at < b for at in times) for a, b in inside_and_before)
    (a, b) = (first + 10 * DAY + 4 * HOUR, first + 14 * DAY + 4 * HOUR)
    window, _, n = boxed(start, start + 7 * HOUR, f"{iso(a)}/{iso(b)}")
    assert window == {"start": iso(first + 10 * DAY), "end": iso(first + 15 * DAY)}
    assert n == sum(first + 10 * DAY <= at < first + 15 * DAY for at in times)

    def seen(against: str) -> tuple[int, int]:
        more = {"stream": "p", "column": "x"}
        asked = Asked(start=iso(start), end=iso(start + 7 * HOUR), more=more, against=against)
        data = column_view.page(reader, asked, 0.0).data
        mean = next(row for row in data["values"] if row["metric"] == "mean")
        return mean["now"]["n"], mean["then"]["n"]

    assert seen(f"{iso(a)}/{iso(b)}") == (inside, n)
    assert seen("") == (inside, sum(at < first + 50 * DAY for at in times))


RENAMED = 15  # the day from which on a frame's column has another name


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """What a component passes on: daily frames, whose column "speed" is called "velocity" from a day on."""
    folder = tmp_path_factory.mktemp("renamed") / "store"
    session = ff.init(str(folder), "shop")
    rng = np.random.default_rng(5)

    @ff.component(time="at")
    def clean(raw: pd.DataFrame) -> pd.DataFrame:
        return raw.assign(z=1.0)

    for day in range(20):
        at = pd.to_datetime(START // DAY * DAY + day * DAY + 800 * np.arange(100), unit="s", utc=True)
        frame = pd.DataFrame({"at": at, "score": rng.random(100), "speed": rng.normal(50, 5, 100)})
        clean(frame.rename(columns={"speed": "velocity"}) if day >= RENAMED else frame)
    ff.flush()
    ff.check()
    session.close()
    store = Store(str(folder), "shop")
    yield store.caught_up()
    store.close()


def day_of(day: int) -> str:
    return iso(START // DAY * DAY + day * DAY)


def test_a_column_that_is_gone_or_new_is_the_first_difference(renamed: Reader) -> None:
    asked = Asked(start=day_of(RENAMED), end=day_of(RENAMED + 5), more={"target": "clean.raw"})
    rows = box_view.page(renamed, asked, 0.0).data["rows"]
    told = [row for row in rows if row["presence"]]
    assert told == rows[: len(told)]
    places = {
        (stream, row["column"], row["presence"])
        for row in told
        for stream in (row["stream"], *(other["stream"] for other in row["also"]))
    }
    assert places == {
        (stream, *what) for stream in ("clean.raw", "clean.output") for what in (("speed", "gone"), ("velocity", "new"))
    }
    assert (rows[0]["inside"]["words"], rows[0]["baseline"]["words"]) == ("not there 100.0 %", "there 100.0 %")
    assert {row["effect"] for row in told} == {1.0}
    partly = Asked(start=day_of(RENAMED - 2), end=day_of(RENAMED + 2), more={"target": "clean.raw"})
    first = box_view.page(renamed, partly, 0.0).data["rows"][0]
    assert (first["column"], first["presence"], first["inside"]["n"]) == ("speed", "gone", 400)
    assert first["inside"]["words"] == "not there 50.0 %, there 50.0 %"
    sides_ = {"a": f"{day_of(RENAMED)}/{day_of(20)}", "b": f"{day_of(0)}/{day_of(RENAMED)}"}
    rows = compare_view.page(renamed, Asked(more=sides_), 0.0).data["rows"]
    assert {(row["column"], row["presence"]) for row in rows[: len(told)]} == {("speed", "gone"), ("velocity", "new")}
    streams = Asked(more={"a": "stream:clean.raw", "b": "stream:clean.output"})
    assert not any(row["presence"] for row in compare_view.page(renamed, streams, 0.0).data["rows"])


def test_a_column_that_is_gone_or_new_says_since_when(renamed: Reader) -> None:
    def said(column: str) -> dict[str, str | None]:
        found: dict[str, str | None] = column_view.page(
            renamed, Asked(more={"stream": "clean.raw", "column": column}), 0.0
        ).data["always"]
        return found

    assert said("speed") == {
        "broken_since": iso(START // DAY * DAY + RENAMED * DAY - HOUR), "words": said("speed")["words"]
    }  # fmt: skip
    assert "gone: no record has it since 2023-11-29T23:00:00Z" in str(said("speed")["words"])
    assert said("velocity")["broken_since"] is None
    assert f"the first records that have it are of {day_of(RENAMED)}" in str(said("velocity")["words"])
    assert said("score")["words"] == "nothing was found to be wrong with it"
