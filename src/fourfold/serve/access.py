"""Who a request comes from, and what it may do: by a token, or by the session of a person who came with one.

On this machine alone, a store without tokens is open to everyone who can reach it, as its folder is. With the first
token, and on any other address, each request needs one.
"""

from __future__ import annotations

import dataclasses
import time
from http import HTTPStatus

from starlette.requests import HTTPConnection

from fourfold.model.access import Role, Token
from fourfold.serve.headers import header
from fourfold.serve.known import Facts, Known
from fourfold.state import tokens

COOKIE = "fourfold"
LASTING = 12 * 3_600.0  # seconds of a person's session


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request that is not served; ``status`` and the text are the answer."""

    def __init__(self, status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers or {}


@dataclasses.dataclass(frozen=True)
class Grant:
    """What a request may do; ``token`` is None where the store is open to everyone on this machine."""

    token: Token | None = None

    @property
    def role(self) -> Role:
        """What it allows."""
        return Role.ADMIN if self.token is None else self.token.role

    @property
    def covers_all(self) -> bool:
        """Whether it is good for all projects."""
        return self.token is None or not self.token.projects

    def covers(self, project: str) -> bool:
        """Whether it is good for a project."""
        return self.token is None or self.token.covers(project)


class Access:
    """Reads tokens from requests, and checks them against what is known of the state."""

    def __init__(self, known: Known, *, open_to_all: bool) -> None:
        self._known, self._open = known, open_to_all
        self._senders: dict[tuple[str, str], Grant] = {}  # by what their requests carried
        self._senders_of: Facts | None = None

    async def grant(self, request: HTTPConnection, needed: Role) -> Grant:
        """What the request may do.

        Raises:
            Refused: it brings no valid token, or one that does not allow what is needed.
            StateError: that cannot be known now: the state does not answer.
        """
        cookie = request.cookies.get(COOKIE, "") if header(request.scope, b"cookie") else ""
        carried = header(request.scope, b"authorization") or "", cookie
        if needed == Role.INGEST:
            found = self._lately(carried) or await self._sender(carried)
        else:
            found = self._found(await self._known.now(), carried)
        if found is None:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "a token is needed: send the header 'Authorization: Bearer TOKEN' ('fourfold tokens --add' makes one)",
                {"WWW-Authenticate": "Bearer"},
            )
        if not found.role.includes(needed):
            raise Refused(HTTPStatus.FORBIDDEN, f"this token is of the role {found.role}; this needs {needed}")
        return found

    def _lately(self, carried: tuple[str, str]) -> Grant | None:
        """As ``_found``, for those who come thousands of times a second: as it was known a moment ago."""
        facts = self._known.lately()
        return None if facts is None else self._remembered(facts, carried)

    async def _sender(self, carried: tuple[str, str]) -> Grant | None:
        """What one who sends may do, who was not known a moment ago.

        While the state does not answer, whom it knew is let in for a while. Nobody is turned away as unknown: that is
        not known.
        """
        try:
            return self._remembered(await self._known.now(), carried)
        except Exception:
            before = self._known.before()
            if before is None or (known := self._remembered(before, carried)) is None:
                raise
            return known

    def _remembered(self, facts: Facts, carried: tuple[str, str]) -> Grant | None:
        if facts is not self._senders_of:
            self._senders, self._senders_of = {}, facts
        known = self._senders.get(carried)
        if known is None and (known := self._found(facts, carried)) is not None:
            self._senders[carried] = known
        return known

    def _found(self, facts: Facts, carried: tuple[str, str]) -> Grant | None:
        authorization, cookie = carried
        scheme, _, secret = authorization.partition(" ")
        if scheme:
            token = token_of(facts, secret.strip()) if scheme.lower() == "bearer" else None
        elif cookie:
            token = _of_session(facts, cookie)
        else:
            return Grant() if self._open and facts.is_empty else None
        return None if token is None else Grant(token)


def token_of(facts: Facts, secret: str) -> Token | None:
    """The valid token with this secret."""
    return facts.valid.get(tokens.hashed(secret))


def _of_session(facts: Facts, secret: str) -> Token | None:
    token, expires = facts.sessions.get(tokens.hashed(secret), ("", 0.0))
    return next((t for t in facts.valid.values() if t.id == token and time.time() < expires), None)
