"""Signing in with a token, and out again.

The browser keeps a secret of its own, never the token: in a cookie that scripts cannot read and that other sites'
requests do not carry. It ends with the token, or after half a day.
"""

from __future__ import annotations

import dataclasses
import time
from http import HTTPStatus

from starlette.responses import Response

from fourfold.model.access import Role, Token
from fourfold.serve.access import COOKIE, LASTING, Refused, token_of
from fourfold.serve.lookups import WRITTEN_WITHIN
from fourfold.serve.pages.fields import fields_of
from fourfold.serve.routes import Call, Endpoint, answered
from fourfold.serve.service import Service
from fourfold.state import tokens

_EXAMPLE = '{"token": "ff_…"}'


async def who(call: Call) -> Response:
    """Who looks: ``name`` and ``role`` (null: nobody may), and the ``projects`` that they may see."""
    try:
        grant = await call.service.access.grant(call.request, Role.VIEWER)
    except Refused:
        return answered({"name": None, "role": None, "signed_in": False, "projects": [], "project": None})
    projects = [project for project in await call.service.projects() if grant.covers(project)]
    return answered(
        {
            "name": grant.token.name if grant.token else None,
            "role": grant.role.value,
            "signed_in": grant.token is not None,
            "projects": projects,
            "project": await _default(dataclasses.replace(call, grant=grant)),
        }
    )


async def _default(call: Call) -> str | None:
    """The project that is meant where none is named; None if several can be."""
    try:
        return await call.project()
    except Refused:
        return None


async def sign_in(call: Call) -> Response:
    """Begin a session: ``{"token": "ff_…"}``. 204 sets the cookie."""
    secret = (await fields_of(call, _EXAMPLE)).get("token")
    if not isinstance(secret, str):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"send {_EXAMPLE}")
    token = token_of(await call.service.known.now(), secret.strip())
    if token is None:
        raise Refused(HTTPStatus.UNAUTHORIZED, "this token is not known, or it was revoked")
    if not token.role.includes(Role.VIEWER):
        raise Refused(HTTPStatus.FORBIDDEN, f"a token of the role {token.role} can send, but not look; use a viewer's")
    session = await call.service.lookups.ask(lambda: _begin(call.service, token), WRITTEN_WITHIN)
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    answer.set_cookie(
        COOKIE, session, max_age=int(LASTING), httponly=True, samesite="strict", secure=call.service.reach.secure
    )
    return answer


async def sign_out(call: Call) -> Response:
    """End the session."""
    if secret := call.request.cookies.get(COOKIE):
        await call.service.lookups.ask(lambda: _end(call.service, secret), WRITTEN_WITHIN)
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=call.service.reach.secure)
    return answer


def _begin(service: Service, token: Token) -> str:
    with service.database.write() as connection:
        return tokens.begin_session(connection, token.id, time.time(), LASTING)


def _end(service: Service, secret: str) -> None:
    with service.database.write() as connection:
        tokens.end_session(connection, secret)


ENDPOINTS = (
    Endpoint("GET", "/session", who, None),
    Endpoint("POST", "/session", sign_in, None),
    Endpoint("DELETE", "/session", sign_out, None),
)
