"""The outbox: notices of incidents, each for one channel, until they are sent.

A notice is claimed before it is sent: the claim puts its next try into the future, so that no other process takes it,
and so that it comes back by itself if the one that claimed it dies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa

from fourfold.state.incidents import storable
from fourfold.state.statements import insert_missing
from fourfold.state.tables import notice

Connection = sa.Connection


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """News of an incident for one channel; ``again`` is when to try (next), in seconds since 1970."""

    id: str
    channel: str
    incident: str
    event: str
    body: str
    created: float
    tries: int = 0
    again: float = 0.0
    sent: float | None = None
    error: str | None = None

    def is_claimed(self, now: float) -> bool:
        """Whether a process is sending it, as far as is known."""
        return self.sent is None and self.tries > 0 and self.error is None and self.again > now


def add(connection: Connection, project: str, added: Sequence[Notice]) -> None:
    """Put notices into the outbox; one that is there already stays as it is."""
    rows = [
        {**dataclasses.asdict(each), "project": project, "incident": int(each.incident), "body": storable(each.body)}
        for each in added
    ]
    insert_missing(connection, notice, rows)


def due(connection: Connection, project: str, now: float) -> list[Notice]:
    """The notices to send now, the oldest first."""
    query = sa.select(notice).where(notice.c.project == project, notice.c.sent.is_(None), notice.c.again <= now)
    return [_read(row) for row in connection.execute(query.order_by(notice.c.created, notice.c.id))]


def waiting(connection: Connection, project: str) -> list[Notice]:
    """All notices that have not been sent, the oldest first."""
    query = sa.select(notice).where(notice.c.project == project, notice.c.sent.is_(None))
    return [_read(row) for row in connection.execute(query.order_by(notice.c.created, notice.c.id))]


def of_incident(connection: Connection, project: str, incident: str) -> list[Notice]:
    """All notices of an incident, sent or not, the oldest first."""
    query = sa.select(notice).where(notice.c.project == project, notice.c.incident == int(incident))
    return [_read(row) for row in connection.execute(query.order_by(notice.c.created, notice.c.id))]


def known(connection: Connection, project: str) -> set[tuple[str, str]]:
    """Which channel has, or had, notices of which incident: pairs of both names."""
    query = sa.select(notice.c.channel, notice.c.incident).distinct().where(notice.c.project == project)
    return {(channel, str(incident)) for channel, incident in connection.execute(query)}


def claim(connection: Connection, id_: str, now: float, until: float) -> bool:
    """Whether this process may send the notice; no other may before ``until``. Commit before sending."""
    query = sa.update(notice).where(notice.c.id == id_, notice.c.sent.is_(None), notice.c.again <= now)
    return connection.execute(query.values(again=until, tries=notice.c.tries + 1, error=None)).rowcount == 1


def sent(connection: Connection, id_: str, now: float) -> None:
    """The notice has arrived."""
    connection.execute(sa.update(notice).where(notice.c.id == id_).values(sent=now, error=None))


def failed(connection: Connection, id_: str, error: str, again: float) -> None:
    """The notice has not arrived, and why; when to try next."""
    query = sa.update(notice).where(notice.c.id == id_, notice.c.sent.is_(None))
    connection.execute(query.values(error=storable(error), again=again))


def postpone(connection: Connection, id_: str, again: float) -> None:
    """The notice has arrived, and is to be sent again later."""
    query = sa.update(notice).where(notice.c.id == id_, notice.c.sent.is_(None))
    connection.execute(query.values(error=None, tries=0, again=again))


def remove(connection: Connection, id_: str) -> None:
    """The notice is no longer to be sent."""
    connection.execute(sa.delete(notice).where(notice.c.id == id_))


def _read(row: sa.Row[tuple[object, ...]]) -> Notice:
    fields = {name: value for name, value in row._mapping.items() if name != "project"}
    return Notice(**{**fields, "incident": str(fields["incident"])})
