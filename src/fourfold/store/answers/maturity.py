"""What windows can still expect: which are settled, and the share of labels that is awaited."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fourfold.counts import Counts
from fourfold.metrics.maturity import LabelCurve, kaplan_meier
from fourfold.model import DAY, EVERYTHING, Status, Value, Window
from fourfold.store.answers.asked import Asked
from fourfold.store.read import Place, load
from fourfold.store.source import Source

_HISTORY = 5  # horizons before now, from which it is learned how late labels are
_ENOUGH = 30  # labels of a slice, from which on it has a curve of its own


class Maturity:
    """What a task's windows can still expect, worked out for those that are not settled."""

    def __init__(self, asked: Asked) -> None:
        self._asked, self._clock = asked, asked.clock()
        task = asked.target.task
        self._settled_until = 2**62 if task is None else (self._clock or 0) - task.horizon
        self._awaited: dict[Place, float] | None = None
        progress = asked.store.progress(asked.target.owner) if asked.as_of is None else {}
        counting = [share for cell, share in progress.items() if cell.dimension.names in ((), asked.names)]
        self._counting = f"being counted from the start: {min(counting):.0%} done" if counting else ""

    def of(self, value: Value, window: Window, place: Place) -> Value:
        """The value, provisional while labels can still come (they may until the horizon is over)."""
        if self._counting:
            reason = "; ".join(filter(None, (value.reason, self._counting)))
            return dataclasses.replace(value, reason=reason, status=_provisional(value))
        if value.coverage is None or value.coverage == 1.0 or window.end <= self._settled_until:
            return value
        if self._awaited is None:
            self._awaited = self._work_out()
        return dataclasses.replace(value, status=_provisional(value), awaited=self._awaited.get(place))

    def _work_out(self) -> dict[Place, float]:
        """The share of each window's and slice's predictions whose label is still expected."""
        task = self._asked.target.task
        assert task is not None
        if self._clock is None:
            return {}
        now = self._clock + DAY
        first = min(now - _HISTORY * task.horizon, self._asked.windows[0].start) // DAY * DAY
        days = [Window(day, day + DAY) for day in range(first, now, DAY)]
        whole = label_curves(self._asked.source, task.kind, (), days, now, task.horizon).get(EVERYTHING)
        names = self._asked.names
        curves = label_curves(self._asked.source, task.kind, names, days, now, task.horizon) if names else {}
        tallies, _ = load(self._asked.source, "", (task.kind,), names, days, DAY, bins=False)
        starts = [w.start for w in self._asked.windows]
        open_: dict[Place, list[tuple[float, int]]] = {}
        predicted: dict[Place, int] = {}
        for (i, key), entry in tallies:
            window = int(np.searchsorted(starts, days[i].start, side="right")) - 1
            if window < 0 or days[i].start >= self._asked.windows[window].end:
                continue
            place = window, key
            predicted[place] = predicted.get(place, 0) + entry.tally("predicted")
            age = now - days[i].start - DAY / 2
            if age < task.horizon:
                open_.setdefault(place, []).append((age, _open(entry)))
        found = dict.fromkeys(predicted, 0.0)
        for place, ages in open_.items():
            curve = curves.get(place[1], whole)
            if curve is not None and predicted[place]:
                table = np.array(ages, np.float64)
                awaited = curve.awaited(table[:, 1], table[:, 0], task.horizon)
                found[place] = float(awaited.sum()) / predicted[place]
        return found


def _provisional(value: Value) -> Status:
    return Status.PROVISIONAL if value.status is Status.SETTLED and value.value is not None else value.status


def label_curves(
    source: Source, kind: str, names: tuple[str, ...], days: Sequence[Window], now: int, horizon: int
) -> dict[str, LabelCurve]:  # fmt: skip
    """How late labels come, by slice, from days of predictions; a slice with few labels has no curve."""
    delays, _ = load(source, "delay", ("numeric",), names, days, DAY)
    tallies, _ = load(source, "", (kind,), names, days, DAY, bins=False)
    came: dict[str, list[tuple[Any, Any]]] = {}
    for (_, key), entry in delays:
        assert entry.binning is not None
        came.setdefault(key, []).append((np.maximum(entry.binning.middles(entry.bins), 0.0), entry.counts))
    still: dict[str, list[tuple[float, float]]] = {}
    for (i, key), entry in tallies:
        still.setdefault(key, []).append((min(now - days[i].start - DAY / 2, horizon), _open(entry)))
    curves = {}
    for key, parts in came.items():
        times, numbers = (np.concatenate([p[side] for p in parts]).astype(np.float64) for side in (0, 1))
        if numbers.sum() >= _ENOUGH or not names:
            censored = np.array(still.get(key, [(0.0, 0.0)]), np.float64)
            curves[key] = kaplan_meier(times, numbers, censored[:, 0], censored[:, 1])
    return curves


def _open(entry: Counts) -> int:
    """Predictions that a label can still come for: neither judged nor judged to be of no use."""
    gone = sum(entry.tally(name) for name in ("labelled", "expired", "invalid_label", "unscored"))
    return max(entry.tally("predicted") - gone, 0)
