"""Queries over counts: add to them, sum them, drop what is too old."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from fourfold import counts as monoid
from fourfold.counts import KEYS, Panel, as_matrix
from fourfold.model import DAY, EVERYTHING, HOUR, KEEP_HOURS, slice_names
from fourfold.state.database import readable
from fourfold.state.packing import Packed, pack, unpack, unpack_counts, unpack_labels
from fourfold.state.statements import chunked, upsert
from fourfold.state.tables import counts, series

Series = tuple[int, str, str, str]  # number, column, kind and slice
FIRST, LAST = -(2**62), 2**62  # before and after all buckets
RUN = 0  # the level of counts of one run; its bucket is the run's start in microseconds

Connection = sa.Connection
_SMALL = (counts.c.tallies, counts.c.sums, counts.c.low, counts.c.high)
_ALL = tuple(counts.c[name] for name in Packed._fields)


def add(connection: Connection, project: str, owner: str, level: int, delta: pa.Table) -> None:
    """Add a counts table, each of whose keys stands once, to what is stored at a level; zeros are removed."""
    if delta.num_rows:
        _add(connection, _with_ids(connection, project, owner, find(connection, project, owner), delta), level, delta)


def add_levels(connection: Connection, project: str, owner: str, hourly: pa.Table) -> pa.Table:
    """Add counts by hour to the hours and the days; hours of which 60 days are over are dropped.

    "Over" is by the owner's own newest data, so that a replay of last year is kept like this year's. A record that is
    dated in the future ends nothing. Returns the totals of the days and series that were added to.
    """
    if hourly.num_rows == 0:
        return hourly
    known = find(connection, project, owner)
    new = _new_columns(known, hourly)
    buckets = hourly["bucket"].to_numpy()
    daily = monoid.rebucket(hourly, buckets // DAY * DAY)
    missing = {level: _nulls_before(connection, known, new, level) for level in (DAY, HOUR)}
    ids = _with_ids(connection, project, owner, known, hourly, *missing.values())
    totals = _add(connection, ids, DAY, _sum(daily, missing[DAY]))
    oldest = _newest_day(connection, project, owner) + DAY - KEEP_HOURS
    recent = hourly if buckets.min() >= oldest else hourly.filter(pa.array(buckets >= oldest))
    _add(connection, ids, HOUR, _sum(recent, missing[HOUR]))
    drop_before(connection, project, owner, HOUR, oldest)
    return totals


def find(connection: Connection, project: str, owner: str) -> list[Series]:
    """The series of an owner."""
    found = connection.execute(_SERIES_OF_OWNER, {"project": project, "owner": owner})
    return [(row[0], row[1], row[2], row[3]) for row in found]


def select(
    connection: Connection, wanted: Sequence[Series], level: int, start: int = FIRST, end: int = LAST
) -> pa.Table:
    """The stored counts of some series (as ``find`` gives them) whose buckets begin in [start, end)."""
    names = {row[0]: row[1:] for row in wanted}
    return _table(_stored(connection, _ALL_OF_SERIES, list(names), level, start, end), names)


def panel(
    connection: Connection,
    wanted: Sequence[Series],
    level: int,
    start: int = FIRST,
    end: int = LAST,
    *,
    bins: bool = False,
) -> Panel:
    """The stored counts of some series of one column and kind, with their bins or without, which are then not read.

    Of kinds that are counted by label there is no panel with bins: see ``select``.
    """
    slices = {row[0]: row[3] for row in wanted}
    query = _BINNED_OF_SERIES if bins else _SMALL_OF_SERIES
    stored = _stored(connection, query, list(slices), level, start, end)
    with readable("some counts"):
        columns = list(zip(*stored, strict=True)) or [()] * (10 if bins else 7)
        ids, buckets, versions, tallies, sums, low, high, *packed = columns
        sizes, packed_bins, packed_counts = packed or ((), (), ())
        width, numbers = _evenly(sizes, packed_counts)
        return Panel(
            *wanted[0][1:3],
            slices=slices,
            series=np.array(ids, np.int64),
            buckets=np.array(buckets, np.int64),
            binnings=np.array(versions, np.int64),
            tallies=as_matrix(np.frombuffer(b"".join(tallies), "<i8"), len(stored)),
            sums=as_matrix(np.frombuffer(b"".join(sums), "<f8"), len(stored)),
            low=np.array(low, np.float64),
            high=np.array(high, np.float64),
            bins=packed_bins,
            numbers=numbers,
            width=width,
        )


def _evenly(sizes: Sequence[int], packed: Sequence[bytes]) -> tuple[str, Sequence[bytes]]:
    """The rows' counts, all in the same width: those of 32 bits widened where one has 64."""
    if sum(map(len, packed)) == 4 * sum(sizes):
        return "<i4", packed
    wide = [
        row if len(row) == 8 * size else np.frombuffer(row, "<i4").astype("<i8").tobytes()
        for size, row in zip(sizes, packed, strict=True)
    ]
    return "<i8", wide


