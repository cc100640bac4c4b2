"""What an engine is."""

from __future__ import annotations

import abc
import threading
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from fourfold.engine.protocol import WHOLE, ChangedLog, Discrepancy, Extent, Folded, Splits, Wanted
from fourfold.fold import KeptSlices, Plan
from fourfold.model import Dimension, Task


class Engine(abc.ABC):
    """An engine: DuckDB in this process, or a cluster. Each gives the same integer counts for the same log.

    ``piece_rows`` is how many records of a first count are counted in one piece.
    """

    piece_rows = 1_000_000

    @abc.abstractmethod
    def stop(self, thread: threading.Thread) -> None:
        """Stop a thread's count with a ``StoppedError``, discarding its results, and wait for it."""

    @abc.abstractmethod
    def kept_slices(self, log: ChangedLog, dimension: Dimension, known: KeptSlices) -> KeptSlices:
        """The values of a dimension that have their own slice, and the bucket edges, once ``log`` is counted."""

    @abc.abstractmethod
    def fold_stream(self, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent = WHOLE) -> Folded:
        """Count the changed records of a stream and their columns, by each of the dimensions.

        Added records are counted, removed ones subtracted, and repetitions of a key counted as such. Of the extent,
        ``as_of`` and ``closed`` have a meaning.
        """

    @abc.abstractmethod
    def fold_task(
        self,
        task: Task,
        logs: Mapping[str, ChangedLog],
        splits: Splits,
        plan: Plan,
        extent: Extent = WHOLE,
        wanted: Wanted | None = None,
    ) -> Folded:
        """Join and count the changes in the task's streams: the old records are subtracted, the new ones added.

        ``wanted`` says what to count in each dimension: "" is the task itself, other names are its custom metrics.
        Without it, everything is counted in all dimensions of ``splits``.
        """

    @abc.abstractmethod
    def joined(
        self, task: Task, logs: Mapping[str, ChangedLog], splits: Splits, extent: Extent = WHOLE
    ) -> Iterator[pa.Table]:
        """The joined records as they are, as ``fold.tasks.Joined`` describes them, with their parts (see ``Batch``)."""

    @abc.abstractmethod
    def discrepancies(
        self,
        here: ChangedLog,
        there: ChangedLog,
        columns: Sequence[str],
        relative: float,
        absolute: float,
        examples: int,
    ) -> list[Discrepancy]:
        """The newest records of each key in two streams, compared: the keys first, then each column."""

    @abc.abstractmethod
    def usable_labels(self, task: Task, labels: pa.Table) -> list[bool]:
        """Whether the task can use the label of each record in the label stream; a missing label counts as usable."""

    @abc.abstractmethod
    def unusable_labels(self, task: Task, log: ChangedLog, most: int) -> list[tuple[str, int]]:
        """The labels in a log that the task cannot use, as text with their number, the most frequent first."""

    @abc.abstractmethod
    def keys(
        self,
        log: ChangedLog,
        dimension: Dimension,
        kept_slices: KeptSlices,
        value: Sequence[str | None],
        extent: Extent,
    ) -> pa.Array:
        """The keys of the records that have a value in a dimension, within an extent of time."""
