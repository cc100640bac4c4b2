"""Signing in with a token, and out again.

The browser keeps a secret of its own, never the token: in a cookie that scripts cannot read and that other sites'
requests do not carry. It ends with the token, or after half a day.
"""

from __future__ import annotations

import dataclasses
import json
import time
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fourfold.model.access import Role, Token
from fourfold.serve.access import COOKIE, LASTING, Refused
from fourfold.serve.routes import Call, Endpoint, answered
from fourfold.serve.service import Service
from fourfold.state import tokens

_LONGEST = 4_096  # bytes of a request to sign in


async def who(call: Call) -> Response:
    """Who looks: ``name`` and ``role`` (null: nobody may), whether they signed in, and which ``projects`` they may see."""
    try:
        grant = call.service.access.grant(call.request, Role.VIEWER)
    except Refused:
        return answered({"name": None, "role": None, "signed_in": False, "projects": [], "project": None})
    projects = [project for project in call.service.projects() if grant.covers(project)]
    return answered(
        {
            "name": grant.token.name if grant.token else None,
            "role": grant.role.value,
            "signed_in": grant.token is not None,
            "projects": projects,
            "project": _default(dataclasses.replace(call, grant=grant)),
        }
    )


def _default(call: Call) -> str | None:
    """The project that is meant where none is named; None if several can be."""
    try:
        return call.project()
    except Refused:
        return None


async def sign_in(call: Call) -> Response:
    """Begin a session: ``{"token": "ff_…"}``. 204 sets the cookie."""
    token = call.service.access.token_of(await _secret(call))
    if token is None:
        raise Refused(HTTPStatus.UNAUTHORIZED, "this token is not known, or it was revoked")
    if not token.role.includes(Role.VIEWER):
        raise Refused(HTTPStatus.FORBIDDEN, f"a token of the role {token.role} can send, but not look; use a viewer's")
    secret = await run_in_threadpool(_begin, call.service, token)
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    answer.set_cookie(
        COOKIE, secret, max_age=int(LASTING), httponly=True, samesite="strict", secure=call.service.reach.secure
    )
    return answer


async def sign_out(call: Call) -> Response:
    """End the session."""
    if secret := call.request.cookies.get(COOKIE):
        await run_in_threadpool(_end, call.service, secret)
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=call.service.reach.secure)
    return answer


async def _secret(call: Call) -> str:
    content = b""
    async for chunk in call.request.stream():
        content += chunk
        if len(content) > _LONGEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request to sign in has at most {_LONGEST} bytes")
    try:
        fields = json.loads(content)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or not isinstance(fields.get("token"), str):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, 'send {"token": "ff_…"}')
    return str(fields["token"]).strip()


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
