"""The way of one record through the components: what was logged of its key, by which run, and how usual it was."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts import Counts
from fourfold.errors import InputError
from fourfold.metrics.tasks import LABELS
from fourfold.model import DAY, Run, Task, label_of, percent
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, ROW, RUN
from fourfold.query.read import totals
from fourfold.query.reader import Reader
from fourfold.query.source import Stored
from fourfold.query.table import Tabular, arrow_of
from fourfold.state import catalogue, runs


@dataclasses.dataclass(frozen=True, slots=True)
class TracedValue:
    """A value, and where it lies among all values of its column.

    ``position`` is, of a number, the share of values below it (half of those in its own bin counted); of a category,
    the share of records that have it. None where the column is not counted in a form that says so.
    """

    column: str
    value: Any
    kind: str  # "numeric", "category" or "opaque"
    position: float | None = None

    @property
    def unusual(self) -> bool:
        """Whether it lies in the outer hundredth of its column."""
        if self.position is None:
            return False
        return self.position < 0.01 or (self.kind == "numeric" and self.position > 0.99)

    @property
    def place(self) -> str:
        """The position in words."""
        if self.position is None:
            return ""
        share = percent(self.position)
        return f"above {share} of the values" if self.kind == "numeric" else f"{share} of the records"


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One logged record of the key.

    ``roles`` are what the record is to the tasks: ("late", "prediction"); ``notes`` what became of it there.
    ``delay`` is, of a label or an outcome, the seconds since its prediction, by event time.
    """

    stream: str
    time: dt.datetime
    logged: dt.datetime
    roles: tuple[tuple[str, str], ...]
    values: tuple[TracedValue, ...]
    run: Run | None = None
    version: str | None = None
    delay: float | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, repr=False)
class Trace(Tabular):
    """All that is known of a key, in the order of its event times. As a table: a row for each value of each step."""

    key: str
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        lines = [f"Trace of {self.key}"]
        for step in self.steps:
            roles = "".join(f", {role} of {task}" for task, role in step.roles)
            run = f", by run {step.run.id[:12]} of {step.run.component}" if step.run is not None else ""
            lines.append(f"  {step.time:%Y-%m-%d %H:%M:%S} {step.stream}{roles}{run}")
            lines += [f"    ! {note}" for note in step.notes]
            lines += [f"    {v.column} = {v.value!r}{f' ({v.place})' if v.place else ''}" for v in step.values]
        return "\n".join(lines)

    def to_arrow(self) -> pa.Table:
        """As a PyArrow table: a row for each value of each step."""
        return arrow_of(
            [
                {
                    "time": step.time,
                    "logged": step.logged,
                    "stream": step.stream,
                    "column": value.column,
                    "value": str(value.value),
                    "position": value.position,
                    "roles": [f"{role} of {task}" for task, role in step.roles],
                    "notes": step.notes,
                    "delay": step.delay,
                    "version": step.version,
                    "run": step.run.id if step.run is not None else None,
                }
                for step in self.steps
                for value in step.values or (TracedValue("", None, "opaque"),)
            ]
        )


