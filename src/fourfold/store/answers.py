"""The ways to answer a question about a metric: from counts, estimated, of two versions, or read from the log."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fourfold.binning import Binning
from fourfold.counts import Counts
from fourfold.engine import Extent
from fourfold.errors import InputError
from fourfold.fold import Split
from fourfold.fold.tasks import Joined
from fourfold.metrics import Question, estimate, paired
from fourfold.metrics.custom import REGISTERED
from fourfold.metrics.intervals import Z
from fourfold.metrics.maturity import LabelCurve, kaplan_meier
from fourfold.metrics.tasks import covered
from fourfold.model import ALL, DAY, EVERYTHING, VERSIONS, Dimension, Status, Value, Window, slice_key
from fourfold.state import catalogue
from fourfold.store.read import EVER, Place, Target, load, pooled, resolve
from fourfold.store.result import Moment, Result, Slice, seconds
from fourfold.store.source import Source, Stored, newest
from fourfold.store.store import Store

_HISTORY = 5  # horizons before now, from which it is learned how late labels are
_ENOUGH = 30  # labels of a slice, from which on it has a curve of its own
_PAST = 8  # earlier estimates that are compared with what came true


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question with all that answering it needs."""

    store: Store
    target: Target
    question: Question
    source: Source
    windows: Sequence[Window]
    level: int
    names: tuple[str, ...]
    as_of: int | None  # microseconds

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of series to read."""
        metric, task = self.question.metric, self.target.task
        return (task.kind,) if task is not None and not metric.series else metric.kinds

    @property
    def column(self) -> str:
        """The column of the series to read."""
        return self.question.series if self.target.task is not None else self.target.column

    def clock(self) -> int | None:
        """The newest day of the labels, by their own event times; None where the target has no labels, or none yet."""
        task = self.target.task
        return None if task is None else newest(self.store, task.label.stream, self.as_of)


def counted(asked: Asked, against: str | tuple[Moment, Moment] | None) -> Result:
    """The metric of the counts in each window and slice."""
    question, found = asked.question, asked.target
    by_place, slices = load(
        asked.source, asked.column, asked.kinds, asked.names, asked.windows, asked.level, bins=question.needs_bins
    )  # fmt: skip
    if found.kind == "column" and not slices:
        kinds = sorted({row[2] for row in asked.source.series() if row[1] == found.column})
        raise InputError(
            f"{question.text}: column {found.column!r} is counted as {' and '.join(kinds)}, not as "
            f"{' or '.join(question.metric.kinds)}"
        )
    references = _references(asked, against)
    # each row's counts are asked as they are read and then let go, so that a long answer holds values only
    answers: dict[Place, Any] = {key: _answer(asked, entry, references, key[0]) for key, entry in by_place}
    if found.task is not None and question.metric.series:  # a series knows nothing of what has no label
        tallies, slices = load(
            asked.source, "", (found.task.kind,), asked.names, asked.windows, asked.level, bins=False
        )
        for key, entry in tallies:
            answer = answers.get(key) or Value.no_data(f"no labels yet for {entry.tally('predicted')} predictions")
            answers[key] = dataclasses.replace(answer, coverage=covered(entry))
    return _result(asked, answers, slices)


def estimated(asked: Asked, *, error: bool) -> Result:
    """The metric as it will be once all labels are there; or, of settled windows, how far the estimate was off."""
    task, question = asked.target.task, asked.question
    if task is None or task.kind not in estimate.KINDS_OF_TASK or question.metric.series or question.metric.curve:
        raise InputError(
            f"estimate= is for metrics of {', '.join(estimate.KINDS_OF_TASK)} tasks that are read off the whole task, "
            f"not for {question.text} of {asked.target.owner}"
        )
    loaded, slices = load(asked.source, "", (task.kind,), asked.names, asked.windows, asked.level)
    here = dict(loaded)
    residuals = next((b for (column, _), b in asked.source.binnings().items() if column == "residual"), None)
    settled_until = (asked.clock() or 0) - task.horizon
    strata = _strata(asked, residuals)
    answers: dict[Place, Value] = {}
    for (i, key), found in sorted(here.items()):
        window = asked.windows[i]
        if error:
            answers[i, key] = _error_of(asked, key, window, found, residuals, settled_until)
            continue
        if found.tally("labelled") == found.tally("predicted") or window.end <= settled_until:
            answers[i, key] = _ask(asked, found)
            continue
        if found.tally("labelled") == 0:
            guess = estimate.expected(found, _settled(asked, key, window) or found, task, residuals)
        else:
            pieces = strata.get((i, key)) or {key: found}
            guess = estimate.post_stratified(pieces, task, residuals)
        answers[i, key] = _estimate(asked, guess, found, _past_errors(asked, key, window, residuals))
    return _result(asked, answers, slices, estimated=True)


def of_versions(asked: Asked, versions: tuple[str, str]) -> Result:
    """The first version's metric − the second's."""
    task = asked.target.task
    if task is None or not task.version:
        raise InputError("versions= is for tasks that declare version=, the column that says which model predicted")
    if len(versions) != 2 or versions[0] == versions[1]:
        raise InputError(f"versions={versions!r}: give two different ones")
    if asked.names or asked.question.parameters:
        raise InputError("two versions are compared over all records and at the task's threshold")
    first, second = (str(v) for v in versions)
    low, high = sorted((first, second))
    against, version = VERSIONS
    key = slice_key({version: low, against: high})
    kind = "paired_errors" if task.kind == "regression" else "paired"
    found, known = load(asked.source, "versions", (kind,), tuple(sorted(VERSIONS)), asked.windows, asked.level)
    if key not in known:
        pairs = sorted({f"{json.loads(k)[version]} and {json.loads(k)[against]}" for k in known})
        raise InputError(
            f"no key was predicted by both {first!r} and {second!r}; there are {', '.join(pairs) or 'none'}"
        )
    answers: dict[Place, Value] = {}
    for (i, slice_), entry in found:
        if slice_ == key:
            value = paired.difference(entry, asked.question.metric.name)
            answers[i, EVERYTHING] = value if first == low else _negated(value)
    return _result(asked, answers, [EVERYTHING], text=f"{asked.question.text}({first} − {second})")


def from_log(asked: Asked, dimension: Dimension) -> Result:
    """A metric that is not additive: its function of the labelled records of each window and slice."""
    task, custom = asked.target.task, REGISTERED[asked.question.metric.name]
    assert task is not None and custom.function is not None
    if task.kind not in ("binary", "multiclass", "regression"):
        raise InputError(
            f"{custom.name} is a function of labels and predictions; a {task.kind} task has no pairs of these"
        )
    store = asked.store
    with store.database.read() as connection:
        splits = {
            d: catalogue.levels(connection, store.project, task.prediction.stream, d) for d in [dimension] if d.parts
        }
    logs = {stream: store.log(stream).changes(None) for stream in task.streams}
    bare = dataclasses.replace(task, sums=())
    parts: dict[Place, list[tuple[Any, Any]]] = {}
    predicted: dict[Place, int] = {}
    starts = np.array([w.start for w in asked.windows])
    extent = Extent(
        as_of=asked.as_of, start=asked.windows[0].start * 1_000_000, end=asked.windows[-1].end * 1_000_000
    )  # fmt: skip
    for table in store.engine.joined(bare, logs, splits, extent):
        records = Joined(table, bare)
        time = table["time"].cast(pa.int64()).to_numpy() // 1_000_000
        window = np.searchsorted(starts, time, side="right") - 1
        keys = _slice_keys(table, dimension, splits)
        here = ~records.flags("orphan") & (records.flags("served") if task.version else True)
        for place in sorted(set(zip(window[here].tolist(), keys[here].tolist(), strict=True))):
            mask = here & (window == place[0]) & (keys == place[1])
            predicted[place] = predicted.get(place, 0) + int(mask.sum())
            parts.setdefault(place, []).append(_pairs(records, mask & records.in_time))
    answers = {}
    for place, found in parts.items():
        actual, said = (np.concatenate([pair[side] for pair in found]) for side in (0, 1))
        answers[place] = _of_function(custom.function, actual, said, custom.sample, predicted[place])
    slices = sorted({key for _, key in answers}) or [EVERYTHING]
    return _result(asked, answers, slices)


def _ask(asked: Asked, found: Counts, reference: Counts | None = None) -> Any:
    metric, parameters = asked.question.metric, asked.question.parameters
    first = [found, *([reference] if metric.distance else []), *([asked.target.task] if metric.of_task else [])]
    return metric.function(*first, **parameters)


def _answer(asked: Asked, found: Counts, references: Sequence[Counts | None], window: int) -> Any:
    """The metric of one window and slice; of a curve, its values by name."""
    if not asked.question.metric.distance:
        return _ask(asked, found)
    reference = references[window]
    if reference is None:
        return Value.no_data("the reference has no data", int(found.counts.sum()))
    return _ask(asked, found, reference)


def _result(
    asked: Asked, answers: dict[Place, Any], slices: Sequence[str], *, text: str = "", estimated: bool = False
) -> Result:  # fmt: skip
    """The rows, each with how mature it is."""
    curve = asked.question.metric.curve
    empty: Any = Value.no_data(f"no {'predictions' if asked.target.kind == 'task' else 'records'} in this window")
    if curve:
        empty = {("",) * len(curve): empty}
    mature = _Maturity(asked)
    at: list[Window] = []
    places: list[Slice] = []
    values: list[Value] = []
    known = [(key, json.loads(key)) for key in slices or [EVERYTHING]]
    for i, window in enumerate(asked.windows):
        for key, place in known:
            answer = answers.get((i, key), empty)
            for names, value in answer.items() if isinstance(answer, dict) else (((), answer),):
                at.append(window)
                places.append({**place, **dict(zip(curve, names, strict=True))} if curve else place)
                values.append(mature.of(value, window, (i, key)))
    by = [*asked.names, *curve]
    return Result(text or asked.question.text, by, at, places, values)


class _Maturity:
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


def _references(asked: Asked, against: str | tuple[Moment, Moment] | None) -> list[Counts | None]:
    """For a distance, each window's reference; nothing for other metrics."""
    if not asked.question.metric.distance:
        if against is not None:
            raise InputError(f"against= is for distances between distributions; {asked.question.metric.name} is none")
        return []

    def total(of: Target, source: Source, window: Window) -> Counts | None:
        found, _ = load(source, of.column, asked.question.metric.kinds, (), [window], asked.level)
        return pooled(entry for _, entry in found)

    if against is None:  # all that was before
        return [total(asked.target, asked.source, Window(EVER.start, window.start)) for window in asked.windows]
    if isinstance(against, str):
        other = resolve(asked.store, against)
        return [total(other, Stored(asked.store, other.owner), EVER)] * len(asked.windows)
    span = Window(seconds(against[0], "against"), seconds(against[1], "against"))
    return [total(asked.target, asked.source, span)] * len(asked.windows)


