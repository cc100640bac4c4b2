"""Lists in the order that is asked for, and the part of them that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fourfold.errors import InputError
from fourfold.views.asking import Asked
from fourfold.views.page import Plain


def part(rows: Sequence[Plain], asked: Asked) -> tuple[list[Plain], int]:
    """The rows that are asked for, and how many there are in all; what a field does not say comes last.

    Raises:
        InputError: the rows have no such field.
    """
    found = list(rows)
    if asked.order:
        name, down = asked.order.removeprefix("-"), asked.order.startswith("-")
        if found and name not in found[0]:
            raise InputError(f"order={asked.order!r}: order by one of {', '.join(found[0])}")
        known = sorted((row for row in found if _value(row.get(name)) is not None), key=lambda row: _key(row, name))
        found = [*(reversed(known) if down else known), *(row for row in found if _value(row.get(name)) is None)]
    return found[asked.offset : asked.offset + asked.limit], len(rows)


def _key(row: Plain, name: str) -> tuple[bool, Any]:
    value = _value(row[name])
    return isinstance(value, str), value


def _value(found: Any) -> Any:
    """What a field is ordered by: the number of a metric's answer, a number, or a text."""
    if isinstance(found, dict):
        found = found.get("value")
    return found if found is None or isinstance(found, (int, float)) else str(found)
