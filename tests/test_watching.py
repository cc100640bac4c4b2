"""A check: what it finds in a store, what it leaves alone, and that it is all or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import fourfold as ff
from fourfold.config import load
from fourfold.errors import ConfigError, StoreError
from fourfold.model import DAY, Incident, IncidentState
from fourfold.sdk import Session
from fourfold.state import memory as memories
from fourfold.state import notices
from fourfold.store import Store
from fourfold.watch.check import check
from fourfold.watch.incidents import Action, decide, incidents
from fourfold.watch.settings import WatchSettings, watch_settings
from tests.killed import KILLS, victims
from tests.services import place

START = 1_767_225_600  # 2026-01-01, a Thursday
SETTINGS = WatchSettings()
Change = Callable[[pd.DataFrame], pd.DataFrame]


def day(number: int, rows: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(number)
    return pd.DataFrame(
        {
            "id": [f"{number}-{i}" for i in range(rows)],
            "time": pd.to_datetime(START + number * DAY + np.sort(random.integers(0, DAY, rows)), unit="s", utc=True),
            "age": random.normal(40, 10, rows),
            "broken": np.where(random.random(rows) < 0.95, np.nan, 1.0),
            "city": random.choice(["a", "b", "c"], rows),
        }
    )


def log(first: int, last: int, change: Change = lambda frame: frame, stream: str = "visits") -> None:
    for number in range(first, last):
        ff.log(stream, change(day(number)), key="id", time="time")
    ff.flush()


def morning(number: int) -> float:
    """Some hours into a day."""
    return START + number * DAY + 6 * 3_600.0


def checked(session: Session, number: int, settings: WatchSettings = SETTINGS) -> list[Incident]:
    """What is active after a check on the morning of a day."""
    return list(check(session.store, settings, morning(number)).incidents)


def nulls(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(age=frame.age.mask(np.random.default_rng(0).random(len(frame)) < 0.3))


def test_a_column_that_becomes_null_is_found_the_next_morning(session: Session) -> None:
    log(0, 30)
    assert checked(session, 30) == []
    log(30, 31, nulls)
    (incident,) = checked(session, 31)
    assert incident.state is IncidentState.OPEN
    assert (incident.where.stream, incident.where.column) == ("visits", "age")
    assert incident.began == START + 30 * DAY
    (finding,) = [f for f in incident.findings if f.kind == "missing_rate"]
    assert finding.value == pytest.approx(0.3, abs=0.08)
    assert finding.expected == pytest.approx(0.0, abs=0.005)
    assert {f.where.column for f in incident.findings} == {"age"}, "a column that was always null is no finding"


def test_a_first_check_judges_the_history_in_order(session: Session) -> None:
    log(0, 40)
    log(40, 43, nulls)
    log(43, 60)
    assert checked(session, 60) == []
    (past,) = incidents(session.store.reader, active=False)
    assert past.state is IncidentState.RESOLVED
    assert past.began == START + 40 * DAY
    assert START + 41 * DAY <= past.opened <= START + 42 * DAY, "when it could have been said first"
    assert past.resolved is not None and past.resolved <= START + 47 * DAY
    with session.store.reader.database.read() as connection:
        assert notices.waiting(connection, "test") == [], "nobody is told of what is long over"


def test_a_check_by_day_finds_what_a_replay_finds(session: Session, tmp_path: Path) -> None:
    for number in range(25):
        log(number, number + 1)
        checked(session, number)
    for number in range(25, 29):
        log(number, number + 1, nulls)
        checked(session, number)
    by_day = incidents(session.store.reader, active=False)
    other = ff.init(tmp_path / "other", "test", state=place(tmp_path / "other").state or None)
    log(0, 25)
    log(25, 29, nulls)
    checked(other, 28)
    replayed = incidents(other.store.reader, active=False)
    assert [(i.where, i.began, i.kind) for i in by_day] == [(i.where, i.began, i.kind) for i in replayed]
    other.close()


def test_a_check_without_anything_new_reads_no_history_and_writes_nothing(session: Session) -> None:
    log(0, 30)
    log(30, 32, nulls)
    first = checked(session, 32)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: object, *_: Any) -> None:
        statements.append(f"{statement} {parameters}")

    sa.event.listen(session.store.reader.database.engine, "before_cursor_execute", note)
    assert first and checked(session, 32) == first
    assert [s for s in statements if s.startswith(("INSERT", "UPDATE", "DELETE"))] == []
    assert not any("watch/" in statement for statement in statements), "nor are the detectors read"
    log(32, 33, nulls)
    checked(session, 33)
    assert any("watch/" in statement for statement in statements)


def test_a_second_check_of_the_same_changes_nothing(session: Session) -> None:
    log(0, 30)
    log(30, 32, nulls)
    first = checked(session, 32)
    assert first and checked(session, 32) == first


def test_a_stream_that_falls_silent_is_found(session: Session) -> None:
    for number in range(30):
        log(number, number + 1)
        checked(session, number)
    found = [incident for number in range(30, 34) for incident in checked(session, number)]
    assert {incident.kind for incident in found} >= {"volume"}
    assert {incident.id for incident in found} == {"1"}
    assert min(incident.began for incident in found) == START + 30 * DAY


def test_where_traffic_is_dense_a_fault_is_found_within_hours(session: Session) -> None:
    def hours(first: int, last: int, share: float = 0.0) -> None:
        random = np.random.default_rng(first)
        per_hour = 80 + (np.arange(first, last) % 24) * 10  # a daily season
        start = np.repeat(START + 3_600 * np.arange(first, last), per_hour)
        times = np.sort(start + random.integers(0, 3_600, len(start)))
        price = random.normal(5, 1, len(start))
        price[random.random(len(start)) < share] = np.nan
        frame = pd.DataFrame({"time": pd.to_datetime(times, unit="s", utc=True), "price": price})
        ff.log("offers", frame.assign(id=[f"{first}-{i}" for i in range(len(frame))]), key="id", time="time")
        ff.flush()

    noon = 14 * 24 + 12
    hours(0, noon)
    assert list(check(session.store, SETTINGS, START + 3_600.0 * noon + 60).incidents) == []
    hours(noon, noon + 3, share=0.4)
    (incident,) = check(session.store, SETTINGS, START + 3_600.0 * (noon + 2) + 60).incidents
    assert incident.where.column == "price"
    assert incident.began == START + 3_600 * noon


def test_a_few_records_a_day_are_enough_for_a_large_shift(session: Session) -> None:
    log(0, 60, lambda frame: frame[:10])
    assert checked(session, 60) == []
    log(60, 70, lambda frame: frame[:10].assign(age=frame.age + 60))
    (incident,) = checked(session, 70)
    assert incident.where.column == "age"
    assert START + 59 * DAY <= incident.began <= START + 62 * DAY


@pytest.mark.parametrize("days", [-20_000, -3_000, -40, -5, 300])
def test_a_stray_record_of_another_time_is_no_beginning(session: Session, days: int) -> None:
    log(0, 1, lambda frame: frame[:1].assign(id="stray", time=frame.time + pd.Timedelta(days=days)))
    log(0, 45)
    assert checked(session, 45) == []
    assert not incidents(session.store.reader, active=False)


def test_a_frame_of_the_day_is_judged_the_next_morning(session: Session) -> None:
    @ff.component("load", time="time")
    def load(visits: pd.DataFrame) -> pd.DataFrame:
        return visits

    for number in range(34):
        load(day(number) if number < 32 else day(number).assign(age=lambda frame: frame.age + 10))
        ff.flush()
        found = checked(session, number + 1)
        assert bool(found) == (number >= 32), f"day {number}"
    assert {finding.where.column for finding in found[0].findings} == {"age"}
    assert found[0].began == START + 32 * DAY


@pytest.mark.parametrize("daily", [True, False])
def test_a_column_that_is_gone_from_what_a_component_passes_on_is_found(session: Session, daily: bool) -> None:
    @ff.component("load", time="time")
    def load(number: int) -> pd.DataFrame:
        frame = day(number)
        return frame.rename(columns={"age": "years", "city": "town"}) if number >= 30 else frame

    found = []
    for number in range(34):
        load(number)
        ff.flush()
        if daily and number > 20:
            found += checked(session, number + 1)
            assert not found or number >= 30
    told = [f for each in found or checked(session, 34) for f in each.findings]
    assert {f.where.column for f in told} == {"age", "city"}
    assert {f.kind for f in told} == {"missing_rate"}
    assert {f.began for f in told} == {START + 30 * DAY}
    assert all("100.0 % are null, NaN or not there instead of" in f.what for f in told)


def with_new_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(height=np.random.default_rng(len(frame)).normal(170, 10, len(frame)))


def test_a_new_column_is_no_fault_checked_daily(session: Session) -> None:
    for number in range(48):
        log(number, number + 1, with_new_column if number >= 20 else lambda frame: frame)
        assert checked(session, number + 1) == []
    assert not incidents(session.store.reader, active=False)


def test_a_new_column_is_no_fault_in_a_replay(session: Session) -> None:
    log(0, 20)
    log(20, 48, with_new_column)
    assert checked(session, 48) == []
    assert not incidents(session.store.reader, active=False)


def test_data_that_ended_long_ago_are_not_missing(session: Session) -> None:
    log(0, 40)
    assert checked(session, 400) == []


def test_what_is_muted_is_no_incident(session: Session) -> None:
    log(0, 30)
    log(30, 33, nulls)
    assert checked(session, 32, WatchSettings(mute=("visits.age*",))) == []


def test_a_tolerance_asks_for_larger_changes(session: Session) -> None:
    log(0, 30)
    log(30, 33, lambda frame: frame.assign(age=frame.age + 2.0))  # a fifth of a standard deviation
    assert checked(session, 32, WatchSettings(tolerance={"drift": 4.0})) == []
    assert {incident.kind for incident in checked(session, 33)} <= {"drift"}


def test_what_a_user_dismisses_is_normal_from_then_on(session: Session) -> None:
    log(0, 30)
    log(30, 33, nulls)
    (incident,) = checked(session, 32)
    decide(session.store.reader.database, "test", incident.id, Action.DISMISS, "they need not say", morning(32))
    log(33, 40, nulls)
    assert checked(session, 39) == []


def test_an_accuracy_that_falls_is_found_once_its_labels_have_come(session: Session) -> None:
    ff.task("good", prediction="predict.score", label="truth.good", horizon="10d", slices=["city"])
    random = np.random.default_rng(5)

    def served(number: int, quality: float) -> None:
        frame = day(number)[["id", "time", "city"]]
        truth = random.random(len(frame)) < 0.5
        right = random.random(len(frame)) < quality
        ff.log("predict", frame.assign(score=np.where(truth == right, 0.9, 0.1)), key="id", time="time")
        late = frame.time + pd.Timedelta(days=2)
        ff.log("truth", pd.DataFrame({"id": frame.id, "time": late, "good": truth}), key="id", time="time")
        ff.flush()

    for number in range(40):
        served(number, 0.85)
    assert checked(session, 40) == []
    for number in range(40, 46):
        served(number, 0.65)
    (incident,) = checked(session, 46)
    assert incident.where.task == "good"
    assert incident.severity == "page"
    assert START + 39 * DAY <= incident.began <= START + 41 * DAY, "the predictions' time, not the labels'"


def test_an_incident_with_an_objective_ends_once_all_is_well_again(session: Session) -> None:
    ff.objective("full", "missing_rate(visits.age) <= 5 %", window="7d")
    for number in range(50):
        log(number, number + 1, nulls if number in (30, 31) else lambda frame: frame)
        if number >= 28:
            found = checked(session, number + 1)
            assert number not in (30, 31) or found
    assert found == []
    past = incidents(session.store.reader, active=False)
    assert ("full",) in {incident.objectives for incident in past}
    assert {incident.state for incident in past} == {IncidentState.RESOLVED}


def test_labels_that_stop_for_ever_stay_an_incident_of_the_task(session: Session) -> None:
    ff.task("good", prediction="predict.score", label="truth.good", horizon="5d")
    random = np.random.default_rng(6)
    found: list[Incident] = []
    for number in range(70):
        frame = day(number, 100)[["id", "time"]]
        ff.log("predict", frame.assign(score=random.random(100)), key="id", time="time")
        if number < 40:
            labels = {"id": frame.id, "time": frame.time + pd.Timedelta(hours=5), "good": random.random(100) < 0.5}
            ff.log("truth", pd.DataFrame(labels), key="id", time="time")
        if number in (38, 42, 52, 69):
            found = checked(session, number + 1)
    kinds = {(f.where.task or f.where.stream, f.kind) for incident in found for f in incident.findings}
    assert kinds >= {("truth", "volume"), ("good", "coverage")}
    assert {incident.state for incident in found} == {IncidentState.OPEN}


def test_a_check_that_dies_before_its_end_has_changed_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(0, 30)
    log(30, 33, nulls)
    settings = WatchSettings(notify={"team": {"kind": "stdout"}})
    save = memories.save

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(memories, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        checked(session, 32, settings)
    assert not incidents(session.store.reader, active=False)
    monkeypatch.setattr(memories, "save", save)
    assert len(checked(session, 32, settings)) == 1
    with session.store.reader.database.read() as connection:
        (notice,) = notices.waiting(connection, "test")
    assert notice.event == "opened"


def checking(folder: str, now: str) -> Callable[[], object]:
    store = Store(load(folder).place, "test")
    return lambda: check(store, WatchSettings(notify={"team": {"kind": "stdout"}}), float(now))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_check_killed_at_any_moment_raises_each_incident_once(session: Session) -> None:
    log(0, 20)
    log(20, 23, nulls)
    folder = session.store.folder
    session.store.caught_up()
    session.close()
    moment = moments = 0
    with victims(checking) as die:
        while not moments:  # one that goes on has less to do
            moment += max(1, 70 // KILLS)
            moments = die(moment, folder, morning(22))
    assert moment > 10
    reader = Store(place(Path(folder)), "test").reader
    assert len(incidents(reader, active=False)) == 1
    with reader.database.read() as connection:
        assert len(notices.waiting(connection, "test")) == 1


CHECKS = """
import sys
from pathlib import Path
from tests.test_watching import checking
checking(*sys.argv[1:])()
print("done")
"""


def test_two_processes_that_check_at_once_raise_one_incident(session: Session) -> None:
    log(0, 20)
    log(20, 23, nulls)
    session.store.caught_up()
    command = [sys.executable, "-c", CHECKS, str(session.store.folder), str(morning(22))]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) for _ in range(2)
    ]
    assert ["done" in process.communicate()[0] for process in both] == [True, True]
    assert len(incidents(session.store.reader, active=False)) == 1


@pytest.mark.parametrize("part", ["watch", "watch/streams", "watch/anchors"])
def test_a_damaged_memory_is_learned_anew(session: Session, part: str, caplog: pytest.LogCaptureFixture) -> None:
    log(0, 30)
    log(30, 32, nulls)
    (before,) = checked(session, 32)
    with session.store.reader.database.write() as connection:
        assert memories.load(connection, "test", part)
        memories.save(connection, "test", part, b"nonsense")
    log(32, 33, nulls)
    (after,) = checked(session, 33)
    assert "damaged" in caplog.text
    assert (after.id, after.where) == (before.id, before.where)


def test_a_read_only_store_cannot_be_checked(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    log(0, 1)
    monkeypatch.setattr(session.store.writer.database.system, "writable", False)
    with pytest.raises(StoreError, match="read-only"):
        checked(session, 1)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"dais": 30}, "dais"),
        ({"days": 0}, "days=0"),
        ({"days": "month"}, "month"),
        ({"settle": "soon"}, "soon"),
        ({"mute": "x"}, "mute"),
        ({"notify": 3}, "notify"),
        ({"tolerance": {"drift": 0}}, "drift = 0"),
        ({"tolerance": 2}, "tolerance = 2"),
        ({"expects": {"visits.age": {"min": "a"}}}, "visits.age.*min"),
        ({"expects": {"visits.age": {"foo": 1}}}, "foo"),
        ({"expects": {"visits": 5}}, "visits"),
        ({"expects": {"visits.age": {"min": 5, "max": 1}}}, "above max"),
    ],
)
def test_wrong_settings_are_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        watch_settings(section)
