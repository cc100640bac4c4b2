"""Answers to questions: which counts a metric needs, summed by window and slice."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.binning import Binning
from fourfold.counts import Counts
from fourfold.errors import InputError, suggest
from fourfold.metrics import Question, parse
from fourfold.model import DAY, EVERYTHING, HOUR, Status, Task, Value, Window
from fourfold.state import catalogue, series
from fourfold.store.folding import load_plan
from fourfold.store.result import Moment, Result, Slice, seconds
from fourfold.store.store import Store

_UNITS = {"h": HOUR, "d": DAY, "w": 7 * DAY}


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What a metric is asked of: the owner of the counts, and the column ("" for records or a task)."""

    kind: str  # "task", "stream" or "column"
    owner: str
    column: str = ""
    task: Task | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Series:
    """The counts of one series by window and slice."""

    by_place: Iterable[tuple[tuple[int, str], Counts]]
    slices: list[str]


def metric(
    store: Store,
    target: str,
    name: str,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    by: str | Sequence[str] | None = None,
    every: str | None = None,
    against: str | tuple[Moment, Moment] | None = None,
) -> Result:
    """A metric by window and slice.

    Args:
        store: where to look; it is brought up to date first.
        target: a task ("late"), a stream ("predict") or a column ("predict.score").
        name: a metric, with its parameters ("quantile(0.9)").
        start: the first moment, inclusive; what has no time zone is UTC. Without it: all there is.
        end: the last moment, exclusive.
        by: the slice column to split by, one that a task on the stream declares.
        every: the length of a window: "1h", "1d", "7d". Without it: one window.
        against: for a distance, the reference: another column, or a (start, end) of this one. Without it: all
            that was before the window.

    Raises:
        UnknownNameError: no such target, metric or slice; the message lists what there is.
        InputError: a window or parameter that cannot be.
    """
    store.catch_up()
    found = resolve(store, target)
    question = parse(name, found.kind)
    dimension = _one_dimension(by)
    step = _step(every)
    windows, level = _windows(store, found, start, end, step)
    if not windows:
        span = Window(0, 0) if start is None or end is None else Window(seconds(start, "start"), seconds(end, "end"))
        return Result(question.text, [], [span], [{}], [Value.no_data(f"nothing was logged for {target!r} yet")])
    loaded = _load(store, found, question, dimension, windows, level)
    if dimension and not loaded.slices:
        raise suggest(f"slice of {target}", dimension, _known_dimensions(store, found))
    references = _references(store, found, question, against, windows, level)
    until = _settled_until(store, found)
    at: list[Window] = []
    slices: list[Slice] = []
    values: list[Value] = []
    # each row's counts are asked as they are read and then let go, so that a long answer holds values only
    answers = {key: _answer(question, entry, references, key[0]) for key, entry in loaded.by_place}
    empty = Value.no_data(f"no {'predictions' if found.kind == 'task' else 'records'} in this window")
    places = [(key, json.loads(key)) for key in loaded.slices or [EVERYTHING]]
    for i, window in enumerate(windows):
        for key, place in places:
            answer = answers.get((i, key), empty)
            for label, value in answer.items() if isinstance(answer, dict) else ((None, answer),):
                at.append(window)
                slices.append(place if label is None else {**place, "bin": label})
                values.append(_mature(value, window, until) if value.coverage is not None else value)
    by_columns = [*([dimension] if dimension else []), *(["bin"] if question.metric.curve else [])]
    return Result(question.text, by_columns, at, slices, values)


