"""Error budgets: of all events in a window, a share may be bad; how much of that is spent?

All of it adds up over buckets, as counts do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Tally:
    """Good and bad events (records, runs, or slices of time).

    ``doubtful`` are the bad ones that may be so by sampling noise alone; those of records are never so one by one.
    """

    good: float = 0.0
    bad: float = 0.0
    doubtful: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.good + other.good, self.bad + other.bad, self.doubtful + other.doubtful)

    @property
    def total(self) -> float:
        """All events."""
        return self.good + self.bad

    @property
    def share(self) -> float | None:
        """The good share; None without events."""
        return self.good / self.total if self.total else None

    @property
    def bad_share(self) -> float:
        """The share that is bad beyond doubt."""
        return (self.bad - self.doubtful) / self.total if self.total else 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Bucket:
    """The events of an hour or a day, [start, end) in seconds since 1970; ``mature``: (nearly) all labels are in."""

    start: int
    end: int
    tally: Tally
    mature: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Budget:
    """An error budget in events: how many may be bad in the window, and how many are."""

    total: float
    consumed: float

    @property
    def remaining(self) -> float | None:
        """The share that is left: 1 is all, below 0 is overspent; None where there is no budget, as without events."""
        return 1 - self.consumed / self.total if self.total > 0 else None


def summed(buckets: Iterable[Bucket]) -> Tally:
    """All events of some buckets."""
    return sum((bucket.tally for bucket in buckets), Tally())


def budget(tally: Tally, allowed: float, elapsed: float = 1.0) -> Budget:
    """The budget of a window.

    Args:
        tally: its events so far.
        allowed: the share of them that may be bad.
        elapsed: the share of the window that is over; the rest is taken to bring as many events a day.
    """
    return Budget(allowed * tally.total / elapsed, tally.bad)
