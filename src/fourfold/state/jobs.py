"""Cells: each is counted with its own position in the logs; one that is declared late begins at the start."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from fourfold.model import ALL, Dimension, Part, Sums, Task
from fourfold.state import catalogue

# The version of the rules for counting tasks. With another number all tasks are counted again from their logs, since
# these rules cannot subtract the counts of other rules.
_RULES = 2


@dataclasses.dataclass(frozen=True)
class Cell:
    """An owner's counts in one dimension: a stream's columns, a task, or one of a task's custom metrics."""

    owner: str  # "stream:NAME" or "task:NAME"
    dimension: Dimension = ALL
    sums: Sums | None = None

    @property
    def metric(self) -> str:
        """The custom metric, or ""."""
        return self.sums.metric if self.sums is not None else ""

    @functools.cached_property
    def job(self) -> str:
        """The cell as text: under it the position in the logs is kept. It changes with the definition."""
        sums = [self.sums.metric, self.sums.expressions] if self.sums is not None else None
        rules = [_RULES] if self.owner.startswith("task:") else []
        return json.dumps([self.owner, self.dimension.to_json(), sums, *rules], ensure_ascii=False)

    @staticmethod
    def from_job(text: str) -> Cell:
        """The inverse of ``job``."""
        owner, dimension, sums, *_ = json.loads(text)
        parts = tuple(Part(*fields) for fields in json.loads(dimension))
        found = Sums(sums[0], tuple((name, sql) for name, sql in sums[1])) if sums is not None else None
        return Cell(owner, Dimension(parts), found)


@dataclasses.dataclass(frozen=True)
class Owner:
    """What has counts: a stream or a task, the streams that they come from, and its cells."""

    name: str
    streams: tuple[str, ...]  # the first is the one that slices are columns of
    cells: tuple[Cell, ...]
    task: Task | None = None


def owners(streams: Iterable[str], tasks: Iterable[Task]) -> list[Owner]:
    """All that has counts in a project, streams before the tasks on them."""
    tasks = list(tasks)
    found = [Owner(f"stream:{stream}", (stream,), _of_stream(stream, tasks)) for stream in streams]
    return found + [Owner(f"task:{task.name}", task.streams, _of_task(task), task) for task in tasks]


def owners_of(connection: sa.Connection, project: str) -> list[Owner]:
    """All that has counts in a project."""
    return owners(catalogue.streams(connection, project), catalogue.tasks(connection, project).values())


def counted_to(connection: sa.Connection, project: str) -> dict[str, dict[str, int]]:
    """Up to which version of each of its streams an owner was counted, where it was."""
    versions = catalogue.counted_to(connection, project)
    return {
        owner.name: {stream: versions[stream] for stream in owner.streams if stream in versions}
        for owner in owners_of(connection, project)
    }


def progress(connection: sa.Connection, project: str) -> dict[Cell, float]:
    """The first counts that are under way, and what share of each is done."""
    under_way = catalogue.backfills(connection, project)
    return {Cell.from_job(job): entry.piece / entry.pieces for job, entry in under_way.items()}


def failures(connection: sa.Connection, project: str) -> dict[Cell, str]:
    """The owners that could not be counted at the last try, with the reason."""
    known = catalogue.failures(connection, project)
    return {Cell.from_job(job): failure.reason for job, failure in known.items()}


def _of_stream(stream: str, tasks: Sequence[Task]) -> tuple[Cell, ...]:
    """All its records, and what the tasks on it split its predictions by.

    Of two ways to split that have the same names, the first is counted.
    """
    asked = {
        dimension.names: dimension
        for task in reversed(tasks)
        if task.prediction.stream == stream
        for dimension in reversed(task.dimensions)
    }
    return tuple(Cell(f"stream:{stream}", dimension) for dimension in (ALL, *(asked[names] for names in sorted(asked))))


def _of_task(task: Task) -> tuple[Cell, ...]:
    """The task itself and its custom metrics, over all and in each of its slices."""
    return tuple(
        Cell(f"task:{task.name}", dimension, sums)
        for dimension in (ALL, *task.dimensions)
        for sums in (None, *task.sums)
    )
