"""How a route is declared: with the role that it needs. Nothing else is served, so that what is forgotten is shut."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fourfold.errors import ConfigError, FourfoldError, InputError, SchemaError, StoreError, UnknownNameError
from fourfold.model import limits
from fourfold.model.access import Role
from fourfold.serve.access import Grant, Refused
from fourfold.serve.jsons import json_bytes
from fourfold.serve.service import Service

logger = logging.getLogger("fourfold")
AGAIN = {"Retry-After": "2"}  # seconds
FAULT = "a mistake of fourfold's; the server's log has it"
_SLOW = 1.0  # seconds that a body may take before its token is looked at again
UNUSABLE = "the store cannot be used now; the server's log says why"
_STATUS: Mapping[type[FourfoldError], HTTPStatus] = {
    UnknownNameError: HTTPStatus.NOT_FOUND,
    InputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    SchemaError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ConfigError: HTTPStatus.CONFLICT,
    StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Name(Convertor[str]):
    """Any name in a path: with slashes, with line feeds; never none."""

    regex = r"(?s:.+)"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


register_url_convertor("name", Name())


@dataclasses.dataclass(frozen=True)
class Call:
    """A request that may be served: what it asks, what it may do, and what is served."""

    request: Request
    grant: Grant
    service: Service
    role: Role | None  # that it needs

    async def body(self) -> bytes:
        """What it carries, whole (see ``Limited``).

        Raises:
            Refused: it is too large, too slow, or cannot be decompressed; or its token was revoked as it came.
            ClientDisconnect: who sends it is gone.
        """
        begun = time.monotonic()
        message = await self.request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        content: bytes = message["body"]
        if self.role is not None and time.monotonic() - begun > _SLOW:
            await self.service.access.grant(self.request, self.role)
        return content

    async def project(self, named: str | None = None) -> str:
        """The project that it is about: as named, or the query's ``project``, or the only one that it can mean.

        Raises:
            InputError: the project's name is too long.
            Refused: its token is not good for that project, or several can be meant.
            StateError: it is not known which there are: the state does not answer.
        """
        chosen = named or self.request.query_params.get("project") or await self._only()
        if len(chosen) > limits.NAME:
            raise InputError(
                f"project={chosen[:100]!r}…: it has {len(chosen):,} characters; {limits.NAME:,} are possible"
            )
        if not self.grant.covers(chosen):
            raise Refused(HTTPStatus.FORBIDDEN, f"this token is not good for the project {chosen!r}")
        return chosen

    async def _only(self) -> str:
        token, default = self.grant.token, self.service.settings
        if token is not None and token.projects:
            known = list(token.projects)
        elif default.named_by:
            known = [default.project]
        else:
            known = await self.service.projects() or [default.project]
        if len(known) > 1:
            if self.role is Role.INGEST:
                self.service.unnamed.note(self.request, token)
            listed = ", ".join(sorted(known)[:30])
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"name the project, as in ?project=NAME; known: {listed}")
        return known[0]


Handler = Callable[[Call], Awaitable[Response]]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What a request may say in its path or query: ``schema`` is JSON Schema's; ``place`` is "path" or "query"."""

    name: str
    description: str
    schema: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"type": "string"})
    place: str = "query"
    required: bool = False
    repeated: bool = False  # may be given several times


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One method at one path. ``role`` is what it needs; None: it is for everyone, such as the page to sign in.

    ``summary`` and ``parameters`` describe it to programs; so do ``bodies`` and ``answer``, by JSON Schema: what a
    request's body is, by its content type, and what the JSON of an answer is.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    bodies: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    answer: Mapping[str, Any] | None = None


class Served(Route):
    """The endpoints at one path, each behind its role."""

    def __init__(self, path: str, known: Mapping[str, Endpoint], service: Service) -> None:
        super().__init__(path, self._answer, methods=[*known])
        self._known, self._service = known, service

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:  # nobody waits for an answer
            return
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path)
            response = failure(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        endpoint = self._known.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            allowed = {"Allow": ", ".join(sorted(self.methods or ()))}
            return failure(HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.METHOD_NOT_ALLOWED.phrase, allowed)
        try:
            grant = Grant() if endpoint.role is None else await self._service.access.grant(request, endpoint.role)
            return await endpoint.handler(Call(request, grant, self._service, endpoint.role))
        except Refused as refused:
            return failure(refused.status, str(refused), refused.headers)
        except FourfoldError as error:
            status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
            return failure(status, str(error), AGAIN if status == HTTPStatus.SERVICE_UNAVAILABLE else None)
        except (OSError, sa.exc.DatabaseError) as error:
            logger.warning("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
            return failure(HTTPStatus.SERVICE_UNAVAILABLE, UNUSABLE, AGAIN)


def routes(endpoints: Sequence[Endpoint], service: Service) -> list[Served]:
    """The routes of endpoints, each behind its role."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [Served(path, known, service) for path, known in by_path.items()]


def answered(content: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """JSON, in which numbers that JSON does not have are null."""
    return Response(json_bytes(content), status, dict(headers or {}), "application/json")


def failure(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error: what is wrong, and what to do."""
    return answered({"error": {"status": int(status), "message": text}}, status, headers)
