"""When a component's next run is due: its cadence, learned from the gaps between its runs.

Gaps are compared with earlier ones that began on the same day of the week, or, where a component runs several times a
day, in the same hour: so a job that rests at weekends or at night is not missed then.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import numpy as np

from fourfold.counts.binning import Floats, Ints

FEW = 8  # gaps without which no cadence is known
SHORTEST = 60.0  # seconds: what runs more often has no schedule; starts closer together are one
_DAY, _HOUR = 86_400.0, 3_600.0
_REGULAR, _NEAR = 0.8, 0.25  # so many of the gaps are this near to the middle of their kind
_LATE = 0.1  # of a gap, that a run may be late
_LIVE = 0.25  # of a gap, that the lag between logical and real time varies where a pipeline is live
_NEWEST = 10  # runs that tell the lag


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """When a run started, and the logical time that it was about, in seconds since 1970."""

    started: float
    at: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cadence:
    """The usual gap after the newest run, the largest that is nothing unusual, and the lag from ``last`` to the clock.

    ``last`` is the newest run on the component's own clock: its logical time where it has one, else its start. ``lag``
    is how long after its logical time a run starts, None in a replay, where this says nothing.
    """

    last: float
    gap: float
    limit: float
    lag: float | None

    @property
    def due(self) -> float:
        """When the next run was to come, on the component's own clock."""
        return self.last + self.gap

    def overdue(self, clock: float) -> bool:
        """Whether a moment of the component's own clock is later than the next run may be."""
        return clock > self.last + self.limit


def cadence(starts: Sequence[Start]) -> Cadence | None:
    """The cadence of runs that are given by when they started; None without a regular one."""
    has_at = sum(start.at is not None for start in starts) > 0.5 * len(starts)
    clocked = _advancing([s for s in starts if s.at is not None]) if has_at else list(starts)
    moments = _apart([_clock(start, has_at) for start in clocked])
    gaps = np.diff(moments)
    if len(gaps) < FEW or moments[-1] - moments[0] < (2 * _DAY if np.median(gaps) < _DAY / 2 else 0):
        return None
    kinds = _kinds(moments, float(np.median(gaps)))
    if not _is_regular(gaps, kinds[:-1]):
        return None
    alike = gaps[kinds[:-1] == kinds[-1]]
    if len(alike) < 3:
        alike = gaps
    gap = float(np.median(alike))
    largest = np.sort(alike)[-2] if len(alike) > 2 else np.max(gaps)  # one outage does not make the next one usual
    late = max(_LATE * gap, 0.1 * float(largest))
    return Cadence(moments[-1], gap, max(gap, float(largest)) + late, _lag(clocked, gap) if has_at else 0.0)


def _clock(start: Start, has_at: bool) -> float:
    return start.at if has_at and start.at is not None else start.started


def _advancing(starts: Sequence[Start]) -> list[Start]:
    """The runs that went further in logical time than all before: neither retries nor back-fills."""
    found: list[Start] = []
    for start in starts:
        if not found or (start.at or 0.0) > (found[-1].at or 0.0):
            found.append(start)
    return found


def _apart(moments: Sequence[float]) -> list[float]:
    """The moments that begin something: those within a minute belong together."""
    found: list[float] = []
    newest = -np.inf
    for moment in moments:
        if moment - newest >= SHORTEST:
            found.append(moment)
        newest = max(newest, moment)
    return found


def _kinds(moments: Sequence[float], gap: float) -> Ints:
    """Which moments are alike: those of a day of the week, or of an hour of a working or a free day."""
    dates = [dt.datetime.fromtimestamp(moment, dt.UTC) for moment in moments]
    if gap >= _DAY / 2:
        return np.array([date.weekday() for date in dates], np.int64)
    return np.array([date.hour + 24 * (date.weekday() >= 4) * (1 + date.weekday()) for date in dates], np.int64)


def _is_regular(gaps: Floats, kinds: Ints) -> bool:
    near = 0
    for kind in np.unique(kinds):
        alike = gaps[kinds == kind]
        near += int((np.abs(alike - np.median(alike)) <= _NEAR * np.median(alike)).sum()) if len(alike) > 2 else 0
    counted = sum(int((kinds == kind).sum()) for kind in np.unique(kinds) if (kinds == kind).sum() > 2)
    if counted < FEW / 2:  # too few of each kind: all together
        return bool((np.abs(gaps - np.median(gaps)) <= _NEAR * np.median(gaps)).mean() >= _REGULAR)
    return near >= _REGULAR * counted


def _lag(clocked: Sequence[Start], gap: float) -> float | None:
    lags = np.array([start.started - (start.at or 0.0) for start in clocked[-_NEWEST:]])
    middle = float(np.median(lags))
    return middle if float(np.median(np.abs(lags - middle))) <= _LIVE * gap else None
