"""What all engines share of a fold: how a batch of records becomes counts, and what is made of their total.

An engine reads, joins and splits the records, in batches of any size and in any order, in this process or elsewhere;
each batch is counted by the functions here, and the counts are added up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.counts.binning import Ints
from fourfold.engine.protocol import Batch, Folded, Splits, Wanted
from fourfold.fold import (
    Groups,
    Plan,
    Split,
    bucket_starts,
    event_seconds,
    fold_columns,
    fold_duplicates,
    fold_keys,
    group_records,
)
from fourfold.fold.tasks import Joined, fold_pairs, fold_task, judged
from fourfold.model import ALL, Task
from fourfold.model.records import EVENT_TIME, KEY, users

_HELD = 1 << 26  # bytes of counts that wait to be added up


def count_records(batch: Batch, splits: Splits, plan: Plan) -> Iterator[pa.Table]:
    """The signed counts of records of a stream and of their columns, by each of the dimensions."""
    seconds = event_seconds(batch.records[EVENT_TIME])
    groups = _groups(bucket_starts(seconds), batch.parts, splits)
    columns = batch.records.select(users(batch.records.column_names))
    yield _signed(batch.sign, fold_columns(columns, seconds, groups, plan))
    keys = batch.records[KEY].combine_chunks()
    for grouping in groups:
        yield _signed(batch.sign, fold_keys(keys, grouping))


def count_repetitions(batch: Batch, splits: Splits) -> Iterator[pa.Table]:
    """The signed counts of records that repeat a key; of these only the ``time`` is asked for."""
    starts = bucket_starts(event_seconds(batch.records["time"]))
    for grouping in _groups(starts, batch.parts, splits):
        yield fold_duplicates(np.full(len(starts), batch.sign), grouping)


def count_joined(task: Task, batch: Batch, splits: Splits, wanted: Wanted, plan: Plan) -> Iterator[pa.Table]:
    """The signed counts of joined records, of what is wanted in each of the dimensions.

    Of a ranking task, a batch holds all items of the queries in it.
    """
    if batch.paired:
        for table in fold_pairs(Joined(batch.records, task), plan):
            yield _signed(batch.sign, table)
        return
    records = Joined(judged(task, batch.records), task)
    kept = divided(splits)
    into = dict(zip(kept, _splits_of(records.table, kept), strict=True))
    for table in fold_task(records, into, wanted, plan):
        yield _signed(batch.sign, table)


def wanted_of(task: Task, splits: Splits, wanted: Wanted | None) -> Wanted:
    """What to count in each dimension; where nothing is said, all: the task itself and its custom metrics."""
    return dict.fromkeys(splits, ("", *(sums.metric for sums in task.sums))) if wanted is None else wanted


def divided(splits: Splits) -> Splits:
    """The dimensions that split records: all but ``ALL``."""
    return {dimension: kept_slices for dimension, kept_slices in splits.items() if dimension.parts}


def folded(total: pa.Table, plan: Plan) -> Folded:
    """A fold's total as it is added to the state, which depends only on the records, and not on their batches.

    Where the records of one batch span more days than hours are kept for, some were counted by the day that in another
    batch are counted by the hour (see ``bucket_starts``); all of them are counted alike here. Then labels are cut.
    """
    buckets = total["bucket"].to_numpy()
    starts = bucket_starts(buckets)
    total = counts.heaviest(total) if np.array_equal(starts, buckets) else counts.rebucket(total, starts)
    return Folded(counts.drop_zero(total, changes=True), dataclasses.replace(plan, widths={}))


class Adder:
    """Adds up counts tables as they come, so that memory holds counts and not batches."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []
        self._held = 0

    def add(self, table: pa.Table) -> None:
        """Add a counts table."""
        self._parts.append(table)
        self._held += table.nbytes
        if self._held > _HELD and len(self._parts) > 1:
            self._parts = [self.total()]
            self._held = -self._parts[0].nbytes  # at least as much that is new before the next addition

    def total(self) -> pa.Table:
        """All counts, with all labels."""
        return counts.merge(*self._parts)


def _signed(sign: int, table: pa.Table) -> pa.Table:
    return table if sign > 0 else counts.negate(table)


def _groups(starts: Ints, parts: pa.Table, splits: Splits) -> list[Groups]:
    """The groups of records: among all of them, then by each dimension."""
    groups = group_records(starts) if ALL in splits else []
    return groups + [split.groups(starts) for split in _splits_of(parts, divided(splits))]


def _splits_of(parts: pa.Table, splits: Splits) -> list[Split]:
    """How to split records that carry the values of their dimensions."""
    return [
        Split(
            tuple(part.name for part in dimension.parts),
            tuple(parts[f"slice_{i}_{j}"].combine_chunks() for j in range(len(dimension.parts))),
            kept_slices.kept if kept_slices.full else None,
        )
        for i, (dimension, kept_slices) in enumerate(splits.items())
    ]
