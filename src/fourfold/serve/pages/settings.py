"""What the page of settings changes: tokens are made and revoked, and a channel is tried."""

from __future__ import annotations

import dataclasses
import functools
import time
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fourfold.errors import suggest
from fourfold.model import Group, Incident, IncidentState, Severity, Where, limits
from fourfold.model.access import Role, Token
from fourfold.serve.access import Refused
from fourfold.serve.lookups import WRITTEN_WITHIN
from fourfold.serve.pages.fields import fields_of
from fourfold.serve.routes import Call, Endpoint, answered
from fourfold.serve.service import Service
from fourfold.state import tokens
from fourfold.watch.lifecycle import News
from fourfold.watch.notify import Channel, DeliveryError, channels
from fourfold.watch.notify.message import Message, labels_of
from fourfold.watch.settings import watch_settings

_EXAMPLE = '{"name": "a service", "role": "ingest", "projects": []}'
_LONGEST = 200  # characters of a name


async def make(call: Call) -> Response:
    """Make a token: ``{"name", "role", "projects"}``. The answer holds its secret, which nobody can read again."""
    given = await fields_of(call, _EXAMPLE)
    name, role, projects = given.get("name"), given.get("role", "ingest"), given.get("projects", [])
    if not isinstance(name, str) or not 0 < len(name.strip()) <= _LONGEST:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"name={str(name)[:60]!r}: give 1 to {_LONGEST} characters")
    if role not in list(Role):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"role={str(role)[:60]!r}: give one of {', '.join(Role)}")
    if not isinstance(projects, list) or not all(isinstance(p, str) and 0 < len(p) <= limits.NAME for p in projects):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"projects={str(projects)[:60]!r}: give a list of names")
    if not all(map(call.grant.covers, projects or [""])):
        raise Refused(HTTPStatus.FORBIDDEN, "a token of some projects makes tokens of these only; name them")
    if (await call.service.known.now()).is_empty and role != Role.ADMIN:
        raise Refused(
            HTTPStatus.CONFLICT, "the first token must be an admin's: with it the store is shut to all who have none"
        )
    asked = functools.partial(_make, call.service, name.strip(), Role(role), projects)
    made, secret = await call.service.lookups.ask(asked, WRITTEN_WITHIN)
    return answered({"data": {"id": made.id, "name": made.name, "role": made.role, "secret": secret}})


async def revoke(call: Call) -> Response:
    """Revoke a token, and the sessions that began with it."""
    asked = functools.partial(_revoke, call, call.request.path_params["id"])
    await call.service.lookups.ask(asked, WRITTEN_WITHIN)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def try_channel(call: Call) -> Response:
    """Tell a channel of an incident that is none, and that it is over. 204 means that the channel took both."""
    name = call.request.path_params["name"]
    known = {channel.name: channel for channel in channels(watch_settings(call.service.settings.watch).notify)}
    if name not in known:
        raise suggest("channel", name, [*known])
    try:
        await run_in_threadpool(_try, known[name], await call.project())
    except DeliveryError as error:
        raise Refused(HTTPStatus.BAD_GATEWAY, str(error)) from error
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _make(service: Service, name: str, role: Role, projects: list[str]) -> tuple[Token, str]:
    with service.database.write() as connection:
        return tokens.create(connection, name, role, projects, time.time())


def _revoke(call: Call, id_: str) -> None:
    with call.service.database.write() as connection:
        mine = [token for token in tokens.listed(connection) if all(map(call.grant.covers, token.projects or [""]))]
        valid = [token.id for token in mine if token.revoked is None]
        if id_ not in valid or not tokens.revoke(connection, id_, time.time()):
            raise suggest("token", id_, valid)


def _try(channel: Channel, project: str) -> None:
    now = time.time()
    nothing = Incident(
        id="test", state=IncidentState.OPEN, severity=channel.severity or Severity.NOTICE,
        title="A test of this channel: nothing is wrong", kind="test", group=Group.STATELESS_SINGLE,
        began=now, began_low=now, began_high=now, opened=now, where=Where(component="test"),
    )  # fmt: skip
    over = dataclasses.replace(nothing, state=IncidentState.RESOLVED, resolved=now)
    for event, incident in ((News.OPENED, nothing), (News.RESOLVED, over)):
        identity = f"test-{channel.name}-{now:.3f}-{event}"
        channel.send(Message(identity, project, event, incident, now, labels_of(incident)), now)


ENDPOINTS = (
    Endpoint("POST", "/api/tokens", make, Role.ADMIN, "Make a token"),
    Endpoint("DELETE", "/api/tokens/{id}", revoke, Role.ADMIN, "Revoke a token"),
    Endpoint("POST", "/api/channels/{name}/test", try_channel, Role.ADMIN, "Try a channel"),
)
