"""What is wrong with objectives, for incidents."""

from __future__ import annotations

import time

from fourfold.errors import FourfoldError
from fourfold.model import (
    HOUR,
    Finding,
    Group,
    Objective,
    ObjectiveStatus,
    Severity,
    Where,
    slice_key,
)
from fourfold.model.objective import DURATION, FRESHNESS, OF_RUNS, length_text
from fourfold.query.reader import Reader
from fourfold.query.target import resolve
from fourfold.state.objectives import listed
from fourfold.watch.objectives.budget import Tally
from fourfold.watch.objectives.burn import Burn, limit_of, onset
from fourfold.watch.objectives.judge import interval
from fourfold.watch.objectives.report import Judged, judged, judged_before

_OPERATORS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
_UNDECIDED = (ObjectiveStatus.TOO_EARLY, ObjectiveStatus.NO_DATA)


def findings(reader: Reader, now: float) -> list[Finding]:
    """The objectives whose error budget burns, that are missed, or that an estimate says will be.

    Burn rates page or ask for a ticket as in the Site Reliability Workbook; a missed window asks for a ticket; an
    estimate is a notice, unless the objective says otherwise. None is raised by an empty or immature window, nor by
    what chance explains. A window of the calendar that was missed is told of until the next one is decided.
    """
    found = []
    for objective in reader.recall(listed).values():
        several = judged(reader, objective, now)
        where = _where(reader, objective)
        before = {slice_key(b.sliced.slice): b for b in judged_before(reader, several[0].reading)}
        for entry in several:
            made = of(entry, where)
            if made is None and entry.status in _UNDECIDED:
                earlier = before.get(slice_key(entry.sliced.slice))
                made = None if earlier is None else of(earlier, where)
            found += [] if made is None else [made]
    return found


def of(entry: Judged, where: Where) -> Finding | None:
    """The finding of one slice, if there is one."""
    reading, objective = entry.reading, entry.reading.objective
    burning = next((burn for burn in entry.burns if burn.fires), None)
    if burning is not None:
        return _burning(entry, where, burning)
    missed = entry.status is ObjectiveStatus.MISSED
    if missed and entry.standing.mature and interval(entry.standing)[1] < reading.goal:
        seen = min(reading.settled_until, reading.end)
        return _made(entry, where, Severity.TICKET, _missed(entry), entry.tally, seen, _spent(entry))
    if entry.standing.estimate_misses and (missed or entry.status is ObjectiveStatus.AT_RISK):
        severity = Severity.PAGE if objective.estimates else Severity.NOTICE
        return _made(entry, where, severity, _expected(entry), entry.tally, reading.end, 1.0)
    return None


def _burning(entry: Judged, where: Where, burn: Burn) -> Finding:
    reading = entry.reading
    weight = burn.tally.bad_share / max(limit_of(burn.rule, reading.allowed), 1e-9)
    until = reading.settled_until
    what = (
        f"{_name(entry)}: {_share(entry, burn.tally)}, in the {length_text(burn.rule.long)} to {_moment(until)}; its "
        f"error budget is spent {_times(burn.long)} as fast as it lasts"
    )
    return _made(entry, where, burn.rule.severity, what, burn.tally, until, weight)


def _made(
    entry: Judged, where: Where, severity: Severity, what: str, tally: Tally, seen: int, weight: float
) -> Finding:
    reading, objective = entry.reading, entry.reading.objective
    began = onset(entry.sliced.buckets, reading.settled_until, reading.allowed)
    start, low, high = (began.at, began.low, began.high) if began else (seen - reading.unit,) * 3
    place = slice_key(entry.sliced.slice) if entry.sliced.slice else ""
    bound = objective.bound
    return Finding(
        f"objective:{objective.name}:{place}", "objective", what, _group(objective, where), severity,
        Where(where.component, where.stream, where.column, where.task, place, objective.name),
        start, low, high, seen, _value(entry, tally), bound, bound if objective.at_least else None,
        None if objective.at_least else bound, int(tally.total), weight, _advice(objective), objective.owner,
        objective.runbook,
    )  # fmt: skip


