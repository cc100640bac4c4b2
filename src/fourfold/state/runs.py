"""Runs and what they read and wrote: the lineage."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fourfold.model import Artifact, Run, RunStatus
from fourfold.state.database import readable
from fourfold.state.statements import upsert
from fourfold.state.tables import artifact, run

Connection = sa.Connection


def save(connection: Connection, project: str, record: Run) -> None:
    """Write down a run as it is now, with its artifacts.

    A run that has ended does not start again, and one that was lost only by a newer sign of life.
    """
    place = (run.c.project == project) & (run.c.id == record.id)
    known = connection.execute(sa.select(run.c.status, run.c.ended, run.c.seen).where(place)).first()
    seen = max((at for at in (record.seen, known.seen if known else None) if at is not None), default=None)
    if known is not None and record.ended is None:
        is_older = record.seen is None or (known.seen is not None and record.seen <= known.seen)
        if known.ended is not None or (known.status == RunStatus.LOST.value and is_older):
            return
    values = {
        "project": project, "id": record.id, "component": record.component, "status": record.status.value,
        "started": record.started, "ended": record.ended, "at": record.at, "parent": record.parent, "host": record.host,
        "process": record.process, "seen": seen,
        "error": record.error, "code": _json(record.code), "params": _json(record.params),
        "metrics": _json(record.metrics),
    }  # fmt: skip
    if known is None:
        connection.execute(sa.insert(run), values)
    else:
        connection.execute(sa.update(run).where(place), values)
    rows = [
        {
            "project": project, "run_id": record.id, "direction": a.direction, "name": a.name, "kind": a.kind,
            "fingerprint": a.fingerprint, "rows": a.rows, "details": _json(a.details),
        }
        for a in record.artifacts
    ]  # fmt: skip
    upsert(connection, artifact, rows)


def report(connection: Connection, project: str, record: Run) -> None:
    """Write down what is said of a run, together with what was said of it before (see ``Run.merged``)."""
    known = by_id(connection, project, [record.id]).get(record.id)
    save(connection, project, record if known is None else known.merged(record))


def recent(
    connection: Connection,
    project: str,
    component: str | None = None,
    limit: int = 20,
    *,
    status: RunStatus | None = None,
    offset: int = 0,
) -> list[Run]:
    """The newest runs, the newest first; of a component, or of a status."""
    query = _RECENT if component is None else _NEWEST
    if status is not None:
        query = query.where(run.c.status == status.value)
    return _read(connection, query.offset(offset), {"project": project, "name": component, "most": limit})


def number(connection: Connection, project: str, component: str | None = None, status: RunStatus | None = None) -> int:
    """How many runs there are; of a component, or of a status."""
    query = _NUMBER
    if component is not None:
        query = query.where(run.c.component == component)
    if status is not None:
        query = query.where(run.c.status == status.value)
    return connection.scalar(query, {"project": project}) or 0


def before(connection: Connection, project: str, ids: Sequence[str]) -> dict[str, Run]:
    """The run of the same component before each of some runs, where there is one."""
    places = {"project": project, "ids": list(set(ids))}
    older = {id_: earlier for id_, earlier in connection.execute(_BEFORE, places) if earlier is not None}
    found = by_id(connection, project, list(older.values()))
    return {id_: found[earlier] for id_, earlier in older.items()}


def newest(connection: Connection, project: str, limit: int) -> dict[str, list[Run]]:
    """The newest runs of each component, by when they started, the oldest first."""
    found = {}
    for name in _names(connection, project):
        found[name] = _read(connection, _NEWEST, {"project": project, "name": name, "most": limit})[::-1]
    return found


def during(
    connection: Connection, project: str, windows: Collection[tuple[float, float]], limit: int
) -> dict[str, list[Run]]:
    """The runs of each component that are of [start, end) of some windows, by their logical times, the oldest first.

    Of each window the newest ones; without their artifacts.
    """
    found = {}
    for name in _names(connection, project):
        inside: dict[str, Run] = {}
        for start, end in windows:
            asked = {"project": project, "name": name, "most": limit, "start": start, "end": end}
            inside |= {each.id: each for each in _read(connection, _DURING, asked, artifacts=False)}
        if inside:
            found[name] = sorted(inside.values(), key=lambda each: (each.started, each.id))
    return found


def newest_starts(connection: Connection, project: str, limit: int) -> dict[str, list[tuple[float, float | None]]]:
    """When each component's newest runs started, and their logical times, the oldest first."""
    found = {}
    for name in _names(connection, project):
        rows = connection.execute(_STARTS, {"project": project, "name": name, "most": limit}).fetchall()
        found[name] = [(started, at) for started, at in reversed(rows)]
    return found


