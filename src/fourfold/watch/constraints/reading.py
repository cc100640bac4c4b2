"""The days of a stream's columns, as constraints are learned from them and checked on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from fourfold import counts
from fourfold.counts import KINDS, Counts
from fourfold.counts.binning import Ints
from fourfold.model import DAY, EVERYTHING, Owner, Series
from fourfold.query.counts import CurrentCounts, pooled
from fourfold.query.reader import Reader
from fourfold.state import catalogue, series
from fourfold.watch.constraints.inference import MOST_VALUES, Days
from fourfold.watch.constraints.rule import Constraint, Rule

KINDS_READ = ("stream", "numeric", "category", "opaque")
_WHOLE = ("stream", EVERYTHING)
Place = tuple[str, str]  # a column and the kind of its counts


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """A stream's columns, by name and kind: their series, their days, and the most labels that a day had.

    ``by_column`` are the days of each column by kind.
    """

    stream: str
    series: Mapping[Place, Series]
    days: Mapping[Place, Days]
    most: Mapping[Place, int]
    by_column: Mapping[str, Mapping[str, Days]]

    @property
    def all_days(self) -> list[int]:
        """All days that some column has, in order."""
        return sorted({bucket for days in self.days.values() for bucket in days.buckets.tolist()})

    def of(self, names: Collection[str]) -> list[Series]:
        """The series of some columns."""
        return [entry for (column, _), entry in self.series.items() if column in names]

    def may_violate(self, constraint: Constraint) -> bool:
        """Whether what is known without bins and labels does not exclude a violation."""
        kinds = self.by_column.get(constraint.column, {})
        numbers, limit = kinds.get("numeric"), 0.0 if constraint.limit is None else constraint.limit
        match constraint.rule:
            case Rule.MIN:
                return numbers is not None and bool(numbers.negative.any() or (numbers.low < limit).any())
            case Rule.MAX:
                return numbers is not None and bool((numbers.infinite > 0).any() or (numbers.high > limit).any())
            case Rule.NULL:
                return any(bool(days.missing.any()) for days in kinds.values())
            case Rule.UNIQUE if not constraint.column:
                return any(bool(days.missing.any()) for days in kinds.values())
            case Rule.TYPE:
                return bool(kinds.keys() - {*constraint.values})
            case _:
                return "category" in kinds


def days_of_streams(reader: Reader) -> dict[str, list[int]]:
    """The days on which each stream has data, in order."""
    streams = list(reader.recall(catalogue.streams))
    found: dict[str, set[int]] = {stream: set() for stream in streams}
    with reader.database.read() as connection:
        owners = {Owner.of_stream(stream): stream for stream in streams}
        known = series.find_all(connection, reader.project, list(owners))
        whole = {e.id: owners[o] for o, entries in known.items() for e in entries if (e.kind, e.slice) == _WHOLE}
        for row in series.buckets(connection, list(whole), DAY):
            found[whole[row.series_id]].add(row.bucket)
    return {stream: sorted(days) for stream, days in found.items() if days}


def columns(reader: Reader, stream: str, start: int = series.FIRST, end: int = series.LAST) -> Columns:
    """The days of all columns of a stream that begin in [start, end)."""
    known = {
        (entry.column, entry.kind): entry
        for entry in reader.recall(series.find, Owner.of_stream(stream))
        if entry.slice == EVERYTHING and entry.kind in KINDS_READ
    }
    with reader.database.read() as connection:
        rows = series.summaries(connection, list(known.values()), DAY, start, end)
    by_series: dict[int, list[sa.Row[Any]]] = {}
    for row in rows:
        by_series.setdefault(row.series_id, []).append(row)
    found, most = {}, {}
    for place, entry in known.items():
        if entry.id in by_series:
            found[place] = _days(place[1], by_series[entry.id])
            most[place] = max(int(row.size) for row in by_series[entry.id])
    by_column: dict[str, dict[str, Days]] = {}
    for (column, kind), days in found.items():
        by_column.setdefault(column, {})[kind] = days
    return Columns(stream, known, found, most, by_column)


def _days(kind: str, rows: Sequence[sa.Row[Any]]) -> Days:
    names = KINDS[kind].tallies
    tallies = np.frombuffer(b"".join(row.tallies for row in rows), "<i8").reshape(len(rows), len(names))
    buckets, where = np.unique(np.array([row.bucket for row in rows], np.int64), return_inverse=True)

    def added(*wanted: str) -> Ints:
        total = np.zeros(len(buckets), np.int64)
        for name in wanted:
            if name in names:
                np.add.at(total, where, tallies[:, names.index(name)])
        return total

    low, high = np.full(len(buckets), np.nan), np.full(len(buckets), np.nan)
    np.fmin.at(low, where, np.array([row.low for row in rows], np.float64))
    np.fmax.at(high, where, np.array([row.high for row in rows], np.float64))
    missing = added("duplicate_key") if kind == "stream" else added("null", "nan")
    negative, infinite = added("negative", "negative_infinity", "null_key"), added("positive_infinity")
    return Days(buckets, added("rows"), missing, negative, infinite, low, high)


def labels(reader: Reader, stream: str, entry: Series) -> list[tuple[int, dict[str, int]]]:
    """How often each value of a column was there, by day; empty if a day had too many values for a set."""
    by_day: dict[int, dict[str, int]] = {}
    for bucket, counted in _counted(reader, stream, [entry], series.FIRST, series.LAST):
        if counted.tally("other") > 0 or len(counted.labels) > MOST_VALUES:
            return []
        day = by_day.setdefault(bucket, {})
        for text, n in zip(counted.labels, counted.counts.tolist(), strict=True):
            day[text] = day.get(text, 0) + n
    return sorted(by_day.items())


def counted_by_day(
    reader: Reader, stream: str, wanted: Sequence[Series], start: int, end: int
) -> dict[int, dict[str, list[Counts]]]:
    """The counts of some series, by day and column, of each kind."""
    parts: dict[tuple[int, str, str], list[Counts]] = {}
    for bucket, counted in _counted(reader, stream, wanted, start, end):
        parts.setdefault((bucket, counted.column, counted.kind), []).append(counted)
    found: dict[int, dict[str, list[Counts]]] = {}
    for (bucket, column, _), several in parts.items():
        if (total := pooled(several)) is not None:
            found.setdefault(bucket, {}).setdefault(column, []).append(total)
    return found


def _counted(
    reader: Reader, stream: str, wanted: Sequence[Series], start: int, end: int
) -> Sequence[tuple[int, Counts]]:
    source = CurrentCounts(reader, Owner.of_stream(stream))
    table = source.counts(wanted, DAY, start, end)
    return list(zip(table["bucket"].to_pylist(), counts.rows(table, source.binnings()), strict=True))
