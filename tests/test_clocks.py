"""Runs of hosts whose clocks are ahead: they hide nothing that ran since, on whichever way they come."""

from __future__ import annotations

import dataclasses
import math
import os
import time
import types
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold.integrations.openlineage import run_of
from fourfold.log import messages
from fourfold.model import DAY, HOUR, Run, RunStatus
from fourfold.model.run import AHEAD
from fourfold.reports.problems import problems
from fourfold.sdk import Session
from fourfold.state import runs
from fourfold.store import Store
from fourfold.views import forms
from tests.support import Sender

NOW = 1_764_000_000.0
times = st.floats(0.0, 1e300) | st.just(float("inf"))


def run(id_: str = "1", started: float = NOW, ended: float | None = None, **more: Any) -> Run:
    status = RunStatus.RUNNING if ended is None else RunStatus.SUCCEEDED
    return Run(**{"id": id_, "component": "train", "status": status, "started": started, "ended": ended, **more})


@given(st.floats(0.0, NOW + AHEAD), st.floats(0.0, AHEAD))
def test_what_is_not_ahead_stays_as_it_is(started: float, lasted: float) -> None:
    kept = run(started=started, ended=min(started + lasted, NOW + AHEAD), at=1e12, seen=None)
    assert kept.as_of(NOW) is kept


@given(times, st.none() | times, st.none() | times)
def test_nothing_counts_later_than_it_came(started: float, ended: float | None, seen: float | None) -> None:
    said = run(started=started, ended=ended, seen=seen)
    found = said.as_of(NOW)
    latest = max(moment for moment in (found.started, found.ended, found.seen) if moment is not None)
    assert latest <= (NOW if found.ahead else NOW + AHEAD)
    assert found.ended is None or found.ended >= found.started or not found.ahead
    assert found.as_of(NOW).started == found.started
    assert found.counted_at == (started if math.isfinite(started) else found.started), "where its frames are"
    assert messages.run_text(found)


@given(st.floats(2 * HOUR, 4_000 * DAY), st.floats(0.0, 300 * DAY), st.sampled_from(["ended", "seen"]))
def test_a_run_lasts_as_long_as_it_did_by_its_own_clock(ahead: float, lasted: float, last: str) -> None:
    began, newest = NOW - lasted + ahead, NOW + ahead
    found = run(started=began, ended=newest, seen=newest if last == "seen" else None)
    moved = found.as_of(NOW)
    assert moved.ended is not None and moved.ended == pytest.approx(NOW)
    if began > NOW + AHEAD:
        assert moved.started == pytest.approx(NOW - lasted, abs=1e-3)
    assert moved.ahead == pytest.approx(ahead, abs=1e-2)


def send(store: Store, *several: Run, reported: bool = False, came: float | None = None) -> None:
    sender = Sender(store)
    texts = [messages.run_text(each) for each in several]
    header = (messages.reported if reported else messages.runs)(store.project, texts)
    path = sender.inbox.path(sender.inbox.put(sender.writer, 1, header))
    if came is not None:
        if not isinstance(path, Path):
            pytest.skip("a bucket keeps its own times")
        os.utime(path, (came, came))


def newest(store: Store) -> list[Run]:
    reader = store.caught_up()
    with reader.database.read() as connection:
        return runs.recent(connection, store.project, "train")


@pytest.mark.parametrize("reported", [True, False])
@pytest.mark.parametrize("ahead", [30 * DAY, 8_000 * 366 * DAY])
def test_a_run_that_is_ahead_hides_no_later_failure(store: Store, ahead: float, reported: bool) -> None:
    now = time.time()
    send(store, run("old", now - 3 * HOUR, now - 2 * HOUR), reported=reported)
    send(store, run("ahead", now + ahead, now + ahead + 60, host="fast"), reported=reported)
    store.caught_up()
    time.sleep(0.01)
    failed = run("failed", time.time(), time.time(), error="KeyError")
    send(store, dataclasses.replace(failed, status=RunStatus.FAILED), reported=reported)
    assert [each.id for each in newest(store)] == ["failed", "ahead", "old"]
    found = newest(store)[1]
    assert found.duration == pytest.approx(60, abs=1e-3)
    assert found.ended is not None and now - 1 <= found.ended <= time.time(), "a bucket tells seconds"


