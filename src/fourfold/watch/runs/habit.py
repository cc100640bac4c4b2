"""What a component's own history allows: robust limits, learned in order, that what breaks them does not shift."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

SETTLED = 14  # that many in a row are the new normal
_LONE = 2  # that many in a row are outliers
_MEMORY = 100  # values that a limit is learned from
_NORMAL = 1.4826  # a normal distribution's standard deviation in units of its median absolute deviation


@dataclasses.dataclass(frozen=True, slots=True)
class Habit:
    """The middle and the spread of the logarithms of positive values, robustly."""

    middle: float
    spread: float
    n: int
    second: float  # the second largest value: one outlier says nothing, two are part of the habit
    second_lowest: float

    def beyond(self, factor: float) -> float:
        """So many spreads above the middle, more of them while the history is short; a negative number: below it."""
        return math.exp(self.middle + factor * (1 + 3 / self.n) * self.spread)

    @property
    def usual(self) -> float:
        """The median."""
        return math.exp(self.middle)


def habit(values: Sequence[float], least_spread: float = 0.05) -> Habit:
    """The habit that positive values show."""
    logs = np.log(np.maximum(values, 1e-3))
    middle = float(np.median(logs))
    spread = max(_NORMAL * float(np.median(np.abs(logs - middle))), least_spread)
    ordered = sorted(values)
    return Habit(middle, spread, len(values), ordered[-2 if len(values) > 1 else -1], ordered[min(1, len(values) - 1)])


@dataclasses.dataclass(frozen=True, slots=True)
class Streak:
    """The newest values that break their limit, from the index ``first`` on, and what was expected of the newest."""

    first: int
    expected: Habit


def streak(values: Sequence[float], few: int, breaks: Callable[[int, Sequence[int]], Habit | None]) -> Streak | None:
    """The streak that the newest value is part of, if it breaks its limit.

    ``breaks(i, kept)`` gives the habit that the value i breaks, judged by the earlier values ``kept``, else None.
    Values that break their limit don't shift it, unless there are so many in a row that they are the new normal; lone
    ones are outliers, which a habit stands.
    """
    kept: list[int] = []
    current: list[int] = []
    last: Habit | None = None
    for i in range(len(values)):
        last = breaks(i, kept[-_MEMORY:]) if len(kept) >= few else None
        if last is None:
            kept += [*(current if len(current) <= _LONE else ()), i]
            current = []
            continue
        current.append(i)
        if len(current) >= SETTLED:
            kept, current, last = current, [], None
    return Streak(current[0], last) if current and last is not None else None
