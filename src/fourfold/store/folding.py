"""From the log into counts: what is new since the last fold, counted once."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from fourfold.engine import Engine, Folded
from fourfold.fold import Plan
from fourfold.log import Changes, StreamLog, TruncatedLogError
from fourfold.model import Task
from fourfold.state import Database, catalogue, series
from fourfold.store.collect import StreamLogs


class Folder:
    """Folds the logs of a project. Only one process at a time does (see ``Store.catch_up``).

    Each job (a stream's columns in one slice dimension, or a task) remembers the log version up to which it has
    counted, written in the same transaction as the counts. A job that is new starts from the beginning, so what
    is declared late is counted from the start.
    """

    def __init__(self, project: str, database: Database, engine: Engine, logs: StreamLogs) -> None:
        self._project, self._database, self._engine, self._logs = project, database, engine, logs

    def pending(self) -> bool:
        """Whether some log has records that are not counted yet."""
        with self._database.read() as connection:
            streams = catalogue.streams(connection, self._project)
            tasks = catalogue.tasks(connection, self._project)
            cursors = catalogue.all_cursors(connection, self._project)
        versions = {name: self._logs.get(self._project, name).version for name in streams}
        return any(
            cursors.get((job, stream)) != version
            for job, stream in _all_jobs(list(streams), tasks)
            if (version := versions.get(stream)) is not None
        )

    def fold(self) -> None:
        """Count everything that is new."""
        with self._database.read() as connection:
            streams = list(catalogue.streams(connection, self._project))
            tasks = catalogue.tasks(connection, self._project)
        for stream in streams:
            self._fold_stream(stream, dimensions(stream, tasks))
        for task in tasks.values():
            self._fold_task(task)

    def _fold_stream(self, stream: str, wanted: Sequence[str]) -> None:
        log, owner = self._logs.get(self._project, stream), f"stream:{stream}"
        if log.version is None:
            return
        with self._database.read() as connection:
            cursors = {d: catalogue.cursors(connection, self._project, _job(d)).get(stream) for d in wanted}
        for since in sorted(set(cursors.values()), key=lambda v: -1 if v is None else v):
            together = [d for d in wanted if cursors[d] == since]
            changes, anew = _changes(log, since)
            if changes.version == since:
                continue
            with self._database.read() as connection:
                plan = load_plan(connection, self._project, owner)
            folded = self._engine.fold_stream(changes, together, plan)
            with self._database.write() as connection:
                if anew:
                    for dimension in together:
                        series.forget(connection, self._project, owner, dimension=dimension)
                self._remember(connection, owner, plan, folded)
                for dimension in together:
                    catalogue.set_cursor(connection, self._project, _job(dimension), stream, changes.version)

    def _fold_task(self, task: Task) -> None:
        owner = job = f"task:{task.name}"
        logs = [self._logs.get(self._project, name) for name in (task.prediction_stream, task.label_stream)]
        with self._database.read() as connection:
            cursors = catalogue.cursors(connection, self._project, job)
        since = [cursors.get(log.stream) for log in logs]
        if [log.version for log in logs] == since:
            return
        changed = [_changes(log, version) for log, version in zip(logs, since, strict=True)]
        anew = any(flag for _, flag in changed)
        if anew:
            changed = [_changes(log, None) for log in logs]
        with self._database.read() as connection:
            plan = load_plan(connection, self._project, owner)
        folded = self._engine.fold_task(task, changed[0][0], changed[1][0], plan)
        with self._database.write() as connection:
            if anew:
                series.forget(connection, self._project, owner)
            self._remember(connection, owner, plan, folded)
            for log, (changes, _) in zip(logs, changed, strict=True):
                if changes.version >= 0:
                    catalogue.set_cursor(connection, self._project, job, log.stream, changes.version)

    def _remember(self, connection: sa.Connection, owner: str, before: Plan, folded: Folded) -> None:
        known = before.by_version()
        for column, versions in folded.plan.binnings.items():
            for start, binning in versions:
                if (column, binning.version) not in known:
                    catalogue.add_binnings(connection, self._project, owner, {column: binning}, start)
        catalogue.add_small_integers(connection, self._project, owner, folded.plan.small - before.small)
        series.add_levels(connection, self._project, owner, folded.counts)


def load_plan(connection: sa.Connection, project: str, owner: str) -> Plan:
    """What is fixed of an owner's columns."""
    return Plan(
        catalogue.binnings(connection, project, owner), catalogue.small_integers(connection, project, owner)
    )  # fmt: skip


def dimensions(stream: str, tasks: dict[str, Task]) -> list[str]:
    """The slice dimensions that a stream is counted by: all records, and what the tasks on it ask for."""
    asked = {name for task in tasks.values() if task.prediction_stream == stream for name in task.slices}
    return ["", *sorted(asked)]


def _all_jobs(streams: Sequence[str], tasks: dict[str, Task]) -> list[tuple[str, str]]:
    jobs = [(_job(d), stream) for stream in streams for d in dimensions(stream, tasks)]
    for task in tasks.values():
        jobs += [(f"task:{task.name}", stream) for stream in (task.prediction_stream, task.label_stream)]
    return jobs


def _job(dimension: str) -> str:
    return f"columns:{dimension}"


def _changes(log: StreamLog, since: int | None) -> tuple[Changes, bool]:
    """What is new, and whether it is the whole log because what was counted cannot be told from it any more."""
    try:
        return log.changes(since), False
    except TruncatedLogError:
        return log.changes(None), True
