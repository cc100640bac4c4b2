"""What several tests need: a way to send records at chosen log times, and counts in a form that compares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from fourfold import counts
from fourfold.counts import KEYS, Counts
from fourfold.engine import make_engine
from fourfold.fold import Plan
from fourfold.fold.tasks import Joined, fold_task, judged, plan_task
from fourfold.log import Inbox, StorePath, messages, new_writer, open_inbox
from fourfold.model import ALL, DAY, ENGINES, Owner, Task
from fourfold.model.records import EVENT_TIME, KEY, LOG_TIME, META, RUN
from fourfold.query.counts import pooled
from fourfold.sdk import Session
from fourfold.state import series
from fourfold.store import Store

START = 1_700_006_400  # a midnight
_EXAMPLES = settings().max_examples
# for properties of which each example takes a store or more: .ci/run tries more with the profile "thorough"
SLOW = settings(max_examples=_EXAMPLES // 4 if _EXAMPLES >= 100 else _EXAMPLES)
SLOWER = settings(SLOW, max_examples=max(1, SLOW.max_examples // 2))  # and many questions to it


class Sender:
    """Sends batches as a process would, with log times of our choosing (in seconds)."""

    def __init__(self, store: Store) -> None:
        self.inbox, self.project = open_inbox(store.folder / "inbox"), store.project
        self.writer, self.sequence = new_writer(), 0

    def records(self, stream: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows with ``key``, ``time`` and ``log_time`` (seconds) beside their columns; one batch."""
        self.sequence += 1
        names = [
            name for name in dict.fromkeys(n for row in rows for n in row) if name not in ("key", "time", "log_time")
        ]
        columns: dict[str, Any] = {name: pa.array([row.get(name) for row in rows]) for name in names}
        columns[KEY] = pa.array([row["key"] for row in rows], pa.string())
        for meta, name in ((EVENT_TIME, "time"), (LOG_TIME, "log_time")):
            columns[meta] = pa.array([int(row[name] * 1e6) for row in rows], META.field(meta).type)
        columns[RUN] = pa.nulls(len(rows), pa.string())
        header = messages.records(self.project, stream, "key", "time")
        self.inbox.put(self.writer, self.sequence, header, pa.table(columns))

    def task(self, task: Task) -> None:
        self.sequence += 1
        self.inbox.put(self.writer, self.sequence, messages.task(self.project, task))


def in_pieces_of(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let first counts be counted in pieces of so many records, whatever the engine."""
    for name in ENGINES:
        monkeypatch.setattr(type(make_engine(name)), "piece_rows", rows)


def fold_joined(task: Task, prediction: Any, label: Any, *, chunks: int = 1, **more: Any) -> dict[str, Counts]:
    """The counts of predictions joined with their labels, by column, folded in chunks with the first one's plan.

    A label that is null has not come; ``more`` are further columns, or others than the usual ones.
    """
    return by_column(*table_of_joined(task, prediction, label, chunks=chunks, **more))


def by_column(table: pa.Table, plan: Plan) -> dict[str, Counts]:
    """The counts of a table of one slice and bucket, by column."""
    found: dict[str, list[Counts]] = {}
    for entry in counts.rows(table, plan.by_version()):
        found.setdefault(entry.column, []).append(entry)
    return {column: total for column, several in found.items() if (total := pooled(several)) is not None}


def table_of_joined(
    task: Task, prediction: Any, label: Any, *, chunks: int = 1, plan: Plan | None = None, **more: Any
) -> tuple[pa.Table, Plan]:
    """As ``fold_joined``, the counts table, and the plan that was used (without one: chosen on the way)."""
    columns = {"prediction": pa.array(prediction), "label": pa.array(label, from_pandas=True)}
    n = len(columns["prediction"])
    has_label = columns["label"].is_valid()
    columns |= {
        "key": pa.array([f"k{i:09d}" for i in range(n)]),
        "time": pa.array(np.zeros(n, np.int64), META.field(EVENT_TIME).type),
        "delay": pa.array(np.zeros(n)), "orphan": pa.array(np.zeros(n, bool)), "has_label": has_label,
        "withdrawn": pa.array(np.zeros(n, bool)), "pairs": has_label.cast(pa.int64()),
        **{name: pa.array(values) for name, values in more.items()},
    }  # fmt: skip
    table, plan, parts = pa.table(columns), plan or Plan(), []
    for part in np.array_split(np.arange(n), chunks):
        records = Joined(judged(task, table.take(pa.array(part))), task)
        plan = plan_task(records, plan)
        parts += list(fold_task(records, {}, {ALL: ["", *(s.metric for s in task.sums)]}, plan))
    return counts.add(*parts), plan


def waiting(session: Session) -> list[StorePath]:
    """The messages of a session that are in its folder's inbox."""
    inbox = session.sender.outbox.inbox
    assert isinstance(inbox, Inbox)
    return inbox.pending()


Comparable = dict[tuple[Any, ...], dict[str, Any]]


def comparable(table: pa.Table, *, extremes: bool = True) -> Comparable:
    """A counts table as nested dicts, with the order of rows and labels taken out; sums rounded."""
    out: Comparable = {}
    for row in table.to_pylist():
        names = row["labels"] or row["bins"]
        entry: dict[str, Any] = {
            "tallies": row["tallies"],
            "sums": [float(f"{s:.9g}") if math.isfinite(s) else str(s) for s in row["sums"]],
            "counts": dict(zip(names, row["counts"], strict=True)),
        }
        if extremes:
            entry["extremes"] = [None if row[n] is None or math.isnan(row[n]) else row[n] for n in ("low", "high")]
            entry["registers"] = row["registers"]
        key = tuple(row[name] for name in KEYS)
        assert key not in out
        out[key] = entry
    return out


def stored(store: Store, owner: Owner, level: int = DAY) -> pa.Table:
    """All counts of an owner."""
    with store.reader.database.read() as connection:
        return series.select(connection, series.find(connection, store.project, owner), level)


def close(a: Comparable, b: Comparable, tolerance: float = 1e-7) -> bool:
    """Equal in every count, and in the sums up to rounding."""
    if a.keys() != b.keys():
        return False
    for key, left in a.items():
        right = b[key]
        if {k: v for k, v in left.items() if k != "sums"} != {k: v for k, v in right.items() if k != "sums"}:
            return False
        for x, y in zip(left["sums"], right["sums"], strict=True):
            if x != y and not (
                isinstance(x, float)
                and isinstance(y, float)
                and math.isclose(x, y, rel_tol=tolerance, abs_tol=tolerance)
            ):
                return False
    return True
