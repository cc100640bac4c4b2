"""What the watch expected of a signal, bucket by bucket, in the signal's own unit: for those who look at it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from fourfold.model import DAY, HOUR
from fourfold.query.reader import Reader
from fourfold.state import catalogue
from fourfold.state import memory as memories
from fourfold.watch.detect import Detector
from fourfold.watch.detect.baseline import MEDIAN_LOSS
from fourfold.watch.detect.spread import usual
from fourfold.watch.histories import DamagedMemoryError
from fourfold.watch.memory import NAME
from fourfold.watch.signals.measures import CATEGORY, NUMERIC, SHARE, STREAM, Measure
from fourfold.watch.signals.streams import DAYS, HOURS
from fourfold.watch.signals.tasks import measures_of

_NORMAL_95 = 1.96
_OF_STREAMS = {measure.name: measure for measure in (*STREAM, SHARE, *NUMERIC, *CATEGORY)}


@dataclasses.dataclass(frozen=True)
class Expected:
    """A signal's newest buckets of ``level`` seconds: its values, and what was expected of each; None: not known."""

    measure: Measure
    level: int
    times: Sequence[int]
    values: Sequence[float | None]
    middle: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


def expected(reader: Reader, key: str) -> Expected | None:
    """What was seen and expected of the signal with this key, such as a finding's ``series``; None for others."""
    place = _place(reader, key)
    if place is None:
        return None
    name, level, measure = place
    detector = reader.recall(_detector, f"{NAME}/{name}")
    row = None if detector is None else detector.history.index.get(key)
    if detector is None or row is None:
        return None
    h = detector.history
    family = np.flatnonzero(h.family == h.family[row])
    error = np.full(len(family), MEDIAN_LOSS / max(min(h.filled, 42), 1))
    spread = usual(h, family, np.full(len(family), measure.least), error, 2 * detector.needed)
    natural = float(spread.natural[np.flatnonzero(family == row)[0]])
    y, middle = h.y[row].astype(np.float64), h.y[row].astype(np.float64) - h.e[row]
    half = _NORMAL_95 * np.sqrt(np.nan_to_num(h.v[row].astype(np.float64)) + natural)
    sides = (y, middle, middle - half, middle + half)
    back = measure.scale.back
    values, middles, low, high = ([back(x) if np.isfinite(x) else None for x in side.tolist()] for side in sides)
    return Expected(measure, level, h.times.tolist(), values, middles, low, high)


def of_column(reader: Reader, stream: str, column: str, slice_: str, measure: str) -> Expected | None:
    """The same of a measure of a column, by the day; it may have begun anew, and then the newest is meant."""
    detector = reader.recall(_detector, f"{NAME}/{DAYS.name}")
    if detector is None:
        return None
    names = ", ".join(json.dumps(text, ensure_ascii=False) for text in (stream, column, slice_, measure))
    start = f'["stream", "day", {names}, '
    for generation in reversed(range(20)):
        if f"{start}{generation}]" in detector.history.index:
            return expected(reader, f"{start}{generation}]")
    return None


def of_task(reader: Reader, task: str, slice_: str, metric: str) -> Expected | None:
    """The same of a task's metric, by the day."""
    return expected(reader, json.dumps(["task", task, slice_, metric], ensure_ascii=False))


def _place(reader: Reader, key: str) -> tuple[str, int, Measure] | None:
    """The detector of a signal, the length of its buckets, and its measure."""
    try:
        parts = json.loads(key)
    except ValueError:
        return None
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts[:6]):
        return None
    if len(parts) == 4 and parts[0] == "task":
        task = reader.recall(catalogue.tasks).get(parts[1])
        measure = next((m for m in measures_of(task) if m.name == parts[3]), None) if task is not None else None
        return None if measure is None else (f"task {parts[1]}", DAY, measure)
    if len(parts) == 7 and parts[0] == "stream" and parts[5] in _OF_STREAMS:
        level = HOURS if parts[1] == "hour" else DAYS
        return level.name, HOUR if level is HOURS else DAY, _OF_STREAMS[parts[5]]
    return None


def _detector(connection: sa.Connection, project: str, name: str) -> Detector | None:
    data = memories.load(connection, project, name)
    try:
        return None if data is None else Detector.from_bytes(data)
    except ValueError as error:
        raise DamagedMemoryError(f"the watch's memory is damaged: {error}") from error
