"""Adding to the counts that are stored, those of several owners in few statements.

While they are added, counts are *numbered*: their column is the number of their series, as text, and their slice is
empty, so that one addition serves all owners.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fourfold import counts as monoid
from fourfold.model import DAY, EVERYTHING, HOUR, KEEP_HOURS, Owner, Series, SeriesName, slice_names
from fourfold.state.packing import pack, unpack_counts, unpack_labels
from fourfold.state.series import LAST, drop_before, find_all, panel, select
from fourfold.state.statements import chunked, upsert_columns
from fourfold.state.tables import counts, series

Connection = sa.Connection
Identity = tuple[int, int, int]  # of a stored row: the series, the bucket and the version of the binning


@dataclasses.dataclass(frozen=True)
class Added:
    """The totals of the days that were added to: numbered counts, and the numbers of each owner's series."""

    totals: pa.Table
    numbers: Mapping[Owner, Mapping[SeriesName, int]]


def add(connection: Connection, project: str, owner: Owner, level: int, delta: pa.Table) -> None:
    """Add a counts table to the stored counts of a level; zero rows are removed."""
    known = find_all(connection, project, [owner])
    numbers = _numbers(connection, project, known, {owner: [delta]})
    _add(connection, level, [_numbered(delta, numbers[owner])])


