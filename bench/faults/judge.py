"""What fourfold said of a fault: whether it found it, when, and what else it raised."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

from bench.faults.fault import DAYS, Size
from bench.faults.replay import Observed
from fourfold.model.incident import Incident, IncidentState, Where

NEAR, FAR = 1.0, 7.0  # days by which an onset may lie before the fault began, and after the data show it


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One fault in one replay.

    ``delay`` is the time from when the data show it until fourfold said so, in daily buckets; ``incidents`` belong to
    it, ``unrelated`` do not; ``located`` says whether one begins at a place that the fault broke, not only downstream;
    ``off`` is the distance of the onset's interval from the truth, in days.
    """

    pipeline: str
    seed: int
    fault: int
    size: Size
    detected: bool
    delay: float | None
    incidents: int
    unrelated: int
    located: bool
    off: float | None
    seconds: float
    titles: tuple[str, ...]


def judge(observed: Observed) -> Verdict:
    """Judge the incidents that are new since the fault could begin."""
    truth = observed.truth
    assert truth is not None and observed.fault is not None and observed.size is not None
    new = [i for i in observed.incidents if i.id not in observed.known and i.state is not IncidentState.PENDING]
    late, early = truth.onset - NEAR * DAYS, truth.visible + FAR * DAYS
    places = (*truth.places, *truth.effects)
    own = [i for i in new if i.began_high >= late and i.began_low <= early and touches(_wheres(i), places)]
    first = min(own, key=lambda incident: incident.opened, default=None)
    off = None
    if first is not None:
        off = max(first.began_low - truth.onset, truth.onset - first.began_high, 0.0) / DAYS
    return Verdict(
        observed.pipeline, observed.seed, observed.fault, observed.size,
        detected=first is not None,
        delay=None if first is None else max(first.opened - truth.visible, 0.0) / DAYS,
        incidents=len(own),
        unrelated=len(new) - len(own),
        located=any(touches(_wheres(i), truth.places) for i in own),
        off=off,
        seconds=observed.seconds,
        titles=tuple(f"{'own' if i in own else 'UNRELATED'}: {i.title} [{i.kind}] {i.where}" for i in new),
    )  # fmt: skip


def false_alarms(observed: Observed) -> list[Incident]:
    """All incidents of a replay without a fault."""
    return [i for i in observed.incidents if i.state is not IncidentState.PENDING]


def touches(found: Iterable[Where], places: tuple[Where, ...]) -> bool:
    """Whether one of the places found is one of these; what a place leaves empty may be anything.

    A vector is counted by its norm and projections, which are columns named after it.
    """
    return any(_within(where, place) for where in found for place in places)


def _within(where: Where, place: Where) -> bool:
    slices = json.loads(place.slice).items() <= json.loads(where.slice or "{}").items() if place.slice else True
    if place.component and where.column:
        return False  # a column of what a component reads says nothing of the component
    named = ((where.component, place.component), (_column(where, place), place.column), (where.task, place.task))
    return (
        slices
        and all(not wanted or wanted == had for had, wanted in named)
        and (not place.stream or where.stream == place.stream or where.stream.startswith(f"{place.stream}."))
    )


def _column(where: Where, place: Where) -> str:
    return place.column if where.column.startswith(f"{place.column}.") else where.column


def _wheres(incident: Incident) -> list[Where]:
    return [incident.where, *(finding.where for finding in incident.findings)]
