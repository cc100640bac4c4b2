"""The counts of all series of a project's streams at once, for what judges them all bucket by bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import sqlalchemy as sa

from fourfold.counts.binning import Ints
from fourfold.model import EVERYTHING, Owner, Series
from fourfold.state.database import readable
from fourfold.state.series import ENDS, LAST
from fourfold.state.statements import chunked
from fourfold.state.tables import counts, series

_KINDS = ("stream", "numeric", "category", "opaque")


@dataclasses.dataclass(frozen=True)
class StoredCounts:
    """Rows of counts as they are packed: an entry a row in each field."""

    series: Ints
    buckets: Ints
    binnings: Ints
    tallies: Sequence[bytes]
    sums: Sequence[bytes]
    low: Sequence[float | None]
    high: Sequence[float | None]
    sizes: Sequence[int]
    bins: Sequence[bytes]
    counts: Sequence[bytes]


def of_streams(connection: sa.Connection, project: str) -> list[tuple[Owner, Series]]:
    """All series of streams, in the order of their ids."""
    found = connection.execute(_OF_STREAMS, {"project": project})
    return [(owner, Series(*fields)) for owner, *fields in found if owner.kind == "stream"]


def buckets(connection: sa.Connection, project: str, level: int) -> list[int]:
    """The buckets in which any stream has records, in order."""
    return list(connection.scalars(_BUCKETS, {"project": project, "at": level}))


def buckets_of(connection: sa.Connection, project: str, level: int, owners: Sequence[Owner]) -> dict[Owner, list[int]]:
    """The buckets in which each of some streams has records, in order."""
    found: dict[Owner, list[int]] = {owner: [] for owner in owners}
    for chunk in chunked(owners):
        query = (
            sa.select(series.c.owner, counts.c.bucket)
            .select_from(counts.join(series))
            .where(
                series.c.project == project, series.c.kind == "stream", series.c.slice == EVERYTHING,
                series.c.owner.in_(chunk), counts.c.level == level,
            )
            .order_by(counts.c.bucket)
        )  # fmt: skip
        for owner, bucket in connection.execute(query):
            found[owner].append(bucket)
    return found


def newest(connection: sa.Connection, project: str, level: int) -> dict[Owner, int]:
    """Each stream's newest bucket."""
    query = (
        sa.select(series.c.owner, sa.func.max(counts.c.bucket))
        .select_from(counts.join(series))
        .where(series.c.project == project, series.c.kind == "stream", counts.c.level == level)
        .group_by(series.c.owner)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def spans(connection: sa.Connection, project: str, level: int) -> dict[Owner, tuple[int, int]]:
    """Each stream's first and last bucket."""
    found = connection.execute(_SPANS, {"project": project, "level": level, "before": LAST})
    return {owner: (first, last) for owner, first, last in found if first is not None}


def rows(connection: sa.Connection, project: str, level: int, start: int, end: int) -> dict[int, list[int]]:
    """The number of records in each bucket of [start, end) that has any, by series of streams."""
    query = (
        sa.select(counts.c.series_id, counts.c.tallies)
        .select_from(counts.join(series))
        .where(
            series.c.project == project, series.c.kind == "stream",
            counts.c.level == level, counts.c.bucket >= start, counts.c.bucket < end,
        )
    )  # fmt: skip
    found: dict[int, list[int]] = {}
    with readable("some counts"):
        for id_, tallies in connection.execute(query):
            found.setdefault(id_, []).append(int(np.frombuffer(tallies, "<i8")[0]))
    return found


def select(
    connection: sa.Connection, project: str, level: int, start: int, end: int, only: Collection[int] | None = None
) -> StoredCounts:
    """The counts of streams in the buckets that begin in [start, end); ``only`` those of some series."""
    asked = {"project": project, "at": level, "start": start, "end": end}
    if only is None:
        rows = connection.execute(_COUNTS, asked).fetchall()
    else:
        parts = ({**asked, "ids": chunk} for chunk in chunked(sorted(only)))
        rows = [row for part in parts for row in connection.execute(_COUNTS_OF, part).fetchall()]
    with readable("some counts"):
        ids, buckets, binnings, *packed = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
        keys = [np.array(column, np.int64) for column in (ids, buckets, binnings)]
        return StoredCounts(keys[0], keys[1], keys[2], *packed)


_COLUMNS = ("series_id", "bucket", "binning", "tallies", "sums", "low", "high", "size", "bins", "counts")
# made once, as those in ``series``
_OF_STREAMS = (
    sa.select(series.c.owner, series.c.id, series.c.column, series.c.kind, series.c.slice)
    .where(series.c.project == sa.bindparam("project"), series.c.kind.in_(_KINDS))
    .order_by(series.c.id)
)
_BUCKETS = (
    sa.select(counts.c.bucket)
    .distinct()
    .select_from(counts.join(series))
    .where(
        series.c.project == sa.bindparam("project"), series.c.kind == "stream", counts.c.level == sa.bindparam("at")
    )
    .order_by(counts.c.bucket)
)  # fmt: skip
_SPANS = sa.select(series.c.owner, *ENDS).where(
    series.c.project == sa.bindparam("project"), series.c.kind == "stream", series.c.slice == EVERYTHING
)
_COUNTS = (
    sa.select(*(counts.c[name] for name in _COLUMNS))
    .select_from(counts.join(series))
    .where(
        series.c.project == sa.bindparam("project"), series.c.kind.in_(_KINDS), counts.c.level == sa.bindparam("at"),
        counts.c.bucket >= sa.bindparam("start"), counts.c.bucket < sa.bindparam("end"),
    )
)  # fmt: skip
_COUNTS_OF = _COUNTS.where(counts.c.series_id.in_(sa.bindparam("ids", expanding=True)))
