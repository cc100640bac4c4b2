"""Answers of pages: each waited for in a thread of its own, remembered while they are true, and as files."""

from __future__ import annotations

import functools
import time
import urllib.parse
from http import HTTPStatus
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.responses import Response

from fourfold.errors import InputError, suggest
from fourfold.model.access import Role
from fourfold.serve.access import Refused
from fourfold.serve.answering import Question, View
from fourfold.serve.api.parameters import FORMAT, LIST, PROJECT
from fourfold.serve.routes import Call, Endpoint, Parameter
from fourfold.views.asking import MOST, unmarked

THREADS = CapacityLimiter(4)  # for pages: taking records in has the others
_FILES = {
    "json": "application/json", "csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet",
}  # fmt: skip


def page_endpoint(
    path: str,
    view: View,
    summary: str,
    *parameters: Parameter,
    listed: bool = False,
    remembered: bool = True,
) -> Endpoint:
    """A page at a path.

    Args:
        path: with the names that the view finds in ``Asked.more``.
        view: what works it out.
        summary: what it is, for programs.
        parameters: what the address may say besides the project.
        listed: whether its main table can be had as a file, and in parts.
        remembered: whether the answer depends on the state alone; one that reads the log does not.
    """
    more = (*LIST, FORMAT) if listed else ()
    declared = tuple(dict.fromkeys(p.name for p in (*parameters, PROJECT, *more)))
    by_name = {p.name: p for p in (*parameters, PROJECT, *more)}

    async def handler(call: Call) -> Response:
        project = await project_of(call)
        work = functools.partial(_answer, call, project, path, view, frozenset(declared), remembered)
        return await anyio.to_thread.run_sync(work, limiter=THREADS)

    return Endpoint("GET", path, handler, Role.VIEWER, summary, tuple(by_name[name] for name in declared))


async def project_of(call: Call) -> str:
    """The project that a request is about.

    Raises:
        UnknownNameError: there is no such project; the message lists those that there are.
        Refused: the token is not good for it, or several can be meant.
    """
    project = await call.project()
    known = [name for name in await call.service.projects() if call.grant.covers(name)]
    if project not in known and (known or call.request.query_params.get("project")):
        raise suggest("project", project, known)
    return project


def segments(call: Call, path: str) -> dict[str, str]:
    """The names in a request's path, in which a slash may be part of a name ("%2F"), and "~." is ".".

    >>> from types import SimpleNamespace
    >>> call = SimpleNamespace(request=SimpleNamespace(scope={"raw_path": b"/api/columns/a%2Fb/c%20d"}))
    >>> segments(call, "/api/columns/{stream:name}/{column:name}")
    {'stream': 'a/b', 'column': 'c d'}

    Raises:
        Refused: there are more names, or fewer.
    """
    raw = call.request.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
    wanted = path.strip("/").split("/")
    given = raw.removeprefix("/").split("/")
    if len(given) != len(wanted):
        text = f"{raw[:200]!r} is none of our addresses: {path}, where a slash of a name is %2F"
        raise Refused(HTTPStatus.NOT_FOUND, text)
    return {
        name.strip("{}").partition(":")[0]: unmarked(urllib.parse.unquote(text, errors="replace"))
        for name, text in zip(wanted, given, strict=True)
        if name.startswith("{")
    }


def _answer(call: Call, project: str, path: str, view: View, known: frozenset[str], remembered: bool) -> Response:
    query = [(name, text) for name, text in call.request.query_params.multi_items() if name != "project"]
    for name, _ in query:
        if name not in known:
            raise suggest("parameter", name, sorted(known))
    names = segments(call, path)
    reader = call.service.reader(project)
    wanted = next((text for name, text in reversed(query) if name == "format"), "")
    if wanted and wanted not in _FILES:
        raise InputError(f"format={wanted!r}: give one of {', '.join(_FILES)}")
    asked = [*((name, text) for name, text in query if name != "format"), *names.items()]
    asked.append(("role", call.grant.role.value))
    if wanted and all(name != "limit" for name, _ in asked):
        asked.append(("limit", str(MOST)))  # a file is of all rows, not of a page's

    def work(now: float) -> bytes:
        return call.service.answer(reader.project, Question(view, asked, wanted, now))

    if not remembered:
        return _response(call, work(time.time()), "", wanted, path)
    key = (path, reader.project, wanted, tuple(asked))
    answer = call.service.answers.get(key, reader.database.system.version, work)
    return _response(call, answer.body, answer.etag, wanted, path)


def _response(call: Call, body: bytes, etag: str, wanted: str, path: str) -> Response:
    headers: dict[str, Any] = {"Cache-Control": "private, no-cache"}
    if etag:
        headers["ETag"] = etag
    if etag and etag in call.request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if wanted:
        name = path.split("/")[2]
        headers["Content-Disposition"] = f'attachment; filename="fourfold-{name}.{wanted}"'
    return Response(body, HTTPStatus.OK, headers, _FILES[wanted or "json"])
