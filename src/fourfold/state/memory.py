"""What is remembered from one time to the next, such as a detector's history by the watch: bytes, under a name."""

from __future__ import annotations

import sqlalchemy as sa

from fourfold.state.statements import upsert
from fourfold.state.tables import memory

_ONE = sa.select(memory.c.value).where(
    memory.c.project == sa.bindparam("project"), memory.c.name == sa.bindparam("name")
)


def load(connection: sa.Connection, project: str, name: str) -> bytes | None:
    """What was saved last under a name, if anything."""
    found: bytes | None = connection.scalar(_ONE, {"project": project, "name": name})
    return found


def load_under(connection: sa.Connection, project: str, folder: str) -> dict[str, bytes]:
    """All that was saved under names "FOLDER/…", by the rest of the name."""
    start = f"{folder}/"
    begins = sa.func.substr(memory.c.name, 1, len(start)) == start
    query = sa.select(memory.c.name, memory.c.value).where(memory.c.project == project, begins)
    return {name.removeprefix(start): value for name, value in connection.execute(query)}


def save(connection: sa.Connection, project: str, name: str, value: bytes) -> None:
    """Keep bytes under a name, in the place of what was there."""
    upsert(connection, memory, {"project": project, "name": name, "value": value})
