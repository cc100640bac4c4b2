"""Signals judged bucket by bucket, each by what was known before it, in order."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fourfold.counts.binning import Floats
from fourfold.errors import FourfoldError
from fourfold.model import DAY, EVERYTHING, Finding, Task, Where
from fourfold.query.reader import Reader
from fourfold.state import StateError, bulk, catalogue
from fourfold.watch.detect import Detector, Status, Verdicts
from fourfold.watch.memory import Memory
from fourfold.watch.settings import WatchSettings
from fourfold.watch.signals.columns import ColumnSignals, Signal, anchored, without_anchor
from fourfold.watch.signals.tasks import TaskReadings, TaskSignal, task_readings

logger = logging.getLogger("fourfold")
STREAMS = "streams"
SOURCE = "signals"
_CHUNK = 28  # buckets read at a time
_LONGEST = 730  # buckets of history that a first check judges
_LATE = 2  # buckets by which a stream's newest records may be behind where it is up to date
_SILENT = 30  # buckets after which a silent stream has ended
_DISMISSED = 1.5
_FIRST = 60  # buckets back in which the first data of a column are looked for


@dataclasses.dataclass(frozen=True)
class Step:
    """One judged bucket: its end in event time, and the signals whose change has just become what is normal."""

    end: int
    settled: frozenset[str]


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
    memory.learning.clear()
    waiting = {task.name: _task_readings(reader, task, memory.last.get(_name(task))) for task in tasks}
    days = settings.days * (1 + len(tasks))  # the promise is the store's, and its detectors share it
    streams = _streams(reader, memory, settings, days, now, dismissed)
    step = next(streams, None)
    while step is not None or any(waiting.values()):
        ahead = [readings[0].bucket + DAY for readings in waiting.values() if readings]
        if step is not None and step.end <= min(ahead, default=step.end):
            yield step
            step = next(streams, None)
            continue
        for task in tasks:
            queue = waiting[task.name]
            if queue and queue[0].bucket + DAY == min(ahead):
                yield _judge_task(task, queue.pop(0), memory, settings, days, dismissed)


def _task_readings(reader: Reader, task: Task, after: int | None) -> list[TaskReadings]:
    """The mature buckets of a task; none if it cannot be answered, which its failure says elsewhere."""
    try:
        return list(task_readings(reader, task, after))
    except StateError:
        raise
    except FourfoldError as error:
        logger.warning("watching task %s: %s", task.name, error)
        return []


def _least(signals: Sequence[Signal] | Sequence[TaskSignal], dismissed: Mapping[str, int]) -> Floats:
    """The smallest changes that matter; half as much again for each time that a user has dismissed one."""
    return np.array([signal.measure.least * _DISMISSED ** dismissed.get(signal.key, 0) for signal in signals])


def _name(task: Task) -> str:
    return f"task {task.name}"


def _detector(memory: Memory, name: str, settings: WatchSettings, days: float) -> Detector:
    detector = memory.detectors.setdefault(name, Detector(DAY, days=days, settle=settings.settle))
    detector.days, detector.settle = days, settings.settle
    return detector


def _judge_task(
    task: Task,
    readings: TaskReadings,
    memory: Memory,
    settings: WatchSettings,
    days: float,
    dismissed: Mapping[str, int],
) -> Step:
    detector = _detector(memory, _name(task), settings, days)
    keys = [signal.key for signal in readings.signals]
    verdicts = detector.judge(
        readings.bucket,
        keys,
        readings.values,
        readings.noise,
        _least(readings.signals, dismissed),
        np.array([signal.measure.side for signal in readings.signals]),
        [f"{task.name} {signal.measure.name}" for signal in readings.signals],
    )
    memory.last[_name(task)] = readings.bucket
    _learning(memory, _name(task), verdicts)
    places = [Where(task=task.name, slice=_slice(signal)) for signal in readings.signals]
    return _step(memory, readings.bucket, keys, readings.signals, places, readings.values, readings.n, verdicts)


def _streams(
    reader: Reader, memory: Memory, settings: WatchSettings, days: float, now: float, dismissed: Mapping[str, int]
) -> Iterator[Step]:
    with reader.database.read() as connection:
        found = bulk.of_streams(connection, reader.project)
        filled = bulk.buckets(connection, reader.project, DAY)
        newest = {o.name: bucket for o, bucket in bulk.newest(connection, reader.project, DAY).items()}
        oldest = {o.name: bucket for o, bucket in bulk.newest(connection, reader.project, DAY, first=True).items()}
        owners = dict.fromkeys(owner for owner, _ in found)
        plans = {owner: catalogue.plan(connection, reader.project, owner).by_version() for owner in owners}
    if not filled:
        return
    logs = {owner.name for owner in owners if reader.log(owner.name).version is not None}
    today = int(now) // DAY * DAY
    up_to_date = {name for name in logs if today - (_LATE + 1) * DAY <= newest[name] <= today}
    memory.live = {n for n in memory.live if n in logs and newest[n] >= today - _SILENT * DAY} | up_to_date
    limit = today - DAY if all(newest[name] >= today for name in memory.live) else today - 2 * DAY
    last = limit if memory.live else min(limit, filled[-1])
    # the newest bucket of a stream that has ended may be cut off
    spans = {name: (oldest[name], last if name in memory.live else newest[name] - DAY) for name in newest}
    detector = _detector(memory, STREAMS, settings, days)
    after = memory.last.get(STREAMS, filled[0] - DAY)
    for chunk in _chunks([bucket for bucket in _without_gaps(filled, last) if after < bucket <= last]):
        with reader.database.read() as connection:
            stored = bulk.select(connection, reader.project, DAY, chunk[0], chunk[-1] + DAY)
            if new := without_anchor(found, memory.anchors):
                ids = {series.id for _, series in new}
                early = chunk[0] - _FIRST * DAY
                data = bulk.select(connection, reader.project, DAY, early, chunk[-1] + DAY, ids)
                anchored(new, data, plans, memory.anchors, chunk[0])
        signals = ColumnSignals(found, stored, chunk, spans, logs, plans, memory.anchors)
        places = [_place(signal, memory.loggers) for signal in signals.signals]
        keys = [signal.key for signal in signals.signals]
        families = [_family(signal) for signal in signals.signals]
        least = _least(signals.signals, dismissed)
        side = np.array([signal.measure.side for signal in signals.signals])
        gone = {key for key in memory.firing if key.startswith('["stream"')} - set(keys)  # compared anew since
        for key in gone:
            memory.firing.pop(key)
        for t, bucket in enumerate(chunk):
            readings = signals.readings(t)
            verdicts = detector.judge(bucket, keys, readings.values, readings.noise, least, side, families)
            signals.learn(t, verdicts.status == Status.CHANGED, verdicts.status == Status.SETTLED)
            memory.last[STREAMS] = bucket
            _learning(memory, STREAMS, verdicts)
            step = _step(memory, bucket, keys, signals.signals, places, readings.values, readings.n, verdicts)
            yield dataclasses.replace(step, settled=step.settled | gone)
        signals.keep()


def _without_gaps(filled: Sequence[int], last: int) -> list[int]:
    """The newest buckets with records and those between them, but for the gaps that are long."""
    found = [filled[0]]
    for bucket in (*filled[1:], *([last] if last > filled[-1] else [])):
        if bucket - found[-1] <= _SILENT * DAY:
            found += range(found[-1] + DAY, bucket, DAY)
        found.append(bucket)
    return found[-_LONGEST:]


def _chunks(buckets: Sequence[int]) -> Iterator[list[int]]:
    """The buckets in pieces without gaps, each at most ``_CHUNK`` long."""
    piece: list[int] = []
    for bucket in buckets:
        if piece and (bucket - piece[-1] != DAY or len(piece) == _CHUNK):
            yield piece
            piece = []
        piece.append(bucket)
    if piece:
        yield piece


def _learning(memory: Memory, name: str, verdicts: Verdicts) -> None:
    """How much of its history a detector has, for the series that has least of it but is not new."""
    short = verdicts.seen < verdicts.needed
    if short.any():
        memory.learning[name] = int(verdicts.seen[short].max()), int(verdicts.needed[short].max())


def _step(
    memory: Memory,
    bucket: int,
    keys: Sequence[str],
    signals: Sequence[Signal] | Sequence[TaskSignal],
    places: Sequence[Where],
    values: Floats,
    n: Floats,
    verdicts: Verdicts,
) -> Step:
    settled = set()
    for j in np.flatnonzero(verdicts.status == Status.SETTLED).tolist():
        settled.add(keys[j])
    changed = np.flatnonzero((verdicts.status == Status.CHANGED) & np.isfinite(values)).tolist()
    for j in changed:
        if keys[j] not in memory.firing or _is_outside(j, values, verdicts):
            memory.firing[keys[j]] = _finding(signals[j], places[j], bucket, j, values, n, verdicts)
    place = {key: j for j, key in enumerate(keys)} if memory.firing else {}
    for key in [key for key in memory.firing if key in place]:
        j = place[key]
        if key in settled or (np.isfinite(values[j]) and verdicts.status[j] != Status.CHANGED):
            memory.firing.pop(key)
    return Step(bucket + DAY, frozenset(settled))


def _is_outside(j: int, values: Floats, verdicts: Verdicts) -> bool:
    """Whether a value is unusual by itself, and not just part of a change that is not over yet."""
    return not verdicts.low[j] <= values[j] <= verdicts.high[j]


def _finding(
    signal: Signal | TaskSignal, where: Where, bucket: int, j: int, values: Floats, n: Floats, verdicts: Verdicts
) -> Finding:
    measure = signal.measure
    value, expected, *limits = (
        measure.scale.back(float(x)) for x in (values[j], verdicts.expected[j], verdicts.low[j], verdicts.high[j])
    )
    return Finding(
        series=signal.key, kind=measure.kind, what=measure.words(value, expected), group=measure.group,
        severity=measure.severity, where=where, began=float(verdicts.began[j]),
        began_low=float(verdicts.began_low[j]), began_high=float(verdicts.began_high[j] + DAY),
        seen=float(bucket + DAY), value=value, expected=expected, low=limits[0], high=limits[1],
        n=int(n[j]) if np.isfinite(n[j]) else 0, weight=1 + max(float(verdicts.evidence[j]), 0.0) / 10,
        advice=measure.advice, source=SOURCE,
    )  # fmt: skip


def _place(signal: Signal, loggers: Mapping[str, str]) -> Where:
    return Where(loggers.get(signal.stream, ""), signal.stream, signal.column, slice=_slice(signal))


def _family(signal: Signal) -> str:
    return f"{signal.stream} {signal.measure.name} {signal.slice == EVERYTHING}"


def _slice(signal: Signal | TaskSignal) -> str:
    return "" if signal.slice == EVERYTHING else signal.slice
