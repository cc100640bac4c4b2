"""Tokens, and the sessions of people who came with one. The state holds hashes of their secrets only.

A secret has 256 random bits, so that one round of SHA-256 protects it: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence

import sqlalchemy as sa

from fourfold.model.access import Role, Token
from fourfold.state.database import readable
from fourfold.state.tables import login, token

_PREFIX = "ff_"  # what scanners for leaked secrets can look for
Connection = sa.Connection


def create(connection: Connection, name: str, role: Role, projects: Sequence[str], now: float) -> tuple[Token, str]:
    """A new token, and its secret, which nobody can read again."""
    secret = _PREFIX + secrets.token_urlsafe(32)
    made = Token(secrets.token_hex(4), name, role, tuple(projects), now)
    connection.execute(
        sa.insert(token).values(
            id=made.id, hash=hashed(secret), name=name, role=role.value, projects=json.dumps(made.projects),
            created=now, revoked=None,
        )
    )  # fmt: skip
    return made, secret


def listed(connection: Connection) -> list[Token]:
    """All tokens, the oldest first, revoked ones too."""
    return [_read(row) for row in connection.execute(sa.select(token).order_by(token.c.created, token.c.id))]


def valid(connection: Connection) -> dict[str, Token]:
    """The tokens that are not revoked, by the hash of their secret."""
    return {row.hash: _read(row) for row in connection.execute(sa.select(token).where(token.c.revoked.is_(None)))}


def revoke(connection: Connection, id_: str, now: float) -> bool:
    """Revoke a token, with the sessions that began with it; False if there is none that is valid."""
    connection.execute(sa.delete(login).where(login.c.token == id_))
    revoked = sa.update(token).where(token.c.id == id_, token.c.revoked.is_(None)).values(revoked=now)
    return connection.execute(revoked).rowcount > 0


def begin_session(connection: Connection, token_id: str, now: float, lasting: float) -> str:
    """A person has come with a token; returns the session's secret. Sessions that have expired are removed."""
    secret = secrets.token_urlsafe(32)
    connection.execute(sa.delete(login).where(login.c.expires <= now))
    connection.execute(sa.insert(login).values(hash=hashed(secret), token=token_id, expires=now + lasting))
    return secret


def end_session(connection: Connection, secret: str) -> None:
    """A person has gone."""
    connection.execute(sa.delete(login).where(login.c.hash == hashed(secret)))


def sessions(connection: Connection) -> dict[str, tuple[str, float]]:
    """The tokens of all sessions, and when each expires, by the hash of the session's secret."""
    return {row.hash: (row.token, row.expires) for row in connection.execute(sa.select(login))}


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()


def _read(row: sa.Row[tuple[object, ...]]) -> Token:
    with readable(f"the token {row.id!r}"):
        projects = tuple(map(str, json.loads(row.projects)))
        return Token(row.id, row.name, Role(row.role), projects, row.created, row.revoked)
