"""What users give as records: names of any type, and dicts that are one record or several columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fourfold.errors import InputError

DEEPEST = 32  # levels of a nested value
DEEPEST_KEY = 4  # levels of a key: each writes the one inside as a text, with twice as many escapes


class MissingColumnError(InputError):
    """The key, or the time, is not a column of what is logged."""


def name_text(name: object) -> str:
    """A column's name as the log keeps it: its text, that of bytes being what they hold.

    What UTF-8 cannot hold is written out, and so is the character at which Arrow's interface to engines ends a name.

    >>> name_text("age"), name_text(0), name_text(("a", "b")), name_text(b"age"), name_text("a\\0b")
    ('age', '0', "('a', 'b')", 'age', 'a\\\\x00b')
    """
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, each made non-empty and different from those before it regardless of case.

    >>> unique_names(["a", "A", "", "a"])
    ['a', 'A_2', 'unnamed', 'a_3']
    """
    seen: set[str] = set()
    out = []
    for name in names:
        base = candidate = name or "unnamed"
        number = 2
        while candidate.casefold() in seen:
            candidate, number = f"{base}_{number}", number + 1
        seen.add(candidate.casefold())
        out.append(candidate)
    return out


def check_key(depth: int) -> None:
    """Check that a part of a key is not too many levels inside of it.

    Raises:
        InputError: it is.
    """
    if depth > DEEPEST_KEY:
        raise InputError(f"a key is nested more than {DEEPEST_KEY} deep, or contains itself; give a list of its parts")


def is_of_pandas(value: Any, *names: str) -> bool:
    """Whether a value is of one of these classes of pandas', which need not be loaded for that."""
    kind = type(value)
    return kind.__name__ in names and kind.__module__.partition(".")[0] == "pandas"


def is_record(data: Any, key: Any = None) -> bool:
    """Whether data is one record, rather than columns: a dict whose key, or else all of whose values, are no sequences.

    ``key`` names the columns of the key, if any.
    """
    if not isinstance(data, Mapping):
        return False
    sequences = (list, tuple, *_arrays())
    parts = [key] if isinstance(key, str) else key if isinstance(key, (list, tuple)) else []
    if parts and all(isinstance(part, str) and part in data for part in parts):
        return not isinstance(data[parts[0]], sequences)
    return not any(isinstance(value, sequences) for value in data.values())


def check_named(key: str | Sequence[str] | None, time: Any, columns: Sequence[str]) -> None:
    """Check that the columns of the key and the time are there.

    Raises:
        MissingColumnError: one is not.
    """
    parts = [] if key is None else [key] if isinstance(key, str) else list(key)
    for field, name in (*(("key", part) for part in parts), ("time", time)):
        if name is not None and name not in columns:
            raise MissingColumnError(f"{field}={name!r} is not a column of the frame; there are {list(columns)}")


def _arrays() -> tuple[type, ...]:
    """The types of arrays, of the packages that are loaded: of another one there can be none."""
    named = (("numpy", "ndarray"), ("pyarrow", "Array"), ("pyarrow", "ChunkedArray"))
    found = (getattr(sys.modules.get(module), name, None) for module, name in named)
    return tuple(kind for kind in found if isinstance(kind, type))
