"""Runs the application until a signal comes."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Sequence

import uvicorn

from fourfold.serve.answering import Answering
from fourfold.serve.app import application
from fourfold.serve.children import COUNT, Children
from fourfold.serve.connections import Connections, most_possible
from fourfold.serve.service import Service

_BACKLOG = 2_048  # connections that wait
_AT_ONCE = 32  # of these are accepted before anything else is done, such as to close others where there are too many
_YOUNG = 50_000  # objects that are made before garbage is looked for: hundreds of requests are under way at once
_END_WITHIN = 10  # seconds for the requests under way when a signal comes


def run(service: Service, host: str, port: int, tell: Callable[[int], None], beside: Sequence[str] = (COUNT,)) -> None:
    """Serve until a signal comes; ``tell`` is told the port once connections are taken.

    ``beside`` names what goes on in processes of their own meanwhile.

    Raises:
        OSError: the address cannot be had.
    """
    with listening(host, port) as bound, Children(beside, service.settings) as children:
        service.committer.committed = children.wake
        service.answering = Answering(service.settings)
        config = uvicorn.Config(
            application(service), log_level="warning", access_log=False, server_header=False, date_header=False,
            timeout_graceful_shutdown=_END_WITHIN, backlog=_AT_ONCE, proxy_headers=False, ws="none",
            http=Connections(most_possible()),  # type: ignore[arg-type]  # uvicorn calls it as it calls a class
        )  # fmt: skip
        tell(bound.getsockname()[1])
        gc.collect()
        gc.freeze()  # what is here stays: to look through it again and again took a third of the time
        gc.set_threshold(_YOUNG)
        _Server(config).run([bound])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, or will in a moment.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: else asyncio leaves Nagle's delay on
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


class _Server(uvicorn.Server):
    """Uvicorn's server, for whom more connections wait than it accepts at once."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See ``uvicorn.Server``."""
        await super().startup(sockets)
        for bound in sockets or ():
            bound.listen(_BACKLOG)
