"""The connection to the state store, brought up to date by migrations when it is opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from fourfold.errors import ConfigError, StoreError
from fourfold.state.sqlite import SQLite
from fourfold.state.system import Lock, LostLockError, StateError, System
from fourfold.state.tables import metadata

__all__ = ["HEAD", "Database", "LostLockError", "StateError", "alembic_config", "open_state", "readable"]

HEAD = "0011"  # the newest migration; a test compares it with the folder
_MEND = "'fourfold doctor --mend' sets a damaged state aside and rebuilds it from the logs"
_SCHEMES = ("postgresql://", "postgresql+psycopg://")
_IDLE_SECONDS = 20  # after which a question reads in another transaction: a server ends those that stand still
T = TypeVar("T")


class Database:
    """The state of one store, which several processes read and write at once.

    If it cannot be written, it can still be read (``writable`` is False). A replaced one, as after ``fourfold doctor
    --mend``, is reopened; a removed one is an error until it is back.

    Raises:
        StateError: from each method too, where the state cannot be used; it says what to do.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self._remembered: tuple[Hashable, dict[Hashable, Any]] = (None, {})
        self._lock = threading.Lock()
        self._asked = threading.local()  # ``question``: what a thread is answering
        with self._explained(disk=True):
            system.prepare()
            self._migrate()
            self._identity = system.identity()

    @property
    def name(self) -> str:
        """What messages call it: its file, or its address without a password."""
        return self.system.name

    @property
    def writable(self) -> bool:
        """Whether this process can write it."""
        return self.system.writable

    @property
    def engine(self) -> sa.Engine:
        """What connects to it, for what ``read`` and ``write`` do not do."""
        return self.system.engine

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the store and changes nothing; within a question, the question's."""
        question = self._question
        with self._explained():
            if question is None:
                with self.system.read() as connection:
                    yield connection
                return
            try:
                yield question.connection(self.system.read)
            except BaseException:
                question.rest()  # a failed transaction takes no more statements
                raise

    def recall(self, read: Callable[..., T], *arguments: Any) -> T:
        """What a function of a connection reads, remembered (see ``remember``)."""

        def work() -> T:
            with self.read() as connection:
                return read(connection, *arguments)

        return self.remember((read, *arguments), work)

    def recall_together(self, reads: Iterable[Callable[..., object]], *arguments: Any) -> None:
        """Read in one transaction, for ``recall``, what several functions of the same arguments read.

        A transaction of its own for each would cost a server three more messages each.
        """
        known = self._known()
        if missing := [read for read in reads if (read, *arguments) not in known]:
            with self.read() as connection:
                known.update({(read, *arguments): read(connection, *arguments) for read in missing})

    def remember(self, key: Hashable, work: Callable[[], T]) -> T:
        """A result computed from the state, cached until any process writes.

        What it gives is shared and must not be changed.
        """
        known = self._known()
        if key not in known:
            known[key] = work()
        found: T = known[key]
        return found

    @contextmanager
    def question(self) -> Iterator[None]:
        """While this thread answers one question, its parts see one state, and are not asked for one by one.

        Whether somebody has written is asked once, and what it reads, it reads in one transaction: on a server, each
        costs three messages.
        """
        if self._question is not None:  # a part of another question
            yield
            return
        question = self._asked.question = _Question(self._known())
        try:
            yield
        finally:
            self._asked.question = None
            question.rest()

    @property
    def _question(self) -> _Question | None:
        found: _Question | None = getattr(self._asked, "question", None)
        return found

    def _known(self) -> dict[Hashable, Any]:
        """What was read since somebody wrote last, or had when the question began."""
        if (question := self._question) is not None:
            return question.known
        with self._lock, self._explained():
            version = self.system.version()
            if self._remembered[0] != version:
                self._remembered = version, {}
            return self._remembered[1]

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end, or not at all; writers wait for each other.

        Raises:
            LostLockError: this thread has lost a lock that it acquired; nothing was written.
        """
        if (question := self._question) is not None:
            question.rest()
        with self._explained(), self.system.write() as connection:
            yield connection

    @contextmanager
    def attempt(self, connection: sa.Connection) -> Iterator[None]:
        """A part of a transaction that is undone alone if it fails, so that the others can be committed."""
        with self._explained(), connection.begin_nested():
            yield

    def lock(self, name: str) -> Lock:
        """A lock of the store: "fold" is that of who takes and counts, "watch" that of who judges."""
        return self.system.lock(name)

    def changed(self) -> float:
        """When the state was written last, in seconds since 1970."""
        with self._explained(disk=True):
            return self.system.changed()

    def erase_deleted(self) -> str:
        """Remove the deleted bytes from the disk; returns what keeps some of them, or nothing."""
        with self._explained():
            return self.system.erase_deleted()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self.system.close()

    def faults(self) -> list[str]:
        """Damage: pages that contradict each other, and missing tables."""
        with self._explained(), self.engine.connect() as connection:
            found = self.system.faults(connection)
            present = set(sa.inspect(connection).get_table_names())
        missing = sorted(metadata.tables.keys() - present)
        found = [" ".join(str(fault).split()) for fault in found]
        return found + [f"the table {name!r} is missing" for name in missing]

    def reopen_if_replaced(self) -> None:
        """Leave the state that was opened where there is another in its place, or none.

        Raises:
            StateError: it is gone, or cannot be used.
        """
        with self._explained(disk=True):
            if (now := self.system.identity()) == self._identity:
                return
            with self._lock:
                self.system.close()
                self._remembered = None, {}
                if now is None:
                    raise StateError(
                        f"{self.name} is gone: bring the store's state back, or begin a new one with ff.init"
                    )
                self._migrate()
                self._identity = self.system.identity()

    @contextmanager
    def _explained(self, *, disk: bool = False) -> Iterator[None]:
        """Errors of the database as our own, without SQL; those of what a statement says are not the database's.

        Those of the disk are only where nothing of the caller's runs meanwhile.
        """
        try:
            yield
        except Exception as error:
            if (isinstance(error, OSError) and not disk) or not (why := self.system.blame(error)):
                raise
            raise StateError(f"the state at {self.name} cannot be used: {why}") from error

    def _migrate(self) -> None:
        with self.engine.connect() as connection:
            if self._version(connection) == HEAD:
                return
        if not self.writable:
            raise StateError(f"{self.name} has an older version, or none; ask once as a user who can write there")
        with self.engine.connect() as connection, self.system.migrating(connection):
            version = self._version(connection)
            if version == HEAD:
                return
            if version is not None and version > HEAD and version.isdigit():
                raise StoreError(
                    f"{self.name} was written by a newer fourfold (state version {version}, this one knows {HEAD}); "
                    "upgrade fourfold"
                )
            if what := self.system.is_foreign(connection):
                raise StateError(f"{self.name} holds something else than a state: {what}")
            from alembic import command  # only a new or old store pays for this import
            from alembic.util import CommandError

            try:
                command.upgrade(alembic_config(connection), "head")
                connection.commit()
            except CommandError as error:
                raise StateError(f"{self.name} has an unknown version: {error}. {self.system.advice}") from error

    def _version(self, connection: sa.Connection) -> str | None:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.scalar(sa.text("select version_num from alembic_version"))
        return version


class _Question:
    """What one thread has read for the question that it answers, and the transaction that it reads in."""

    def __init__(self, known: dict[Hashable, Any]) -> None:
        self.known = known
        self._transaction = ExitStack()
        self._connection: sa.Connection | None = None
        self._used = 0.0

    def connection(self, begin: Callable[[], AbstractContextManager[sa.Connection]]) -> sa.Connection:
        """That of the transaction; it begins with the first, or after a long time without one."""
        if time.monotonic() - self._used > _IDLE_SECONDS:
            self.rest()
        if self._connection is None:
            self._connection = self._transaction.enter_context(begin())
        self._used = time.monotonic()
        return self._connection

    def rest(self) -> None:
        """End the transaction; what is read later is read in another one."""
        if self._connection is not None and time.monotonic() - self._used > _IDLE_SECONDS:
            self._connection.invalidate()  # the server may have ended it
        self._connection = None
        self._transaction.close()


def open_state(address: str, folder: Path, *, read_only: bool = False) -> Database:
    """The state at a URL; without one, in SQLite, in the folder.

    Raises:
        ConfigError: the address is none of a database that this version can use, or misspelt.
        StateError: the state cannot be used.
    """
    if not address:
        return Database(SQLite(folder / "state.db", read_only=read_only))
    if not address.startswith(_SCHEMES):
        raise ConfigError("state: give a URL such as 'postgresql://user@host/database', or leave it out for SQLite")
    from fourfold.state.postgres import PostgreSQL  # its driver is an extra

    return Database(PostgreSQL(address, read_only=read_only))


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Around the decoding of a row: an invalid one is damage to the state, not a mistake of the caller's."""
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise StateError(f"the state is damaged: {what} cannot be read ({type(error).__name__}). {_MEND}") from error


def alembic_config(connection: sa.Connection | None = None) -> Any:
    """Alembic's configuration for the migrations in this package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
