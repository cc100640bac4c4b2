"""Records that no batch holds together, in few parts that batches hold.

They are parted by the kinds of values in the fields in which they conflict, and only at last in halves: one odd value
among many good ones costs few steps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from fourfold.errors import let_end
from fourfold.fold.frames import column_of
from fourfold.model import limits
from fourfold.sdk.record import Record

T = TypeVar("T")


class Row(NamedTuple):
    """A record in plain values.

    ``place`` is its number among those that were given; ``later`` says by how many microseconds it was logged later
    than it says, so that those of its key stay in order.
    """

    place: int
    record: Record
    values: dict[str, Any]
    key: str | None
    time: Any
    key_name: str | None
    time_name: str | None
    later: int = 0


def parted(
    rows: Sequence[Row], hold: Callable[[Sequence[Row]], T], aside: dict[int, BaseException], *, whole: bool = True
) -> Iterator[T]:
    """Records in as few batches as hold them; what none can hold is put aside, by its place, with the reason.

    Args:
        rows: the records.
        hold: makes a batch of some of them, or raises.
        aside: where the others are put.
        whole: whether these are all, and not a part of them.
    """
    if not rows:
        return
    if whole and len(_of_moderate_size(rows)) > 1:
        for part in _of_moderate_size(_one_after_the_other(rows)):
            yield from parted(part, hold, aside, whole=False)
        return
    try:
        held = hold(rows)
    except BaseException as error:
        let_end(error)
        if len(rows) == 1:
            aside[rows[0].place] = error
            return
    else:
        yield held
        return
    for part in _parts(_one_after_the_other(rows) if whole else rows, aside):
        yield from parted(part, hold, aside, whole=False)


def _of_moderate_size(rows: Sequence[Row]) -> Sequence[Sequence[Row]]:
    """Records in parts that are not too large as columns: many records with many names are mostly nulls."""
    names = set[str]().union(*(row.values for row in rows))
    if len(rows) * len(names) <= limits.CELLS:
        return [rows]
    parts: list[list[Row]] = []
    names.clear()
    for row in rows:
        names.update(row.values)
        if not parts or (len(parts[-1]) + 1) * len(names) > limits.CELLS:
            parts.append([])
            names = set(row.values)
        parts[-1].append(row)
    return parts


def _one_after_the_other(rows: Sequence[Row]) -> list[Row]:
    """The records, each a microsecond later than the one before it of its key.

    Which of several records of a key came first is told by their log times, and by their batch where these are the
    same; what is parted may come in batches of any order.
    """
    number: dict[str, int] = {}
    found = []
    for row in rows:
        if row.key is not None:
            number[row.key] = number.get(row.key, -1) + 1
            row = row._replace(later=number[row.key])
        found.append(row)
    return found


def _parts(rows: Sequence[Row], aside: dict[int, BaseException]) -> Sequence[Sequence[Row]]:
    """Records that no batch holds together in parts that one may hold: those of the same types, or at last halves."""
    names = dict.fromkeys(name for row in rows for name in row.values)
    mixed = [name for name in names if _refusal([row.values.get(name) for row in rows]) is not None]
    for kind in (_kind, _kind_within):
        alike: dict[Hashable, list[Row]] = {}
        for row in rows:
            alike.setdefault(tuple(kind(row.values.get(name)) for name in mixed), []).append(row)
        if len(alike) > 1:
            return list(alike.values())
    if bad := _unfit(rows, mixed):
        aside.update(bad)
        return [[row for row in rows if row.place not in bad]]
    return [rows[: len(rows) // 2], rows[len(rows) // 2 :]]


def _unfit(rows: Sequence[Row], names: Sequence[str]) -> dict[int, BaseException]:
    """The records with a value of some fields that Arrow cannot hold even alone, by their places, and why."""
    found = ((row.place, _refusal([row.values.get(name)])) for name in names for row in rows)
    return {place: error for place, error in found if error is not None}


def _refusal(values: Sequence[Any]) -> BaseException | None:
    """Why Arrow cannot hold values as a column, if so."""
    try:
        column_of(values)
    except BaseException as error:
        let_end(error)
        return error
    return None


def _kind(value: Any) -> Hashable:
    return type(value).__name__


def _kind_within(value: Any) -> Hashable:
    """A value's type with those of what it contains, whatever their number and their names."""
    if isinstance(value, Mapping):
        return "map", frozenset(_kind_within(entry) for entry in value.values())
    if isinstance(value, list):
        return "list", frozenset(_kind_within(entry) for entry in value)
    return _kind(value)
