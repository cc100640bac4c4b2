"""The positions of a project's jobs in its logs, and the results of counting."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import sqlalchemy as sa

from fourfold.engine import Extent, Splits
from fourfold.fold import KeptSlices, Plan
from fourfold.log import Changes
from fourfold.model import Dimension, Owner
from fourfold.state import catalogue
from fourfold.state.catalogue import Failure
from fourfold.state.jobs import Job, Workload, workloads

_FEW = 100


@dataclasses.dataclass(frozen=True)
class Position:
    """A job's position: the last counted version of each of its streams' logs; None before the first count."""

    key: str
    streams: tuple[str, ...]
    versions: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Positions:
    """The positions of a project's jobs."""

    unfinished: frozenset[str]  # the jobs of first counts that are under way, and those to forget
    wanted: tuple[Position, ...]
    failures: Mapping[str, Failure]


@dataclasses.dataclass(frozen=True)
class Counted:
    """What was counted for some of a workload's jobs, to be added to the state with how far they have come."""

    work: Workload
    counts: pa.Table
    before: Plan
    plan: Plan
    kept_slices: Splits  # of the dimensions of which more was fixed
    versions: Mapping[str, int]

    @property
    def keys(self) -> list[str]:
        """The jobs of the jobs."""
        return [job.key for job in self.work.jobs]


@dataclasses.dataclass
class Known:
    """The state of some owners that are about to be counted, updated as they are counted."""

    cursors: dict[str, Mapping[str, int]]  # by job
    plans: dict[Owner, Plan]  # by owner
    kept_slices: dict[tuple[str, str], KeptSlices]  # by stream and dimension
    closed: dict[str, int]  # by stream, the second before which its counts stay as they are
    fixed_by: set[tuple[str, Dimension, tuple[str, ...]]] = dataclasses.field(default_factory=set)  # of which files

    @staticmethod
    def read(connection: sa.Connection, project: str, workloads: Sequence[Workload]) -> Known:
        """As the state is now."""
        return Known(
            dict(catalogue.cursors(connection, project, few(workloads))),
            catalogue.plans(connection, project, [work.owner for work in workloads]),
            catalogue.kept_slices_of(connection, project, list(dict.fromkeys(work.streams[0] for work in workloads))),
            catalogue.closed_streams(connection, project),
        )

    def kept_slices_of(self, work: Workload) -> dict[Dimension, KeptSlices]:
        """What is fixed of the dimensions of a workload's jobs."""
        dimensions = dict.fromkeys(job.dimension for job in work.jobs)
        return {d: self.kept_slices.get((work.streams[0], d.to_json()), KeptSlices()) for d in dimensions}

    def extent(self, work: Workload, piece: tuple[int, int] | None = None) -> Extent:
        """What of an owner's records is not closed."""
        closed = max((self.closed[stream] for stream in work.streams if stream in self.closed), default=None)
        return Extent(piece=piece, closed=None if closed is None else closed * 1_000_000)

    def behind(self, work: Workload, newest: Mapping[str, int]) -> Iterator[tuple[Mapping[str, int], Workload]]:
        """The owner with those of its jobs that are not at the newest versions, by the versions that they are at."""
        together: dict[tuple[tuple[str, int], ...], list[Job]] = {}
        for job in work.jobs:
            counted = self.cursors.get(job.key, newest)
            if counted != newest:
                together.setdefault(tuple(sorted(counted.items())), []).append(job)
        for counted_to, jobs in together.items():
            yield dict(counted_to), dataclasses.replace(work, jobs=tuple(jobs))

    def advance(self, counted: Counted, log: Changes) -> None:
        """The state after adding these results, counted from the changes of the owner's first stream."""
        self.cursors |= dict.fromkeys(counted.keys, counted.versions)
        self.plans[counted.work.owner] = counted.plan
        stream = counted.work.streams[0]
        self.kept_slices |= {
            (stream, dimension.to_json()): kept_slices for dimension, kept_slices in counted.kept_slices.items()
        }
        self.fixed_by |= {(stream, job.dimension, log.added) for job in counted.work.jobs}


def positions(connection: sa.Connection, project: str) -> Positions:
    """The positions of a project's jobs, from the state."""
    cursors, failures = catalogue.cursors(connection, project), catalogue.failures(connection, project)
    wanted = tuple(
        Position(job.key, work.streams, cursors.get(job.key, {}))
        for work in workloads(connection, project)
        for job in work.jobs
    )
    unwanted = (cursors.keys() | failures.keys()) - {position.key for position in wanted}
    return Positions(frozenset({*catalogue.backfills(connection, project), *unwanted}), wanted, failures)


def few(several: Sequence[Workload]) -> tuple[str, ...] | None:
    """The jobs of some workloads, where they are so few that to look for them alone is quicker; else None."""
    jobs = tuple(job.key for work in several[:_FEW] for job in work.jobs)
    return jobs if max(len(several), len(jobs)) < _FEW else None


def is_behind(work: Workload, cursors: Mapping[str, Mapping[str, int]], newest: Mapping[str, int]) -> bool:
    """Whether one of a workload's jobs that have counted is not at the newest versions."""
    current = versions_of(newest, work.streams)
    return any(cursors.get(job.key, current) != current for job in work.jobs)


def versions_of(versions: Mapping[str, int], streams: Iterable[str]) -> dict[str, int]:
    """The versions of some streams, of those that have one."""
    return {stream: versions[stream] for stream in streams if stream in versions}
