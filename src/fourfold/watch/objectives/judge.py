"""How an objective stands: met, missed, at risk, or too early to tell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from fourfold.metrics.intervals import wilson
from fourfold.model import ObjectiveStatus, Status, Value
from fourfold.watch.objectives.budget import Tally
from fourfold.watch.objectives.burn import Burn

_AWAITED = 0.1  # the share of a window's labels that may still be awaited


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a slice's window.

    ``awaited`` is how many more events can come: those whose label is still expected, in an immature window all that
    have none. ``elapsed`` is the share of the window that is over; ``estimate_misses`` is whether the metric is
    expected to miss the bound once all labels are in; ``events`` is whether the tally is of records or runs, not of
    time slices.
    """

    tally: Tally
    goal: float  # the share of the events that must be good
    events: bool
    mature: bool
    awaited: float = 0.0
    elapsed: float = 1.0
    burns: Sequence[Burn] = ()
    estimate_misses: bool = False


def judge(standing: Standing) -> ObjectiveStatus:
    """The status of an objective.

    It is missed if nothing that is still to come, and no doubt about a time slice, can change it; also if the better
    end of its interval is, in a window that is over and whose labels are (nearly) all in.
    """
    tally, goal = standing.tally, standing.goal
    burning = any(burn.fires for burn in standing.burns)
    if not tally.total:
        if standing.estimate_misses:
            return ObjectiveStatus.AT_RISK
        return ObjectiveStatus.NO_DATA if standing.mature and not standing.awaited else ObjectiveStatus.TOO_EARLY
    low, high = interval(standing)
    decided = standing.mature and standing.elapsed >= 1
    worst, best = _can_be(standing)
    if best < goal or (decided and high < goal):
        return ObjectiveStatus.MISSED
    if burning or standing.estimate_misses or high < goal:
        return ObjectiveStatus.AT_RISK
    met = standing.mature and (low >= goal or (decided and worst >= goal))
    return ObjectiveStatus.MET if met else ObjectiveStatus.TOO_EARLY


def interval(standing: Standing) -> tuple[float, float]:
    """The interval of the good share: Wilson's for events; for time slices, with the doubtful ones bad or good."""
    tally = standing.tally
    if standing.events:
        return wilson(tally.good, tally.total)
    return tally.good / tally.total, (tally.good + tally.doubtful) / tally.total


def is_mature(value: Value, most: float = _AWAITED) -> bool:
    """Whether (nearly) all labels that will come are in: at most the share ``most`` of them is still awaited."""
    if value.status is Status.SETTLED or (value.value is None and value.coverage in (None, 1.0)):
        return True
    if value.expected_labels is None:
        return False
    return value.expected_labels <= most * ((value.coverage or 0.0) + value.expected_labels)


def _can_be(standing: Standing) -> tuple[float, float]:
    """The good share once all that is still to come of the window has, at its worst and best."""
    tally = standing.tally
    total = (tally.total + standing.awaited) / standing.elapsed
    if math.isinf(total):
        return 0.0, 1.0
    return tally.good / total, (total - tally.bad + tally.doubtful) / total
