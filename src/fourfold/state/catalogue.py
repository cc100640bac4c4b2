"""The catalogue: streams, tasks, binnings, and how far each fold has come."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fourfold.counts.binning import Binning
from fourfold.fold import KeptSlices, Plan
from fourfold.model import Dimension, Owner, Sums, Task, slice_key
from fourfold.state import tables
from fourfold.state.database import readable
from fourfold.state.statements import chunked, insert_missing, upsert
from fourfold.state.tables import (
    backfill,
    binning,
    closed,
    cursor,
    custom,
    dimension,
    failure,
    series,
    small_integer,
    stream,
    task,
    text_column,
)  # fmt: skip

Connection = sa.Connection
ANEW = 2**61  # as the last counted version: beyond any log, so that it is counted again


def _of_project(table: sa.Table, *names: str) -> sa.Select[Any]:
    return sa.select(*(table.c[name] for name in names)).where(table.c.project == sa.bindparam("project"))


def _of_owners(table: sa.Table, *names: str) -> sa.Select[Any]:
    return _of_project(table, "owner", *names).where(table.c.owner.in_(sa.bindparam("owners", expanding=True)))


# made once: building a statement takes longer than many a small answer
_STREAMS = _of_project(stream, "name", "key", "time").order_by(stream.c.name)
_TASKS = _of_project(task, "name", "definition").order_by(task.c.name)
_CUSTOM = _of_project(custom, "task", "metric", "expressions").order_by(custom.c.metric)
_LEVELS = _of_project(dimension, "stream", "definition", "levels").where(
    dimension.c.stream.in_(sa.bindparam("streams", expanding=True))
)
_BINNINGS = _of_owners(binning, "column", "version", "from_bucket", "centre", "scale", "bits").order_by(
    binning.c.version
)
_SMALL_INTEGERS = _of_owners(small_integer, "column")
_TEXT_COLUMNS = _of_owners(text_column, "column", "identifier_from")
_CLOSED = _of_project(closed, "stream", "before")
_JOBS: sa.BindParameter[Any] = sa.bindparam("jobs", expanding=True)
_CURSORS = _of_project(cursor, "job", "stream", "version")
_SOME_CURSORS = _CURSORS.where(cursor.c.job.in_(_JOBS))
_BACKFILLS = _of_project(backfill, "job", "versions", "piece", "pieces")
_SOME_BACKFILLS = _BACKFILLS.where(backfill.c.job.in_(_JOBS))
_FAILURES = _of_project(failure, "job", "reason", "tries", "again")
_PROJECTS = sa.union(*(sa.select(table.c.project) for table in (stream, task, tables.run, tables.objective)))


def streams(connection: Connection, project: str) -> dict[str, tuple[str | None, str | None]]:
    """The streams of a project, with the names of their key and time columns."""
    return {name: (key, at) for name, key, at in connection.execute(_STREAMS, {"project": project})}


def projects(connection: Connection) -> list[str]:
    """The projects that have streams, tasks, runs or objectives, by name."""
    return sorted(connection.scalars(_PROJECTS))


def any_stream(connection: Connection) -> bool:
    """Whether any stream is known, in any project."""
    return connection.execute(sa.select(stream.c.name).limit(1)).first() is not None


def add_stream(connection: Connection, project: str, name: str, key: str | None, time_column: str | None) -> None:
    """Make a stream known; one that is known stays as it is."""
    row = {"project": project, "name": name, "key": key, "time": time_column, "created": time.time()}
    insert_missing(connection, stream, row)


def tasks(connection: Connection, project: str) -> dict[str, Task]:
    """The tasks of a project, by name, with their custom metrics."""
    sums: dict[str, list[Sums]] = {}
    with readable("the declaration of a task"):
        for row in connection.execute(_CUSTOM, {"project": project}):
            expressions = tuple((name, sql) for name, sql in json.loads(row.expressions))
            sums.setdefault(row.task, []).append(Sums(row.metric, expressions))
        return {
            row.name: dataclasses.replace(Task.from_json(row.definition), sums=tuple(sums.get(row.name, ())))
            for row in connection.execute(_TASKS, {"project": project})
        }


def set_custom(connection: Connection, project: str, task_name: str, sums: Sums) -> None:
    """Define or redefine a custom metric of a task."""
    text = json.dumps(sums.expressions, ensure_ascii=False)
    row = {"project": project, "task": task_name, "metric": sums.metric, "expressions": text}
    upsert(connection, custom, row)


def kept_slices(connection: Connection, project: str, stream_name: str, of: Dimension) -> KeptSlices:
    """The fixed levels of a way to split a stream."""
    text = connection.scalar(
        sa.select(dimension.c.levels).where(
            dimension.c.project == project, dimension.c.stream == stream_name, dimension.c.definition == of.to_json()
        )
    )
    with readable("what is fixed of a slice"):
        return KeptSlices() if text is None else KeptSlices.from_json(text)


def kept_slices_of(connection: Connection, project: str, streams: Sequence[str]) -> dict[tuple[str, str], KeptSlices]:
    """The fixed levels of all ways to split some streams, by stream and definition."""
    found = {}
    for batch in chunked(streams):
        for name, definition, text in connection.execute(_LEVELS, {"project": project, "streams": batch}):
            with readable("what is fixed of a slice"):
                found[name, definition] = KeptSlices.from_json(text)
    return found


def set_kept_slices(connection: Connection, project: str, stream_name: str, of: Dimension, new: KeptSlices) -> None:
    """Fix more of a way to split a stream."""
    row = {"project": project, "stream": stream_name, "definition": of.to_json(), "levels": new.to_json()}
    upsert(connection, dimension, row)


def drop_kept_slices_of(connection: Connection, project: str, texts: Collection[str]) -> None:
    """Let no way to split a stream keep a slice for some values, where nothing is counted in it any more."""
    used = set(connection.scalars(sa.select(series.c.slice).where(series.c.project == project).distinct()))
    query = sa.select(dimension).where(dimension.c.project == project)
    for row in connection.execute(query).fetchall():
        names = [part[0] for part in json.loads(row.definition)]
        known = KeptSlices.from_json(row.levels)
        gone = {
            value for value in known.kept
            if set(value) & set(texts) and slice_key(dict(zip(names, value, strict=True))) not in used
        }  # fmt: skip
        if gone:
            left = dataclasses.replace(known, kept=known.kept - gone)
            upsert(connection, dimension, {**row._mapping, "levels": left.to_json()})


def set_task(connection: Connection, project: str, definition: Task) -> None:
    """Declare or redeclare a task."""
    text = definition.to_json()
    upsert(connection, task, {"project": project, "name": definition.name, "definition": text, "created": time.time()})


def add_binnings(
    connection: Connection, project: str, owner: Owner, new: Mapping[str, Binning], from_bucket: int
) -> None:
    """Fix binnings from a bucket on; a version that is fixed already stays as it is."""
    rows = [
        {
            "project": project, "owner": owner, "column": column, "version": b.version, "from_bucket": from_bucket,
            "centre": b.centre, "scale": b.scale, "bits": b.bits,
        }
        for column, b in new.items()
    ]  # fmt: skip
    insert_missing(connection, binning, rows)


def add_small_integers(connection: Connection, project: str, owner: Owner, columns: frozenset[str]) -> None:
    """Count these integer columns as categories too."""
    rows = [{"project": project, "owner": owner, "column": column} for column in sorted(columns)]
    insert_missing(connection, small_integer, rows)


def identifiers(connection: Connection, project: str, owner: Owner) -> dict[str, int]:
    """The text columns, each with the event time from which it is taken for an identifier (``fold.NEVER``: not so)."""
    query = sa.select(text_column.c.column, text_column.c.identifier_from).where(
        text_column.c.project == project, text_column.c.owner == owner
    )
    return {row.column: row.identifier_from for row in connection.execute(query)}


def set_identifiers(connection: Connection, project: str, owner: Owner, starts: Mapping[str, int]) -> None:
    """Treat text columns as identifiers from event times on; the earliest time ever given counts."""
    known = identifiers(connection, project, owner)
    rows = [
        {"project": project, "owner": owner, "column": column, "identifier_from": start}
        for column, start in starts.items()
        if column not in known or start < known[column]
    ]
    upsert(connection, text_column, rows)


def plan(connection: Connection, project: str, owner: Owner) -> Plan:
    """What is fixed of an owner's columns."""
    return plans(connection, project, [owner])[owner]


