"""Which findings are one incident, and what it is called."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourfold.model import DAY, Finding, Group, Incident, IncidentState, Severity, StreamColumn, Task, Where
from fourfold.watch import lifecycle
from fourfold.watch.grouping import Book
from fourfold.watch.lineage import Lineage

START = 1_767_225_600
TASK = Task("late", StreamColumn("predict", "score"), StreamColumn("arrivals", "late"))
LINEAGE = Lineage.of(
    [("ingest", "join", "flights"), ("join", "train", "rows"), ("train", "predict", "model"), ("bill", "mail", "x")],
    [("ingest", "flights"), ("join", "flights"), ("train", "rows"), ("predict", "model"), ("mail", "x")],
    {
        "ingest.flights": "ingest",
        "ingest.output": "ingest",
        "join.flights": "join",
        "join.output": "join",
        "predict": "predict",
        "arrivals": "arrivals",
        "bill.out": "bill",
    },
    [TASK],
)
WHERE = {
    "ingest": Where("ingest", "ingest.flights", "hour"),
    "ingested": Where("ingest", "ingest.output", "hour"),
    "joining": Where("join", "join.flights", "hour"),
    "join": Where("join", "join.output", "hour"),
    "predict": Where("predict", "predict", "score"),
    "task": Where(task="late"),
    "labels": Where("arrivals", "arrivals"),
    "bill": Where("bill", "bill.out", "sum"),
    "run": Where("join"),
}


def finding(place: str, day: int, kind: str = "drift", **more: object) -> Finding:
    began = float(START + day * DAY)
    made = Finding(
        f"{place} {kind}", kind, f"{kind} of {place}", Group.STATEFUL_SINGLE, Severity.TICKET, WHERE[place],
        began, began, began + DAY, began + DAY,
    )  # fmt: skip
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def book(*incidents: Incident) -> Book:
    return Book(incidents, LINEAGE, len(incidents) + 1)


def at(day: int) -> float:
    return float(START + day * DAY)


def test_what_flows_downstream_is_one_incident_named_by_where_it_began() -> None:
    found = book()
    found.advance([finding("predict", 10), finding("ingest", 10), finding("task", 11, weight=9.0)], at(12), at(12))
    (incident,) = found.incidents
    assert incident.where == WHERE["ingest"]
    assert incident.title.startswith("ingest.flights.hour: drift of ingest since 2026-01-11")
    assert len(incident.findings) == 3


def test_what_a_component_reads_is_upstream_of_what_it_puts_out() -> None:
    along = ["ingest", "ingested", "joining", "join", "predict", "task"]
    depths = [LINEAGE.depth(WHERE[place]) for place in along]
    assert depths == sorted(set(depths))
    for i, first in enumerate(along):
        found = book()
        broken = [finding(place, 10, weight=1.0 + j) for j, place in enumerate(along[i:])]
        found.advance(reversed(broken), at(12), at(12))
        assert [incident.where for incident in found.incidents] == [WHERE[first]]


def test_a_run_that_is_missing_is_the_cause_of_records_that_are() -> None:
    found = book()
    missing = dataclasses.replace(finding("run", 10, "missing_run"), group=Group.STATELESS_SINGLE)
    found.advance([finding(place, 10, "rows", weight=9.0) for place in ("joining", "join")] + [missing], at(12), at(12))
    assert [incident.kind for incident in found.incidents] == ["missing_run"]


def test_what_does_not_touch_is_another_incident() -> None:
    found = book()
    found.advance([finding("ingest", 10), finding("bill", 10)], at(12), at(12))
    assert [incident.where for incident in found.incidents] == [WHERE["bill"], WHERE["ingest"]]


def test_what_began_long_after_is_another_incident_unless_it_is_at_the_same_place() -> None:
    found = book()
    found.advance([finding("ingest", 10)], at(12), at(12))
    later = [dataclasses.replace(finding("ingest", 10), seen=at(30)), finding("predict", 28)]
    found.advance([*later, finding("ingest", 28, "null_rate")], at(30), at(30))
    assert [len(incident.findings) for incident in found.incidents] == [2, 1]


def test_a_missed_objective_belongs_to_what_made_it_so() -> None:
    found = book()
    found.advance([finding("ingest", 10)], at(12), at(12))
    objective = dataclasses.replace(
        finding("task", 25, "objective", severity=Severity.PAGE), where=Where(task="late", objective="late-recall")
    )
    found.advance([dataclasses.replace(finding("ingest", 10), seen=at(30)), objective], at(30), at(30))
    (incident,) = found.incidents
    assert incident.objectives == ("late-recall",)
    assert (incident.severity, incident.where) == (Severity.PAGE, WHERE["ingest"])


def test_a_missed_objective_belongs_to_what_began_before_it_and_not_to_what_came_later() -> None:
    found = book()
    ingest, labels = finding("ingest", 10), finding("labels", 40)
    found.advance([ingest], at(12), at(12))
    found.advance([dataclasses.replace(ingest, seen=at(42)), labels], at(42), at(42))
    objective = dataclasses.replace(
        finding("task", 25, "objective"), where=Where(task="late", objective="late-recall"), seen=at(43)
    )
    firing = [dataclasses.replace(one, seen=at(43)) for one in (ingest, labels)]
    found.advance([*firing, objective], at(43), at(43))
    assert [(one.where, one.objectives) for one in found.incidents] == [
        (WHERE["ingest"], ("late-recall",)), (WHERE["labels"], ()),
    ]  # fmt: skip


def test_a_failed_run_is_the_cause_of_what_it_did_not_do() -> None:
    found = book()
    missing = dataclasses.replace(finding("ingest", 10, "missing_run"), where=Where("ingest"))
    found.advance([missing, finding("run", 10, "failed_run", group=Group.STATELESS_SINGLE)], at(11), at(11))
    (incident,) = found.incidents
    assert incident.kind == "failed_run"


def test_what_is_over_resolves_after_two_buckets_and_flaps_into_the_same_incident() -> None:
    found = book()
    found.advance([finding("ingest", 10)], at(11), at(11))
    states = []
    for day in (12, 12, 13):
        found.advance([], at(day), at(day))
        states.append(found.incidents[0].state.value)
    assert states == ["open", "open", "resolved"], "the same bucket counts once"
    found.advance([finding("ingest", 13)], at(14), at(14))
    (incident,) = found.incidents
    assert (incident.state, incident.reopened) == (IncidentState.OPEN, 1)
    assert incident.began == at(10), "it began when it first did"


def test_what_is_known_goes_back_to_its_own_incident_and_not_into_another_open_one() -> None:
    found = book()
    firing = [finding("ingest", 10), finding("join", 10)]
    found.advance(firing, at(12), at(12))
    later = finding("ingest", 20, "null_rate", group=Group.STATEFUL_CROSS)
    firing = [dataclasses.replace(one, seen=at(14)) for one in firing]
    found.advance(firing, at(14), at(14))
    found.advance([*firing, later], at(22), at(22))
    first, second = found.incidents
    found.decided(lifecycle.advance(first, lifecycle.Event.RESOLVE, at(22)))
    found.advance([*firing, later], at(22), at(22))
    again, other = found.incidents
    assert other == second
    assert (again.state, again.findings, again.reopened) == (IncidentState.OPEN, first.findings, 1)


def test_a_lasting_change_ends_as_a_level_shift() -> None:
    found = book()
    found.advance([finding("ingest", 10)], at(11), at(11))
    found.advance([], at(12), at(12), settled={"ingest drift"})
    assert (found.incidents[0].state, found.incidents[0].reason) == (IncidentState.RESOLVED, "level shift")


def test_a_dismissed_incident_takes_in_what_goes_on() -> None:
    found = book()
    found.advance([finding("ingest", 10)], at(11), at(11))
    dismissed = dataclasses.replace(found.incidents[0], state=IncidentState.DISMISSED)
    again = book(dismissed)
    again.advance([finding("ingest", 10)], at(12), at(12))
    assert [incident.state for incident in again.incidents] == [IncidentState.DISMISSED]


def test_a_snooze_ends() -> None:
    found = book()
    found.advance([finding("ingest", 10)], at(11), at(11))
    snoozed = dataclasses.replace(found.incidents[0], state=IncidentState.SNOOZED, until=at(12))
    again = book(snoozed)
    again.advance([finding("ingest", 10)], at(13), at(13))
    assert again.incidents[0].state is IncidentState.OPEN


@pytest.mark.parametrize(
    ("one", "other", "touches"),
    [
        ("ingest", "predict", True), ("predict", "ingest", True), ("predict", "task", True), ("run", "labels", True),
        ("ingest", "bill", False), ("task", "bill", False), ("run", "join", True),
    ],
)  # fmt: skip
def test_places_touch_along_the_lineage(one: str, other: str, touches: bool) -> None:
    assert LINEAGE.touch(WHERE[one], WHERE[other]) is touches


places = st.sampled_from(sorted(WHERE))
checks = st.lists(
    st.lists(st.tuples(places, st.integers(0, 20), st.sampled_from(["drift", "null_rate"])), max_size=6), max_size=8
)


@given(checks)
def test_each_finding_is_in_exactly_one_active_incident_whatever_comes(found: list[list[tuple[str, int, str]]]) -> None:
    kept = book()
    for day, entries in enumerate(found, 21):
        firing = {f"{place} {kind}": finding(place, began, kind) for place, began, kind in entries}
        kept.advance([dataclasses.replace(f, seen=at(day)) for f in firing.values()], at(day), at(day))
        active = [i for i in kept.incidents if i.state.is_active]
        holders = [series for i in active for series in {f.series for f in i.findings}]
        for series in firing:
            assert holders.count(series) >= 1
        again = {incident.id: incident for incident in kept.incidents}
        assert len(again) == len(kept.incidents)
        assert all(i.began_low <= i.began <= i.began_high for i in kept.incidents)
        assert all(a.opened <= at(day) for a in active)
    assert all(len({f.series for f in i.findings}) == len(i.findings) for i in kept.incidents)
    assert [int(i.id) for i in kept.incidents] == list(itertools.islice(itertools.count(1), len(kept.incidents)))