def span(connection: Connection, project: str, owner: str, level: int) -> tuple[int, int] | None:
    """The first and the last bucket that an owner has counts in."""
    first, last = connection.execute(
        sa.select(sa.func.min(counts.c.bucket), sa.func.max(counts.c.bucket))
        .select_from(counts.join(series))
        .where(series.c.project == project, series.c.owner == owner, counts.c.level == level)
    ).one()
    return None if first is None else (first, last)


def owners(connection: Connection, project: str) -> list[str]:
    """All owners with counts."""
    query = sa.select(series.c.owner).distinct().where(series.c.project == project).order_by(series.c.owner)
    return list(connection.scalars(query))


def drop_before(connection: Connection, project: str, owner: str, level: int, bucket: int) -> None:
    """Remove an owner's counts of a level that are older than a bucket."""
    connection.execute(_OLDER, {"project": project, "owner": owner, "at": level, "end": bucket})


def forget(
    connection: Connection,
    project: str,
    owner: str,
    *,
    names: Collection[tuple[str, ...]] | None = None,
    custom: str | None = None,
    since: int = FIRST,
) -> None:
    """Remove all counts of an owner, or those in slices of some names.

    Of these, ``custom`` picks those of one custom metric; "" picks what is none. What is in buckets before ``since``
    stays.
    """
    ids = [
        id_ for id_, column, kind, key in find(connection, project, owner)
        if (names is None or slice_names(key) in names)
        and (custom is None or (column if kind == "custom" else "") == custom)
    ]  # fmt: skip
    for chunk in chunked(ids):
        connection.execute(sa.delete(counts).where(counts.c.series_id.in_(chunk), counts.c.bucket >= since))
        if since == FIRST:
            connection.execute(sa.delete(series).where(series.c.id.in_(chunk)))


def drop_unused(connection: Connection, project: str) -> None:
    """Remove the names of series that have no counts left: their slices may hold what was erased."""
    used = sa.select(counts.c.series_id).where(counts.c.series_id == series.c.id).exists()
    connection.execute(sa.delete(series).where(series.c.project == project, ~used))


def slices_of(connection: Connection, project: str, texts: Collection[str]) -> list[tuple[str, str]]:
    """The owners and slices in which one of some values stands."""
    query = sa.select(series.c.owner, series.c.slice).where(series.c.project == project).distinct()
    return [(row[0], row[1]) for row in connection.execute(query) if set(json.loads(row[1]).values()) & set(texts)]


def erase_labels(connection: Connection, project: str, texts: Collection[str]) -> None:
    """Count what is counted under some values of category columns as *other*, in all counts of a project."""
    query = sa.select(
        series.c.owner, series.c.column, series.c.slice, counts.c.level, counts.c.bucket, counts.c.size,
        counts.c.bins, counts.c.counts,
    ).select_from(counts.join(series)).where(
        series.c.project == project, series.c.kind == "category", counts.c.size > 0
    )  # fmt: skip
    moved: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for owner, column, key, level, bucket, size, packed, numbers in connection.execute(query):
        labels = unpack_labels(packed, size)
        found = [(text, n) for text, n in zip(labels, unpack_counts(numbers, size), strict=True) if text in texts]
        if found:
            total = sum(n for _, n in found)
            moved.setdefault((owner, level), []).append(
                {
                    "column": column, "kind": "category", "slice": key, "bucket": bucket, "binning": 0,
                    "tallies": [0, 0, total], "sums": [], "low": float("nan"), "high": float("nan"), "bins": [],
                    "labels": [text for text, _ in found], "counts": [-n for _, n in found], "registers": [],
                }
            )  # fmt: skip
    for (owner, level), rows in moved.items():
        add(connection, project, owner, level, pa.Table.from_pylist(rows, schema=monoid.SCHEMA))


