"""Records as JSON, from any language: ``POST /v1/streams/{stream}/records``.

Each record is what ``ff.log`` takes as a dict, and is stored the same.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from time import time_ns
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fourfold.errors import InputError
from fourfold.fold.frames import name_text
from fourfold.model import limits
from fourfold.model.access import Role
from fourfold.sdk.record import Record
from fourfold.sdk.sender import stream_name
from fourfold.serve.access import Refused
from fourfold.serve.bodies import parsed_json
from fourfold.serve.collector import schemas
from fourfold.serve.collector.gathering import Given
from fourfold.serve.routes import Call, Endpoint, Parameter, answered

LINES = ("application/x-ndjson", "application/jsonl", "application/jsonlines")
_LARGE = 1 << 16  # bytes of a body, from which on another thread reads it
_LONGEST_KEY = 1_024  # characters of an Idempotency-Key
_CUT = 2_000  # characters that are kept of what is no record


class RunId(NamedTuple):
    """The run in which records were logged."""

    id: str


async def post(call: Call) -> Response:
    """Log records of a stream: one as an object, several as an array, or one on each line (application/x-ndjson).

    A record that cannot be logged goes to quarantine and costs no other; one whose time cannot be read, or is
    implausible, counts as of now, and "times" in the answer says how many did. With an Idempotency-Key, a request that
    is repeated within a day counts once; one with other records under the same key is another request, and loses none.
    """
    content, project = await call.body(), await call.project()
    read = run_in_threadpool if len(content) > _LARGE else _at_once
    given = await read(_given, call, project, content)
    await call.service.committer.commit(given)
    return taken([given])


def taken(several: Sequence[Given]) -> Response:
    """The answer: how many records were taken, and which of the request's were not, and why.

    ``times``, where some are wrong, says how many, in which way: these records count as of when they came.
    """
    rejected = sorted((place, reason) for given in several for place, reason in given.rejected.items())
    count = sum(given.rows for given in several) - len(rejected)
    said = {"taken": count, "rejected": [{"record": place, "reason": reason} for place, reason in rejected]}
    times = sum((given.mistakes for given in several), collections.Counter[str]())
    return answered({**said, "times": dict(times)} if times else said)


def once(*parts: str) -> str:
    """A name under which something counts once, of a bounded length."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def check_names(names: Sequence[str]) -> None:
    """Reject too many or too long names of columns.

    Raises:
        InputError: says which.
    """
    if len(names) > limits.COLUMNS:
        raise InputError(f"the records have {len(names):,} columns; {limits.COLUMNS:,} are possible")
    if longest := max(names, key=len, default=""):
        _check_name("a column's name", longest)


def check_stream(name: str) -> str:
    """A stream's name, if it can be one.

    Raises:
        InputError: it cannot.
    """
    if not name:
        raise InputError("stream='': name the stream")
    _check_name("the stream's name", name)
    return stream_name(name)


async def _at_once(work: Callable[..., Given], *arguments: Any) -> Given:
    return work(*arguments)


def _given(call: Call, project: str, content: bytes) -> Given:
    """What a request brings.

    Raises:
        InputError: it is no JSON, or names what is not there.
    """
    request = call.request
    stream = check_stream(request.path_params["stream"])
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    rows, spoiled = _lines(content) if kind in LINES else _rows(parsed_json(content))
    if len(rows) + len(spoiled) > limits.RECORDS:
        raise InputError(f"{len(rows) + len(spoiled):,} records; send at most {limits.RECORDS:,} at once")
    names = list({name_text(name): None for _, row in rows for name in row})
    check_names(names)
    query = request.query_params
    keys, time, run = query.getlist("key"), query.get("time"), query.get("run")
    for field, name in (*(("key", name) for name in keys), ("time", time)):
        if name is not None and rows and name not in names:
            raise InputError(f"{field}={name!r} is no field of the records; there are {names[:100]}")
    key = keys[0] if len(keys) == 1 else keys or None
    logged, marker = time_ns(), None if run is None else RunId(run)
    records = [Record(stream, row, {}, key, time, logged, marker) for _, row in rows]
    given = Given(project, stream, records, len(content), places=[place for place, _ in rows], spoiled=spoiled)
    if repeated := request.headers.get("idempotency-key"):
        if len(repeated) > _LONGEST_KEY:
            raise InputError(f"Idempotency-Key: {len(repeated):,} characters; {_LONGEST_KEY:,} are possible")
        said = repeated, repr((keys, time)), _digest(rows, spoiled)
        given.once = [(once(project, stream, "request", *said), 0, len(records))] if records else ()
    return given


Rows = list[tuple[int, dict[str, Any]]]
Spoiled = dict[int, tuple[str, str]]  # by place: what is no record, and why


def _rows(data: Any) -> tuple[Rows, Spoiled]:
    listed = data if isinstance(data, list) else [data]
    rows: Rows = [(place, row) for place, row in enumerate(listed) if isinstance(row, dict)]
    spoiled = {
        place: (json.dumps(row)[:_CUT], f"a record is an object, and not {type(row).__name__}")
        for place, row in enumerate(listed)
        if not isinstance(row, dict)
    }
    if not isinstance(data, (list, dict)):
        raise InputError("the body is neither a record, an object, nor an array of them")
    return rows, spoiled


def _lines(content: bytes) -> tuple[Rows, Spoiled]:
    if len(content) > limits.JSON:
        text = f"{len(content):,} bytes of lines; send at most {limits.JSON:,} at once"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
    rows: Rows = []
    spoiled: Spoiled = {}
    for place, line in enumerate(line for line in content.split(b"\n") if line.strip()):
        try:
            row = parsed_json(line, "the line")
            if not isinstance(row, dict):
                raise InputError(f"a record is an object, and not {type(row).__name__}")
            rows.append((place, row))
        except InputError as error:
            spoiled[place] = line[:_CUT].decode("utf-8", "backslashreplace"), str(error)
    return rows, spoiled


def _digest(rows: Rows, spoiled: Spoiled) -> str:
    """What a request says, however it writes it."""
    text = json.dumps([rows, sorted(spoiled.items())], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _check_name(what: str, name: str) -> None:
    if len(name) > limits.NAME:
        raise InputError(f"{what}, {name[:100]!r}…, has {len(name):,} characters; {limits.NAME:,} are possible")


async def commit_all(call: Call, several: Sequence[Given]) -> None:
    """Make several streams' records durable.

    Raises:
        Refused: see ``Committer.commit``.
    """
    outcomes = await asyncio.gather(
        *(call.service.committer.commit(given) for given in several), return_exceptions=True
    )  # fmt: skip
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def not_served(kind: str, known: Sequence[str]) -> Refused:
    """The refusal of a content type."""
    text = f"Content-Type: {kind[:100]!r} is not taken; send one of {', '.join(known)}"
    return Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/streams/{stream:name}/records", post, Role.INGEST, "Log records",
        (
            schemas.PROJECT, Parameter("key", "The field that identifies a record; several make it up.", repeated=True),
            Parameter("time", "The field with a record's event time; else it is now."),
            Parameter("run", "The id of the run that logs them."),
        ),
        {"application/json": schemas.RECORDS, LINES[0]: {"type": "string"}}, schemas.TAKEN,
    ),
)  # fmt: skip
