"""What a database system must do to hold a state: a file per system does it, ``sqlite`` and ``postgres``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from fourfold.errors import StoreError


class StateError(StoreError):
    """The state is unusable: damaged, locked for long, full or out of reach."""


class LostLockError(StateError):
    """A lock was lost while its holder stood still, and another process has taken over: nothing was written."""


class Lock(Protocol):
    """A lock that one thread of one process holds, and that is free again when that process dies.

    Who holds it may acquire it again, and releases it as often.
    """

    def acquire(self, timeout: float = -1) -> Any:
        """Wait for the lock, for as many seconds at most; -1: for ever.

        Raises:
            filelock.Timeout: another holds it for longer.
            OSError, StateError: it cannot be taken.
        """

    def release(self) -> None:
        """Let others have it."""

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...


class System(Protocol):
    """A database that holds one state.

    ``name`` is what messages call it, ``subject`` the same in short; neither has a password in it. ``advice`` is what
    to do about a damaged state. ``errors`` are those of the driver, and of what it stands on.
    """

    name: str
    subject: str
    advice: str
    writable: bool

    @property
    def engine(self) -> sa.Engine:
        """What connects to it, in any process: a child of a fork gets connections of its own."""

    def prepare(self) -> None:
        """Before it is opened: make what it needs, and see whether it can be written."""

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that sees one state and changes nothing."""

    def write(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that waits for other writers; one of a thread that has lost a lock changes nothing.

        Raises:
            LostLockError: it has.
        """

    def migrating(self, connection: sa.Connection) -> AbstractContextManager[object]:
        """While this lasts, no other process migrates."""

    def is_foreign(self, connection: sa.Connection) -> str:
        """What else than a state is there, in words; empty where there is nothing, or a state."""

    def lock(self, name: str) -> Lock:
        """A lock of this state."""

    def version(self) -> Hashable:
        """What differs once another connection has written."""

    def identity(self) -> Hashable | None:
        """What tells this state from another in its place; None where there is none."""

    def changed(self) -> float:
        """When it was written last, in seconds since 1970."""

    def fill(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert many rows, as they are stored, into a table that has none of them: as quickly as the system can."""

    def number_above(self, connection: sa.Connection) -> None:
        """Once series have come with their numbers: let new ones take higher numbers."""

    def faults(self, connection: sa.Connection) -> list[str]:
        """Damage, in words."""

    def erase_deleted(self) -> str:
        """Remove the deleted bytes from the disk; returns what keeps some of them, or nothing."""

    def blame(self, error: Exception) -> str:
        """Why the system cannot be used and what to do; empty for errors that are not the system's."""

    def close(self) -> None:
        """Close all connections."""