def test_what_was_taken_late_counts_as_of_when_it_came(store: Store) -> None:
    now = time.time()
    send(store, run("ahead", now + 10 * DAY), came=now - 2 * DAY)
    send(store, run("less ahead", now - 2 * HOUR), came=now - 2 * DAY + 60)  # no longer ahead of now
    send(store, run("later", now - DAY), came=now - DAY)
    assert [each.id for each in newest(store)] == ["later", "less ahead", "ahead"]
    assert all(each.started <= now - DAY for each in newest(store))


def test_runs_of_the_past_stay_as_they_are_and_the_logical_time_may_be_any(store: Store) -> None:
    now = time.time()
    send(store, run("backfill", NOW - 900 * DAY, NOW - 899 * DAY, at=now + 400 * DAY))
    send(store, run("skewed", now + HOUR / 2))
    skewed, backfill = newest(store)
    assert (backfill.started, backfill.at, backfill.code) == (NOW - 900 * DAY, now + 400 * DAY, {})
    assert (skewed.started, skewed.code) == (now + HOUR / 2, {})


def test_an_event_of_the_year_9999_is_told_and_its_run_goes_on(store: Store) -> None:
    event = {"run": {"runId": "1"}, "job": {"namespace": "etl", "name": "load"}}
    begin = run_of({**event, "eventType": "START", "eventTime": "9999-12-31T00:00:00Z"})
    assert begin is not None
    begin = dataclasses.replace(begin, component="train")
    send(store, begin, reported=True)
    [found] = newest(store)
    assert found.started <= time.time()
    end = dataclasses.replace(begin, status=RunStatus.SUCCEEDED, started=time.time(), ended=time.time())
    send(store, end, reported=True)
    [found] = newest(store)
    assert (found.status, found.ahead > 1e11) == (RunStatus.SUCCEEDED, True)
    assert 0 <= (found.duration or 0.0) < 60


def test_it_is_said_whose_clock_is_ahead(store: Store) -> None:
    now = time.time()
    send(store, run("1", now + 30 * DAY, now + 30 * DAY + 60, host="fast", code={"commit": "c0ffee"}))
    [told] = [problem for problem in problems(store.caught_up()) if problem.kind == "clock_ahead"]
    assert (told.subject, "30.0 days" in told.message, "'train'" in told.message) == ("host fast", True, True)
    [found] = newest(store)
    shown = forms.run(found, frozenset())["code"]
    assert shown["commit"] == "c0ffee" and shown["clock"].startswith("720.0 hours ahead: it said 20")
    send(store, run("2", time.time(), time.time(), host="fast"))
    assert [problem for problem in problems(store.caught_up()) if problem.kind == "clock_ahead"] == []


def test_the_frames_of_a_run_that_is_ahead_are_in_its_history(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(mean: float, ahead: float) -> None:
        ahead_clock = types.SimpleNamespace(time=lambda: time.time() + ahead)
        monkeypatch.setattr("fourfold.sdk.tracking.clock", ahead_clock)
        with ff.run("train") as tracked:
            tracked.output("rows", pd.DataFrame({"x": [mean] * 3}))
        ff.flush()
        session.store.caught_up()

    for number, ahead in enumerate((0.0, 30 * DAY, 20 * DAY, 0.0)):
        made(float(number), ahead)
    found = ff.history("train")
    assert sorted(value.value or 0.0 for value in found.column("x").each("mean")) == [0.0, 1.0, 2.0, 3.0]
    assert sorted(each.ahead > 0 for each in found.runs) == [False, False, True, True]
    newest = found.last(1)
    assert (newest.runs[0].ahead, [v.value for v in newest.column("x").each("mean")]) == (0.0, [3.0])


@pytest.mark.parametrize("said", [{"ahead": 10**400}, {"ahead": float("inf"), "started": float("nan")}, "odd", None])
def test_nobody_else_says_by_how_much_a_clock_is_ahead(store: Store, said: Any) -> None:
    now = time.time()
    assert Run("1", "train", RunStatus.SUCCEEDED, now, code={"clock": said, "commit": "a"}).as_of(now).code == {
        "commit": "a"
    }
    stored = Run("1", "train", RunStatus.SUCCEEDED, now, code={"clock": said})
    assert (stored.ahead, stored.counted_at) == (0.0, now)