def _value(entry: Judged, tally: Tally) -> float | None:
    """The metric where the finding is: of a rate's events in the window that burns, else over the whole window."""
    objective, share = entry.reading.objective, tally.share
    if not entry.reading.events or objective.name_of_metric == DURATION or share is None:
        value = entry.sliced.value if share is not None else entry.sliced.estimate
        return None if value is None else value.value
    return share if objective.at_least else 1 - share


def _name(entry: Judged) -> str:
    inside = ", ".join(f"{name}={value}" for name, value in entry.sliced.slice.items())
    return f"{entry.reading.objective.name} ({inside})" if inside else entry.reading.objective.name


def _share(entry: Judged, tally: Tally) -> str:
    """What was, and what is wanted."""
    objective, reading = entry.reading.objective, entry.reading
    bound = f"{_OPERATORS[objective.op]} {_bound(objective)}"
    if reading.events and objective.name_of_metric != DURATION and tally.share is not None:
        share = tally.share if objective.at_least else 1 - tally.share
        unit = "runs" if objective.name_of_metric in OF_RUNS else "records"
        return f"{objective.metric} was {share:.3g} ({tally.total:,.0f} {unit}), and {bound} is wanted"
    unit = "runs" if objective.name_of_metric == DURATION else "hours" if reading.unit == HOUR else "days"
    return (
        f"{tally.good:,.0f} of {tally.total:,.0f} {unit} had a {objective.metric} of {bound}, and "
        f"{100 * reading.goal:g} % are wanted"
    )


def _bound(objective: Objective) -> str:
    return length_text(int(objective.bound)) if objective.is_length else f"{objective.bound:g}"


def _missed(entry: Judged) -> str:
    spent = "" if entry.reading.elapsed >= 1 else "; its error budget is spent"
    window = entry.reading.objective.window_text
    until = _moment(min(entry.reading.end, entry.reading.window.end))
    return f"{_name(entry)} is missed: {_share(entry, entry.tally)}, in the {window} to {until}{spent}"


def _expected(entry: Judged) -> str:
    objective, estimate = entry.reading.objective, entry.sliced.estimate
    value = estimate.value if estimate is not None and estimate.value is not None else float("nan")
    return (
        f"{_name(entry)} is at risk: {objective.metric} is estimated as {value:.3g}, and {_OPERATORS[objective.op]} "
        f"{_bound(objective)} is wanted, once all labels of the {objective.window_text} to "
        f"{_moment(entry.reading.end)} are in"
    )


def _spent(entry: Judged) -> float:
    """How far beyond its limit a missed window is."""
    return min(entry.tally.bad_share / max(entry.reading.allowed, 1e-9), 1e9)


def _advice(objective: Objective) -> str:
    command = f"fourfold objectives {objective.name}"
    return f"See {objective.runbook}" if objective.runbook else f"`{command}` shows its budget and slices"


def _group(objective: Objective, where: Where) -> Group:
    if objective.name_of_metric in OF_RUNS:
        return Group.STATELESS_SINGLE
    return Group.STATEFUL_CROSS if where.task else Group.STATEFUL_SINGLE


def _where(reader: Reader, objective: Objective) -> Where:
    """The place that an objective is about."""
    if objective.name_of_metric in OF_RUNS:
        return Where(component=objective.target)
    try:
        found = resolve(reader, objective.target)
    except FourfoldError:
        return Where()
    if found.task is not None and objective.name_of_metric != FRESHNESS:
        return Where(task=found.task.name)
    return Where(stream=found.stream, column=found.column)


def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(second))


def _times(rate: float) -> str:
    return "infinitely" if rate == float("inf") else f"{rate:.1f} times"
