"""Objectives, and the runs that some of them judge."""

from __future__ import annotations

import dataclasses
import time

import sqlalchemy as sa

from fourfold.model import EVERYTHING, HOUR, Objective, Owner, RunStatus
from fourfold.state.database import readable
from fourfold.state.statements import chunked, upsert
from fourfold.state.tables import counts, objective, run, series

Connection = sa.Connection
_LISTED = (
    sa.select(objective.c.name, objective.c.definition)
    .where(objective.c.project == sa.bindparam("project"))
    .order_by(objective.c.name)
)


def listed(connection: Connection, project: str) -> dict[str, Objective]:
    """The objectives of a project, by name."""
    with readable("the declaration of an objective"):
        found = connection.execute(_LISTED, {"project": project})
        return {row.name: Objective.from_json(row.definition) for row in found}


def set_one(connection: Connection, project: str, name: str, definition: Objective | None) -> None:
    """Declare or redeclare an objective; without a definition, withdraw it."""
    if definition is None:
        connection.execute(sa.delete(objective).where(objective.c.project == project, objective.c.name == name))
        return
    row = {"project": project, "name": name, "definition": definition.to_json(), "created": time.time()}
    upsert(connection, objective, row)


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: the moment that it is about (else its start) in seconds since 1970, and its duration."""

    at: float
    succeeded: bool
    seconds: float


def ended_runs(connection: Connection, project: str, component: str) -> list[Ended]:
    """A component's runs that have ended, the oldest first."""
    at = sa.func.coalesce(run.c.at, run.c.started)
    query = sa.select(at.label("at"), run.c.status, run.c.started, run.c.ended, run.c.seen).where(
        run.c.project == project, run.c.component == component, run.c.status != RunStatus.RUNNING.value
    )
    return [
        Ended(row.at, row.status == RunStatus.SUCCEEDED.value, (row.ended or row.seen or row.started) - row.started)
        for row in connection.execute(query.order_by(at))
    ]


def newest_hour(connection: Connection, project: str, before: int, streams: tuple[str, ...]) -> int | None:
    """The newest hour, by event time, in which any of some streams has records, but not from ``before`` on."""
    found: list[int] = []
    for batch in chunked([Owner.of_stream(name) for name in streams]):
        query = sa.select(sa.func.max(counts.c.bucket)).select_from(counts.join(series)).where(
            series.c.project == project, series.c.owner.in_(batch), series.c.column == "",
            series.c.slice == EVERYTHING, counts.c.level == HOUR, counts.c.bucket < before,
        )  # fmt: skip
        newest = connection.scalar(query)
        found += [] if newest is None else [newest]
    return max(found, default=None)
