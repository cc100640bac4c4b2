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
from fourfold.state import Database, tokens

COOKIE = "fourfold"
LASTING = 12 * 3_600.0  # seconds of a person's session
AGAIN_AFTER = 0.2  # seconds after which who sends is looked up again: a revoked token may send for so long


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
    """Reads tokens from requests, and checks them against the state."""

    def __init__(self, database: Database, *, open_to_all: bool) -> None:
        self._database, self._open = database, open_to_all
        self._senders: dict[tuple[str, str], Grant] = {}  # by what their requests carried
        self._senders_until = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether no token was ever made."""
        return not self._database.recall(tokens.listed)

    def grant(self, request: HTTPConnection, needed: Role) -> Grant:
        """What the request may do.

        Raises:
            Refused: it brings no valid token, or one that does not allow what is needed.
        """
        carried = request.headers.get("authorization", ""), request.cookies.get(COOKIE, "")
        found = self._sender(carried) if needed == Role.INGEST else self._found(*carried)
        if found is None:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "a token is needed: send the header 'Authorization: Bearer TOKEN' ('fourfold tokens --add' makes one)",
                {"WWW-Authenticate": "Bearer"},
            )
        if not found.role.includes(needed):
            raise Refused(HTTPStatus.FORBIDDEN, f"this token is of the role {found.role}; this needs {needed}")
        return found

    def token_of(self, secret: str) -> Token | None:
        """The valid token with this secret."""
        known: dict[str, Token] = self._database.recall(tokens.valid)
        return known.get(tokens.hashed(secret))

    def _sender(self, carried: tuple[str, str]) -> Grant | None:
        """As ``_found``, for those who come thousands of times a second: looked up once in a moment."""
        now = time.monotonic()
        if now >= self._senders_until:
            self._senders, self._senders_until = {}, now + AGAIN_AFTER
        known = self._senders.get(carried)
        if known is None and (known := self._found(*carried)) is not None:
            self._senders[carried] = known
        return known

    def _found(self, authorization: str, cookie: str) -> Grant | None:
        scheme, _, secret = authorization.partition(" ")
        if scheme:
            token = self.token_of(secret.strip()) if scheme.lower() == "bearer" else None
        elif cookie:
            token = self._of_session(cookie)
        else:
            return Grant() if self._open and self.is_empty else None
        return None if token is None else Grant(token)

    def _of_session(self, secret: str) -> Token | None:
        known: dict[str, tuple[str, float]] = self._database.recall(tokens.sessions)
        token, expires = known.get(tokens.hashed(secret), ("", 0.0))
        valid: dict[str, Token] = self._database.recall(tokens.valid)
        return next((t for t in valid.values() if t.id == token and time.time() < expires), None)
