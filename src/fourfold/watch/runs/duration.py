"""Runs that take longer than the component's history allows, or still have not ended."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from fourfold.model import Run, RunStatus
from fourfold.model.incident import Finding, Severity
from fourfold.watch.runs.habit import Habit, habit, streak
from fourfold.watch.runs.heartbeat import is_silent
from fourfold.watch.runs.history import FEW, History
from fourfold.watch.runs.telling import about, length

FACTOR, SECONDS = 1.5, 5.0  # the least effect: both
_SPREADS = 4.0
_GRADUAL, _RECENT = 40, 8  # runs that it takes to see a slow change; the newest of them
_GROWS = 1.1  # in a quarter of the history
_FORGOTTEN = 30 * 86_400.0  # seconds after which a run that never ended is not waited for


def slow(history: History, now: float) -> list[Finding]:
    """Components whose newest successful run took longer than their history allows, at once or step by step."""
    found = []
    for name in history.runs:
        runs = history.succeeded(name)
        took = [run.duration or 0.0 for run in runs]
        if (finding := _sudden(runs, took) or _gradual(runs, took)) is not None:
            found.append(finding)
    return found


def overdue(history: History, now: float) -> list[Finding]:
    """Runs that still have not ended after longer than the component's history allows."""
    found = []
    for name, runs in history.runs.items():
        took = [run.duration or 0.0 for run in history.succeeded(name)]
        if len(took) < FEW:
            continue
        usual = habit(took)
        limit = max(_limit(usual), 1.1 * max(took), usual.usual + 2 * SECONDS)
        late = [
            run
            for run in runs
            if run.status is RunStatus.RUNNING
            and limit < now - run.started < max(_FORGOTTEN, 10 * limit)
            and not is_silent(run, now)
        ]
        if late:
            lasting = now - late[0].started
            said = f"{name} has been running for {length(lasting)}; it usually takes {length(usual.usual)}"
            found.append(
                about("overdue_run", late, None, said, Severity.TICKET, value=lasting, expected=usual.usual,
                      high=limit, weight=lasting / limit)
            )  # fmt: skip
    return found


def _limit(usual: Habit) -> float:
    least = max(FACTOR * usual.usual, usual.usual + SECONDS)
    return max(usual.beyond(_SPREADS), least, 1.1 * usual.second if usual.n >= 2 * FEW else 0.0)


def _sudden(runs: Sequence[Run], took: Sequence[float]) -> Finding | None:
    if not took or took[-1] < SECONDS:
        return None

    shortest = max(SECONDS, FACTOR * min(took))  # no limit is lower than that: most runs

    def breaks(i: int, kept: Sequence[int]) -> Habit | None:
        if took[i] <= shortest:
            return None
        usual = habit([took[j] for j in kept])
        return usual if took[i] > _limit(usual) else None

    found = streak(took, FEW, breaks)
    if found is None:
        return None
    return _told(runs[found.first :], runs[found.first - 1], took[-1], found.expected.usual, _limit(found.expected))


def _gradual(runs: Sequence[Run], took: Sequence[float]) -> Finding | None:
    """Slower by so little from run to run that none stands out: the newest runs against the older half."""
    if len(took) < _GRADUAL:
        return None
    older = took[: len(took) // 2]
    usual, recent = habit(older), float(np.median(took[-_RECENT:]))
    limit = max(FACTOR * usual.usual, usual.usual + SECONDS, float(np.quantile(older, 0.95)))
    between = float(np.median(took[len(took) // 2 : len(took) * 3 // 4]))
    if sum(seconds > limit for seconds in took[-_RECENT:]) < _RECENT - 1 or recent < _GROWS * between:
        return None  # as before, or at a new level that has settled
    above = list(itertools.takewhile(lambda seconds: seconds > limit, reversed(took)))
    first = len(took) - max(len(above), 1)
    return _told(runs[first:], runs[first - 1], recent, usual.usual, limit, " step by step")


def _told(slower: Sequence[Run], before: Run, value: float, usual: float, limit: float, how: str = "") -> Finding:
    factor = value / usual
    said = f"{slower[-1].component} has become slower{how}: {length(value)} instead of {length(usual)}"
    severity = Severity.TICKET if factor >= 2 else Severity.NOTICE
    return about(
        "slow_run", slower, before, said, severity, value=value, expected=usual, high=limit, weight=value / limit
    )
