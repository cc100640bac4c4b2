"""The question about a metric."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from fourfold.counts import Counts
from fourfold.metrics import Question
from fourfold.model import Window
from fourfold.query.counts import OwnerCounts, newest
from fourfold.query.filtered import ALL_RECORDS, Filter
from fourfold.query.reader import Reader
from fourfold.query.target import Target


@dataclasses.dataclass(frozen=True)
class Query:
    """A question with all that its answer needs."""

    reader: Reader
    target: Target
    question: Question
    source: OwnerCounts
    windows: Sequence[Window]
    level: int
    names: tuple[str, ...]
    as_of: int | None  # microseconds
    where: Filter = ALL_RECORDS

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of series to read."""
        metric, task = self.question.metric, self.target.task
        return (task.kind,) if task is not None and not metric.series else metric.kinds

    @property
    def column(self) -> str:
        """The column of the series to read."""
        return self.question.series if self.target.task is not None else self.target.column

    @functools.cached_property
    def clock(self) -> int | None:
        """The newest hour of the labels, by their own event times; None without labels."""
        task = self.target.task
        return None if task is None else newest(self.reader, task.label.stream, self.as_of)

    def of(self, found: Counts, reference: Counts | None = None) -> Any:
        """The metric of some counts; for a curve, its values by name."""
        return self.question.of(found, reference, self.target.task)
