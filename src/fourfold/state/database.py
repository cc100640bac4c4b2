"""The connection to the state store, brought up to date by migrations when it is opened."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from filelock import FileLock

from fourfold.errors import ConfigError, StoreError
from fourfold.state import sqlite
from fourfold.state.tables import metadata

HEAD = "0005"  # the newest migration; a test compares it with the folder
_MEND = "'fourfold doctor --mend' sets a damaged state aside and rebuilds it from the logs"
T = TypeVar("T")


class StateError(StoreError):
    """The state is unusable: damaged, locked for long, full or out of reach."""


class Database:
    """The state of one store: SQLite in WAL mode, which several processes read and write at once.

    If its folder cannot be written, it can still be read (``writable`` is False). A replaced file, as after
    ``fourfold doctor --mend``, is reopened; a removed one is an error until it is back.

    Raises:
        StateError: from each method too, where the file cannot be used; it says what to do.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path, self.writable = path, not read_only
        with self._explained(OSError):
            if self.writable:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.writable = sqlite.is_writable(path)
        self.engine = sqlite.engine(path, writable=self.writable)
        weakref.finalize(self, self.engine.dispose).atexit = False  # at exit, the driver closes what is open
        self._watch: sqlite.Driver | None = None  # never writes: it sees that others have
        self._remembered: tuple[int, dict[Hashable, Any]] = (-1, {})
        self._lock = threading.Lock()
        with self._explained(OSError):
            self._migrate()
            self._file = _identity(path)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the store and changes nothing."""
        with self._explained(), self.engine.connect() as connection:
            yield connection

    def recall(self, read: Callable[..., T], *arguments: Any) -> T:
        """What a function of a connection reads, remembered (see ``remember``)."""

        def work() -> T:
            with self.read() as connection:
                return read(connection, *arguments)

        return self.remember((read, *arguments), work)

    def remember(self, key: Hashable, work: Callable[[], T]) -> T:
        """A result computed from the state, cached until any process writes.

        What it gives is shared and must not be changed.
        """
        with self._lock:
            version = self._data_version()
            if self._remembered[0] != version:
                self._remembered = version, {}
            known = self._remembered[1]
        if key not in known:
            known[key] = work()
        found: T = known[key]
        return found

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end, or not at all; writers wait for each other."""
        engine = self.engine.execution_options(fourfold_write=True)
        with self._explained(), engine.begin() as connection:
            yield connection

    def erase_deleted(self) -> bool:
        """Rewrite the file without the deleted bytes; False if a reader still uses them."""
        with self.engine.connect() as connection:
            return sqlite.erase_deleted(connection)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._close()

    def faults(self) -> list[str]:
        """Damage in the file: inconsistent pages, and missing tables."""
        with self._explained(), self.engine.connect() as connection:
            found = sqlite.faults(connection)
            present = set(sa.inspect(connection).get_table_names())
        missing = sorted(metadata.tables.keys() - present)
        found = [" ".join(str(fault).split()) for fault in found]
        return found + [f"the table {name!r} is missing" for name in missing]

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self.engine.dispose()

    def reopen_if_replaced(self) -> None:
        """Leave the file that was opened where there is another in its place, or none.

        Raises:
            StateError: it is gone, or cannot be used.
        """
        if (now := _identity(self.path)) == self._file:
            return
        with self._lock, self._explained(OSError):
            self._close()
            if now is None:
                raise StateError(f"{self.path} is gone: bring the store's folder back, or begin a new one with ff.init")
            self._migrate()
            self._file = _identity(self.path)

    def _data_version(self) -> int:
        """A number that changes when another connection has written."""
        try:
            if self._watch is None:
                self._watch = sqlite.connect(self.path, writable=self.writable)
                weakref.finalize(self, self._watch.close).atexit = False
                self._remembered = -1, {}
            return sqlite.data_version(self._watch)
        except sqlite.Error as error:
            raise StateError(f"the state at {self.path} cannot be used: {error}. {_what_to_do(error)}") from error

    @contextmanager
    def _explained(self, *also: type[Exception]) -> Iterator[None]:
        """Errors of the database as our own, without SQL; those of what a statement says are not the database's."""
        try:
            yield
        except (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError):
            raise
        except Exception as error:
            if not isinstance(error, (sa.exc.DatabaseError, sqlite.Error, *also)):
                raise
            why = error.orig if isinstance(error, sa.exc.DatabaseError) else error
            raise StateError(f"the state at {self.path} cannot be used: {why}. {_what_to_do(why)}") from error

    def _migrate(self) -> None:
        version = self._version()
        if version == HEAD:
            return
        if not self.writable:
            raise StateError(f"{self.path} has an older version; ask once as a user who can write there")
        with FileLock(self.path.with_suffix(".lock")):
            version = self._version()
            if version == HEAD:
                return
            if version is not None and version > HEAD and version.isdigit():
                raise StoreError(
                    f"{self.path} was written by a newer fourfold (state version {version}, this one knows {HEAD}); "
                    "upgrade fourfold"
                )
            from alembic import command  # only a new or old store pays for this import
            from alembic.util import CommandError

            try:
                with self.engine.connect() as connection:
                    command.upgrade(alembic_config(connection), "head")
                    connection.commit()
            except CommandError as error:
                raise StateError(f"{self.path} has an unknown version: {error}. {_MEND}") from error

    def _version(self) -> str | None:
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            version: str | None = connection.scalar(sa.text("select version_num from alembic_version"))
            return version


def open_state(address: str, folder: Path, *, read_only: bool = False) -> Database:
    """The state at an address; without one, SQLite in the store's folder.

    Raises:
        ConfigError: this version cannot use the address.
        StateError: the state cannot be used.
    """
    if address:
        raise ConfigError("state: this version keeps the state in the store's folder; leave it out")
    return Database(folder / "state.db", read_only=read_only)


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


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path: another one in its place has another identity; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _what_to_do(why: object) -> str:
    """The advice for an error of the database or the disk."""
    text = str(why)
    if "locked" in text or "busy" in text:
        return "Another process holds it for long; try again"
    if "full" in text or isinstance(why, OSError) or "readonly" in text or "unable to open" in text:
        return "Check the disk and the permissions; " + _MEND[0].lower() + _MEND[1:]
    return _MEND
