"""What declarations have in common: texts, numbers, and lengths of time as users write them."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from fourfold.errors import ConfigError
from fourfold.model import DAY, HOUR

LONGEST = 999_999 * 7 * DAY  # seconds of a length of time


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a text that UTF-8 can hold: without lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_finite(value: object) -> bool:
    """Whether a value is a finite number, of Python or NumPy."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number that is larger than any float
        return False


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether a value is a whole number, of Python or NumPy, from ``low`` to ``high``."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and low <= int(value) <= high


def differing(found: Any, expected: Any) -> str | None:
    """The first field in which two of a dataclass differ, and the value that the first one has there."""
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if value != getattr(expected, field.name):
            return f"{field.name}={value!r}"
    return None


def seconds_of(length: str, what: str) -> int:
    """A duration, such as "30d" or "12h", in seconds."""
    return _seconds(length, what, {"h": HOUR, "d": DAY, "w": 7 * DAY}, "hours, days or weeks: '12h', '30d', '2w'")


def interval_of(length: str, what: str) -> int:
    """An interval of repetition, such as "5m" or "1h", in seconds."""
    return _seconds(length, what, {"s": 1, "m": 60, "h": HOUR}, "seconds, minutes or hours: '30s', '5m', '1h'")


def length_of(length: str, what: str) -> int:
    """A length of time of any unit, such as "90s", "2h" or "3d", in seconds."""
    units = {"s": 1, "m": 60, "h": HOUR, "d": DAY, "w": 7 * DAY}
    return _seconds(length, what, units, "seconds, minutes, hours, days or weeks: '90s', '5m', '2h', '3d', '1w'")


def _seconds(length: str, what: str, units: Mapping[str, int], use: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([a-z])", length) if isinstance(length, str) else None
    if match is None or int(match[1]) == 0 or match[2] not in units:
        raise ConfigError(f"{what}={length!r} is not a length of time; use {use}")
    return int(match[1]) * units[match[2]]
