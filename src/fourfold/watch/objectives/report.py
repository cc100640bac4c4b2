"""How objectives stand, for users: a row for each objective and slice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from fourfold.errors import suggest
from fourfold.model import HOUR, Objective, ObjectiveStatus, Value, slice_key
from fourfold.model.objective import OF_RUNS
from fourfold.query.reader import Reader
from fourfold.query.table import Table, moment
from fourfold.state.objectives import listed
from fourfold.watch.objectives.baseline import Baseline, baselines
from fourfold.watch.objectives.budget import Budget, Tally, budget
from fourfold.watch.objectives.burn import Burn, burns, rules
from fourfold.watch.objectives.evaluate import read
from fourfold.watch.objectives.judge import Standing, judge
from fourfold.watch.objectives.reading import Reading, Sliced
from fourfold.watch.objectives.windows import length


@dataclasses.dataclass(frozen=True, slots=True)
class Previous:
    """How an objective stood in the calendar window before."""

    status: ObjectiveStatus
    value: Value
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectiveView:
    """How an objective stands in one slice.

    ``value`` is the metric over the window [``start``, ``end``), in seconds since 1970: ``end`` is where the data of
    its target end (or now, if that is earlier), and ``elapsed`` the share of the window that is over by then. ``good``
    events of ``total`` (``unit``: records, runs, hours or days) count towards ``goal``, the share that must be good;
    ``budget`` is how many may be bad. ``burns`` are the burn rates at ``settled_until``, the end of the newest hour or
    day with nearly all labels. ``estimate`` is the metric as expected once all labels are in, where some are awaited;
    ``baseline`` the best constant predictor's; ``previous`` is the calendar window before.
    """

    name: str
    objective: Objective
    slice: Mapping[str, str | None]
    status: ObjectiveStatus
    value: Value
    start: int
    end: int
    elapsed: float
    good: float
    total: float
    unit: str
    goal: float
    budget: Budget
    burns: tuple[Burn, ...]
    settled_until: int
    estimate: Value | None
    baseline: Baseline
    previous: Previous | None
    reason: str

    @property
    def expression(self) -> str:
        """The objective as users write it."""
        return self.objective.expression

    @property
    def coverage(self) -> float | None:
        """The share of the window's predictions that have a label; None if the metric needs none."""
        return self.value.coverage


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """A slice of an objective with what was concluded."""

    reading: Reading
    sliced: Sliced
    tally: Tally
    burns: tuple[Burn, ...]
    standing: Standing
    status: ObjectiveStatus


def judged(reader: Reader, objective: Objective, now: float) -> list[Judged]:
    """Each slice of an objective, judged as of a moment (seconds since 1970)."""
    reading = read(reader, objective, now)
    return [conclude(reading, one) for one in reading.slices]


def judged_before(reader: Reader, reading: Reading) -> list[Judged]:
    """The calendar window before that of a reading, judged by what is known by now; none for a rolling window."""
    if not reading.objective.calendar or reading.reason:
        return []
    return judged(reader, reading.objective, reading.window.start - 1)


def conclude(reading: Reading, one: Sliced) -> Judged:
    """A slice's burn rates and status."""
    objective = reading.objective
    tally = reading.tally(one)
    alerts = rules(length(objective), reading.alert_unit or reading.unit, 1 if reading.events else 2)
    found = burns(
        one.buckets, reading.settled_until, alerts, reading.allowed, slices=len(reading.slices), events=reading.events
    )
    awaited = _awaited(objective, one, tally) if reading.events else 0.0
    misses = _misses(objective, one.estimate)
    standing = Standing(tally, reading.goal, reading.events, one.mature, awaited, reading.elapsed, found, misses)
    return Judged(reading, one, tally, tuple(found), standing, judge(standing))


def report(reader: Reader, now: float, names: Sequence[str] | None = None) -> Table[ObjectiveView]:
    """How objectives stand at a moment (seconds since 1970), by name and slice; all, or the named ones.

    Raises:
        UnknownNameError: no objective has this name; the message lists the known ones.
    """
    known = reader.recall(listed)
    for name in names or ():
        if name not in known:
            raise suggest("objective", name, list(known))
    wanted = [objective for name, objective in known.items() if names is None or name in names]
    views = []
    for objective in wanted:
        several = judged(reader, objective, now)
        constants = baselines(reader, several[0].reading)
        before = {
            slice_key(entry.sliced.slice): Previous(
                entry.status, entry.sliced.value, entry.reading.window.start, entry.reading.window.end
            )
            for entry in judged_before(reader, several[0].reading)
        }
        views += [_view(entry, constants, before) for entry in several]
    return Table(views, _columns)


def _view(entry: Judged, constants: Mapping[str, Baseline], before: Mapping[str, Previous]) -> ObjectiveView:
    reading, one, objective = entry.reading, entry.sliced, entry.reading.objective
    return ObjectiveView(
        objective.name, objective, one.slice, entry.status, one.value, reading.window.start, reading.end,
        reading.elapsed, entry.tally.good, entry.tally.total, _unit(reading), reading.goal,
        budget(entry.tally, reading.allowed, reading.elapsed), entry.burns, reading.settled_until, one.estimate,
        Baseline.of(constants, one.slice), before.get(slice_key(one.slice)), one.value.reason,
    )  # fmt: skip


def _unit(reading: Reading) -> str:
    if reading.events:
        return "runs" if reading.objective.name_of_metric in OF_RUNS else "records"
    return "hours" if reading.unit == HOUR else "days"


def _awaited(objective: Objective, one: Sliced, tally: Tally) -> float:
    """How many more of a slice's events can come, as far as labels are: they are taken to be as those that have one."""
    value = one.value
    if one.mature:
        share = value.expected_labels
    elif value.expected_labels is None or value.coverage is None or objective.name_of_metric == "coverage":
        return math.inf  # it cannot be told, or what is awaited changes events that are there
    else:
        share = 1 - value.coverage
    if share is None:
        return 0.0
    return share / value.coverage * tally.total if value.coverage else float(share > 0)


def _misses(objective: Objective, estimate: Value | None) -> bool:
    """Whether an estimate misses the bound, even at the better end of its interval."""
    if estimate is None or estimate.value is None:
        return False
    better = estimate.high if objective.at_least else estimate.low
    return not objective.is_met_by(estimate.value if better is None else better)


def _columns(view: ObjectiveView) -> dict[str, object]:
    """A row of the table."""
    value, objective = view.value, view.objective
    return {
        "objective": view.name, "expression": view.expression, "window": objective.window_text,
        "slice": dict(view.slice), "status": view.status.value,
        "value": value.value, "low": value.low, "high": value.high, "n": value.n, "coverage": value.coverage,
        "start": moment(view.start), "end": moment(view.end), "elapsed": view.elapsed,
        "good": view.good, "total": view.total, "unit": view.unit, "goal": view.goal,
        "budget": view.budget.total, "consumed": view.budget.consumed, "remaining": view.budget.remaining,
        "burn": max((min(burn.long, burn.short) for burn in view.burns), default=None),
        "alert": next((burn.rule.severity.value for burn in view.burns if burn.fires), None),
        "estimate": None if view.estimate is None else view.estimate.value,
        "previous": None if view.previous is None else view.previous.status.value,
        "best_constant": view.baseline.value, "constant": view.baseline.words, "reason": view.reason,
        "owner": objective.owner, "runbook": objective.runbook,
    }  # fmt: skip
