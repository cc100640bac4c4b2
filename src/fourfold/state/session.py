"""How a session with PostgreSQL is set up, and the two things done so often that the driver's own way is too slow."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Loader
from psycopg.errors import error_from_result
from psycopg.types import string

STALL_SECONDS = 60  # after which the server ends a session that stands still within a transaction, or with a lock
_WAIT_SECONDS = 60  # that a writer waits for another
_PREPARED = b"fourfold_version"
_SETTINGS = {
    "lock_timeout": f"{_WAIT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{STALL_SECONDS}s",
    "tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3",
    "client_connection_check_interval": "10s",
    "jit": "off",  # compiling takes longer than any of our statements
    "extra_float_digits": "1", "bytea_output": "hex", "standard_conforming_strings": "on",
}  # fmt: skip


class BinaryCursor(psycopg.Cursor[Any]):
    """Gets its results as the server has them, not as text: counts are bytes."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.format = pq.Format.BINARY


def set_up(connection: psycopg.Connection[Any], search_path: str) -> psycopg.Connection[Any]:
    """Let a session use one schema, and end where its process stands still."""
    for dumped in _DUMPERS:
        connection.adapters.register_dumper(str, dumped)
    for loaded in _LOADERS:
        for name in ("text", "varchar"):
            connection.adapters.register_loader(name, loaded)
    settings = _SETTINGS | {"search_path": search_path}
    calls = ", ".join("set_config(%s, %s, false)" for _ in settings)
    connection.execute(f"SELECT {calls}", [text for setting in settings.items() for text in setting])
    return connection


def run(connection: Any, statement: bytes, *, prepare: bool = False, prepared: bool = False) -> list[bytes]:
    """Run a statement, or prepare it, or run the prepared one: its only row as text, or nothing.

    Raises:
        psycopg.Error: it failed.
    """
    if prepare:
        result = connection.prepare(_PREPARED, statement)
    elif prepared:
        result = connection.exec_prepared(_PREPARED, None)
    else:
        result = connection.exec_(statement)
    if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        raise error_from_result(result)
    return [result.get_value(0, column) or b"" for column in range(result.nfields)] if result.ntuples else []


def _escaped(text: str) -> str:
    """Text without NUL, which PostgreSQL refuses; in the same order, and back again by ``_unescaped``."""
    if "\0" not in text and "\1" not in text:
        return text
    return text.replace("\1", "\1\2").replace("\0", "\1\1")


def _unescaped(text: str) -> str:
    return text.replace("\1\1", "\0").replace("\1\2", "\1") if "\1" in text else text


class _Unknown(string.StrDumperUnknown):
    def dump(self, obj: str) -> Any:
        return super().dump(_escaped(obj))


class _Text(string.StrDumper):
    def dump(self, obj: str) -> Any:
        return super().dump(_escaped(obj))


class _Binary(string.StrBinaryDumper):
    def dump(self, obj: str) -> Any:
        return super().dump(_escaped(obj))


class _TextLoader(Loader):
    format = pq.Format.TEXT

    def load(self, data: Any) -> str:
        return _unescaped(str(data, "utf-8"))


class _BinaryLoader(_TextLoader):
    format = pq.Format.BINARY


_DUMPERS = (_Binary, _Text, _Unknown)  # the last one serves where the type of a parameter is left to the statement
_LOADERS = (_TextLoader, _BinaryLoader)
