"""The runs of this process that are still to be sent: for its caller, a run costs one entry here."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, TypeVar

from fourfold.log import messages
from fourfold.model import Run

if TYPE_CHECKING:
    import pyarrow as pa

Entry = TypeVar("Entry")
LASTING = 0.2  # seconds after which a run is sent before it ends
BEAT_EVERY = 30.0  # seconds after which a run that lasts is sent again, as a sign of life
WAKE_AT = 1_000  # ended runs that wake the sender at once; also the most runs in a message
LIMIT, COUNTED_LIMIT = 20_000, 64  # waiting runs and counts; beyond, the caller that adds one sends them
Counted = tuple[messages.Header, "pa.Table"]


class RunQueue:
    """Runs that have begun and were not sent, the counts of their frames, and runs that have ended.

    Each step is one operation of a dict or a deque, which needs no lock. A run is sent as *begun* or as *ended*, never
    as begun after it has ended: the first to take it out of ``_begun`` sends it. What was sent as begun is sent again
    every so often until it ends: the beats, all in one message.
    """

    def __init__(self) -> None:
        self._begun: dict[str, Run] = {}
        self._lasting: dict[str, Run] = {}
        self._beat = time.monotonic()
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
        self._lasting.pop(run.id, None)
        self._ended.append(run)

    def is_full(self) -> bool:
        """Whether too much waits."""
        return len(self._ended) >= LIMIT or len(self._counted) >= COUNTED_LIMIT

    def begun(self, lasting: float) -> list[Run]:
        """The runs that have lasted so many seconds and were not sent."""
        now = time.time()
        sent = []
        for run in list(self._begun.values()):
            if 0 <= now - run.started < lasting:
                continue
            self._lasting[run.id] = run
            if self._begun.pop(run.id, None) is None:  # it has ended just now
                self._lasting.pop(run.id, None)
            else:
                sent.append(dataclasses.replace(run, seen=now))
        return sent

    def beats(self, every: float = BEAT_EVERY) -> list[Run]:
        """The runs that were sent as begun and last, as seen now, if it is time for that; of very many, the oldest."""
        if not self._lasting or time.monotonic() - self._beat < every:
            return []
        self._beat, now = time.monotonic(), time.time()
        oldest = itertools.islice(list(self._lasting.values()), WAKE_AT)
        return [dataclasses.replace(run, seen=now) for run in oldest]

    def take(self) -> tuple[list[Counted], list[Run]]:
        """The runs that have ended, and the waiting counts, including all those of these runs."""
        ended = _emptied(self._ended)
        return _emptied(self._counted), ended

    def forked(self) -> None:
        """In the child of a fork: the parent sends its own runs."""
        self._begun.clear()
        self._lasting.clear()
        self._counted.clear()
        self._ended.clear()


def _emptied(waiting: collections.deque[Entry]) -> list[Entry]:
    """Remove and return all that waits; a signal's handler may take some meanwhile."""
    taken: list[Entry] = []
    with contextlib.suppress(IndexError):
        while True:
            taken.append(waiting.popleft())
    return taken
