"""CloudEvents 1.0 as records: ``POST /v1/events``, in structured, batched and binary mode."""

from __future__ import annotations

from collections.abc import Sequence
from time import time_ns

from starlette.responses import Response

from fourfold.errors import InputError
from fourfold.integrations.cloudevents import BATCHED, STRUCTURED, Event, binary, is_binary, structured
from fourfold.model import limits
from fourfold.model.access import Role
from fourfold.sdk.record import Record
from fourfold.serve.bodies import parsed_json
from fourfold.serve.collector import schemas
from fourfold.serve.collector.gathering import Given
from fourfold.serve.collector.records import (
    check_names,
    check_stream,
    commit_all,
    not_served,
    once,
    taken,
)
from fourfold.serve.routes import Call, Endpoint, Parameter


async def post(call: Call) -> Response:
    """Log CloudEvents: one as an object or by headers (ce-*), several as an array; each counts once by source and id.

    The type is the stream (or ?stream=), the subject the key, the time the event time, and the data the columns.
    """
    content = await call.body()
    events = _events(call, content)
    if len(events) > limits.RECORDS:
        raise InputError(f"{len(events):,} events; send at most {limits.RECORDS:,} at once")
    project, named, logged = await call.project(), call.request.query_params.get("stream"), time_ns()
    by_stream: dict[str, list[tuple[int, Event]]] = {}
    for place, event in enumerate(events):
        by_stream.setdefault(check_stream(named or event.type), []).append((place, event))
    if len(by_stream) > limits.STREAMS:
        raise InputError(
            f"events of {len(by_stream):,} types, which are streams; send those of {limits.STREAMS:,} at once at most, "
            "or name one stream for all by ?stream="
        )
    for placed in by_stream.values():
        check_names(list({name: None for _, event in placed for name in event.fields}))
    several = [
        Given(
            project, stream,
            [Record(stream, None, dict(event.fields), event.subject, event.time, logged, None) for _, event in placed],
            len(content) // len(by_stream),
            [(once(project, "event", event.source, event.id), number, 1) for number, (_, event) in enumerate(placed)],
            [place for place, _ in placed],
        )
        for stream, placed in by_stream.items()
    ]  # fmt: skip
    await commit_all(call, several)
    return taken(several)


def _events(call: Call, content: bytes) -> Sequence[Event]:
    headers = call.request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        return [structured(parsed_json(content))]
    if kind == BATCHED:
        listed = parsed_json(content)
        if not isinstance(listed, list):
            raise InputError("a batch of events is an array")
        return [structured(event) for event in listed]
    if is_binary(headers):
        return [binary(headers, content)]
    raise not_served(kind, (STRUCTURED, BATCHED, "any with the headers of binary mode (ce-specversion, …)"))


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/events", post, Role.INGEST, "Log CloudEvents",
        (schemas.PROJECT, Parameter("stream", "The stream; else the event's type.")),
        {STRUCTURED: schemas.EVENT, BATCHED: {"type": "array", "items": schemas.EVENT}}, schemas.TAKEN,
    ),
)  # fmt: skip
