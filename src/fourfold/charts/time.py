"""Moments in words, and on an axis; in UTC."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

from fourfold.charts.spec import DAY, words

_STEPS = (3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, DAY, 2 * DAY, 7 * DAY, 14 * DAY)


def moment(at: float) -> str:
    """A moment in words, in UTC.

    >>> moment(0), moment(3600)
    ('1970-01-01', '1970-01-01 01:00')
    """
    try:
        found = dt.datetime.fromtimestamp(at, dt.UTC)
    except (ValueError, OverflowError, OSError):  # a time that no calendar has
        return words(at)
    return f"{found:%Y-%m-%d}" if at % DAY == 0 else f"{found:%Y-%m-%d %H:%M}"


def over(times: Sequence[float]) -> str:
    """From when to when, as a sentence goes on; nothing without times.

    >>> over([0, 3600, 86400]), over([])
    (' from 1970-01-01 to 1970-01-02', '')
    """
    return f" from {moment(times[0])} to {moment(times[-1])}" if times else ""


def time_ticks(start: float, end: float, about: int = 6) -> list[tuple[float, str]]:
    """Round moments between two, with words.

    >>> time_ticks(0, 3 * 86_400)[:2]
    [(0.0, '01-01 00:00'), (43200.0, '01-01 12:00')]
    """
    step = next((s for s in _STEPS if (end - start) / s <= about), None)
    if step is None:
        step = max(math.ceil((end - start) / about / (30 * DAY)), 1) * 30 * DAY
    style = "%m-%d %H:%M" if step < DAY else "%Y-%m-%d"
    found: list[tuple[float, str]] = []
    at = float(math.ceil(start / step) * step)
    while at <= end and len(found) <= 2 * about:
        try:
            found.append((at, f"{dt.datetime.fromtimestamp(at, dt.UTC):{style}}"))
        except (ValueError, OverflowError, OSError):  # a time that no calendar has
            break
        at += step
    return found
