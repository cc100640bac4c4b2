"""What is checked of every request before any route sees it, and what every answer carries.

A page elsewhere can make a browser send requests here. The host that it names must be one of ours, so that a foreign
name that leads here is refused (DNS rebinding); and what changes something must come from our own pages, or from
something that is no browser.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fourfold.serve.headers import header
from fourfold.serve.routes import failure
from fourfold.serve.service import Reach

POLICY = "; ".join(
    [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
        "font-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    ]
)  # fmt: skip
_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_SHOWN = [
    *_ALWAYS,
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]
_SENDING = "/v1/"  # where programs send records: no browser shows what is answered there, thousands of times a second
_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Middleware: refuses foreign hosts and origins, and adds the headers that keep browsers strict."""

    def __init__(self, app: ASGIApp, reach: Reach) -> None:
        self._app, self._reach = app, reach

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        own = _ALWAYS if scope["path"].startswith(_SENDING) else _SHOWN

        async def strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(header for header in own if header[0] not in told)]
            await send(message)

        if why := self._wrong(scope):
            await failure(*why)(scope, receive, strictly)
        else:
            await self._app(scope, receive, strictly)

    def _wrong(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        host = header(scope, b"host") or ""
        if _name(host) not in self._reach.hosts:
            return HTTPStatus.MISDIRECTED_REQUEST, (
                f"this server is not known as {host[:200]!r}; name it with 'fourfold serve --allow-host NAME'"
            )
        origin = header(scope, b"origin")
        if scope["method"] not in _READING and origin is not None and _netloc(origin) != host.lower():
            return HTTPStatus.FORBIDDEN, f"a page of {origin[:200]!r} may not change anything here"
        return None


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _netloc(origin: str) -> str | None:
    """The host of an Origin header, with its port; None where it cannot be read."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