# estimates --------------------------------------------------------------------------------------------------------


def _settled(asked: Asked, key: str, window: Window) -> Counts | None:
    """What was settled of a slice when a window ended, by the horizon alone; of all records where that is little."""
    task = asked.target.task
    assert task is not None
    end = (window.end - task.horizon) // DAY * DAY
    for names, of in ((asked.names, key), ((), EVERYTHING)):
        found, _ = load(asked.source, "", (task.kind,), names, [Window(EVER.start, end)], DAY)
        total = dict(found).get((0, of))
        if total is not None and total.tally("labelled") >= 10 * _ENOUGH:
            return total
    return total


def _estimate(asked: Asked, guess: estimate.Estimated, found: Counts, past: Sequence[float]) -> Value:
    """The metric of the counts that were estimated, its interval widened by how far past estimates were off."""
    n, coverage = found.tally("labelled"), covered(found)
    if guess.counts is None:
        return Value.no_data(guess.reason, n, coverage)
    value: Value = _ask(asked, guess.counts)
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


def _blind(asked: Asked, key: str, window: Window, found: Counts, residuals: Binning | None) -> Value | None:
    """The estimate that could be made of a window when it ended, before any of its labels was there."""
    task = asked.target.task
    assert task is not None
    settled = _settled(asked, key, window)
    if settled is None:
        return None
    guess = estimate.expected(found, settled, task, residuals)
    return _ask(asked, guess.counts) if guess.counts is not None else None