def _newest_day(connection: Connection, project: str, owner: str) -> int:
    """The newest day of an owner's records that is not in the future; where all are, the newest of them."""
    for end in (int(time.time()), LAST):
        newest = connection.scalar(_NEWEST, {"project": project, "owner": owner, "at": DAY, "end": end})
        if newest is not None:
            return int(newest)
    return 0


def _new_columns(known: Sequence[Series], delta: pa.Table) -> set[tuple[str, str, tuple[str, ...]]]:
    """The columns, each with its kind and the names of its slices, that had no counts before these."""
    keys = _names_of(delta) - {row[1:] for row in known}
    if not keys:
        return set()
    seen = {(column, kind, slice_names(key)) for _, column, kind, key in known}
    return {(column, kind, slice_names(key)) for column, kind, key in keys if column} - seen


def _nulls_before(
    connection: Connection, known: Sequence[Series], new: Collection[tuple[str, str, tuple[str, ...]]], level: int
) -> pa.Table:
    """For columns that are new: all records that were counted before they came, as nulls.

    So that a column which is logged from some day on has the same counts as if all had been folded at once.
    """
    streams = [row for row in known if row[2] == "stream"]
    if not new or not streams:
        return monoid.empty()
    rows = []
    for (bucket, key), total in panel(connection, streams, level):
        records, dimension = total.tally("rows"), slice_names(key)
        for column, kind, of in new:
            if of == dimension:
                names = monoid.KINDS[kind]
                rows.append(
                    {
                        "column": column, "kind": kind, "slice": key, "bucket": bucket,
                        "binning": 0, "sums": [0.0] * len(names.sums), "low": float("nan"), "high": float("nan"),
                        "tallies": [records if name in ("rows", "null") else 0 for name in names.tallies],
                        "bins": [], "labels": [], "counts": [], "registers": [],
                    }
                )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=monoid.SCHEMA)


def _names_of(delta: pa.Table) -> set[tuple[str, str, str]]:
    """The series of a counts table: column, kind and slice of each."""
    return set(zip(*(delta[name].to_pylist() for name in ("column", "kind", "slice")), strict=True))


def _sum(delta: pa.Table, further: pa.Table) -> pa.Table:
    """Both added up; tables whose keys stand once each, of which one is mostly empty."""
    return monoid.add(delta, further) if delta.num_rows and further.num_rows else delta if delta.num_rows else further


def _add(connection: Connection, ids: dict[tuple[str, str, str], int], level: int, delta: pa.Table) -> pa.Table:
    """Add counts, whose keys stand once each, to the rows of a level; returns what these come to."""
    if delta.num_rows == 0:
        return delta
    before = _stored_at(connection, ids, level, delta)
    total = monoid.drop_zero(monoid.without_negative_labels(_sum(delta, before)))
    names = counts.columns.keys()
    rows = [
        dict(zip(names, (number, level, bucket, version, *packed), strict=True))
        for (number, bucket, version), *packed in zip(_identities(ids, total), *pack(total), strict=True)
    ]
    upsert(connection, counts, rows)
    if before.num_rows and len(rows) < delta.num_rows:  # some came to zero
        gone = set(_identities(ids, before)) - set(_identities(ids, total))
        if gone:
            connection.execute(_ONE, [{"s": s, "at": level, "b": b, "v": v} for s, b, v in gone])
    return total


