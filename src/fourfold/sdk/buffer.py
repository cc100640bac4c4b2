"""The records that wait to be sent: a bounded buffer; adding a record costs microseconds."""

from __future__ import annotations

import collections
import contextlib
import threading
from time import monotonic, sleep
from typing import Any

from fourfold.sdk.record import Record

LIMIT = 200_000  # records in the buffer; beyond, they are dropped and counted


class Buffer:
    """The records given to ``ff.log`` one by one, the oldest first.

    ``records`` is appended to and taken from without a lock, as a deque may be; ``wake`` wakes the sender, once
    ``wake_at`` records wait.
    """

    def __init__(self, wait: float = 0.0, wake_at: int = 20_000) -> None:
        self.records: collections.deque[tuple[Any, ...]] = collections.deque()
        self.dropped = 0
        self.wake = threading.Event()
        self._wait, self.wake_at = wait, wake_at

    def add(self, record: tuple[Any, ...]) -> None:
        """Add a record, given the fields of a ``Record``; if the buffer is full, it is dropped and counted."""
        waiting = len(self.records)
        if waiting < LIMIT or self._room():
            self.records.append(record)
            if waiting == self.wake_at:
                self.wake.set()

    def take(self, most: int) -> list[Record]:
        """Remove and return the oldest records; a signal's handler may take some meanwhile."""
        taken: list[Record] = []
        with contextlib.suppress(IndexError):
            while len(taken) < most:
                taken.append(Record._make(self.records.popleft()))
        return taken

    def forked(self) -> None:
        """In the child of a fork: start with nothing."""
        self.wake = threading.Event()
        self.records.clear()
        self.dropped = 0

    def _room(self) -> bool:
        """Whether there is room after giving the sender a moment to make some."""
        self.wake.set()
        until = monotonic() + self._wait
        while len(self.records) >= LIMIT:
            if monotonic() >= until:
                self.dropped += 1
                return False
            sleep(0.001)
        return True
