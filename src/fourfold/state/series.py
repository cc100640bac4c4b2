"""Queries over counts: add to them, sum them, drop what is too old."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from fourfold import counts as monoid
from fourfold.counts import KEYS
from fourfold.model import DAY, HOUR, KEEP_HOURS, slice_names
from fourfold.state.packing import Packed, pack, unpack
from fourfold.state.tables import counts, series

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
    merged = monoid.drop_zero(monoid.add(stored, delta))
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

    "Over" is by the owner's own newest data, so that a replay of last year is kept like this year's.
    """
    if hourly.num_rows == 0:
        return
    buckets = hourly["bucket"].to_numpy()
    missing = {level: _nulls_before(connection, project, owner, level, hourly) for level in (DAY, HOUR)}
    add(connection, project, owner, DAY, monoid.add(monoid.rebucket(hourly, buckets // DAY * DAY), missing[DAY]))
    _, newest = span(connection, project, owner, DAY) or (0, int(buckets.max()) // DAY * DAY)
    oldest = min(newest, int(time.time())) + DAY - KEEP_HOURS
    recent = hourly.filter(pa.array(buckets >= oldest))
    add(connection, project, owner, HOUR, monoid.add(recent, missing[HOUR]))
    drop_before(connection, project, owner, HOUR, oldest)


def find(
    connection: Connection, project: str, owner: str, *, column: str | None = None, kind: str | None = None,
) -> list[tuple[int, str, str, str]]:  # fmt: skip
    """The series of an owner: id, column, kind and slice."""
    query = sa.select(series.c.id, series.c.column, series.c.kind, series.c.slice).where(
        series.c.project == project, series.c.owner == owner
    )
    if column is not None:
        query = query.where(series.c.column == column)
    if kind is not None:
        query = query.where(series.c.kind == kind)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


def select(
    connection: Connection,
    wanted: Sequence[tuple[int, str, str, str]],
    level: int,
    start: int | None = None,
    end: int | None = None,
    *,
    bins: bool = True,
) -> pa.Table:
    """The stored counts of some series (as ``find`` gives them) whose buckets begin in [start, end)."""
    names = {row[0]: row[1:] for row in wanted}
    found: list[sa.Row[Any]] = []
    for ids in _chunked(list(names)):
        query = sa.select(counts.c.series_id, counts.c.bucket, counts.c.binning, *(_ALL if bins else _SMALL)).where(
            counts.c.series_id.in_(ids), counts.c.level == level
        )
        if start is not None:
            query = query.where(counts.c.bucket >= start)
        if end is not None:
            query = query.where(counts.c.bucket < end)
        found.extend(connection.execute(query).fetchall())
    return _table(found, names, bins)


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
) -> None:
    """Remove all counts of an owner, or those in slices of some names.

    Of these, ``custom`` picks those of one custom metric; "" picks what is none.
    """
    ids = [
        id_ for id_, column, kind, key in find(connection, project, owner)
        if (names is None or slice_names(key) in names)
        and (custom is None or (column if kind == "custom" else "") == custom)
    ]  # fmt: skip
    for chunk in _chunked(ids):
        connection.execute(sa.delete(counts).where(counts.c.series_id.in_(chunk)))
        connection.execute(sa.delete(series).where(series.c.id.in_(chunk)))


def _nulls_before(connection: Connection, project: str, owner: str, level: int, delta: pa.Table) -> pa.Table:
    """For columns that are new: all records that were counted before they came, as nulls.

    So that a column which is logged from some day on has the same counts as if all had been folded at once.
    """
    known = find(connection, project, owner)
    seen = {(column, kind, slice_names(key)) for _, column, kind, key in known}
    here = zip(*(delta[name].to_pylist() for name in ("column", "kind", "slice")), strict=True)
    new = {(column, kind, slice_names(key)) for column, kind, key in set(here) if column} - seen
    totals = select(connection, [row for row in known if row[2] == "stream"], level, bins=False) if new else None
    if totals is None or totals.num_rows == 0:
        return monoid.empty()
    rows = []
    for total in totals.select(["slice", "bucket", "tallies"]).to_pylist():
        records, dimension = total["tallies"][0], slice_names(total["slice"])
        for column, kind, of in new:
            if of == dimension:
                names = monoid.KINDS[kind]
                rows.append(
                    {
                        "column": column, "kind": kind, "slice": total["slice"], "bucket": total["bucket"],
                        "binning": 0, "sums": [0.0] * len(names.sums), "low": float("nan"), "high": float("nan"),
                        "tallies": [records if name in ("rows", "null") else 0 for name in names.tallies],
                        "bins": [], "labels": [], "counts": [], "registers": [],
                    }
                )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=monoid.SCHEMA)


def _existing(
    connection: Connection, ids: list[int], level: int, first: int, last: int, touched: set[tuple[int, int, int]]
) -> pa.Table:
    names = {}
    rows = []
    for chunk in _chunked(ids):
        for row in connection.execute(
            sa.select(series.c.id, series.c.column, series.c.kind, series.c.slice).where(series.c.id.in_(chunk))
        ):
            names[row[0]] = row[1:]
        query = sa.select(counts.c.series_id, counts.c.bucket, counts.c.binning, *_ALL).where(
            counts.c.series_id.in_(chunk), counts.c.level == level, counts.c.bucket.between(first, last)
        )
        rows += [row for row in connection.execute(query) if (row[0], row[1], row[2]) in touched]
    return _table(rows, names, True)


def _table(rows: Sequence[Sequence[Any]], names: dict[int, Any], bins: bool) -> pa.Table:
    if not rows:
        return monoid.empty()
    ids, buckets, versions, *packed = zip(*rows, strict=True)
    keys = [*zip(*(names[i] for i in ids), strict=True), buckets, versions]
    return unpack(keys, packed, with_bins=bins)


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
