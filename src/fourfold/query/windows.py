"""Windows of event time: a user's start, end and length as ranges of whole buckets."""

from __future__ import annotations

import datetime as dt
import time

from fourfold.errors import InputError
from fourfold.model import DAY, HOUR, Window, is_before_end, length, when
from fourfold.query.counts import OwnerCounts
from fourfold.query.result import Moment
from fourfold.state.series import LAST

_MOST = 100_000
OLDER = "hours are kept for 60 days; use every='1d' for older records"


def windows(
    source: OwnerCounts, start: Moment | None, end: Moment | None, every: str | None
) -> tuple[list[Window], int]:
    """The requested windows, and the level (hour or day) of the counts to read for them.

    An end of "-7d" is so long before the end of the data, such a start so long before the end. Without ``start``,
    everything older than the kept hours is one window, the first (see ``is_older``).

    Raises:
        InputError: no window, too many, or hours for times of which only days are kept.
    """
    step = _step(every)
    days = source.span(DAY)
    if days is None:
        return [], DAY
    until = _until(source, days, start, end, every)
    last = when(end, "end", until) if end is not None else until
    first = when(start, "start", last) if start is not None else days[0]
    if first >= last:
        there = f"the records are from {_day(days[0])} to {_day(days[1])}"
        raise InputError(f"the window is empty: start={start!r} is not before end={end!r}; {there}")
    older: list[Window] = []
    level = DAY if all(t % DAY == 0 for t in (first, last, step or DAY)) else HOUR
    if level == HOUR:
        if first % HOUR or last % HOUR:
            raise InputError(f"start={start!r}, end={end!r}: counts are kept by the hour; give whole hours (UTC)")
        hours = source.span(HOUR)
        kept = hours[0] if hours is not None else days[1] + DAY
        if first < kept and days[0] < kept // DAY * DAY:  # the hours of the first days are no longer kept
            if start is not None:
                raise InputError(
                    f"start={start!r}: hours are kept for 60 days, here from "
                    f"{dt.datetime.fromtimestamp(kept, dt.UTC):%Y-%m-%d %H:%M}; before that, ask by whole days"
                )
            older = [Window(first, min(kept, last))]
            first = older[0].end
        elif start is None:
            first = min(max(first, kept), last - HOUR)
    if step is None:
        return [*older, *([Window(first, last)] if first < last else [])], level
    if (last - first) // step > _MOST:
        raise InputError(
            f"every={every!r} makes more than {_MOST:,} windows between {_day(first)} and {_day(last)}; "
            "choose a longer one, or give start= and end="
        )
    return [*older, *(Window(at, min(at + step, last)) for at in range(first, last, step))], level


def _until(
    source: OwnerCounts, days: tuple[int, int], start: Moment | None, end: Moment | None, every: str | None
) -> int:
    """The end of all data, by whole days; for lengths before it, of what is not ahead of now (``data_end``)."""
    before = [str(moment) for moment in (start, end) if is_before_end(moment)]
    if not before:
        return days[1] + DAY
    by_hours = any(text.endswith("h") for text in (*before, every or ""))
    return data_end(source, HOUR if by_hours else DAY, time.time())


def data_end(source: OwnerCounts, unit: int, now: float | None = None) -> int:
    """The end of the data: of the newest hour, or of the newest day; without data, 0.

    What lies ahead of ``now`` is left aside, so that one record with a wrong time moves no window; unless all does.
    """
    before = LAST if now is None else (int(now) // HOUR + 1) * HOUR
    days = _until_now(source, DAY, before)
    if days is None:
        return 0
    hours = _until_now(source, HOUR, before) if unit == HOUR else None
    return hours + HOUR if hours is not None and hours >= days else days + DAY


def _until_now(source: OwnerCounts, level: int, before: int) -> int | None:
    known = source.span(level)
    if known is None:
        return None
    return known[1] if known[1] < before else (source.span(level, before) or known)[1]


def bounds(
    source: OwnerCounts, unit: int, start: Moment | None, end: Moment | None, fields: tuple[str, str] = ("start", "end")
) -> tuple[int | None, int | None]:
    """A start and an end in seconds since 1970, None where they are; lengths are before the end (see ``windows``)."""
    until = data_end(source, unit, time.time()) if is_before_end(start) or is_before_end(end) else 0
    last = None if end is None else when(end, fields[1], until)
    return None if start is None else when(start, fields[0], until if last is None else last), last


def is_older(source: OwnerCounts, window: Window, level: int) -> bool:
    """Whether a window asks for counts by the hour although only days are kept for it."""
    if level != HOUR:
        return False
    hours = source.span(HOUR)
    return hours is None or window.end <= hours[0]


def _day(seconds_: int) -> str:
    return f"{dt.datetime.fromtimestamp(seconds_, dt.UTC):%Y-%m-%d}"


def _step(every: str | None) -> int | None:
    return None if every is None else length(every, "every")
