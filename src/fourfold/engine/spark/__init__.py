"""Folding on a cluster: Spark brings records together, DuckDB joins them on the executors, where the same kernel counts
them, and only counts reach the driver.

Where few records changed, the driver folds them, as the embedded engine does: that gives the same counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold import counts
from fourfold.engine.drive import folded, wanted_of
from fourfold.engine.duckdb import DuckDB
from fourfold.engine.planning import SAMPLE, plan_constants, plan_log, plan_next, plan_sampled, share_of
from fourfold.engine.protocol import WHOLE, ChangedLog, Extent, Folded, Splits, Wanted
from fourfold.engine.spark.few import is_few, keys_of_few
from fourfold.engine.spark.joins import Join
from fourfold.engine.spark.partial import parts_for
from fourfold.engine.spark.records import fold_records
from fourfold.engine.spark.session import active, asked, is_stopped, started
from fourfold.engine.spark.slices import kept_slices
from fourfold.fold import KeptSlices, Plan
from fourfold.model import ALL, Dimension, Task

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Spark"]


class Spark(DuckDB):
    """A cluster folds. What is no fold (a trace, the keys of a slice, two streams compared) is answered on the driver,
    as by the embedded engine.
    """

    piece_rows = 50_000_000

    def __init__(self) -> None:
        """The session is that of the caller, if there is one; else one is started when it is needed."""
        self._known = active()

    def kept_slices(self, log: ChangedLog, dimension: Dimension, known: KeptSlices) -> KeptSlices:
        """See ``Engine.kept_slices``."""
        if not log.added or not dimension.parts:
            return known
        if keys_of_few([log]) is not None:
            return super().kept_slices(log, dimension, known)
        session = self._session()
        with asked(session, f"slices by {dimension}"):
            return kept_slices(session, log, dimension, known)

    def fold_stream(self, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent = WHOLE) -> Folded:
        """See ``Engine.fold_stream``."""
        if not (log.added or log.removed):
            return Folded(counts.empty(), plan)
        if is_few([log]):
            return super().fold_stream(log, splits, plan, extent)
        session, parts = self._session(), parts_for(log.rows())
        plan = plan_log(log, extent, plan)
        with asked(session, "a stream"):
            found = fold_records(session, log, splits, plan, extent, parts)
        if log.added and ALL in splits:
            plan = plan_next(log, extent, plan)
        return folded(found, plan)

    def fold_task(
        self,
        task: Task,
        logs: Mapping[str, ChangedLog],
        splits: Splits,
        plan: Plan,
        extent: Extent = WHOLE,
        wanted: Wanted | None = None,
    ) -> Folded:
        """See ``Engine.fold_task``."""
        if not any(log.added or log.removed for log in logs.values()):
            return Folded(counts.empty(), plan)
        if is_few(logs.values(), every=bool(task.query)):
            return super().fold_task(task, logs, splits, plan, extent, wanted)
        session, parts = self._session(), parts_for(sum(log.rows() for log in logs.values()))
        wanted = wanted_of(task, splits, wanted)
        pairs = bool(task.version) and "" in wanted.get(ALL, ())
        with asked(session, f"task {task.name!r}"):
            fixed = plan_constants(task, plan_sampled(task, self._sample(session, task, logs, extent), plan))
            found = Join(session, task, logs, splits, extent).counts(wanted, fixed, parts, pairs=pairs)
        return folded(found, fixed if found.num_rows else plan)

    def _session(self) -> SparkSession:
        if (found := active()) is not None:
            self._known = found
        if self._known is None or is_stopped(self._known):
            self._known = started()
        return self._known

    def _sample(
        self, session: SparkSession, task: Task, logs: Mapping[str, ChangedLog], extent: Extent
    ) -> Callable[[bool], pa.Table]:
        """Samples of the joined records: of those with a label, or of all."""
        bare = dataclasses.replace(task, sums=())

        def sample(labelled: bool) -> pa.Table:
            share = None if labelled else share_of(logs.values(), extent)
            return Join(session, bare, logs, {}, extent, share).sample(SAMPLE, labelled=labelled)

        return sample
