"""Jobs: each is counted with its own position in the logs. One that is declared late begins at the start."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence

import sqlalchemy as sa

from fourfold.model import ALL, Dimension, Owner, Part, Sums, Task
from fourfold.state import catalogue

# The version of the rules for counting tasks. With another number all tasks are counted again from their logs, since
# these rules cannot subtract the counts of other rules.
_RULES = 3


@dataclasses.dataclass(frozen=True)
class Job:
    """An owner's counts in one dimension: a stream's columns, a task, or one of a task's custom metrics."""

    owner: Owner
    dimension: Dimension = ALL
    sums: Sums | None = None

    @property
    def metric(self) -> str:
        """The custom metric, or ""."""
        return self.sums.metric if self.sums is not None else ""

    @functools.cached_property
    def key(self) -> str:
        """The job as text: under it the position in the logs is kept. It changes with the definition."""
        sums = [self.sums.metric, self.sums.expressions] if self.sums is not None else None
        rules = [_RULES] if self.owner.kind == "task" else []
        return json.dumps([self.owner.key, self.dimension.to_json(), sums, *rules], ensure_ascii=False)

    @staticmethod
    def from_key(text: str) -> Job:
        """The inverse of ``key``."""
        owner, dimension, sums, *_ = json.loads(text)
        parts = tuple(Part(*fields) for fields in json.loads(dimension))
        custom = Sums(sums[0], tuple((name, sql) for name, sql in sums[1])) if sums is not None else None
        return Job(Owner.from_key(owner), Dimension(parts), custom)


@dataclasses.dataclass(frozen=True)
class Workload:
    """What there is to count for an owner: its jobs, and the streams that their records come from."""

    owner: Owner
    streams: tuple[str, ...]  # the first is the one that slices are columns of
    jobs: tuple[Job, ...]
    task: Task | None = None


def workloads(connection: sa.Connection, project: str) -> list[Workload]:
    """All that has counts in a project, streams before the tasks on them."""
    tasks = catalogue.tasks(connection, project).values()
    streams = [Owner.of_stream(stream) for stream in catalogue.streams(connection, project)]
    return [
        *(Workload(owner, (owner.name,), _of_stream(owner, list(tasks))) for owner in streams),
        *(Workload(Owner.of_task(task.name), task.streams, _of_task(task), task) for task in tasks),
    ]


def progress(connection: sa.Connection, project: str) -> dict[Job, float]:
    """The first counts that are under way, and what share of each is done."""
    under_way = catalogue.backfills(connection, project)
    return {Job.from_key(key): entry.piece / entry.pieces for key, entry in under_way.items()}


def failures(connection: sa.Connection, project: str) -> dict[Job, str]:
    """The owners that could not be counted at the last try, with the reason."""
    known = catalogue.failures(connection, project)
    return {Job.from_key(key): failure.reason for key, failure in known.items()}


def _of_stream(owner: Owner, tasks: Sequence[Task]) -> tuple[Job, ...]:
    """All its records, and what the tasks on it split its predictions by.

    Of two ways to split that have the same names, the first is counted.
    """
    asked = {
        dimension.names: dimension
        for task in reversed(tasks)
        if task.prediction.stream == owner.name
        for dimension in reversed(task.dimensions)
    }
    return tuple(Job(owner, dimension) for dimension in (ALL, *(asked[names] for names in sorted(asked))))


def _of_task(task: Task) -> tuple[Job, ...]:
    """The task itself and its custom metrics, over all and in each of its slices."""
    owner = Owner.of_task(task.name)
    return tuple(Job(owner, dimension, sums) for dimension in (ALL, *task.dimensions) for sums in (None, *task.sums))
