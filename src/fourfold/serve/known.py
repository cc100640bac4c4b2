"""What must be known of the state before a request is served: the tokens, who has signed in, and the projects.

Who sends thousands of times a second is not looked up each time, and is let in for a while longer where the state gives
no answer: what is sent is durable without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import NamedTuple

from fourfold.model.access import Token
from fourfold.serve.lookups import Lookups
from fourfold.state import Database, catalogue, tokens

AGAIN_AFTER = 0.2  # seconds after which it is read again: a revoked token may send for so long
LASTING = 60.0  # seconds for which what was read serves who sends, while the state does not answer
_HEALTHY_FOR = 1.0  # seconds after which a server that is asked how it is looks again


class Facts(NamedTuple):
    """What was true at one moment."""

    valid: dict[str, Token]  # by the hash of their secret
    sessions: dict[str, tuple[str, float]]  # each with its token, and when it expires
    is_empty: bool  # whether no token was ever made
    projects: list[str]


class Known:
    """Reads it, and remembers it for a moment."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._database, self._lookups = database, lookups
        self._facts: Facts | None = None
        self._read, self._asked = -LASTING, -LASTING  # when the newest reading began: that succeeded, of all
        self._ahead: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def now(self) -> Facts:
        """As it is now.

        Raises:
            StateError: the state does not answer, or cannot be read.
        """
        began = self._asked = time.monotonic()
        try:
            facts = await self._lookups.ask(self._look)
        except Exception as error:
            self._failure = error
            raise
        if began >= self._read:
            self._facts, self._read, self._failure = facts, began, None
        return facts

    def lately(self) -> Facts | None:
        """As it was a moment ago, if it was read then."""
        age = time.monotonic() - self._read
        if age >= AGAIN_AFTER:
            return None
        if age >= AGAIN_AFTER / 2:
            self._look_ahead()
        return self._facts

    def before(self) -> Facts | None:
        """As it was when it was read last, unless that is long ago."""
        return self._facts if time.monotonic() - self._read < LASTING else None

    def failure(self) -> Exception | None:
        """Why the state could not be read the last time; who asks is not kept waiting, and the next one told more."""
        if time.monotonic() - self._asked >= _HEALTHY_FOR:
            self._look_ahead()
        return self._failure

    def _look_ahead(self) -> None:
        """Read it again while nobody waits for it."""
        if self._ahead is None or self._ahead.done():
            self._ahead = asyncio.get_running_loop().create_task(self._quietly())

    async def _quietly(self) -> None:
        with contextlib.suppress(Exception):  # it is kept, and who needs the state is told
            await self.now()

    def _look(self) -> Facts:
        recall = self._database.recall
        with self._database.question():
            return Facts(
                recall(tokens.valid), recall(tokens.sessions), not recall(tokens.listed), recall(catalogue.projects)
            )
