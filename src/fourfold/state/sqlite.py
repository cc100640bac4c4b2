"""SQLite: how it is opened, its locks and its pragmas."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

BUSY_SECONDS = 60  # that a writer waits for another
Driver = sqlite3.Connection
Error = sqlite3.Error


def engine(path: Path, *, writable: bool) -> sa.Engine:
    """What connects to a state, in WAL mode where it may be written."""
    made = sa.create_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS})
    if not writable:
        sa.event.listen(made, "do_connect", lambda *_: _read_only(path))
    sa.event.listen(made, "connect", _set_up if writable else _set_up_reader)
    sa.event.listen(made, "begin", _begin)
    return made


def data_version(connection: Driver) -> int:
    """A number that changes when another connection has written."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def faults(connection: sa.Connection) -> list[str]:
    """Pages that contradict each other, in words."""
    return [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check(3)") if row[0] != "ok"]


def erase_deleted(connection: sa.Connection) -> bool:
    """Rewrite the file without the deleted bytes; False if a reader still uses them."""
    driver: Any = connection.connection.driver_connection
    driver.execute("VACUUM")
    busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def is_writable(path: Path) -> bool:
    """Whether this process can write the state: the file and, for what SQLite puts beside it, the folder."""
    present = [path, *(side for end in ("-wal", "-shm") if (side := Path(f"{path}{end}")).exists())]
    return os.access(path.parent, os.W_OK) and all(os.access(p, os.W_OK) for p in present if p.exists())


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """A connection of the driver's own."""
    return sqlite3.connect(path, check_same_thread=False) if writable else _read_only(path)


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
        connection = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, check_same_thread=False, timeout=BUSY_SECONDS)
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
