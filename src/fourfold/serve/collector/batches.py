"""Messages as fourfold's own processes write them: ``PUT /v1/messages/{id}``, each once however often it is sent."""

from __future__ import annotations

import re
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fourfold.engine import check_slices
from fourfold.errors import ConfigError
from fourfold.log import DamagedMessageError, messages
from fourfold.log.checking import check_sent
from fourfold.log.wire import opened
from fourfold.log.writers import sent_id
from fourfold.model.access import Role
from fourfold.serve.access import Refused
from fourfold.serve.routes import Call, Endpoint

ID = re.compile(r"[0-9A-Za-z_-]{1,100}-[0-9]{12}")
_LARGE = 1 << 18  # bytes of a message, from which on another thread reads it


async def put(call: Call) -> Response:
    """Take a message: the bytes of an inbox's file, under its id. 204 means that it is durable."""
    message = call.request.path_params["id"]
    if not ID.fullmatch(message):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"{message[:120]!r} is no message's id")
    content = await call.body()
    project = await checked(call, content)
    await call.service.committer.commit([(sent_id(message, project), content)])
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def checked(call: Call, content: bytes) -> str:
    """The project of a message that can be taken.

    Raises:
        Refused: it is none, or one that would harm its stream, or its project, or is for a project that is not allowed.
    """
    said = await run_in_threadpool(_read, content) if len(content) > _LARGE else _read(content)
    project = await call.project(said.project)
    if isinstance(said, messages.Declared):
        try:
            await run_in_threadpool(check_slices, said.task, f"task {said.task.name!r}")
        except ConfigError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    return project


def _read(content: bytes) -> messages.Content:
    try:
        opening, table = opened(content, "the body")
        said = opening.content
        check_sent(said, table, opening.nested)
    except (DamagedMessageError, messages.UnreadableMessageError, messages.NewerMessageError) as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    return said


ENDPOINTS = (
    Endpoint(
        "PUT", "/v1/messages/{id}", put, Role.INGEST, "Take a message of fourfold's own processes",
        bodies={"application/vnd.apache.arrow.file": {"contentMediaType": "application/vnd.apache.arrow.file"}},
    ),
)  # fmt: skip
