"""What an engine does. Each one gives the same integer counts for the same log."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from fourfold.errors import ConfigError
from fourfold.fold import Levels, Plan
from fourfold.model import Dimension, Task


class Changed(Protocol):
    """A stream's log between two versions, as Parquet files: what was and stays, what came, what went."""

    @property
    def before(self) -> Sequence[str]:
        """The files of records that were there and still are."""

    @property
    def added(self) -> Sequence[str]:
        """The files of records that are new."""

    @property
    def removed(self) -> Sequence[str]:
        """The files of records that are gone."""

    @property
    def schema(self) -> pa.Schema:
        """All columns; a file that lacks one has nulls in it."""


class TooSlowError(ConfigError):
    """Users' expressions took too long and were stopped; ``dimension`` is the one whose values they make, if known."""

    def __init__(self, message: str, dimension: Dimension | None = None) -> None:
        super().__init__(message)
        self.dimension = dimension


@dataclasses.dataclass(frozen=True)
class Folded:
    """Signed counts by hour to add to what is remembered, and the plan with what was chosen on the way."""

    counts: pa.Table
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Extent:
    """Which joined records are meant, where not all: of some keys, known at a moment, of a stretch of time.

    ``piece`` (i of n) takes the keys (of a ranking task: queries) whose hash is i modulo n; ``as_of``, ``start`` and
    ``end`` are in microseconds since 1970, the first a log time, the others prediction times. What happened before
    ``closed`` is left as it was counted: such predictions, and labels that may be theirs.
    """

    piece: tuple[int, int] | None = None
    as_of: int | None = None
    start: int | None = None
    end: int | None = None
    closed: int | None = None


@dataclasses.dataclass(frozen=True)
class Discrepancy:
    """A column of two streams compared by key: how many keys match, differ, or have a value on one side only.

    ``examples`` are keys of each kind but the matched ones; of the column "" the keys themselves are compared.
    """

    column: str
    matched: int
    mismatched: int
    only_here: int
    only_there: int
    examples: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def wrong(self) -> int:
        """How many keys do not match."""
        return self.mismatched + self.only_here + self.only_there


EVERYTHING = Extent()
Splits = Mapping[Dimension, Levels]
Wanted = Mapping[Dimension, Collection[str]]


class Engine(Protocol):
    """An engine: DuckDB in this process, or a cluster."""

    def stop(self, thread: threading.Thread) -> None:
        """Let what a thread counts end with a ``StoppedError``, of which nothing is kept, and wait for it."""

    def levels(self, log: Changed, dimension: Dimension, known: Levels) -> Levels:
        """Which values of a dimension have a slice of their own, and the edges of buckets, once ``log`` is counted."""

    def fold_stream(self, log: Changed, splits: Splits, plan: Plan, extent: Extent = EVERYTHING) -> Folded:
        """Count the changed records of a stream and their columns, by each of the dimensions.

        Of the extent, ``as_of`` and ``closed`` have a meaning.
        """

    def fold_task(
        self,
        task: Task,
        logs: Mapping[str, Changed],
        splits: Splits,
        plan: Plan,
        extent: Extent = EVERYTHING,
        wanted: Wanted | None = None,
    ) -> Folded:
        """Join what changed in the task's streams and count it: taken back as it was, added as it is now.

        ``wanted`` says for each dimension what to count: "" is the task itself, other names its custom metrics.
        Without it, all is counted in all dimensions of ``splits``.
        """

    def joined(
        self, task: Task, logs: Mapping[str, Changed], splits: Splits, extent: Extent = EVERYTHING
    ) -> Iterator[pa.Table]:
        """The joined records themselves, as ``fold.tasks.Joined`` describes them, and the values they are split by."""

    def discrepancies(
        self, here: Changed, there: Changed, columns: Sequence[str], relative: float, absolute: float, examples: int
    ) -> list[Discrepancy]:
        """The newest records of each key in two streams, compared: the keys first, then each column."""

    def usable_labels(self, task: Task, labels: pa.Table) -> list[bool]:
        """Of each record of the label stream, whether the task can take its label; one that is missing, it can."""

    def unusable_labels(self, task: Task, log: Changed, most: int) -> list[tuple[str, int]]:
        """The labels in a log that the task cannot take, the most frequent first: as text, with how many there are."""

    def keys(
        self, log: Changed, dimension: Dimension, levels: Levels, value: Sequence[str | None], extent: Extent
    ) -> pa.Array:
        """The keys of the records that have a value in a dimension, within an extent of time."""
