"""Incidents, as the state keeps them: each under a number of its project's own."""

from __future__ import annotations

import sqlalchemy as sa

from fourfold.model import Incident, IncidentState
from fourfold.state.database import readable
from fourfold.state.statements import upsert
from fourfold.state.tables import incident

Connection = sa.Connection
_ACTIVE = [state.value for state in IncidentState if state.is_active]
_ALL = (
    sa.select(incident.c.number, incident.c.definition)
    .where(incident.c.project == sa.bindparam("project"))
    .order_by(incident.c.number)
)
_LISTED = {  # by whether they are active
    None: _ALL, True: _ALL.where(incident.c.state.in_(_ACTIVE)), False: _ALL.where(incident.c.state.not_in(_ACTIVE)),
}  # fmt: skip


def load(connection: Connection, project: str, *, active: bool | None = None) -> list[Incident]:
    """The incidents of a project, the oldest first: those that have not ended, those that have, or all.

    Raises:
        StateError: one is damaged.
    """
    return [_read(*row) for row in connection.execute(_LISTED[active], {"project": project})]


def one(connection: Connection, project: str, id_: str) -> Incident | None:
    """The incident of this number, if there is one.

    Raises:
        StateError: it is damaged.
    """
    if not (id_.isascii() and id_.isdigit() and len(id_) < 18):
        return None
    query = sa.select(incident.c.number, incident.c.definition)
    row = connection.execute(query.where(incident.c.project == project, incident.c.number == int(id_))).first()
    return None if row is None else _read(*row)


def save(connection: Connection, project: str, changed: Incident) -> None:
    """Write down an incident as it is now."""
    row = {
        "project": project, "number": int(changed.id), "state": changed.state.value, "opened": changed.opened,
        "resolved": changed.resolved, "definition": storable(changed.to_json()),
    }  # fmt: skip
    upsert(connection, incident, row)


def next_id(connection: Connection, project: str) -> str:
    """The next free number of the project, as text; in the transaction that saves the incident, no other takes it."""
    highest = connection.scalar(sa.select(sa.func.max(incident.c.number)).where(incident.c.project == project))
    return str((highest or 0) + 1)


def storable(text: str) -> str:
    """JSON that a database takes: half a surrogate pair, which UTF-8 cannot express, as JSON's escape for it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _read(number: int, definition: str) -> Incident:
    with readable(f"incident {number}"):
        return Incident.from_json(definition)