def resolve(store: Store, target: str) -> Target:
    """What a text names: a task, a stream, or a column of a stream (the longest stream name that fits).

    A component's single output can be left out: "featurize.age" is "featurize.output.age".

    Raises:
        UnknownNameError: nothing of that name; lists what there is.
    """
    with store.database.read() as connection:
        tasks = catalogue.tasks(connection, store.project)
        streams = list(catalogue.streams(connection, store.project))
        if target in tasks:
            return Target("task", f"task:{target}", task=tasks[target])
        if target in streams:
            return Target("stream", f"stream:{target}")
        for stream in sorted(streams, key=len, reverse=True):
            if target.startswith(f"{stream}."):
                column = target[len(stream) + 1 :]
                known = {row[1] for row in series.find(connection, store.project, f"stream:{stream}")} - {""}
                if column in known:
                    return Target("column", f"stream:{stream}", column)
                if not any(other.startswith(f"{stream}.") for other in streams if other != target):
                    raise suggest(f"column of stream {stream!r}", column, sorted(known))
    component, _, column = target.partition(".")
    if column and f"{component}.output" in streams and not column.startswith("output"):
        return resolve(store, f"{component}.output.{column}")
    raise suggest("task, stream or column", target, [*tasks, *streams])


def pooled(parts: Iterable[Counts]) -> Counts | None:
    """The sum of counts of one series that may be on several versions of its binning; None of none."""
    found = list(parts)
    if not found:
        return None
    target = max((p.binning for p in found if p.binning is not None), key=lambda b: b.version, default=None)
    return counts.total([counts.reproject(p, target) if target is not None else p for p in found])


def known_binnings(store: Store, owner: str) -> dict[tuple[str, int], Binning]:
    """All binnings of an owner, by column and version."""
    with store.database.read() as connection:
        return load_plan(connection, store.project, owner).by_version()


def _answer(
    question: Question, found: Counts, references: Sequence[Counts | None], window: int
) -> Value | dict[str, Value]:
    """The metric of one window and slice; of a curve, its values by name."""
    ask = question.metric.function
    if not question.metric.distance:
        answer: Value | dict[str, Value] = ask(found, **question.parameters)
        return answer
    reference = references[window]
    if reference is None:
        return Value.no_data("the reference has no data", int(found.counts.sum()))
    distance: Value = ask(found, reference, **question.parameters)
    return distance


def _mature(value: Value, window: Window, until: int) -> Value:
    """Provisional while labels can still come: they may until the horizon is over."""
    if value.coverage == 1.0 or window.end <= until or value.value is None:
        return value
    return dataclasses.replace(value, status=Status.PROVISIONAL)


def _settled_until(store: Store, target: Target) -> int:
    """Windows that end before this moment can get no more labels in time, by the label stream's own clock."""
    if target.task is None:
        return 2**62
    with store.database.read() as connection:
        span = series.span(connection, store.project, f"stream:{target.task.label_stream}", DAY)
    return span[1] - target.task.horizon if span else 0


def _load(
    store: Store, target: Target, question: Question, dimension: str, windows: Sequence[Window], level: int
) -> _Series:
    """The counts that a question needs, by window and slice."""
    column = question.metric.series or target.column
    with store.database.read() as connection:
        available = series.find(connection, store.project, target.owner, column=column)
        kinds = ("numeric",) if question.metric.series else question.metric.kinds
        kind = next((k for k in kinds if any(row[2] == k for row in available)), None)
        if kind is None and available:
            found = sorted({row[2] for row in available})
            raise InputError(
                f"{question.metric.name} cannot be asked of {target.column or target.owner!r}: it is counted as "
                f"{' and '.join(found)}, not as {' or '.join(kinds)}"
            )
        wanted = [row for row in available if row[2] == kind and series.slice_dimension(row[3]) == dimension]
        table = series.select(connection, wanted, level, windows[0].start, windows[-1].end, bins=question.needs_bins)
    return _Series(_by_place(table, windows, known_binnings(store, target.owner)), sorted({row[3] for row in wanted}))


