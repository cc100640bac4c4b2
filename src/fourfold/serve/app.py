"""The application: all endpoints, behind their roles and the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from fourfold.serve import api, health, openapi, pages
from fourfold.serve.collector import endpoints as collector
from fourfold.serve.guard import Guard
from fourfold.serve.limits import Limited
from fourfold.serve.routes import Endpoint, failure, routes
from fourfold.serve.service import Service

DESCRIBED: tuple[Endpoint, ...] = (*health.ENDPOINTS, *collector.ENDPOINTS, *api.ENDPOINTS)
ENDPOINTS: tuple[Endpoint, ...] = (*DESCRIBED, openapi.endpoint(DESCRIBED), *pages.ENDPOINTS)


def application(service: Service) -> Starlette:
    """The ASGI application of a service; it closes the service when it ends."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.close()

    return Starlette(
        routes=routes(ENDPOINTS, service),
        middleware=[Middleware(Guard, service.reach), Middleware(Limited)],
        exception_handlers={HTTPException: _not_served, Exception: _failed},
        lifespan=lifespan,
    )


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return failure(HTTPStatus(error.status_code), error.detail, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return failure(HTTPStatus.INTERNAL_SERVER_ERROR, "a mistake of fourfold's; the server's log has it")
