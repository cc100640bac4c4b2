"""Incidents: the list, and one of them with its findings in order, each with what was expected."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import operator

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.charts import Band, Chart, Curve, Limit, Line, Span
from fourfold.errors import FourfoldError, InputError
from fourfold.model import DAY, Finding, Incident, IncidentState, Run, RunStatus, Where
from fourfold.model.records import EVENT_TIME, KEY
from fourfold.query.reader import Reader
from fourfold.query.target import resolve
from fourfold.state import bulk, catalogue, runs
from fourfold.state.objectives import listed
from fourfold.views import curves, forms
from fourfold.views.asking import Asked, path
from fourfold.views.ordering import part
from fourfold.views.page import Page, Plain
from fourfold.watch import incidents as asked_of
from fourfold.watch.expected import expected
from fourfold.watch.grouping import OBJECTIVE
from fourfold.watch.lifecycle import DECISIONS, legal
from fourfold.watch.lineage import Lineage, component_of
from fourfold.watch.memory import remembered
from fourfold.watch.rows import iso

_DRAWN = 24  # findings
_METRICS = {
    "negative_values": "min", "nulls": "null_rate", "wrong_type": "null_rate", "new_category": "distinct",
    "duplicates": "duplicate_keys",
}  # fmt: skip
_AROUND = 3 * DAY  # of the onset, in which runs that changed something are told
_RUNS = 10_000  # of a component, about the onset, that are looked at
_NOTED = 20  # runs of the time line


def list_page(reader: Reader, asked: Asked, now: float) -> Page:
    """The incidents: the open ones, those in some state, or all."""
    state = asked.more.get("state", "open")
    known = list(asked_of.incidents(reader, active=False))
    if state not in ("open", "all", *IncidentState):
        raise InputError(f"state={state!r}: give open, all, or one of {', '.join(IncidentState)}")
    found = [
        each for each in known if state == "all" or (each.state.is_active if state == "open" else each.state == state)
    ]
    rows, total = part([forms.incident(each) for each in found], asked)
    with reader.database.read() as connection:
        days = len(bulk.buckets(connection, reader.project, DAY))
    record = asked_of.record(known, DAY * days)
    data = {
        "rows": rows, "total": total, "state": state,
        "record": {**dataclasses.asdict(record), "precision": record.precision},
    }  # fmt: skip
    return Page(data, rows=rows)


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """One incident."""
    found = asked_of.incident(reader, asked.more.get("id", ""))
    lineage = lineage_of(reader)
    charts: dict[str, Chart] = {}
    # in the order in which it went through the pipeline: by the day of the onset, then from upstream to downstream
    in_order = sorted(found.findings, key=lambda f: (f.began // DAY, lineage.depth(f.where), -f.weight, f.series))
    depths = sorted({lineage.depth(each.where) for each in in_order})
    rows = []
    for i, each in enumerate(in_order):
        is_asked = i < _DRAWN or each is found.findings[0]  # where it began
        drawn = _drawn(reader, each, now) if is_asked else None
        if drawn is not None:
            charts[f"finding:{i}"] = drawn
        name = None if drawn is None else f"finding:{i}"
        undrawn = None
        if drawn is None:
            undrawn = _why_undrawn(each) if is_asked else f"only the first {_DRAWN} are drawn"
        rows.append({**forms.finding(each, name), "undrawn": undrawn, "depth": depths.index(lineage.depth(each.where))})
    objectives = reader.recall(listed)
    charts["time_line"] = found.chart
    data = {
        **decided(found), "findings": rows, "time_line": _time_line(reader, found, now),
        "example": _example(reader, found, lineage),
        "objectives": [
            {"name": name, "expression": objectives[name].expression, "window": objectives[name].window_text,
             "owner": objectives[name].owner, "runbook": objectives[name].runbook}
            for name in found.objectives if name in objectives
        ],
        "tasks": [{"name": name, "href": path("tasks", name)} for name in lineage.tasks_of(found.where)],
        "box": _box(found, lineage), "causes": [],
    }  # fmt: skip
    return Page(data, charts, rows)


def decided(found: Incident) -> Plain:
    """An incident, and what a user can decide about it now."""
    actions = [event.value for event in legal(found.state) if event in DECISIONS]
    return {"incident": forms.incident(found), "actions": actions}


def lineage_of(reader: Reader) -> Lineage:
    """What feeds what."""
    components = list(reader.recall(runs.components))
    loggers = remembered(reader).loggers
    streams = {name: loggers.get(name) or component_of(name, components) for name in forms.known_streams(reader)}
    tasks = reader.recall(catalogue.tasks).values()
    return Lineage.of(reader.recall(runs.edges), reader.recall(runs.inputs), streams, tasks)


def _drawn(reader: Reader, finding: Finding, now: float) -> Chart | None:
    span = Span(finding.began, max(finding.seen, finding.began), "since it began", "warning")
    known = expected(reader, finding.series)
    if known is not None:
        unit = "share" if known.measure.scale.value in ("rate", "position") else curves.unit_of(known.measure.name)
        name = known.measure.name.replace("_", " ")
        return Line(
            f"{finding.where}: {name}", [float(at) for at in known.times],
            [Curve(name, known.values)], unit, Band(known.low, known.high), spans=[span],
        )  # fmt: skip
    metric = _measured(finding)
    objective = reader.recall(listed).get(finding.where.objective) if finding.kind == OBJECTIVE else None
    if objective is not None:
        title, target, metric = objective.expression, objective.target, objective.metric
        limits = [Limit(objective.bound, f"{objective.op} {objective.bound:g}", "broken")]
    elif metric is not None:
        title, target = f"{finding.where}: {metric.replace('_', ' ')}", str(finding.where)
        sides = ((finding.low, "at least"), (finding.high, "at most"))
        limits = [Limit(bound, f"{words} {bound:g}", "broken") for bound, words in sides if bound is not None]
    else:
        return None
    try:
        shown = Asked().window(reader, resolve(reader, target).owner, now, default="-90d")
        result = shown.metric(reader, target, metric)
    except FourfoldError:  # of runs, or of what is not there any more
        return None
    return curves.line(title, result, metric, limits=limits, spans=[span])


def _measured(finding: Finding) -> str | None:
    """The metric in which a violation of a constraint shows."""
    if finding.kind == "out_of_range":
        return "min" if finding.high is None else "max"
    return _METRICS.get(finding.kind)


def _why_undrawn(finding: Finding) -> str:
    return "no series is kept of it" if finding.where.stream or finding.where.task else "it is about runs"


def _time_line(reader: Reader, incident: Incident, now: float) -> list[Plain]:
    """What happened, in order: the onset of each finding, runs that changed something about then, what was decided."""
    found: list[tuple[float, str, str, Plain | None]] = [
        (f.began, f.what, "finding", forms.where(f.where)) for f in incident.findings
    ]
    found.append((incident.began, f"it began in {incident.where}", "onset", forms.where(incident.where)))
    found.append((incident.opened, "fourfold said so", "opened", None))
    if incident.resolved is not None:
        found.append((incident.resolved, incident.reason or incident.state.value, incident.state.value, None))
    if incident.until is not None:
        found.append((incident.until, "the snooze ends", "snoozed", None))
    found += _changes(reader, incident)
    order = {"run": 0, "onset": 1}
    return [
        {"at": iso(at), "what": what, "kind": kind, "where": where}
        for at, what, kind, where in sorted(found, key=lambda e: (e[0], order.get(e[2], 2), e[1]))
    ]


def _changes(reader: Reader, incident: Incident) -> list[tuple[float, str, str, Plain | None]]:
    """The runs about the onset that failed, or had other code, parameters or packages than the run before them."""
    about = (incident.began_low - _AROUND, incident.began_high + _AROUND)
    with reader.database.read() as connection:
        during = runs.during(connection, reader.project, [about], _RUNS)
        older = runs.before(connection, reader.project, [several[0].id for several in during.values()])
    found: list[tuple[float, str, str, Plain | None]] = []
    for component, several in during.items():
        where = forms.where(Where(component=component))
        first = [older[several[0].id]] if several[0].id in older else []
        for before, run in itertools.pairwise([*first, *several]):
            changed = forms.changes(before, run)
            if run.status in (RunStatus.FAILED, RunStatus.LOST) and before.status is RunStatus.SUCCEEDED:
                changed.append(run.outcome)
            if changed:
                found.append((_at(run), f"{component}: {', '.join(changed)}", "run", where))
        if len(several) >= _RUNS:
            found.append((_at(several[0]), f"{component}: of its runs, the newest {_RUNS:,} are told", "run", where))
    return sorted(found, key=lambda e: abs(e[0] - incident.began))[:_NOTED]


def _at(run: Run) -> float:
    return run.started if run.at is None else run.at


def _example(reader: Reader, incident: Incident, lineage: Lineage) -> Plain | None:
    """A record of the place where it began, or of a task that it feeds, to trace."""
    tasks = reader.recall(catalogue.tasks)
    streams = [incident.where.stream] if incident.where.stream else []
    fed = lineage.tasks_of(incident.where) or ([incident.where.task] if incident.where.task else list(tasks))
    streams += [tasks[name].prediction.stream for name in fed if name in tasks]
    known = reader.recall(catalogue.streams)
    for stream in dict.fromkeys(streams):
        if stream not in known or known[stream][0] is None or not reader.log(stream).is_begun:
            continue
        key = _first_key(reader, stream, incident)
        if key is not None:
            return {"key": key, "stream": stream, "href": path("trace", key=key)}
    return None


def _first_key(reader: Reader, stream: str, incident: Incident) -> str | None:
    """The key of the first record since it began that shows it, as far as one record can."""
    log = reader.log(stream).whole()
    micros = [int(at * 1_000_000) for at in (incident.began, max(incident.seen, incident.began + DAY))]
    kind = log.schema.field(EVENT_TIME).type
    first, last = (pc.scalar(at).cast(kind) for at in micros)
    inside = (pc.field(EVENT_TIME) >= first) & (pc.field(EVENT_TIME) < last) & pc.field(KEY).is_valid()
    sliced, wrong = _in_slice(log.schema, incident.where), _wrong(log.schema, stream, incident.findings[0])
    for shown in ([*sliced, *wrong], sliced, []):
        found = log.records(functools.reduce(operator.and_, shown, inside), [KEY, EVENT_TIME])
        if found.num_rows:
            return str(found.sort_by(EVENT_TIME)[KEY][0].as_py())
    return None


def _in_slice(schema: pa.Schema, where: Where) -> list[pc.Expression]:
    """What the records of a slice have, as far as its names are columns."""
    found = []
    for name, value in json.loads(where.slice or "{}").items():
        if name in schema.names and not (
            pa.types.is_nested(schema.field(name).type) or pa.types.is_binary(schema.field(name).type)
        ):
            column = pc.field(name)
            found.append(column.is_null() if value is None else column.cast(pa.string()) == value)
    return found


def _wrong(schema: pa.Schema, stream: str, finding: Finding) -> list[pc.Expression]:
    """What the values that a finding is about have, where each of them is wrong by itself."""
    name = finding.where.column
    if finding.where.stream != stream or name not in schema.names:
        return []
    column, kind = pc.field(name), schema.field(name).type
    if finding.kind == "nulls" or (finding.kind == "missing_rate" and (finding.value or 0) > (finding.expected or 0)):
        return [column.is_null(nan_is_null=pa.types.is_floating(kind))]
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if finding.kind in ("out_of_range", "negative_values") and is_number:
        beyond = [] if finding.low is None else [column < finding.low]
        return beyond if finding.high is None else [column > finding.high]
    return []


def _box(incident: Incident, lineage: Lineage) -> str | None:
    """The page of what differs since it began."""
    tasks = lineage.tasks_of(incident.where) or ([incident.where.task] if incident.where.task else [])
    target = next(iter(tasks), incident.where.stream)
    if not target:
        return None
    start, end = int(incident.began) // DAY * DAY, -(-int(max(incident.seen, incident.began + DAY)) // DAY) * DAY
    return path("box", target=target, start=iso(start), end=iso(end))
