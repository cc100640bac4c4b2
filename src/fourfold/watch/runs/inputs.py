"""Runs that used an output older than usual, superseded, or of unknown origin: the served model is not the newest."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Mapping, Sequence

from fourfold.model import Run
from fourfold.model.incident import Finding, Group, Severity
from fourfold.watch.runs.history import FEW, RUNS, Edge, History, Use
from fourfold.watch.runs.telling import about, length, times

_CYCLES = 4  # outputs that were replaced by newer ones, before their age has a usual limit
_FACTOR, _SECONDS = 1.5, 60.0  # the least effect: older than the oldest by both
_RARE = 0.05  # of the earlier runs that used an older output
_RECENT = 200


def stale(history: History, now: float) -> list[Finding]:
    """Components that used an output which was older than any was when it was replaced."""
    found = []
    for edge, uses in history.uses.items():
        by_maker = itertools.groupby(uses, key=lambda use: use.maker.id)
        cycles = [max(_age(use) for use in group) for _, group in by_maker]  # the age at which each was last used
        newest = uses[-1]
        if len(cycles) <= _CYCLES or newest.user is not history.runs[edge.downstream][-1]:
            continue
        oldest, age = sorted(cycles[:-1])[-2], _age(newest)
        limit = max(_FACTOR * oldest, oldest + _SECONDS)
        if age <= limit:
            continue
        late = [use.user for use in uses if use.maker.id == newest.maker.id and _age(use) > limit]
        said = (
            f"{edge.downstream} used {edge.upstream}'s {edge.input!r} of {length(age)} ago; "
            f"it was replaced after {length(max(oldest, 1.0))} so far"
        )
        found.append(
            about("stale_input", late, _before(history, late[0]), said, Severity.TICKET, group=Group.STATELESS_CROSS,
                  series=f"{edge.upstream}:{edge.input}", value=age, expected=oldest, high=limit, weight=age / limit)
        )  # fmt: skip
    return found


def superseded(history: History, now: float) -> list[Finding]:
    """Components that usually use the newest output, and now one that was replaced; or one that no known run made."""
    sources = collections.Counter((edge.downstream, edge.input) for edge in history.uses)
    found = []
    for edge, uses in history.uses.items():
        if sources[edge.downstream, edge.input] > 1:
            continue  # the input comes of several components
        finding = _unknown(history, edge, uses) or _superseded(history, edge, uses)
        if finding is not None:
            found.append(finding)
    return found


def _superseded(history: History, edge: Edge, all_uses: Sequence[Use]) -> Finding | None:
    made = [run for run in history.succeeded(edge.upstream) if _writes(run, all_uses[-_RECENT:])]
    numbers = {run.id: i for i, run in enumerate(made)}
    uses = [use for use in all_uses[-_RECENT:] if use.maker.id in numbers]
    taken = _pick_up(made, uses, numbers)
    late = [_is_late(use, made, numbers, taken) for use in uses]
    trailing = len(list(itertools.takewhile(bool, reversed(late))))
    before = late[: len(late) - trailing]
    if not trailing or len(before) < FEW or sum(before) > _RARE * len(before):
        return None
    runs, newest = [use.user for use in uses[-trailing:]], uses[-1]
    if runs[-1] is not history.runs[edge.downstream][-1]:
        return None
    behind = sum((run.ended or 0.0) < newest.user.started for run in made[numbers[newest.maker.id] + 1 :])
    said = (
        f"{edge.downstream} used an output of {edge.upstream} ({edge.input!r}) that has been superseded by "
        f"{behind} newer; it usually uses the newest"
    )
    return about(
        "superseded_input", runs, _before(history, runs[0]), said, Severity.TICKET, group=Group.STATELESS_CROSS,
        series=f"{edge.upstream}:{edge.input}", value=float(behind), expected=0.0, high=0.0, weight=1.0 + behind,
        advice=f"Compare the version that {edge.downstream} loads with {edge.upstream}'s newest output.",
    )  # fmt: skip


def _writes(run: Run, uses: Sequence[Use]) -> bool:
    """Whether a run wrote an output of the name that the used ones had."""
    wanted = {_output(use) for use in uses}
    return any(a.direction == "output" and a.name in wanted for a in run.artifacts)


def _output(use: Use) -> str:
    """The name that what was used had where it was written."""
    mark = next(a.fingerprint for a in use.user.artifacts if a.direction == "input" and a.name == use.input)
    return next((a.name for a in use.maker.artifacts if a.direction == "output" and a.fingerprint == mark), "")


def _pick_up(made: Sequence[Run], uses: Sequence[Use], numbers: Mapping[str, int]) -> list[float]:
    """How long after each output was ready it was first used."""
    first: dict[int, float] = {}
    for use in uses:
        first.setdefault(numbers[use.maker.id], use.user.started)
    return [at - (made[i].ended or made[i].started) for i, at in first.items() if i > 0]


def _is_late(use: Use, made: Sequence[Run], numbers: Mapping[str, int], taken: Sequence[float]) -> bool:
    """Whether a newer output had been ready for longer than it usually takes to be picked up."""
    grace = 1.5 * sorted(taken)[-2] if len(taken) > 2 else max(taken, default=0.0)
    newer = made[numbers[use.maker.id] + 1 :]
    return any((run.ended or run.started) + grace < use.user.started for run in newer)


def _unknown(history: History, edge: Edge, uses: Sequence[Use]) -> Finding | None:
    """An input that always came of one component, and now comes of no run that is known."""
    known = {use.user.id for use in uses}
    runs = [run for run in history.runs[edge.downstream] if any(_is_input(a, edge) for a in run.artifacts)]
    odd = list(itertools.takewhile(lambda run: run.id not in known, reversed(runs)))[::-1]
    before = runs[: len(runs) - len(odd)][-_RECENT:]
    models = [a for run in odd for a in run.artifacts if _is_input(a, edge) and a.kind == "model"]
    if len(history.runs[edge.upstream]) >= RUNS:
        return None  # an older one may have made it
    if not odd or not models or len(before) < FEW or any(run.id not in known for run in before):
        return None
    said = f"{edge.downstream} used a model ({edge.input!r}) that no known run of {edge.upstream} has made"
    return about(
        "wrong_model", odd, before[-1], f"{said}, in {times(len(odd))}", Severity.TICKET, group=Group.STATELESS_CROSS,
        series=f"{edge.upstream}:{edge.input}", value=float(len(odd)), expected=0.0, weight=1.0 + len(odd),
    )  # fmt: skip


def _is_input(artifact: object, edge: Edge) -> bool:
    return getattr(artifact, "direction", "") == "input" and getattr(artifact, "name", "") == edge.input


def _age(use: Use) -> float:
    """How old an output was when it was read; in logical time where both runs have one."""
    if use.user.at is not None and use.maker.at is not None:
        return use.user.at - use.maker.at
    return use.user.started - (use.maker.ended or use.maker.started)


def _before(history: History, run: Run) -> Run | None:
    runs = history.runs[run.component]
    place = next(i for i, other in enumerate(runs) if other.id == run.id)
    return runs[place - 1] if place else None
