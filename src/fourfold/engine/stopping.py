"""Stops a counting thread as soon as possible: a process that ends must not leave a thread in native code."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol, TypeVar

from fourfold.errors import FourfoldError

LONGEST = 30.0  # seconds that are waited for a thread


class Interruptible(Protocol):
    """What a thread asks of an engine: a connection of DuckDB, or the jobs of a Spark session."""

    def interrupt(self) -> None:
        """End what is asked at the moment with an error."""

    def close(self) -> None:
        """Ask nothing further."""


_Asked = TypeVar("_Asked", bound=Interruptible)
_stopped: set[int] = set()  # threads that have been told to end
_connections: dict[int, Interruptible] = {}  # what each thread asks at the moment


class StoppedError(FourfoldError):
    """Counting was stopped; its results are discarded, and it is repeated the next time."""


def stop(thread: threading.Thread) -> None:
    """Stop a thread at its next batch, and its query at once; return when it has ended, or give up."""
    name = thread.ident
    if name is None:
        return
    _stopped.add(name)
    give_up = monotonic() + LONGEST
    while thread.is_alive() and monotonic() < give_up:
        connection = _connections.get(name)
        if connection is not None:
            connection.interrupt()
        thread.join(0.1)
    _stopped.discard(name)  # another thread may have that name now


def check() -> None:
    """Go on, unless this thread was stopped.

    Raises:
        StoppedError: it was.
    """
    if threading.get_ident() in _stopped:
        raise StoppedError("counting was stopped")


@contextmanager
def stoppable(connection: _Asked) -> Iterator[_Asked]:
    """While this lasts, ``stop`` interrupts this thread's queries; the connection is closed at the end."""
    thread = threading.get_ident()
    check()
    outer = _connections.get(thread)
    _connections[thread] = connection
    try:
        yield connection
    finally:
        if outer is None:
            _connections.pop(thread, None)
        else:
            _connections[thread] = outer
        connection.close()