def _stored_at(connection: Connection, ids: dict[tuple[str, str, str], int], level: int, delta: pa.Table) -> pa.Table:
    """What is stored at a level under the keys of a counts table."""
    identities = set(_identities(ids, delta))
    numbers, buckets = {number for number, _, _ in identities}, delta["bucket"].to_numpy()
    names = {number: key for key, number in ids.items() if number in numbers}
    stored = _stored(connection, _ALL_OF_SERIES, list(names), level, int(buckets.min()), int(buckets.max()) + 1)
    return _table([row for row in stored if tuple(row[:3]) in identities], names)


def _identities(ids: dict[tuple[str, str, str], int], table: pa.Table) -> Iterator[tuple[int, int, int]]:
    """Each row's series by its number, bucket and binning."""
    columns = (table[name].to_pylist() for name in KEYS)
    return (
        (ids[column, kind, key], bucket, version) for column, kind, key, bucket, version in zip(*columns, strict=True)
    )


def _of_series(columns: Sequence[sa.Column[Any]]) -> sa.Select[Any]:
    """The rows of some series at a level."""
    return sa.select(counts.c.series_id, counts.c.bucket, counts.c.binning, *columns).where(
        counts.c.series_id.in_(sa.bindparam("ids", expanding=True)),
        counts.c.level == sa.bindparam("at"),
        counts.c.bucket >= sa.bindparam("start"),
        counts.c.bucket < sa.bindparam("end"),
    )


# made once: building a statement takes longer than many a small answer
_ALL_OF_SERIES, _SMALL_OF_SERIES = _of_series(_ALL), _of_series(_SMALL)
_BINNED_OF_SERIES = _of_series((*_SMALL, counts.c.size, counts.c.bins, counts.c.counts))
_OF_OWNER = (series.c.project == sa.bindparam("project")) & (series.c.owner == sa.bindparam("owner"))
_SERIES_OF_OWNER = sa.select(series.c.id, series.c.column, series.c.kind, series.c.slice).where(_OF_OWNER)
_OLDER = sa.delete(counts).where(
    counts.c.series_id.in_(sa.select(series.c.id).where(_OF_OWNER)),
    counts.c.level == sa.bindparam("at"),
    counts.c.bucket < sa.bindparam("end"),
)
_NEWEST = sa.select(  # the newest bucket of each series, which its index tells without a scan, and the newest of these
    sa.func.max(
        sa.select(sa.func.max(counts.c.bucket))
        .where(
            counts.c.series_id == series.c.id,
            counts.c.level == sa.bindparam("at"),
            counts.c.bucket <= sa.bindparam("end"),
        )
        .scalar_subquery()
    )
).where(_OF_OWNER, series.c.slice == EVERYTHING)
_ONE = sa.delete(counts).where(
    counts.c.series_id == sa.bindparam("s"),
    counts.c.level == sa.bindparam("at"),
    counts.c.bucket == sa.bindparam("b"),
    counts.c.binning == sa.bindparam("v"),
)


def _stored(
    connection: Connection, query: sa.Select[Any], ids: list[int], level: int, start: int, end: int
) -> list[sa.Row[Any]]:
    found: list[sa.Row[Any]] = []
    for chunk in chunked(ids):
        found += connection.execute(query, {"ids": chunk, "at": level, "start": start, "end": end}).fetchall()
    return found


def _table(rows: Sequence[Sequence[Any]], names: dict[int, Any]) -> pa.Table:
    if not rows:
        return monoid.empty()
    ids, buckets, versions, *packed = zip(*rows, strict=True)
    with readable("some counts"):
        keys = [*zip(*(names[i] for i in ids), strict=True), buckets, versions]
        return unpack(keys, Packed(*packed))


def _with_ids(
    connection: Connection, project: str, owner: str, known: Sequence[Series], *deltas: pa.Table
) -> dict[tuple[str, str, str], int]:
    """The numbers of an owner's series, those of some counts tables among them."""
    ids = {row[1:]: row[0] for row in known}
    new = sorted({key for delta in deltas for key in _names_of(delta)} - ids.keys())
    if not new:
        return ids
    rows = [{"project": project, "owner": owner, "column": c, "kind": k, "slice": s} for c, k, s in new]
    connection.execute(sa.insert(series), rows)
    return {row[1:]: row[0] for row in find(connection, project, owner)}
