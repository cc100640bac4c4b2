"""Limits on what a request may carry, before anything looks at it.

A request's body is read when its route asks for it, so after its sender is known: whole, within a time, without its
compression, and never more of it than the limits allow, however much a few compressed bytes claim to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Iterator
from http import HTTPStatus

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fourfold.model import limits
from fourfold.serve.access import Refused
from fourfold.serve.headers import header
from fourfold.serve.routes import failure

ENCODINGS = ("zstd", "gzip")
_PIECE = 1 << 20  # bytes that are decompressed at once
_INLINE = 1 << 16  # bytes of a compressed body, up to which another thread costs more than it saves
_AS_IT_IS = "/v1/messages/"  # where what comes is written to the disk as it is
_CLOSE = {"Connection": "close"}  # the rest of the body is not read


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large and how slow a body may be: bytes as it comes and without its compression, bytes of all bodies that are
    here at once, and seconds for each piece and for the whole.
    """

    body: int = limits.BODY
    unpacked: int = limits.UNPACKED
    held: int = 256 << 20
    piece_within: float = 10.0
    whole_within: float = 120.0


class Limited:
    """Middleware: bodies within limits, without their compression."""

    def __init__(self, app: ASGIApp, allowed: Limits = Limits()) -> None:
        self._app, self._allowed = app, allowed
        self._held = 0  # bytes of the bodies that are here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header(scope, b"content-length") or ""
        if length.isascii() and length.isdigit() and int(length[:20]) > self._allowed.body:
            refused = _too_large(self._allowed.body)
            await failure(refused.status, str(refused), refused.headers)(scope, receive, send)
            return
        weight = 1 if scope["path"].startswith(_AS_IT_IS) else limits.AS_VALUES
        body = _Body(self, receive, (header(scope, b"content-encoding") or "").strip().lower(), weight)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._held -= body.held

    def hold(self, size: int) -> None:
        """Make room for so many bytes more.

        Raises:
            Refused: there is none.
        """
        if self._held + size > self._allowed.held:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too much is on its way at once; try again",
                {"Retry-After": "1", **_CLOSE},
            )
        self._held += size

    @property
    def allowed(self) -> Limits:
        """The limits."""
        return self._allowed


class _Body:
    """The body of one request; without its compression, what it is made of takes ``weight`` times as much memory."""

    def __init__(self, limited: Limited, receive: Receive, encoding: str, weight: int) -> None:
        self._limited, self._receive, self._encoding, self._weight = limited, receive, encoding, weight
        self._read = False
        self.held = 0

    async def receive(self) -> Message:
        """The whole body as one message, and then what else comes.

        Raises:
            Refused: it is too large, too slow, or cannot be decompressed.
        """
        if self._read:
            return await self._receive()
        self._read = True
        if self._encoding not in ("", "identity", *ENCODINGS):
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Encoding: {self._encoding[:100]!r} is unknown; send one of {', '.join(ENCODINGS)}, or none",
                {"Accept-Encoding": ", ".join(ENCODINGS), **_CLOSE},
            )
        content = await self._whole()
        if content is None:
            return {"type": "http.disconnect"}
        if self._encoding in ENCODINGS:
            if len(content) > _INLINE:
                content = await run_in_threadpool(self._unpacked, content)
            else:
                content = self._unpacked(content)
        self._hold((self._weight - 1) * min(len(content), limits.JSON))
        return {"type": "http.request", "body": content, "more_body": False}

    async def _whole(self) -> bytes | None:
        """All bytes as they come; None where the sender is gone."""
        allowed, until = self._limited.allowed, time.monotonic() + self._limited.allowed.whole_within
        pieces: list[bytes] = []
        while True:
            try:
                async with asyncio.timeout(min(allowed.piece_within, until - time.monotonic())):
                    message = await self._receive()
            except TimeoutError:
                raise Refused(
                    HTTPStatus.REQUEST_TIMEOUT, "the request's body did not come; send it again", _CLOSE
                ) from None
            if message["type"] != "http.request":
                return None
            piece = message.get("body", b"")
            if self.held + len(piece) > allowed.body:
                raise _too_large(allowed.body)
            self._hold(len(piece))
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _unpacked(self, content: bytes) -> bytes:
        pieces: list[bytes] = []
        size = 0
        with _readable(self._encoding):
            source = pa.CompressedInputStream(pa.BufferReader(content), self._encoding)
            while piece := source.read(min(_PIECE, self._limited.allowed.unpacked - size + 1)):
                size += len(piece)
                if size > self._limited.allowed.unpacked:
                    raise _too_large(self._limited.allowed.unpacked, "without its compression ")
                self._hold(len(piece))
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hold(self, size: int) -> None:
        self._limited.hold(size)
        self.held += size


@contextlib.contextmanager
def _readable(encoding: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        text = f"the body cannot be decompressed as {encoding}: {str(error)[:200]}"
        raise Refused(HTTPStatus.BAD_REQUEST, text) from error


def _too_large(most: int, how: str = "") -> Refused:
    text = f"the body is larger than {most:,} bytes {how}".rstrip() + "; send it in parts"
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, _CLOSE)