def trace(reader: Reader, key: str) -> Trace:
    """The way of one record through the components. Reads the log.

    Args:
        reader: where to look.
        key: the key as ``ff.log`` keeps it (see ``fourfold.sdk.batch.key_text``).

    Raises:
        InputError: no stream has logged this key; says which streams there are.
    """
    with reader.database.read() as connection:
        streams = list(catalogue.streams(connection, reader.project))
        tasks = list(catalogue.tasks(connection, reader.project).values())
    tables = {stream: reader.log(stream).whole().records(pc.field(KEY) == key) for stream in streams}
    rows = {stream: table.to_pylist() for stream, table in tables.items()}
    found = [(stream, row) for stream in streams for row in rows[stream]]
    if not found:
        logged = [stream for stream in streams if reader.log(stream).version is not None]
        raise InputError(f"key {key!r} is in none of the logged streams: {', '.join(logged) or 'there is none'}")
    with reader.database.read() as connection:
        made = runs.by_id(connection, [row[RUN] for _, row in found if row[RUN]])
    places = {stream: _Places(reader, stream) for stream in {stream for stream, _ in found}}
    firsts = {stream: min((r for s, r in found if s == stream), key=_order) for stream in places}
    lasts = {stream: max((r for s, r in found if s == stream), key=_order) for stream in places}
    of_no_use = {
        (task.name, id(row))
        for task in tasks
        if rows.get(task.label.stream)
        for row, usable in zip(
            rows[task.label.stream], reader.engine.usable_labels(task, tables[task.label.stream]), strict=True
        )
        if not usable
    }
    steps = []
    for stream, row in found:
        roles, notes, delay, version = [], [], None, None
        for task in tasks:
            for role in _roles(task, stream):
                roles.append((task.name, role))
                first = firsts.get(task.prediction.stream)
                if role == "prediction":
                    version = version or (str(row.get(task.version)) if row.get(task.version) is not None else None)
                    if row is not firsts[stream]:
                        notes.append(f"{task.name}: repeated, the first prediction stands")
                    continue
                source = task.outcome if role == "outcome" and task.outcome is not None else task.label
                if first is not None:
                    delay = (row[EVENT_TIME] - first[EVENT_TIME]).total_seconds()
                fate = _fate(task, role, row, source.column, row is lasts[stream], delay, first is not None)
                if not fate and role != "outcome" and (task.name, id(row)) in of_no_use:
                    fate = [f"{task.name}: of no use, a label must be {LABELS[task.kind]}"]
                notes += fate
        values = tuple(places[stream].of(name, value) for name, value in row.items() if not name.startswith("_ff_"))
        steps.append(
            Step(
                stream, row[EVENT_TIME], row[LOG_TIME], tuple(roles), values, made.get(row[RUN] or ""), version, delay,
                tuple(dict.fromkeys(notes)),
            )
        )  # fmt: skip
    return Trace(key, tuple(sorted(steps, key=lambda step: (step.time, step.logged))))


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row[LOG_TIME], row[BATCH], row[ROW]


def _roles(task: Task, stream: str) -> list[str]:
    found = ["prediction"] if stream == task.prediction.stream else []
    if stream == task.label.stream:
        found.append("decision" if task.kind == "decision" else "label")
    return found + (["outcome"] if task.outcome is not None and stream == task.outcome.stream else [])


def _fate(
    task: Task, role: str, row: dict[str, Any], column: str, last: bool, delay: float | None, predicted: bool
) -> list[str]:  # fmt: skip
    """What became of a label."""
    if not predicted:
        return [f"{task.name}: an orphan, this key was never predicted"]
    if not last:
        return [f"{task.name}: superseded, a later {role} stands"]
    if row.get(column) is None:
        return [f"{task.name}: withdrawn"]
    if delay is not None and delay > task.horizon:
        return [f"{task.name}: expired, it came after the horizon of {task.horizon // DAY} days"]
    return []


class _Places:
    """Where values lie among all of their columns in one stream."""

    def __init__(self, reader: Reader, stream: str) -> None:
        self._totals, self._source = totals(reader, stream), Stored(reader, f"stream:{stream}")

    def of(self, column: str, value: Any) -> TracedValue:
        kinds = self._totals.get(column, {})
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and "numeric" in kinds and np.isfinite(value):
            return TracedValue(column, value, "numeric", _below(kinds["numeric"], float(value)))
        if "category" in kinds and value is not None and not self._source.is_identifier(column):
            total = kinds["category"]
            text = pa.array([value]).cast(pa.string())[0].as_py() if not isinstance(value, str) else value
            shares = dict(zip(total.labels, total.counts.tolist(), strict=True))
            rows = total.tally("rows")
            known = shares.get(label_of(text))
            return TracedValue(column, value, "category", known / rows if known is not None and rows else None)
        return TracedValue(column, value, next(iter(kinds), "opaque"))


def _below(total: Counts, value: float) -> float | None:
    if total.binning is None or not len(total.bins):
        return None
    lower, upper = total.binning.edges(total.bins)
    inside = (lower <= value) & (value < upper)
    return float((total.counts[upper <= value].sum() + total.counts[inside].sum() / 2) / total.counts.sum())
