"""Streams judged bucket by bucket, by the day; where there are enough records in most hours, by the hour too."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from fourfold.model import DAY, EVERYTHING, HOUR, Owner, Series, Where
from fourfold.query.reader import Reader
from fourfold.state import bulk, catalogue
from fourfold.watch.detect import Status
from fourfold.watch.memory import Memory
from fourfold.watch.settings import WatchSettings
from fourfold.watch.signals.anchors import anchored, without_anchor
from fourfold.watch.signals.columns import ColumnSignals, Signal
from fourfold.watch.signals.steps import Step, detector_of, least_of, note_learning, slice_of, step_of

_LATE = 2  # buckets by which a stream's newest records may be behind where it is up to date
_FIRST = 60  # buckets back in which the first data of a column are looked for
_TOLD = 7  # empty buckets that are judged: that a stream has fallen silent does not become normal by itself
_SEVERAL = 4  # buckets with records make a beginning
_DENSE = 0.8  # of the hours of the last days have enough records to judge by the hour
_ENOUGH = 50  # records
_LOOK_BACK = 7 * DAY


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """A length of buckets, in seconds; ``chunk`` are read at a time, a first check judges the newest ``longest``, and
    after ``silent`` empty ones a stream has ended.
    """

    seconds: int
    name: str
    chunk: int
    longest: int
    silent: int


DAYS = Level(DAY, "streams", chunk=28, longest=730, silent=30)
HOURS = Level(HOUR, "streams by the hour", chunk=7 * 24, longest=28 * 24, silent=48)


@dataclasses.dataclass(frozen=True)
class _Known:
    """What is there to judge at a level."""

    series: Sequence[tuple[Owner, Series]]
    filled: Sequence[int]  # buckets with records of any stream
    begun: Mapping[str, int]  # by stream
    newest: Mapping[str, int]
    logged: Collection[str]


def judge_streams(
    reader: Reader,
    memory: Memory,
    settings: WatchSettings,
    level: Level,
    days: float,
    now: float,
    dismissed: Mapping[str, int],
) -> Iterator[Step]:
    """Judge the complete buckets of a level that were not judged yet, in order."""
    step = level.seconds
    known = _known(reader, level, memory.begun.setdefault(step, {}))
    if not known.filled:
        return
    last, spans = _limits(known, memory, level, now)
    after = memory.last.get(level.name, known.filled[0] - step)
    new = [bucket for bucket in _without_gaps(known.filled, last, level) if after < bucket <= last]
    if not new:
        return
    owners = tuple(dict.fromkeys(owner for owner, _ in known.series))
    plans = {owner: plan.by_version() for owner, plan in reader.recall(catalogue.plans, owners).items()}
    detector = detector_of(memory, level.name, step, settings, days)
    anchors = memory.histories.anchors.setdefault(step, {})
    for chunk in _chunks(new, level):
        with reader.database.read() as connection:
            stored = bulk.select(connection, reader.project, step, chunk[0], chunk[-1] + step)
            if bare := without_anchor(known.series, anchors):
                ids = {series.id for _, series in bare}
                early = chunk[0] - _FIRST * step
                data = bulk.select(connection, reader.project, step, early, chunk[-1] + step, ids)
                anchored(bare, data, plans, anchors, chunk[0])
        signals = ColumnSignals(known.series, stored, chunk, step, spans, known.logged, plans, anchors)
        keys = [signal.key for signal in signals.signals]
        families = [_family(signal) for signal in signals.signals]
        least = least_of(signals.signals, settings, dismissed)
        side = np.array([signal.measure.side for signal in signals.signals])
        place_of = functools.partial(_place, signals.signals, memory.loggers)
        gone = _compared_anew(memory, keys, signals.signals)
        for t, bucket in enumerate(chunk):
            readings = signals.readings(t)
            verdicts = detector.judge(bucket, keys, readings.values, readings.noise, least, side, families)
            signals.learn(t, verdicts.status == Status.CHANGED, verdicts.status == Status.SETTLED)
            memory.last[level.name] = bucket
            note_learning(memory, level.name, verdicts)
            done = step_of(memory, bucket, step, keys, signals.signals, place_of, readings.values, readings.n, verdicts)
            yield dataclasses.replace(done, over=done.over | gone, settled=done.settled | gone)
        signals.keep()


def _known(reader: Reader, level: Level, begun: dict[str, int]) -> _Known:
    """What there is; ``begun`` is when each stream did, to which new ones are added."""
    series = reader.recall(bulk.of_streams)
    filled = reader.recall(bulk.buckets, level.seconds)
    newest = {o.name: at for o, at in reader.recall(bulk.newest, level.seconds).items()}
    with reader.database.read() as connection:
        owners = list(dict.fromkeys(owner for owner, _ in series))
        new = [owner for owner in owners if owner.name not in begun]
        for owner, found in bulk.buckets_of(connection, reader.project, level.seconds, new).items():
            if (start := _start(found, level)) is not None:
                begun[owner.name] = start
        logged = {owner.name for owner in owners if reader.log(owner.name).is_begun}
        if level.seconds == HOUR and filled:
            since = filled[-1] - _LOOK_BACK
            whole = {s.id: o.name for o, s in series if s.kind == "stream" and s.slice == EVERYTHING}
            rows = bulk.rows(connection, reader.project, HOUR, since, filled[-1])
            dense = _dense({whole[id_]: numbers for id_, numbers in rows.items() if id_ in whole})
            series = [(o, s) for o, s in series if o.name in dense & logged and s.slice == EVERYTHING]
            filled = filled if series else []
    first = min(begun.values(), default=2**62)
    filled = [bucket for bucket in filled if bucket >= first]
    return _Known(series, filled, begun, newest, logged)


def _start(buckets: Sequence[int], level: Level) -> int | None:
    """When a stream begins, by its buckets with records: stray ones, of a test or a wrong clock, are no beginning."""
    span = level.silent * level.seconds
    runs = zip(buckets, buckets[_SEVERAL - 1 :], strict=False)
    return next((first for first, fourth in runs if fourth - first <= span), None)


def _dense(rows: Mapping[str, Sequence[int]]) -> set[str]:
    """The streams that have enough records in most hours, by the number in each hour that has any."""
    hours = _LOOK_BACK // HOUR
    return {name for name, numbers in rows.items() if sum(n >= _ENOUGH for n in numbers) >= _DENSE * hours}


def _limits(known: _Known, memory: Memory, level: Level, now: float) -> tuple[int, dict[str, tuple[int, int]]]:
    """The newest complete bucket, and each stream's first and last one to judge.

    A bucket is complete once each stream that is up to date has newer records; or once it has some of the bucket, a
    quarter of one after its end; else a whole bucket later.
    """
    step, newest = level.seconds, known.newest
    current = int(now) // step * step
    names = {owner.name for owner, _ in known.series}
    up_to_date = {name for name in names if current - (_LATE + 1) * step <= newest[name] <= current}
    kept = {
        name for name in memory.live.get(step, ()) if name in names and newest[name] >= current - level.silent * step
    }
    live = memory.live[step] = kept | up_to_date
    awaited = current if now < current + step / 4 else current - step
    come = all(newest[name] >= awaited for name in live & set(known.logged))
    limit = current - step if come else current - 2 * step
    last = limit if live else min(limit, known.filled[-1])
    # the newest bucket of a stream that has ended may be cut off
    return last, {
        n: (start, last if n in live else newest[n] - step) for n, start in known.begun.items() if n in newest
    }


def _compared_anew(memory: Memory, keys: Sequence[str], signals: Sequence[Signal]) -> frozenset[str]:
    """The signals that fired and are not there any more: what their columns are compared with has begun anew."""
    own = '["stream", "hour"' if any(signal.hourly for signal in signals) else '["stream", "day"'
    return frozenset({key for key in memory.firing if key.startswith(own)} - set(keys))


def _without_gaps(filled: Sequence[int], last: int, level: Level) -> list[int]:
    """The newest buckets with records and those between them, but for the gaps that are long."""
    found = [filled[0]]
    for bucket in (*filled[1:], *([last] if last > filled[-1] else [])):
        if bucket - found[-1] <= level.silent * level.seconds:
            found += range(found[-1] + level.seconds, bucket, level.seconds)
        found.append(bucket)
    return found[-level.longest :]


def _chunks(buckets: Sequence[int], level: Level) -> Iterator[list[int]]:
    """The buckets in pieces without gaps, each not too long."""
    piece: list[int] = []
    for bucket in buckets:
        if piece and (bucket - piece[-1] != level.seconds or len(piece) == level.chunk):
            yield piece
            piece = []
        piece.append(bucket)
    if piece:
        yield piece


def _place(signals: Sequence[Signal], loggers: Mapping[str, str], number: int) -> Where:
    signal = signals[number]
    return Where(loggers.get(signal.stream, ""), signal.stream, signal.column, slice=slice_of(signal))


def _family(signal: Signal) -> str:
    return f"{signal.stream} {signal.measure.name} {signal.slice == EVERYTHING}"
