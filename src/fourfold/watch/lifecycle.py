"""The life of an incident: a table of states and events, and what else an event changes. Pure.

What happens to an incident comes from two sides. A check says what it sees: something is wrong still (``seen``), it
is wrong enough to tell people (``enough``), nothing fires any more (``cleared``), what fires is the new normal
(``settled``), it fires again (``reopen``), a snooze is over (``unsnooze``). A user decides: ``acknowledge``,
``snooze``, ``confirm``, ``dismiss``, ``resolve``. ``_TABLE`` says to which state each event leads from each state,
and it is all there is to know of the order of events:

                     enough            cleared, settled, resolve
        PENDING ----------------> OPEN ---------------------> RESOLVED
           |                     ^ |  ^                           |
           |         acknowledge | |  +---------------------------+
           |                     | |               reopen
           |    ACKNOWLEDGED <---|-+
           |         SNOOZED <---+       from all of these: dismiss ---> DISMISSED

An event that the table does not list for a state is a mistake of whoever sends it: ``advance`` raises, and the
incident is as it was. Whatever arrives in whatever order, the incident stays in a state that the table explains.

Three rules keep incidents calm (hysteresis). ``cleared`` leads to its state only once nothing has fired in several
buckets, each counted once however often it is checked. An incident that fires again soon after is the same incident,
reopened. And ``events`` says what is news to people: not what each check sees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fourfold.errors import InputError
from fourfold.model import DAY, Incident, IncidentState


class Event(StrEnum):
    """What can happen to an incident: what a check sees, and what a user decides."""

    SEEN = "seen"
    ENOUGH = "enough"
    CLEARED = "cleared"
    SETTLED = "settled"
    REOPEN = "reopen"
    UNSNOOZE = "unsnooze"
    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    CONFIRM = "confirm"
    DISMISS = "dismiss"
    RESOLVE = "resolve"


class News(StrEnum):
    """What people are told of an incident."""

    OPENED = "opened"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    REOPENED = "reopened"


class IllegalEventError(InputError):
    """An event that means nothing in the incident's state."""


PASSED = "passed before it was certain"  # reasons why an incident has ended
CLEARED = "cleared"
LEVEL_SHIFT = "level shift"
BY_USER = "resolved by a user"


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """``clear`` buckets without a finding in a row resolve an incident; what fires within ``flap`` seconds of event
    time after that reopens it.
    """

    clear: int = 2
    flap: float = 2 * DAY


RULES = Rules()

_S, _E = IncidentState, Event
_DECISIONS = {
    _E.ACKNOWLEDGE: _S.ACKNOWLEDGED, _E.SNOOZE: _S.SNOOZED, _E.DISMISS: _S.DISMISSED, _E.RESOLVE: _S.RESOLVED,
}  # fmt: skip
_ENDS = {_E.CLEARED: _S.RESOLVED, _E.SETTLED: _S.RESOLVED}
_TABLE: Mapping[IncidentState, Mapping[Event, IncidentState]] = {
    _S.PENDING: {_E.SEEN: _S.PENDING, _E.ENOUGH: _S.OPEN, _E.CONFIRM: _S.OPEN, **_ENDS, **_DECISIONS},
    _S.OPEN: {_E.SEEN: _S.OPEN, _E.ENOUGH: _S.OPEN, _E.CONFIRM: _S.OPEN, **_ENDS, **_DECISIONS},
    _S.ACKNOWLEDGED: {
        _E.SEEN: _S.ACKNOWLEDGED, _E.ENOUGH: _S.ACKNOWLEDGED, _E.CONFIRM: _S.ACKNOWLEDGED, **_ENDS, **_DECISIONS,
    },
    _S.SNOOZED: {
        _E.SEEN: _S.SNOOZED, _E.ENOUGH: _S.SNOOZED, _E.CONFIRM: _S.SNOOZED, _E.UNSNOOZE: _S.OPEN, **_ENDS,
        **_DECISIONS,
    },
    _S.RESOLVED: {_E.REOPEN: _S.OPEN, _E.CONFIRM: _S.RESOLVED, _E.DISMISS: _S.DISMISSED},
    _S.DISMISSED: {
        _E.SEEN: _S.DISMISSED, _E.CLEARED: _S.DISMISSED, _E.REOPEN: _S.OPEN, _E.CONFIRM: _S.RESOLVED,
        _E.DISMISS: _S.DISMISSED,
    },
}  # fmt: skip
_TOLD = (_S.OPEN, _S.ACKNOWLEDGED, _S.SNOOZED)  # the states in which people know of an incident


DECISIONS = (Event.CONFIRM, Event.DISMISS, Event.ACKNOWLEDGE, Event.SNOOZE, Event.RESOLVE)  # of users


def legal(state: IncidentState) -> list[Event]:
    """The events that mean something in a state."""
    return list(_TABLE[state])


