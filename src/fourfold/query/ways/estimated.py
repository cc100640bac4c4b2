"""A metric as expected once all labels are in, and the errors of such estimates.

An estimate uses *settled* days, for which no more labels can come: the horizon is over, or every prediction of the day
has its label. The estimate of a window uses the earlier days that were settled when the window ended, and so can be
compared with the final value.

Past errors beyond sampling noise widen the next interval: the mean of error² − variance, which without drift is about
zero (the between-study variance of DerSimonian & Laird, Controlled Clinical Trials 7 (1986), 177–188, with equal
weights).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fourfold.counts import Counts
from fourfold.counts.binning import Ints
from fourfold.errors import InputError
from fourfold.metrics import estimate
from fourfold.metrics.intervals import Z, student_point
from fourfold.metrics.tasks import covered, noted
from fourfold.model import DAY, EVERYTHING, Status, Task, Value, Window
from fourfold.query.counts import EVER, by_window, of_dimension, pooled
from fourfold.query.result import Result
from fourfold.query.ways.maturity import unanswered
from fourfold.query.ways.query import Query
from fourfold.query.ways.rows import rows

_PAST = 8  # earlier estimates that are compared with their final values
_LEARN = 300  # settled labels from which on a slice is estimated from itself


def estimated(query: Query, *, error: bool) -> Result:
    """The metric as expected once all labels are in; or, for settled windows, the error of the estimate."""
    task, question = query.target.task, query.question
    if task is None or task.kind not in estimate.KINDS_OF_TASK or question.metric.series or question.metric.curve:
        raise InputError(
            f"estimate= is for metrics of {', '.join(estimate.KINDS_OF_TASK)} tasks that use the whole task, "
            f"not for {question.text} of {query.target.owner}"
        )
    found, slices = by_window(query.source, "", (task.kind,), query.names, query.windows, query.level)
    estimates = _Estimates(query, task)
    answer = estimates.error_of if error else estimates.of
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is said to, by the metric
        answers = {(i, key): noted(answer(key, i, entry), entry) for (i, key), entry in found}
    return rows(query, answers, slices)


class _Error(NamedTuple):
    """An estimate's error, and the variance that its interval stated."""

    off: float
    variance: float


def _drift(past: Sequence[_Error]) -> float:
    """The standard deviation of estimates' errors beyond sampling noise; the fewer errors, the larger it may be."""
    if not past:
        return 0.0
    beyond = sum(e.off**2 - e.variance for e in past) / len(past)
    return student_point(len(past)) / Z * math.sqrt(max(beyond, 0.0))


