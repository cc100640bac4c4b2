"""What an engine is asked for, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from fourfold.errors import ConfigError
from fourfold.fold import Levels, Plan
from fourfold.model import Dimension


class ChangedLog(Protocol):
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

    def rows(self) -> int:
        """How many records all its files hold."""

    def read(self, files: Sequence[str], columns: Sequence[str], most: int) -> pa.Table | None:
        """Some columns of the records of some of the files; None where there are more than so many."""

    def before_with(self, keys: pa.Array, columns: Sequence[str]) -> pa.Table | None:
        """Some columns of the records before that have one of some keys.

        None where there is no way but to read all: they are many, or nothing tells where they are.
        """


class TooSlowError(ConfigError):
    """Users' expressions took too long and were stopped; ``dimension`` is the one whose values they make, if known."""

    def __init__(self, message: str, dimension: Dimension | None = None) -> None:
        super().__init__(message)
        self.dimension = dimension


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some records to be counted (``sign`` 1) or taken back (−1).

    ``parts`` holds, as text, what the parts of the dimensions make of each: ``slice_I_J`` is part J of dimension I.
    Of a task's join, the records are as ``fold.tasks.Joined`` describes them; ``paired`` are those of two versions.
    """

    sign: int
    records: pa.Table
    parts: pa.Table
    paired: bool = False


@dataclasses.dataclass(frozen=True)
class Folded:
    """Signed counts by hour to add to what is remembered, and the plan with what was chosen on the way."""

    counts: pa.Table
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Extent:
    """Which joined records are meant, where not all: of some keys, known at a moment, of a stretch of time.

    ``keys`` are those that are meant, and the joined records then say from which records of the logs they are, by log
    time, batch and row (``prediction_id``, ``label_id``, ``outcome_id``). ``piece`` (i of n) takes the keys whose hash
    is i modulo n. ``as_of``, ``start`` and ``end`` are in microseconds since 1970, the first a log time, the others
    prediction times. What happened before ``closed`` is left as it was counted: such predictions, and labels that may
    be theirs.
    """

    piece: tuple[int, int] | None = None
    as_of: int | None = None
    start: int | None = None
    end: int | None = None
    closed: int | None = None
    keys: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Discrepancy:
    """A column of two streams compared by key: how many keys match, differ, or have a value on one side only.

    ``examples`` are keys of each kind but the matched ones; of the column "" the keys themselves are compared.
    """

    column: str
    matched: int
    mismatched: int
    only_current: int
    only_reference: int
    examples: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def wrong(self) -> int:
        """How many keys do not match."""
        return self.mismatched + self.only_current + self.only_reference


EVERYTHING = Extent()
Splits = Mapping[Dimension, Levels]
Wanted = Mapping[Dimension, Collection[str]]
