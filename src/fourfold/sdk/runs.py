"""The runs of this process that the store is to be told of: what a run costs its caller is an entry here."""

from __future__ import annotations

import collections
import contextlib
import time
from typing import TypeVar

import pyarrow as pa

from fourfold.log import messages
from fourfold.model import Run

Entry = TypeVar("Entry")
LASTING = 0.2  # seconds after which a run is told of before it ends
WAKE_AT = 1_000  # runs that have ended, at which the sender does not wait any longer; as many are sent at once
LIMIT, COUNTED_LIMIT = 20_000, 64  # runs and counts that wait; beyond, whoever adds one sends them: none is dropped
Counted = tuple[messages.Header, pa.Table]


class RunQueue:
    """Runs that have begun and not been told of, what was counted of their frames, and runs that have ended.

    Each step is one of a dict or a deque, which needs no lock. A run is told of as *begun* or as *ended*, never as
    begun after it has ended: whoever takes it out of ``_begun`` first, tells of it.
    """

    def __init__(self) -> None:
        self._begun: dict[str, Run] = {}
        self._counted: collections.deque[Counted] = collections.deque()
        self._ended: collections.deque[Run] = collections.deque()

    def __len__(self) -> int:
        return len(self._ended)

    def begin(self, run: Run) -> None:
        """A run has begun."""
        self._begun[run.id] = run

    def count(self, header: messages.Header, table: pa.Table) -> None:
        """A frame of a run was counted."""
        self._counted.append((header, table))

    def end(self, run: Run) -> None:
        """A run has ended."""
        self._begun.pop(run.id, None)
        self._ended.append(run)

    def is_full(self) -> bool:
        """Whether more waits than should."""
        return len(self._ended) >= LIMIT or len(self._counted) >= COUNTED_LIMIT

    def begun(self, lasting: float) -> list[Run]:
        """The runs that have lasted so many seconds and were not told of."""
        now = time.time()
        old = [run.id for run in list(self._begun.values()) if not 0 <= now - run.started < lasting]
        return [run for id_ in old if (run := self._begun.pop(id_, None)) is not None]

    def take(self) -> tuple[list[Counted], list[Run]]:
        """The runs that have ended, and what was counted: of these runs, all that was."""
        ended = _emptied(self._ended)
        return _emptied(self._counted), ended

    def forked(self) -> None:
        """In the child of a fork: the parent tells of its runs."""
        self._begun.clear()
        self._counted.clear()
        self._ended.clear()


def _emptied(waiting: collections.deque[Entry]) -> list[Entry]:
    """All that waits, which then does no longer; a signal's handler may take some meanwhile."""
    taken: list[Entry] = []
    with contextlib.suppress(IndexError):
        while True:
            taken.append(waiting.popleft())
    return taken
