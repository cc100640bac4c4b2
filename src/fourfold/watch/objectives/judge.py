"""How an objective stands: met, missed, at risk, or too early to tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from fourfold.metrics.intervals import wilson
from fourfold.model import ObjectiveStatus, Status, Value
from fourfold.watch.objectives.budget import Tally
from fourfold.watch.objectives.burn import Burn

_AWAITED = 0.1  # the share of a window's labels that may still be awaited


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a slice's window.

    ``awaited`` is how many of its events are still expected, for which no label has come; ``elapsed`` is the share of
    the window that is over; ``estimate`` is the metric as expected once all labels are in; ``events`` is whether the
    tally is of records or runs, and not of time slices.
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

    It is missed only if the better end of its interval is, in a window whose labels are (nearly) all in, or if nothing
    that is still awaited can change it. A window of the calendar that goes on is missed once its budget is spent.
    """
    tally, goal = standing.tally, standing.goal
    burning = any(burn.fires for burn in standing.burns)
    if not tally.total:
        if standing.estimate_misses:
            return ObjectiveStatus.AT_RISK
        return ObjectiveStatus.NO_DATA if standing.mature and not standing.awaited else ObjectiveStatus.TOO_EARLY
    low, high = interval(standing)
    risky = burning or standing.estimate_misses
    if not standing.mature:
        return ObjectiveStatus.AT_RISK if risky or high < goal else ObjectiveStatus.TOO_EARLY
    if standing.elapsed < 1:
        spent = tally.bad - tally.doubtful > (1 - goal) * tally.total / standing.elapsed
        if spent:
            return ObjectiveStatus.MISSED
        if risky or high < goal:
            return ObjectiveStatus.AT_RISK
        return ObjectiveStatus.MET if low >= goal else ObjectiveStatus.TOO_EARLY
    if high < goal or _can_be(standing, best=True) < goal:
        return ObjectiveStatus.MISSED
    if risky:
        return ObjectiveStatus.AT_RISK
    return ObjectiveStatus.MET if low >= goal or _can_be(standing, best=False) >= goal else ObjectiveStatus.TOO_EARLY


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


def _can_be(standing: Standing, *, best: bool) -> float:
    """The good share once all that is awaited has come, at its best or worst."""
    tally = standing.tally
    return (tally.good + standing.awaited * best) / (tally.total + standing.awaited)
