"""A frame, judged before its run hands it on: by its columns' constraints, and by the component's earlier runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from fourfold.counts import Counts, rows
from fourfold.counts.binning import Binning, Ints
from fourfold.fold import Plan
from fourfold.model import DAY, EVERYTHING, Finding, Group, Owner, RunStatus, Series, Severity, Where
from fourfold.query.reader import Reader
from fourfold.state import bulk, runs
from fourfold.state.bulk import StoredCounts
from fourfold.state.packing import pack
from fourfold.state.series import FIRST, RUN
from fourfold.watch import constraints
from fourfold.watch.detect import Detector, Status
from fourfold.watch.settings import WatchSettings
from fourfold.watch.signals.anchors import Anchor, Identity, anchored
from fourfold.watch.signals.columns import ColumnSignals
from fourfold.watch.signals.steps import least_of

_RUNS, _READ = 60, 500  # earlier runs that a frame is compared with; and those looked through for them
_ALWAYS = 5  # the last runs, that all had what a frame should have
_TYPES = {"numeric": "numbers", "category": "texts", "vector": "vectors"}


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
    found += _against_earlier(reader, settings, component, owner, counted, binnings, started, at)
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
    component: str,
    owner: Owner,
    counted: pa.Table,
    binnings: Mapping[tuple[str, int], Binning],
    started: float,
    at: float,
) -> list[Finding]:
    """What of the frame differs from earlier runs that succeeded: its columns, their types, and its signals."""
    with reader.database.read() as connection:
        found = [(o, s) for o, s in bulk.of_streams(connection, reader.project) if o == owner and s.slice == EVERYTHING]
        good = {int(run.counted_at * 1e6) for run in runs.recent(connection, reader.project, component, _READ)
                if run.status is RunStatus.SUCCEEDED and run.started < started}  # fmt: skip
        ids = {series.id for _, series in found}
        earlier = bulk.select(connection, reader.project, RUN, FIRST, int(started * 1e6), ids)
    starts = np.array([start for start in np.unique(earlier.buckets).tolist() if start in good][-_RUNS:], np.int64)
    if not len(starts):
        return []
    kinds = _kinds(counted)
    columns = _columns_differ(owner, found, earlier, starts, kinds, at)
    own = [(o, s) for o, s in found if s.kind == "stream" or s.kind in kinds.get(s.column, ())]
    return [
        *columns,
        *_signals_differ(settings, owner, own, _together(earlier, starts, own, counted), len(starts), binnings, at),
    ]


def _kinds(counted: pa.Table) -> dict[str, set[str]]:
    """How each column of the frame that has values was counted."""
    found: dict[str, set[str]] = {}
    for column, kind in zip(counted["column"].to_pylist(), counted["kind"].to_pylist(), strict=True):
        found.setdefault(column, set()).add(kind)
    return found


def _columns_differ(
    owner: Owner,
    found: Sequence[tuple[Owner, Series]],
    earlier: StoredCounts,
    starts: Ints,
    kinds: Mapping[str, Collection[str]],
    at: float,
) -> list[Finding]:
    """Columns that all of the last runs had, and that are gone or of another type."""
    last = set(starts[-_ALWAYS:].tolist())
    if len(last) < _ALWAYS:
        return []
    had: dict[tuple[str, str], set[int]] = {}
    by_id = {series.id: series for _, series in found}
    for id_, start in zip(earlier.series.tolist(), earlier.buckets.tolist(), strict=True):
        if start in last and id_ in by_id:
            had.setdefault((by_id[id_].column, by_id[id_].kind), set()).add(start)
    always: dict[str, set[str]] = {}
    for (column, kind), runs_ in had.items():
        if column and kind != "opaque" and runs_ == last:
            always.setdefault(column, set()).add(kind)
    out = []
    for column, before in always.items():
        now = set(kinds.get(column, ())) - {"opaque"}
        if not now & before and (now or column not in kinds):
            gone = column not in kinds
            types = (_TYPES.get(min(several, default=""), "other values") for several in (now, before))
            what = "the column is missing" if gone else " instead of ".join(types)
            kind = "missing_column" if gone else "wrong_type"
            out.append(_finding(owner, column, kind, what, Group.STATELESS_SINGLE, Severity.PAGE, at))
    return out


def _signals_differ(
    settings: WatchSettings,
    owner: Owner,
    found: Sequence[tuple[Owner, Series]],
    stored: StoredCounts,
    runs_: int,
    binnings: Mapping[tuple[str, int], Binning],
    at: float,
) -> list[Finding]:
    """The signals of the frame that differ from those of the runs, which stand for days here, one after another."""
    buckets = [DAY * i for i in range(runs_ + 1)]
    anchors: dict[Identity, Anchor] = {}
    plans = {owner: binnings}
    anchored(found, stored, plans, anchors, 0)
    signals = ColumnSignals(found, stored, buckets, DAY, {owner.name: (0, buckets[-1])}, (owner.name,), plans, anchors)
    detector = Detector(DAY, days=settings.days, settle=settings.settle)
    keys = [signal.key for signal in signals.signals]
    least = least_of(signals.signals, settings, {})
    side = np.array([signal.measure.side for signal in signals.signals])
    families = [signal.measure.name for signal in signals.signals]
    for t, bucket in enumerate(buckets):
        readings = signals.readings(t)
        verdicts = detector.judge(bucket, keys, readings.values, readings.noise, least, side, families)
        signals.learn(t, verdicts.status == Status.CHANGED, verdicts.status == Status.SETTLED)
    outside = (readings.values < verdicts.low) | (readings.values > verdicts.high)
    out = []
    for j in np.flatnonzero((verdicts.status == Status.CHANGED) & outside).tolist():
        signal, measure = signals.signals[j], signals.signals[j].measure
        value, expected = (measure.scale.back(float(x)) for x in (readings.values[j], verdicts.expected[j]))
        made = _finding(
            owner, signal.column, measure.kind, measure.words(value, expected), measure.group, measure.severity, at
        )
        out.append(dataclasses.replace(made, series=signal.key, value=value, expected=expected, n=int(readings.n[j])))
    return out


def _finding(owner: Owner, column: str, kind: str, what: str, group: Group, severity: Severity, at: float) -> Finding:
    return Finding(
        f"frame:{owner.name}.{column}:{kind}", kind, what, group, severity, Where(stream=owner.name, column=column),
        at, at, at, at,
    )  # fmt: skip


def _together(
    earlier: StoredCounts, starts: Ints, found: Sequence[tuple[Owner, Series]], counted: pa.Table
) -> StoredCounts:
    """The counts of earlier runs, and after them those of the frame, by the number of the run as a day."""
    ids = {(series.column, series.kind): series.id for _, series in found}
    known = set(ids.values())
    wanted = np.array([id_ in known for id_ in earlier.series.tolist()], bool)
    keep = np.flatnonzero(np.isin(earlier.buckets, starts) & wanted).tolist()
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
        joined(earlier.tallies, packed.tallies), joined(earlier.sums, packed.sums),
        [None] * (len(keep) + len(new)), [None] * (len(keep) + len(new)),
        [earlier.sizes[i] for i in keep] + [packed.size[i] for i in new],
        joined(earlier.bins, packed.bins), joined(earlier.counts, packed.counts),
    )  # fmt: skip
