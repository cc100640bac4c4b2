"""The files of the pages, as ``make web`` built them: compressed once, and asked for again only if they changed."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
from http import HTTPStatus
from importlib import resources

from starlette.responses import Response

from fourfold.serve.access import Refused
from fourfold.serve.routes import Call, Endpoint

_KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@dataclasses.dataclass(frozen=True)
class File:
    """A file that is served."""

    content: bytes
    compressed: bytes
    kind: str
    etag: str


@functools.cache
def files() -> dict[str, File]:
    """All files, by name."""
    found = {}
    for path in resources.files("fourfold.serve").joinpath("static").iterdir():
        kind = _KINDS.get(path.name[path.name.rfind(".") :])
        if kind is not None:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = File(content, gzip.compress(content, mtime=0), kind, etag)
    return found


async def static(call: Call) -> Response:
    """A file."""
    file = files().get(call.request.path_params["name"])
    if file is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such file")
    headers = {"Cache-Control": "no-cache", "ETag": file.etag, "Vary": "Accept-Encoding"}
    if call.request.headers.get("if-none-match") == file.etag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if "gzip" in call.request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.kind)
    return Response(file.content, headers=headers, media_type=file.kind)


ENDPOINTS = (Endpoint("GET", "/static/{name}", static, None),)
