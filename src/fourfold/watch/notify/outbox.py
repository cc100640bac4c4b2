"""The outbox: what is to be told of incidents, kept until it has arrived.

A notice is a row, written in the transaction that changes its incident: neither is there without the other. To send
one, a process first claims it, in a transaction of its own; no other takes it then. If the process dies, the claim
expires and the notice is sent again, with the same identity: *at least once*, and a receiver that looks at the
identity (PagerDuty's ``dedup_key``, Alertmanager's labels, a webhook's ``id``, an e-mail's Message-ID) sees it once.

News of one incident arrive at a channel in order; what cannot be delivered is tried again, later each time, for ever.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from fourfold.errors import FourfoldError
from fourfold.model import HOUR, Incident, IncidentState
from fourfold.state import Database, StateError, incidents, notices
from fourfold.state.database import readable
from fourfold.state.notices import Notice
from fourfold.watch.lifecycle import News, events
from fourfold.watch.notify.message import FIRING, Message, labels_of
from fourfold.watch.notify.protocol import Channel, DeliveryError

CLAIM = 120.0  # seconds for which a claim holds; longer than any sending takes
_FIRST, _LONGEST = 30.0, float(HOUR)  # seconds until the second try, and between later ones at most
_PATIENCE = 24.0 * HOUR  # the longest that a receiver may ask to wait
MOST = ((3, HOUR), (10, 24 * HOUR))  # news of one incident a channel gets: so many within so many seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Undelivered:
    """A notice that has not arrived, and why."""

    channel: str
    incident: str
    error: str


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one delivery."""

    sent: int
    failed: tuple[Undelivered, ...]


def enqueue(
    connection: sa.Connection,
    project: str,
    before: Incident | None,
    after: Incident,
    channels: Iterable[Channel],
    now: float,
) -> None:
    """Put what is news of a change into the outbox, for each channel that wants it; call it where ``after`` is saved.

    A channel gets only so much of one incident in an hour and a day (``MOST``): more waits, and is dropped if it is
    over before its time comes. A channel that knows of an incident learns of its end whatever its severity is then.
    """
    for event in events(before, after):
        known = notices.of_incident(connection, project, after.id)
        for channel in channels:
            _enqueue(connection, project, after, event, channel, [n for n in known if n.channel == channel.name], now)


def _enqueue(
    connection: sa.Connection,
    project: str,
    incident: Incident,
    event: News,
    channel: Channel,
    known: Sequence[Notice],
    now: float,
) -> None:
    told = [notice for notice in known if notice.event != FIRING]
    if event is News.RESOLVED:
        while told and _is_held_back(told[-1]):
            notices.remove(connection, told.pop().id)
        if not told or told[-1].event == News.RESOLVED:
            return
    elif incident.severity.rank > channel.severity.rank:
        return
    labels = _labels(told[0].body) if told else labels_of(incident)
    number = 1 + sum(notice.event == event for notice in told)
    identity = f"{project}-{incident.id}-{event}-{number}"
    created = max(now, told[-1].created + 0.001) if told else now  # in order, also of two at one time
    again = now if event is News.RESOLVED else max(now, _allowed([notice.created for notice in told]))
    body = Message(identity, project, event, incident, created, labels).to_json()
    added = Notice(f"{identity}/{channel.name}", channel.name, incident.id, event, body, created, 0, again)
    notices.add(connection, project, [added])


def deliver(
    database: Database, project: str, channels: Iterable[Channel], now: float, *, chance: float | None = None
) -> Delivery:
    """Send what is due, each notice once, also if several processes deliver at the same time.

    After a channel has failed, the rest of what is for it waits for the next delivery. A notice for a channel that is
    not declared (any more) stays until it is.

    Args:
        database: the state.
        project: whose notices.
        channels: the declared channels.
        now: seconds since 1970.
        chance: between 0 and 1, what the time until the next try is drawn by.

    Raises:
        StateError: the state cannot be used.
    """
    named = {channel.name: channel for channel in channels}
    began, sent, failed = time.monotonic(), 0, []
    blocked: set[tuple[str, str]] = set()  # news that may not pass an earlier one
    down: set[str] = set()
    with database.read() as connection:
        waiting = notices.waiting(connection, project)
    for notice in waiting:
        channel, place = named.get(notice.channel), (notice.channel, notice.incident)
        if channel is None or notice.channel in down or place in blocked:
            continue
        moment = now + time.monotonic() - began
        if notice.event != FIRING:
            blocked.add(place)
        with database.write() as connection:
            if not _claimed(connection, project, notice, moment):
                continue
            current = incidents.one(connection, project, notice.incident) if notice.event == FIRING else None
        message, error = _try(channel, notice, current, moment)
        with database.write() as connection:
            if error is None:
                _arrived(connection, project, notice, message, channel, now)
                sent += message is not None
                blocked.discard(place)
                continue
            wait = min(error.after or 0.0, _PATIENCE) or pause(
                notice.tries + 1, random.random() if chance is None else chance
            )
            notices.failed(connection, notice.id, str(error), moment + wait)
        failed.append(Undelivered(channel.name, notice.incident, str(error)))
        if not error.refused:
            down.add(channel.name)
    return Delivery(sent, tuple(failed))


