"""The first page: what is wrong, for whom, since when; objectives first, then the four groups, then all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fourfold.charts import Chart, Limit
from fourfold.errors import FourfoldError
from fourfold.model import Finding, Group, Incident, ObjectiveStatus, RunStatus, Severity, slice_key
from fourfold.model.objective import OF_RUNS
from fourfold.query.filtered import chosen
from fourfold.query.reader import Reader
from fourfold.query.target import resolve
from fourfold.reports.components import ComponentView, components
from fourfold.reports.problems import uncountable
from fourfold.reports.streams import spans
from fourfold.state import bulk, catalogue
from fourfold.views import curves, forms, tasks
from fourfold.views.asking import Asked, path
from fourfold.views.page import Page, Plain
from fourfold.views.standings import standings
from fourfold.watch.incidents import incidents
from fourfold.watch.memory import remembered
from fourfold.watch.objectives import ObjectiveView
from fourfold.watch.rows import iso

_CHARTS = 12  # objectives that are drawn
_OBJECTIVES, _TASKS, _COMPONENTS = 100, 20, 50  # that are shown; of more, those first that something is wrong with
_WORST = 5  # findings of a group that are shown
_BACK = "-90d"
_TITLES = {
    Group.STATELESS_SINGLE: "A component by itself, by one look: failed runs, values that cannot be",
    Group.STATELESS_CROSS: "The pipeline as a whole, by one look: missing runs, parts that are not complete",
    Group.STATEFUL_SINGLE: "A component against its own past: drift, missing values, volume",
    Group.STATEFUL_CROSS: "Predictions against labels, and training against serving",
}


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What the first page shows."""
    active = list(incidents(reader, active=True))
    objectives, charts = list(standings(reader, now)), dict[str, Chart]()
    told = objectives if len(objectives) <= _OBJECTIVES else sorted(objectives, key=_standing)[:_OBJECTIVES]
    shown = [_objective(reader, view, active, charts, now) for view in told]
    declared, listed = tasks.in_order(reader, active), components(reader)
    ends, checked = _ends(reader), remembered(reader).checked is not None
    state, headline = _state(active, objectives, checked=checked), _headline(active, objectives)
    if not ends and not listed:
        state, headline = "empty", "nothing has been logged yet"
    elif not checked:
        headline = f"{headline}; {_unjudged(listed)}" if state != "unchecked" else _unjudged(listed)
    data = {
        "project": reader.project, "now": iso(now), "data_end": forms.time(max(ends, default=None)),
        "state": state, "headline": headline,
        "behind": reader.standing.behind, "objectives": shown, "objectives_total": len(objectives),
        "groups": _groups(reader, active, listed, checked=checked),
        "incidents": [forms.incident(each) for each in active[: asked.limit]], "incidents_total": len(active),
        "tasks": [tasks.row(reader, one, charts, now) for one in declared[:_TASKS]], "tasks_total": len(declared),
        "components": [_component(view) for view in _failed_first(listed)[:_COMPONENTS]],
        "components_total": len(listed), "problems": len(uncountable(reader)),
    }  # fmt: skip
    return Page(data, charts)


def _ends(reader: Reader) -> list[int]:
    """Where the data end, by event time: of what tasks predict, or else of all streams."""
    known = spans(reader)
    predicted = [task.prediction.stream for task in reader.recall(catalogue.tasks).values()]
    return [known[name][1] for name in predicted if name in known] or [end for _, end in known.values()]


def _state(active: Sequence[Incident], objectives: Sequence[ObjectiveView], *, checked: bool) -> str:
    missed = any(view.status is ObjectiveStatus.MISSED for view in objectives)
    if missed or any(each.severity is Severity.PAGE for each in active):
        return "broken"
    at_risk = any(view.status is ObjectiveStatus.AT_RISK for view in objectives)
    if at_risk or any(each.severity is Severity.TICKET for each in active):
        return "degraded"
    return "healthy" if checked else "unchecked"


def _headline(active: Sequence[Incident], objectives: Sequence[ObjectiveView]) -> str:
    parts = [f"{_number(len(active), 'incident')} open"] if active else []
    for status, words in ((ObjectiveStatus.MISSED, "missed"), (ObjectiveStatus.AT_RISK, "at risk")):
        found = sum(view.status is status for view in objectives)
        parts += [f"{_number(found, 'objective')} {words}"] if found else []
    return ", ".join(parts) or "nothing is wrong"


def _unjudged(listed: Sequence[ComponentView]) -> str:
    """What is known of components that nothing has judged yet."""
    failed = sum(view.last.status in (RunStatus.FAILED, RunStatus.LOST) for view in listed)
    told = f"the newest run of {_number(failed, 'component')} failed; " if failed else ""
    return f"{told}not checked yet: run fourfold check, or add [watch] to fourfold.toml"


def _number(found: int, what: str) -> str:
    return f"{found:,} {what}{'s' if found != 1 else ''}"


