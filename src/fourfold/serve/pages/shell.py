"""The one HTML document that all pages are drawn in. It holds no data, so that it may be shown to everyone."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from fourfold.serve.routes import Call, Endpoint

PATHS = (
    "/", "/sign-in", "/incidents", "/incidents/{id}", "/pipeline", "/tasks", "/tasks/{rest:path}", "/streams",
    "/streams/{rest:path}", "/columns/{rest:path}", "/box", "/runs", "/trace", "/compare",
    "/search", "/settings",
)  # fmt: skip
"""Where the pages are; ``web/src/app.tsx`` has what each of them shows, and a test keeps the two equal."""

_SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>fourfold</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/app.css">
<script src="/static/theme.js"></script>
<script src="/static/app.js" type="module"></script>
</head>
<body>
<div id="app"></div>
<noscript><p>These pages need JavaScript; <code>fourfold status</code> shows the same in a terminal.</p></noscript>
</body>
</html>
"""


async def shell(call: Call) -> Response:
    """The document; the page that its address names is drawn in the browser."""
    call.service.expect_questions()
    return HTMLResponse(_SHELL)


def nowhere(request: Request) -> Response | None:
    """The document, which says that there is no such page, to a browser; None to programs, and under ``/api``."""
    is_api = request.url.path == "/api" or request.url.path.startswith("/api/")
    if request.method not in ("GET", "HEAD") or is_api or "text/html" not in request.headers.get("accept", ""):
        return None
    return HTMLResponse(_SHELL, HTTPStatus.NOT_FOUND)


ENDPOINTS = tuple(Endpoint("GET", path, shell, None) for path in PATHS)
