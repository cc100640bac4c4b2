"""Time: moments as users write them, and windows of event time in seconds since 1970 (UTC)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import TypeGuard

from fourfold.errors import InputError

HOUR = 3_600
DAY = 86_400
KEEP_HOURS = 60 * DAY  # how long counts by hour are kept; days stay
_LENGTHS = {"h": HOUR, "d": DAY, "w": 7 * DAY}
_NUMBER = re.compile(r"\d{9,11}")  # seconds since 1970, as text
_FIRST, _LAST = -62_135_596_800, 253_402_214_400  # 0001-01-01 and 9999-12-31: what calendars can say
Moment = dt.datetime | dt.date | str | int | float


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of event time [start, end), in whole seconds since 1970 (UTC)."""

    start: int
    end: int

    @property
    def start_time(self) -> dt.datetime:
        """The start as an aware datetime."""
        return dt.datetime.fromtimestamp(self.start, dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Plausible:
    """The plausible event times: from ``earliest`` (seconds since 1970) to ``ahead`` seconds after the time of logging;
    others are treated as mistakes.
    """

    earliest: int = 0
    ahead: int = 366 * DAY

    def micros(self, logged: int) -> tuple[int, int]:
        """The first and last plausible time of a record logged at ``logged``, all in microseconds since 1970."""
        return self.earliest * 1_000_000, logged + self.ahead * 1_000_000


def seconds(moment: Moment, field: str) -> int:
    """A moment as whole seconds since 1970; without a time zone it is UTC.

    Raises:
        InputError: it is no moment; the message names the field and the value.
    """
    try:
        if isinstance(moment, str):
            moment = dt.datetime.fromisoformat(moment)
        if isinstance(moment, dt.datetime):
            return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())
        if isinstance(moment, dt.date):
            return int(dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC).timestamp())
        return int(moment)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{field}={moment!r} is not a moment; give a date, a datetime, a text such as '2013-04-01' or "
            "'2013-04-01T12:00', or seconds since 1970"
        ) from error


def length(text: str, field: str) -> int:
    """A length of time in seconds: "7d".

    Raises:
        InputError: it is none.
    """
    match = re.fullmatch(r"(\d{1,6})([hdw])", text)
    if match is None or int(match[1]) == 0:
        raise InputError(f"{field}={text!r} is not a length of time; use hours, days or weeks: '12h', '7d', '2w'")
    return int(match[1]) * _LENGTHS[match[2]]


def is_before_end(moment: Moment | None) -> TypeGuard[str]:
    """Whether it is a length before an end, such as "-7d", and no moment."""
    return isinstance(moment, str) and moment.startswith("-")


def when(moment: Moment, field: str, end: int) -> int:
    """A moment, or a length before an end ("-7d"), in whole seconds since 1970; digits alone are such seconds.

    Raises:
        InputError: it is neither; the message names the field and the value.
    """
    if is_before_end(moment):
        try:
            found = end - length(moment[1:], field)
        except InputError:
            raise InputError(
                f"{field}={moment!r} is not a length of time before the end of the data; use hours, days or weeks: "
                "'-12h', '-7d', '-2w'"
            ) from None
    else:
        try:
            found = seconds(int(moment) if isinstance(moment, str) and _NUMBER.fullmatch(moment) else moment, field)
        except InputError as error:
            raise InputError(f"{error}, or '-7d': so long before the end of the data") from error
    if not _FIRST <= found <= _LAST:
        raise InputError(f"{field}={moment!r} is no moment that records can have")
    return found
