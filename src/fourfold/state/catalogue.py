"""What is declared and known: streams, tasks, binnings, and how far each fold has come."""

from __future__ import annotations

import time
from collections.abc import Mapping

import sqlalchemy as sa

from fourfold.binning import Binning
from fourfold.model import Task
from fourfold.state.tables import applied, binning, cursor, small_integer, stream, task

Connection = sa.Connection


def streams(connection: Connection, project: str) -> dict[str, tuple[str | None, str | None]]:
    """The streams of a project, with the names of their key and time columns."""
    query = sa.select(stream.c.name, stream.c.key, stream.c.time).where(stream.c.project == project)
    return {row.name: (row.key, row.time) for row in connection.execute(query.order_by(stream.c.name))}


def add_stream(connection: Connection, project: str, name: str, key: str | None, time_column: str | None) -> None:
    """Make a stream known; one that is known stays as it is."""
    connection.execute(
        sa.insert(stream).prefix_with("OR IGNORE"),
        {"project": project, "name": name, "key": key, "time": time_column, "created": time.time()},
    )


def tasks(connection: Connection, project: str) -> dict[str, Task]:
    """The tasks of a project, by name."""
    query = sa.select(task.c.name, task.c.definition).where(task.c.project == project).order_by(task.c.name)
    return {row.name: Task.from_json(row.definition) for row in connection.execute(query)}


def set_task(connection: Connection, project: str, definition: Task) -> None:
    """Declare a task, or declare it anew."""
    connection.execute(
        sa.insert(task).prefix_with("OR REPLACE"),
        {
            "project": project, "name": definition.name, "definition": definition.to_json(), "created": time.time(),
        },
    )  # fmt: skip


def binnings(connection: Connection, project: str, owner: str) -> dict[str, list[tuple[int, Binning]]]:
    """Each column's binnings with the bucket from which each is in force, the oldest first."""
    query = sa.select(binning).where(binning.c.project == project, binning.c.owner == owner)
    found: dict[str, list[tuple[int, Binning]]] = {}
    for row in connection.execute(query.order_by(binning.c.version)):
        entry = Binning(row.centre, row.scale, row.bits, row.version)
        found.setdefault(row.column, []).append((row.from_bucket, entry))
    return found


def add_binnings(
    connection: Connection, project: str, owner: str, new: Mapping[str, Binning], from_bucket: int
) -> None:
    """Fix binnings from a bucket on; a version that is fixed already stays as it is."""
    rows = [
        {
            "project": project, "owner": owner, "column": column, "version": b.version, "from_bucket": from_bucket,
            "centre": b.centre, "scale": b.scale, "bits": b.bits,
        }
        for column, b in new.items()
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(binning).prefix_with("OR IGNORE"), rows)


def small_integers(connection: Connection, project: str, owner: str) -> frozenset[str]:
    """The integer columns that are counted as categories too."""
    query = sa.select(small_integer.c.column).where(small_integer.c.project == project, small_integer.c.owner == owner)
    return frozenset(connection.scalars(query))


def add_small_integers(connection: Connection, project: str, owner: str, columns: frozenset[str]) -> None:
    """Count these integer columns as categories too."""
    if columns:
        rows = [{"project": project, "owner": owner, "column": column} for column in sorted(columns)]
        connection.execute(sa.insert(small_integer).prefix_with("OR IGNORE"), rows)


def cursors(connection: Connection, project: str, job: str) -> dict[str, int]:
    """Up to which version of each stream a fold has counted."""
    query = sa.select(cursor.c.stream, cursor.c.version).where(cursor.c.project == project, cursor.c.job == job)
    return {row.stream: row.version for row in connection.execute(query)}


def all_cursors(connection: Connection, project: str) -> dict[tuple[str, str], int]:
    """All cursors of a project, by job and stream."""
    query = sa.select(cursor.c.job, cursor.c.stream, cursor.c.version).where(cursor.c.project == project)
    return {(row.job, row.stream): row.version for row in connection.execute(query)}


def set_cursor(connection: Connection, project: str, job: str, stream_name: str, version: int) -> None:
    """Write down how far a fold has come in a stream."""
    connection.execute(
        sa.insert(cursor).prefix_with("OR REPLACE"),
        {"project": project, "job": job, "stream": stream_name, "version": version},
    )


def forget_cursors(connection: Connection, project: str, job: str) -> None:
    """Let a fold start from the beginning."""
    connection.execute(sa.delete(cursor).where(cursor.c.project == project, cursor.c.job == job))


def was_applied(connection: Connection, message: str) -> bool:
    """Whether a message has been taken into the state already."""
    return connection.scalar(sa.select(applied.c.message).where(applied.c.message == message)) is not None


def mark_applied(connection: Connection, message: str) -> None:
    """Remember that a message was taken, in the transaction that takes it."""
    connection.execute(sa.insert(applied), {"message": message})


def unmark_applied(connection: Connection, messages: list[str]) -> None:
    """Forget messages whose files are gone."""
    connection.execute(sa.delete(applied).where(applied.c.message == sa.bindparam("m")), [{"m": m} for m in messages])


def applied_messages(connection: Connection) -> list[str]:
    """The messages that are remembered as taken."""
    return list(connection.scalars(sa.select(applied.c.message)))
