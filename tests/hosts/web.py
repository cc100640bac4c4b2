"""A web application, by WSGI and by ASGI: a request logs the record that its path names."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import fourfold as ff

ff.init()  # with --preload, in the parent of all workers
ff.log("starts", key=f"start-{os.getpid()}", score=1.0)


@ff.component("predict")
def predict(key: str) -> float:
    ff.log("predict", key=key, score=0.5, process=os.getpid())
    return 0.5


def wsgi(environ: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
    predict(environ["PATH_INFO"].removeprefix("/"))
    start("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


async def asgi(scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        ff.flush()  # uvicorn ends by the signal, without the interpreter's own exit
        await send({"type": "lifespan.shutdown.complete"})
        return
    predict(scope["path"].removeprefix("/"))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
