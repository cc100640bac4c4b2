"""The inputs and outputs of an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from fourfold.errors import ConfigError
from fourfold.fold import KeptSlices, Plan
from fourfold.model import Dimension


class ChangedLog(Protocol):
    """A stream's log between two versions, as Parquet files: kept, added and removed records."""

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

    def dataset(self, files: Sequence[str]) -> pa.dataset.Dataset:
        """Some of the files, at least one, to be read in part."""

    def read(self, files: Sequence[str], columns: Sequence[str], most: int) -> pa.Table | None:
        """Some columns of the records of some of the files; None where there are more than so many."""

    def before_with(self, keys: pa.Array, columns: Sequence[str], most: int | None = None) -> pa.Table | None:
        """Some columns of the earlier records with some keys.

        None if all must be read: they are many (more than ``most``, if given), or no index tells where they are.
        """


class TooSlowError(ConfigError):
    """Users' expressions took too long and were stopped; ``dimension`` is the one they belong to, if known."""

    def __init__(self, message: str, dimension: Dimension | None = None) -> None:
        super().__init__(message)
        self.dimension = dimension


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some records to be added (``sign`` 1) or subtracted (−1).

    ``parts`` holds the values of the dimensions' parts as text: ``slice_I_J`` is part J of dimension I. A task's
    joined records are as in ``fold.tasks.Joined``; ``paired`` are those of two versions.
    """

    sign: int
    records: pa.Table
    parts: pa.Table
    paired: bool = False


@dataclasses.dataclass(frozen=True)
class Folded:
    """Signed counts by hour to add to the state, and the plan with the choices made on the way."""

    counts: pa.Table
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Extent:
    """A selection of joined records: by keys, as known at a moment, in a range of time.

    With ``keys``, the joined records also name their records in the logs, by log time, batch and row
    (``prediction_id``, ``label_id``, ``outcome_id``). ``piece`` (i of n) selects the keys whose hash is i modulo n.
    ``as_of``, ``start`` and ``end`` are in microseconds since 1970, the first a log time, the others prediction times.
    Predictions before ``closed``, and labels that may be theirs, keep their counts.
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

    ``examples`` are keys of each kind except the matched ones; the column "" compares the keys themselves.
    """

    column: str
    matched: int
    mismatched: int
    only_current: int
    only_reference: int
    examples: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def wrong(self) -> int:
        """The number of keys that do not match."""
        return self.mismatched + self.only_current + self.only_reference


WHOLE = Extent()
Splits = Mapping[Dimension, KeptSlices]
Wanted = Mapping[Dimension, Collection[str]]
