"""Moments as users write them."""

from __future__ import annotations

import datetime as dt

from fourfold.errors import InputError

Moment = dt.datetime | dt.date | str | int | float


def seconds(moment: Moment, field: str) -> int:
    """A moment as whole seconds since 1970; what has no time zone is UTC.

    Raises:
        InputError: names the field and the value where it is no moment.
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