def expectations(connection: Connection, project: str) -> dict[str, Any]:
    """What each component's newest run says that the values of columns are to be, by column."""
    found = {}
    for name in _names(connection, project):
        text = connection.scalar(_CODES, {"project": project, "name": name, "most": 1})
        with readable("a run"):
            code = json.loads(text or "{}")
        if isinstance(declared := code.get("expects"), dict):
            found[name] = declared
    return found


def _names(connection: Connection, project: str) -> list[str]:
    """The components that have run; each is found by one step in the index, however many runs there are."""
    return list(connection.scalars(_NAMES, {"project": project}))


def by_id(connection: Connection, project: str, ids: Sequence[str]) -> dict[str, Run]:
    """The runs of these ids in a project, as far as they are known."""
    return {found.id: found for found in _read(connection, _BY_ID, {"project": project, "ids": list(set(ids))})}


def mentioning(connection: Connection, project: str, texts: Collection[str]) -> list[str]:
    """The runs whose parameters, error or artifacts hold one of some texts, as a word of its own."""
    query = sa.select(run.c.id, run.c.params, run.c.error, artifact.c.name, artifact.c.details)
    query = query.select_from(run.outerjoin(artifact)).where(run.c.project == project)
    texts = {written for text in texts for written in (text, json.dumps(text)[1:-1], _json(text)[1:-1])}
    found = set()
    for id_, *kept in connection.execute(query):
        whole = "\n".join(text for text in kept if text)
        if any(text in whole and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", whole) for text in texts if text):
            found.add(id_)
    return sorted(found)


def _of_component(*columns: Any) -> sa.Select[Any]:
    """These columns of a component's newest runs, the newest first."""
    query = sa.select(*columns).where(run.c.project == sa.bindparam("project"), run.c.component == sa.bindparam("name"))
    return query.order_by(run.c.started.desc(), run.c.id).limit(sa.bindparam("most"))


def _each_before() -> sa.Select[Any]:
    """The ids of some runs, each with that of the run of its component before it."""
    older = run.alias("older")
    follows = (older.c.started < run.c.started) | ((older.c.started == run.c.started) & (older.c.id > run.c.id))
    earlier = (
        sa.select(older.c.id)
        .where(older.c.project == run.c.project, older.c.component == run.c.component)
        .where(older.c.started <= run.c.started, follows)  # the first is what the index knows
        .order_by(older.c.started.desc(), older.c.id)
        .limit(1)
        .correlate(run)
        .scalar_subquery()
    )
    return sa.select(run.c.id, earlier).where(
        run.c.project == sa.bindparam("project"), run.c.id.in_(sa.bindparam("ids", expanding=True))
    )


def _each_name() -> sa.Select[Any]:
    """The components of a project: the first one, then the next one after each."""
    least = sa.select(sa.func.min(run.c.component).label("name")).where(run.c.project == sa.bindparam("project"))
    known = least.cte("known", recursive=True)
    following = least.where(run.c.component > known.c.name).scalar_subquery()
    known = known.union_all(sa.select(following).where(known.c.name.is_not(None)))
    return sa.select(known.c.name).where(known.c.name.is_not(None))


def _passed(direction: str, *columns: Any) -> sa.Select[Any]:
    """The components of a project with these columns of what they wrote ("output") or read ("input"), each once."""
    groups = run.c.component, *columns
    query = sa.select(*groups, sa.func.min(run.c.started).label("first"), sa.func.max(run.c.started).label("last"))
    return (
        query.join_from(artifact, run, (run.c.project == artifact.c.project) & (run.c.id == artifact.c.run_id))
        .where(artifact.c.project == sa.bindparam("project"), artifact.c.direction == direction)
        .group_by(*groups)
    )


def _each_edge() -> sa.Select[Any]:
    """The components of a project where an output of one was later an input of the other, and what it was."""
    made = _passed("output", artifact.c.fingerprint).subquery("made")
    used = _passed("input", artifact.c.name, artifact.c.fingerprint).subquery("used")
    return (
        sa.select(made.c.component, used.c.component, used.c.name)
        .distinct()
        .select_from(made)
        .join(used, used.c.fingerprint == made.c.fingerprint)
        .where(made.c.component != used.c.component, made.c.first <= used.c.last)
    )


# made once: building a statement takes longer than many a small answer
_NEWEST, _STARTS, _CODES = _of_component(run), _of_component(run.c.started, run.c.at), _of_component(run.c.code)
_LOGICAL = sa.func.coalesce(run.c.at, run.c.started)
_DURING = _NEWEST.where(sa.bindparam("start") <= _LOGICAL, sa.bindparam("end") > _LOGICAL)
_NUMBER = sa.select(sa.func.count()).where(run.c.project == sa.bindparam("project"))
_RECENT = (
    sa.select(run)
    .where(run.c.project == sa.bindparam("project"))
    .order_by(run.c.started.desc(), run.c.id)
    .limit(sa.bindparam("most"))
)
_BY_ID = sa.select(run).where(
    run.c.project == sa.bindparam("project"), run.c.id.in_(sa.bindparam("ids", expanding=True))
)
_BEFORE = _each_before()
_NAMES = _each_name()
_COMPONENTS = (
    sa.select(run.c.component, sa.func.count().label("runs"))
    .where(run.c.project == sa.bindparam("project"))
    .group_by(run.c.component)
    .order_by(sa.func.min(run.c.started))
)
_EDGES, _INPUTS = _each_edge(), _passed("input", artifact.c.name)
_ARTIFACTS = (
    sa.select(artifact)
    .where(artifact.c.project == sa.bindparam("project"), artifact.c.run_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(artifact.c.name)
)


def _read(
    connection: Connection, query: sa.Select[Any], values: Mapping[str, Any], *, artifacts: bool = True
) -> list[Run]:
    """The runs that a query finds in the project that ``values`` name, with their artifacts or without."""
    rows = connection.execute(query, values).fetchall()
    passed: dict[str, list[Artifact]] = {}
    ids = [row.id for row in rows] if artifacts else []
    with readable("a run"):
        for row in connection.execute(_ARTIFACTS, {"project": values["project"], "ids": ids}):
            entry = Artifact(row.name, row.direction, row.kind, row.fingerprint, row.rows, _loaded(row.details))
            passed.setdefault(row.run_id, []).append(entry)
        codes = {text: _loaded(text) for text in {row.code for row in rows}}  # most runs have the same
        return [
            Run(
                id_, component, RunStatus(status), started, ended, at, parent, host, process, error, codes[code],
                _loaded(params), _loaded(metrics), tuple(passed.get(id_, ())), seen,
            )
            for (
                _, id_, component, status, started, ended, at, parent, host, process, seen, error, code, params, metrics
            ) in rows
        ]  # fmt: skip


def components(connection: Connection, project: str) -> dict[str, int]:
    """The components that have run, in the order of their first run, with how often they have."""
    return {row.component: row.runs for row in connection.execute(_COMPONENTS, {"project": project})}


def edges(connection: Connection, project: str) -> list[tuple[str, str, str]]:
    """Which component feeds which: (upstream, downstream, artifact), where an output was later an input."""
    return sorted((row[0], row[1], row[2]) for row in connection.execute(_EDGES, {"project": project}))


def inputs(connection: Connection, project: str) -> list[tuple[str, str]]:
    """What each component reads: (component, artifact)."""
    return sorted((row[0], row[1]) for row in connection.execute(_INPUTS, {"project": project}))


def running(connection: Connection, host: str) -> dict[tuple[str, str], int]:
    """The runs that have not ended on a host, each by its project and its id, with their processes."""
    query = sa.select(run.c.project, run.c.id, run.c.process)
    query = query.where(run.c.status == RunStatus.RUNNING.value, run.c.host == host)
    return {(row.project, row.id): row.process for row in connection.execute(query)}


def mark_lost(connection: Connection, lost: Sequence[tuple[str, str]]) -> None:
    """Runs, each by its project and its id, that never ended and whose process is gone."""
    query = sa.update(run).where(
        run.c.project == sa.bindparam("of"), run.c.id == sa.bindparam("r"), run.c.status == RunStatus.RUNNING.value
    )
    connection.execute(query.values(status=RunStatus.LOST.value), [{"of": project, "r": id_} for project, id_ in lost])


def _loaded(text: str) -> Any:
    return {} if text == "{}" else json.loads(text)


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
