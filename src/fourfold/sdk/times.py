"""Moments as users give them: text, a number whose unit follows from its magnitude, an object of some library."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.fold.arrays import instant_text, values_of
from fourfold.fold.frames import decoded
from fourfold.model.given import is_of_pandas
from fourfold.sdk.host import shown

INSTANT = pa.timestamp("us", "UTC")
_FARTHEST = 9e18  # microseconds, which 64 bits hold
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (math.inf, 1e-3))  # limits below which a number is in s, ms, µs, ns
_NUMBERS = (int, float, np.integer, np.floating, decimal.Decimal)


def micros_of(time: Any) -> int | None:
    """A moment in microseconds since 1970; None for a missing one.

    A number below 1e11 is in seconds, below 1e14 in milliseconds, below 1e17 in microseconds, else in nanoseconds. A
    text of digits is such a number, unless it is a date of eight. A period is the moment of its start.

    Raises:
        ValueError, TypeError, OverflowError: it is no moment.
    """
    if time is None or type(time).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(time, str):
        time = _of_text(time)
    if isinstance(time, np.datetime64):
        return None if np.isnat(time) else int(time.astype("datetime64[us]").astype(np.int64))
    if isinstance(time, dt.datetime):
        aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    if isinstance(time, dt.date):
        return (time - dt.date(1970, 1, 1)).days * 86_400_000_000
    if not isinstance(time, _NUMBERS) and is_of_pandas(time, "Period"):
        return micros_of(time.start_time)
    if isinstance(time, (bool, np.timedelta64)) or not isinstance(time, _NUMBERS):
        raise TypeError(f"{type(time).__name__} is no moment")
    number = float(time)
    if number != number:
        return None
    if math.isinf(number):
        raise ValueError(f"{number} is no moment")
    micros = number * next(factor for limit, factor in _UNITS if abs(number) < limit)
    return int(max(-_FARTHEST, min(micros, _FARTHEST)))


def _of_text(text: str) -> float | dt.datetime:
    """What a moment's text says: digits alone are a number, but eight of them, if they can be, a date."""
    if len(text) != 8 or not text.isdecimal():
        try:
            return float(text)
        except ValueError:
            pass
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return float(text)


def time_text(time: Any) -> str:
    """A time that cannot be its record's, as the record keeps it: a moment in ISO form, all else as it is shown."""
    if isinstance(time, (dt.date, np.datetime64)) or is_of_pandas(time, "Period"):
        with contextlib.suppress(ValueError, OverflowError):
            if (micros := micros_of(time)) is not None:
                return instant_text(micros)
    if isinstance(time, dt.timedelta):
        time = dt.timedelta(time.days, time.seconds, time.microseconds)
    return shown(time.item() if isinstance(time, np.generic) else time)


def time_texts(column: pa.ChunkedArray) -> list[str]:
    """``time_text`` of each value of a column."""
    is_of_moments = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    if is_of_moments and (cast := _cast(column)) is not None:
        return [instant_text(moment) for moment in cast.cast(pa.int64()).to_pylist()]
    return [time_text(value) for value in values_of(column)]


def moments_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of times with its values written out, and periods as the moments of their starts."""
    column = decoded(column)
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type)
    if isinstance(column.type, pa.BaseExtensionType) and column.type.extension_name == "pandas.period":
        return pa.chunked_array([pa.array(column.to_pandas().dt.start_time)])
    return column


def time_column(column: pa.ChunkedArray, missing: int, unreadable: int) -> npt.NDArray[np.int64]:
    """The moments of a column, as ``micros_of`` reads each, and two numbers in the place of what is missing or is none.

    Value by value only where the column cannot be cast as a whole: one that is no moment costs the others nothing.
    """
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(column, missing, unreadable)
    if (cast := _cast(column)) is not None:
        return np.asarray(cast.cast(pa.int64()).fill_null(missing).to_numpy())
    return np.array([_micros(value, missing, unreadable) for value in values_of(column)], np.int64)


def _of_numbers(column: pa.ChunkedArray, missing: int, unreadable: int) -> npt.NDArray[np.int64]:
    given = column.to_numpy().astype(np.float64)
    size = np.abs(given)
    micros = given * np.select([size < factor for factor, _ in _UNITS[:-1]], [f for _, f in _UNITS[:-1]], 1e-3)
    whole = np.where(np.isfinite(given), np.clip(micros, -_FARTHEST, _FARTHEST), missing).astype(np.int64)
    return np.where(np.isinf(given), unreadable, whole)


def _cast(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of texts, dates or moments as moments; None if it is none, or Arrow cannot read one of its texts."""
    types = pa.types
    try:
        if types.is_string(column.type) or types.is_large_string(column.type) or types.is_string_view(column.type):
            column = column.cast(pa.string())
            try:
                return column.cast(INSTANT)
            except pa.ArrowInvalid:
                return column.cast(pa.timestamp("us")).cast(INSTANT)
        if types.is_timestamp(column.type) and column.type.unit == "ns":  # casts round to zero
            column = pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", column.type.tz))
        if types.is_timestamp(column.type) or types.is_date(column.type) or types.is_null(column.type):
            return column.cast(INSTANT)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    return None


def _micros(time: Any, missing: int, unreadable: int) -> int:
    try:
        micros = micros_of(time)
    except (ValueError, TypeError, OverflowError, ArithmeticError):
        return unreadable
    return missing if micros is None else micros