def _by_place(
    table: pa.Table, windows: Sequence[Window], binnings: dict[tuple[str, int], Binning]
) -> Iterable[tuple[tuple[int, str], Counts]]:
    """Counts by number of window and slice, each once."""
    if table.num_rows == 0:
        return []
    starts = np.array([w.start for w in windows])
    place = np.searchsorted(starts, table["bucket"].to_numpy(), side="right") - 1
    if len(np.unique(table["bucket"].to_numpy())) > len(np.unique(place)):  # a window is several buckets
        table = counts.rebucket(table, place)
        place = table["bucket"].to_numpy()
    at = zip(place.tolist(), table["slice"].to_pylist(), strict=True)
    found = zip(at, counts.rows(table, binnings), strict=True)
    if len(table["binning"].unique()) == 1:
        return found
    together: dict[tuple[int, str], list[Counts]] = {}  # by the versions of the binning
    for key, entry in found:
        together.setdefault(key, []).append(entry)
    return [(key, total) for key, parts in together.items() if (total := pooled(parts)) is not None]


def _references(
    store: Store, target: Target, question: Question, against: str | tuple[Moment, Moment] | None,
    windows: Sequence[Window], level: int,
) -> list[Counts | None]:  # fmt: skip
    """For a distance, each window's reference; nothing for other metrics."""
    if not question.metric.distance:
        if against is not None:
            raise InputError(f"against= is for distances between distributions; {question.metric.name} is none")
        return []
    ever = Window(-(2**60), 2**60)

    def total(of: Target, window: Window) -> Counts | None:
        return pooled(entry for _, entry in _load(store, of, question, "", [window], level).by_place)

    if against is None:  # all that was before
        return [total(target, Window(ever.start, window.start)) for window in windows]
    if isinstance(against, str):
        return [total(resolve(store, against), ever)] * len(windows)
    return [total(target, Window(seconds(against[0], "against"), seconds(against[1], "against")))] * len(windows)


def _windows(
    store: Store, target: Target, start: Moment | None, end: Moment | None, step: int | None
) -> tuple[list[Window], int]:
    """The windows asked for, and the level (hour or day) of the counts to read for them."""
    with store.database.read() as connection:
        days = series.span(connection, store.project, target.owner, DAY)
    if days is None:
        return [], DAY
    first = seconds(start, "start") if start is not None else days[0]
    last = seconds(end, "end") if end is not None else days[1] + DAY
    if first >= last:
        raise InputError(f"the window is empty: start={start!r} is not before end={end!r}")
    level = DAY if all(t % DAY == 0 for t in (first, last, step or DAY)) else HOUR
    if level == HOUR:
        if first % HOUR or last % HOUR:
            raise InputError(f"start={start!r}, end={end!r}: counts are kept by the hour; give whole hours (UTC)")
        with store.database.read() as connection:
            hours = series.span(connection, store.project, target.owner, HOUR)
        if hours is None or first < hours[0]:
            kept = dt.datetime.fromtimestamp(hours[0] if hours else days[1], dt.UTC)
            if start is not None:
                raise InputError(
                    f"start={start!r}: hours are kept for 60 days, here from {kept:%Y-%m-%d %H:%M}; "
                    "before that, ask by whole days"
                )
            first = int(kept.timestamp())
    if step is None:
        return [Window(first, last)], level
    if (last - first) // step > 100_000:
        raise InputError(f"every={step} s makes more than 100,000 windows; choose a longer one")
    return [Window(at, min(at + step, last)) for at in range(first, last, step)], level


def _step(every: str | None) -> int | None:
    if every is None:
        return None
    match = re.fullmatch(r"(\d+)([hdw])", every)
    if not match or int(match[1]) == 0:
        raise InputError(f"every={every!r} is not a length of time; use hours, days or weeks: '1h', '1d', '2w'")
    return int(match[1]) * _UNITS[match[2]]


def _one_dimension(by: str | Sequence[str] | None) -> str:
    names = [by] if isinstance(by, str) else list(by or ())
    if len(names) > 1:
        raise InputError(f"by={names!r}: one slice column at a time; crossed slices are not there yet")
    return names[0] if names else ""


def _known_dimensions(store: Store, target: Target) -> list[str]:
    with store.database.read() as connection:
        found = series.find(connection, store.project, target.owner)
    return sorted({series.slice_dimension(row[3]) for row in found} - {""})