def plans(connection: Connection, project: str, owners: Sequence[Owner]) -> dict[Owner, Plan]:
    """What is fixed of each owner's columns."""
    binnings: dict[Owner, dict[str, list[tuple[int, Binning]]]] = {owner: {} for owner in owners}
    small: dict[Owner, set[str]] = {owner: set() for owner in owners}
    starts: dict[Owner, dict[str, int]] = {owner: {} for owner in owners}
    for batch in chunked(owners):
        asked = {"project": project, "owners": batch}
        for owner, column, version, from_bucket, centre, scale, bits in connection.execute(_BINNINGS, asked):
            binnings[owner].setdefault(column, []).append((from_bucket, Binning(centre, scale, bits, version)))
        for owner, column in connection.execute(_SMALL_INTEGERS, asked):
            small[owner].add(column)
        for owner, column, start in connection.execute(_TEXT_COLUMNS, asked):
            starts[owner][column] = start
    return {owner: Plan(binnings[owner], frozenset(small[owner]), starts[owner]) for owner in owners}


def closed_streams(connection: Connection, project: str) -> dict[str, int]:
    """The closed streams, and the moment before which their counts stay as they are."""
    return {row.stream: row.before for row in connection.execute(_CLOSED, {"project": project})}


def closed_before(connection: Connection, project: str, streams: Iterable[str]) -> int | None:
    """The moment before which the counts of what these streams make stay as they are; None where there is none."""
    known = closed_streams(connection, project)
    return max((known[name] for name in streams if name in known), default=None)


