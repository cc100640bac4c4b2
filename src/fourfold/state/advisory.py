"""Locks that the server keeps for a session, and gives to others once that session has ended.

A session ends with its process, with the connection, and where its process stands still: a thread says every few
seconds that it does not, and without that the server ends it. A process that stood still and goes on must not write,
as another may hold the lock by then. So each lock has a number in the table ``fence``: who acquires the lock takes the
next one, and each writing transaction of its holder begins by comparing (see ``PostgreSQL``), and keeps the number from
changing until it is committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from filelock import Timeout

from fourfold.state.session import STALL_SECONDS

_BEAT_SECONDS = 10
_NEXT_NUMBER = (
    "INSERT INTO fence VALUES (%s, 1, extract(epoch FROM clock_timestamp())) "
    "ON CONFLICT (name) DO UPDATE SET number = fence.number + 1, at = excluded.at RETURNING number"
)


def key_of(schema: str, name: str) -> int:
    """The number of a lock among those of the database."""
    digest = hashlib.blake2b(f"fourfold {schema} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class AdvisoryLock:
    """See ``Lock``. ``number`` is that of the newest time that it was acquired."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        schema: str,
        name: str,
        held: Callable[[], list[AdvisoryLock]],
        explained: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self.name, self.number = name, 0
        self._connect, self._key, self._explained = connect, key_of(schema, name), explained
        self._connection: psycopg.Connection[Any] | None = None
        self._released = threading.Event()
        self._times = 0
        self._process = os.getpid()
        self._held_by_thread, self._held = held, held()

    def acquire(self, timeout: float = -1) -> None:
        """See ``Lock``.

        Raises:
            Timeout: another holds it for longer.
            StateError: the server cannot be reached.
        """
        if self._process != os.getpid():  # in a child of a fork, which holds nothing
            self._process, self._connection, self._times, self._inherited = os.getpid(), None, 0, self._connection
        if self._times == 0:
            with self._explained():
                self._take(timeout)
        self._times += 1

    def release(self) -> None:
        """See ``Lock``."""
        if self._process != os.getpid() or self._times == 0:
            return
        self._times -= 1
        if self._times == 0:
            self._held.remove(self)
            self._released.set()
            self._close()

    def __enter__(self) -> AdvisoryLock:
        self.acquire()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.release()

    def _take(self, timeout: float) -> None:
        self._connection = self._connect()
        try:
            if not self._try(self._connection, timeout):
                raise Timeout(self.name)
            row = self._connection.execute(_NEXT_NUMBER, (self.name,)).fetchone()
            assert row is not None
            self.number = row[0]
        except BaseException:
            self._close()
            raise
        self._released = threading.Event()
        beats = threading.Thread(
            target=_beat, args=(self._connection, self._released), name="fourfold-lock", daemon=True
        )
        beats.start()
        self._held = self._held_by_thread()
        self._held.append(self)

    def _try(self, connection: psycopg.Connection[Any], timeout: float) -> bool:
        """Whether the server gave the lock; from then on it ends the session where nobody uses it."""
        limit = "0" if timeout < 0 else f"{max(1, math.ceil(timeout * 1_000))}ms"
        connection.execute("SELECT set_config('idle_session_timeout', %s, false)", (f"{STALL_SECONDS}s",))
        if timeout == 0:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()
            return row is not None and bool(row[0])
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (limit,))
                connection.execute("SELECT pg_advisory_lock(%s)", (self._key,))
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _beat(connection: psycopg.Connection[Any], released: threading.Event) -> None:
    """Say every few seconds that this process does not stand still, until the lock is released or lost."""
    with contextlib.suppress(psycopg.Error):
        while not released.wait(_BEAT_SECONDS):
            connection.execute("SELECT 1")
