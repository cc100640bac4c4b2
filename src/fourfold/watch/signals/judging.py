"""Signals judged bucket by bucket, each by what was known before it, in order."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fourfold.errors import FourfoldError
from fourfold.model import DAY, Task, Where
from fourfold.query.reader import Reader
from fourfold.state import StateError
from fourfold.watch.memory import Memory
from fourfold.watch.settings import WatchSettings
from fourfold.watch.signals.steps import Step, detector_of, least_of, note_learning, slice_of, step_of
from fourfold.watch.signals.streams import DAYS, HOURS, judge_streams
from fourfold.watch.signals.tasks import TaskReadings, task_readings

logger = logging.getLogger("fourfold")


def judge(
    reader: Reader,
    memory: Memory,
    settings: WatchSettings,
    tasks: Sequence[Task],
    now: float,
    dismissed: Mapping[str, int],
) -> Iterator[Step]:
    """Judge all buckets that are complete and were not judged yet; what fires is in the memory after each step.

    ``dismissed`` says how often users have dismissed findings of a series, of which more is asked then.
    """
    days = settings.days * (2 + len(tasks))  # the promise is the store's, and its detectors share it
    streams = [judge_streams(reader, memory, settings, level, days, now, dismissed) for level in (DAYS, HOURS)]
    tasked = [_judge_task(reader, task, memory, settings, days, dismissed) for task in tasks]
    for step in heapq.merge(*streams, *tasked, key=lambda step: step.end):
        memory.firing.update(step.fired)
        for key in step.over:
            memory.firing.pop(key, None)
        yield step


def _task_readings(reader: Reader, task: Task, after: int | None) -> list[TaskReadings]:
    """The mature buckets of a task; none if it cannot be answered, which its failure says elsewhere."""
    try:
        return list(task_readings(reader, task, after))
    except StateError:
        raise
    except FourfoldError as error:
        logger.warning("watching task %s: %s", task.name, error)
        return []


def _name(task: Task) -> str:
    return f"task {task.name}"


def _judge_task(
    reader: Reader,
    task: Task,
    memory: Memory,
    settings: WatchSettings,
    days: float,
    dismissed: Mapping[str, int],
) -> Iterator[Step]:
    name = _name(task)
    for readings in _task_readings(reader, task, memory.last.get(name)):
        detector = detector_of(memory, name, DAY, settings, days)
        signals = readings.signals
        keys = [signal.key for signal in signals]
        verdicts = detector.judge(
            readings.bucket,
            keys,
            readings.values,
            readings.noise,
            least_of(signals, settings, dismissed),
            np.array([signal.measure.side for signal in signals]),
            [f"{task.name} {signal.measure.name}" for signal in signals],
        )
        memory.last[name] = readings.bucket
        note_learning(memory, name, verdicts)
        places = [Where(task=task.name, slice=slice_of(signal)) for signal in signals].__getitem__
        yield step_of(memory, readings.bucket, DAY, keys, signals, places, readings.values, readings.n, verdicts)
