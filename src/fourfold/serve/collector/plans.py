"""How the columns of a stream are counted: for processes that count their frames themselves."""

from __future__ import annotations

import functools

from starlette.responses import Response

from fourfold.fold.written import plan_to_plain
from fourfold.model import Owner
from fourfold.model.access import Role
from fourfold.serve.routes import Call, Endpoint, answered
from fourfold.state import catalogue


async def plan(call: Call) -> Response:
    """The plan of a stream's columns; that of a stream that is not known is empty."""
    owner = Owner.of_stream(call.request.path_params["stream"])
    database, project = call.service.database, await call.project()
    found = await call.service.lookups.ask(functools.partial(database.recall, catalogue.plan, project, owner))
    return answered(plan_to_plain(found))


ENDPOINTS = (
    Endpoint("GET", "/v1/streams/{stream:name}/plan", plan, Role.INGEST, "How the columns of a stream are counted"),
)
