"""Reads what an objective needs: through ``query.metric`` for tasks, streams and columns; else from runs or rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from fourfold.errors import FourfoldError, InputError
from fourfold.metrics import parse
from fourfold.metrics.intervals import Z, wilson
from fourfold.model import (
    DAY,
    HOUR,
    Objective,
    Owner,
    Value,
    Window,
    slice_key,
)
from fourfold.model.objective import DURATION, FRESHNESS, OF_RUNS, RUNS_GOAL, SLICES_GOAL
from fourfold.query.counts import CurrentCounts
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.query.result import Result
from fourfold.query.target import Target, resolve
from fourfold.state import catalogue
from fourfold.state.objectives import Ended, ended_runs, newest_hour
from fourfold.watch.objectives.budget import Bucket, Tally, summed
from fourfold.watch.objectives.burn import longest
from fourfold.watch.objectives.judge import is_mature
from fourfold.watch.objectives.reading import (
    RATES,
    Reading,
    Sliced,
    grouped,
    is_known,
    is_rate,
    of_value,
    share_goal,
)
from fourfold.watch.objectives.windows import length, window_to

_EVERY = {HOUR: "1h", DAY: "1d"}
_BY_HOUR = 35 * DAY  # the longest window that is judged by hours
_SLICES_BY_DAY = 7 * DAY  # the shortest window whose time slices are days


def read(reader: Reader, objective: Objective, now: float) -> Reading:
    """All that is known of an objective at a moment (seconds since 1970).

    Its window ends with the newest data of its target, or now if that is earlier, so that history which is replayed
    is judged like data that come in. What cannot be read, such as a task that is not declared, is no data.
    """
    try:
        if objective.name_of_metric in OF_RUNS:
            return _of_runs(reader, objective, now)
        if objective.name_of_metric == FRESHNESS:
            return _of_freshness(reader, objective, now)
        return _of_metric(reader, objective, now)
    except FourfoldError as error:
        return _nothing(objective, now, str(error))


def is_by_events(reader: Reader, objective: Objective) -> bool:
    """Whether an objective is judged by events (records, runs), and not by slices of time, as far as is known."""
    if objective.name_of_metric in OF_RUNS:
        return objective.name_of_metric == DURATION or objective.goal is None
    try:
        found = resolve(reader, objective.target)
    except FourfoldError:  # as of a task that is not declared yet
        return objective.goal is None and any(objective.name_of_metric in names for names in RATES.values())
    kind = found.task.kind if found.task is not None else None
    return objective.goal is None and is_rate(objective.name_of_metric, found.kind, kind)


def _nothing(objective: Objective, now: float, reason: str) -> Reading:
    end = int(now) // HOUR * HOUR + HOUR
    window = window_to(objective, end, HOUR)
    nothing = Sliced({}, Value.no_data(reason))
    return Reading(objective, window, end, HOUR, SLICES_GOAL, events=True, slices=[nothing], reason=reason)


def _until(newest: int, now: float, unit: int) -> int:
    """The end of the newest bucket with data, or of the present one."""
    return min(newest // unit * unit, int(now) // unit * unit) + unit


def _of_metric(reader: Reader, objective: Objective, now: float) -> Reading:
    found = resolve(reader, objective.target)
    kind = found.task.kind if found.task is not None else None
    question = parse(objective.metric, found.kind, kind)
    if question.metric.curve:
        raise InputError(f"{objective.expression}: {question.metric.name} has several values; name one metric")
    events = objective.goal is None and is_rate(question.metric.name, found.kind, kind)
    newest = CurrentCounts(reader, Owner.of_stream(found.stream)).span(DAY)
    if newest is None:
        return _nothing(objective, now, f"nothing was logged for {objective.target!r} yet")
    unit, end = _buckets(reader, objective, found, newest[1], now, events=events)
    window = window_to(objective, end, unit)
    ask = functools.partial(metric, reader, objective.target, objective.metric, by=list(objective.by) or None)
    first = min(window.start, end - longest(length(objective), unit))
    values = {slice_key(row.slice): row for row in ask(start=window.start, end=end)}
    rows = []
    for row in ask(start=first, end=end, every=_EVERY[unit]):
        tally, mature = of_value(objective, row.value, events=events, slices=len(values))
        rows.append((row.slice, Bucket(row.window.start, row.window.end, tally, mature)))
    buckets = grouped(rows, slice_key)
    awaited = any(not is_mature(row.value) for row in values.values())
    estimates = _estimates(ask, window, end) if awaited else {}
    slices = [
        Sliced(row.slice, row.value, buckets.get(key, ()), is_known(objective, row.value), estimates.get(key))
        for key, row in values.items()
    ]
    return Reading(objective, window, end, unit, share_goal(objective, events=events), events, slices)


def _buckets(
    reader: Reader, objective: Objective, found: Target, newest_day: int, now: float, *, events: bool
) -> tuple[int, int]:
    """The length of the buckets to judge by, and where they end: hours if all are kept and the window is not long."""
    days = CurrentCounts(reader, found.owner).span(DAY)
    hours = CurrentCounts(reader, found.owner).span(HOUR)
    newest = CurrentCounts(reader, Owner.of_stream(found.stream)).span(HOUR)
    if hours is not None and days is not None and newest is not None:
        end = _until(newest[1], now, HOUR)
        all_kept = hours[0] // DAY * DAY <= days[0]
        short = length(objective) <= (_BY_HOUR if events else _SLICES_BY_DAY - 1)
        if short and (all_kept or hours[0] <= window_to(objective, end, HOUR).start):
            return HOUR, end
    return DAY, _until(newest_day, now, DAY)


def _estimates(ask: Callable[..., Result], window: Window, end: int) -> dict[str, Value]:
    """The metric as expected once all labels are in, by slice; none for metrics that cannot be estimated."""
    try:
        rows = ask(start=window.start, end=end, estimate=True)
    except InputError:
        return {}
    return {slice_key(row.slice): row.value for row in rows}


def _of_runs(reader: Reader, objective: Objective, now: float) -> Reading:
    ended = [run for run in reader.recall(ended_runs, objective.target) if run.at <= now]
    if not ended:
        return _nothing(objective, now, f"no run of component {objective.target!r} has ended yet")
    unit = HOUR if length(objective) <= _BY_HOUR else DAY
    end = _until(int(ended[-1].at), now, unit)
    window = window_to(objective, end, unit)
    first = min(window.start, end - longest(length(objective), unit))
    inside = [run for run in ended if window.start <= run.at < end]
    duration = objective.name_of_metric == DURATION
    if duration:
        ended, inside = ([run for run in several if run.succeeded] for several in (ended, inside))
    by_time: dict[int, list[Ended]] = {}
    for run in ended:
        by_time.setdefault(int(run.at) // unit * unit, []).append(run)
    events = duration or objective.goal is None
    if duration:
        goal = RUNS_GOAL if objective.goal is None else objective.goal
        value = _quantile(sorted(run.seconds for run in inside), goal)
    else:
        goal, value = share_goal(objective, events=events), _success(inside)
    buckets = []
    for at, several in sorted(by_time.items()):
        if first <= at < end:
            if duration:
                good = sum(objective.is_met_by(run.seconds) for run in several)
                tally = Tally(float(good), float(len(several) - good))
            else:
                tally, _ = of_value(objective, _success(several), events=events)
            buckets.append(Bucket(at, at + unit, tally))
    return Reading(objective, window, end, unit, goal, events, [Sliced({}, value, buckets)])


def _success(several: Sequence[Ended]) -> Value:
    n, good = len(several), sum(run.succeeded for run in several)
    return Value(good / n, *wilson(good, n), n) if n else Value.no_data("no run has ended in this window")


def _quantile(seconds: Sequence[float], q: float) -> Value:
    """The q-quantile of some durations, with the interval of the order statistics as in ``metrics.quality``."""
    n = len(seconds)
    if not n:
        return Value.no_data("no run has succeeded in this window")
    half = Z * math.sqrt(n * q * (1 - q))
    value, low, high = (
        seconds[min(max(math.ceil(rank), 1), n) - 1] for rank in (q * n, q * n - half, q * n + half + 1)
    )  # fmt: skip
    return Value(value, min(low, value), max(high, value), n)


def _of_freshness(reader: Reader, objective: Objective, now: float) -> Reading:
    stream = _stream(reader, objective.target)
    source = CurrentCounts(reader, Owner.of_stream(stream))
    days, hours = source.span(DAY), source.span(HOUR)
    if days is None or hours is None:
        return _nothing(objective, now, f"nothing was logged for {stream!r} yet")
    by_hour = objective.bound < 2 * DAY and (
        hours[0] // DAY * DAY <= days[0] or hours[0] <= int(now) - length(objective)
    )
    unit, oldest = (HOUR, hours[0]) if by_hour else (DAY, days[0])
    end = _clock(reader, objective, stream, now, unit)
    window = window_to(objective, end, unit)
    first = max(min(window.start, end - longest(length(objective), unit)), oldest)
    if first >= end:
        return _nothing(objective, now, f"nothing was logged for {stream!r} yet")
    rows = metric(reader, stream, "rows", start=first, end=end, every=_EVERY[unit])
    buckets, newest, age = [], None, math.inf
    for row in rows:
        newest = row.window.end if row.value.value else newest
        if newest is None:  # before the first record that is read
            continue
        age = float(row.window.end - newest)
        good = objective.is_met_by(age)
        buckets.append(Bucket(row.window.start, row.window.end, Tally(float(good), float(not good))))
    goal = SLICES_GOAL if objective.goal is None else objective.goal
    n = int(summed(buckets).total)
    value = Value(age, age, age, n) if n else Value.no_data("no records in this window")
    return Reading(objective, window, end, unit, goal, False, [Sliced({}, value, buckets)])


def _stream(reader: Reader, target: str) -> str:
    """The stream whose freshness is meant: a stream, a task's predictions, or a component's only output."""
    if f"{target}.output" in reader.recall(catalogue.streams):
        return f"{target}.output"
    return resolve(reader, target).stream


def _clock(reader: Reader, objective: Objective, stream: str, now: float, unit: int) -> int:
    """The moment at which freshness is asked.

    It is now, if anything at all has come within a window before now. Else the data are history that is replayed, and
    it is the end of the newest data in any stream that has event times (others are as of when they were logged), but
    for labels, which come later than what they are about.
    """
    present = int(now) // unit * unit + unit
    labels = {name for task in reader.recall(catalogue.tasks).values() for name in task.streams[1:]}
    timed = {name for name, (_, time) in reader.recall(catalogue.streams).items() if time is not None} - labels
    newest = reader.recall(newest_hour, present, tuple(sorted(timed | {stream})))
    if newest is None or newest >= now - length(objective):
        return int(now) // unit * unit
    return newest // unit * unit + unit
