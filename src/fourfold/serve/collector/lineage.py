"""OpenLineage: ``POST /api/v1/lineage`` and ``/api/v1/lineage/batch``, where its clients send their events."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from fourfold.errors import InputError
from fourfold.integrations.openlineage import run_of
from fourfold.model.access import Role
from fourfold.serve.bodies import parsed_json
from fourfold.serve.collector import schemas
from fourfold.serve.collector.runs import report
from fourfold.serve.routes import Call, Endpoint, answered

_MOST = 10_000  # events of a batch


async def post(call: Call) -> Response:
    """Take an event of OpenLineage 2-0-2: one of a run is recorded, those of a job or a dataset alone are not."""
    project = await call.project()
    return await _take(call, project, [parsed_json(await call.body())])


async def post_batch(call: Call) -> Response:
    """Take an array of OpenLineage events."""
    project = await call.project()
    events = parsed_json(await call.body())
    if not isinstance(events, list):
        raise InputError("a batch of events is an array")
    if len(events) > _MOST:
        raise InputError(f"{len(events):,} events; send at most {_MOST:,} at once")
    return await _take(call, project, events)


async def _take(call: Call, project: str, events: list[Any]) -> Response:
    runs = [run for event in events if (run := run_of(event)) is not None]
    await report(call, project, runs)
    return answered({"taken": len(runs), "ignored": len(events) - len(runs)})


ENDPOINTS = (
    Endpoint(
        "POST", "/api/v1/lineage", post, Role.INGEST, "Take an OpenLineage event", (schemas.PROJECT,),
        {"application/json": schemas.LINEAGE}, schemas.COUNTED,
    ),
    Endpoint(
        "POST", "/api/v1/lineage/batch", post_batch, Role.INGEST, "Take OpenLineage events", (schemas.PROJECT,),
        {"application/json": {"type": "array", "items": schemas.LINEAGE}}, schemas.COUNTED,
    ),
)  # fmt: skip
