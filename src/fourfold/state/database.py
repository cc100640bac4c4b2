"""The connection to the state store, brought up to date by migrations when it is opened."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from filelock import FileLock

from fourfold.errors import StoreError

HEAD = "0004"  # the newest migration; a test compares it with the folder
_BUSY_SECONDS = 60
T = TypeVar("T")


class Database:
    """The state of one store: SQLite in WAL mode, which several processes read and write at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": _BUSY_SECONDS}
        )
        weakref.finalize(self, self.engine.dispose).atexit = False  # at exit, the driver closes what is open
        sa.event.listen(self.engine, "connect", _set_up)
        sa.event.listen(self.engine, "begin", _begin)
        self._watch: sqlite3.Connection | None = None  # never writes: it sees that others have
        self._remembered: tuple[int, dict[Hashable, Any]] = (-1, {})
        self._lock = threading.Lock()
        try:
            self._migrate()
        except sa.exc.DatabaseError as error:
            raise StoreError(f"{path} is not a state store that can be used: {error.orig}") from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the store and changes nothing."""
        with self.engine.connect() as connection:
            yield connection

    def recall(self, read: Callable[..., T], *arguments: Any) -> T:
        """What a function of a connection reads, remembered (see ``remember``)."""

        def work() -> T:
            with self.read() as connection:
                return read(connection, *arguments)

        return self.remember((read, *arguments), work)

    def remember(self, key: Hashable, work: Callable[[], T]) -> T:
        """What is worked out from the state: once, for as long as nothing is written, by whichever process.

        What it gives is shared and must not be changed.
        """
        with self._lock:
            if self._watch is None:
                self._watch = sqlite3.connect(self.path, check_same_thread=False)
                weakref.finalize(self, self._watch.close).atexit = False
                self._remembered = -1, {}
            (version,) = self._watch.execute("PRAGMA data_version").fetchone()
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
        with self.engine.connect().execution_options(fourfold_write=True) as connection, connection.begin():
            yield connection

    def erase_deleted(self) -> bool:
        """Write the file anew without the bytes of what was deleted; False where a reader holds on to them."""
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("VACUUM")
            busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        self.engine.dispose()

    def _migrate(self) -> None:
        if self._version() == HEAD:
            return
        with FileLock(self.path.with_suffix(".lock")):
            version = self._version()
            if version == HEAD:
                return
            if version is not None and version > HEAD:
                raise StoreError(
                    f"{self.path} was written by a newer fourfold (state version {version}, this one knows {HEAD}); "
                    "upgrade fourfold"
                )
            from alembic import command  # only a new or old store pays for this import

            with self.engine.connect() as connection:
                command.upgrade(alembic_config(connection), "head")
                connection.commit()

    def _version(self) -> str | None:
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            version: str | None = connection.scalar(sa.text("select version_num from alembic_version"))
            return version


def alembic_config(connection: sa.Connection | None = None) -> Any:
    """Alembic's configuration for the migrations in this package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("fourfold_write")
    driver = connection.connection.driver_connection  # before every question: SQLAlchemy's own way takes thrice as long
    assert driver is not None
    driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")
