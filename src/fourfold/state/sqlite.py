"""SQLite: one file in WAL mode, with the locks as files beside it."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock

_BUSY_SECONDS = 60  # that a writer waits for another
_MEND = "'fourfold doctor --mend' sets a damaged state aside and rebuilds it from the logs"
_OF_STATEMENTS = (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError)


class SQLite:
    """A state in a file; see ``System``."""

    advice = _MEND

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path, self.name, self.subject, self.writable = path, str(path), path.name, not read_only
        self._engine: sa.Engine | None = None
        self._watch: sqlite3.Connection | None = None  # never writes: it sees that others have
        self._opened = 0  # how often ``_watch`` was: each counts for itself

    @property
    def engine(self) -> sa.Engine:
        """See ``System``."""
        if self._engine is None:
            self._engine = _engine(self.path, writable=self.writable)
            weakref.finalize(self, self._engine.dispose).atexit = False  # at exit, the driver closes what is open
        return self._engine

    def prepare(self) -> None:
        """Make the folder; whether the file can be written is only known then."""
        if self.writable:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.writable = _is_writable(self.path)

    def read(self) -> AbstractContextManager[sa.Connection]:
        """See ``System``."""
        return self.engine.connect()

    def write(self) -> AbstractContextManager[sa.Connection]:
        """See ``System``. No lock is ever lost: the file's is held for as long as the process lives."""
        return self.engine.execution_options(fourfold_write=True).begin()

    def migrating(self, connection: sa.Connection) -> AbstractContextManager[object]:
        """See ``System``."""
        return _without_transaction(connection, self.lock("state"))

    def is_foreign(self, connection: sa.Connection) -> str:
        """Nothing: the file is in the store's own folder."""
        return ""

    def lock(self, name: str) -> FileLock:
        """A lock that is a file beside the state."""
        return FileLock(self.path.with_name(f"{name}.lock"))

    def version(self) -> tuple[int, int]:
        """See ``System``."""
        if self._watch is None:
            path = self.path
            self._watch = sqlite3.connect(path, check_same_thread=False) if self.writable else _read_only(path)
            self._opened += 1
            weakref.finalize(self, self._watch.close).atexit = False
        return self._opened, int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    def identity(self) -> tuple[int, int] | None:
        """Which file is there: another one in its place has another identity."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def changed(self) -> float:
        """When the file was."""
        return self.path.stat().st_mtime

    def fill(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Sequence[Any]]) -> None:
        """See ``System``."""
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        places = ", ".join("?" * len(table.columns))
        statement = f'INSERT INTO "{table.name}" ({columns}) VALUES ({places})'
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])

    def number_above(self, connection: sa.Connection) -> None:
        """Nothing: the highest number there is counts."""

    def faults(self, connection: sa.Connection) -> list[str]:
        """Pages that contradict each other."""
        return [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check(3)") if row[0] != "ok"]

    def erase_deleted(self) -> str:
        """Rewrite the file without the deleted bytes."""
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("VACUUM")
            busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return f"{self.path}-wal is in use by a reader" if busy else ""

    def blame(self, error: Exception) -> str:
        """See ``System``."""
        if isinstance(error, _OF_STATEMENTS) or not isinstance(error, (sa.exc.DatabaseError, sqlite3.Error, OSError)):
            return ""
        why = error.orig if isinstance(error, sa.exc.DatabaseError) else error
        return f"{why}. {_what_to_do(why)}"

    def close(self) -> None:
        """See ``System``."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._engine is not None:
            self._engine.dispose()


def _engine(path: Path, *, writable: bool) -> sa.Engine:
    made = sa.create_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": _BUSY_SECONDS})
    if not writable:
        sa.event.listen(made, "do_connect", lambda *_: _read_only(path))
    sa.event.listen(made, "connect", _set_up if writable else _set_up_reader)
    sa.event.listen(made, "begin", _begin)
    return made


@contextmanager
def _without_transaction(connection: sa.Connection, lock: FileLock) -> Iterator[None]:
    """Under a lock; a transaction that was begun before it would see the state as it was."""
    with lock:
        connection.rollback()
        yield


def _is_writable(path: Path) -> bool:
    """Whether this process can write the state: the file and, for what SQLite puts beside it, the folder."""
    present = [path, *(side for end in ("-wal", "-shm") if (side := Path(f"{path}{end}")).exists())]
    return os.access(path.parent, os.W_OK) and all(os.access(p, os.W_OK) for p in present if p.exists())


def _read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even beside the file.

    Without the files of the write-ahead log, which a reader cannot make, the state is read as it is on the disk.

    Raises:
        sqlite3.OperationalError: it cannot be read, or the write-ahead log holds what would then be missing.
    """
    log = Path(f"{path}-wal")
    for how in ("mode=ro", "immutable=1"):
        if how == "immutable=1" and log.exists() and log.stat().st_size:
            raise sqlite3.OperationalError(f"{log.name} holds newer counts, and its index {path.name}-shm is missing")
        connection = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, check_same_thread=False, timeout=_BUSY_SECONDS)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError:
            connection.close()
            if how == "immutable=1":
                raise
    raise AssertionError


def _set_up_reader(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("fourfold_write")
    driver = connection.connection.driver_connection  # before every question: SQLAlchemy's own way takes thrice as long
    assert driver is not None
    driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")


def _what_to_do(why: object) -> str:
    """The advice for an error of the database or the disk."""
    text = str(why)
    if "locked" in text or "busy" in text:
        return "Another process holds it for long; try again"
    if "full" in text or isinstance(why, OSError) or "readonly" in text or "unable to open" in text:
        return "Check the disk and the permissions; " + _MEND[0].lower() + _MEND[1:]
    return _MEND
