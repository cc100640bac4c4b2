"""Connections to the process's DuckDB: bounded in time where users' expressions run, and stopped with their thread."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator

import duckdb
import pyarrow as pa

from fourfold.engine import stopping
from fourfold.engine.protocol import ChangedLog, TooSlowError
from fourfold.errors import ConfigError
from fourfold.model import Dimension

LEAST_SECONDS = 10.0  # that users' expressions may take, however few the records
ROWS_A_SECOND = 20_000  # beyond; slower than this counts as a mistake
BATCH_ROWS = 1 << 18


@contextlib.contextmanager
def connected(
    what: str = "", dimension: Dimension | None = None, seconds: float | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with its own temporary tables; times without a time zone are UTC.

    Args:
        what: the question, for errors about users' expressions; without it, none are expected.
        dimension: the only dimension whose expressions may fail.
        seconds: after which it is interrupted; None: never.

    Raises:
        ConfigError: DuckDB rejects a user's expression.
        TooSlowError: it took too long.
    """
    with stopping.stoppable(_database().cursor()) as connection, _bounded(connection, seconds):
        connection.execute("SET TimeZone = 'UTC'")
        try:
            yield connection
        except duckdb.InterruptException as error:
            stopping.check()
            if not what:
                raise
            raise TooSlowError(f"{what}: its SQL expressions took too long, and were stopped", dimension) from error
        except duckdb.Error as error:
            if not what:
                raise
            raise ConfigError(f"{what}: {str(error).splitlines()[0]}") from error


def batches(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.Table]:
    """A query's result in tables of a moderate size."""
    for batch in connection.sql(query).to_arrow_reader(BATCH_ROWS):
        stopping.check()
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def seconds_for(rows: int) -> float:
    """The time limit of users' expressions on so many records, in seconds."""
    return LEAST_SECONDS + rows / ROWS_A_SECOND


def expression_seconds(logs: Iterable[ChangedLog], *dimensions: Dimension, sums: bool = False) -> float | None:
    """The time limit for counting these logs with users' expressions; None without such expressions."""
    if not sums and not any(part.sql for dimension in dimensions for part in dimension.parts):
        return None
    return seconds_for(sum(log.rows() for log in logs))


@contextlib.contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Interrupt what the connection does after a time; None: never."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """The process's database in memory, which stays empty: making one takes longer than many a query."""
    spill = os.path.join(tempfile.gettempdir(), f"fourfold-{os.getpid()}")  # else it would be in the working folder
    connection = duckdb.connect(config={"temp_directory": spill, "python_enable_replacements": False})
    atexit.register(_close, connection)
    return connection


def one_thread() -> None:
    """Let the process's database use one thread: beside it, others are at work on other partitions."""
    _database().execute("SET threads = 1")


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    """While the interpreter is whole: what a thread keeps alive beyond that, the driver reports as leaked."""
    _database.cache_clear()
    connection.close()