def _error_of(
    asked: Asked, key: str, window: Window, found: Counts, residuals: Binning | None, settled_until: int
) -> Value:  # fmt: skip
    if window.end > settled_until:
        return Value.no_data("labels can still come: what was estimated cannot be judged yet", coverage=covered(found))
    guess, true = _blind(asked, key, window, found, residuals), _ask(asked, found)
    if guess is None or guess.value is None or true.value is None:
        return Value.no_data("no estimate could be made of this window", coverage=covered(found))
    return Value(guess.value - true.value, n=found.tally("labelled"), coverage=covered(found))


def _past_errors(asked: Asked, key: str, window: Window, residuals: Binning | None) -> list[float]:
    """How far estimates of earlier windows of the same length were from what came true."""
    task = asked.target.task
    assert task is not None
    length = window.end - window.start
    until = (min(window.start, (asked.clock() or 0) - task.horizon)) // DAY * DAY
    earlier = [Window(until - (i + 1) * length, until - i * length) for i in range(_PAST)][::-1]
    if length % DAY:
        return []
    found, _ = load(asked.source, "", (task.kind,), asked.names, earlier, DAY)
    errors = []
    for (i, of), counts in found:
        if of == key:
            guess, true = _blind(asked, key, earlier[i], counts, residuals), _ask(asked, counts)
            if guess is not None and guess.value is not None and true.value is not None:
                errors.append(guess.value - true.value)
    return errors


