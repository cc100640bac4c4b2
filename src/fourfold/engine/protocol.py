"""What an engine does. Each one gives the same integer counts for the same log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.dataset as pds

from fourfold.fold import Plan
from fourfold.model import Task


class Changed(Protocol):
    """A stream's log between two versions: what was and stays, what was added, what was removed."""

    @property
    def before(self) -> pds.Dataset:
        """The records that were there and still are."""

    @property
    def added(self) -> pds.Dataset:
        """The records that are new."""

    @property
    def removed(self) -> pds.Dataset:
        """The records that are gone."""


@dataclasses.dataclass(frozen=True)
class Folded:
    """Signed counts by hour to add to what is remembered, and the plan with what was chosen on the way."""

    counts: pa.Table
    plan: Plan


class Engine(Protocol):
    """An engine: DuckDB in this process, or a cluster."""

    def fold_stream(self, log: Changed, dimensions: Sequence[str], plan: Plan) -> Folded:
        """Count the changed records of a stream and their columns.

        ``dimensions`` are the slice columns to count by; "" stands for all records.
        """

    def fold_task(self, task: Task, predictions: Changed, labels: Changed, plan: Plan) -> Folded:
        """Join what changed in the two streams and count it: taken back as it was, added as it is now."""
