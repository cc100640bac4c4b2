"""The newest days of all streams' columns at once: what their extremes say, without bins and labels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from fourfold.model import DAY, EVERYTHING, Series
from fourfold.query.reader import Reader
from fourfold.state import bulk, series
from fourfold.watch.constraints.reading import KINDS_READ, stacked
from fourfold.watch.constraints.rule import Constraint, Rule

Window = tuple[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Extremes:
    """What the days of a series have: extremes are NaN without values; ``missing`` are repeated keys of a stream."""

    low: float
    high: float
    infinite: bool
    missing: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Newest:
    """The days of a stream's columns that begin in ``window``: its series, and extremes by column and kind."""

    stream: str
    window: Window
    series: Sequence[Series]
    extremes: Mapping[str, Mapping[str, Extremes]]

    def of(self, names: Collection[str]) -> list[Series]:
        """The series of some columns."""
        return [entry for entry in self.series if entry.column in names]

    def may_violate(self, constraint: Constraint) -> bool:
        """Whether what is known without bins and labels does not exclude a violation."""
        kinds = self.extremes.get(constraint.column, {})
        numbers, limit = kinds.get("numeric"), 0.0 if constraint.limit is None else constraint.limit
        match constraint.rule:
            case Rule.MIN:
                return numbers is not None and (numbers.low < limit or numbers.infinite)
            case Rule.MAX:
                return numbers is not None and (numbers.high > limit or numbers.infinite)
            case Rule.NULL:
                return any(days.missing for days in kinds.values())
            case Rule.UNIQUE if not constraint.column:
                return any(days.missing for days in kinds.values())
            case Rule.TYPE:
                return not kinds.keys() <= {*constraint.values}
            case _:
                return "category" in kinds


def newest_days(reader: Reader, windows: Mapping[str, Window]) -> list[Newest]:
    """The days of some streams, each in its window [start, end), in the streams' order."""
    known: dict[str, list[Series]] = {stream: [] for stream in windows}
    for owner, entry in reader.recall(bulk.of_streams):
        if owner.name in known and entry.slice == EVERYTHING and entry.kind in KINDS_READ:
            known[owner.name].append(entry)
    extremes: dict[int, Extremes] = {}
    for window in dict.fromkeys(windows.values()):  # most have the same
        wanted = [entry for stream, own in windows.items() if own == window for entry in known[stream]]
        key = (_extremes, window, *(entry.id for entry in wanted))
        extremes |= reader.database.remember(key, functools.partial(_extremes, reader, wanted, window))
    return [Newest(name, window, known[name], _by_column(known[name], extremes)) for name, window in windows.items()]


def _extremes(reader: Reader, wanted: Sequence[Series], window: Window) -> dict[int, Extremes]:
    with reader.database.read() as connection:
        rows = series.summaries(connection, wanted, DAY, *window)
    kinds = {entry.id: entry.kind for entry in wanted}
    return {
        id_: found
        for kind in KINDS_READ
        if (own := [row for row in rows if kinds[row[0]] == kind])
        for id_, found in _of_kind(kind, own)
    }


def _of_kind(kind: str, rows: Sequence[sa.Row[Any]]) -> Iterator[tuple[int, Extremes]]:
    ids, days, _ = stacked(kind, rows)
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    columns = (
        np.fmin.reduceat(days.low, starts), np.fmax.reduceat(days.high, starts),
        np.logical_or.reduceat(days.infinite != 0, starts), np.logical_or.reduceat(days.missing != 0, starts),
    )  # fmt: skip
    for id_, *values in zip(ids[starts].tolist(), *(column.tolist() for column in columns), strict=True):
        yield id_, Extremes(*values)


def _by_column(known: Sequence[Series], extremes: Mapping[int, Extremes]) -> dict[str, dict[str, Extremes]]:
    found: dict[str, dict[str, Extremes]] = {}
    for entry in known:
        if entry.id in extremes:
            found.setdefault(entry.column, {})[entry.kind] = extremes[entry.id]
    return found
