"""Counts the logs again in memory, and compares with the state."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from fourfold import counts
from fourfold.counts import KINDS
from fourfold.engine import Extent
from fourfold.model import DAY, VERSIONS, Owner
from fourfold.query.reader import Reader
from fourfold.state import StateError, catalogue, series
from fourfold.state.jobs import Workload, workloads
from fourfold.store import Store


@dataclasses.dataclass(frozen=True)
class Difference:
    """How an owner's counts differ from its logs, or why they could not be compared."""

    owner: Owner
    text: str


def differences(reader: Reader, report: Callable[[float], None] = lambda share: None) -> Iterator[Difference]:
    """The counts that differ from a new count of the logs.

    Each data file is read. ``report`` receives the share of owners that are done. Extremes, distinct counts and sums
    are not compared: the first two keep deleted values, the last depend on the order of adding.
    """
    with reader.database.read() as connection:
        known = workloads(connection, reader.project)
    for i, work in enumerate(known):
        report(i / len(known))
        try:
            yield from _of_owner(reader, work)
        except StateError:
            raise
        except Exception as error:  # any error that a damaged file causes in the engine
            yield Difference(work.owner, f"cannot be counted from its log: {str(error).splitlines()[0]}")
    report(1.0)


def recounted(store: Store) -> Iterator[str]:
    """Count again what differs from the logs, and say so for each owner."""
    store.writer.fold()
    for owner in {difference.owner for difference in differences(store.reader)}:
        store.writer.recount(owner)
        yield f"{owner} was counted again from the log"


def _of_owner(reader: Reader, work: Workload) -> Iterator[Difference]:
    with reader.database.read() as connection:
        cursors = catalogue.cursors(connection, reader.project)
        jobs = [job for job in work.jobs if job.key in cursors]
        plan = catalogue.plan(connection, reader.project, work.owner)
        splits = {
            job.dimension: catalogue.kept_slices(connection, reader.project, work.streams[0], job.dimension)
            for job in jobs
        }
        closed = catalogue.closed_before(connection, reader.project, work.streams)
    if not jobs:
        return
    logs = reader.whole(work.streams)
    wanted: dict[object, list[str]] = {}
    for job in jobs:
        wanted.setdefault(job.dimension, []).append(job.metric)
    extent, since = Extent(), series.FIRST
    if closed is not None:  # erased records, and lone labels within the horizon, cannot be compared
        extent = Extent(closed=closed * 1_000_000)
        since = closed if work.task is None else -(-(closed + work.task.horizon) // DAY) * DAY
    if work.task is None:
        folded = reader.engine.fold_stream(logs[work.streams[0]], splits, plan, extent)
    else:
        folded = reader.engine.fold_task(work.task, logs, splits, plan, extent, wanted)  # type: ignore[arg-type]
    names = {dimension.names for dimension in splits} | {VERSIONS}
    with reader.database.read() as connection:
        known = [entry for entry in series.find(connection, reader.project, work.owner) if entry.names in names]
        stored = series.select(connection, known, DAY, since)
    counted = folded.counts
    if counted.num_rows:
        counted = counts.rebucket(counted, counted["bucket"].to_numpy() // DAY * DAY)
        counted = counted.filter(pc.greater_equal(counted["bucket"], since))
    yield from _told(work.owner, stored, counted)


def _told(owner: Owner, stored: pa.Table, counted: pa.Table) -> Iterator[Difference]:
    wrong = [row for row in counts.drop_zero(counts.add(stored, counts.negate(counted))).to_pylist() if _matters(row)]
    if not wrong:
        return
    named = sorted({(row["column"] or "(records)", row["bucket"]) for row in wrong})
    column, bucket = named[0]
    worst = next(row for row in wrong if (row["column"] or "(records)", row["bucket"]) == (column, bucket))
    tallies = dict(zip(KINDS[worst["kind"]].tallies, worst["tallies"], strict=True))
    off = {name: value for name, value in tallies.items() if value} or {"values": sum(map(abs, worst["counts"]))}
    by = ", ".join(f"{value:+,} {name}" for name, value in off.items())
    day = dt.datetime.fromtimestamp(bucket, dt.UTC).date()
    columns = {row["column"] for row in wrong}
    yield Difference(
        owner,
        f"{len(wrong):,} counts of {len(columns)} columns differ from its log, such as {column} on {day}: {by}",
    )


def _matters(row: dict[str, object]) -> bool:
    """Whether counts differ in more than the choice of kept labels, which depends on the order of adding."""
    kind = KINDS[str(row["kind"])]
    if not kind.capped:
        return True
    tallies = dict(zip(kind.tallies, row["tallies"], strict=True))  # type: ignore[call-overload]
    return not tallies.get("other") or any(value for name, value in tallies.items() if name != "other")
