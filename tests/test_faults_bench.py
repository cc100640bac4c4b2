"""The fault benchmark: each injector changes what it says, and nothing before its onset."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench.faults.families import runs
from bench.faults.fault import DAYS, HOURS, Fault, Injection, Size, Truth
from bench.faults.judge import judge, touches
from bench.faults.pipelines.flights import ROLES as FLIGHTS
from bench.faults.pipelines.synthetic import ROLES, Synthetic, _times
from bench.faults.pipelines.world import MOSTLY_NULL, World
from bench.faults.registry import FAULTS
from bench.faults.replay import PIPELINES, Observed, injected
from bench.faults.simulated import SimulatedClock, simulated

import fourfold as ff
from fourfold.model.incident import Group, Incident, IncidentState, Severity, Where

ONSET = Synthetic.start + 12 * HOURS
HOOKS = ("source", "joined", "served", "labels", "decisions")
CASES = [(fault, size) for fault in FAULTS.values() for size in fault.sizes]


@functools.cache
def day() -> pd.DataFrame:
    frame = World(0, 2).day(0)
    return frame.assign(approved=True, score=0.4)


@functools.cache
def records() -> pd.DataFrame:
    """Some of the day's records, with the columns that faults touch."""
    numbers = {ROLES.positive, ROLES.drifting, ROLES.unit, ROLES.sensor, ROLES.split, *ROLES.joined}
    texts = ["time", "region", "worker", "embedding", "label", "reported", "approved", "score"]
    return day()[[*sorted(numbers), *texts]].iloc[::3]


def injection(number: int, size: Size, onset: float = ONSET) -> Injection:
    return FAULTS[number].make(size, ROLES, onset, np.random.default_rng(0))


