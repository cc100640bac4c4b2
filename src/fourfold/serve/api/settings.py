"""The settings' page: tokens, channels, retention; and what users decide about incidents."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.responses import Response

from fourfold.config import seconds_of
from fourfold.errors import ConfigError, InputError
from fourfold.model import seconds
from fourfold.model.access import Role
from fourfold.query.reader import Reader
from fourfold.reports.problems import problems
from fourfold.serve.api.answers import THREADS, project_of
from fourfold.serve.bodies import parsed_json
from fourfold.serve.lookups import WRITTEN_WITHIN
from fourfold.serve.routes import Call, answered
from fourfold.state import tokens
from fourfold.state.objectives import listed
from fourfold.views import forms
from fourfold.views.incident import decided
from fourfold.watch import incidents
from fourfold.watch.incidents import Action
from fourfold.watch.notify import channels
from fourfold.watch.notify.outbox import deliver
from fourfold.watch.rows import iso
from fourfold.watch.settings import watch_settings

_LONGEST = 64 << 10  # bytes of a decision
_TELLING = CapacityLimiter(2)  # threads that tell channels of decisions
_LENGTH = re.compile(r"\d{1,6}[smhdw]")


async def settings(call: Call) -> Response:
    """What is set, and by whom; secrets are not told, and tokens only to who may make some."""
    project = await project_of(call)
    return await anyio.to_thread.run_sync(functools.partial(_settings, call, project), limiter=THREADS)


def _settings(call: Call, project: str) -> Response:
    reader, given = call.service.reader(project), call.service.settings
    try:
        watch = watch_settings(given.watch)
        watched: dict[str, Any] = {
            "days": watch.days, "settle": watch.settle, "mute": list(watch.mute), "tolerance": dict(watch.tolerance),
        }  # fmt: skip
    except ConfigError as error:
        watched = {"error": str(error)}
    data = {
        "project": reader.project, "store": str(reader.folder), "state": reader.database.name, "engine": given.engine,
        "version": metadata.version("fourfold"), "role": call.grant.role.value,
        "tokens": _tokens(call) if call.grant.role is Role.ADMIN and call.grant.covers_all else None,
        "channels": _channels(given.watch.get("notify", {})),
        "retention": [{"stream": stream, "seconds": length} for stream, length in sorted(reader.retention.items())],
        "watch": watched, "objectives": _objectives(reader), "waiting": len(reader.waiting()),
        "problems": [
            {"kind": p.kind, "subject": p.subject, "message": p.message, "advice": p.advice}
            for p in problems(reader, unassigned=call.grant.covers_all)
            if p.kind != "read_only"  # who answers only reads; another process counts
        ],
    }  # fmt: skip
    return answered({"data": data, "charts": {}})


def _objectives(reader: Reader) -> list[dict[str, Any]]:
    return [
        {"name": o.name, "expression": o.expression, "window": o.window_text, "owner": o.owner, "runbook": o.runbook}
        for o in reader.recall(listed).values()
    ]


def _tokens(call: Call) -> list[dict[str, Any]]:
    with call.service.database.read() as connection:
        known = tokens.listed(connection)
    return [
        {
            "id": t.id, "name": t.name, "role": t.role.value, "projects": list(t.projects), "created": iso(t.created),
            "revoked": forms.time(t.revoked),
        }
        for t in known
    ]  # fmt: skip


def _channels(declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The channels by name and kind: where they lead may hold a secret."""
    return [{"name": str(name), "kind": str(name).partition(".")[0]} for name in declared]


async def decide(call: Call) -> Response:
    """Acknowledge, snooze, dismiss or confirm an incident; the body says why, and until when: {"reason", "until"}."""
    now, service, project = time.time(), call.service, await project_of(call)
    reason, until = _fields(await call.body())
    action = incidents.action_of(call.request.path_params["action"])
    ends = _end_of(until, now) if action is Action.SNOOZE and until else None
    made, id_ = channels(service.settings.watch.get("notify", {})), call.request.path_params["id"]
    decision = functools.partial(
        incidents.decide, service.database, project, id_, action, reason, now, until=ends, channels=made
    )
    found = await service.decisions.ask(decision, WRITTEN_WITHIN)  # who does not hear of it may decide again
    telling = functools.partial(deliver, service.database, project, made, now)
    told = await anyio.to_thread.run_sync(telling, limiter=_TELLING)
    untold = [f"{failure.channel}: {failure.error}" for failure in told.failed]
    return answered({"data": {**decided(found), "untold": untold}, "charts": {}})


def _fields(body: bytes) -> tuple[str, str]:
    found = parsed_json(body or b"{}", most=_LONGEST)
    if not isinstance(found, dict) or any(not isinstance(found.get(name, ""), str) for name in ("reason", "until")):
        raise InputError('give an object such as {"reason": "a holiday", "until": "2d"}')
    return found.get("reason", ""), found.get("until", "")


def _end_of(until: str, now: float) -> float:
    """The end of a snooze: a length of time from now on, or a moment."""
    try:
        return now + seconds_of(until, "until") if _LENGTH.fullmatch(until) else float(seconds(until, "until"))
    except (ConfigError, InputError):
        text = f"until={until[:100]!r}: give a length of time, such as '4h' or '2d', or a moment in the future"
        raise InputError(text) from None
