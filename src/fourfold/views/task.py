"""A task: its metric over time, for whom it is bad, volume and labels beneath, and what the scores look like."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fourfold.charts import Band, Bars, Bin, Chart, Confusion, Curve, Heat, Limit, Line, Pair, Reliability, Series
from fourfold.counts import Counts
from fourfold.errors import FourfoldError, InputError, suggest
from fourfold.metrics import known_metrics, parse
from fourfold.metrics.classification import CELLS
from fourfold.metrics.estimate import KINDS_OF_TASK
from fourfold.metrics.scores import score_counts
from fourfold.model import DAY, EVERYTHING, Incident, Owner, Status, Task, Value, Window, slice_key
from fourfold.query.counts import CurrentCounts, OwnerCounts, by_window, pooled
from fourfold.query.filtered import Filter, FilteredCounts, chosen
from fourfold.query.reader import Reader
from fourfold.query.result import Result
from fourfold.reports.losses import SliceLoss, losses
from fourfold.reports.tasks import headlines
from fourfold.state import catalogue
from fourfold.state.objectives import listed
from fourfold.views import curves, forms
from fourfold.views.asking import Asked, Shown, path
from fourfold.views.page import Page, Plain
from fourfold.watch import expected as watched
from fourfold.watch.incidents import incidents

_ROWS = 30  # slices of the heat map
_WITHOUT = 5  # slices for which the rest is worked out
_VERSIONS = 6
_CLASSES = 20  # of a confusion matrix
_BINS = 20
_OUTSIDE = 0.05
_BACK = "-90d"


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What a task's page shows."""
    name = asked.more.get("task", "")
    known = reader.recall(catalogue.tasks)
    if name not in known:
        raise suggest("task", name, list(known))
    task, owner = known[name], Owner.of_task(name)
    shown = asked.window(reader, owner, now, default=_BACK)
    wanted = asked.metric or headlines(task)[0]
    if parse(wanted, "task", task.kind).metric.curve:
        listed_ = ", ".join(known_metrics("task", task.kind))
        raise InputError(f"metric={wanted!r} has several values; name one of {listed_}")
    about = [each for each in incidents(reader, active=False) if _is_about(each, task, shown)]
    charts: dict[str, Chart] = {}
    value = shown.metric(reader, name, wanted, whole=True, where=asked.where)[0].value
    result = shown.metric(reader, name, wanted, where=asked.where)
    history = _history(reader, task, wanted, asked, shown, result, about, charts)
    by = asked.by or (task.dimensions[0].names if task.dimensions else ())
    slices = _slices(reader, task, wanted, by, asked, shown, value, result, charts)
    counted = _counts(reader, task, asked.where, shown)
    if counted is not None:
        charts |= _of_counts(task, counted)
    data = {
        "task": {
            "name": name, "kind": task.kind, "prediction": str(task.prediction), "label": str(task.label),
            "threshold": task.threshold, "horizon": task.horizon, "version": task.version,
            "dimensions": [list(dimension.names) for dimension in task.dimensions],
        },
        "window": forms.window(shown), "metric": wanted, "value": forms.value(value),
        "unsettled": bool(_unsettled(task, result)),
        "metrics": [
            {
                "metric": m, "title": parse(m, "task", task.kind).title,
                "value": forms.value(shown.metric(reader, name, m, whole=True, where=asked.where)[0].value),
                "headline": True,
            }
            for m in headlines(task)
        ],
        "available": [m for m in known_metrics("task", task.kind) if not _needs_more(m, task)],
        **forms.where_of(asked.where), "history": history, "volume": _volume(reader, task, asked, shown, charts),
        "slices": slices, "versions": _versions(reader, task, wanted, asked, shown, charts),
        "incidents": [forms.incident(each) for each in about[:20]], "delay": _delay(reader, task, asked, shown, charts),
    }  # fmt: skip
    return Page(data, charts, slices["rows"] if asked.by else history)


def _needs_more(name: str, task: Task) -> bool:
    question = parse_or_none(name, task)
    return question is None or bool(question.metric.curve)


def parse_or_none(name: str, task: Task) -> Any:
    """The question that a bare name asks; None if it needs parameters."""
    try:
        return parse(name, "task", task.kind)
    except FourfoldError:
        return None


def _is_about(incident: Incident, task: Task, shown: Shown) -> bool:
    if incident.seen < shown.window.start or incident.began > shown.window.end:
        return False
    return any(f.where.task == task.name for f in incident.findings)


