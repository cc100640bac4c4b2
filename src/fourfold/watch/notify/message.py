"""What a channel sends: a piece of news of an incident, as data and as plain text. Pure.

Titles and names come from users' data and are hostile: ``plain`` takes from them what has effects in any channel, and
each channel escapes them for its own format.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from fourfold.model import Incident, IncidentState
from fourfold.watch.lifecycle import News
from fourfold.watch.rows import iso

FIRING = "firing"  # a repetition for a receiver that forgets, which is no news
_LONGEST = 300  # characters of a text from users
_SHOWN = 5  # findings that a text lists


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """News of an incident. ``identity`` is the same however often it is sent, so that a receiver can tell.

    ``labels`` are names of what the incident was about when this channel first heard of it: they stay.
    """

    identity: str
    project: str
    event: str
    incident: Incident
    created: float
    labels: Mapping[str, str]

    @property
    def fires(self) -> bool:
        """Whether the incident goes on."""
        return self.event != News.RESOLVED

    def to_json(self) -> str:
        """As text, for the outbox."""
        fields = {"project": self.project, "event": self.event, "created": self.created, "labels": dict(self.labels)}
        whole = {"identity": self.identity, **fields, "incident": json.loads(self.incident.to_json())}
        return json.dumps(whole, ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Message:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return Message(**{**fields, "incident": Incident.from_json(json.dumps(fields["incident"]))})


def labels_of(incident: Incident) -> dict[str, str]:
    """What routes and groups an incident's messages: short names, none of them empty."""
    where = incident.where
    found = {
        "kind": incident.kind, "component": where.component, "stream": where.stream, "column": where.column,
        "task": where.task, "objective": where.objective, "owner": incident.owner,
    }  # fmt: skip
    return {name: plain(value) for name, value in found.items() if value}


def plain(text: str, longest: int = _LONGEST) -> str:
    """A text on one line, of characters that are seen, of limited length.

    >>> plain("a\\nSubject: b"), plain("abcdef", 4)
    ('a\\\\nSubject: b', 'abc…')
    """
    seen = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: longest + 1])
    return seen if len(seen) <= longest else seen[: longest - 1] + "…"


def headline(message: Message) -> str:
    """What happened, in one line."""
    incident = message.incident
    event = "dismissed" if incident.state is IncidentState.DISMISSED else message.event
    return f"[{incident.severity.value}] {plain(message.project, 60)} #{incident.id} {event}: {plain(incident.title)}"


def details(message: Message) -> list[tuple[str, str]]:
    """The rest, as names and values: since when, where, which objectives, what was found, what to do."""
    incident = message.incident
    where = str(incident.where)
    found = [
        ("since", f"{iso(incident.began)} (between {iso(incident.began_low)} and {iso(incident.began_high)})"),
        ("until", iso(incident.resolved) if incident.resolved is not None else ""),
        ("began in", where),
        ("objectives", ", ".join(incident.objectives)),
        ("because", incident.reason),
        ("owner", incident.owner),
        ("runbook", incident.runbook),
    ]
    found += [("finding", finding.what) for finding in incident.findings[:_SHOWN]]
    if more := len(incident.findings) - _SHOWN:
        found += [("finding", f"… and {more} more")] if more > 0 else []
    advice = dict.fromkeys(finding.advice for finding in incident.findings[:_SHOWN] if finding.advice)
    found += [("advice", text) for text in advice]
    return [(name, plain(value)) for name, value in found if value]
