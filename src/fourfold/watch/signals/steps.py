"""One judged bucket: what fires after it, and what has just become normal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fourfold.counts.binning import Floats
from fourfold.model import DAY, EVERYTHING, Finding, Where
from fourfold.watch.detect import Detector, Status, Verdicts
from fourfold.watch.memory import Memory
from fourfold.watch.settings import WatchSettings
from fourfold.watch.signals.columns import Signal
from fourfold.watch.signals.tasks import TaskSignal

SOURCE = "signals"
_DISMISSED = 1.5
Signals = Sequence[Signal] | Sequence[TaskSignal]


@dataclasses.dataclass(frozen=True)
class Step:
    """What one judged bucket says, by the keys of signals.

    ``end`` is its end in event time; ``fired`` is what has changed in it, ``over`` what does not fire any more, and
    ``settled`` whose change has just become what is normal.
    """

    end: int
    fired: Mapping[str, Finding]
    over: frozenset[str]
    settled: frozenset[str]


def least_of(signals: Signals, settings: WatchSettings, dismissed: Mapping[str, int]) -> Floats:
    """The smallest changes that matter: as the settings say by kind, and more for each that a user has dismissed."""
    tolerance = settings.tolerance
    least = np.array([signal.measure.least * tolerance.get(signal.measure.kind, 1.0) for signal in signals])
    if dismissed:
        least *= _DISMISSED ** np.array([dismissed.get(signal.key, 0) for signal in signals], np.float64)
    return least


def detector_of(memory: Memory, name: str, level: int, settings: WatchSettings, days: float) -> Detector:
    """The detector of that name, with the settings of now."""
    settle = settings.settle * DAY // level
    detector = memory.histories.detectors.setdefault(name, Detector(level, days=days, settle=settle))
    detector.days, detector.settle = days, settle
    return detector


def note_learning(memory: Memory, name: str, verdicts: Verdicts) -> None:
    """Note how much history a detector has of what it needs, while most of its series need more."""
    short = verdicts.seen < verdicts.needed
    memory.learning.pop(name, None)
    if short.mean() > 0.5:
        memory.learning[name] = int(np.median(verdicts.seen[short])), int(verdicts.needed[short].max())


def step_of(
    memory: Memory,
    bucket: int,
    level: int,
    keys: Sequence[str],
    signals: Signals,
    place_of: Callable[[int], Where],
    values: Floats,
    n: Floats,
    verdicts: Verdicts,
) -> Step:
    """A judged bucket as a step; arrays in the order of the keys, values on their working scale.

    ``place_of`` gives the place of the signal with a number: few have fired.
    """
    status, known = verdicts.status, np.isfinite(values)
    settled = {keys[j] for j in np.flatnonzero(status == Status.SETTLED).tolist()}
    fired = {
        keys[j]: _finding(signals[j], place_of(j), bucket + level, level, j, values, n, verdicts)
        for j in np.flatnonzero((status == Status.CHANGED) & known).tolist()
        if keys[j] not in memory.firing or _is_outside(j, values, verdicts)
    }
    place = {key: j for j, key in enumerate(keys)} if memory.firing else {}
    over = {key for key in memory.firing if key in place and known[place[key]] and status[place[key]] != Status.CHANGED}
    return Step(bucket + level, fired, frozenset(over | settled), frozenset(settled))


def _is_outside(j: int, values: Floats, verdicts: Verdicts) -> bool:
    """Whether a value is unusual by itself, and not just part of a change that is not over yet."""
    return not verdicts.low[j] <= values[j] <= verdicts.high[j]


def _finding(
    signal: Signal | TaskSignal,
    where: Where,
    end: int,
    level: int,
    j: int,
    values: Floats,
    n: Floats,
    verdicts: Verdicts,
) -> Finding:
    measure = signal.measure
    value, expected, *limits = (
        measure.scale.back(float(x)) for x in (values[j], verdicts.expected[j], verdicts.low[j], verdicts.high[j])
    )
    return Finding(
        series=signal.key, kind=measure.kind, what=measure.words(value, expected), group=measure.group,
        severity=measure.severity, where=where, began=float(verdicts.began[j]),
        began_low=float(verdicts.began_low[j]), began_high=float(verdicts.began_high[j]),
        seen=float(end), value=value, expected=expected, low=limits[0], high=limits[1],
        n=int(n[j]) if np.isfinite(n[j]) else 0, weight=1 + max(float(verdicts.evidence[j]), 0.0) / 10,
        advice=measure.advice, source=SOURCE,
    )  # fmt: skip


def slice_of(signal: Signal | TaskSignal) -> str:
    """The slice of a signal's place; that of all records is empty."""
    return "" if signal.slice == EVERYTHING else signal.slice