def _history(
    reader: Reader,
    task: Task,
    wanted: str,
    asked: Asked,
    shown: Shown,
    result: Result,
    about: Sequence[Incident],
    charts: dict[str, Chart],
) -> list[Plain]:
    ranges = _expected(reader, task, wanted, asked.where, shown)
    times = [row.window.start for row in result]
    band = [ranges.get(at) for at in times]
    estimates = _estimates(reader, task, wanted, asked, shown, result)
    values = [curves.curve(wanted, [row.value for row in result])]
    if estimates:
        found = [estimates.get(at, Value.no_data("")) for at in times]
        values.append(curves.curve("estimated", found, "series-5", dashed=True))
    expected = Band([b and b[0] for b in band], [b and b[2] for b in band]) if any(band) else None
    charts["metric"] = Line(
        f"{wanted} of {task.name}{f' ({asked.where})' if asked.where else ''}", list(map(float, times)), values,
        curves.unit_of(wanted), expected, _limits(reader, task, wanted, asked.where), curves.spans(about),
    )  # fmt: skip
    return [
        {
            "start": forms.time(row.window.start), "end": forms.time(row.window.end), "value": forms.value(row.value),
            "expected": None if b is None else {"low": b[0], "value": b[1], "high": b[2]},
            "estimate": forms.value(estimates[row.window.start]) if row.window.start in estimates else None,
        }
        for row, b in zip(result, band, strict=True)
    ]  # fmt: skip


def _expected(
    reader: Reader, task: Task, wanted: str, where: Filter, shown: Shown
) -> Mapping[int, tuple[float, float, float]]:
    """What the watch expected of each day, where a part is a day and the records are all, or one slice's."""
    only = {name: next(iter(values)) for name, values in where.only if len(values) == 1}
    if shown.step != DAY or where.without or len(only) < len(where.only):
        return {}
    found = watched.of_task(reader, task.name, slice_key(only) if only else EVERYTHING, wanted)
    if found is None:
        return {}
    rows = zip(found.times, found.low, found.middle, found.high, strict=True)
    return {t: (a, b, c) for t, a, b, c in rows if a is not None and b is not None and c is not None}


def _estimates(reader: Reader, task: Task, wanted: str, asked: Asked, shown: Shown, result: Result) -> dict[int, Value]:
    """The metric as expected once all labels are in, of the parts that are not settled; on demand, as it takes long."""
    unsettled = _unsettled(task, result)
    if asked.more.get("estimate") != "1" or not unsettled:
        return {}
    recent = dataclasses.replace(shown, window=Window(unsettled[0], shown.window.end))
    try:
        found = recent.metric(reader, task.name, wanted, where=asked.where, estimate=True)
    except InputError:  # a metric that is not estimated
        return {}
    return {row.window.start: row.value for row in found}


def _unsettled(task: Task, result: Result) -> list[int]:
    """Where the parts begin whose labels can still come, some or all of them, if such a task is estimated."""
    if task.kind not in KINDS_OF_TASK:
        return []
    return [r.window.start for r in result if r.value.status is not Status.SETTLED and r.value.coverage is not None]


def _limits(reader: Reader, task: Task, wanted: str, where: Filter) -> list[Limit]:
    """The bounds of the objectives for this metric of these records: all of them, or one slice."""
    if where.without or any(len(values) > 1 for _, values in where.only):
        return []
    known = reader.recall(listed).values()
    return [
        Limit(o.bound, f"{o.name}: {o.expression}", "broken")
        for o in known
        if o.target == task.name and o.metric == wanted and set(o.by) == where.names
    ]


def _volume(reader: Reader, task: Task, asked: Asked, shown: Shown, charts: dict[str, Chart]) -> list[Plain]:
    rows = list(shown.metric(reader, task.name, "coverage", where=asked.where))
    times = [float(row.window.start) for row in rows]
    labelled = [round(row.value.n * (row.value.value or 0.0)) for row in rows]
    waiting = [row.value.n - done for row, done in zip(rows, labelled, strict=True)]
    series = [Series("labelled", labelled, "accent"), Series("without a label", waiting, "muted")]
    charts["volume"] = Bars(f"predictions of {task.name}", series, times, unit="")
    charts["coverage"] = Line("share of the predictions that have a label", times,
                              [Curve("coverage", [row.value.value for row in rows])], "share")  # fmt: skip
    return [
        {
            "start": forms.time(row.window.start), "end": forms.time(row.window.end), "predicted": row.value.n,
            "labelled": done, "coverage": row.value.value, "status": row.value.status.value,
        }
        for row, done in zip(rows, labelled, strict=True)
    ]  # fmt: skip


