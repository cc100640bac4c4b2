"""Queries over counts, and forgetting them; see ``adding`` for how they come."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from fourfold import counts as monoid
from fourfold.counts import Panel, as_matrix
from fourfold.model import Owner, Series
from fourfold.state.database import readable
from fourfold.state.packing import Packed, unpack
from fourfold.state.statements import chunked
from fourfold.state.tables import counts, series

FIRST, LAST = -(2**62), 2**62  # before and after all buckets
RUN = 0  # the level of counts of one run; its bucket is the run's start in microseconds

Connection = sa.Connection
_SMALL = (counts.c.tallies, counts.c.sums, counts.c.low, counts.c.high)
_ALL = tuple(counts.c[name] for name in Packed._fields)


def find(connection: Connection, project: str, owner: Owner) -> list[Series]:
    """The series of an owner."""
    return find_all(connection, project, [owner])[owner]


def find_all(connection: Connection, project: str, owners: Sequence[Owner]) -> dict[Owner, list[Series]]:
    """The series of some owners."""
    known: dict[Owner, list[Series]] = {owner: [] for owner in owners}
    for chunk in chunked(owners):
        rows = connection.execute(_SERIES_OF_OWNERS, {"project": project, "owners": chunk})
        for owner, *fields in rows:
            known[owner].append(Series(*fields))
    return known


def select(
    connection: Connection,
    wanted: Sequence[Series],
    level: int,
    start: int = FIRST,
    end: int = LAST,
    only: Collection[tuple[int, int, int]] | None = None,
) -> pa.Table:
    """The stored counts of some series (as ``find`` gives them) whose buckets begin in [start, end).

    ``only`` names the series, buckets and binnings that are meant, where not all are.
    """
    names = {entry.id: entry.name for entry in wanted}
    rows = _stored(connection, _ALL_OF_SERIES, list(names), level, start, end)
    return _table(rows if only is None else [row for row in rows if tuple(row[:3]) in only], names)


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
    slices = {entry.id: entry.slice for entry in wanted}
    query = _BINNED_OF_SERIES if bins else _SMALL_OF_SERIES
    stored = _stored(connection, query, list(slices), level, start, end)
    with readable("some counts"):
        columns = list(zip(*stored, strict=True)) or [()] * (10 if bins else 7)
        ids, buckets, versions, tallies, sums, low, high, *packed = columns
        sizes, packed_bins, packed_counts = packed or ((), (), ())
        width, numbers = _evenly(sizes, packed_counts)
        return Panel(
            wanted[0].column,
            wanted[0].kind,
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


def summaries(
    connection: Connection, wanted: Sequence[Series], level: int, start: int = FIRST, end: int = LAST
) -> list[sa.Row[Any]]:
    """Rows of (series_id, bucket, tallies, low, high, size): without what is packed large; the tallies are packed.

    A bucket has a row for each binning that its counts use. ``size`` is the number of bins or labels.
    """
    found: list[sa.Row[Any]] = []
    for chunk in chunked([entry.id for entry in wanted]):
        found += connection.execute(_SUMMARIES, {"ids": chunk, "at": level, "start": start, "end": end}).fetchall()
    return found


def labelled(
    connection: Connection, wanted: Sequence[Series], level: int, start: int = FIRST, end: int = LAST
) -> list[sa.Row[Any]]:
    """Rows of (series_id, bucket, tallies, size, bins, counts) of series of categories; the last are packed labels
    and how often each was there.
    """
    found: list[sa.Row[Any]] = []
    for chunk in chunked([entry.id for entry in wanted]):
        found += connection.execute(_LABELLED, {"ids": chunk, "at": level, "start": start, "end": end})
    return found


def buckets(connection: Connection, ids: Sequence[int], level: int) -> list[sa.Row[Any]]:
    """Rows of (series_id, bucket): where some series have counts at a level."""
    found: list[sa.Row[Any]] = []
    for chunk in chunked(ids):
        wanted = sa.select(counts.c.series_id, counts.c.bucket)
        found += connection.execute(wanted.where(counts.c.series_id.in_(chunk), counts.c.level == level))
    return found


def _evenly(sizes: Sequence[int], packed: Sequence[bytes]) -> tuple[str, Sequence[bytes]]:
    """The rows' counts, all in the same width: those of 32 bits widened where one has 64."""
    if sum(map(len, packed)) == 4 * sum(sizes):
        return "<i4", packed
    wide = [
        row if len(row) == 8 * size else np.frombuffer(row, "<i4").astype("<i8").tobytes()
        for size, row in zip(sizes, packed, strict=True)
    ]
    return "<i8", wide


def span(connection: Connection, project: str, owner: Owner, level: int, before: int = LAST) -> tuple[int, int] | None:
    """The first and the last bucket that an owner has counts in, of those that begin before a moment."""
    asked = {"project": project, "owner": owner, "level": level, "before": before}
    first, last = connection.execute(_SPAN, asked).one()
    return None if first is None else (first, last)


def span_of(connection: Connection, project: str, owner: Owner, column: str, level: int) -> tuple[int, int] | None:
    """The first and the last bucket that a column has counts in; "": the records."""
    asked = {"project": project, "owner": owner, "column": column, "level": level, "before": LAST}
    first, last = connection.execute(_SPAN_OF, asked).one()
    return None if first is None else (first, last)


