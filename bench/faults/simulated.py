"""A clock that a replay sets: runs start and end, and records are logged, at the times of the replayed days."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from fourfold.sdk import session, tracking

TICK = 0.02  # seconds that pass at each reading, so that no run takes no time


class SimulatedClock:
    """Stands in for the module ``time`` where the SDK reads when something happens; the replay moves it on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        """Seconds since 1970."""
        self.now += TICK
        return self.now

    def time_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.time() * 1e9)

    def go_to(self, moment: float) -> None:
        """Move on to a moment; never back."""
        self.now = max(self.now, moment)


@contextlib.contextmanager
def simulated(clock: SimulatedClock) -> Iterator[SimulatedClock]:
    """Let the SDK read this clock, and the process's own again afterwards."""
    with mock.patch.object(tracking, "clock", clock), mock.patch.object(session, "time_ns", clock.time_ns):
        yield clock
