"""A metric as it will be once all labels are there, and how far such estimates were off."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from fourfold.counts import Counts
from fourfold.errors import InputError
from fourfold.metrics import estimate
from fourfold.metrics.intervals import Z
from fourfold.metrics.tasks import covered, noted
from fourfold.model import DAY, EVERYTHING, Status, Task, Value, Window
from fourfold.store.answers.asked import Asked
from fourfold.store.answers.rows import rows
from fourfold.store.read import EVER, Place, load
from fourfold.store.result import Result

_PAST = 8  # earlier estimates that are compared with what came true
_LEARN = 300  # labels that are settled, from which on a slice is its own example


def estimated(asked: Asked, *, error: bool) -> Result:
    """The metric as it will be once all labels are there; or, of settled windows, how far the estimate was off."""
    task, question = asked.target.task, asked.question
    if task is None or task.kind not in estimate.KINDS_OF_TASK or question.metric.series or question.metric.curve:
        raise InputError(
            f"estimate= is for metrics of {', '.join(estimate.KINDS_OF_TASK)} tasks that are read off the whole task, "
            f"not for {question.text} of {asked.target.owner}"
        )
    found, slices = load(asked.source, "", (task.kind,), asked.names, asked.windows, asked.level)
    estimates = _Estimates(asked, task)
    answer = estimates.error_of if error else estimates.of
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is said to, by the metric
        answers = {(i, key): noted(answer(key, i, entry), entry) for (i, key), entry in found}
    return rows(asked, answers, slices)


class _Estimates:
    """The estimates of a task's metric, and what they are made of."""

    def __init__(self, asked: Asked, task: Task) -> None:
        self._asked, self._task = asked, task
        self._residuals = next((b for (column, _), b in asked.source.binnings().items() if column == "residual"), None)
        self._settled_until = (asked.clock or 0) - task.horizon
        self._until: dict[tuple[tuple[str, ...], int], dict[Place, Counts]] = {}
        self._errors: dict[Window, dict[str, float]] = {}

    def of(self, key: str, number: int, found: Counts) -> Value:
        """The metric of a slice in a window, of which all labels are there or are estimated."""
        window = self._asked.windows[number]
        labelled = found.tally("labelled")
        if labelled == found.tally("predicted") or window.end <= self._settled_until:
            value: Value = self._asked.of(found)
            return value
        if labelled == 0:
            guess = estimate.expected(found, self._settled(key, window) or found, self._task, self._residuals)
        else:
            strata = self._strata.get(number) or {key: found}
            guess = estimate.post_stratified(strata, self._task, self._residuals)
        return self._value(guess, found, self._past_errors(key, window))

    def error_of(self, key: str, number: int, found: Counts) -> Value:
        """How far the estimate of a settled window was off."""
        window = self._asked.windows[number]
        if window.end > self._settled_until:
            why = "labels can still come: what was estimated cannot be judged yet"
            return Value.no_data(why, coverage=covered(found))
        error = self._error(key, window, found)
        if error is None:
            return Value.no_data("no estimate could be made of this window", coverage=covered(found))
        return Value(error, n=found.tally("labelled"), coverage=covered(found))

    def _value(self, guess: estimate.Estimated, found: Counts, past: Sequence[float]) -> Value:
        """The metric of the counts that were estimated, its interval widened by how far past estimates were off."""
        n, coverage = found.tally("labelled"), covered(found)
        if guess.counts is None:
            return Value.no_data(guess.reason, n, coverage)
        value: Value = self._asked.of(guess.counts)
        if value.value is None:
            return Value.no_data(f"{guess.reason}: {value.reason}", n, coverage)
        low, high, reason = value.low, value.high, guess.reason
        if past and low is not None and high is not None:
            missing = 1 - (coverage or 0.0)  # past estimates were made without any label; here only these are guessed
            off = missing * math.sqrt(sum(e * e for e in past) / len(past))
            low = value.value - math.hypot(value.value - low, Z * off)
            high = value.value + math.hypot(high - value.value, Z * off)
            reason += f"; past estimates of as many were off by {off:.3g}"
        return Value(value.value, low, high, n, coverage, Status.ESTIMATED, reason)

    def _error(self, key: str, window: Window, found: Counts) -> float | None:
        """The estimate that could be made when a window ended, before any of its labels was there, − the truth."""
        settled = self._settled(key, window)
        if settled is None:
            return None
        guess = estimate.expected(found, settled, self._task, self._residuals)
        if guess.counts is None:
            return None
        guessed, true = self._asked.of(guess.counts).value, self._asked.of(found).value
        return None if guessed is None or true is None else guessed - true

    def _past_errors(self, key: str, window: Window) -> list[float]:
        """How far estimates of earlier, settled windows of the same length were from what came true."""
        length = window.end - window.start
        if length % DAY:
            return []
        until = min(window.start, self._settled_until) // DAY * DAY
        earlier = [Window(until - i * length, until - (i - 1) * length) for i in range(_PAST, 0, -1)]
        for past in earlier:
            if past not in self._errors:
                found, _ = load(self._asked.source, "", (self._task.kind,), self._asked.names, [past], DAY)
                errors = {of: self._error(of, past, entry) for (_, of), entry in found}
                self._errors[past] = {of: error for of, error in errors.items() if error is not None}
        return [self._errors[past][key] for past in earlier if key in self._errors[past]]

    def _settled(self, key: str, window: Window) -> Counts | None:
        """What was settled of a slice when a window ended, by the horizon; of all records where that is little."""
        end = (window.end - self._task.horizon) // DAY * DAY
        total = None
        for names, of in ((self._asked.names, key), ((), EVERYTHING)):
            if (names, end) not in self._until:
                found, _ = load(self._asked.source, "", (self._task.kind,), names, [Window(EVER.start, end)], DAY)
                self._until[names, end] = dict(found)
            total = self._until[names, end].get((0, of))
            if total is not None and total.tally("labelled") >= _LEARN:
                return total
        return total

    @functools.cached_property
    def _strata(self) -> dict[int, dict[str, Counts]]:
        """For all records of each window, what to stratify by: the slices whose coverage differs the most."""
        best: dict[int, tuple[float, dict[str, Counts]]] = {}
        for dimension in self._task.slices if not self._asked.names else ():
            found, _ = load(
                self._asked.source, "", (self._task.kind,), dimension.names, self._asked.windows, self._asked.level
            )
            parts: dict[int, dict[str, Counts]] = {}
            for (i, key), entry in found:
                parts.setdefault(i, {})[key] = entry
            for i, slices in parts.items():
                sizes = np.array([[e.tally("labelled"), e.tally("predicted")] for e in slices.values()], np.float64)
                share = sizes[:, 0].sum() / sizes[:, 1].sum()
                spread = float((sizes[:, 1] * (sizes[:, 0] / np.maximum(sizes[:, 1], 1) - share) ** 2).sum())
                if i not in best or spread > best[i][0]:
                    best[i] = spread, slices
        return {i: slices for i, (_, slices) in best.items()}