def _delay(reader: Reader, task: Task, asked: Asked, shown: Shown, charts: dict[str, Chart]) -> Plain:
    """How long labels take, in seconds."""
    result = shown.metric(reader, task.name, "label_delay(0.5)", where=asked.where)
    charts["delay"] = curves.line("how long labels take (median)", result, "label_delay")
    return forms.value(shown.metric(reader, task.name, "label_delay(0.5)", whole=True, where=asked.where)[0].value)


def _slices(
    reader: Reader,
    task: Task,
    wanted: str,
    by: tuple[str, ...],
    asked: Asked,
    shown: Shown,
    whole: Value,
    history: Result,
    charts: dict[str, Chart],
) -> Plain:
    if not by:
        return {"by": [], "total": 0, "rows": [], "reason": "the task declares no slices"}
    try:
        found = losses(shown.metric(reader, task.name, wanted, whole=True, by=by, where=asked.where), wanted)
    except InputError as error:
        if not asked.where or asked.by:
            raise
        return {"by": list(by), "total": 0, "rows": [], "reason": str(error)}
    rows = found[asked.offset : asked.offset + asked.limit]
    _heat(reader, task, wanted, by, asked, shown, found[:_ROWS], history, charts)
    return {
        "by": list(by), "total": len(found), "reason": "",
        "rows": [
            _slice(reader, task, wanted, one, asked, shown, whole, worked_out=i < _WITHOUT)
            for i, one in enumerate(rows)
        ],
    }  # fmt: skip


def _slice(
    reader: Reader, task: Task, wanted: str, one: SliceLoss, asked: Asked, shown: Shown, whole: Value, *,
    worked_out: bool,
) -> Plain:  # fmt: skip
    texts = [chosen(name, text) for name, text in one.slice.items()]
    rest: Value | None = None
    if worked_out and len(one.slice) == 1 and not asked.where:
        rest = shown.metric(reader, task.name, wanted, whole=True, where=Filter.of([], texts))[0].value
    here = {"metric": asked.metric, "start": asked.start, "end": asked.end, "by": asked.by}
    gap = None if one.value.value is None or whole.value is None else one.value.value - whole.value
    return {
        "slice": dict(one.slice), "name": forms.slice_name(one.slice), "value": forms.value(one.value),
        "n": one.value.n, "share": one.share, "loss_share": one.loss, "difference": gap,
        "without": None if rest is None else forms.value(rest),
        "href_only": path("tasks", task.name, **here, only=texts),
        "href_without": path("tasks", task.name, **here, without=texts) if len(texts) == 1 else None,
    }  # fmt: skip


def _heat(
    reader: Reader,
    task: Task,
    wanted: str,
    by: tuple[str, ...],
    asked: Asked,
    shown: Shown,
    found: Sequence[SliceLoss],
    history: Result,
    charts: dict[str, Chart],
) -> None:
    keys = {slice_key(one.slice): i for i, one in enumerate(found)}
    result = shown.metric(reader, task.name, wanted, by=by, where=asked.where)
    times = sorted({row.window.start for row in result})
    place = {at: i for i, at in enumerate(times)}
    cells = [[Value.no_data("")] * len(times) for _ in found]
    for row in result:
        if (i := keys.get(slice_key(row.slice))) is not None:
            cells[i][place[row.window.start]] = row.value
    values, low, high = ([[getattr(v, end) for v in line] for line in cells] for end in ("value", "low", "high"))
    names = [forms.slice_name(one.slice) for one in found]
    whole = {row.window.start: row.value.value for row in history}
    charts["slices"] = Heat(
        f"{wanted} by {' × '.join(by)}", names, list(map(float, times)), values, curves.unit_of(wanted),
        [whole.get(at) for at in times], low, high,
    )  # fmt: skip


