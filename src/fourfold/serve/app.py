"""The application: all endpoints, behind their roles and the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Router
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from fourfold.serve import api, health, openapi, pages
from fourfold.serve.collector import endpoints as collector
from fourfold.serve.guard import Guard
from fourfold.serve.limits import Limited
from fourfold.serve.pages import shell
from fourfold.serve.routes import Endpoint, failure, routes
from fourfold.serve.service import Service

DESCRIBED: tuple[Endpoint, ...] = (*health.ENDPOINTS, *collector.ENDPOINTS, *api.ENDPOINTS)
ENDPOINTS: tuple[Endpoint, ...] = (*DESCRIBED, openapi.endpoint(DESCRIBED), *pages.ENDPOINTS)


def application(service: Service) -> Router:
    """The ASGI application of a service; it closes the service when it ends."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.close()

    return Router(
        routes(ENDPOINTS, service), default=_unknown, lifespan=lifespan,
        middleware=[Middleware(Guard, service.reach), Middleware(Limited)],
    )  # fmt: skip


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for what is not there."""
    if scope["type"] != "http":
        await WebSocketClose()(scope, receive, send)
        return
    answer = shell.nowhere(Request(scope)) or failure(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase)
    await answer(scope, receive, send)