def _objective(
    reader: Reader, view: ObjectiveView, active: Sequence[Incident], charts: dict[str, Chart], now: float
) -> Plain:
    objective = view.objective
    chart = None
    if not view.slice and len(charts) < _CHARTS and (drawn := _drawn(reader, view, now)) is not None:
        chart = f"objective:{view.name}"
        charts[chart] = drawn
    place = slice_key(view.slice) if view.slice else ""
    return {
        "name": view.name, "expression": view.expression, "window": objective.window_text, "slice": dict(view.slice),
        "status": view.status.value, "value": forms.value(view.value), "unit_of_value": _unit(view),
        "bound": objective.bound, "op": objective.op, "start": iso(view.start), "end": iso(view.end),
        "elapsed": view.elapsed, "good": view.good, "total": view.total, "unit": view.unit, "goal": view.goal,
        "budget": {
            "total": view.budget.total, "consumed": view.budget.consumed, "remaining": view.budget.remaining,
        },
        "burns": [
            {
                "severity": burn.rule.severity.value, "factor": burn.rule.factor, "long": burn.long,
                "short": burn.short, "long_window": burn.rule.long, "short_window": burn.rule.short,
                "fires": burn.fires,
            }
            for burn in view.burns
        ],
        "estimate": None if view.estimate is None else forms.value(view.estimate),
        "best_constant": view.baseline.value, "constant": view.baseline.words,
        "previous": None if view.previous is None else {
            "status": view.previous.status.value, "value": forms.value(view.previous.value),
            "start": iso(view.previous.start), "end": iso(view.previous.end),
        },
        "reason": view.reason, "owner": objective.owner, "runbook": objective.runbook,
        "description": objective.description, "target": objective.target, "href": _href(reader, view), "chart": chart,
        "incidents": [
            each.id
            for each in active
            if any(f.where.objective == view.name and f.where.slice in ("", place) for f in each.findings)
        ],
    }  # fmt: skip


def _standing(view: ObjectiveView) -> int:
    """The order of objectives, if they are many: those missed first, then those at risk."""
    order = (ObjectiveStatus.MISSED, ObjectiveStatus.AT_RISK)
    return order.index(view.status) if view.status in order else len(order)


def _unit(view: ObjectiveView) -> str:
    return curves.unit_of(view.objective.metric) or "number"


def _href(reader: Reader, view: ObjectiveView) -> str:
    """The page about what is asked for, in the objective's window."""
    objective = view.objective
    if objective.name_of_metric in OF_RUNS:
        return path("runs", component=objective.target)
    try:
        found = resolve(reader, objective.target)
    except FourfoldError:  # of a task that is not declared yet
        return path("")
    start, end = (iso(view.start), iso(view.end)) if objective.calendar else (f"-{objective.window_text}", "")
    asked = {
        "metric": objective.metric, "only": [chosen(name, text) for name, text in view.slice.items()],
        "start": start, "end": end,
    }  # fmt: skip
    if found.kind == "task":
        return path("tasks", found.owner.name, **asked)
    if found.column:
        return path("columns", found.owner.name, found.column, **asked)
    return path("streams", found.owner.name, start=start, end=end)


def _drawn(reader: Reader, view: ObjectiveView, now: float) -> Chart | None:
    """The objective's metric over time, with the bound; None where it is no metric of counts."""
    objective = view.objective
    try:
        found = resolve(reader, objective.target)
        shown = Asked().window(reader, found.owner, now, default=_BACK)
        result = shown.metric(reader, objective.target, objective.metric)
    except FourfoldError:  # of runs, or of what is not there yet
        return None
    bound = Limit(objective.bound, f"{objective.op} {objective.bound:g}", "broken")
    return curves.line(view.expression, result, objective.metric, limits=[bound])


def _groups(
    reader: Reader, active: Sequence[Incident], listed: Sequence[ComponentView], *, checked: bool
) -> list[Plain]:
    columns = len({(owner, entry.column) for owner, entry in reader.recall(bulk.of_streams) if entry.column})
    watched: Mapping[Group, Plain] = {
        Group.STATELESS_SINGLE: {"components": len(listed), "columns": columns},
        Group.STATELESS_CROSS: {"components": len(listed)},
        Group.STATEFUL_SINGLE: {"streams": len(forms.known_streams(reader)), "columns": columns},
        Group.STATEFUL_CROSS: {"tasks": len(reader.recall(catalogue.tasks))},
    }
    found = []
    for group in Group:
        members = [(each, f) for each in active for f in each.findings if f.group is group]
        state, _, span = group.value.partition(", ")
        worst = sorted((f for _, f in members), key=_urgency)
        health = worst[0].severity.value if worst else "ok" if checked else "unchecked"
        found.append(
            {
                "group": group.value, "title": _TITLES[group], "state": state, "span": span, "health": health,
                "incidents": list(dict.fromkeys(each.id for each, _ in members)), "findings": len(members),
                "worst": [forms.finding(f) for f in _telling(worst)[:_WORST]], "watched": watched[group],
            }
        )  # fmt: skip
    return found


def _telling(worst: Sequence[Finding]) -> list[Finding]:
    """The first of each kind and column, and then the others: the same fault is found in each stream that it passes."""
    first: dict[tuple[str, str], Finding] = {}
    for found in worst:
        first.setdefault((found.kind, found.where.column), found)
    told = list(first.values())
    return [*told, *(found for found in worst if found not in told)]


def _urgency(found: Finding) -> tuple[int, float, str]:
    return found.severity.rank, -found.weight, found.series


def _failed_first(listed: Sequence[ComponentView]) -> list[ComponentView]:
    return sorted(listed, key=lambda view: view.last.status not in (RunStatus.FAILED, RunStatus.LOST))


def _component(view: ComponentView) -> Plain:
    return {
        "name": view.name, "status": view.last.status.value, "last_run": iso(view.last.started),
        "duration": view.last.duration, "runs": view.runs, "failed_of_last_10": view.failed,
        "feeds": list(view.feeds), "href": path("runs", component=view.name),
    }  # fmt: skip
