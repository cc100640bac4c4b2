"""The runs of this process that the store is to be told of: what a run costs its caller is an entry here."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Iterator

import pyarrow as pa

from fourfold.log import messages
from fourfold.model import Run

LASTING = 0.2  # seconds after which a run is told of before it ends
WAKE_AT = 1_000  # runs that have ended, at which the sender does not wait any longer; as many are sent at once
LIMIT = 20_000  # beyond, whoever ends a run sends them himself: none is dropped
Counted = tuple[messages.Header, pa.Table]


class RunQueue:
    """Runs that have begun and not been told of, and what was counted or has ended, in this order.

    Each step is one of a dict or a deque, which needs no lock. A run is told of as *begun* or as *ended*, never as
    begun after it has ended: whoever takes it out of ``_begun`` first, tells of it.
    """

    def __init__(self) -> None:
        self._begun: dict[str, Run] = {}
        self._waiting: collections.deque[Run | Counted] = collections.deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, run: Run) -> None:
        """A run has begun."""
        self._begun[run.id] = run

    def count(self, header: messages.Header, table: pa.Table) -> None:
        """A frame of a run was counted."""
        self._waiting.append((header, table))

    def end(self, run: Run) -> None:
        """A run has ended."""
        self._begun.pop(run.id, None)
        self._waiting.append(run)

    def begun(self, lasting: float) -> list[Run]:
        """The runs that have lasted so many seconds and were not told of."""
        now = time.time()
        old = [run.id for run in list(self._begun.values()) if not 0 <= now - run.started < lasting]
        return [run for id_ in old if (run := self._begun.pop(id_, None)) is not None]

    def take(self) -> Iterator[Run | Counted]:
        """What was counted and has ended, as it came."""
        with contextlib.suppress(IndexError):
            for _ in range(len(self._waiting)):
                yield self._waiting.popleft()

    def forked(self) -> None:
        """In the child of a fork: the parent tells of its runs."""
        self._begun.clear()
        self._waiting.clear()
