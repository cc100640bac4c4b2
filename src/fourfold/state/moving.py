"""Takes a state from one system over into another, and compares them."""

from __future__ import annotations

import dataclasses
import hashlib
import marshal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import sqlalchemy as sa

from fourfold.state.database import Database, StateError
from fourfold.state.tables import fence, metadata

_AT_ONCE = 5_000  # rows
_WIDTH = 16  # bytes of a row's checksum
_FORMAT = 2  # of marshal: the newest in which the same values are always the same bytes
TABLES = tuple(table for table in metadata.sorted_tables if table is not fence)  # its numbers are the system's own


@dataclasses.dataclass(frozen=True)
class Contents:
    """How many rows a table has, and a checksum of them, whatever their order."""

    rows: int = 0
    checksum: int = 0

    def adding(self, rows: Sequence[Sequence[Any]]) -> Contents:
        """With more rows."""
        digests = (hashlib.blake2b(marshal.dumps(tuple(row), _FORMAT), digest_size=_WIDTH).digest() for row in rows)
        total = self.checksum + sum(int.from_bytes(digest, "big") for digest in digests)
        return Contents(self.rows + len(rows), total % 2 ** (8 * _WIDTH))


def contents(connection: sa.Connection) -> dict[str, Contents]:
    """The contents of all tables, by name."""
    found = {}
    for table in TABLES:
        found[table.name] = Contents()
        for rows in _batches(connection, table):
            found[table.name] = found[table.name].adding(rows)
    return found


def move(
    source: Database, target: Database, report: Callable[[float], None] = lambda share: None
) -> dict[str, Contents]:
    """Copy all that a state holds, in one transaction; nobody writes, takes, counts or judges meanwhile.

    Killed at any point, it has changed nothing, and is run again. The source stays as it is. A target that holds the
    same already is left as it is, too.

    Returns:
        What both hold now, by table.

    Raises:
        StateError: the target holds something else, or what was copied does not come back the same.
    """
    with ExitStack() as locks:
        for lock in (database.lock(name) for database in (source, target) for name in ("fold", "watch")):
            locks.enter_context(lock)
        with source.write() as reading, target.write() as writing:  # nor decides, which takes no lock
            if any(writing.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() for table in TABLES):
                wanted = contents(reading)
            else:
                wanted = _copied(reading, target, writing, report)
                target.system.number_above(writing)
            found = contents(writing)
            if different := [name for name in wanted if wanted[name] != found[name]]:
                raise StateError(
                    f"{target.name} holds something else than {source.name} (in {', '.join(different[:5])}). Give an "
                    "empty schema, or set the file aside; nothing was changed"
                )
    report(1.0)
    return wanted


def _copied(
    reading: sa.Connection, target: Database, writing: sa.Connection, report: Callable[[float], None]
) -> dict[str, Contents]:
    sizes = {table: reading.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in TABLES}
    done, total = 0, max(1, sum(sizes.values()))
    copied = {}
    for table in TABLES:
        copied[table.name] = Contents()
        for rows in _batches(reading, table):
            target.system.fill(writing, table, rows)
            copied[table.name] = copied[table.name].adding(rows)
            done += len(rows)
            report(done / total)
    return copied


def _batches(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[Sequence[Any]]]:
    """The rows as they are stored, some at a time."""
    stored = [
        sa.type_coerce(column, column.type.impl) if isinstance(column.type, sa.TypeDecorator) else column
        for column in table.columns
    ]
    query = sa.select(*stored).execution_options(yield_per=_AT_ONCE)
    yield from connection.execute(query).partitions()
