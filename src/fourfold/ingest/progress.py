"""The positions of a project's jobs in its logs, and the results of counting."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import sqlalchemy as sa

from fourfold.engine import Extent, Splits
from fourfold.fold import Levels, Plan
from fourfold.log import Changes
from fourfold.model import Dimension
from fourfold.state import catalogue
from fourfold.state.catalogue import Failure
from fourfold.state.jobs import Cell, Owner, owners_of


@dataclasses.dataclass(frozen=True)
class Position:
    """A job's position: the last counted version of each of its streams' logs; None before the first count."""

    job: str
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
    """What was counted for some of an owner's cells, to be added to the state with how far they have come."""

    owner: Owner
    counts: pa.Table
    before: Plan
    plan: Plan
    levels: Splits  # of the dimensions of which more was fixed
    versions: Mapping[str, int]

    @property
    def jobs(self) -> list[str]:
        """The jobs of the cells."""
        return [cell.job for cell in self.owner.cells]


@dataclasses.dataclass
class Known:
    """The state of some owners that are about to be counted, updated as they are counted."""

    cursors: dict[str, Mapping[str, int]]  # by job
    plans: dict[str, Plan]  # by owner
    levels: dict[tuple[str, str], Levels]  # by stream and dimension
    closed: dict[str, int]  # by stream, the second before which its counts stay as they are
    fixed_by: set[tuple[str, Dimension, tuple[str, ...]]] = dataclasses.field(default_factory=set)  # of which files

    @staticmethod
    def read(connection: sa.Connection, project: str, owners: Sequence[Owner]) -> Known:
        """As the state is now."""
        return Known(
            dict(catalogue.cursors(connection, project)),
            catalogue.plans(connection, project, [owner.name for owner in owners]),
            catalogue.levels_of(connection, project, list(dict.fromkeys(owner.streams[0] for owner in owners))),
            catalogue.closed_streams(connection, project),
        )

    def levels_of(self, owner: Owner) -> dict[Dimension, Levels]:
        """What is fixed of the dimensions of an owner's cells."""
        dimensions = dict.fromkeys(cell.dimension for cell in owner.cells)
        return {d: self.levels.get((owner.streams[0], d.to_json()), Levels()) for d in dimensions}

    def extent(self, owner: Owner, piece: tuple[int, int] | None = None) -> Extent:
        """What of an owner's records is not closed."""
        closed = max((self.closed[stream] for stream in owner.streams if stream in self.closed), default=None)
        return Extent(piece=piece, closed=None if closed is None else closed * 1_000_000)

    def behind(self, owner: Owner, newest: Mapping[str, int]) -> Iterator[tuple[Mapping[str, int], Owner]]:
        """The owner with those of its cells that are not at the newest versions, by the versions that they are at."""
        together: dict[tuple[tuple[str, int], ...], list[Cell]] = {}
        for cell in owner.cells:
            counted = self.cursors.get(cell.job, newest)
            if counted != newest:
                together.setdefault(tuple(sorted(counted.items())), []).append(cell)
        for counted_to, cells in together.items():
            yield dict(counted_to), dataclasses.replace(owner, cells=tuple(cells))

    def advance(self, counted: Counted, log: Changes) -> None:
        """The state after adding these results, counted from the changes of the owner's first stream."""
        self.cursors |= dict.fromkeys(counted.jobs, counted.versions)
        self.plans[counted.owner.name] = counted.plan
        stream = counted.owner.streams[0]
        self.levels |= {(stream, dimension.to_json()): levels for dimension, levels in counted.levels.items()}
        self.fixed_by |= {(stream, cell.dimension, log.added) for cell in counted.owner.cells}


def positions(connection: sa.Connection, project: str) -> Positions:
    """The positions of a project's jobs, from the state."""
    cursors, failures = catalogue.cursors(connection, project), catalogue.failures(connection, project)
    wanted = tuple(
        Position(cell.job, owner.streams, cursors.get(cell.job, {}))
        for owner in owners_of(connection, project)
        for cell in owner.cells
    )
    unwanted = (cursors.keys() | failures.keys()) - {position.job for position in wanted}
    return Positions(frozenset({*catalogue.backfills(connection, project), *unwanted}), wanted, failures)


def is_behind(owner: Owner, cursors: Mapping[str, Mapping[str, int]], newest: Mapping[str, int]) -> bool:
    """Whether one of an owner's cells that have counted is not at the newest versions."""
    current = versions_of(newest, owner.streams)
    return any(cursors.get(cell.job, current) != current for cell in owner.cells)


def versions_of(versions: Mapping[str, int], streams: Iterable[str]) -> dict[str, int]:
    """The versions of some streams, of those that have one."""
    return {stream: versions[stream] for stream in streams if stream in versions}