def _versions(
    reader: Reader, task: Task, wanted: str, asked: Asked, shown: Shown, charts: dict[str, Chart]
) -> list[Plain]:
    if not task.version or asked.where:
        return []
    whole = shown.metric(reader, task.name, wanted, whole=True, by=(task.version,))
    parts = shown.metric(reader, task.name, wanted, by=(task.version,))
    times = sorted({row.window.start for row in parts})
    by_version: dict[str | None, dict[int, Value]] = {}
    for row in parts:
        by_version.setdefault(row.slice[task.version], {})[row.window.start] = row.value
    nothing = Value.no_data("")
    most = sorted(whole, key=lambda row: -row.value.n)[:_VERSIONS]
    lines = [
        curves.curve(str(v), [by_version.get(v, {}).get(at, nothing) for at in times])
        for v in (row.slice[task.version] for row in most)
    ]
    charts["versions"] = Line(f"{wanted} by version", list(map(float, times)), lines, curves.unit_of(wanted))
    found = []
    for row in whole:
        seen = [at for at, value in by_version.get(row.slice[task.version], {}).items() if value.n]
        found.append(
            {
                "version": row.slice[task.version], "value": forms.value(row.value), "n": row.value.n,
                "first": forms.time(min(seen, default=None)), "last": forms.time(max(seen, default=None)),
            }
        )  # fmt: skip
    return found


def _counts(reader: Reader, task: Task, where: Filter, shown: Shown) -> Counts | None:
    """The task's own counts in the window."""
    source: OwnerCounts = CurrentCounts(reader, Owner.of_task(task.name))
    if where:
        source = FilteredCounts(source, f"task {task.name!r}", where)
    level = DAY if shown.window.start % DAY == 0 and shown.window.end % DAY == 0 else 3_600
    found, _ = by_window(source, "", (task.kind,), (), [shown.window], level)
    return pooled(entry for _, entry in found)


def _of_counts(task: Task, counted: Counts) -> dict[str, Chart]:
    """The charts that are read off a task's counts: reliability, confusion, scores."""
    found: dict[str, Chart] = {}
    if task.kind == "binary":
        tp, fp, fn, tn = map(counted.tally, CELLS)
        if tp + fp + fn + tn > 0:
            title, cells = "labels (rows) and decisions (columns)", [[tp, fn], [fp, tn]]
            found["confusion"] = Confusion(title, ["positive", "negative"], cells)
        curve = parse("calibration_curve", "task", "binary").of(counted, task=task)
        bins = [
            Bin(value.expected, value.value, value.low, value.high, value.n)
            for _, value in curve
            if None not in (value.value, value.low, value.high, value.expected)
        ]
        if bins:
            found["reliability"] = Reliability("what was predicted, and what happened", bins)
        if (pair := _scores(counted)) is not None:
            found["scores"] = pair
    if task.kind == "multiclass" and (matrix := _multiclass(counted)) is not None:
        found["confusion"] = matrix
    return found


def _scores(counted: Counts) -> Pair | None:
    """The scores of positives and negatives."""
    scores, positives, negatives = score_counts(counted)
    if not len(scores) or not positives.sum() or not negatives.sum():
        return None
    low, high = float(scores.min()), float(scores.max())
    if low >= -_OUTSIDE and high <= 1 + _OUTSIDE:  # middles of bins of probabilities
        low, high = 0.0, 1.0
    edges = np.linspace(low, high, _BINS + 1)
    where = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, _BINS - 1)
    sides = [np.bincount(where, n, _BINS) / n.sum() for n in (positives, negatives)]
    labels = [f"{edge:.3g}" for edge in edges[:-1]]
    return Pair("scores", labels, ("positive label", "negative label"), (sides[0].tolist(), sides[1].tolist()))


def _multiclass(counted: Counts) -> Confusion | None:
    cells: dict[tuple[str, str], float] = {}
    for text, n in zip(counted.labels, counted.counts.tolist(), strict=True):
        pair = json.loads(text)
        if len(pair) == 2:
            cells[str(pair[0]), str(pair[1])] = n
    sizes: dict[str, float] = {}
    for (_, actual), n in cells.items():
        sizes[actual] = sizes.get(actual, 0.0) + n
    for predicted, _ in cells:
        sizes.setdefault(predicted, 0.0)
    shown = sorted(sizes, key=lambda label: -sizes[label])[:_CLASSES]
    if not cells:
        return None
    matrix = [[cells.get((predicted, actual), 0.0) for predicted in shown] for actual in shown]
    return Confusion("actual (rows) and predicted (columns) class", shown, matrix)
