"""The connections of a server: no more than it has room for, and none that keeps its place without a request.

Whoever reaches the port can open connections and send nothing, or half a request, before anything knows who they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_WITHIN = 20.0  # seconds for the head of a request
WHOLE_WITHIN = 600.0  # seconds for all of one: more than a body and a page may take together
_MOST = 10_000  # connections at once
_OTHER_FILES = 256  # that are left for files, the state's connections and the processes beside
_ENOUGH = 65_536  # files that may be open: a system may allow a process billions, of which some make lists


class Connections:
    """Those that are open, the oldest first; makes the protocol of each.

    Args:
        most: how many there may be; one more takes the place of the oldest one without a request.
        head_within, whole_within: seconds, after which one is closed.
    """

    def __init__(self, most: int = _MOST, head_within: float = HEAD_WITHIN, whole_within: float = WHOLE_WITHIN) -> None:
        self._most, self._head, self._whole = most, head_within, whole_within
        self._open: dict[Connection, tuple[float, object]] = {}  # since when each has been as it is, and how that is
        self._looking: asyncio.TimerHandle | None = None

    def __call__(self, **given: Any) -> Connection:
        """The protocol of a new connection, made of what uvicorn gives it."""
        return Connection(self, **given)

    def made(self, connection: Connection) -> None:
        """One was opened."""
        if len(self._open) >= self._most:
            oldest = next((each for each in self._open if each.is_idle), connection)
            oldest.transport.abort()
            self._open.pop(oldest, None)
        self._open[connection] = time.monotonic(), connection.standing
        if self._looking is None:
            self._look()

    def lost(self, connection: Connection) -> None:
        """One was closed."""
        self._open.pop(connection, None)

    def _look(self) -> None:
        """Close those that have taken too long; look again as long as there are any."""
        now = time.monotonic()
        for connection, (since, standing) in [*self._open.items()]:
            if connection.standing != standing:
                self._open[connection] = now, connection.standing
            elif now - since > (self._head if connection.is_idle else self._whole):
                connection.transport.abort()
        again = min(self._head, self._whole) / 4
        self._looking = asyncio.get_running_loop().call_later(again, self._look) if self._open else None


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two classes of uvicorn's
    """Uvicorn's protocol of HTTP, which says when a connection begins and ends."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way: not one has begun, or the newest one's answer is on its way out."""
        answered = self.cycle is None or bool(self.cycle.response_complete)
        return answered and not self.transport.get_write_buffer_size()

    @property
    def standing(self) -> object:
        """What is different once something has happened: another request began, or one was answered."""
        return self.cycle, self.is_idle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._all.made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._all.lost(self)
        super().connection_lost(exc)


def most_possible() -> int:
    """How many connections there may be, once the process may open as many files as the system lets it."""
    if sys.platform == "win32":
        return _MOST
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS allows fewer than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return min(_MOST, max(soft - _OTHER_FILES, soft // 2))
