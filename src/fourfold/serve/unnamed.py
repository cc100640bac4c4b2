"""Requests that name no project where several can be meant: they are refused, and noted where people look.

Most clients that send by themselves, such as those of OpenLineage, tell nobody that they were refused; and one that
named no project was understood until the store had a second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from fourfold.errors import FourfoldError
from fourfold.log import Quarantine, new_writer
from fourfold.log.quarantine import NOTED_FOR, Unnamed
from fourfold.model.access import Token

logger = logging.getLogger("fourfold")
WRITE_EVERY = 5.0  # seconds
_MOST = 20  # senders
_LONGEST = 100  # characters of what a sender says of itself


class Noted:
    """The senders of such requests of late, written beside what is in quarantine while there are more of them."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine, self._name = quarantine, new_writer()
        self._known: dict[str, Unnamed] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, request: Request, token: Token | None) -> None:
        """Take down that a request was refused; ``token`` is what it came with."""
        now, sender = time.time(), _sender(request, token)
        if sender not in self._known and len(self._known) >= _MOST:
            sender = "others"
        before = self._known.get(sender)
        if before is None or now - before.last > NOTED_FOR:
            before = Unnamed(sender, "", 0, now, now)
            logger.warning("requests of %s name no project, where several can be meant, and are refused", sender)
        asked = f"{request.method} {request.url.path[:_LONGEST]}"
        self._known[sender] = Unnamed(sender, asked, before.requests + 1, before.first, now)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write them down, and again as long as there are more."""
        written: dict[str, Unnamed] = {}
        while written != self._known:
            written = dict(self._known)
            with contextlib.suppress(OSError, FourfoldError):  # the next one tries again
                await run_in_threadpool(self._quarantine.note_unnamed, self._name, [*written.values()])
            await asyncio.sleep(WRITE_EVERY)


def _sender(request: Request, token: Token | None) -> str:
    host = request.client.host if request.client else "somebody"
    agent = "".join(filter(str.isprintable, request.headers.get("user-agent", "")))[:_LONGEST]
    return f"{f'the token {token.name!r} at ' if token else ''}{host}{f' ({agent})' if agent else ''}"
