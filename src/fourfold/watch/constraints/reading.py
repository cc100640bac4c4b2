"""The days of a stream's columns, as constraints are learned from them and checked on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from fourfold import counts
from fourfold.counts import KINDS, Counts
from fourfold.counts.binning import Ints
from fourfold.model import DAY, EVERYTHING, Owner, Series
from fourfold.query.counts import CurrentCounts, pooled
from fourfold.query.reader import Reader
from fourfold.state import series
from fourfold.watch.constraints.inference import MOST_VALUES, Days

KINDS_READ = ("stream", "numeric", "category", "opaque")
Place = tuple[str, str]  # a column and the kind of its counts


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """A stream's columns, by name and kind: their series, their days, and the most labels that a day had."""

    stream: str
    series: Mapping[Place, Series]
    days: Mapping[Place, Days]
    most: Mapping[Place, int]

    @property
    def newest(self) -> list[int]:
        """All days of the stream, in order."""
        found = {bucket for days in self.days.values() for bucket in days.buckets.tolist()}
        return sorted(found)


def columns(reader: Reader, stream: str) -> Columns:
    """The days of all columns of a stream."""
    known = {
        (entry.column, entry.kind): entry
        for entry in reader.recall(series.find, Owner.of_stream(stream))
        if entry.slice == EVERYTHING and entry.kind in KINDS_READ
    }
    with reader.database.read() as connection:
        rows = series.summaries(connection, list(known.values()), DAY)
    by_series: dict[int, list[sa.Row[Any]]] = {}
    for row in rows:
        by_series.setdefault(row.series_id, []).append(row)
    found, most = {}, {}
    for place, entry in known.items():
        if entry.id in by_series:
            found[place] = _days(place[1], by_series[entry.id])
            most[place] = max(int(row.size) for row in by_series[entry.id])
    return Columns(stream, known, found, most)


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
    return Days(buckets, added("rows"), missing, added("negative", "negative_infinity"), low, high)


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