def add_levels(connection: Connection, project: str, hourly: Mapping[Owner, pa.Table]) -> Added:
    """Add owners' counts by hour to the hours and the days; hours older than 60 days are dropped.

    The age is relative to the owner's newest data, so that a replay of last year is kept like this year's. A record
    dated in the future drops nothing.
    """
    hourly = {owner: table for owner, table in hourly.items() if table.num_rows}
    known = find_all(connection, project, list(hourly))
    missing = {owner: _nulls_before(connection, known[owner], table) for owner, table in hourly.items()}
    deltas = {owner: [table, *missing[owner].values()] for owner, table in hourly.items()}
    numbers = _numbers(connection, project, known, deltas)
    tables = {owner: _numbered(table, numbers[owner]) for owner, table in hourly.items()}
    nulls = {level: [_numbered(missing[owner][level], numbers[owner]) for owner in hourly] for level in (DAY, HOUR)}
    daily = [_at(table, table["bucket"].to_numpy() // DAY * DAY) for table in tables.values()]
    totals = _add(connection, DAY, [*daily, *nulls[DAY]])
    newest = _newest_days(connection, project, list(hourly))
    oldest = {owner: day + DAY - KEEP_HOURS for owner, day in newest.items()}
    recent = [table.filter(pc.greater_equal(table["bucket"], oldest[owner])) for owner, table in tables.items()]
    _add(connection, HOUR, [*recent, *nulls[HOUR]])
    drop_before(connection, project, HOUR, oldest)
    return Added(totals, numbers)


def erase_labels(connection: Connection, project: str, texts: Collection[str]) -> None:
    """Count what is counted under some values of category columns as *other*, in all counts of a project."""
    query = sa.select(
        series.c.owner, series.c.column, series.c.slice, counts.c.level, counts.c.bucket, counts.c.size,
        counts.c.bins, counts.c.counts,
    ).select_from(counts.join(series)).where(
        series.c.project == project, series.c.kind == "category", counts.c.size > 0
    )  # fmt: skip
    moved: dict[tuple[Owner, int], list[dict[str, Any]]] = {}
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


def _numbers(
    connection: Connection,
    project: str,
    known: Mapping[Owner, Sequence[Series]],
    deltas: Mapping[Owner, list[pa.Table]],
) -> dict[Owner, dict[SeriesName, int]]:
    """The numbers of owners' series, those of some counts tables among them."""
    numbers = {owner: {entry.name: entry.id for entry in entries} for owner, entries in known.items()}
    new: list[dict[str, Any]] = [
        {"project": project, "owner": owner, "column": column, "kind": kind, "slice": key}
        for owner, tables in deltas.items()
        for column, kind, key in sorted({name for table in tables for name in _names(table)} - numbers[owner].keys())
    ]
    if new:
        connection.execute(sa.insert(series), new)
        owners = [owner for owner in deltas if any(row["owner"] == owner for row in new)]
        changed = find_all(connection, project, owners)
        numbers |= {owner: {entry.name: entry.id for entry in entries} for owner, entries in changed.items()}
    return numbers


def _names(table: pa.Table) -> set[SeriesName]:
    """The series of a counts table."""
    return {SeriesName(*name) for name in _columns(table, "column", "kind", "slice")}


def _numbered(table: pa.Table, numbers: Mapping[SeriesName, int]) -> pa.Table:
    """A counts table whose column is the number of its series."""
    texts = [str(numbers[SeriesName(*name)]) for name in _columns(table, "column", "kind", "slice")]
    places = [table.schema.get_field_index(name) for name in ("column", "slice")]
    columns = [pa.array(texts, pa.string()), pa.array([""] * table.num_rows, pa.string())]
    for place, column in zip(places, columns, strict=True):
        table = table.set_column(place, table.schema.field(place), column)
    return table


def _at(table: pa.Table, buckets: Any) -> pa.Table:
    """A counts table with its rows in other buckets, not added up."""
    place = table.schema.get_field_index("bucket")
    return table.set_column(place, table.schema.field(place), pa.array(buckets, pa.int64()))


def _add(connection: Connection, level: int, parts: Sequence[pa.Table]) -> pa.Table:
    """Add numbered counts to the rows of a level; returns what these come to."""
    before = _stored(connection, level, parts)
    total = monoid.drop_zero(monoid.without_negative_labels(monoid.add(*parts, before)))
    identities = list(_identities(total))
    numbers, buckets, versions = zip(*identities, strict=True) if identities else ((), (), ())
    keys = {"series_id": numbers, "level": [level] * len(numbers), "bucket": buckets, "binning": versions}
    upsert_columns(connection, counts, keys | pack(total)._asdict())
    gone = set(_identities(before)) - set(identities)
    if gone:  # they came to zero
        connection.execute(_ONE, [{"s": s, "at": level, "b": b, "v": v} for s, b, v in gone])
    return total


def _stored(connection: Connection, level: int, parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of a level that numbered counts are added to, read together where their buckets span the same time."""
    spans: dict[tuple[int, int], dict[int, Series]] = {}
    identities: set[Identity] = set()
    for part in parts:
        if part.num_rows:
            identities.update(_identities(part))
            buckets = part["bucket"].to_numpy()
            kinds = zip(part["column"].to_pylist(), part["kind"].to_pylist(), strict=True)
            span = spans.setdefault((int(buckets.min()), int(buckets.max())), {})
            span.update((int(number), Series(int(number), number, kind, "")) for number, kind in kinds)
    tables = [
        select(connection, list(wanted.values()), level, first, last + 1, identities)
        for (first, last), wanted in spans.items()
    ]
    return pa.concat_tables([monoid.empty(), *tables])


def _identities(table: pa.Table) -> Iterator[Identity]:
    """The stored rows of numbered counts."""
    rows = _columns(table, "column", "bucket", "binning")
    return ((int(number), bucket, version) for number, bucket, version in rows)


def _columns(table: pa.Table, *names: str) -> Iterator[Any]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _newest_days(connection: Connection, project: str, owners: Sequence[Owner]) -> dict[Owner, int]:
    """The newest day of each owner's records that is not in the future; where all are, the newest of them."""
    newest: dict[Owner, int] = {}
    for end in (int(time.time()), LAST):
        for chunk in chunked([owner for owner in owners if owner not in newest]):
            rows = connection.execute(_NEWEST, {"project": project, "owners": chunk, "at": DAY, "end": end})
            newest |= {owner: bucket for owner, bucket in rows if bucket is not None}
    return {owner: newest.get(owner, 0) for owner in owners}


def _nulls_before(connection: Connection, known: Sequence[Series], delta: pa.Table) -> dict[int, pa.Table]:
    """For columns that are new: all records that were counted before they came, as nulls, by level.

    So that a column which is logged from some day on has the same counts as if all had been folded at once.
    """
    new = _new_columns(known, delta)
    streams = [entry for entry in known if entry.kind == "stream"] if new else []
    return {level: _nulls(connection, streams, new, level) if streams else monoid.empty() for level in (DAY, HOUR)}


def _new_columns(known: Sequence[Series], delta: pa.Table) -> set[tuple[str, str, tuple[str, ...]]]:
    """The columns, each with its kind and the names of its slices, that had no counts before these."""
    new = _names(delta) - {entry.name for entry in known}
    if not new:
        return set()
    seen = {(entry.column, entry.kind, entry.names) for entry in known}
    return {(column, kind, slice_names(key)) for column, kind, key in new if column} - seen


def _nulls(
    connection: Connection, streams: Sequence[Series], new: Collection[tuple[str, str, tuple[str, ...]]], level: int
) -> pa.Table:
    """For each new column as many nulls as there are records, by slice and bucket."""
    rows = []
    for (bucket, key), total in panel(connection, streams, level):
        records, dimension = total.tally("rows"), slice_names(key)
        for column, kind, names in new:
            if names == dimension:
                fields = monoid.KINDS[kind]
                rows.append(
                    {
                        "column": column, "kind": kind, "slice": key, "bucket": bucket,
                        "binning": 0, "sums": [0.0] * len(fields.sums), "low": float("nan"), "high": float("nan"),
                        "tallies": [records if name in ("rows", "null") else 0 for name in fields.tallies],
                        "bins": [], "labels": [], "counts": [], "registers": [],
                    }
                )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=monoid.SCHEMA)


_NEWEST = (  # the newest bucket of each series, which its index tells without a scan, and the newest of these
    sa.select(
        series.c.owner,
        sa.func.max(
            sa.select(sa.func.max(counts.c.bucket))
            .where(
                counts.c.series_id == series.c.id,
                counts.c.level == sa.bindparam("at"),
                counts.c.bucket <= sa.bindparam("end"),
            )
            .scalar_subquery()
        ),
    )
    .where(
        series.c.project == sa.bindparam("project"),
        series.c.owner.in_(sa.bindparam("owners", expanding=True)),
        series.c.slice == EVERYTHING,
    )
    .group_by(series.c.owner)
)
_ONE = sa.delete(counts).where(
    counts.c.series_id == sa.bindparam("s"),
    counts.c.level == sa.bindparam("at"),
    counts.c.bucket == sa.bindparam("b"),
    counts.c.binning == sa.bindparam("v"),
)