def changed(fault: Injection, frame: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
    """Which records each hook changes or drops."""
    found = {}
    for hook in HOOKS:
        after = getattr(fault, hook)(frame, _times(frame))
        if after is frame:  # nothing was touched: to compare them takes long
            found[hook] = np.zeros(len(frame), bool)
            continue
        same = frame.astype(str).loc[after.index].eq(after.astype(str)) | (frame.loc[after.index].isna() & after.isna())
        found[hook] = ~same.all(axis=1).reindex(frame.index, fill_value=False).to_numpy()
    score = frame["score"].to_numpy()
    found["scores"] = fault.scores(score, frame, _times(frame)) != score
    return found


def test_the_registry_holds_twenty_faults_each_in_a_large_and_a_small_size() -> None:
    assert list(FAULTS) == list(range(1, 21))
    assert all({Size.LARGE, Size.SMALL} <= set(fault.sizes) for fault in FAULTS.values())
    assert {fault.group for fault in FAULTS.values()} == set(Group)
    assert all(set(fault.pipelines) <= set(PIPELINES) for fault in FAULTS.values())


@pytest.mark.parametrize(("fault", "size"), CASES, ids=lambda case: getattr(case, "name", str(case)))
def test_no_record_before_the_onset_is_changed(fault: Fault, size: Size) -> None:
    made = injection(fault.number, size)
    before = _times(records()) < made.truth.onset
    assert not any(where[before].any() for where in changed(made, records()).values())


RECORDS = [3, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20]


@pytest.mark.parametrize("number", RECORDS)
def test_a_fault_of_records_changes_some_of_them_and_a_large_one_no_fewer_than_a_small_one(number: int) -> None:
    small, large = (
        sum(where.sum() for where in changed(injection(number, size), records()).values())
        for size in (Size.SMALL, Size.LARGE)
    )
    assert 0 < small <= large


@pytest.mark.parametrize(("size", "share"), [(Size.LARGE, 0.10), (Size.SMALL, 0.005)])
def test_so_many_values_become_negative(size: Size, share: float) -> None:
    frame = pd.concat([day()] * 30, ignore_index=True)
    values = injection(3, size, onset=0.0).source(frame, _times(frame))[ROLES.positive]
    assert (values < 0).mean() == pytest.approx(share, rel=0.2)
    assert not (frame[ROLES.positive] < 0).any()


@pytest.mark.parametrize(("size", "fall"), [(Size.LARGE, 0.10), (Size.SMALL, 0.03)])
def test_accuracy_falls_by_so_many_points(size: Size, fall: float) -> None:
    frame = pd.concat([day()] * 50, ignore_index=True)
    predicted = np.where(np.random.default_rng(1).random(len(frame)) < ROLES.accuracy, frame.label, 1 - frame.label)
    labels = injection(12, size, onset=0.0).labels(frame, _times(frame)).label
    assert (predicted == frame.label).mean() - (predicted == labels).mean() == pytest.approx(fall, abs=0.01)


def test_a_slow_drift_is_complete_after_four_weeks() -> None:
    made = injection(7, Size.SLOW, onset=Synthetic.start)
    frame = pd.DataFrame({ROLES.drifting: np.zeros(3)})
    days = np.array([0, 14, 40]) * DAYS + Synthetic.start
    assert made.source(frame, days)[ROLES.drifting].tolist() == [0.0, 0.5 * ROLES.deviation, ROLES.deviation]


def test_a_whole_number_that_drifts_stays_one() -> None:
    made = FAULTS[7].make(Size.SMALL, FLIGHTS, 0.0, np.random.default_rng(0))
    assert made.source(pd.DataFrame({"distance": [100, 200]}), np.zeros(2)).distance.tolist() == [283, 383]


def test_a_turned_embedding_keeps_its_length() -> None:
    turned = injection(16, Size.LARGE, onset=0.0).source(day(), _times(day())).embedding
    lengths = [np.linalg.norm(np.stack(list(vectors)), axis=1) for vectors in (turned, day().embedding)]
    np.testing.assert_allclose(*lengths)


def test_runs_fail_are_slow_or_missing_on_the_days_of_the_fault() -> None:
    failing, slow, missing, down = (injection(number, Size.SMALL) for number in (1, 2, 5, 6))
    due = failing.truth.onset + HOURS / 2
    assert failing.run("predict", due).error and failing.run("predict", due).retried
    assert not failing.run("predict", due + DAYS).error and not failing.run("train", due).error
    assert slow.run("train", slow.truth.onset + HOURS).takes == 2.0
    assert slow.run("train", slow.truth.onset - HOURS).takes == 1.0
    assert missing.run("clean", due).skipped and not missing.run("clean", due + DAYS).skipped
    assert down.run("predict", down.truth.onset + HOURS).skipped
    assert injection(2, Size.LARGE).run("train", slow.truth.onset + HOURS).hangs


def test_training_is_on_mondays() -> None:
    monday = runs._next_jobs(Synthetic.start + 30 * HOURS, weekly=True)
    assert pd.Timestamp(monday, unit="s").day_name() == "Monday"
    assert monday == Synthetic.start + 7 * DAYS


def test_a_days_records_follow_from_the_seed_and_its_number() -> None:
    again = World(0, 2).day(0)
    pd.testing.assert_frame_equal(again.drop(columns="embedding"), day()[again.columns].drop(columns="embedding"))
    assert day()[MOSTLY_NULL].isna().mean() > 0.85
    assert len([column for column in day().columns if column.rpartition("_")[2].isdigit()]) == 200


def test_an_onset_lies_in_the_last_third_and_leaves_weeks_to_look_at() -> None:
    pipeline = Synthetic(0)
    for seed in range(5):
        onset = injected(pipeline, FAULTS[3], Size.LARGE, seed).truth.onset
        assert pipeline.split < (onset - pipeline.start) / DAYS < pipeline.days - 13


def test_runs_start_at_simulated_times(tmp_path: Path) -> None:
    ff.init(tmp_path)
    with simulated(SimulatedClock(1_000.0)) as clock:
        run = ff.run("train")
        assert 1_000 < run.started < 1_001
        clock.go_to(500)
        assert clock.now > 1_000
    assert ff.run("train").started > 1e9


def incident(place: Where, began: float, opened: float, name: str = "1") -> Incident:
    return Incident(
        id=name, state=IncidentState.OPEN, severity=Severity.PAGE, title="", kind="", group=Group.STATEFUL_SINGLE,
        began=began, began_low=began - HOURS, began_high=began + HOURS, opened=opened, where=place,
    )  # fmt: skip


def test_an_incident_counts_only_at_a_place_of_the_fault_and_not_if_it_is_older() -> None:
    truth = Truth(10 * DAYS, 10 * DAYS, (Where(column="age"),), (Where(task="late"),))
    raised = (
        incident(Where(stream="predict", column="age"), 10 * DAYS, 12 * DAYS, "1"),
        incident(Where(task="late"), 11 * DAYS, 13 * DAYS, "2"),
        incident(Where(column="other"), 10 * DAYS, 12 * DAYS, "3"),
        incident(Where(column="age"), 5 * DAYS, 11 * DAYS, "4"),
        incident(Where(column="age"), 10 * DAYS, 11 * DAYS, "0"),
    )
    verdict = judge(Observed("synthetic", 0, 3, Size.LARGE, truth, raised, frozenset({"0"}), 0.0, 30 * DAYS, 0.0))
    assert (verdict.detected, verdict.delay, verdict.incidents, verdict.unrelated) == (True, 2.0, 2, 2)
    assert verdict.located and verdict.off == 0


def test_a_place_names_only_what_matters() -> None:
    found = [Where(stream="predict.features", column="age", slice='{"carrier": "AA", "origin": "JFK"}')]
    assert touches(found, (Where(stream="predict"),))
    assert touches(found, (Where(slice='{"carrier": "AA"}'),))
    assert not touches(found, (Where(slice='{"carrier": "UA"}'), Where(column="age", task="late")))
    vector = [Where(stream="featurize.features", column="embedding.projection_02")]
    assert touches(vector, (Where(column="embedding"),))
    assert not touches(vector, (Where(column="embed"),))
