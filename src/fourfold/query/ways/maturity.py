"""Which windows are settled, and the share of predictions whose label is still expected."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from fourfold.counts import Counts
from fourfold.metrics.maturity import LabelCurve, kaplan_meier
from fourfold.model import DAY, EVERYTHING, HOUR, Status, Value, Window
from fourfold.query.counts import OwnerCounts, Place, by_window, number_of
from fourfold.query.ways.query import Query
from fourfold.query.windows import OLDER, is_older

_HISTORY = 5  # recent horizons from which label delays are learned
_BY_HOUR = 10 * DAY  # horizons up to which delays are measured by the hour, not by the day
_ENOUGH = 30  # labels from which on a slice has its own curve


class Maturity:
    """The labels that a task's unsettled windows can still expect."""

    def __init__(self, query: Query) -> None:
        self._asked, self._clock = query, query.clock
        task = query.target.task
        self._settled_until = 2**62 if task is None else (self._clock or 0) - task.horizon
        self._awaited: dict[Place, float] | None = None
        progress = query.reader.progress(query.target.owner) if query.as_of is None else {}
        counting = [share for job, share in progress.items() if job.dimension.names in ((), query.names)]
        self._counting = f"being counted from the start: {min(counting):.0%} done" if counting else ""
        if not counting and query.reader.standing.behind and query.as_of is None:
            self._counting = "sent records are not counted yet"

    def of(self, value: Value, window: Window, place: Place) -> Value:
        """The value, provisional while labels can still come (they may until the horizon is over)."""
        if value.value is None and is_older(self._asked.source, window, self._asked.level):
            return dataclasses.replace(value, reason=OLDER)
        if self._counting:
            reason = "; ".join(filter(None, (value.reason, self._counting)))
            return dataclasses.replace(value, reason=reason, status=_provisional(value))
        if value.coverage is None or value.coverage == 1.0 or window.end <= self._settled_until:
            return value
        if self._awaited is None:
            self._awaited = self._work_out()
        return dataclasses.replace(value, status=_provisional(value), expected_labels=self._awaited.get(place))

    def _work_out(self) -> dict[Place, float]:
        """The share of each window's and slice's predictions whose label is still expected."""
        query, task = self._asked, self._asked.target.task
        if task is None or self._clock is None:
            return {}
        now = self._clock + HOUR
        step = HOUR if query.level == HOUR else _step(task.horizon)
        _, newest = query.source.span(step) or (0, 0)
        first = max(now - task.horizon, query.windows[0].start) // step * step
        steps = [Window(at, at + step) for at in range(first, min(newest + step, query.windows[-1].end), step)]
        if not steps:
            return {}
        whole = self._curves((), now).get(EVERYTHING)
        curves = self._curves(query.names, now) if query.names else {}
        places = number_of(query.windows, np.array([s.start for s in steps]))
        waiting: dict[Place, list[tuple[float, int]]] = {}
        for (i, key), entry in by_window(query.source, "", (task.kind,), query.names, steps, step, bins=False)[0]:
            waiting.setdefault((int(places[i]), key), []).append((_age(steps[i], now), unanswered(entry)))
        found = {}
        judged, _ = by_window(query.source, "", (task.kind,), query.names, query.windows, query.level, bins=False)
        for place, entry in judged:
            curve, awaited = curves.get(place[1], whole), 0.0
            if curve is None or not entry.tally("predicted"):
                continue
            if place in waiting:
                ages, numbers = np.array(waiting[place], np.float64).T
                awaited = float(curve.awaited(numbers, ages, task.horizon).sum())
            found[place] = awaited / entry.tally("predicted")
        return found

    def _curves(self, names: tuple[str, ...], now: int) -> dict[str, LabelCurve]:
        """The delays of recent labels, by slice; the same for all metrics of a task."""
        query, task = self._asked, self._asked.target.task
        assert task is not None
        work = functools.partial(label_curves, query.source, task.kind, names, now, task.horizon)
        if query.as_of is not None:
            return work()
        return query.reader.database.remember((label_curves, query.target.owner, query.where, *work.args[1:]), work)


def _provisional(value: Value) -> Status:
    return Status.PROVISIONAL if value.status is Status.SETTLED and value.value is not None else value.status


def label_curves(
    source: OwnerCounts, kind: str, names: tuple[str, ...], now: int, horizon: int
) -> dict[str, LabelCurve]:
    """The delays of labels in the last horizons, by slice; a slice with few labels has no curve."""
    step = _step(horizon)
    first = (now - _HISTORY * horizon) // step * step
    delays, _ = by_window(source, "delay", ("numeric",), names, [Window(first, now)], step)
    steps = [Window(at, at + step) for at in range(first, now, step)]
    still: dict[str, list[tuple[float, float]]] = {}
    for (i, key), entry in by_window(source, "", (kind,), names, steps, step, bins=False)[0]:
        still.setdefault(key, []).append((min(_age(steps[i], now), horizon), unanswered(entry)))
    curves = {}
    for (_, key), entry in delays:
        if entry.binning is not None and (entry.counts.sum() >= _ENOUGH or not names):
            times = np.maximum(entry.binning.middles(entry.bins), 0.0)
            censored = np.array(still.get(key, [(0.0, 0.0)]), np.float64)
            curves[key] = kaplan_meier(times, entry.counts.astype(np.float64), censored[:, 0], censored[:, 1])
    return curves


def _step(horizon: int) -> int:
    return HOUR if horizon <= _BY_HOUR else DAY


def _age(window: Window, now: int) -> float:
    """The mean age of a window's predictions at the newest label."""
    return max(now - (window.start + window.end) / 2, 0.0)


def unanswered(entry: Counts) -> int:
    """Predictions whose label can still come: neither labelled nor with an unusable label."""
    gone = sum(entry.tally(name) for name in ("labelled", "expired", "invalid_label", "unscored"))
    return max(entry.tally("predicted") - gone, 0)