def pause(tries: int, chance: float) -> float:
    """The seconds to wait after so many tries: twice as long each time, up to an hour, by chance up to half less, so
    that receivers that come back are not met by all at once.

    >>> [pause(tries, 1.0) for tries in (1, 2, 3, 20)], pause(1, 0.0)
    ([30.0, 60.0, 120.0, 3600.0], 15.0)
    """
    longest = min(_FIRST * 2.0 ** min(tries - 1, 20), _LONGEST)
    return longest * (0.5 + 0.5 * chance)


def _arrived(
    connection: sa.Connection, project: str, notice: Notice, message: Message | None, channel: Channel, now: float
) -> None:
    """Note that a notice has arrived; for a receiver that forgets, one that repeats it follows."""
    if notice.event == FIRING:
        if message is None:
            notices.remove(connection, notice.id)
        elif channel.repeat is not None:
            notices.postpone(connection, notice.id, now + channel.repeat)
        return
    notices.sent(connection, notice.id, now)
    if channel.repeat is None or message is None:
        return
    identity = f"{project}-{notice.incident}-{FIRING}"
    id_ = f"{identity}/{channel.name}"
    notices.remove(connection, id_)
    if message.fires:
        body = dataclasses.replace(message, identity=identity, event=FIRING).to_json()
        again = Notice(id_, channel.name, notice.incident, FIRING, body, now, 0, now + channel.repeat)
        notices.add(connection, project, [again])


def _claimed(connection: sa.Connection, project: str, notice: Notice, now: float) -> bool:
    """Whether this process may send a notice: it is due, and no other process has it, nor is repeating older news."""
    if notice.again > now:
        return False
    others = notices.of_incident(connection, project, notice.incident) if notice.event != FIRING else []
    if any(n.channel == notice.channel and n.event == FIRING and n.is_claimed(now) for n in others):
        return False
    return notices.claim(connection, notice.id, now, now + CLAIM)


def _try(
    channel: Channel, notice: Notice, current: Incident | None, now: float
) -> tuple[Message | None, DeliveryError | None]:
    """Send a notice: what was sent, and why it has not arrived; nothing is sent of what no longer fires."""
    try:
        message = _message(notice, current)
        if message is not None:
            channel.send(message, now)
    except DeliveryError as error:
        return None, error
    except Exception as error:  # a mistake of ours, or a damaged notice: it costs no other notice anything
        # its text may hold a secret, unless it is ours
        text = str(error) if isinstance(error, FourfoldError) else type(error).__name__
        return None, DeliveryError(text, refused=True)
    return message, None


def _message(notice: Notice, current: Incident | None) -> Message | None:
    """What a notice says; a repetition says how the incident is now, and nothing if it no longer fires."""
    with readable(f"the notice {notice.id}"):
        message = Message.from_json(notice.body)
    if notice.event != FIRING:
        return message
    if current is None or current.state not in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED):
        return None
    return dataclasses.replace(message, incident=current)


def _labels(body: str) -> dict[str, str]:
    try:
        with readable("a notice"):
            return dict(Message.from_json(body).labels)
    except StateError:  # an incident is not lost for what was said of it earlier
        return {}


def _is_held_back(notice: Notice) -> bool:
    """Whether a notice waits because there were too many, so that nobody misses it if it is dropped."""
    return notice.sent is None and notice.tries == 0 and notice.again > notice.created


def _allowed(created: Sequence[float]) -> float:
    """From when on one more notice is within the limits, after those of these times."""
    newest = sorted(created, reverse=True)
    return max((newest[most - 1] + span for most, span in MOST if len(newest) >= most), default=0.0)
