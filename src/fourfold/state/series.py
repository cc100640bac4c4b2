"""Queries over counts: add to them, sum them, drop what is too old."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from fourfold import counts as monoid
from fourfold.counts import KEYS, Panel, as_matrix
from fourfold.model import DAY, EVERYTHING, HOUR, KEEP_HOURS, slice_names
from fourfold.state.database import readable
from fourfold.state.packing import Packed, pack, unpack, unpack_counts, unpack_labels
from fourfold.state.tables import counts, series

Series = tuple[int, str, str, str]  # number, column, kind and slice
FIRST, LAST = -(2**62), 2**62  # before and after all buckets
RUN = 0  # the level of counts of one run; its bucket is the run's start in microseconds
_MOST_IDS = 500  # bound in one statement

Connection = sa.Connection
_SMALL = (counts.c.tallies, counts.c.sums, counts.c.low, counts.c.high)
_ALL = (*_SMALL, counts.c.size, counts.c.bins, counts.c.counts, counts.c.registers)


def add(connection: Connection, project: str, owner: str, level: int, delta: pa.Table) -> None:
    """Add a counts table to what is stored at a level; what comes to zero is removed."""
    if delta.num_rows == 0:
        return
    ids = _series_ids(connection, project, owner, delta)
    delta_keys = list(zip(*(delta[name].to_pylist() for name in KEYS), strict=True))
    touched = {(ids[key[:3]], *key[3:]) for key in delta_keys}
    buckets = [key[3] for key in delta_keys]
    stored = _existing(connection, list({key[0] for key in touched}), level, min(buckets), max(buckets), touched)
    merged = monoid.drop_zero(monoid.without_negative_labels(monoid.add(stored, delta)))
    rows = []
    for key, packed in zip(zip(*(merged[n].to_pylist() for n in KEYS), strict=True), pack(merged), strict=True):
        identity = (ids[key[:3]], key[3], key[4])
        touched.discard(identity)
        rows.append({"series_id": identity[0], "level": level, "bucket": key[3], "binning": key[4], **packed._asdict()})
    if rows:
        connection.execute(sa.insert(counts).prefix_with("OR REPLACE"), rows)
    if touched:  # came to zero
        connection.execute(
            sa.delete(counts).where(
                counts.c.series_id == sa.bindparam("s"), counts.c.level == level,
                counts.c.bucket == sa.bindparam("b"), counts.c.binning == sa.bindparam("v"),
            ),
            [{"s": s, "b": b, "v": v} for s, b, v in touched],
        )  # fmt: skip


def add_levels(connection: Connection, project: str, owner: str, hourly: pa.Table) -> None:
    """Add counts by hour to the hours and the days; hours of which 60 days are over are dropped.

    "Over" is by the owner's own newest data, so that a replay of last year is kept like this year's. A record that is
    dated in the future ends nothing.
    """
    if hourly.num_rows == 0:
        return
    buckets = hourly["bucket"].to_numpy()
    missing = {level: _nulls_before(connection, project, owner, level, hourly) for level in (DAY, HOUR)}
    add(connection, project, owner, DAY, monoid.add(monoid.rebucket(hourly, buckets // DAY * DAY), missing[DAY]))
    oldest = _newest_day(connection, project, owner) + DAY - KEEP_HOURS
    recent = hourly.filter(pa.array(buckets >= oldest))
    add(connection, project, owner, HOUR, monoid.add(recent, missing[HOUR]))
    drop_before(connection, project, owner, HOUR, oldest)


def find(connection: Connection, project: str, owner: str) -> list[Series]:
    """The series of an owner."""
    query = sa.select(series.c.id, series.c.column, series.c.kind, series.c.slice).where(
        series.c.project == project, series.c.owner == owner
    )
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


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
    ids = sa.select(series.c.id).where(series.c.project == project, series.c.owner == owner)
    connection.execute(
        sa.delete(counts).where(counts.c.series_id.in_(ids), counts.c.level == level, counts.c.bucket < bucket)
    )


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
    for chunk in _chunked(ids):
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
    ids = sa.select(series.c.id).where(
        series.c.project == project, series.c.owner == owner, series.c.slice == EVERYTHING
    )  # fmt: skip
    newest = sa.select(sa.func.max(counts.c.bucket)).where(counts.c.series_id.in_(ids), counts.c.level == DAY)
    found = connection.scalar(newest.where(counts.c.bucket <= int(time.time())))
    return int(connection.scalar(newest) or 0) if found is None else int(found)


def _nulls_before(connection: Connection, project: str, owner: str, level: int, delta: pa.Table) -> pa.Table:
    """For columns that are new: all records that were counted before they came, as nulls.

    So that a column which is logged from some day on has the same counts as if all had been folded at once.
    """
    known = find(connection, project, owner)
    seen = {(column, kind, slice_names(key)) for _, column, kind, key in known}
    here = zip(*(delta[name].to_pylist() for name in ("column", "kind", "slice")), strict=True)
    new = {(column, kind, slice_names(key)) for column, kind, key in set(here) if column} - seen
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


def _existing(
    connection: Connection, ids: list[int], level: int, first: int, last: int, touched: set[tuple[int, int, int]]
) -> pa.Table:
    names: dict[int, Any] = {}
    for chunk in _chunked(ids):
        for row in connection.execute(
            sa.select(series.c.id, series.c.column, series.c.kind, series.c.slice).where(series.c.id.in_(chunk))
        ):
            names[row[0]] = row[1:]
    stored = _stored(connection, _ALL_OF_SERIES, ids, level, first, last + 1)
    return _table([row for row in stored if tuple(row[:3]) in touched], names)


def _of_series(columns: Sequence[sa.Column[Any]]) -> sa.Select[Any]:
    """The rows of some series at a level, made once: building a statement takes longer than a small answer."""
    return sa.select(counts.c.series_id, counts.c.bucket, counts.c.binning, *columns).where(
        counts.c.series_id.in_(sa.bindparam("ids", expanding=True)),
        counts.c.level == sa.bindparam("at"),
        counts.c.bucket >= sa.bindparam("start"),
        counts.c.bucket < sa.bindparam("end"),
    )


_ALL_OF_SERIES, _SMALL_OF_SERIES = _of_series(_ALL), _of_series(_SMALL)
_BINNED_OF_SERIES = _of_series((*_SMALL, counts.c.size, counts.c.bins, counts.c.counts))


def _stored(
    connection: Connection, query: sa.Select[Any], ids: list[int], level: int, start: int, end: int
) -> list[sa.Row[Any]]:
    found: list[sa.Row[Any]] = []
    for chunk in _chunked(ids):
        found += connection.execute(query, {"ids": chunk, "at": level, "start": start, "end": end}).fetchall()
    return found


def _table(rows: Sequence[Sequence[Any]], names: dict[int, Any]) -> pa.Table:
    if not rows:
        return monoid.empty()
    ids, buckets, versions, *packed = zip(*rows, strict=True)
    with readable("some counts"):
        keys = [*zip(*(names[i] for i in ids), strict=True), buckets, versions]
        return unpack(keys, packed)


def _series_ids(connection: Connection, project: str, owner: str, delta: pa.Table) -> dict[tuple[str, str, str], int]:
    known = {row[1:]: row[0] for row in find(connection, project, owner)}
    wanted = set(zip(*(delta[name].to_pylist() for name in ("column", "kind", "slice")), strict=True))
    new = sorted(wanted - known.keys())
    if new:
        connection.execute(
            sa.insert(series),
            [{"project": project, "owner": owner, "column": c, "kind": k, "slice": s} for c, k, s in new],
        )
        known = {row[1:]: row[0] for row in find(connection, project, owner)}
    return known


def _chunked(ids: list[int]) -> Iterable[list[int]]:
    return (ids[i : i + _MOST_IDS] for i in range(0, len(ids), _MOST_IDS))


assert Packed._fields == tuple(column.name for column in _ALL)
