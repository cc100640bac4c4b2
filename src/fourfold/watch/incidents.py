"""Incidents as users ask for them, what users decide about them, and how good fourfold's own alarms have been."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from fourfold.errors import InputError, UnknownNameError
from fourfold.model import DAY, Incident, IncidentState
from fourfold.query.reader import Reader
from fourfold.query.table import Table, moment
from fourfold.state import Database
from fourfold.state import incidents as kept
from fourfold.watch.lifecycle import PASSED, Event, advance
from fourfold.watch.notify.outbox import enqueue
from fourfold.watch.notify.protocol import Channel
from fourfold.watch.rows import row

_SNOOZE = DAY


class Action(StrEnum):
    """What a user can decide about an incident."""

    CONFIRM = "confirm"
    DISMISS = "dismiss"
    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    RESOLVE = "resolve"


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """How good the alarms were: of those that users judged, how many were real; how many a week; how soon.

    ``delay`` is the median time in seconds from the onset, in event time, to the moment at which it was said.
    """

    confirmed: int
    dismissed: int
    told: int
    weekly: float | None
    delay: float | None

    @property
    def precision(self) -> float | None:
        """The share of the judged incidents that were real."""
        judged = self.confirmed + self.dismissed
        return self.confirmed / judged if judged else None


def incidents(reader: Reader, *, active: bool) -> Table[Incident]:
    """The incidents of a project, the most urgent first: those that have not ended, or all.

    Raises:
        StateError: the state is unusable.
    """
    with reader.database.read() as connection:
        found = kept.load(connection, reader.project, active=True if active else None)
    return Table(sorted(found, key=urgency), columns)


def incident(reader: Reader, id_: str) -> Incident:
    """One incident by its number.

    Raises:
        UnknownNameError: there is none; the message lists those that there are.
    """
    with reader.database.read() as connection:
        found = kept.one(connection, reader.project, _number(id_))
        known = kept.load(connection, reader.project) if found is None else []
    if found is None:
        raise _unknown(id_, known)
    return found


def decide(
    database: Database,
    project: str,
    id_: str,
    action: Action,
    reason: str,
    now: float,
    *,
    until: float | None = None,
    channels: Iterable[Channel] = (),
) -> Incident:
    """Take down what a user decides about an incident, and what of it is news for the channels.

    Args:
        database: the state.
        project: whose incident.
        id_: its number.
        action: what the user decides.
        reason: why, in the user's words.
        now: seconds since 1970.
        until: the end of a snooze (default: a day later).
        channels: those to tell.

    Returns:
        The incident as it is now.

    Raises:
        UnknownNameError: there is no such incident; the message lists those that there are.
        InputError: the decision means nothing in the incident's state.
    """
    with database.write() as connection:  # a check that goes on reads it again before it writes: see ``Seen``
        before = kept.one(connection, project, _number(id_))
        if before is None:
            raise _unknown(id_, kept.load(connection, project))
        ends = (now + _SNOOZE if until is None else until) if action is Action.SNOOZE else None
        after = advance(before, Event(action.value), now, until=ends, reason=reason)
        kept.save(connection, project, after)
        enqueue(connection, project, before, after, channels, now)
    return after


def action_of(name: str) -> Action:
    """An action by its name.

    Raises:
        InputError: there is none of that name.
    """
    try:
        return Action(name)
    except ValueError:
        raise InputError(f"{name!r} is no number of an incident, and none of {', '.join(Action)}") from None


def feedback(reader: Reader) -> dict[str, int]:
    """The series whose findings users have dismissed, each with how often since they last confirmed one of it.

    What is dismissed again and again deserves less trust: the detector asks more of these series.
    """
    with reader.database.read() as connection:
        known = kept.load(connection, reader.project)
    found: Counter[str] = Counter()
    for each in sorted(known, key=lambda incident: incident.opened):
        series = {finding.series for finding in each.findings}
        if each.state is IncidentState.DISMISSED:
            found.update(series)
        elif each.confirmed:
            for name in series:
                found.pop(name, None)
    return dict(found)


def record(known: Sequence[Incident], seconds: float) -> Record:
    """How good the alarms were, of all incidents that people were told of in so many seconds of data."""
    told = [each for each in known if each.state is not IncidentState.PENDING and each.reason != PASSED]
    weeks = max(seconds / (7 * DAY), 1.0)
    delays = [max(each.opened - each.began, 0.0) for each in told]
    return Record(
        sum(each.confirmed for each in told), sum(each.state is IncidentState.DISMISSED for each in told), len(told),
        len(told) / weeks if told else None, statistics.median(delays) if delays else None,
    )  # fmt: skip


def columns(incident: Incident) -> Mapping[str, object]:
    """An incident's row in a table: as ``row``, with times as datetimes and the rest as text."""
    times = {name: moment(getattr(incident, name)) for name in ("began", "began_low", "began_high", "opened")}
    texts = {"where": str(incident.where), "findings": "; ".join(finding.what for finding in incident.findings)}
    return {**row(incident), **times, "resolved": moment(incident.resolved), **texts}


def urgency(incident: Incident) -> tuple[object, ...]:
    """The order of incidents: the most urgent first, then the newest."""
    return not incident.state.is_active, incident.severity.rank, -incident.opened, int(incident.id)


def _number(id_: str) -> str:
    """The number as people write it: "3", "#3"."""
    return id_.strip().removeprefix("#")


def _unknown(id_: str, known: Sequence[Incident]) -> UnknownNameError:
    listed = ", ".join(each.id for each in known[-30:]) or "none yet"
    return UnknownNameError(f"no incident {id_!r}. Known: {listed}.")
