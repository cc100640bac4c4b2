"""What a metric is asked of: a task, a stream, or a column of a stream."""

from __future__ import annotations

import dataclasses

from fourfold.errors import FourfoldError, suggest
from fourfold.model import Owner, Task
from fourfold.query.counts import CurrentCounts
from fourfold.query.reader import Reader
from fourfold.state import catalogue


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The target of a metric: the owner of the counts, and the column ("" for records or a task)."""

    kind: str  # "task", "stream" or "column"
    owner: Owner
    column: str = ""
    task: Task | None = None

    @staticmethod
    def of_stream(stream: str, column: str = "") -> Target:
        """A stream, or a column of one, whatever else has that name."""
        return Target("column" if column else "stream", Owner.of_stream(stream), column)

    @property
    def name(self) -> str:
        """As it is called."""
        return f"{self.owner.name}.{self.column}" if self.column else self.owner.name

    @property
    def stream(self) -> str:
        """The stream whose columns are the slices."""
        return self.task.prediction.stream if self.task is not None else self.owner.name


def resolve(reader: Reader, target: str) -> Target:
    """The target that a text names: a task, a stream, or a column of a stream (the longest stream name that fits).

    A component's single output can be left out: "featurize.age" is "featurize.output.age".

    Raises:
        UnknownNameError: nothing has that name; the message lists the known ones.
    """
    tasks = reader.database.recall(catalogue.tasks, reader.project)
    streams = list(reader.database.recall(catalogue.streams, reader.project))
    if target in tasks:
        return Target("task", Owner.of_task(target), task=tasks[target])
    if target in streams:
        return Target.of_stream(target)
    missing: FourfoldError | None = None  # what a column of the longest name would be
    for stream in sorted(streams, key=len, reverse=True):
        if target.startswith(f"{stream}."):
            column = target[len(stream) + 1 :]
            known = columns_of(reader, stream)
            if column in known:
                return Target.of_stream(stream, column)
            if missing is None and not any(other.startswith(f"{stream}.") for other in streams if other != target):
                missing = suggest(f"column of stream {stream!r}", column, sorted(known))
    if missing is not None:
        raise missing
    component, _, column = target.partition(".")
    if column and f"{component}.output" in streams and not column.startswith("output"):
        return resolve(reader, f"{component}.output.{column}")
    raise suggest("task, stream or column", target, [*tasks, *streams])


def columns_of(reader: Reader, stream: str) -> set[str]:
    """The columns of a stream that are counted."""
    return {entry.column for entry in CurrentCounts(reader, Owner.of_stream(stream)).series()} - {""}


def column_of(reader: Reader, stream: str, column: str) -> Target:
    """A column of a stream, both by their whole names.

    Raises:
        UnknownNameError: there is none; the message lists the known ones.
    """
    streams = list(reader.database.recall(catalogue.streams, reader.project))
    if stream not in streams:
        raise suggest("stream", stream, streams)
    known = columns_of(reader, stream)
    if column not in known:
        raise suggest(f"column of stream {stream!r}", column, sorted(known))
    return Target.of_stream(stream, column)
