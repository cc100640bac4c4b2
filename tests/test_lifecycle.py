"""The life of an incident: which event leads where, what changes nothing, what is news."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourfold.errors import InputError
from fourfold.model import DAY, Finding, Group, Incident, IncidentState, Severity, Where
from fourfold.watch.lifecycle import (
    CLEARED,
    LEVEL_SHIFT,
    RULES,
    Event,
    IllegalEventError,
    News,
    Rules,
    advance,
    events,
    flaps,
    is_enough,
    legal,
)

E, S = Event, IncidentState


def finding(seen: float = 100.0, weight: float = 1.0) -> Finding:
    return Finding(
        "s", "recall", "recall fell", Group.STATEFUL_CROSS, Severity.TICKET, Where(task="late"),
        50.0, 40.0, 60.0, seen, weight=weight,
    )  # fmt: skip


def incident(state: IncidentState = S.OPEN, severity: Severity = Severity.TICKET, **changes: object) -> Incident:
    ended = None if state.is_active else 200.0
    made = Incident(
        "7", state, severity, "recall fell", "recall", Group.STATEFUL_CROSS, 50.0, 40.0, 60.0, 110.0,
        Where(task="late"), resolved=ended, findings=(finding(),), until=1e6 if state is S.SNOOZED else None,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def after(state: IncidentState, event: Event) -> IncidentState:
    return advance(incident(state), event, 300.0, until=400.0, reason="why", rules=Rules(clear=1)).state


LEADS = {  # written out again, row by row, as a user would be told; "-" is illegal
    #                pending         open            acknowledged      snoozed         resolved      dismissed
    E.SEEN:        ("pending",      "open",         "acknowledged",   "snoozed",      "-",          "dismissed"),
    E.ENOUGH:      ("open",         "open",         "acknowledged",   "snoozed",      "-",          "-"),
    E.CLEARED:     ("resolved",     "resolved",     "resolved",       "resolved",     "-",          "dismissed"),
    E.SETTLED:     ("resolved",     "resolved",     "resolved",       "resolved",     "-",          "-"),
    E.REOPEN:      ("-",            "-",            "-",              "-",            "open",       "open"),
    E.UNSNOOZE:    ("-",            "-",            "-",              "open",         "-",          "-"),
    E.ACKNOWLEDGE: ("acknowledged", "acknowledged", "acknowledged",   "acknowledged", "-",          "-"),
    E.SNOOZE:      ("snoozed",      "snoozed",      "snoozed",        "snoozed",      "-",          "-"),
    E.CONFIRM:     ("open",         "open",         "acknowledged",   "snoozed",      "resolved",   "resolved"),
    E.DISMISS:     ("dismissed",    "dismissed",    "dismissed",      "dismissed",    "dismissed",  "dismissed"),
    E.RESOLVE:     ("resolved",     "resolved",     "resolved",       "resolved",     "-",          "-"),
}  # fmt: skip


def test_what_a_user_resolves_says_so_and_is_the_same_incident_where_it_fires_on() -> None:
    resolved = advance(incident(S.SNOOZED), E.RESOLVE, 300.0, reason="mended")
    assert (resolved.resolved, resolved.until, resolved.reason) == (300.0, None, "resolved by a user: mended")
    assert advance(incident(S.OPEN), E.RESOLVE, 300.0).reason == "resolved by a user"
    assert events(incident(S.OPEN), advance(incident(S.OPEN), E.RESOLVE, 300.0)) == [News.RESOLVED]
    assert flaps(resolved, 310.0)
    again = advance(resolved, E.REOPEN, 320.0)
    assert (again.state, again.resolved, again.reason, again.reopened) == (S.OPEN, None, "", 1)


@pytest.mark.parametrize(("event", "state"), list(itertools.product(Event, IncidentState)))
def test_each_event_leads_where_the_table_says(event: Event, state: IncidentState) -> None:
    target = LEADS[event][list(IncidentState).index(state)]
    if target == "-":
        assert event not in legal(state)
        with pytest.raises(IllegalEventError, match=f"incident 7 is {state.value}: '{event.value}'"):
            after(state, event)
    else:
        assert after(state, event) == target


def test_an_illegal_event_changes_nothing_and_says_what_is_possible() -> None:
    before = incident(S.RESOLVED)
    with pytest.raises(IllegalEventError, match=r"possible are confirm, dismiss$"):
        advance(before, E.ACKNOWLEDGE, 300.0)
    assert before == incident(S.RESOLVED)


def test_a_pending_incident_opens_at_the_time_at_which_it_is_enough() -> None:
    opened = advance(incident(S.PENDING), E.ENOUGH, 300.0)
    assert (opened.state, opened.opened, opened.began) == (S.OPEN, 300.0, 50.0)
    assert advance(opened, E.ENOUGH, 400.0).opened == 300.0


def test_a_finding_beyond_its_limit_is_enough_to_open() -> None:
    assert is_enough(incident(findings=(finding(weight=0.2), finding(weight=1.0))))
    assert not is_enough(incident(findings=(finding(weight=0.99),)))


def test_one_clear_bucket_does_not_resolve_but_several_do() -> None:
    first = advance(incident(), E.CLEARED, 300.0, at=DAY)
    assert (first.state, first.clear) == (S.OPEN, 1)
    second = advance(first, E.CLEARED, 400.0, at=2 * DAY)
    assert (second.state, second.resolved, second.reason) == (S.RESOLVED, 400.0, CLEARED)


def test_a_clear_bucket_counts_once_however_often_it_is_checked() -> None:
    checked = incident()
    for now in range(300, 400):
        checked = advance(checked, E.CLEARED, float(now), at=DAY)
    assert (checked.state, checked.clear) == (S.OPEN, 1)


def test_what_is_seen_again_starts_the_count_of_clear_buckets_anew() -> None:
    checked = incident()
    for day in range(1, 20, 2):
        checked = advance(checked, E.CLEARED, 300.0, at=day * DAY)
        checked = advance(checked, E.SEEN, 300.0)
    assert checked == incident()


def test_a_doubt_that_passes_ends_without_news() -> None:
    before = incident(S.PENDING)
    passed = advance(before, E.CLEARED, 300.0)
    assert passed.state is S.RESOLVED
    assert events(before, passed) == []
    assert not flaps(passed, 310.0)


def test_a_new_normal_is_resolved_as_a_level_shift_and_what_follows_is_new() -> None:
    shifted = advance(incident(), E.SETTLED, 300.0)
    assert (shifted.state, shifted.reason) == (S.RESOLVED, LEVEL_SHIFT)
    assert not flaps(advance(shifted, E.CONFIRM, 310.0, reason="a campaign"), 120.0)


def test_what_fires_again_within_two_days_of_event_time_is_the_same_incident() -> None:
    resolved = incident(S.RESOLVED, clear_at=3 * DAY)
    assert flaps(resolved, 5 * DAY)
    assert not flaps(resolved, 5 * DAY + 1)
    assert not flaps(incident(S.OPEN), 120.0)


def test_what_was_dismissed_goes_on_as_dismissed() -> None:
    dismissed = advance(incident(), E.DISMISS, 300.0, reason="holiday")
    assert (dismissed.resolved, dismissed.reason, dismissed.confirmed) == (300.0, "holiday", False)
    assert flaps(dismissed, 120.0)
    assert events(dismissed, advance(dismissed, E.SEEN, 310.0)) == []


def test_an_ended_incident_keeps_its_end_when_a_user_judges_it() -> None:
    assert advance(incident(S.RESOLVED), E.DISMISS, 300.0).resolved == 200.0
    confirmed = advance(incident(S.RESOLVED, reason=CLEARED), E.CONFIRM, 300.0, reason="a lost sensor")
    assert (confirmed.resolved, confirmed.confirmed, confirmed.reason) == (200.0, True, "cleared; a lost sensor")


@pytest.mark.parametrize("until", [None, 300.0, 299.0, float("nan")])
def test_a_snooze_must_end_in_the_future(until: float | None) -> None:
    with pytest.raises(InputError, match="until="):
        advance(incident(), E.SNOOZE, 300.0, until=until)


def test_a_snooze_that_is_over_is_news_if_it_fires_still() -> None:
    snoozed = advance(incident(), E.SNOOZE, 300.0, until=400.0)
    worse = dataclasses.replace(snoozed, severity=Severity.PAGE)
    assert events(snoozed, worse) == []
    assert events(worse, advance(worse, E.UNSNOOZE, 400.0)) == [News.REOPENED]


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        (None, incident(S.PENDING), []),
        (None, incident(S.RESOLVED), []),
        (None, incident(), [News.OPENED]),
        (incident(S.PENDING), incident(), [News.OPENED]),
        (incident(), incident(), []),
        (incident(), incident(severity=Severity.PAGE), [News.ESCALATED]),
        (incident(), incident(severity=Severity.NOTICE), []),
        (incident(S.ACKNOWLEDGED), incident(S.ACKNOWLEDGED, Severity.PAGE), [News.ESCALATED]),
        (incident(), incident(S.ACKNOWLEDGED), []),
        (incident(), incident(S.RESOLVED), [News.RESOLVED]),
        (incident(S.SNOOZED), incident(S.RESOLVED), [News.RESOLVED]),
        (incident(), incident(S.DISMISSED), [News.RESOLVED]),
        (incident(S.RESOLVED), incident(S.DISMISSED), []),
        (incident(S.RESOLVED), incident(severity=Severity.PAGE), [News.REOPENED]),
    ],
)
def test_only_changes_are_news(before: Incident | None, now: Incident, news: list[News]) -> None:
    assert events(before, now) == news


@given(st.lists(st.tuples(st.sampled_from(Event), st.floats(1, 1e9)), max_size=60))
def test_any_order_of_events_keeps_an_incident_consistent(happened: list[tuple[Event, float]]) -> None:
    current = incident(S.PENDING)
    told: list[News] = []
    for event, at in happened:
        before = current
        try:
            current = advance(current, event, at, until=at + 1, reason="r")
        except IllegalEventError:
            assert current is before
        told += events(before, current)
        assert (current.resolved is None) is current.state.is_active
        assert (current.until is not None) is (current.state is S.SNOOZED)
        assert 0 <= current.clear <= RULES.clear
        assert not (current.confirmed and current.state is S.DISMISSED)
    # people who know nothing but the news are right about the end: it is over for them if it is over
    if told and current.state is S.OPEN:
        assert told[-1] is not News.RESOLVED
    if told and not current.state.is_active:
        assert told[-1] is News.RESOLVED
    for one, two in itertools.pairwise(told):
        assert (one, two) != (News.RESOLVED, News.RESOLVED)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_flapping_is_one_incident(fires: list[bool]) -> None:
    """Buckets of a day that fire, or not, with at most as many clear ones between as the window holds."""
    current, made, resolutions = incident(S.PENDING, findings=()), 1, 0
    current = advance(current, E.ENOUGH, 0.0)
    for day, firing in enumerate(fires, 1):
        at = float(day * DAY)
        if firing:
            if not current.state.is_active:
                made += not flaps(current, at - DAY)
                current = advance(current, E.REOPEN, at)
            current = dataclasses.replace(advance(current, E.SEEN, at), findings=(finding(seen=at),))
        elif current.state.is_active:
            current = advance(current, E.CLEARED, at, at=at)
            resolutions += not current.state.is_active
    gaps = [len(list(group)) for fire, group in itertools.groupby([True, *fires]) if not fire]
    ended = [gap for gap in gaps if gap >= RULES.clear]
    assert resolutions == len(ended)
    inner = gaps if fires[-1] else gaps[:-1]
    assert made == 1 + sum(gap > RULES.clear + RULES.flap / DAY for gap in inner)
