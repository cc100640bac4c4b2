"""Objectives: error budgets, burn rates, windows, and how each objective stands."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold import config
from fourfold.config.objectives import check_objective, parse
from fourfold.errors import ConfigError
from fourfold.log import messages
from fourfold.model import DAY, HOUR, Group, Objective, ObjectiveStatus, Run, RunStatus, Severity, Task, Where
from fourfold.model.objective import length_text
from fourfold.sdk import Session
from fourfold.state import objectives
from fourfold.store import Store
from fourfold.watch.objectives import ObjectiveView, findings, report
from fourfold.watch.objectives.budget import Bucket, Tally, budget, summed
from fourfold.watch.objectives.burn import burns, dispersion, is_certain, limit_of, onset, rules
from fourfold.watch.objectives.judge import Standing, judge
from fourfold.watch.objectives.windows import before, calendar, window_to
from tests.support import START, Sender

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
TALLIES = st.builds(
    lambda good, bad: Tally(float(good), float(bad)), st.integers(0, 10**6), st.integers(0, 10**6)
)  # fmt: skip


def objective(expression: str = "recall(late) >= 0.9", name: str = "o", **more: object) -> Objective:
    return config.make_objective(name, expression, **more)  # type: ignore[arg-type]


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


# what users write -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        ("recall(late) >= 0.9", ("recall", "late", ">=", 0.9)),
        (" recall ( late , threshold = 0.3 )>=90 %", ("recall(threshold = 0.3)", "late", ">=", 0.9)),
        ("null_rate(predict.age) < 5%", ("null_rate", "predict.age", "<", 0.05)),
        ("quantile(predict.x, 0.9) ≤ -1e3", ("quantile(0.9)", "predict.x", "<=", -1000.0)),
        ("success_rate(train) >= 0.99", ("success_rate", "train", ">=", 0.99)),
        ("duration(train, q=0.95) <= 3600", ("duration(q=0.95)", "train", "<=", 3600.0)),
        ("duration(train) <= '1h'", ("duration", "train", "<=", 3600.0)),
        ('freshness(predict) <= "2h"', ("freshness", "predict", "<=", 7200.0)),
        ('rows("a, (b) \\"c\\"") >= 10', ("rows", 'a, (b) "c"', ">=", 10.0)),
        ("rows('it''s') > 1", None),
    ],
)
def test_an_expression_is_metric_target_and_bound(expression: str, parts: tuple[str, str, str, float] | None) -> None:
    if parts is None:
        parts = ("rows", "'it''s'", ">", 1.0)
    assert tuple(parse(expression)) == parts


@given(NAMES, st.sampled_from(["recall", "recall(threshold=0.3)", "freshness"]), st.floats(0.001, 1e6))
def test_an_objective_reads_its_own_expression(target: str, metric: str, bound: float) -> None:
    op = "<=" if metric == "freshness" else ">="
    made = Objective("o", target, metric, op, bound, 7 * DAY)
    assert Objective.from_json(made.to_json()) == made
    check_objective(made)
    found = parse(made.expression)
    assert (found.target, found.metric, found.op) == (target, metric, op)
    assert math.isclose(found.bound, bound, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target": "recall >= 0.9"}, "metric(target"),
        ({"target": 5}, "metric(target"),
        ({"target": "recall() >= 0.9"}, "names no target"),
        ({"target": "recall(late) = 0.9"}, "'='"),
        ({"target": "recall(late) == 0.9"}, "'=='"),
        ({"target": "recall(late) >= high"}, "'high'"),
        ({"target": "recall(late) >= nan"}, "'nan'"),
        ({"target": "recall(late) >= 1e999"}, "1e999"),
        ({"target": "freshness(predict) >= '2h'"}, "<="),
        ({"target": "freshness(predict) <= '2y'"}, "2y"),
        ({"target": "freshness(predict, 3) <= '2h'"}, "no parameters"),
        ({"target": "duration(train, q=2) <= 5"}, "q=2"),
        ({"target": "duration(train, p=0.5) <= 5"}, "p=0.5"),
        ({"target": "success_rate(train) >= 0.9", "by": ["carrier"]}, "carrier"),
        ({"window": "30"}, "'30'"),
        ({"window": "fortnight"}, "fortnight"),
        ({"window": 30}, "30"),
        ({"goal": 1.5}, "1.5"),
        ({"goal": "much"}, "much"),
        ({"goal": True}, "True"),
        ({"by": [3]}, "[3]"),
        ({"by": ["a", "a"]}, "['a', 'a']"),
        ({"estimates": "yes"}, "yes"),
        ({"owner": 5}, "owner=5"),
        ({"name": ""}, "''"),
        ({"name": "a\ud800"}, "ud800"),
    ],
)
def test_what_is_no_objective_is_refused_with_its_field_and_value(changed: dict[str, object], said: str) -> None:
    given_ = {"name": "o", "target": "recall(late) >= 0.9", **changed}
    with pytest.raises(ConfigError, match="objective") as error:
        config.make_objective(**given_)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_the_q_of_a_duration_is_its_goal() -> None:
    made = objective("duration(train, q=0.99) <= '1h'")
    assert (made.metric, made.goal) == ("duration", 0.99)
    assert made == objective("duration(train) <= 3600", goal=0.99)
    with pytest.raises(ConfigError, match="the same thing"):
        objective("duration(train, 0.99) <= '1h'", goal=0.9)


def test_a_share_in_percent_and_a_goal_in_percent_are_shares() -> None:
    made = objective("roc_auc(late) >= 70%", goal="99.5 %")
    assert (made.bound, made.goal) == (0.7, 0.995)


def test_fourfold_toml_declares_objectives(tmp_path: Path) -> None:
    file = tmp_path / "fourfold.toml"
    file.write_text('[objective.late-recall]\ntarget = "recall(late) >= 0.9"\nwindow = "month"\nby = ["carrier"]\n')
    (declared,) = config.load(file=file).objectives
    assert declared == objective(name="late-recall", window="month", by=["carrier"])
    for text in ("[objective.o]\nwindow = '30d'\n", "[objective.o]\ntarget='r(a)>1'\nsums=1\n", "objective = 3\n"):
        file.write_text(text)
        with pytest.raises(ConfigError, match="objective"):
            config.load(file=file)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"window": 0}, "window=0"), ({"window": 3601}, "window=3601"), ({"window": "30d"}, "window='30d'"),
        ({"window": 10**15}, "window=1"), ({"calendar": "fortnight"}, "fortnight"), ({"bound": "0.9"}, "bound='0.9'"),
        ({"bound": math.inf}, "bound=inf"), ({"bound": True}, "bound=True"), ({"op": "=="}, "=="),
        ({"goal": 2.0}, "goal=2.0"), ({"by": ("a", 5)}, "by="), ({"by": ("b", "a")}, "by="), ({"name": 5}, "name 5"),
        ({"target": ""}, "no target"), ({"owner": 5}, "owner=5"), ({"estimates": "yes"}, "estimates='yes'"),
        ({"metric": "recall) >= 0 or (x"}, "is no objective"), ({"window": True}, "window=True"),
    ],
    ids=str,
)  # fmt: skip
def test_an_objective_from_elsewhere_is_one_that_can_be_declared(changed: dict[str, Any], told: str) -> None:
    made = Objective("o", "late", "recall", ">=", 0.9, 7 * DAY, by=("a", "b"))
    check_objective(made)
    with pytest.raises(ConfigError) as error:
        check_objective(dataclasses.replace(made, **changed))
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["late-recall", "a b\n'\"; drop table objective; --", "\x1b[31mred", "ñ" * 500])
def test_a_declared_objective_survives_the_loss_of_the_state(tmp_path: Path, name: str) -> None:
    session = ff.init(tmp_path / "store", "test")
    ff.objective(name, "rows('a, b') >= 1", window="7d", owner="team")
    ff.log("a, b", key=1, x=1)
    assert [view.name for view in ff.objectives()] == [name]
    session.close()
    for path in (tmp_path / "store").glob("state.db*"):
        path.unlink()
    again = Store(tmp_path / "store", "test")
    assert list(again.caught_up().recall(objectives.listed).values()) == [
        objective("rows('a, b') >= 1", name, window="7d", owner="team")
    ]
    again.close()


def test_an_objective_declared_again_takes_the_place_of_the_earlier_one_and_can_be_withdrawn(session: Session) -> None:
    ff.objective("o", "rows(a) >= 1")
    ff.objective("o", "rows(a) >= 2", window="12h")
    assert [view.objective.bound for view in ff.objectives()] == [2.0]
    session.sender.send(messages.no_objective("test", "o"))
    assert len(ff.objectives()) == 0


# windows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "moment", "start", "end"),
    [
        ("month", "2024-02-29T23:59", "2024-02-01", "2024-03-01"),
        ("month", "2023-02-01T00:00", "2023-02-01", "2023-03-01"),
        ("month", "2023-12-31T12:00", "2023-12-01", "2024-01-01"),
        ("quarter", "2023-12-31T12:00", "2023-10-01", "2024-01-01"),
        ("quarter", "2024-04-01T00:00", "2024-04-01", "2024-07-01"),
        ("year", "2024-01-01T00:00", "2024-01-01", "2025-01-01"),
        ("week", "2024-12-31T12:00", "2024-12-30", "2025-01-06"),
        ("week", "2023-01-01T00:00", "2022-12-26", "2023-01-02"),
        ("day", "2024-02-29T00:00", "2024-02-29", "2024-03-01"),
    ],
)
def test_a_calendar_window_is_the_one_that_the_moment_lies_in(name: str, moment: str, start: str, end: str) -> None:
    window = calendar(name, at(moment))
    assert (window.start, window.end) == (at(start), at(end))


@given(st.sampled_from(["day", "week", "month", "quarter", "year"]), st.integers(0, 10**10))
def test_calendar_windows_follow_one_another_without_a_gap(name: str, moment: int) -> None:
    window = calendar(name, moment)
    assert window.start <= moment < window.end
    assert calendar(name, window.start) == calendar(name, window.end - 1) == window
    assert before(objective(window=name), window).end == window.start


def test_a_month_whose_last_hour_is_there_is_that_month_and_not_the_next() -> None:
    window = window_to(objective(window="month"), at("2024-03-01"), HOUR)
    assert (window.start, window.end) == (at("2024-02-01"), at("2024-03-01"))


def test_a_rolling_window_is_a_whole_number_of_its_buckets() -> None:
    assert window_to(objective(window="36h"), 10 * DAY, DAY).start == 8 * DAY
    assert window_to(objective(window="36h"), 10 * DAY, HOUR).start == 10 * DAY - 36 * HOUR


def test_alerts_are_those_of_the_workbook_in_a_window_of_30_days_and_scale_with_the_window() -> None:
    found = [(rule.severity, rule.factor, rule.long // HOUR, rule.short // HOUR) for rule in rules(30 * DAY, HOUR)]
    assert found == [(Severity.PAGE, 14.4, 1, 1), (Severity.PAGE, 6.0, 6, 1), (Severity.TICKET, 1.0, 72, 6)]
    assert [rule.long // DAY for rule in rules(300 * DAY, DAY)] == [1, 3, 30]
    # of two alerts with the same windows, the lower factor is left
    assert [(rule.factor, rule.long // DAY) for rule in rules(30 * DAY, DAY)] == [(6.0, 1), (1.0, 3)]


def test_one_bad_time_slice_is_no_alert_and_two_are() -> None:
    def fires(*bad: float) -> list[Severity]:
        slices = [Bucket(i * DAY, (i + 1) * DAY, Tally(1 - x, x)) for i, x in enumerate(bad)]
        found = burns(slices, len(slices) * DAY, rules(30 * DAY, DAY, 2), 0.1, events=False)
        return [burn.rule.severity for burn in found if burn.fires]

    assert fires(*[0.0] * 29, 1.0) == []
    assert fires(*[0.0] * 27, 1.0, 0.0, 1.0) == [Severity.TICKET]
    assert fires(*[0.0] * 28, 1.0, 1.0) == [Severity.PAGE, Severity.TICKET]
    assert fires(*[0.0] * 28, 1.0, 0.0) == []


# budgets and burn rates -------------------------------------------------------------------------------------------


@given(st.lists(TALLIES, min_size=1, max_size=8), st.integers(0, 8), st.floats(0.001, 0.999))
def test_budgets_add_up_over_buckets(tallies: list[Tally], cut: int, allowed: float) -> None:
    buckets = [Bucket(i * HOUR, (i + 1) * HOUR, tally) for i, tally in enumerate(tallies)]
    whole, first, second = (budget(summed(part), allowed) for part in (buckets, buckets[:cut], buckets[cut:]))
    assert math.isclose(whole.total, first.total + second.total, abs_tol=1e-6)
    assert whole.consumed == first.consumed + second.consumed


@given(st.floats(0.001, 0.5), st.integers(1, 10**6))
def test_a_burn_rate_of_one_spends_the_budget_exactly(allowed: float, n: int) -> None:
    tally = Tally(n * (1 - allowed), n * allowed)
    (found,) = burns([Bucket(0, HOUR, tally)], HOUR, rules(HOUR, HOUR)[:1], allowed, events=True)
    assert math.isclose(found.long, 1.0, rel_tol=1e-9)
    left = budget(tally, allowed).remaining
    assert left is not None
    assert math.isclose(left, 0.0, abs_tol=1e-9)


def hours(*bad: float, n: float = 100.0, mature: int = 10**6) -> list[Bucket]:
    """Hours of n events, with a share of bad ones each; the first so many are mature."""
    return [
        Bucket(i * HOUR, (i + 1) * HOUR, Tally(n * (1 - share), n * share), i < mature) for i, share in enumerate(bad)
    ]


def firing(buckets: Sequence[Bucket], allowed: float, *, slices: int = 1) -> list[Severity]:
    until = max((b.end for b in buckets if b.mature), default=0)
    found = burns(buckets, until, rules(30 * DAY, HOUR), allowed, slices=slices, events=True)
    return [burn.rule.severity for burn in found if burn.fires]


def test_a_fast_burn_pages_and_a_slow_one_asks_for_a_ticket() -> None:
    healthy = [0.005] * 72
    assert firing(hours(*healthy), 0.01) == []
    assert Severity.PAGE in firing(hours(*healthy, *[0.3] * 6), 0.01)
    assert firing(hours(*[0.03] * 72), 0.01) == [Severity.TICKET]


def test_an_alert_ends_soon_after_the_burning_does() -> None:
    assert firing(hours(*[0.005] * 66, *[0.3] * 6), 0.01) != []
    assert Severity.PAGE not in firing(hours(*[0.005] * 60, *[0.3] * 6, 0.0), 0.01)
    assert firing(hours(*[0.005] * 60, *[0.3] * 6, *[0.0] * 6), 0.01) == []


def test_twelve_records_do_not_page() -> None:
    assert firing(hours(*[0.0] * 71, 4 / 12, n=12.0), 0.1) == []
    assert firing([Bucket(0, HOUR, Tally(0.0, 1.0))], 0.1) == []


def test_more_slices_that_are_judged_at_once_need_more_evidence() -> None:
    tally = Tally(70.0, 30.0)
    assert is_certain(tally, 0.15)
    assert not is_certain(tally, 0.15, slices=10_000)


def test_a_rate_that_varies_from_day_to_day_needs_more_evidence() -> None:
    def days(*bad: float) -> list[Bucket]:
        return [Bucket(i * DAY, (i + 1) * DAY, Tally(1000 * (1 - share), 1000 * share)) for i, share in enumerate(bad)]

    calm = days(*[0.1, 0.105, 0.095, 0.1] * 5)
    wild = days(*[0.02, 0.18, 0.05, 0.15] * 5)
    assert dispersion(calm, 20 * DAY) == 1.0
    assert dispersion(wild, 20 * DAY) > 10
    assert dispersion([*calm, *days(0.9)], 20 * DAY) == 1.0
    assert dispersion(wild[:6], 20 * DAY) == 1.0  # too few to learn from
    tally = Tally(850.0, 150.0)
    assert is_certain(tally, 0.1, variation=dispersion(calm, 20 * DAY))
    assert not is_certain(tally, 0.1, variation=dispersion(wild, 20 * DAY))


@pytest.mark.parametrize("spread", [0.0, 0.005])
def test_an_objective_that_is_just_met_raises_next_to_nothing(spread: float) -> None:
    rng = np.random.default_rng(3)
    days = 60
    rates = rng.beta(0.1 / spread, 0.9 / spread, days) if spread else np.full(days, 0.1)
    bad = rng.binomial(200, np.repeat(rates, 24)).astype(float)
    buckets = [Bucket(i * HOUR, (i + 1) * HOUR, Tally(200 - x, x)) for i, x in enumerate(bad)]
    alerts = rules(30 * DAY, HOUR)
    fired = set()
    for at_ in range(30 * 24, days * 24, 3):
        for burn in burns(buckets[at_ - 720 : at_], at_ * HOUR, alerts, 0.1, events=True):
            fired |= {(burn.rule.severity, at_ // 24)} if burn.fires else set()
    assert len(fired) <= 1


def test_an_immature_hour_never_pages_and_is_not_looked_at() -> None:
    assert firing(hours(*[1.0] * 72, mature=0), 0.01) == []
    assert firing(hours(*[0.005] * 66, *[1.0] * 6, mature=66), 0.01) == []


def test_where_much_may_be_bad_a_total_failure_still_pages() -> None:
    assert math.isclose(limit_of(rules(30 * DAY, HOUR)[0], 0.3), 0.825)
    assert Severity.PAGE in firing(hours(*[0.2] * 66, *[1.0] * 6), 0.3)


def test_the_onset_is_when_it_began_with_an_interval() -> None:
    found = onset(hours(*[0.01] * 40, *[0.2] * 10), 50 * HOUR, 0.02)
    assert found is not None
    assert found.at == 40 * HOUR
    assert found.low <= found.at < found.high <= 42 * HOUR
    assert onset(hours(*[0.01] * 40), 40 * HOUR, 0.02) is None


@given(st.lists(TALLIES, max_size=6), st.floats(0.0, 1.0))
def test_an_onset_lies_within_the_buckets_whatever_they_hold(tallies: list[Tally], allowed: float) -> None:
    buckets = [Bucket(i * HOUR, (i + 1) * HOUR, tally) for i, tally in enumerate(tallies)]
    found = onset(buckets, len(buckets) * HOUR, allowed)
    assert found is None or 0 <= found.low <= found.at < found.high <= len(buckets) * HOUR


# how an objective stands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "status"),
    [
        (Standing(Tally(980, 20), 0.9, True, True), ObjectiveStatus.MET),
        (Standing(Tally(80, 20), 0.9, True, True), ObjectiveStatus.MISSED),
        (Standing(Tally(89, 11), 0.9, True, True), ObjectiveStatus.MISSED),  # settled: it is what it is
        (Standing(Tally(89, 11), 0.9, True, True, awaited=5), ObjectiveStatus.MISSED),  # five cannot save it
        (Standing(Tally(89, 11), 0.9, True, True, awaited=15), ObjectiveStatus.TOO_EARLY),
        (Standing(Tally(80, 20), 0.9, True, False, awaited=100), ObjectiveStatus.AT_RISK),
        (Standing(Tally(98, 2), 0.9, True, False, awaited=100), ObjectiveStatus.TOO_EARLY),
        (Standing(Tally(98, 2), 0.9, True, False, estimate_misses=True), ObjectiveStatus.AT_RISK),
        (Standing(Tally(), 0.9, True, True), ObjectiveStatus.NO_DATA),
        (Standing(Tally(), 0.9, True, False), ObjectiveStatus.TOO_EARLY),
        (Standing(Tally(80, 20), 0.9, True, True, elapsed=0.1), ObjectiveStatus.AT_RISK),
        (Standing(Tally(800, 200), 0.9, True, True, elapsed=0.6), ObjectiveStatus.MISSED),
        (Standing(Tally(999, 1), 0.9, True, True, elapsed=0.6), ObjectiveStatus.MET),
        (Standing(Tally(40, 60), 0.9, True, False, awaited=100), ObjectiveStatus.MISSED),  # at best 0.7
        (Standing(Tally(40, 60), 0.9, True, False, awaited=math.inf), ObjectiveStatus.AT_RISK),
        (Standing(Tally(25, 5, 1), 0.9, False, True), ObjectiveStatus.MISSED),
        (Standing(Tally(25, 5, 4), 0.9, False, True), ObjectiveStatus.TOO_EARLY),  # four of the five may be by chance
        (Standing(Tally(28, 2, 1), 0.9, False, True), ObjectiveStatus.MET),
    ],
)
def test_the_status_follows_from_value_interval_and_what_is_awaited(
    standing: Standing, status: ObjectiveStatus
) -> None:
    assert judge(standing) is status


# from records to findings -----------------------------------------------------------------------------------------

LATE = config.make_task("late", prediction="predict.score", label="arrivals.late", slices=["carrier"], horizon="7d")
DAYS = 40


class Flights:
    """Predictions and labels of some days: ``right`` of the positives of an hour are found, the rest are missed."""

    def __init__(self, store: Store, task: Task | None = LATE) -> None:
        self.store, self.sender = store, Sender(store)
        self.predictions: list[dict[str, object]] = []
        self.labels: list[dict[str, object]] = []
        if task is not None:
            self.sender.task(task)

    def hour(self, hour: int, found: int, missed: int, carrier: str = "AA", *, delay: float | None = 2 * HOUR) -> None:
        for i in range(found + missed):
            key, time = f"{carrier}{hour}-{i}", START + hour * HOUR + 60 * i
            score = 0.9 if i < found else 0.1
            row = {"key": key, "time": time, "log_time": time, "score": score, "carrier": carrier}
            self.predictions.append(row)
            if delay is not None:
                late = {"key": key, "time": time + delay, "log_time": time + delay, "late": True}
                self.labels.append(late)

    def send(self) -> None:
        self.sender.records("predict", self.predictions)
        if self.labels:
            self.sender.records("arrivals", self.labels)
        self.predictions, self.labels = [], []

    def aim(self, name: str, expression: str, **more: object) -> None:
        self.sender.sequence += 1
        header = messages.objective(self.store.project, objective(expression, name, **more))
        self.sender.inbox.put(self.sender.writer, self.sender.sequence, header)

    def views(self, now: float | None = None) -> list[ObjectiveView]:
        return list(report(self.store.caught_up(), START + 400 * DAY if now is None else now))

    def view(self, now: float | None = None) -> ObjectiveView:
        (view,) = self.views(now)
        return view


@pytest.fixture
def flights(store: Store) -> Flights:
    return Flights(store)


def test_a_healthy_objective_is_met_and_says_how_much_budget_is_left(flights: Flights) -> None:
    flights.aim("o", "recall(late) >= 0.9")
    for hour in range(0, DAYS * 24, 6):
        flights.hour(hour, 19, 1)
    flights.send()
    view = flights.view()
    assert view.status is ObjectiveStatus.MET
    assert view.value.value == 0.95
    assert (view.end - view.start, view.elapsed) == (30 * DAY, 1.0)
    assert view.good / view.total == 0.95
    assert view.budget.remaining is not None
    assert math.isclose(view.budget.remaining, 0.5)
    assert findings(flights.store.reader, START + 400 * DAY) == []


def test_a_fast_burn_is_a_page_that_says_where_and_since_when(flights: Flights) -> None:
    flights.aim("o", "recall(late) >= 0.9", owner="team", runbook="https://wiki/o")
    for hour in range(DAYS * 24 - 1):
        flights.hour(hour, *((10, 0) if hour < DAYS * 24 - 8 else (2, 8)), delay=60)
    flights.send()
    (found,) = findings(flights.store.caught_up(), START + 400 * DAY)
    assert (found.kind, found.severity, found.group) == ("objective", Severity.PAGE, Group.STATEFUL_CROSS)
    assert found.where == Where(task="late", objective="o")
    assert (found.owner, found.runbook) == ("team", "https://wiki/o")
    assert found.began == START + (DAYS * 24 - 8) * HOUR
    assert found.seen == START + (DAYS * 24 - 1) * HOUR
    assert (found.value, found.expected, found.low) == (0.2, 0.9, 0.9)
    assert found.weight > 1
    assert flights.view().status in (ObjectiveStatus.AT_RISK, ObjectiveStatus.MISSED)


def test_each_slice_has_a_budget_of_its_own_and_one_with_few_records_does_not_page(flights: Flights) -> None:
    flights.aim("o", "recall(late) >= 0.9", by=["carrier"])
    for hour in range(0, DAYS * 24, 2):
        flights.hour(hour, 10, 0, "AA", delay=60)
        flights.hour(hour, 6, 4, "UA", delay=60)
    flights.hour(DAYS * 24 - 1, 9, 3, "ZZ", delay=60)
    flights.send()
    found = {view.slice["carrier"]: view for view in flights.views()}
    assert {name: view.status for name, view in found.items()} == {
        "AA": ObjectiveStatus.MET, "UA": ObjectiveStatus.MISSED, "ZZ": found["ZZ"].status,
    }  # fmt: skip
    assert found["UA"].budget.consumed == found["UA"].total * 0.4
    (finding,) = findings(flights.store.reader, START + 400 * DAY)
    assert finding.where == Where(task="late", slice='{"carrier": "UA"}', objective="o")


def test_labels_that_are_still_to_come_are_no_finding(flights: Flights) -> None:
    flights.aim("o", "recall(late) >= 0.9")
    for hour in range(0, DAYS * 24, 2):
        flights.hour(hour, 10, 0, delay=5 * DAY)
    for hour in range(DAYS * 24, (DAYS + 3) * 24, 2):  # of the last days, only the misses are labelled
        flights.hour(hour, 0, 1, delay=60)
        flights.hour(hour, 30, 0, "UA", delay=None)
    flights.send()
    assert findings(flights.store.caught_up(), START + 400 * DAY) == []
    assert flights.view().settled_until <= START + (DAYS + 1) * DAY


def test_what_is_lost_whatever_the_labels_say_that_are_still_to_come_is_missed(flights: Flights) -> None:
    flights.aim("o", "accuracy(late) >= 0.9", window="7d")
    flights.aim("covered", "coverage(late) >= 0.9", window="7d")
    for hour in range(DAYS * 24):
        flights.hour(hour, 2, 8, delay=DAY if hour < (DAYS - 1) * 24 else None)
    flights.send()
    lost = {view.name: view for view in flights.views()}
    assert lost["o"].value.coverage is not None
    assert lost["o"].value.coverage < 0.9
    assert lost["o"].status is ObjectiveStatus.MISSED  # 6 of 7 days are known, and a fifth of them is right
    assert lost["covered"].status is not ObjectiveStatus.MISSED  # it may still become what it should


@pytest.mark.parametrize("hours", [30 * 24 + 5, 20 * 24, 3 * 24 + 1, 24, 7])
def test_the_events_of_a_window_are_those_of_its_value_however_they_are_read(store: Store, hours: int) -> None:
    flights = Flights(store)
    for name, window in {"a": "30d", "b": "13d", "c": "100h", "d": "6h", "e": "month", "f": "week"}.items():
        flights.aim(name, "recall(late) >= 0.9", window=window, by=["carrier"])
    for hour in range(hours):
        flights.hour(hour, 1 + hour % 3, hour % 2, "AA" if hour % 5 else "UA", delay=60 + hour * 300)
    flights.send()
    for view in flights.views():
        n, value = view.value.n, view.value.value
        assert (view.total, view.good) == (n if value is not None else 0, round((value or 0) * n))


def test_where_labels_take_longer_than_the_window_alerts_look_at_the_newest_that_have_them(store: Store) -> None:
    task = config.make_task("late", prediction="predict.score", label="arrivals.late", horizon="30d")
    flights = Flights(store, task)
    flights.aim("o", "recall(late) >= 0.9", window="7d")
    for hour in range(0, 60 * 24, 2):
        found, missed = (10, 0) if hour < 35 * 24 else (3, 7)
        flights.hour(hour, found, missed, delay=20 * DAY if hour < 40 * 24 else None)
    flights.send()
    view = flights.view()
    assert view.status in (ObjectiveStatus.AT_RISK, ObjectiveStatus.TOO_EARLY)
    assert view.settled_until <= START + 40 * DAY
    found_ = findings(flights.store.reader, START + 400 * DAY)
    assert [f.severity for f in found_] == [Severity.PAGE]
    assert START + 35 * DAY <= found_[0].seen <= START + 40 * DAY


def test_an_objective_on_nothing_yet_is_no_data_with_a_reason_and_no_finding(flights: Flights) -> None:
    for name, expression in {
        "task": "recall(never) >= 0.9", "column": "null_rate(predict.nothing) <= 0.1", "metric": "recal(late) >= 0.9",
        "component": "success_rate(train) >= 0.9", "duration": "duration(train) <= '1h'",
        "stream": "freshness(nothing) <= '2h'", "late": "recall(late) >= 0.9", "curve": "confusion_matrix(late) >= 1",
    }.items():  # fmt: skip
        flights.aim(name, expression)
    views = flights.views()
    assert {view.status for view in views} == {ObjectiveStatus.NO_DATA}
    assert all(view.value.reason for view in views)
    assert findings(flights.store.reader, START) == []


@pytest.mark.parametrize("days", [28, 31])
def test_a_month_that_goes_on_is_judged_by_the_budget_of_the_whole_month(store: Store, days: int) -> None:
    start = at("2024-02-01") if days == 28 else at("2023-12-01")
    flights = Flights(store, None)
    flights.aim("o", "null_rate(predict.x) <= 0.1", window="month")
    for day in range(14):
        rows = [
            {"key": f"{day}-{i}", "time": start + day * DAY + i, "log_time": start + day * DAY + i,
             "x": None if i < 8 else 1.0}
            for i in range(50)
        ]  # fmt: skip
        flights.sender.records("predict", rows)
    view = flights.view()
    length = 29 if days == 28 else 31
    assert (view.start, view.end) == (start, start + 13 * DAY + HOUR)
    assert math.isclose(view.elapsed, (13 * 24 + 1) / (length * 24))
    assert view.status is ObjectiveStatus.AT_RISK  # 16 % are null, and half of the month's budget is left at least
    assert view.budget.remaining is not None
    assert 0 < view.budget.remaining < 0.5


def test_the_window_ends_with_the_data_or_now_if_that_is_earlier(flights: Flights) -> None:
    flights.aim("o", "recall(late) >= 0.9", window="10d")
    for hour in range(0, DAYS * 24, 6):
        flights.hour(hour, 19, 1)
    flights.send()
    assert flights.view(START + 4000 * DAY).end == START + (DAYS * 24 - 5) * HOUR
    assert flights.view(START + 20 * DAY + 5).end == START + 20 * DAY + HOUR


def test_runs_that_fail_or_take_too_long_spend_a_components_budget(session: Session) -> None:
    ff.objective("success", "success_rate(train) >= 0.9", window="7d")
    ff.objective("quick", "duration(train, q=0.9) <= '1h'", window="7d")
    now = START + 30 * DAY
    for i in range(60):
        started = now - (60 - i) * 2 * HOUR
        failed, slow = i >= 40 and i % 2, i >= 40
        status = RunStatus.FAILED if failed else RunStatus.SUCCEEDED
        session.sender.end_run(Run(f"r{i}", "train", status, started, started + (7200 if slow else 60)))
    ff.flush()
    reader = session.store.caught_up()
    views = {view.name: view for view in report(reader, now)}
    assert views["success"].status is ObjectiveStatus.MISSED
    assert (views["success"].good, views["success"].total) == (50, 60)
    assert (views["quick"].good, views["quick"].total) == (40, 50)
    assert views["quick"].value.value == 7200
    found = {finding.where.objective: finding for finding in findings(reader, now)}
    assert {f.group for f in found.values()} == {Group.STATELESS_SINGLE}
    assert found["quick"].where == Where(component="train", objective="quick")


def test_data_that_stop_coming_are_stale_while_others_go_on(flights: Flights) -> None:
    flights.aim("o", "freshness(predict) <= '2h'", window="7d")
    for hour in range(10 * 24):
        flights.hour(hour, 1, 0, delay=None)
    flights.sender.records("other", [{"key": "a", "time": START + 11 * DAY, "log_time": START, "x": 1}])
    flights.send()
    view = flights.view()
    assert (view.value.value, view.total) == (25 * HOUR, 7 * 24)
    assert view.total - view.good == 23
    (found,) = findings(flights.store.reader, START + 400 * DAY)
    assert (found.where, found.group) == (Where(stream="predict", objective="o"), Group.STATEFUL_SINGLE)


def test_a_stream_that_has_just_stopped_is_stale_now_and_one_of_long_ago_is_history(flights: Flights) -> None:
    flights.aim("o", "freshness(predict) <= '2h'", window="7d")
    for hour in range(10 * 24):
        flights.hour(hour, 1, 0, delay=None)
    flights.send()
    assert flights.view(START + 11 * DAY).value.value == DAY
    assert flights.view(START + 100 * DAY).value.value == 0


def test_a_metric_that_is_no_rate_is_judged_by_days_that_meet_it(store: Store) -> None:
    flights = Flights(store, None)
    flights.aim("o", "mean(predict.x) <= 10", goal="95 %")
    for day in range(30):
        rows = [
            {"key": f"{day}-{i}", "time": START + day * DAY + i, "log_time": START + day * DAY + i,
             "x": float(20 if day >= 26 else 5) + i % 3}
            for i in range(50)
        ]  # fmt: skip
        flights.sender.records("predict", rows)
    view = flights.view()
    assert (view.good, view.total, view.goal) == (26, 30, 0.95)
    assert view.status is ObjectiveStatus.MISSED
    (found,) = findings(flights.store.reader, START + 400 * DAY)
    assert found.where == Where(stream="predict", column="x", objective="o")
    assert found.began == START + 26 * DAY


def test_a_day_with_few_records_is_bad_within_noise_and_no_finding(store: Store) -> None:
    flights = Flights(store, None)
    flights.aim("o", "mean(predict.x) <= 10", goal=0.99)
    for day in range(30):
        values = [9.0, 9.5, 9.2] if day != 29 else [30.0, 1.0, 5.0]
        rows = [
            {"key": f"{day}-{i}", "time": START + day * DAY + i, "log_time": START + day * DAY + i, "x": x}
            for i, x in enumerate(values)
        ]
        flights.sender.records("predict", rows)
    view = flights.view()
    assert (view.good, view.total) == (29, 30)
    assert view.status is ObjectiveStatus.TOO_EARLY
    assert findings(flights.store.reader, START + 400 * DAY) == []


def test_an_estimate_is_a_notice_and_pages_only_where_it_is_asked_to(flights: Flights) -> None:
    task = config.make_task("late", prediction="predict.score", label="arrivals.late", horizon="30d")
    flights.sender.task(task)
    flights.aim("o", "base_rate(late) <= 0.5", window="10d")
    flights.aim("p", "base_rate(late) <= 0.5", window="10d", estimates=True)
    rows, labels = [], []
    for hour in range(60 * 24):
        share = 0.2 if hour < 50 * 24 else 0.9
        for i in range(10):
            time, late = START + hour * HOUR + i, i < 10 * share
            rows.append({"key": f"{hour}-{i}", "time": time, "log_time": time, "score": 0.9 if late else 0.1})
            due = time + 14 * DAY
            if due < START + 60 * DAY:
                labels.append({"key": f"{hour}-{i}", "time": due, "log_time": due, "late": late})
    flights.sender.records("predict", rows)
    flights.sender.records("arrivals", labels)
    found = {f.where.objective: f.severity for f in findings(flights.store.caught_up(), START + 400 * DAY)}
    assert {view.status for view in flights.views()} == {ObjectiveStatus.AT_RISK}
    assert found == {"o": Severity.NOTICE, "p": Severity.PAGE}


def test_length_texts_are_as_users_write_them() -> None:
    assert [length_text(seconds) for seconds in (30 * DAY, 36 * HOUR, 90, 60)] == ["30d", "36h", "90s", "1m"]
