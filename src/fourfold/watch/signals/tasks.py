"""Tasks as signals: their metrics, overall and by slice, of the buckets whose labels have come."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping

import numpy as np

from fourfold.counts.binning import Floats
from fourfold.model import DAY, EVERYTHING, Owner, Status, Task, Value, slice_key
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.state import series
from fourfold.watch.signals.measures import Measure, Scale, of_task

FEWEST = 20  # records of a bucket from which it is judged
AWAITED = 0.02  # the share of labels still expected up to which a bucket is mature
_RATE, _PLAIN, _RATIO, _DURATION = Scale.RATE, Scale.PLAIN, Scale.RATIO, Scale.DURATION
_LABELS = (("coverage", _PLAIN, 0.05, -1), ("label_delay(0.5)", _DURATION, math.log(1.5), 1))
_OF_KIND: Mapping[str, tuple[tuple[str, Scale, float, int], ...]] = {  # the least change that matters, and harm's side
    "binary": (
        ("accuracy", _RATE, 0.03, -1), ("recall", _RATE, 0.05, -1), ("precision", _RATE, 0.05, -1),
        ("roc_auc", _PLAIN, 0.02, -1), ("brier_score_loss", _PLAIN, 0.01, 1), ("base_rate", _RATE, 0.05, 0),
    ),
    "multiclass": (("accuracy", _RATE, 0.03, -1), ("f1", _PLAIN, 0.03, -1)),
    "multilabel": (("f1", _PLAIN, 0.03, -1), ("precision", _PLAIN, 0.03, -1), ("recall", _PLAIN, 0.03, -1)),
    "regression": (
        ("mean_absolute_error", _RATIO, math.log(1.1), 1), ("root_mean_squared_error", _RATIO, math.log(1.15), 1),
    ),
    "ranking": (
        ("ndcg({k})", _PLAIN, 0.02, -1), ("mean_reciprocal_rank", _PLAIN, 0.02, -1), ("hit_rate({k})", _RATE, 0.03, -1),
    ),
    "decision": (("override_rate", _RATE, 0.04, 0), ("agreement", _RATE, 0.04, -1)),
}  # fmt: skip
_BY_SLICE = ("coverage", "label_delay(0.5)", "accuracy", "recall", "mean_absolute_error", "f1", "override_rate")


@dataclasses.dataclass(frozen=True, slots=True)
class TaskSignal:
    """A metric of a task, in one slice."""

    task: str
    slice: str
    measure: Measure

    @property
    def key(self) -> str:
        """Its identity, the same in each check."""
        return json.dumps(["task", self.task, self.slice, self.measure.name], ensure_ascii=False)


@dataclasses.dataclass(frozen=True, slots=True)
class TaskReadings:
    """One mature bucket of a task's signals; see ``columns.Readings``."""

    bucket: int
    signals: tuple[TaskSignal, ...]
    values: Floats
    noise: Floats
    n: Floats


def measures_of(task: Task) -> list[Measure]:
    """What is judged of a task."""
    k = max(task.cutoffs, default=0)
    return [
        of_task(name.format(k=k), scale, least, side) for name, scale, least, side in (*_LABELS, *_OF_KIND[task.kind])
    ]


def task_readings(reader: Reader, task: Task, after: int | None) -> Iterator[TaskReadings]:
    """The mature buckets of a task that begin after a moment (None: all), in order, up to the first immature one.

    A bucket is mature when its horizon is over, or when hardly a label is still expected by the delays of labels so
    far. So a metric that moves because other labels have come is not judged.
    """
    with reader.database.read() as connection:
        span = series.span(connection, reader.project, Owner.of_task(task.name), DAY)
    if span is None or reader.failure(Owner.of_task(task.name), ()) is not None:
        return
    start = span[0] if after is None else after + DAY
    if start > span[1]:
        return
    found: dict[int, dict[tuple[str, str], Value]] = {}
    for names in ((), *(d.names for d in task.slices if reader.failure(Owner.of_task(task.name), d.names) is None)):
        for measure in measures_of(task):
            if names and measure.name not in _BY_SLICE:
                continue
            answer = metric(reader, task.name, measure.name, start=start, end=span[1] + DAY, by=names, every="1d")
            for row in answer:
                place = (measure.name, slice_key(row.slice) if names else EVERYTHING)
                found.setdefault(row.window.start, {})[place] = row.value
    by_name = {measure.name: measure for measure in measures_of(task)}
    for bucket in sorted(found):
        values = found[bucket]
        is_over = bucket + task.horizon <= span[1]  # predictions have gone on for so long; labels may have stopped
        if not is_over and not _is_mature(values["coverage", EVERYTHING]):
            return
        yield _readings(task, bucket, values, by_name)


def _is_mature(coverage: Value) -> bool:
    if coverage.status is Status.NO_DATA:  # no predictions: nothing to wait for
        return True
    return coverage.status is Status.SETTLED or (
        coverage.expected_labels is not None and coverage.expected_labels <= AWAITED
    )


def _readings(
    task: Task, bucket: int, found: Mapping[tuple[str, str], Value], by_name: Mapping[str, Measure]
) -> TaskReadings:
    signals = tuple(TaskSignal(task.name, slice_, by_name[name]) for name, slice_ in found)
    judged = np.array(
        [_judged(value, signal.measure.scale) for signal, value in zip(signals, found.values(), strict=True)]
    )
    values, noise = judged.reshape(-1, 2).T
    return TaskReadings(bucket, signals, values, noise, np.array([value.n for value in found.values()], np.float64))


def _judged(value: Value, scale: Scale) -> tuple[float, float]:
    """The working value, and its variance from the 95 % interval."""
    if value.value is None or value.n < FEWEST:
        return math.nan, math.nan
    low = value.value if value.low is None else value.low
    high = value.value if value.high is None else value.high
    middle, lower, upper = (_forward(x, scale) for x in (value.value, low, high))
    if not all(map(math.isfinite, (middle, lower, upper))):
        return math.nan, math.nan
    return middle, max(((upper - lower) / 3.92) ** 2, 1e-12)


def _forward(value: float, scale: Scale) -> float:
    match scale:
        case Scale.RATE:
            return math.asin(math.sqrt(min(max(value, 0.0), 1.0)))
        case Scale.RATIO:
            return math.log(value) if value > 0 else math.nan
        case Scale.DURATION:
            return math.log1p(max(value, 0.0))
    return value
