"""What a fold fixes when it first sees a column or a task: from the same records on each engine.

A plan comes from the first records in the order of the files, a task's from the joined records of the keys whose
MD5 is smallest; so it depends neither on partitions nor on the order in which a join gives its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa

from fourfold.engine.duckdb.files import last, tables
from fourfold.engine.protocol import ChangedLog, Extent
from fourfold.fold import Plan, better_binnings, event_seconds, plan_columns, unplanned
from fourfold.fold.tasks import Joined, judged, plan_task, unplanned_task
from fourfold.model import DAY, Task
from fourfold.model.records import EVENT_TIME, users

SAMPLE = 1 << 18  # joined records that a task's plan is made from


def plan_records(records: pa.Table, plan: Plan) -> Plan:
    """The plan with what it lacks chosen from some records."""
    return plan_columns(records.select(users(records.column_names)), plan, event_seconds(records[EVENT_TIME]))


def plan_log(log: ChangedLog, extent: Extent, plan: Plan, first: pa.Table | None = None) -> Plan:
    """The plan for all of a log's changed records; ``first`` are the first ones, where they are at hand.

    Each column is planned from the first batch in which it has a value.
    """
    if first is not None:
        plan = plan_records(first, plan)
    schema = pa.schema([log.schema.field(name) for name in users(log.schema.names)])
    for files in (log.added, log.removed):
        names = unplanned(schema, plan)
        for table in tables(log, files, extent, [*names, EVENT_TIME]) if names else ():
            plan = plan_records(table, plan)
            if not unplanned(schema, plan):
                return plan
    return plan


def plan_next(log: ChangedLog, extent: Extent, plan: Plan, newest: pa.Table | None = None) -> Plan:
    """The plan with better binnings from the next day on, where the newest records show that they are needed.

    ``newest`` are all added records, where they are at hand.
    """
    newest = last(log, log.added, extent) if newest is None else newest
    if not newest.num_rows:
        return plan
    seconds = event_seconds(newest[EVENT_TIME])
    found = better_binnings(newest.select(users(newest.column_names)), seconds, plan)
    return plan.adding(found, (int(seconds.max()) // DAY + 1) * DAY)


def plan_joined(task: Task, records: pa.Table, plan: Plan) -> Plan:
    """The plan with what it lacks chosen from joined records."""
    return plan_task(Joined(judged(task, records), task), plan)


def plan_sampled(task: Task, sample: Callable[[bool], pa.Table], plan: Plan) -> Plan:
    """The plan with what it lacks chosen from samples: of all joined records, and of those with a label (True)."""
    for labelled in (False, True):
        if unplanned_task(task, plan) and (records := sample(labelled)).num_rows:
            plan = plan_joined(task, records, plan)
    return plan


def plan_constants(task: Task, plan: Plan) -> Plan:
    """The plan with what is the same for all records of a task."""
    nothing = pa.table({name: pa.array([], pa.float64()) for name in ("prediction", "label", "delay")})
    for name in ("orphan", "has_label"):
        nothing = nothing.append_column(name, pa.array([], pa.bool_()))
    return plan_task(Joined(nothing, task), plan)


def share_of(logs: Iterable[ChangedLog], extent: Extent) -> str | None:
    """The MD5 below which the keys of a first count are a sample that is large enough; None: all are looked at."""
    rows = 0
    for log in logs:
        if log.before or log.removed:
            return None
        rows += log.rows()
    share = 2 * SAMPLE * (extent.piece[1] if extent.piece else 1) / max(rows, 1)
    return None if share >= 1 else f"{int(share * 16**8):08x}"
