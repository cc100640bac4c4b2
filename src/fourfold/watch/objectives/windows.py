"""The window of an objective: rolling, or of the calendar in UTC."""

from __future__ import annotations

import datetime as dt

from fourfold.model import DAY, HOUR, Objective, Window

_NOMINAL = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "quarter": 91 * DAY, "year": 365 * DAY}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def length(objective: Objective) -> int:
    """The length of a window in seconds; of the calendar's, a usual one."""
    return _NOMINAL[objective.calendar] if objective.calendar else objective.window


def window_to(objective: Objective, end: int, unit: int) -> Window:
    """The whole window whose data end at ``end``: of the calendar, the one that ``end`` ends or lies in.

    A rolling window is a whole number of ``unit`` seconds (an hour or a day).
    """
    if objective.calendar:
        return calendar(objective.calendar, end - 1)
    return Window(end - rounded_up(objective.window, unit), end)


def calendar(name: str, moment: int) -> Window:
    """The day, week (from Monday), month, quarter or year in UTC that a moment lies in.

    >>> calendar("month", 1_709_164_800).start_time.isoformat()  # 29 February 2024
    '2024-02-01T00:00:00+00:00'
    """
    day = moment // DAY
    if name in ("day", "week"):
        first = day if name == "day" else day - (day + 3) % 7  # 1 January 1970 was a Thursday
        return Window(first * DAY, (first + (1 if name == "day" else 7)) * DAY)
    date, months = dt.date(1970, 1, 1) + dt.timedelta(days=day), _MONTHS[name]
    month = (date.month - 1) // months * months  # from 0
    return Window(_midnight(date.year, month), _midnight(date.year, month + months))


def before(objective: Objective, window: Window) -> Window:
    """The window before a calendar window."""
    return calendar(objective.calendar, window.start - 1)


def rounded_up(seconds: float, unit: int) -> int:
    """A length as whole units, at least one."""
    return max(-int(-seconds // unit), 1) * unit


def unit_for(length_: int, kept_hours: bool) -> int:
    """The length of the buckets to judge by: hours where they are there, in windows up to 35 days."""
    return HOUR if kept_hours and length_ <= 35 * DAY else DAY


def _midnight(year: int, month: int) -> int:
    moment = dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
    return int(moment.timestamp())
