"""Whether the server works: for load balancers and people's scripts."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import PlainTextResponse, Response

from fourfold.errors import FourfoldError
from fourfold.serve.routes import AGAIN, UNUSABLE, Call, Endpoint, failure


async def healthz(call: Call) -> Response:
    """200, and 503 after the state did not answer or could not be read; who asks waits for nothing."""
    if (why := call.service.known.failure()) is not None:
        return failure(HTTPStatus.SERVICE_UNAVAILABLE, str(why) if isinstance(why, FourfoldError) else UNUSABLE, AGAIN)
    return PlainTextResponse("ok\n")


ENDPOINTS = (Endpoint("GET", "/healthz", healthz, None),)
