"""Pipelines that did not complete: a component that usually follows another one did not."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from fourfold.model import Run, RunStatus
from fourfold.model.incident import Finding, Group, Severity
from fourfold.watch.runs.history import FEW, History, weekday
from fourfold.watch.runs.telling import about, length

_USUAL = 0.9  # of the earlier runs that were followed
_LONGER, _SECONDS = 2.0, 60.0  # than it ever took to be followed
_RECENT = 50


def incomplete(history: History, now: float) -> list[Finding]:
    """Components whose newest run was not followed by what usually follows: by lineage, or within it."""
    found: dict[tuple[str, str], Finding] = {}
    for edge, uses in history.uses.items():
        followed = {use.maker.id: use.user.started for use in reversed(uses)}
        if (finding := _by_lineage(history, edge.upstream, edge.downstream, followed, now)) is not None:
            found.setdefault((edge.upstream, edge.downstream), finding)
    for parent, child in _nested(history):
        if (finding := _within(history, parent, child)) is not None:
            found.setdefault((parent, child), finding)
    return list(found.values())


def _by_lineage(history: History, up: str, down: str, followed: dict[str, float], now: float) -> Finding | None:
    runs = history.succeeded(up)[-_RECENT:]
    first = history.runs[down][0].started
    runs = [run for run in runs if run.started >= first or run.id in followed]  # since the component exists
    left = list(itertools.takewhile(lambda run: run.id not in followed, reversed(runs)))[::-1]
    before = runs[: len(runs) - len(left)]
    known = [run for run in before if run.id in followed]
    if not left or len(known) < FEW or len(known) < _USUAL * len(before):
        return None
    delays = [followed[run.id] - (run.ended or run.started) for run in known]
    limit = _LONGER * max(*delays, 0.0) + _SECONDS
    ready = left[0].ended or left[0].started
    # where each run was followed before the next one began, the next one tells it as well as the clock
    prompt = all(followed[a.id] <= b.started for a, b in itertools.pairwise(known))
    is_late = limit < now - ready or (prompt and len(left) > 1)
    if not is_late:
        return None
    usual = float(np.median(delays))
    soon = f"within {length(usual)}" if usual >= 1 else "at once"
    said = f"{down} did not run after {up}, which it usually follows {soon}"
    return _told(left, before[-1], said, down, usual, limit)


def _nested(history: History) -> list[tuple[str, str]]:
    """The components that have run within runs of another one."""
    pairs = {
        (history.by_id[run.parent].component, run.component)
        for run in history.by_id.values()
        if run.parent in history.by_id
    }
    return sorted(pairs)


def _within(history: History, parent: str, child: str) -> Finding | None:
    inside = {run.parent for run in history.runs[child]}
    oldest = history.runs[child][0].started
    runs = [run for run in history.ended(parent)[-_RECENT:] if run.started >= oldest or run.id in inside]
    runs = [run for run in runs if run.status is RunStatus.SUCCEEDED]
    left = list(itertools.takewhile(lambda run: run.id not in inside, reversed(runs)))[::-1]
    before = runs[: len(runs) - len(left)]
    if not left or not _usual([run.id in inside for run in before]):
        return None
    alike = [run.id in inside for run in before if weekday(run) == weekday(left[-1])]
    if len(alike) >= 3 and sum(alike) < _USUAL * len(alike):
        return None
    said = f"{child} did not run within {parent}, as it usually does"
    return _told(left, before[-1], said, child, 1.0, 0.0)


def _usual(followed: Sequence[bool]) -> bool:
    return len(followed) >= FEW and sum(followed) >= _USUAL * len(followed)


def _told(left: Sequence[Run], before: Run, said: str, down: str, expected: float, high: float) -> Finding:
    severity = Severity.PAGE if len(left) >= 3 else Severity.TICKET
    finding = about("incomplete_pipeline", left, before, said, severity, group=Group.STATELESS_CROSS, series=down,
                    expected=expected, high=high or None, weight=1.0 + len(left))  # fmt: skip
    return dataclasses.replace(finding, where=dataclasses.replace(finding.where, component=down))
