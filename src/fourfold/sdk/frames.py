"""What is recorded of a frame that a run reads or writes: its fingerprint, its number of records, its counts.

The caller's thread counts it before ``input`` or the component goes on: the host may change the frame in place
afterwards, so another thread would need a copy of all of it first.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.fold import (
    Plan,
    bucket_starts,
    fold_columns,
    fold_keys,
    group_records,
    is_frame,
    plan_columns,
    to_arrow,
)  # fmt: skip
from fourfold.fold.arrays import values_of
from fourfold.log import messages
from fourfold.model import Artifact, Run
from fourfold.sdk.host import is_cluster_frame
from fourfold.sdk.session import Session
from fourfold.sdk.times import time_column

SAMPLE = ".sample"  # the end of a frame's name if only a share of its records is counted
_SAMPLED_ROWS = 64
_UNREADABLE = np.iinfo(np.int64).min  # microseconds since 1970


@dataclasses.dataclass(frozen=True)
class Profile:
    """A frame's counts, and the plan by which its columns were counted."""

    counts: pa.Table
    plan: Plan


def found(value: Any) -> Any:
    """A value as an Arrow table, or as the frame of a cluster that it is; None if it is no frame."""
    if not is_frame(value):
        return None
    return value if is_cluster_frame(value) else to_arrow(value)


def names_of(frame: Any) -> list[str]:
    """The columns of what was found."""
    names: list[str] = frame.columns if is_cluster_frame(frame) else frame.column_names
    return names


def recorded(
    session: Session, run: Run, direction: str, name: str, frame: Any, time: str | None, by: Sequence[str],
    share: float | None,
) -> tuple[Artifact, Profile]:  # fmt: skip
    """Count a frame, or a share of its records, and send the counts."""
    details: dict[str, Any] = {}
    sampled = share is not None and share < 1
    counted_as = f"{name}{SAMPLE}" if sampled else name
    if is_cluster_frame(frame):
        from fourfold.engine.spark.frames import facts

        known = facts(frame, time)
        mark, rows = known.fingerprint, known.rows
        if sampled:
            frame = frame.sample(share)
            details = {"share": share, "counted": frame.count()}
        time = time if known.times == known.rows else None
        counted = _profile_there(session, run, counted_as, frame, time, by)
    else:
        mark, rows = fingerprint_of(frame), frame.num_rows
        if sampled and share is not None:
            frame = _sample(frame, share)
            details = {"share": share, "counted": frame.num_rows}
        counted = _profile(session, run, counted_as, frame, time, by)
    return Artifact(counted_as, direction, "frame", mark, rows, details), counted


def fingerprint_of(table: pa.Table) -> str:
    """A frame's fingerprint: its column names, its number of rows, and the values of 64 rows spread over it.

    The same data has the same fingerprint in pandas, Polars or Arrow, and after a round trip through a file.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((table.column_names, table.num_rows)).encode())
    places = np.unique(np.linspace(0, max(table.num_rows - 1, 0), _SAMPLED_ROWS).astype(np.int64))
    if table.num_rows:
        for column in table.take(pa.array(places)).columns:
            digest.update(repr([None if v != v else v for v in values_of(column)]).encode())
    return f"frame:{digest.hexdigest()}"


def _sample(table: pa.Table, share: float) -> pa.Table:
    """A sample that holds each record with the probability ``share``."""
    return table.filter(pa.array(np.random.default_rng().random(table.num_rows) < share))


def _profile(session: Session, run: Run, name: str, table: pa.Table, time: str | None, by: Sequence[str]) -> Profile:
    """Count a frame as the stream ``component.name``, at the run's time or a column's times, and send the counts."""

    stream = f"{run.component}.{name}"
    moment = int(run.at if run.at is not None else run.started)
    event = np.full(table.num_rows, moment)
    if time is not None and table[time].null_count == 0:
        micros = time_column(table[time], moment * 1_000_000, _UNREADABLE)
        if unreadable := int((micros == _UNREADABLE).sum()):
            session.warn(
                f"{stream}: {unreadable:,} times in the column {time!r} cannot be read; they are the run's",
                once=f"{stream} times",
            )
        event = np.where(micros == _UNREADABLE, moment, micros // 1_000_000)
        table = table.drop_columns([time])
    plan = plan_columns(table, dataclasses.replace(session.plans.get(stream), widths={}), event)
    session.plans.keep(stream, plan)
    groups = group_records(bucket_starts(event), table.select(list(by)) if by else None)
    counted = [fold_columns(table, event, groups, plan), *(fold_keys(None, group) for group in groups)]
    found = Profile(counts.heaviest(pa.concat_tables(counted)), plan)
    session.sender.send_counts(messages.counted(session.project, stream, run, plan), found.counts)
    return found


def _profile_there(session: Session, run: Run, name: str, frame: Any, time: str | None, by: Sequence[str]) -> Profile:
    """As ``_profile``, for a frame of a cluster, which is counted there; ``time`` has no nulls."""
    from fourfold.engine.spark.frames import counts_of

    stream = f"{run.component}.{name}"
    moment = int(run.at if run.at is not None else run.started)
    found = Profile(*counts_of(frame, time, moment, by, dataclasses.replace(session.plans.get(stream), widths={})))
    session.plans.keep(stream, found.plan)
    session.sender.send_counts(messages.counted(session.project, stream, run, found.plan), found.counts)
    return found
