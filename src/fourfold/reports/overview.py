"""What there is in a store, for the command line and the pages: components, streams, tasks, problems."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Mapping

from fourfold import metrics
from fourfold.metrics import parse
from fourfold.model import DAY, EVERYTHING, Run, RunStatus, Task, Value
from fourfold.query.metric import metric
from fourfold.query.read import totals
from fourfold.query.source import Stored
from fourfold.reports.slices import Slice, strongest
from fourfold.state import catalogue, runs, series
from fourfold.store import Store


@dataclasses.dataclass(frozen=True, slots=True)
class ComponentView:
    """A component: its newest run, how many there are, how many of the last ten failed, what it feeds."""

    name: str
    runs: int
    last: Run
    failed: int
    feeds: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class StreamView:
    """A stream: its records and columns, and the days they are from. ``logged`` is False for counts only."""

    name: str
    key: str | None
    logged: bool
    rows: int
    first_day: int | None
    last_day: int | None
    columns: tuple[tuple[str, str], ...]  # name and kind
    forgotten_before: int | None = None  # a midnight, in seconds since 1970
    retention: int | None = None  # seconds, as this process has it from fourfold.toml


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnView:
    """A column: its main metrics over all there is, and its most frequent values with their shares."""

    name: str
    kind: str
    values: dict[str, Value]
    frequent: tuple[tuple[str, float], ...]

    @property
    def missing(self) -> float:
        """The share of nulls and NaNs; pandas has one for the other."""
        return sum(self.values[name].value or 0.0 for name in ("null_rate", "nan_rate") if name in self.values)


@dataclasses.dataclass(frozen=True, slots=True)
class TaskView:
    """A task's main metrics: over all there is, over time, and by each slice column.

    Of many slices, those are in ``by_slice`` that differ most from the whole (see ``slices.strongest``), and how many
    more there are in ``left_out``.
    """

    task: Task
    every: str
    values: dict[str, Value]
    history: dict[str, list[Value]]
    by_slice: dict[str, list[Slice]]
    left_out: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Join:
    """A component that joins frames: the share of nulls in its keys, and in the columns it gained."""

    component: str
    keys: tuple[tuple[str, Value], ...]
    gained: tuple[tuple[str, Value], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """The columns of a stream that are furthest from those of another, beyond what chance makes of it."""

    stream: str
    reference: str
    columns: tuple[tuple[str, Value], ...]


_COLUMN_METRICS = ("null_rate", "nan_rate", "mean", "quantile(0.5)", "min", "max", "distinct")
_EVERY = (("1d", DAY), ("1w", 7 * DAY), ("2w", 14 * DAY), ("4w", 28 * DAY), ("13w", 91 * DAY))


def components(store: Store) -> list[ComponentView]:
    """The components that have run, in the order of their first run."""
    store.catch_up()
    _find_lost(store)
    with store.database.read() as connection:
        counted = runs.components(connection, store.project)
        edges = runs.edges(connection, store.project)
        out = []
        for name, number in counted.items():
            recent = runs.recent(connection, store.project, name, 10)
            feeds = tuple(dict.fromkeys(down for up, down, _ in edges if up == name))
            failed = sum(r.status is not RunStatus.SUCCEEDED and r.status is not RunStatus.RUNNING for r in recent)
            out.append(ComponentView(name, number, recent[0], failed, feeds))
    return out


def recent_runs(store: Store, component: str | None = None, limit: int = 20) -> list[Run]:
    """The newest runs, the newest first."""
    store.catch_up()
    _find_lost(store)
    with store.database.read() as connection:
        return runs.recent(connection, store.project, component, limit)


def streams(store: Store) -> list[StreamView]:
    """All streams, those of which only counts are kept among them."""
    store.catch_up()
    versions = store.log_versions()
    out = []
    with store.database.read() as connection:
        for name, (key, _) in catalogue.streams(connection, store.project).items():
            owner = f"stream:{name}"
            found = [row for row in series.find(connection, store.project, owner) if row[3] == EVERYTHING]
            span = series.span(connection, store.project, owner, DAY)
            columns: dict[str, list[str]] = {}
            for _, column, kind, _ in found:
                if column:
                    columns.setdefault(column, []).append(kind)
            probe = next((row for row in found if row[2] == "stream"), found[0] if found else None)
            rows = int(series.panel(connection, [probe], DAY).tally("rows").sum()) if probe else 0
            first, last = span or (None, None)
            kinds = tuple((column, "+".join(kinds)) for column, kinds in columns.items())
            view = StreamView(name, key, versions[name] is not None, rows, first, last, kinds)
            closed = catalogue.closed_before(connection, store.project, [name])
            out.append(dataclasses.replace(view, forgotten_before=closed, retention=store.retention.get(name)))
    return out


def columns(store: Store, stream: str) -> list[ColumnView]:
    """What each column of a stream looks like."""
    out = []
    source = Stored(store, f"stream:{stream}")
    for column, kinds in totals(store, stream).items():
        for kind, total in kinds.items():
            asked = [question for question in map(parse, _COLUMN_METRICS) if kind in question.metric.kinds]
            values = {q.text: q.of(total) for q in asked}
            heavy = (
                sorted(zip(total.labels, total.counts.tolist(), strict=True), key=lambda e: -e[1])
                if total.labels
                else []
            )
            shares = tuple((label, count / total.tally("rows")) for label, count in heavy[:3])
            if kind == "category" and source.is_identifier(column):
                kind, shares = "identifier", ()
            out.append(ColumnView(column, kind, values, shares))
    return out


def tasks(store: Store) -> list[TaskView]:
    """All tasks with their main metrics."""
    store.catch_up()
    with store.database.read() as connection:
        known = catalogue.tasks(connection, store.project)
        spans = {name: series.span(connection, store.project, f"task:{name}", DAY) for name in known}
    out = []
    for name, task in known.items():
        first, last = spans[name] or (0, 0)
        every = next(e for e, length in _EVERY if (last - first) / length <= 31 or e == _EVERY[-1][0])
        asked = headlines(task)
        values = {m: metric(store, name, m)[0].value for m in asked}
        history = {m: [row.value for row in metric(store, name, m, every=every)] for m in asked}
        by_slice, left_out = {}, {}
        for dimension in task.dimensions if spans[name] else ():
            found = {m: metric(store, name, m, by=dimension.names) for m in asked}
            rows = [(" × ".join(map(str, row.slice.values())), i) for i, row in enumerate(found["coverage"])]
            slices = [(text, {m: found[m][i].value for m in asked}) for text, i in rows]
            by_slice[str(dimension)] = strongest(slices, values)
            left_out[str(dimension)] = len(slices) - len(by_slice[str(dimension)])
        out.append(TaskView(task, every, values, history, by_slice, left_out))
    return out


def headlines(task: Task) -> tuple[str, ...]:
    """The metrics that tell the most about a task."""
    return tuple(metrics.headlines(task.kind, max(task.cutoffs, default=0)))


def targets(store: Store) -> list[tuple[str, str, str | None]]:
    """All that a metric can be asked of: kind, target, and of a task its kind."""
    store.catch_up()
    with store.database.read() as connection:
        tasks = catalogue.tasks(connection, store.project)
    known: list[tuple[str, str, str | None]] = [("task", name, task.kind) for name, task in tasks.items()]
    for view in streams(store):
        known.append(("stream", view.name, None))
        known += [("column", f"{view.name}.{column}", None) for column, _ in view.columns]
    return known


def joins(store: Store, limit: int = 6) -> list[Join]:
    """Of the components that join frames: the null rates of the keys they join on, and of what the join gained.

    Keys are the columns that two inputs share; gained is what the output has and its largest input lacks. Only
    columns with nulls are listed, the worst first.
    """
    found = []
    for run in _newest_runs(store).values():
        inputs, outputs = (
            [_missing(store, f"{run.component}.{a.name}") for a in run.artifacts
             if a.kind == "frame" and a.direction == direction]
            for direction in ("input", "output")
        )  # fmt: skip
        if len(inputs) < 2 or len(outputs) != 1:
            continue
        shared = {name for i, one in enumerate(inputs) for other in inputs[:i] for name in one.keys() & other.keys()}
        largest = max(inputs, key=lambda columns: max((share.n for share in columns.values()), default=0))
        keys = {name: share for name, share in outputs[0].items() if name in shared}
        gained = {name: share for name, share in outputs[0].items() if name not in largest}
        found.append(Join(run.component, _worst(keys, limit), _worst(gained, limit)))
    return found


def _missing(store: Store, stream: str) -> dict[str, Value]:
    """The share of each column's records that have no value."""
    found = {}
    for column, kinds in totals(store, stream, bins=False).items():
        counted = kinds.get("numeric") or next(iter(kinds.values()))
        rows = counted.tally("rows")
        found[column] = Value(counted.missing / rows, n=rows) if rows else Value.no_data("no records")
    return found


