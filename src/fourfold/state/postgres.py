"""PostgreSQL: a schema of a database that several machines use.

One row, "write" of the table ``fence``, is what all writing transactions change first: it lets one write at a time, as
SQLite does, and its number tells readers that something was written. The other rows are the numbers of locks (see
``advisory``). Readers wait for nothing: each of their transactions sees one snapshot.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGTypeCompiler

from fourfold.errors import ConfigError
from fourfold.state.address import Address
from fourfold.state.system import LostLockError, StateError
from fourfold.state.tables import metadata

try:
    import psycopg

    from fourfold.state.advisory import AdvisoryLock, key_of
    from fourfold.state.session import STALL_SECONDS, BinaryCursor, run, set_up
except ImportError as error:
    raise ConfigError("a state in PostgreSQL needs its driver: pip install 'fourfold[postgres]'") from error

_OLDEST = 14  # the first version that ends sessions which stand still
_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = (
    "BEGIN; INSERT INTO fence VALUES ('write', 1, extract(epoch FROM clock_timestamp())) "
    "ON CONFLICT (name) DO UPDATE SET number = fence.number + 1, at = excluded.at"
)
_OF_LOCK = "SELECT number FROM fence WHERE name = %s FOR SHARE"
_VERSION = b"SELECT tableoid, number FROM fence WHERE name = 'write'"
_POOLED = 5  # connections of a process that are kept open
_OF_STATEMENTS = (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)
_MISSING = ("42P01", "3F000")  # the SQLSTATEs of what is not there: a table, a schema
_DENIED = ("42501", "25006")  # no privilege, a server or session that is read-only
_TAKEN = "55P03"
_LIMITS = "54"  # the class of SQLSTATEs of statements that ask too much, as of an index with a text of 3,000 characters


class PostgreSQL:
    """A state in a schema of a database; see ``System``.

    Raises:
        ConfigError: the address makes no sense.
    """

    advice = (
        "Restore the database from a backup, or set FOURFOLD_STATE to an empty schema: the state is rebuilt from the "
        "logs"
    )

    def __init__(self, address: str, *, read_only: bool = False) -> None:
        self._address = Address.of(address)
        self.schema, self.name, self.writable = self._address.schema, self._address.name, not read_only
        self.subject = self._address.schema
        self._process = os.getpid()
        self._engine: sa.Engine | None = None
        self._watch: psycopg.Connection[Any] | None = None
        self._watching = threading.Lock()
        self._held = threading.local()

    @property
    def engine(self) -> sa.Engine:
        """See ``System``."""
        self._leave_to_parent()
        if self._engine is None:
            self._engine = self._made()
            weakref.finalize(self, self._engine.dispose).atexit = False
        return self._engine

    def prepare(self) -> None:
        """Connect; whether the state can be written is only known then.

        Raises:
            StateError: the server is too old, or the database keeps text in another encoding than UTF-8.
        """
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            if driver.info.server_version < _OLDEST * 10_000:
                raise StateError(f"{self.name}: PostgreSQL {_OLDEST} or newer is needed")
            if (encoding := driver.info.parameter_status("server_encoding")) != "UTF8":
                raise StateError(f"{self.name}: the database's encoding is {encoding}; give one whose is UTF8")
            self.writable = self.writable and connection.scalar(sa.text(_CAN_WRITE), {"schema": self.schema}) is True

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """See ``System``."""
        with self._begun("read") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """See ``System``."""
        with self._begun("write") as connection, connection.get_transaction() or connection.begin():
            yield connection

    @contextmanager
    def migrating(self, connection: sa.Connection) -> Iterator[None]:
        """See ``System``; the schema is made."""
        connection.rollback()
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key_of(self.schema, "state"))))
        if connection.scalar(sa.select(sa.func.to_regnamespace(sa.bindparam("n", self._quoted)))) is None:
            connection.execute(sa.schema.CreateSchema(self.schema))
        yield

    def is_foreign(self, connection: sa.Connection) -> str:
        """See ``System``."""
        tables = set(connection.scalars(sa.text(_RELATIONS), {"schema": self.schema}))
        ours = {"series", "counts", "alembic_version"} <= tables
        if not tables or ours:
            return ""
        listed = ", ".join(sorted(tables)[:5])
        return f"tables of another application ({listed}). Choose a schema of its own with ?schema=NAME in the URL"

    def lock(self, name: str) -> AdvisoryLock:
        """A lock of the schema, held by a connection of its own."""
        return AdvisoryLock(self.connect, self.schema, name, lambda: self._locks, self._explained)

    def version(self) -> bytes:
        """See ``System``."""
        found = self._counted()
        if found is None:
            raise StateError(f"{self.name} is gone: it has no tables any more")
        return b":".join(found)

    def identity(self) -> bytes | None:
        """Which table it is: one that is made anew has another number."""
        found = self._counted()
        return None if found is None else found[0]

    def changed(self) -> float:
        """See ``System``."""
        with self.read() as connection:
            return float(connection.scalar(sa.text("SELECT at FROM fence WHERE name = 'write'")) or 0.0)

    def fill(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Sequence[Any]]) -> None:
        """See ``System``."""
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)

    def number_above(self, connection: sa.Connection) -> None:
        """See ``System``."""
        connection.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('series', 'id'), max(id)) FROM series HAVING max(id) IS NOT NULL"
        )

    def faults(self, connection: sa.Connection) -> list[str]:
        """None: the server watches over its own files."""
        return []

    def erase_deleted(self) -> str:
        """Rewrite the tables; copies in backups and archives of the server are not this process's to remove."""
        connection = self.connect()
        try:
            for table in metadata.sorted_tables:
                connection.execute(f'VACUUM FULL "{table.name}"')
            (readers,) = connection.execute(_OLD_READERS).fetchone() or (0,)
        except psycopg.errors.LockNotAvailable:
            return f"{self.name} is in use by a reader"
        finally:
            connection.close()
        return f"{self.name} is in use by a reader" if readers else ""

    def blame(self, error: Exception) -> str:
        """See ``System``."""
        if isinstance(error, sa.exc.TimeoutError):
            return "all connections of this process are in use. Ask with fewer threads at once"
        why = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if not isinstance(why, psycopg.Error):
            return ""
        state = why.sqlstate or ""
        if isinstance(why, _OF_STATEMENTS) and state not in (*_MISSING, *_DENIED):
            return ""
        if state.startswith(_LIMITS):  # for the driver an error of the server's; else one long name would stop all
            return ""
        text = self._address.without_password(" ".join(str(why).split()))
        return f"{text}. {self._what_to_do(state)}"

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of the driver's own, whose transactions are begun by hand."""
        return set_up(psycopg.connect(**self._address.parameters, autocommit=True), self._quoted)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise StateError(f"the state at {self.name} cannot be used: {self.blame(error) or error}") from error

    def close(self) -> None:
        """See ``System``."""
        self._leave_to_parent()
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        if self._engine is not None:
            self._engine.dispose()

    def _made(self) -> sa.Engine:
        made = sa.create_engine(
            "postgresql+psycopg://", creator=self.connect, paramstyle="format", pool_size=_POOLED, pool_use_lifo=True,
            use_native_hstore=False,
        )  # fmt: skip
        made.dialect.type_compiler_instance = _Types(made.dialect)
        sa.event.listen(made, "begin", self._begin)
        return made

    def _leave_to_parent(self) -> None:
        """In a child of a fork: neither use nor close the connections that it was born with."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        self._inherited = self._engine, self._watch
        if self._engine is not None:
            self._engine.dispose(close=False)
        self._engine, self._watch, self._watching = None, None, threading.Lock()
        self._held = threading.local()

    @property
    def _locks(self) -> list[AdvisoryLock]:
        """The locks that this thread holds."""
        if not hasattr(self._held, "locks"):
            self._held.locks = []
        found: list[AdvisoryLock] = self._held.locks
        return found

    @property
    def _quoted(self) -> str:
        return '"' + self.schema.replace('"', '""') + '"'

    @contextmanager
    def _begun(self, mode: str) -> Iterator[sa.Connection]:
        """A connection in a transaction. Those that a server has closed since they were used are replaced."""
        engine = self.engine.execution_options(fourfold=mode)
        connection = engine.connect()
        try:
            connection.begin()
        except psycopg.OperationalError:
            is_lost = getattr(connection.connection.driver_connection, "closed", True)
            connection.invalidate()
            connection.close()
            if not is_lost:
                raise
            engine.dispose()
            connection = engine.connect()
            connection.begin()
        with connection:
            yield connection

    def _begin(self, connection: sa.Connection) -> None:
        mode = connection.get_execution_options().get("fourfold")
        driver: Any = connection.connection.driver_connection
        driver.cursor_factory = BinaryCursor if mode else psycopg.Cursor
        if mode == "write":
            psycopg.Cursor(driver).execute(_WRITE)
            for lock in self._locks:
                row = driver.execute(_OF_LOCK, (lock.name,)).fetchone()
                if row is None or row[0] != lock.number:
                    raise LostLockError(
                        f"this process stood still for more than {STALL_SECONDS} s, and another has taken the lock "
                        f"{lock.name!r} of {self.name}; what was not written yet is left to that one"
                    )
        else:
            run(driver.pgconn, _READ if mode else b"BEGIN")

    def _counted(self) -> list[bytes] | None:
        """The number of the table that all writers change, and how often they have; None where there is none."""
        self._leave_to_parent()
        with self._watching:
            for is_last in (False, True):
                try:
                    if self._watch is None or self._watch.closed:
                        self._watch = self.connect()
                        run(self._watch.pgconn, _VERSION, prepare=True)
                        weakref.finalize(self, self._watch.close).atexit = False
                    row = run(self._watch.pgconn, _VERSION, prepared=True)
                    return row or None
                except psycopg.Error as error:
                    if self._watch is not None:
                        self._watch.close()
                        self._watch = None
                    if error.sqlstate in _MISSING:
                        return None
                    if is_last:
                        raise
        raise AssertionError

    def _what_to_do(self, state: str) -> str:
        if state in _MISSING:
            return self.advice
        if state in _DENIED:
            return f"Give the user the rights to use the schema {self.schema!r}: see docs/postgresql.md"
        if state == _TAKEN:
            return "Another process holds it for long; try again"
        return "Check that the server is running and can be reached, the user and the password, and try again"


class _Types(PGTypeCompiler):
    """Columns of text in the order of their characters' numbers, as in SQLite, whatever the server's language."""

    def visit_VARCHAR(self, type_: Any, **arguments: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return super().visit_VARCHAR(type_, **arguments) + (' COLLATE "C"' if "type_expression" in arguments else "")

    def visit_TEXT(self, type_: Any, **arguments: Any) -> str:  # noqa: N802
        return super().visit_TEXT(type_, **arguments) + (' COLLATE "C"' if "type_expression" in arguments else "")


_RELATIONS = (
    "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = :schema AND relkind IN ('r', 'p', 'v', 'm', 'f')"
)
_CAN_WRITE = """
SELECT current_setting('transaction_read_only') = 'off' AND CASE
    WHEN NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)
        THEN has_database_privilege(current_database(), 'CREATE')
    WHEN to_regclass('fence') IS NULL THEN has_schema_privilege(:schema, 'CREATE')
    ELSE has_table_privilege('fence', 'INSERT') AND has_table_privilege('fence', 'UPDATE')
END
"""
_OLD_READERS = (  # who still sees what was there before the tables were rewritten
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_xmin IS NOT NULL AND age(backend_xmin) > 1"
)
