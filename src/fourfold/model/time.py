"""Time: moments as users write them, and windows of event time in seconds since 1970 (UTC)."""

from __future__ import annotations

import dataclasses
import datetime as dt

from fourfold.errors import InputError

HOUR = 3_600
DAY = 86_400
KEEP_HOURS = 60 * DAY  # how long counts by hour are kept; days stay
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
