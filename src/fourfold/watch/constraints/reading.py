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
from fourfold.state import bulk, catalogue, series
from fourfold.state.database import readable
from fourfold.state.packing import unpack_counts, unpack_labels
from fourfold.watch.constraints.inference import MOST_VALUES, Days

KINDS_READ = ("stream", "numeric", "category", "opaque")
_WHOLE = ("stream", EVERYTHING)
_OTHER = KINDS["category"].tallies.index("other")
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


def days_of_streams(reader: Reader) -> dict[str, list[int]]:
    """The days on which each stream has data, in order; do not modify them."""
    return reader.database.remember((days_of_streams, reader.project), lambda: _days_of_streams(reader))


def _days_of_streams(reader: Reader) -> dict[str, list[int]]:
    found: dict[str, set[int]] = {stream: set() for stream in reader.recall(catalogue.streams)}
    known = reader.recall(bulk.of_streams)
    whole = {e.id: o.name for o, e in known if o.name in found and (e.kind, e.slice) == _WHOLE}
    with reader.database.read() as connection:
        for row in series.buckets(connection, list(whole), DAY):
            found[whole[row.series_id]].add(row.bucket)
    return {stream: sorted(days) for stream, days in found.items() if days}


def columns(reader: Reader, stream: str) -> Columns:
    """The days of all columns of a stream."""
    known = {
        (entry.column, entry.kind): entry
        for entry in reader.recall(series.find, Owner.of_stream(stream))
        if entry.slice == EVERYTHING and entry.kind in KINDS_READ
    }
    with reader.database.read() as connection:
        rows = series.summaries(connection, list(known.values()), DAY)
    kinds = {entry.id: entry.kind for entry in known.values()}
    by_kind: dict[str, list[sa.Row[Any]]] = {}
    for row in rows:
        by_kind.setdefault(kinds[row[0]], []).append(row)
    by_series = {id_: days for kind, several in by_kind.items() for id_, days in _days(kind, several).items()}
    found, most = {}, {}
    for place, entry in known.items():
        if entry.id in by_series:
            found[place], most[place] = by_series[entry.id]
    by_column: dict[str, dict[str, Days]] = {}
    for (column, kind), days in found.items():
        by_column.setdefault(column, {})[kind] = days
    return Columns(stream, known, found, most, by_column)


def _days(kind: str, rows: Sequence[sa.Row[Any]]) -> dict[int, tuple[Days, int]]:
    """The days of series of one kind, by their ids, and the most bins or labels of a day."""
    names_of, whole, largest = stacked(kind, rows)
    starts = np.flatnonzero(np.diff(names_of, prepend=-1))
    most = np.maximum.reduceat(largest, starts).tolist()
    parts = zip(names_of[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), len(whole)], most, strict=True)
    return {id_: (whole.part(start, end), size) for id_, start, end, size in parts}


def stacked(kind: str, rows: Sequence[sa.Row[Any]]) -> tuple[Ints, Days, Ints]:
    """The days of all series of one kind, one after the other: the series of each, and its most bins or labels."""
    ids, buckets, packed, low, high, sizes = (list(column) for column in zip(*rows, strict=True))
    order = np.lexsort((buckets, ids))
    series_of, days = np.array(ids, np.int64)[order], np.array(buckets, np.int64)[order]
    is_first = np.ones(len(rows), bool)  # of a series' day, which has a row for each binning
    is_first[1:] = (np.diff(series_of) != 0) | (np.diff(days) != 0)
    first, names = np.flatnonzero(is_first), KINDS[kind].tallies
    tallies = np.frombuffer(b"".join(packed), "<i8").reshape(len(rows), len(names))[order]
    total = dict(zip(names, np.add.reduceat(tallies, first).T, strict=True))

    def added(*wanted: str) -> Ints:
        return sum((total[name] for name in wanted if name in total), np.zeros(len(first), np.int64))

    columns = (
        days[first],
        added("rows"),
        added("duplicate_key") if kind == "stream" else added("null", "nan"),
        added("negative", "negative_infinity", "null_key"),
        added("positive_infinity", "negative_infinity"),
        np.fmin.reduceat(np.array(low, np.float64)[order], first),
        np.fmax.reduceat(np.array(high, np.float64)[order], first),
    )
    largest = np.maximum.reduceat(np.array(sizes, np.int64)[order], first)
    return series_of[first], Days(*columns), largest


def labels(reader: Reader, wanted: Sequence[Series]) -> dict[int, list[tuple[int, dict[str, int]]]]:
    """How often each value of some columns was there, by series and day; none if a day had too many for a set."""
    rows, texts = _labelled(reader, wanted, series.FIRST, series.LAST)
    by_series: dict[int, dict[int, dict[str, int]]] = {entry.id: {} for entry in wanted}
    for row in rows:
        if (days := by_series.get(row.series_id)) is None:
            continue
        if row.size > MOST_VALUES or _others(row.tallies):
            del by_series[row.series_id]
            continue
        day = days.setdefault(row.bucket, {})
        for text, n in zip(texts[row.bins], unpack_counts(row.counts, row.size), strict=True):
            day[text] = day.get(text, 0) + n
    return {id_: sorted(days.items()) for id_, days in by_series.items()}


def with_other_values(reader: Reader, sets: Mapping[Series, Collection[str]], start: int, end: int) -> set[Series]:
    """The series of categories that have a value outside their set on some day in [start, end)."""
    rows, texts = _labelled(reader, list(sets), start, end)
    by_id = {entry.id: (entry, frozenset(values)) for entry, values in sets.items()}
    return {
        by_id[row.series_id][0]
        for row in rows
        if _others(row.tallies) or not by_id[row.series_id][1].issuperset(texts[row.bins])
    }


def _labelled(
    reader: Reader, wanted: Sequence[Series], start: int, end: int
) -> tuple[list[sa.Row[Any]], dict[bytes, list[str]]]:
    """The rows of categories; and the labels of each, by how they are packed: most days have the same."""
    with reader.database.read() as connection:
        rows = series.labelled(connection, wanted, DAY, start, end)
    with readable("some counts"):
        sizes = {row.bins: row.size for row in rows}
        return rows, {packed: list(unpack_labels(packed, size)) for packed, size in sizes.items()}


def _others(tallies: bytes) -> bool:
    """Whether some values of a category were not counted one by one."""
    return int.from_bytes(tallies[8 * _OTHER : 8 * _OTHER + 8], "little", signed=True) > 0


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
