"""A frame, judged before its run hands it on: by its columns' constraints, and by the component's earlier runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from fourfold.counts import Counts, rows
from fourfold.counts.binning import Binning
from fourfold.fold import Plan
from fourfold.model import DAY, EVERYTHING, Finding, Owner, Series, Where
from fourfold.query.reader import Reader
from fourfold.state import bulk
from fourfold.state.bulk import StoredCounts
from fourfold.state.packing import pack
from fourfold.state.series import FIRST, RUN
from fourfold.watch import constraints
from fourfold.watch.detect import Detector, Status
from fourfold.watch.settings import WatchSettings
from fourfold.watch.signals.columns import Anchor, ColumnSignals, Identity, anchored

_RUNS = 60  # earlier runs that a frame is compared with


def judge_frame(
    reader: Reader,
    settings: WatchSettings,
    component: str,
    name: str,
    counted: pa.Table,
    plan: Plan,
    started: float,
    at: float,
) -> list[Finding]:
    """What is wrong with the counts of a frame that a component is about to hand on.

    Args:
        reader: the project's reader; what is not counted yet is not compared with.
        settings: the pinned constraints, and the promise.
        component: the component.
        name: of its output.
        counted: the frame's counts, as ``fold_columns`` gives them.
        plan: by which they were counted.
        started: when the run started, in seconds since 1970: it is compared with those that started earlier.
        at: the frame's time.
    """
    owner = Owner.of_stream(f"{component}.{name}")
    where = Where(component, owner.name)
    binnings = {**reader.plan(owner.name).by_version(), **plan.by_version()}
    active = constraints.active(reader, owner.name, settings.expects)
    found = constraints.violations(_by_column(counted, binnings), active, at)
    found += _against_earlier(reader, settings, owner, counted, binnings, started, at)
    return [dataclasses.replace(f, where=dataclasses.replace(where, column=f.where.column)) for f in found]


def _by_column(counted: pa.Table, binnings: Mapping[tuple[str, int], Binning]) -> dict[str, list[Counts]]:
    found: dict[str, list[Counts]] = {}
    whole = counted.filter(pa.array([slice_ == EVERYTHING for slice_ in counted["slice"].to_pylist()], pa.bool_()))
    for column, entry in zip(whole["column"].to_pylist(), rows(whole, dict(binnings)), strict=True):
        found.setdefault(column, []).append(entry)
    return found


def _against_earlier(
    reader: Reader,
    settings: WatchSettings,
    owner: Owner,
    counted: pa.Table,
    binnings: Mapping[tuple[str, int], Binning],
    started: float,
    at: float,
) -> list[Finding]:
    """The signals of the frame that differ from those of earlier runs, which stand for days here, one after another."""
    with reader.database.read() as connection:
        found = [(o, s) for o, s in bulk.of_streams(connection, reader.project) if o == owner and s.slice == EVERYTHING]
        earlier = bulk.select(
            connection, reader.project, RUN, FIRST, int(started * 1e6), {series.id for _, series in found}
        )
    starts = np.unique(earlier.buckets)[-_RUNS:]
    if not len(starts):
        return []
    stored = _together(earlier, starts, found, counted)
    buckets = [DAY * i for i in range(len(starts) + 1)]
    anchors: dict[Identity, Anchor] = {}
    plans = {owner: binnings}
    anchored(found, stored, plans, anchors, 0)
    signals = ColumnSignals(found, stored, buckets, DAY, {owner.name: (0, buckets[-1])}, (), plans, anchors)
    detector = Detector(DAY, days=settings.days, settle=settings.settle)
    keys = [signal.key for signal in signals.signals]
    least = np.array([signal.measure.least for signal in signals.signals])
    side = np.array([signal.measure.side for signal in signals.signals])
    families = [signal.measure.name for signal in signals.signals]
    for t, bucket in enumerate(buckets):
        readings = signals.readings(t)
        verdicts = detector.judge(bucket, keys, readings.values, readings.noise, least, side, families)
        signals.learn(t, verdicts.status == Status.CHANGED, verdicts.status == Status.SETTLED)
    changed = np.flatnonzero((verdicts.status == Status.CHANGED) & (verdicts.began == buckets[-1]))
    out = []
    for j in changed.tolist():
        signal, measure = signals.signals[j], signals.signals[j].measure
        value, expected = (measure.scale.back(float(x)) for x in (readings.values[j], verdicts.expected[j]))
        out.append(
            Finding(
                series=signal.key, kind=measure.kind, what=measure.words(value, expected), group=measure.group,
                severity=measure.severity, where=Where(stream=owner.name, column=signal.column), began=at,
                began_low=at, began_high=at, seen=at, value=value, expected=expected, n=int(readings.n[j]),
                weight=1 + max(float(verdicts.evidence[j]), 0.0) / 10,
            )
        )  # fmt: skip
    return out


def _together(
    earlier: StoredCounts, starts: np.ndarray, found: Sequence[tuple[Owner, Series]], counted: pa.Table
) -> StoredCounts:
    """The counts of earlier runs, and after them those of the frame, by the number of the run as a day."""
    ids = {(series.column, series.kind): series.id for _, series in found}
    keep = np.flatnonzero(np.isin(earlier.buckets, starts)).tolist()
    names = list(
        zip(counted["column"].to_pylist(), counted["kind"].to_pylist(), counted["slice"].to_pylist(), strict=True)
    )
    new = [i for i, (column, kind, slice_) in enumerate(names) if slice_ == EVERYTHING and (column, kind) in ids]
    packed = pack(counted)

    def joined(old: Sequence[bytes], added: Sequence[bytes]) -> list[bytes]:
        return [old[i] for i in keep] + [added[i] for i in new]

    return StoredCounts(
        np.concatenate([earlier.series[keep], np.array([ids[names[i][0], names[i][1]] for i in new], np.int64)]),
        np.concatenate([np.searchsorted(starts, earlier.buckets[keep]), np.full(len(new), len(starts))]) * DAY,
        np.concatenate([earlier.binnings[keep], counted["binning"].to_numpy()[new]]),
        joined(earlier.tallies, packed.tallies), [None] * (len(keep) + len(new)), [None] * (len(keep) + len(new)),
        [earlier.sizes[i] for i in keep] + [packed.size[i] for i in new],
        joined(earlier.bins, packed.bins), joined(earlier.counts, packed.counts),
    )  # fmt: skip
