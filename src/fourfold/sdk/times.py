"""Moments as users give them: text, a number whose unit follows from its magnitude, an object of some library."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.errors import InputError
from fourfold.fold.arrays import numbers

INSTANT = pa.timestamp("us", "UTC")
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (math.inf, 1e-3))  # limits below which a number is in s, ms, µs, ns


def micros_of(time: Any) -> int | None:
    """A moment in microseconds since 1970; None for a missing one.

    A number below 1e11 is in seconds, below 1e14 in milliseconds, below 1e17 in microseconds, else in nanoseconds.

    Raises:
        ValueError, TypeError, OverflowError: it is no moment.
    """
    if time is None or type(time).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(time, str):
        try:
            time = dt.datetime.fromisoformat(time)
        except ValueError:
            time = float(time)
    if isinstance(time, np.datetime64):
        return None if np.isnat(time) else int(time.astype("datetime64[us]").astype(np.int64))
    if isinstance(time, dt.datetime):
        aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    if isinstance(time, dt.date):
        return (time - dt.date(1970, 1, 1)).days * 86_400_000_000
    if isinstance(time, (bool, np.bool_)) or not isinstance(time, (int, float, np.number, decimal.Decimal)):
        raise TypeError(f"{type(time).__name__} is no moment")
    number = float(time)
    if number != number:
        return None
    if math.isinf(number):
        raise ValueError(f"{number} is no moment")
    return int(number * next(factor for limit, factor in _UNITS if abs(number) < limit))


def instant_text(micros: int) -> str:
    """A moment in ISO form, in UTC; ``micros`` is in microseconds since 1970."""
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=micros)
    return f"{moment.isoformat()}Z"


def time_column(column: pa.ChunkedArray, logged: int, name: str) -> pa.ChunkedArray:
    """Event times: numbers are seconds since 1970, and a missing time is the log time.

    Raises:
        InputError: its values cannot be read as times.
    """
    try:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            given = column.to_numpy().astype(np.float64)
            size = np.abs(given)
            micros = given * np.select([size < factor for factor, _ in _UNITS[:-1]], [f for _, f in _UNITS[:-1]], 1e-3)
            whole = np.where(np.isfinite(given), np.clip(micros, -9e18, 9e18), logged)
            return pa.chunked_array([numbers(whole.astype(np.int64), INSTANT)])
        if pa.types.is_string(column.type):
            try:
                times = column.cast(INSTANT)
            except pa.ArrowInvalid:
                times = column.cast(pa.timestamp("us")).cast(INSTANT)
        else:
            times = column.cast(INSTANT)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"time={name!r}: its values cannot be read as times: {error}") from error
    return pc.fill_null(times, pa.scalar(logged, pa.int64()).cast(INSTANT))
