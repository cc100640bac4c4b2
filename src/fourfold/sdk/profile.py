"""The counts of a frame that a run reads or writes: the frame is counted in place, and only its counts travel.

The caller's thread counts it before ``input`` or the component goes on: the host may change the frame in place
afterwards, so another thread would need a copy of all of it first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.fold import Plan, bucket_starts, fold_columns, fold_keys, group_records, plan_columns
from fourfold.fold.groups import event_seconds
from fourfold.log import messages
from fourfold.model import Run
from fourfold.sdk.session import Session

SAMPLE = ".sample"  # the end of a frame's name if only a share of its records is counted


def sample(table: pa.Table, share: float) -> pa.Table:
    """A sample that holds each record with the probability ``share``."""
    return table.filter(pa.array(np.random.default_rng().random(table.num_rows) < share))


@dataclasses.dataclass(frozen=True)
class Profile:
    """A frame's counts, and the plan by which its columns were counted."""

    counts: pa.Table
    plan: Plan


def profile(session: Session, run: Run, name: str, table: pa.Table, time: str | None, by: Sequence[str]) -> Profile:
    """Count a frame as the stream ``component.name``, at the run's time or a column's times, and send the counts."""

    stream = f"{run.component}.{name}"
    if time is not None and table[time].null_count == 0:
        event = event_seconds(table[time])
        table = table.drop_columns([time])
    else:
        event = np.full(table.num_rows, int(run.at if run.at is not None else run.started))
    plan = plan_columns(table, dataclasses.replace(session.plan(stream), widths={}), event)
    session.keep_plan(stream, plan)
    groups = group_records(bucket_starts(event), table.select(list(by)) if by else None)
    counted = [fold_columns(table, event, groups, plan), *(fold_keys(None, group) for group in groups)]
    found = Profile(counts.heaviest(pa.concat_tables(counted)), plan)
    session.sender.send_counts(messages.counted(session.project, stream, run, plan), found.counts)
    return found


def profile_there(session: Session, run: Run, name: str, frame: Any, time: str | None, by: Sequence[str]) -> Profile:
    """As ``profile``, for a frame of a cluster, which is counted there; ``time`` has no nulls."""
    from fourfold.engine.spark.frames import counts_of

    stream = f"{run.component}.{name}"
    moment = int(run.at if run.at is not None else run.started)
    found = Profile(*counts_of(frame, time, moment, by, dataclasses.replace(session.plan(stream), widths={})))
    session.keep_plan(stream, found.plan)
    session.sender.send_counts(messages.counted(session.project, stream, run, found.plan), found.counts)
    return found
