"""Tasks with their main metrics, over time and by slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from fourfold import metrics
from fourfold.charts import Curve, Line
from fourfold.model import DAY, Dimension, Owner, Task, Value
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.query.table import Table
from fourfold.reports.slices import SliceView, strongest
from fourfold.reports.streams import streams
from fourfold.state import catalogue, series

_FEWEST = 2  # windows that make a chart
_EVERY = (("1d", DAY), ("1w", 7 * DAY), ("2w", 14 * DAY), ("4w", 28 * DAY), ("13w", 91 * DAY))


@dataclasses.dataclass(frozen=True, slots=True)
class DimensionView:
    """The slices of a task by one dimension; if there are many, those that differ most from the whole.

    ``left_out`` is the number of slices not shown.
    """

    dimension: str
    slices: tuple[SliceView, ...]
    left_out: int


@dataclasses.dataclass(frozen=True, slots=True)
class TaskView:
    """A task's main metrics: over all records, over time, and by each slice column.

    ``history`` holds each metric's values over windows of length ``every``, which start at ``times``.
    """

    task: Task
    every: str
    values: Mapping[str, Value]
    history: Mapping[str, Sequence[Value]]
    by_slice: tuple[DimensionView, ...]
    times: tuple[int, ...] = ()

    @property
    def chart(self) -> Line | None:
        """The first of the main metrics over time; None without time to show."""
        name = next(iter(self.history), "")
        if len(self.times) < _FEWEST:
            return None
        values = self.history[name]
        middle, low, high = ([getattr(value, end) for value in values] for end in ("value", "low", "high"))
        times = [float(start) for start in self.times]
        return Line(f"{name} of {self.task.name}, each {self.every}", times, [Curve(name, middle, low, high)])


def tasks(reader: Reader) -> Table[TaskView]:
    """All tasks with their main metrics."""
    with reader.database.read() as connection:
        known = catalogue.tasks(connection, reader.project)
        spans = {name: series.span(connection, reader.project, Owner.of_task(name), DAY) for name in known}
    return Table([_of_task(reader, task, spans[name]) for name, task in known.items()], _columns)


def _columns(view: TaskView) -> dict[str, object]:
    """A task's row in the table: its definition and main metrics."""
    task = view.task
    values = {name: value.value for name, value in view.values.items()}
    return {"task": task.name, "kind": task.kind, "prediction": task.prediction, "label": task.label, **values}


def _of_task(reader: Reader, task: Task, span: tuple[int, int] | None) -> TaskView:
    first, last = span or (0, 0)
    every = next(e for e, length in _EVERY if (last - first) / length <= 31 or e == _EVERY[-1][0])
    names = headlines(task)
    values = {name: metric(reader, task.name, name)[0].value for name in names}
    over_time = {name: metric(reader, task.name, name, every=every) for name in names}
    history = {name: [row.value for row in rows] for name, rows in over_time.items()}
    times = tuple(row.window.start for row in over_time[names[0]])
    dimensions = task.dimensions if span is not None else ()
    by_slice = tuple(_by_slice(reader, task, dimension, values) for dimension in dimensions)
    return TaskView(task, every, values, history, by_slice, times)


def _by_slice(reader: Reader, task: Task, dimension: Dimension, whole: Mapping[str, Value]) -> DimensionView:
    results = {name: metric(reader, task.name, name, by=dimension.names) for name in whole}
    slices = [
        SliceView(" × ".join(map(str, row.slice.values())), {name: results[name][i].value for name in whole})
        for i, row in enumerate(results["coverage"])
    ]
    shown = strongest(slices, whole)
    return DimensionView(str(dimension), tuple(shown), len(slices) - len(shown))


def headlines(task: Task) -> tuple[str, ...]:
    """The main metrics of a task."""
    return tuple(metrics.headlines(task.kind, max(task.cutoffs, default=0)))


def targets(reader: Reader) -> list[tuple[str, str, str | None]]:
    """All targets of metrics: kind, target, and a task's kind."""
    with reader.database.read() as connection:
        tasks = catalogue.tasks(connection, reader.project)
    known: list[tuple[str, str, str | None]] = [("task", name, task.kind) for name, task in tasks.items()]
    for view in streams(reader):
        known.append(("stream", view.name, None))
        known += [("column", f"{view.name}.{column}", None) for column, _ in view.columns]
    return known
