"""A fold over any engine: a log's changes, in batches, into groups, and into counts.

An engine reads, joins and splits (the abstract methods here); all engines' batches are counted in the same way.
"""

from __future__ import annotations

import abc
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.counts.binning import Ints
from fourfold.engine.protocol import WHOLE, Batch, ChangedLog, Discrepancy, Extent, Folded, Splits, Wanted
from fourfold.fold import (
    Groups,
    KeptSlices,
    Plan,
    Split,
    better_binnings,
    bucket_starts,
    event_seconds,
    fold_columns,
    fold_duplicates,
    fold_keys,
    group_records,
    plan_columns,
)
from fourfold.fold.tasks import Joined, fold_pairs, fold_task, judged, plan_task
from fourfold.model import ALL, DAY, Dimension, Task
from fourfold.model.records import EVENT_TIME, KEY, users


class Engine(abc.ABC):
    """An engine: DuckDB in this process, or a cluster. Each gives the same integer counts for the same log."""

    @abc.abstractmethod
    def stop(self, thread: threading.Thread) -> None:
        """Stop a thread's count with a ``StoppedError``, discarding its results, and wait for it."""

    @abc.abstractmethod
    def kept_slices(self, log: ChangedLog, dimension: Dimension, known: KeptSlices) -> KeptSlices:
        """The values of a dimension that have their own slice, and the bucket edges, once ``log`` is counted."""

    @abc.abstractmethod
    def records(self, log: ChangedLog, splits: Splits, extent: Extent) -> Iterator[Batch]:
        """The added records, then the removed ones."""

    @abc.abstractmethod
    def repetitions(self, log: ChangedLog, splits: Splits, extent: Extent) -> Iterator[Batch]:
        """The times of records that have become, or are no longer, repetitions of a key."""

    @abc.abstractmethod
    def join(
        self, task: Task, logs: Mapping[str, ChangedLog], splits: Splits, extent: Extent, pairs: bool
    ) -> Iterator[Batch]:
        """The joined records of all keys in a change: as they were, to be subtracted, then as they are.

        With ``pairs`` also those that two versions of the model predicted.
        """

    @abc.abstractmethod
    def joined(
        self, task: Task, logs: Mapping[str, ChangedLog], splits: Splits, extent: Extent = WHOLE
    ) -> Iterator[pa.Table]:
        """The joined records as they are, as ``fold.tasks.Joined`` describes them, with their parts (see ``Batch``)."""

    @abc.abstractmethod
    def discrepancies(
        self,
        here: ChangedLog,
        there: ChangedLog,
        columns: Sequence[str],
        relative: float,
        absolute: float,
        examples: int,
    ) -> list[Discrepancy]:
        """The newest records of each key in two streams, compared: the keys first, then each column."""

    @abc.abstractmethod
    def usable_labels(self, task: Task, labels: pa.Table) -> list[bool]:
        """Whether the task can use the label of each record in the label stream; a missing label counts as usable."""

    @abc.abstractmethod
    def unusable_labels(self, task: Task, log: ChangedLog, most: int) -> list[tuple[str, int]]:
        """The labels in a log that the task cannot use, as text with their number, the most frequent first."""

    @abc.abstractmethod
    def keys(
        self,
        log: ChangedLog,
        dimension: Dimension,
        kept_slices: KeptSlices,
        value: Sequence[str | None],
        extent: Extent,
    ) -> pa.Array:
        """The keys of the records that have a value in a dimension, within an extent of time."""

    def fold_stream(self, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent = WHOLE) -> Folded:
        """Count the changed records of a stream and their columns, by each of the dimensions.

        Of the extent, ``as_of`` and ``closed`` have a meaning.
        """
        adder = _Adder()
        newest: tuple[pa.Table, Ints] | None = None
        divided = _divided(splits)
        for batch in self.records(log, divided, extent):
            seconds = event_seconds(batch.records[EVENT_TIME])
            columns = batch.records.select(users(batch.records.column_names))
            plan = plan_columns(columns, plan, seconds)
            groups = _groups(bucket_starts(seconds), batch.parts, splits)
            keys = batch.records[KEY].combine_chunks()
            adder.add(batch.sign, fold_columns(columns, seconds, groups, plan))
            for grouping in groups:
                adder.add(batch.sign, fold_keys(keys, grouping))
            if batch.sign > 0:
                newest = columns, seconds
        for batch in self.repetitions(log, divided, extent):
            starts = bucket_starts(event_seconds(batch.records["time"]))
            for grouping in _groups(starts, batch.parts, splits):
                adder.add(1, fold_duplicates(np.full(len(starts), batch.sign), grouping))
        if newest is not None and ALL in splits:
            plan = plan.adding(better_binnings(*newest, plan), (int(newest[1].max()) // DAY + 1) * DAY)
        return Folded(counts.drop_zero(adder.total(), changes=True), plan)

    def fold_task(
        self,
        task: Task,
        logs: Mapping[str, ChangedLog],
        splits: Splits,
        plan: Plan,
        extent: Extent = WHOLE,
        wanted: Wanted | None = None,
    ) -> Folded:
        """Join and count the changes in the task's streams: the old records are subtracted, the new ones added.

        ``wanted`` says what to count in each dimension: "" is the task itself, other names are its custom metrics.
        Without it, everything is counted in all dimensions of ``splits``.
        """
        adder = _Adder()
        if wanted is None:
            wanted = dict.fromkeys(splits, ("", *(sums.metric for sums in task.sums)))
        divided = _divided(splits)
        pairs = bool(task.version) and "" in wanted.get(ALL, ())
        for batch in self.join(task, logs, divided, extent, pairs):
            if batch.paired:
                for table in fold_pairs(Joined(batch.records, task), plan):
                    adder.add(batch.sign, table)
                continue
            records = Joined(judged(task, batch.records), task)
            plan = plan_task(records, plan)
            into = dict(zip(divided, _splits_of(records.table, divided), strict=True))
            for table in fold_task(records, into, wanted, plan):
                adder.add(batch.sign, table)
        return Folded(counts.drop_zero(adder.total(), changes=True), plan)


class _Adder:
    """Adds up counts tables as they come, so that memory holds counts and not batches."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []
        self._rows = 0

    def add(self, sign: int, table: pa.Table) -> None:
        self._parts.append(table if sign > 0 else counts.negate(table))
        self._rows += table.num_rows
        if self._rows > 200_000 and len(self._parts) > 1:
            self._parts = [self.total()]
            self._rows = -self._parts[0].num_rows  # at least as many new rows before the next addition

    def total(self) -> pa.Table:
        return counts.add(*self._parts)


def _divided(splits: Splits) -> Splits:
    """The dimensions that split records: all but ``ALL``."""
    return {dimension: kept_slices for dimension, kept_slices in splits.items() if dimension.parts}


def _groups(starts: Ints, parts: pa.Table, splits: Splits) -> list[Groups]:
    """The groups of records: among all of them, then by each dimension."""
    groups = group_records(starts) if ALL in splits else []
    return groups + [split.groups(starts) for split in _splits_of(parts, _divided(splits))]


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
