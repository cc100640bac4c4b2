"""What there is in a store, for the command line and the pages: components, streams, tasks, problems."""

from __future__ import annotations

import dataclasses

from fourfold.log import Quarantined
from fourfold.model import DAY, EVERYTHING, Run, RunStatus, Task, Value
from fourfold.state import catalogue, runs, series
from fourfold.store.read import metric
from fourfold.store.store import Store


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


@dataclasses.dataclass(frozen=True, slots=True)
class TaskView:
    """A task and its main metrics over all there is."""

    task: Task
    values: dict[str, Value]


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``doctor`` has found: what, and what to do."""

    kind: str
    subject: str
    message: str
    advice: str


HEADLINES = ("recall", "precision", "roc_auc", "expected_calibration_error", "coverage")


def components(store: Store) -> list[ComponentView]:
    """The components that have run, in the order of their first run."""
    store.catch_up()
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
            table = series.select(connection, [probe], DAY, bins=False) if probe else None
            rows = sum(tallies[0] for tallies in table["tallies"].to_pylist()) if table is not None else 0
            out.append(
                StreamView(
                    name, key, versions[name] is not None, rows, *(span or (None, None)),
                    tuple((column, "+".join(kinds)) for column, kinds in columns.items()),
                )
            )  # fmt: skip
    return out


def tasks(store: Store) -> list[TaskView]:
    """All tasks with their main metrics."""
    store.catch_up()
    with store.database.read() as connection:
        known = catalogue.tasks(connection, store.project)
    return [
        TaskView(task, {name: metric(store, task.name, name).value for name in HEADLINES})
        for task in known.values()
    ]  # fmt: skip


def drifted_columns(store: Store, against: str, stream: str, limit: int = 5) -> list[tuple[str, Value]]:
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


def problems(store: Store) -> list[Problem]:
    """What is not as it should be."""
    store.catch_up()
    found = [_quarantined(entry) for entry in store.quarantined()]
    with store.database.read() as connection:
        known = catalogue.tasks(connection, store.project)
        names = list(catalogue.streams(connection, store.project))
    for task in known.values():
        for stream in (task.prediction_stream, task.label_stream):
            if stream not in names:
                advice = f"log to it, or correct the task; there are the streams {', '.join(names) or '(none yet)'}"
                found.append(Problem("missing_stream", task.name, f"stream {stream!r} has no records", advice))
        for name, advice in (
            ("orphan_labels", "check that both streams use the same key"),
            ("expired_labels", "check time= of the label stream, or declare a longer horizon"),
        ):
            value = metric(store, task.name, name).value
            if value.value:
                text = f"{value.value:.0f} {name.replace('_', ' ')}"
                found.append(Problem(name, task.name, text, advice))
    for entry in components(store):
        if entry.last.status in (RunStatus.FAILED, RunStatus.LOST):
            message = f"its newest run {entry.last.status.value}: {(entry.last.error or 'no word of it').splitlines()[-1]}"
            found.append(Problem("failed_run", entry.name, message, f"see fourfold runs {entry.name}"))
    return found


def _quarantined(entry: Quarantined) -> Problem:
    advice = f"the {entry.rows} records are kept in {entry.path}; log them again in the right form, then delete it"
    return Problem("quarantine", entry.stream, entry.reason, advice)