def advance(
    incident: Incident,
    event: Event,
    now: float,
    *,
    at: float | None = None,
    until: float | None = None,
    reason: str = "",
    rules: Rules = RULES,
) -> Incident:
    """The incident after an event.

    Args:
        incident: as it was.
        event: what happened.
        now: when fourfold learns of it, in seconds since 1970.
        at: for ``cleared``, the end in event time of the newest bucket in which nothing fires (default: ``now``). The
            same bucket counts once.
        until: for ``snooze``, its end.
        reason: for ``confirm``, ``dismiss`` and ``resolve``, what the user says.
        rules: when an incident is clear.

    Raises:
        IllegalEventError: the event means nothing in this state; the message lists those that do.
        InputError: a snooze that has ended already.
    """
    target = _TABLE[incident.state].get(event)
    if target is None:
        decided = [known for known in legal(incident.state) if known in DECISIONS]
        known = ", ".join(decided if event in DECISIONS else legal(incident.state))
        raise IllegalEventError(
            f"incident {incident.id} is {incident.state.value}: {event.value!r} means nothing there; "
            f"possible are {known}"
        )
    if event is Event.CLEARED and incident.state.is_active:
        return _cleared(incident, target, now, now if at is None else at, rules)
    if event is Event.SNOOZE and not (until is not None and until > now):
        raise InputError(f"until={until!r}: a snooze ends in the future")
    return dataclasses.replace(incident, state=target, **_changes(incident, event, now, until, reason))


def _changes(incident: Incident, event: Event, now: float, until: float | None, reason: str) -> dict[str, Any]:
    """What an event changes besides the state."""
    opens = {"opened": now} if incident.state is IncidentState.PENDING else {}
    fires = {"clear": 0, "clear_at": None}
    match event:
        case Event.SEEN:
            return fires
        case Event.ENOUGH:
            return {**fires, **opens}
        case Event.REOPEN:
            return {**fires, "resolved": None, "reason": "", "reopened": incident.reopened + 1}
        case Event.SETTLED:
            return {"resolved": now, "until": None, "reason": LEVEL_SHIFT}
        case Event.SNOOZE:
            return {"until": until}
        case Event.CONFIRM:
            ended = incident.reason if incident.state is IncidentState.RESOLVED else ""
            return {**opens, "confirmed": True, "reason": "; ".join(filter(None, (ended, reason)))}
        case Event.RESOLVE:  # where it fires on, the next check reopens it
            return {"resolved": now, "until": None, "reason": ": ".join(filter(None, (BY_USER, reason)))}
        case Event.DISMISS:
            ends = now if incident.resolved is None else incident.resolved
            return {"resolved": ends, "until": None, "confirmed": False, "reason": reason}
        case Event.ACKNOWLEDGE | Event.UNSNOOZE:
            return {"until": None}
    return {}


def _cleared(incident: Incident, target: IncidentState, now: float, at: float, rules: Rules) -> Incident:
    """One more bucket without a finding; a doubt that passes, and the last of several buckets, end the incident."""
    if incident.clear_at is not None and at <= incident.clear_at:
        return incident
    counted = dataclasses.replace(incident, clear=incident.clear + 1, clear_at=at)
    if incident.state is IncidentState.PENDING:
        return dataclasses.replace(counted, state=target, resolved=now, reason=PASSED)
    if counted.clear < rules.clear:
        return counted
    return dataclasses.replace(counted, state=target, resolved=now, until=None, reason=CLEARED)


def flaps(incident: Incident, began: float, rules: Rules = RULES) -> bool:
    """Whether what began then is this incident again, which has ended, and no new one.

    What follows a level shift is new. What a user has dismissed goes on as dismissed.
    """
    resolved = incident.state is IncidentState.RESOLVED
    if incident.state.is_active or (resolved and incident.reason.startswith((LEVEL_SHIFT, PASSED))):
        return False
    return began - max(incident.seen, incident.clear_at or incident.seen) <= rules.flap


def is_enough(incident: Incident) -> bool:
    """Whether a finding is beyond its limit, so that a pending incident opens at once."""
    return any(finding.weight >= 1 for finding in incident.findings)


def events(before: Incident | None, after: Incident) -> list[News]:
    """What people are told of a change: at most one piece of news, and none while an incident goes on as it was.

    Nobody is told of a doubt, of what was over before anyone knew, nor, while it is snoozed, of what gets worse.
    """
    told = before is not None and before.state in _TOLD
    if after.state is IncidentState.OPEN and not told:
        return [News.OPENED if before is None or before.state is IncidentState.PENDING else News.REOPENED]
    if before is None or not told:
        return []
    if not after.state.is_active:
        return [News.RESOLVED]
    if before.state is IncidentState.SNOOZED and after.state is IncidentState.OPEN:
        return [News.REOPENED]
    if after.state is not IncidentState.SNOOZED and after.severity.rank < before.severity.rank:
        return [News.ESCALATED]
    return []