def owners(connection: Connection, project: str) -> list[Owner]:
    """All owners with counts."""
    query = sa.select(series.c.owner).distinct().where(series.c.project == project).order_by(series.c.owner)
    return list(connection.scalars(query))


def owners_with(connection: Connection, project: str, column: str) -> list[Owner]:
    """The owners with counts of a column."""
    of_column = sa.and_(series.c.project == project, series.c.column == column)
    return list(connection.scalars(sa.select(series.c.owner).distinct().where(of_column).order_by(series.c.owner)))


def drop_before(connection: Connection, project: str, level: int, ends: Mapping[Owner, int]) -> None:
    """Remove owners' counts of a level that are older than a bucket, which is given for each owner."""
    if ends:
        rows = [{"project": project, "owner": owner, "at": level, "end": end} for owner, end in ends.items()]
        connection.execute(_OLDER, rows)


def forget(
    connection: Connection,
    project: str,
    owner: Owner,
    *,
    names: Collection[tuple[str, ...]] | None = None,
    custom: str | None = None,
    since: int = FIRST,
) -> None:
    """Remove all counts of an owner, or those in slices of some names.

    ``custom`` selects those of one custom metric; "" those of none. Counts in buckets before ``since`` stay.
    """
    ids = [
        entry.id
        for entry in find(connection, project, owner)
        if (names is None or entry.names in names)
        and (custom is None or (entry.column if entry.kind == "custom" else "") == custom)
    ]
    for chunk in chunked(ids):
        connection.execute(sa.delete(counts).where(counts.c.series_id.in_(chunk), counts.c.bucket >= since))
        if since == FIRST:
            connection.execute(sa.delete(series).where(series.c.id.in_(chunk)))


def drop_unused(connection: Connection, project: str) -> None:
    """Remove the names of series that have no counts left: their slices may hold what was erased."""
    used = sa.select(counts.c.series_id).where(counts.c.series_id == series.c.id).exists()
    connection.execute(sa.delete(series).where(series.c.project == project, ~used))


def slices_of(connection: Connection, project: str, texts: Collection[str]) -> list[tuple[Owner, str]]:
    """The owners and slices that hold one of some values."""
    query = sa.select(series.c.owner, series.c.slice).where(series.c.project == project).distinct()
    return [(row[0], row[1]) for row in connection.execute(query) if set(json.loads(row[1]).values()) & set(texts)]


_AT = (
    counts.c.series_id.in_(sa.bindparam("ids", expanding=True)),
    counts.c.level == sa.bindparam("at"),
    counts.c.bucket >= sa.bindparam("start"),
    counts.c.bucket < sa.bindparam("end"),
)


def _of_series(columns: Sequence[sa.Column[Any]]) -> sa.Select[Any]:
    """The rows of some series at a level."""
    return sa.select(counts.c.series_id, counts.c.bucket, counts.c.binning, *columns).where(*_AT)


# made once: building a statement takes longer than many a small answer
_ALL_OF_SERIES, _SMALL_OF_SERIES = _of_series(_ALL), _of_series(_SMALL)
_BINNED_OF_SERIES = _of_series((*_SMALL, counts.c.size, counts.c.bins, counts.c.counts))
_SUMMARIES: sa.Select[Any] = sa.select(
    counts.c.series_id, counts.c.bucket, counts.c.tallies, counts.c.low, counts.c.high, counts.c.size
).where(*_AT)
_LABELLED = sa.select(
    counts.c.series_id, counts.c.bucket, counts.c.tallies, counts.c.size, counts.c.bins, counts.c.counts
).where(*_AT)
_SERIES_OF_OWNERS = sa.select(series.c.owner, series.c.id, series.c.column, series.c.kind, series.c.slice).where(
    series.c.project == sa.bindparam("project"), series.c.owner.in_(sa.bindparam("owners", expanding=True))
)


# a series' first and last bucket: two steps in the index, however many buckets there are
ENDS = tuple(
    sa.select(end(counts.c.bucket))
    .where(
        counts.c.series_id == series.c.id, counts.c.level == sa.bindparam("level"),
        counts.c.bucket < sa.bindparam("before"),
    )
    .correlate(series)
    .scalar_subquery()
    for end in (sa.func.min, sa.func.max)
)  # fmt: skip
_OF_EACH = sa.select(ENDS[0].label("first"), ENDS[1].label("last")).where(
    series.c.project == sa.bindparam("project"), series.c.owner == sa.bindparam("owner")
)


def _span(of_each: sa.Select[Any]) -> sa.Select[Any]:
    each = of_each.subquery()
    return sa.select(sa.func.min(each.c.first), sa.func.max(each.c.last))


_SPAN, _SPAN_OF = _span(_OF_EACH), _span(_OF_EACH.where(series.c.column == sa.bindparam("column")))

_OLDER = sa.delete(counts).where(
    counts.c.series_id.in_(
        sa.select(series.c.id).where(
            series.c.project == sa.bindparam("project"), series.c.owner == sa.bindparam("owner")
        )
    ),
    counts.c.level == sa.bindparam("at"),
    counts.c.bucket < sa.bindparam("end"),
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
