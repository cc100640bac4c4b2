"""The path of one record through the components: its logged values, their runs, and how usual the values are."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts import Counts
from fourfold.engine import Engine, Extent
from fourfold.errors import InputError
from fourfold.fold.arrays import rows_of
from fourfold.fold.tasks import Joined
from fourfold.log import Changes
from fourfold.metrics.tasks import LABELS
from fourfold.model import DAY, HOUR, Owner, Run, Task, label_of, percent
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, ROW, RUN, users
from fourfold.query.counts import CurrentCounts, totals
from fourfold.query.reader import Reader
from fourfold.query.table import Tabular, arrow_of
from fourfold.state import catalogue, runs


@dataclasses.dataclass(frozen=True, slots=True)
class TracedValue:
    """A value, and its position among all values of its column.

    For a number, ``position`` is the share of values below it (with half of its own bin); for a category, the share of
    records with it; None if the column's counts do not say.
    """

    column: str
    value: Any
    kind: str  # "numeric", "category" or "opaque"
    position: float | None = None

    @property
    def unusual(self) -> bool:
        """Whether it lies in the outermost 1 % of its column."""
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

    ``roles`` are its roles in tasks: ("late", "prediction"); ``notes`` say how each task counts it. For a label or an
    outcome, ``delay`` is the seconds since its prediction, by event time.
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
    """All records of a key, by event time. As a table: a row for each value of each step."""

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
    """The path of one record through the components. Reads the log.

    Args:
        reader: where to look.
        key: the key as ``ff.log`` keeps it (see ``fourfold.sdk.batch.key_text``).

    Raises:
        InputError: no stream has logged this key; the message lists the logged streams.
    """
    with reader.database.read() as connection:
        streams = list(catalogue.streams(connection, reader.project))
        tasks = list(catalogue.tasks(connection, reader.project).values())
    joined = [stream for task in tasks for stream in task.streams]
    logs = reader.whole([*streams, *joined])
    tables = {stream: log.records(pc.field(KEY) == key) for stream, log in logs.items()}
    rows = {stream: rows_of(table) for stream, table in tables.items()}
    found = [(stream, row) for stream in streams for row in rows[stream]]
    if not found:
        logged = [stream for stream in streams if reader.log(stream).is_begun]
        raise InputError(f"key {key!r} is in none of the logged streams: {', '.join(logged) or '(none yet)'}")
    with reader.database.read() as connection:
        made = runs.by_id(connection, reader.project, [row[RUN] for _, row in found if row[RUN]])
    places = {stream: _Places(reader, stream) for stream in {stream for stream, _ in found}}
    fates = [
        _Fate(reader.engine, task, logs, tables[task.label.stream], key)
        for task in tasks
        if any(rows[stream] for stream in task.streams)
    ]
    steps = []
    for stream, row in found:
        roles, notes, delay, version = [], [], None, None
        for fate in fates:
            task = fate.task
            for role in _roles(task, stream):
                roles.append((task.name, role))
                notes += [f"{task.name}: {note}" for note in fate.notes(role, row)]
                if role == "prediction":
                    version = version or (str(row.get(task.version)) if row.get(task.version) is not None else None)
                elif fate.predicted is not None:
                    delay = (row[EVENT_TIME] - fate.predicted["time"]).total_seconds()
        values = tuple(places[stream].of(name, row[name]) for name in users(row))
        steps.append(
            Step(
                stream, row[EVENT_TIME], row[LOG_TIME], tuple(roles), values, made.get(row[RUN] or ""), version, delay,
                tuple(dict.fromkeys(notes)),
            )
        )  # fmt: skip
    return Trace(key, tuple(sorted(steps, key=lambda step: (step.time, step.logged))))


def _roles(task: Task, stream: str) -> list[str]:
    found = ["prediction"] if stream == task.prediction.stream else []
    if stream == task.label.stream:
        found.append("decision" if task.kind == "decision" else "label")
    return found + (["outcome"] if task.outcome is not None and stream == task.outcome.stream else [])


class _Fate:
    """How a task counts a key, from the engine's join of the key's records."""

    def __init__(self, engine: Engine, task: Task, logs: Mapping[str, Changes], labels: pa.Table, key: str) -> None:
        self.task = task
        bare = task.without_sums
        self._joined: list[dict[str, Any]] = []
        for table in engine.joined(bare, {s: logs[s] for s in task.streams}, {}, Extent(keys=(key,))):
            late = Joined(table, bare).late.tolist()
            self._joined += [{**row, "late": is_late} for row, is_late in zip(rows_of(table), late, strict=True)]
        self._joined.sort(key=lambda row: not row.get("served", True))
        usable = engine.usable_labels(task, labels)
        self._of_no_use = [_id(row) for row, is_usable in zip(rows_of(labels), usable, strict=True) if not is_usable]

    @property
    def predicted(self) -> dict[str, Any] | None:
        """The joined record of the prediction that was served, if any."""
        return next((row for row in self._joined if not row["orphan"]), None)

    def notes(self, role: str, record: Mapping[str, Any]) -> Iterator[str]:
        """How the task counts a logged record in its role."""
        side = role if role in ("prediction", "outcome") else "label"
        joined = next((row for row in self._joined if row[f"{side}_id"] == _id(record)), None)
        if role == "prediction":
            if joined is None:
                yield "repeated; the first prediction counts"
            elif not joined.get("served", True):
                yield "another version predicted this key first; it counts only in slices by version"
        elif self.predicted is None:
            yield "an orphan, this key was never predicted"
        elif joined is None:
            yield f"replaced by a later {role}"
        elif role == "outcome":
            if joined["outcome"] is None or joined["outcome"] != joined["outcome"]:  # NaN
                yield "withdrawn"
        elif joined["withdrawn"]:
            yield "withdrawn"
        elif joined["late"]:
            yield f"expired; it came after the horizon of {_span(self.task.horizon)}"
        elif _id(record) in self._of_no_use:
            yield f"unusable, a label must be {LABELS[self.task.kind]}"


def _id(record: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a record within a log."""
    return {name: record[name] for name in (LOG_TIME, BATCH, ROW)}


def _span(seconds: int) -> str:
    """A duration in the largest unit that divides it."""
    unit, size = next(
        (u, n) for u, n in (("day", DAY), ("hour", HOUR), ("minute", 60), ("second", 1)) if not seconds % n
    )
    return f"{seconds // size} {unit}{'s' if seconds != size else ''}"


class _Places:
    """The positions of values among all values of their columns in one stream."""

    def __init__(self, reader: Reader, stream: str) -> None:
        self._totals, self._source = totals(reader, stream), CurrentCounts(reader, Owner.of_stream(stream))

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
