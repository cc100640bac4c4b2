"""Runs as JSON, from any language: ``POST /v1/runs``, at the begin of a run, at its end, and in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from fourfold.errors import InputError
from fourfold.integrations.openlineage import LONGEST_TEXT, moment
from fourfold.log import messages
from fourfold.log.wire import written
from fourfold.model import Artifact, Run, RunStatus, limits
from fourfold.model.access import Role
from fourfold.serve.bodies import parsed_json
from fourfold.serve.collector import schemas
from fourfold.serve.routes import Call, Endpoint, answered

_MOST = 10_000  # runs of a request
_STATUSES = (RunStatus.RUNNING, RunStatus.SUCCEEDED, RunStatus.FAILED)


async def post(call: Call) -> Response:
    """Record what is known of a run, an object, or of several, an array; reports of one run add up by its id."""
    project = await call.project()
    data = parsed_json(await call.body())
    listed = data if isinstance(data, list) else [data]
    if len(listed) > _MOST:
        raise InputError(f"{len(listed):,} runs; send at most {_MOST:,} at once")
    await report(call, project, [_run(given, time.time()) for given in listed])
    return answered({"taken": len(listed)})


async def report(call: Call, project: str, runs: Sequence[Run]) -> None:
    """Make durable what is said of a project's runs.

    Raises:
        Refused: see ``Committer.commit``.
    """
    if runs:
        header = messages.reported(project, [messages.run_text(run) for run in runs])
        committer = call.service.committer
        await committer.commit([(committer.new_id(), written(header))])


def _run(given: Any, now: float) -> Run:
    if not isinstance(given, dict):
        raise InputError(f"a run is an object, and not {type(given).__name__}")
    read = _read(given, _RUN, "run")
    status = RunStatus(read.get("status", RunStatus.RUNNING))
    ended = None if status is RunStatus.RUNNING else read.get("ended", now)
    read["started"] = read.get("started", now if ended is None else ended)
    if ended is not None and ended < read["started"]:
        raise InputError(f"ended={given.get('ended')!r}: a run ends after it has started")
    return Run(**{**read, "status": status, "ended": ended})


def _read(given: Mapping[str, Any], fields: Mapping[str, Callable[[Any, str], Any]], what: str) -> dict[str, Any]:
    """The fields of an object; those that are null are not there.

    Raises:
        InputError: names one that is unknown, missing or wrong.
    """
    if unknown := sorted(given.keys() - fields.keys()):
        raise InputError(f"{what}: unknown field {unknown[0]!r}; known are {', '.join(fields)}")
    read = {name: fields[name](value, name) for name, value in given.items() if value is not None}
    for name in _NEEDED[what]:
        if name not in read:
            raise InputError(f"{what}: {name} is missing")
    return read


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value or len(value) > limits.NAME:
        raise InputError(f"{field}={str(value)[:100]!r}: give a text of 1 to {limits.NAME:,} characters")
    return value


def _long_text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{field}={str(value)[:100]!r}: give a text")
    return value[:LONGEST_TEXT]


def _whole(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InputError(f"{field}={str(value)[:100]!r}: give a whole number, at least 0")
    return value


def _process(value: Any, field: str) -> int:
    if _whole(value, field) >= 2**31:
        raise InputError(f"{field}={value}: no process has such a number")
    return int(value)


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{field}={str(value)[:100]!r}: give an object")
    return value


def _metrics(value: Any, field: str) -> dict[str, float]:
    for name, number in _object(value, field).items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not _is_finite(number):
            raise InputError(f"{field}: {name[:100]!r}={str(number)[:100]!r}: give a finite number")
    return {name: float(number) for name, number in value.items()}


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _status(value: Any, field: str) -> RunStatus:
    if value not in [status.value for status in _STATUSES]:
        raise InputError(f"{field}={str(value)[:100]!r}: give one of {', '.join(_STATUSES)}")
    return RunStatus(value)


def _direction(value: Any, field: str) -> str:
    if value not in ("input", "output"):
        raise InputError(f"{field}={str(value)[:100]!r}: give input or output")
    return str(value)


def _artifacts(value: Any, field: str) -> tuple[Artifact, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InputError(f"{field}: give an array of objects")
    read = [_read(entry, _ARTIFACT, "artifact") for entry in value]
    return tuple(
        Artifact(**{"kind": "dataset", "fingerprint": f"dataset:{entry['name']}", **entry}) for entry in read
    )  # fmt: skip


_RUN: Mapping[str, Callable[[Any, str], Any]] = {
    "id": _text, "component": _text, "status": _status, "started": moment, "ended": moment, "at": moment,
    "parent": _text, "host": _text, "process": _process, "error": _long_text, "code": _object, "params": _object,
    "metrics": _metrics, "artifacts": _artifacts,
}  # fmt: skip
_ARTIFACT: Mapping[str, Callable[[Any, str], Any]] = {
    "name": _text, "direction": _direction, "kind": _text, "fingerprint": _text, "rows": _whole, "details": _object,
}  # fmt: skip
_NEEDED = {"run": ("id", "component"), "artifact": ("name", "direction")}

ENDPOINTS = (
    Endpoint(
        "POST", "/v1/runs", post, Role.INGEST, "Record runs", (schemas.PROJECT,),
        {"application/json": schemas.one_or_several(schemas.RUN)}, schemas.COUNTED,
    ),
)  # fmt: skip