def close_before(connection: Connection, project: str, stream_name: str, moment: int) -> None:
    """Let the counts of what happened in a stream before a moment stay as they are; it is never moved back."""
    known = closed_before(connection, project, [stream_name])
    row = {"project": project, "stream": stream_name, "before": moment if known is None else max(moment, known)}
    upsert(connection, closed, row)


def cursors(connection: Connection, project: str, jobs: Collection[str] | None = None) -> dict[str, dict[str, int]]:
    """Up to which version of each stream each job of a project has counted; or some of its jobs."""
    found: dict[str, dict[str, int]] = {}
    for row in _of_jobs(connection, _CURSORS, _SOME_CURSORS, project, jobs):
        found.setdefault(row.job, {})[row.stream] = row.version
    return found


def counted_to(connection: Connection, project: str) -> dict[str, int]:
    """The last counted version of each stream's log; ``ANEW`` if it must be counted again."""

    found: dict[str, int] = {}
    for positions in cursors(connection, project).values():
        for name, version in positions.items():
            found[name] = max(version, found.get(name, -1))
    return found


def _of_jobs(
    connection: Connection, query: sa.Select[Any], some: sa.Select[Any], project: str, jobs: Collection[str] | None
) -> Iterator[sa.Row[Any]]:
    """The rows of all jobs of a project, by ``query``; or of some, which are few of many, by another."""
    if jobs is None:
        yield from connection.execute(query, {"project": project})
        return
    for batch in chunked(sorted(jobs)):
        yield from connection.execute(some, {"project": project, "jobs": batch})


def count_anew(connection: Connection, project: str, stream_name: str) -> None:
    """Let all jobs on a stream be counted from the start of its log, whatever its versions are."""
    of_stream = (cursor.c.project == project) & (cursor.c.stream == stream_name)
    connection.execute(sa.update(cursor).where(of_stream).values(version=ANEW))


def set_cursors(connection: Connection, project: str, jobs: Iterable[str], versions: Mapping[str, int]) -> None:
    """Write down how far some jobs have come."""
    rows = [{"project": project, "job": j, "stream": name, "version": v} for j in jobs for name, v in versions.items()]
    upsert(connection, cursor, rows)


@dataclasses.dataclass(frozen=True)
class Backfill:
    """How far the first count of whole logs has come: ``piece`` of ``pieces`` is next, at these versions of them."""

    versions: tuple[tuple[str, int], ...]
    piece: int
    pieces: int


def backfills(connection: Connection, project: str, jobs: Collection[str] | None = None) -> dict[str, Backfill]:
    """The first counts that are under way, by job; or those of some jobs."""
    with readable("how far a first count has come"):
        return {
            row.job: Backfill(tuple((name, v) for name, v in json.loads(row.versions)), row.piece, row.pieces)
            for row in _of_jobs(connection, _BACKFILLS, _SOME_BACKFILLS, project, jobs)
        }


def set_backfill(connection: Connection, project: str, job: str, progress: Backfill | None) -> None:
    """Write down how far a first count has come, or that it is over."""
    if progress is None:
        connection.execute(sa.delete(backfill).where(backfill.c.project == project, backfill.c.job == job))
        return
    row = {
        "project": project, "job": job, "versions": json.dumps(progress.versions), "piece": progress.piece,
        "pieces": progress.pieces,
    }  # fmt: skip
    upsert(connection, backfill, row)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a job could not count, how often it was tried, and when it is tried again (seconds since 1970)."""

    reason: str
    tries: int
    again: float


def failures(connection: Connection, project: str) -> dict[str, Failure]:
    """The jobs that could not count when they were last tried."""
    found = connection.execute(_FAILURES, {"project": project})
    return {row.job: Failure(row.reason, row.tries, row.again) for row in found}


def set_failure(connection: Connection, project: str, job: str, entry: Failure | None) -> None:
    """Write down that a job could not count, or that it could."""
    if entry is None:
        connection.execute(sa.delete(failure).where(failure.c.project == project, failure.c.job == job))
        return
    row = {"project": project, "job": job, **dataclasses.asdict(entry)}
    upsert(connection, failure, row)


def forget_job(connection: Connection, project: str, job: str) -> None:
    """Let a job start from the beginning."""
    connection.execute(sa.delete(cursor).where(cursor.c.project == project, cursor.c.job == job))
    set_backfill(connection, project, job, None)
    set_failure(connection, project, job, None)
