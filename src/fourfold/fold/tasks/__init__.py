"""Tasks of every kind: joined records to counts. A kind says what to count; this module counts it.

To add a kind, write its ``plan`` and ``measure``, name them in ``_KINDS``, and name its tallies and sums in
``counts.KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fourfold.fold.category import labels_of
from fourfold.fold.columns import Plan
from fourfold.fold.groups import Groups, Split, bucket_starts, event_seconds, group_records
from fourfold.fold.tasks import binary, classes, custom, paired, ranking, regression
from fourfold.fold.tasks.joined import DELAY_BINNING, Joined, Measured, count
from fourfold.model import ALL, VERSIONS, Dimension, Task, slice_key

__all__ = ["Joined", "fold_pairs", "fold_task", "judged", "plan_task", "unplanned_task"]


class _Kind(NamedTuple):
    plan: Callable[[Joined, Plan], Plan]
    measure: Callable[[Joined, Plan, int], Measured]
    chosen: tuple[str, ...] = ()  # the series whose binnings depend on the records


_KINDS: Mapping[str, _Kind] = {
    "binary": _Kind(binary.plan, binary.measure, binary.CHOSEN),
    "multiclass": _Kind(classes.plan, classes.multiclass),
    "multilabel": _Kind(classes.plan, classes.multilabel),
    "regression": _Kind(regression.plan, regression.measure, regression.CHOSEN),
    "ranking": _Kind(ranking.plan, ranking.measure),
    "decision": _Kind(classes.plan, classes.decision),
}


def judged(task: Task, table: pa.Table) -> pa.Table:
    """Joined records as they are counted: the queries for a ranking task, else the records themselves."""
    return ranking.judge(table, task) if task.kind == "ranking" else table


def plan_task(records: Joined, known: Plan) -> Plan:
    """The plan with what ``known`` lacks chosen from these records; delays have one binning for all."""
    if "delay" not in known.binnings:
        known = known.adding({"delay": DELAY_BINNING})
    return _KINDS[records.task.kind].plan(records, known)


def unplanned_task(task: Task, plan: Plan) -> bool:
    """Whether a plan lacks a binning that has to be chosen from the task's records."""
    return not plan.binnings.keys() >= {*_KINDS[task.kind].chosen}


def fold_task(
    records: Joined, splits: Mapping[Dimension, Split], wanted: Mapping[Dimension, Collection[str]], plan: Plan
) -> Iterator[pa.Table]:
    """The counts of joined records, in each of the dimensions.

    Orphans are counted among all records only. The served prediction is the first of its key over all model versions;
    only slices by version hold the others.

    Args:
        records: the records; for a ranking task the queries.
        splits: how they are split by each dimension except ``ALL``.
        wanted: what to count in each dimension: "" for the task itself, else the names of custom metrics.
        plan: the binnings.
    """
    if not records.table.num_rows:
        return
    seconds = event_seconds(records.table["time"])
    starts, moment = bucket_starts(seconds), int(seconds[0])
    measured = _KINDS[records.task.kind].measure(records, plan, moment)
    labelled = measured.tallies["labelled"] != 0
    every = {"": measured}
    every |= {sums.metric: custom.measure(records, i, sums, labelled) for i, sums in enumerate(records.task.sums)}
    orphan = records.flags("orphan")
    served = records.flags("served") if records.task.version else np.ones(len(orphan), bool)
    for dimension, names in wanted.items():
        mask = served | orphan
        if dimension != ALL:
            mask = ~orphan if dimension == records.task.by_version else ~orphan & served
        if not mask.any():
            continue
        grouping = group_records(starts[mask])[0] if dimension == ALL else splits[dimension].groups(starts, mask)
        for name in names:
            yield count(every[name].where(mask), grouping, plan, moment)


def fold_pairs(records: Joined, plan: Plan) -> Iterator[pa.Table]:
    """The counts of keys that two model versions predicted, in a slice for each pair of versions."""
    if not records.table.num_rows:
        return
    seconds = event_seconds(records.table["time"])
    starts, moment = bucket_starts(seconds), int(seconds[0])
    measured = paired.measure(records, plan, moment)
    if measured is None:
        return
    sides = [labels_of(records.texts(name)).to_pylist() for name in ("version", "against")]
    against, version = VERSIONS
    keys = [slice_key({version: first, against: second}) for first, second in zip(*sides, strict=True)]
    distinct = sorted(set(keys))
    place = {key: i for i, key in enumerate(distinct)}
    buckets, at_bucket = np.unique(starts, return_inverse=True)
    code = np.array([place[key] for key in keys], np.int64) * len(buckets) + at_bucket
    used, ids = np.unique(code, return_inverse=True)
    groups = Groups(ids.astype(np.int64), [distinct[c // len(buckets)] for c in used], buckets[used % len(buckets)])
    yield count(measured, groups, plan, moment)