class _Estimates:
    """The estimates of a task's metric, and their inputs."""

    def __init__(self, query: Query, task: Task) -> None:
        self._asked, self._task = query, task
        self._residuals = next((b for (column, _), b in query.source.binnings().items() if column == "residual"), None)
        self._settled_until = (query.clock or 0) - task.horizon
        self._before: dict[tuple[tuple[str, ...], tuple[Window, ...]], dict[str, Counts]] = {}
        self._errors: dict[Window, dict[str, _Error]] = {}

    def of(self, key: str, number: int, found: Counts) -> Value:
        """The metric of a slice in a window, with its missing labels estimated."""
        window = self._asked.windows[number]
        if self._is_settled(window, found):
            value: Value = self._asked.of(found)
            return value
        if found.tally("labelled") == 0:
            guess = self._expected(key, window, found)
        else:
            strata = self._strata.get(number) or {key: found}
            guess = estimate.post_stratified(strata, self._task, self._residuals)
        return self._value(guess, found, self._past_errors(key, window))

    def error_of(self, key: str, number: int, found: Counts) -> Value:
        """The error of a settled window's estimate."""
        window = self._asked.windows[number]
        if not self._is_settled(window, found):
            why = "labels can still come: the estimate cannot be checked yet"
            return Value.no_data(why, coverage=covered(found))
        error = self._error(key, window, found)
        if error is None:
            return Value.no_data("no estimate could be made of this window", coverage=covered(found))
        return Value(error.off, n=found.tally("labelled"), coverage=covered(found))

    def _is_settled(self, window: Window, found: Counts) -> bool:
        return window.end <= self._settled_until or not unanswered(found)

    def _value(self, guess: estimate.Estimated, found: Counts, past: Sequence[_Error]) -> Value:
        """The metric of the estimated counts, its interval widened by past estimates' errors."""
        n, coverage = found.tally("labelled"), covered(found)
        missing = 1 - (coverage or 0.0)  # past estimates had no labels at all; here only the missing ones are estimated
        value = estimate.value(guess, self._asked.of, missing * _drift(past))
        reason = guess.reason
        if value.value is None:
            why = value.reason if guess.counts is None else f"{reason}: {value.reason}"
            return Value.no_data(why, n, coverage)
        if past and value.low is not None:
            off = math.sqrt(sum(e.off**2 for e in past) / len(past))
            reason += f"; past estimates of as many were off by {off:.3g}"
        return Value(value.value, value.low, value.high, n, coverage, Status.ESTIMATED, reason)

    def _expected(self, key: str, window: Window, found: Counts) -> estimate.Estimated:
        """The estimate at the end of a window, before any of its labels came."""
        return estimate.expected(found, self._settled(key, window), self._task, self._residuals)

    def _past_errors(self, key: str, window: Window) -> list[_Error]:
        """The errors of estimates of earlier, settled windows of the same length."""
        errors = []
        for past in self._earlier(window.start // DAY * DAY, window.end - window.start):
            if past not in self._errors:
                self._errors[past] = self._errors_of(past)
            errors += [self._errors[past][key]] if key in self._errors[past] else []
        return errors

    def _earlier(self, before: int, length: int) -> list[Window]:
        """The newest windows of a length, in steps of it, whose days are all settled by now."""
        starts, since = self._days
        settled = since <= (self._asked.clock or 0)
        known = starts[settled & (starts < before)]
        if length % DAY or not len(known):
            return []
        found: list[Window] = []
        until = int(known[-1]) + DAY
        while len(found) < _PAST and until > known[0]:
            inside = (starts >= until - length) & (starts < until)
            if inside.any() and settled[inside].all():
                found.append(Window(until - length, until))
            until -= length
        return found

    def _errors_of(self, window: Window) -> dict[str, _Error]:
        """The errors of a settled window's estimates, by slice."""
        found, _ = by_window(self._asked.source, "", (self._task.kind,), self._asked.names, [window], DAY)
        errors = {key: self._error(key, window, entry) for (_, key), entry in found}
        return {key: error for key, error in errors.items() if error is not None}

    def _error(self, key: str, window: Window, found: Counts) -> _Error | None:
        guess, true = estimate.value(self._expected(key, window, found), self._asked.of), self._asked.of(found)
        if guess.value is None or true.value is None:
            return None
        half = (guess.high - guess.low) / 2 if guess.low is not None and guess.high is not None else 0.0
        return _Error(guess.value - true.value, (half / Z) ** 2)

    def _settled(self, key: str, window: Window) -> Counts | None:
        """The settled counts of a slice when a window ended; those of all records if they are few."""
        days = self._settled_days(window)
        total = None
        for names, of in ((self._asked.names, key), ((), EVERYTHING)):
            if (names, days) not in self._before:
                self._before[names, days] = self._total(names, days)
            total = self._before[names, days].get(of)
            if total is not None and total.tally("labelled") >= _LEARN:
                return total
        return total

    def _settled_days(self, window: Window) -> tuple[Window, ...]:
        """The ranges of days before a window that were settled when it ended."""
        starts, since = self._days
        taken = np.concatenate([[False], (since <= window.end) & (starts + DAY <= window.start), [False]])
        first, last = np.flatnonzero(taken[1:-1] & ~taken[:-2]), np.flatnonzero(taken[1:-1] & ~taken[2:])
        return tuple(
            Window(start, end + DAY) for start, end in zip(starts[first].tolist(), starts[last].tolist(), strict=True)
        )

    def _total(self, names: tuple[str, ...], days: Sequence[Window]) -> dict[str, Counts]:
        """The counts of some ranges of days, by slice."""
        parts: dict[str, list[Counts]] = {}
        for stretch in days:
            for (_, key), entry in by_window(self._asked.source, "", (self._task.kind,), names, [stretch], DAY)[0]:
                parts.setdefault(key, []).append(entry)
        return {key: total for key, entries in parts.items() if (total := pooled(entries)) is not None}

    @functools.cached_property
    def _days(self) -> tuple[Ints, Ints]:
        """The days with predictions, and from when on each is settled: its horizon is over, or its labels are there."""
        still: dict[int, int] = {}
        last: dict[int, float] = {}
        for day, entry in self._by_day("", self._task.kind):
            still[day] = still.get(day, 0) + unanswered(entry)
        for day, entry in self._by_day("delay", "numeric"):
            last[day] = max(last.get(day, 0.0), entry.high)
        horizon, days = self._task.horizon, sorted(still)
        late = [horizon if still[day] else math.ceil(min(last.get(day, 0.0), horizon)) for day in days]
        starts = np.array(days, np.int64)
        return starts, starts + DAY + np.array(late, np.int64)

    def _by_day(self, column: str, kind: str) -> Iterator[tuple[int, Counts]]:
        """The tallies of all records, by day."""
        source = self._asked.source
        wanted = of_dimension([row for row in source.series() if row[1:3] == (column, kind)], ())
        if wanted:
            for (day, _), entry in source.panel(wanted, DAY, EVER.start, EVER.end, bins=False):
                yield day, entry

    @functools.cached_property
    def _strata(self) -> dict[int, dict[str, Counts]]:
        """The slices to stratify each window's records by: those whose coverage differs most."""
        best: dict[int, tuple[float, dict[str, Counts]]] = {}
        for dimension in self._task.slices if not self._asked.names else ():
            found, _ = by_window(
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