def _strata(asked: Asked, residuals: Binning | None) -> dict[Place, dict[str, Counts]]:
    """For all records, the slices to stratify by: those of the declared dimension whose coverage differs the most."""
    task = asked.target.task
    assert task is not None
    best: dict[Place, tuple[float, dict[str, Counts]]] = {}
    if asked.names:
        return {}
    for dimension in task.slices:
        found, _ = load(asked.source, "", (task.kind,), dimension.names, asked.windows, asked.level)
        parts: dict[int, dict[str, Counts]] = {}
        for (i, key), entry in found:
            parts.setdefault(i, {})[key] = entry
        for i, slices in parts.items():
            sizes = np.array([[e.tally("labelled"), e.tally("predicted")] for e in slices.values()], np.float64)
            share = sizes[:, 0].sum() / sizes[:, 1].sum()
            spread = float((sizes[:, 1] * (sizes[:, 0] / np.maximum(sizes[:, 1], 1) - share) ** 2).sum())
            place = i, EVERYTHING
            if place not in best or spread > best[place][0]:
                best[place] = spread, slices
    return {place: slices for place, (_, slices) in best.items()}


# versions and functions -------------------------------------------------------------------------------------------


def _negated(value: Value) -> Value:
    if value.value is None or value.low is None or value.high is None:
        return value
    return dataclasses.replace(value, value=-value.value, low=-value.high, high=-value.low)


def _slice_keys(table: pa.Table, dimension: Dimension, splits: Any) -> np.ndarray:
    """Each record's slice."""
    if dimension == ALL:
        return np.full(table.num_rows, EVERYTHING, object)
    levels = splits[dimension]
    names = tuple(part.name for part in dimension.parts)
    values = tuple(table[f"slice_0_{j}"].combine_chunks() for j in range(len(names)))
    groups = Split(names, values, levels.kept if levels.full else None).groups(np.zeros(table.num_rows, np.int64))
    return np.array(groups.slices, object)[groups.ids]


def _pairs(records: Joined, mask: np.ndarray) -> tuple[Any, Any]:
    """The labels and the predictions of the records that can be judged."""
    if records.task.kind == "multiclass":
        actual, said = (np.array(records.texts(name).to_pylist(), object) for name in ("label", "prediction"))
        usable = np.array([a is not None and s is not None for a, s in zip(actual, said, strict=True)], bool)
    else:
        actual, said = records.numbers("label"), records.numbers("prediction")
        usable = np.isfinite(actual) & np.isfinite(said)
    return actual[mask & usable], said[mask & usable]


def _of_function(function: Any, actual: Any, said: Any, sample: int | None, predicted: int) -> Value:
    n = len(actual)
    share = n / predicted if predicted else None
    if not n:
        return Value.no_data(f"no labels yet for {predicted} predictions", coverage=share)
    note = "not additive: read from the log"
    if sample is not None and n > sample:
        picked = np.sort(np.random.default_rng(0).choice(n, sample, replace=False))
        actual, said, note = actual[picked], said[picked], f"{note}, {sample:,} of {n:,} labelled records"
    found = float(function(actual, said))
    if not math.isfinite(found):
        return Value.no_data(f"the function gave {found}", n, share)
    return Value(found, n=len(actual), coverage=share, reason=note)