def _worst(shares: Mapping[str, Value], limit: int) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(((n, v) for n, v in shares.items() if v.value), key=lambda e: -(e[1].value or 0))[:limit])


def _newest_runs(store: Store) -> dict[str, Run]:
    """Each component's newest run."""
    with store.database.read() as connection:
        names = runs.components(connection, store.project)
        return {name: runs.recent(connection, store.project, name, 1)[0] for name in names}


def drift(store: Store) -> list[Drift]:
    """Serving against training: where a model is passed on, the frames of the same name on both of its sides."""
    with store.database.read() as connection:
        edges = runs.edges(connection, store.project)
    newest = _newest_runs(store)
    found = []
    for maker, user, artifact in edges:
        if not any(a.kind == "model" and a.name == artifact for a in newest[user].artifacts):
            continue
        frames = [
            {a.name for a in newest[side].artifacts if a.kind == "frame" and a.direction == "input"}
            for side in (maker, user)
        ]
        for name in sorted(frames[0] & frames[1]):
            columns_ = drifted_columns(store, f"{maker}.{name}", f"{user}.{name}")
            found.append(Drift(f"{user}.{name}", f"{maker}.{name}", tuple(columns_)))
    return found


def drifted_columns(store: Store, against: str, stream: str, limit: int = 6) -> list[tuple[str, Value]]:
    """The columns of a stream that are furthest from another's, by how far beyond chance their distance is."""
    with store.database.read() as connection:
        here = {(r[1], r[2]) for r in series.find(connection, store.project, f"stream:{stream}")}
        there = {(r[1], r[2]) for r in series.find(connection, store.project, f"stream:{against}")}
    found = []
    for column in sorted({c for c, kind in here & there if c and kind in ("numeric", "category")}):
        name = "population_stability_index"
        value = metric(store, f"{stream}.{column}", name, against=f"{against}.{column}").value
        if value.value is not None:
            found.append((column, value))
    return sorted(found, key=lambda entry: -((entry[1].value or 0) - (entry[1].expected or 0)))[:limit]


def _find_lost(store: Store) -> None:
    """Runs of this machine that have not ended but whose process has: they were killed."""
    with store.database.read() as connection:
        open_runs = runs.running(connection, socket.gethostname())
    lost = [run for run, process in open_runs.items() if not _is_alive(process)]
    if lost and store.writable:
        with store.database.write() as connection:
            runs.mark_lost(connection, lost)


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 is not a question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
