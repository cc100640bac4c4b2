"""Messages of ``fourfold-client``: ``PUT /v1/plain/{id}``, with records as they were logged, in JSON.

They become the same tables here, by the same code, that fourfold makes in the process that logs: what differs is where.
Records of a message that do not fit together become several messages, whose names follow from its own, so that it may
be sent again.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import numpy as np
import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fourfold.log import messages
from fourfold.log.wire import written
from fourfold.log.writers import message_id, sent_id
from fourfold.model import Plausible
from fourfold.model.access import Role
from fourfold.sdk.batch import from_records
from fourfold.sdk.host import error_text
from fourfold.sdk.record import Record
from fourfold.serve.access import Refused
from fourfold.serve.bodies import parsed_json
from fourfold.serve.collector import batches
from fourfold.serve.routes import Call, Endpoint

Made = tuple[str, messages.Header, pa.Table | None]


async def put(call: Call) -> Response:
    """Take a message; 204 means that it is durable."""
    message = call.request.path_params["id"]
    if not batches.ID.fullmatch(message):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"{message[:120]!r} is no message's id")
    content = await call.body()
    several = await run_in_threadpool(_several, message, content)
    taken = []
    for name, made in several:
        project = await batches.checked(call, made)
        taken.append((sent_id(name, project), made))
    await call.service.committer.commit(taken)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _several(message: str, content: bytes) -> list[tuple[str, bytes]]:
    """The messages, as an inbox keeps them, that a message becomes.

    Raises:
        InputError: it is no JSON.
        Refused: it is too large, or no message.
    """
    found = []
    try:
        for name, header, table in made_of(message, parsed_json(content)):
            found.append((name, written(header, table)))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError) as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"this is no message of fourfold-client: {error}") from error
    return found


def made_of(message: str, content: Mapping[str, Any]) -> Iterator[Made]:
    """The messages of an inbox that a message becomes.

    Raises:
        ValueError, TypeError, LookupError: it is none.
    """
    header = dict(content["header"])
    if header["kind"] != "records":
        found = content.get("records")
        header.pop("times", None)
        yield message, header, None if found is None else pa.Table.from_pylist(found)
        return
    writer, _, sequence = message.rpartition("-")
    earliest, ahead = header.pop("times")
    records = [_record(header["stream"], *fields) for fields in content["records"]]
    for part, (prepared, error) in enumerate(from_records(records, Plausible(earliest, ahead))):
        name = message if part == 0 else message_id(f"{writer}-{part}", int(sequence))
        if error is None:
            named = messages.records(header["project"], header["stream"], prepared.key, prepared.time)
            yield name, named, prepared.table
        else:
            yield name, messages.rejected(header["project"], header["stream"], error_text(error)), prepared.table


class _Run:
    def __init__(self, id_: str) -> None:
        self.id = id_


class _Shown:
    """What was given as a moment and is none, as it was shown where it was given."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _record(stream: str, data: Any, fields: Any, key: Any, time: Any, logged: int, run: str | None) -> Record:
    values = None if data is None else {name: _value(value) for name, value in data.items()}
    named = {name: _value(value) for name, value in fields.items()}
    marked = None if run is None else _Run(str(run))
    return Record(stream, values, named, _value(key), _value(time), int(logged), marked)


def _value(written: Any) -> Any:
    if isinstance(written, list):
        return [_value(entry) for entry in written]
    if isinstance(written, dict):
        if len(written) == 1 and (read := _READ.get(next(iter(written)))) is not None:
            return read(next(iter(written.values())))
        return {name: _value(value) for name, value in written.items()}
    return written


_READ: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$map": lambda pairs: {name: _value(value) for name, value in pairs.items()},
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$datetime": dt.datetime.fromisoformat,
    "$datetime64": np.datetime64,
    "$date": dt.date.fromisoformat,
    "$time": dt.time.fromisoformat,
    "$timedelta": lambda parts: dt.timedelta(*parts),
    "$decimal": decimal.Decimal,
    "$shown": _Shown,
}

ENDPOINTS = (
    Endpoint(
        "PUT", "/v1/plain/{id}", put, Role.INGEST, "Take a message of fourfold-client",
        bodies={"application/json": {"type": "object"}},
    ),
)  # fmt: skip
