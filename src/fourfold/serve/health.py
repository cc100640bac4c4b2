"""Whether the server works: for load balancers and people's scripts."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response

from fourfold.serve.routes import Call, Endpoint


async def healthz(call: Call) -> Response:
    """200 while the state can be read."""
    call.service.projects()
    return PlainTextResponse("ok\n")


ENDPOINTS = (Endpoint("GET", "/healthz", healthz, None),)
