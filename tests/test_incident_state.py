"""Incidents, notices and the watch's memory in the state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import sqlalchemy as sa

from fourfold.model import Finding, Group, Incident, IncidentState, Severity, Where
from fourfold.state import Database, incidents, memory, notices, open_state
from fourfold.state.database import StateError
from fourfold.state.notices import Notice
from fourfold.state.tables import incident as table
from tests.services import place

HOSTILE = "a\x00\udcff\n<!channel>é"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_state(place(tmp_path).state, tmp_path)


def an_incident(id_: str = "1", **changes: object) -> Incident:
    where = Where(stream="predict", column=HOSTILE)
    finding = Finding(
        "predict.x/null_rate", "null_rate", "nulls", Group.STATEFUL_SINGLE, Severity.TICKET, where,
        10.0, 5.0, 15.0, 20.0, value=float("inf"),
    )  # fmt: skip
    made = Incident(
        id_, IncidentState.OPEN, Severity.TICKET, "nulls in x", "null_rate", Group.STATEFUL_SINGLE,
        10.0, 5.0, 15.0, 30.0, where, findings=(finding,),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_an_incident_comes_back_as_it_was_saved(database: Database) -> None:
    with database.write() as connection:
        incidents.save(connection, "p", an_incident())
    with database.read() as connection:
        assert incidents.one(connection, "p", "1") == an_incident()
        assert incidents.load(connection, "p") == [an_incident()]
        assert incidents.load(connection, "other") == []


def test_saving_again_replaces(database: Database) -> None:
    with database.write() as connection:
        incidents.save(connection, "p", an_incident())
        incidents.save(connection, "p", ended := an_incident(state=IncidentState.RESOLVED, resolved=40.0))
        assert incidents.load(connection, "p", active=True) == []
        assert incidents.load(connection, "p", active=False) == [ended]


@pytest.mark.parametrize("state", IncidentState)
def test_active_incidents_are_those_that_have_not_ended(database: Database, state: IncidentState) -> None:
    with database.write() as connection:
        incidents.save(connection, "p", an_incident(state=state))
        assert bool(incidents.load(connection, "p", active=True)) is state.is_active


def test_each_project_has_its_own_numbers(database: Database) -> None:
    with database.write() as connection:
        assert incidents.next_id(connection, "p") == "1"
        for id_ in ("1", "9", "10"):
            incidents.save(connection, "p", an_incident(id_))
        assert incidents.next_id(connection, "p") == "11"
        assert incidents.next_id(connection, "q") == "1"
        assert [found.id for found in incidents.load(connection, "p")] == ["1", "9", "10"]


@pytest.mark.parametrize("id_", ["", "x", "-1", "1.0", "²", "9" * 40, "1 or 1=1"])
def test_what_is_no_number_finds_nothing(database: Database, id_: str) -> None:
    with database.read() as connection:
        assert incidents.one(connection, "p", id_) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"state": "gone"}', '{"state": 1, "findings": 3}', "null"])
def test_a_damaged_incident_is_an_error_of_the_state(database: Database, text: str) -> None:
    with database.write() as connection:
        incidents.save(connection, "p", an_incident())
        connection.execute(sa.update(table).values(definition=text))
        with pytest.raises(StateError, match="incident 1"):
            incidents.load(connection, "p")


def test_memory_keeps_the_last_bytes_of_each_name(database: Database) -> None:
    with database.write() as connection:
        assert memory.load(connection, "p", "baseline") is None
        memory.save(connection, "p", "baseline", b"1")
        memory.save(connection, "p", "baseline", b"\x00\xff2")
        assert memory.load(connection, "p", "baseline") == b"\x00\xff2"
        assert memory.load(connection, "q", "baseline") is None


def a_notice(id_: str = "p-1-opened-1/ops", **changes: object) -> Notice:
    return dataclasses.replace(Notice(id_, "ops", "1", "opened", HOSTILE, 5.0), **changes)  # type: ignore[arg-type]


def test_a_notice_is_added_once(database: Database) -> None:
    with database.write() as connection:
        notices.add(connection, "p", [a_notice()])
        notices.add(connection, "p", [a_notice(body="another")])
        (found,) = notices.due(connection, "p", 5.0)
        assert found.body == HOSTILE.replace("\udcff", "\\udcff")
        assert notices.due(connection, "q", 5.0) == []


def test_a_claimed_notice_is_due_again_only_when_the_claim_has_expired(database: Database) -> None:
    with database.write() as connection:
        notices.add(connection, "p", [a_notice()])
        assert notices.claim(connection, "p-1-opened-1/ops", 10.0, 70.0)
        assert not notices.claim(connection, "p-1-opened-1/ops", 11.0, 71.0)
        assert notices.due(connection, "p", 69.0) == []
        (found,) = notices.due(connection, "p", 70.0)
        assert found.tries == 1


def test_a_sent_notice_is_never_due(database: Database) -> None:
    with database.write() as connection:
        notices.add(connection, "p", [a_notice()])
        notices.sent(connection, "p-1-opened-1/ops", 10.0)
        notices.failed(connection, "p-1-opened-1/ops", "too late", 0.0)
        assert notices.due(connection, "p", 1e12) == []
        assert [found.sent for found in notices.of_incident(connection, "p", "1")] == [10.0]


def test_a_failed_notice_keeps_its_error_and_waits(database: Database) -> None:
    with database.write() as connection:
        notices.add(connection, "p", [a_notice()])
        notices.failed(connection, "p-1-opened-1/ops", "refused", 90.0)
        assert notices.due(connection, "p", 89.0) == []
        assert [found.error for found in notices.due(connection, "p", 90.0)] == ["refused"]
