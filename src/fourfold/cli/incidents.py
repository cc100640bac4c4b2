"""``fourfold incidents``: what is wrong, one of it in detail, and what users decide about it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from fourfold.cli.grid import Grid, right, spare, wide
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json, settings_of
from fourfold.cli.render import number, span
from fourfold.cli.screen import Words, console
from fourfold.config import seconds_of
from fourfold.errors import InputError
from fourfold.model import DAY, Finding, Incident, IncidentState, Severity, percent
from fourfold.query.reader import Reader
from fourfold.state import bulk, notices
from fourfold.watch import incidents as asked
from fourfold.watch.incidents import Action, Record
from fourfold.watch.notify import channels
from fourfold.watch.notify.outbox import deliver
from fourfold.watch.rows import iso, row

_COLOURS = {Severity.PAGE: "bold red", Severity.TICKET: "yellow", Severity.NOTICE: "cyan"}
_SHOWN = 20  # findings of an incident


def command(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID | ACTION ID [REASON]]",
            help="One incident by its number; or what you decide about it: confirm, dismiss, acknowledge, snooze,"
            " resolve.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    length: Annotated[str, typer.Option("--for", help="How long to snooze: 4h, 2d.")] = "1d",
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """List incidents, show one, or confirm, dismiss, acknowledge, snooze or resolve it.

    What you confirm and dismiss teaches fourfold: it asks more of what you have dismissed.
    """
    given = list(words or ())
    opened = open_store(store, project)
    reader = opened.reader
    if not given:
        _list(reader, every, json)
        return
    if len(given) == 1 and given[0] not in list(Action):
        found = asked.incident(reader, given[0])
    else:
        found = _decided(reader, given, length, settings_of(store, project).watch.get("notify", {}), json)
    if json:
        print_json([row(found)])
    else:
        console().print(_whole(reader, found))


def _decided(reader: Reader, words: list[str], length: str, declared: Mapping[str, Any], quiet: bool) -> Incident:
    action = asked.action_of(words[0])
    if len(words) < 2:
        raise InputError(f"{action.value} which incident? Write fourfold incidents {action.value} ID [REASON]")
    now, made = time.time(), channels(declared)
    until = now + seconds_of(length, "--for") if action is Action.SNOOZE else None
    reason = " ".join(words[2:])
    found = asked.decide(reader.database, reader.project, words[1], action, reason, now, until=until, channels=made)
    for failure in deliver(reader.database, reader.project, made, now).failed if not quiet else ():
        console().print(Words(f"{failure.channel} has not been told yet: {failure.error}", style="yellow"))
    return found


def _list(reader: Reader, every: bool, json: bool) -> None:
    found = asked.incidents(reader, active=not every)
    if json:
        print_json([row(incident) for incident in found])
        return
    draw_list(reader, found)


def draw_list(reader: Reader, found: Sequence[Incident]) -> None:
    """Incidents, with how good the alarms have been."""
    known = asked.incidents(reader, active=False)
    screen = console()
    if not found:
        screen.print("No incidents." if known else "No incidents so far.")
    else:
        table = Grid("", "severity", "state", "since", wide("what"), spare("objectives"), spare("owner"))
        for incident in found:
            table.add_row(
                Words(incident.id, style="bold"), severity_of(incident), _state(incident), moment_of(incident.began),
                incident.title, ", ".join(incident.objectives) or "–", incident.owner or "–",
            )  # fmt: skip
        screen.print(table)
    screen.print(_foot(reader, asked.record(known, _length(reader))))


def _length(reader: Reader) -> float:
    """The days that have records, in seconds: what lies between a replayed year and today was not watched."""
    with reader.database.read() as connection:
        return DAY * len(bulk.buckets(connection, reader.project, DAY))


def _foot(reader: Reader, record: Record) -> RenderableType:
    """How good the alarms were, and which news have not arrived."""
    lines = []
    if record.told:
        parts = [f"{number(record.weekly)} incidents a week"]
        if record.precision is not None:
            judged = record.confirmed + record.dismissed
            parts.append(f"{record.confirmed} of {judged} judged were real ({percent(record.precision)})")
        if record.delay is not None:
            when = f"{span(record.delay)} than they began" if record.delay else "as they began"
            parts.append(f"in the median, told {when}")
        lines.append(Words("; ".join(parts), style="dim"))
    with reader.database.read() as connection:
        waiting = [notice for notice in notices.waiting(connection, reader.project) if notice.error]
    for notice in waiting[:3]:
        text = (
            f"{notice.channel} has not been told of {notice.incident} yet, after {_tries(notice.tries)}: {notice.error}"
        )
        lines.append(Words(text, style="yellow"))
    return Group(*lines)


def _tries(number: int) -> str:
    return "1 try" if number == 1 else f"{number} tries"


def _whole(reader: Reader, incident: Incident) -> RenderableType:
    """One incident with all that is known of it."""
    about = Grid("", wide(""))
    between = f" (between {moment_of(incident.began_low)} and {moment_of(incident.began_high)})"
    entries = [
        ("state", _state(incident).plain + (f", {incident.reason}" if incident.reason else "")),
        ("since", moment_of(incident.began) + (between if incident.began_low < incident.began_high else "")),
        ("opened", moment_of(incident.opened)),
        ("ended", moment_of(incident.resolved) if incident.resolved is not None else ""),
        ("began in", str(incident.where)),
        ("kind", f"{incident.kind} ({incident.group.value})"),
        ("objectives", ", ".join(incident.objectives)),
        ("owner", incident.owner),
        ("runbook", incident.runbook),
        ("reopened", f"{incident.reopened} times" if incident.reopened else ""),
    ]
    for name, value in entries:
        if value:
            about.add_row(Words(name, style="dim"), value)
    table = Grid(wide("found"), right("value"), right("expected"), right("records"), "since")
    for finding in incident.findings[:_SHOWN]:
        table.add_row(
            f"{finding.where}: {finding.what}", number(finding.value), _expected(finding), number(finding.n),
            moment_of(finding.began),
        )  # fmt: skip
    title = Words.assemble((f"{incident.id} ", "bold"), severity_of(incident), " ", Words(incident.title, style="bold"))
    parts: list[RenderableType] = [title, about, Words(), table]
    if (more := len(incident.findings) - _SHOWN) > 0:
        parts.append(Words(f"… and {more:,} more", style="dim"))
    parts += [Words(text) for text in dict.fromkeys(f.advice for f in incident.findings[:_SHOWN] if f.advice)]
    return Group(*parts, *_told(reader, incident))


def _told(reader: Reader, incident: Incident) -> list[RenderableType]:
    """Who has been told of what."""
    with reader.database.read() as connection:
        sent = notices.of_incident(connection, reader.project, incident.id)
    if not sent:
        return []
    table = Grid("channel", "news", "when", wide(""))
    for notice in sent:
        when = moment_of(notice.sent) if notice.sent is not None else "waits"
        table.add_row(notice.channel, notice.event, when, Words(notice.error or "", style="yellow"))
    return [Words(), table]


def _expected(finding: Finding) -> str:
    if finding.low is not None and finding.high is not None:
        return f"{number(finding.low)} – {number(finding.high)}"
    return number(finding.expected)


def severity_of(incident: Incident) -> Words:
    """An incident's severity, in its colour while the incident goes on."""
    ended = not incident.state.is_active
    return Words(incident.severity.value, style="dim" if ended else _COLOURS[incident.severity])


def _state(incident: Incident) -> Words:
    text = incident.state.value
    if incident.state is IncidentState.SNOOZED and incident.until is not None:
        text += f" until {moment_of(incident.until)}"
    return Words(text + (", confirmed" if incident.confirmed else ""))


def moment_of(seconds: float) -> str:
    """A moment as people read it: a midnight is a day."""
    text = iso(seconds)
    return text[:10] if text.endswith("T00:00:00Z") else text[:16].replace("T", " ")
