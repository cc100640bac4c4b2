"""Runs that were due and did not come; and a pipeline of which nothing comes any more.

A run is missed on the clock on which its component is alive. A live component starts soon after the logical time of
its data: it is late once the wall clock says so. In a replay of old data the wall clock says nothing; there a run is
missed once others, which do not merely follow it, have gone further in logical time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from fourfold.model.incident import Finding, Group, Severity, Where
from fourfold.model.run import RunStatus
from fourfold.watch.runs.cadence import Cadence
from fourfold.watch.runs.history import History
from fourfold.watch.runs.telling import length

_RETIRED = 30 * 86_400.0, 10  # what has been silent for longer, and for so many gaps, was given up


def missing(history: History, now: float) -> list[Finding]:
    """Components with a regular cadence that did not run when they were due; one finding if none runs any more."""
    known = history.cadences
    late = {name: at for name, c in known.items() if (at := _late_at(history, known, name, c, now)) is not None}
    late = {name: at for name, at in late.items() if not _is_running(history, name)}
    live = [name for name, c in known.items() if _clock(c, now) is not None]
    if len(late) > 1 and len(late) == len(live) == len(known) and _nothing_since(history, known):
        return [_silent(known, late)]
    return [_told(name, known[name], late[name]) for name in late if not _outer(history, name) & late.keys()]


def _outer(history: History, name: str) -> set[str]:
    """The components within which a component runs: where these are missing, it cannot run."""
    parents = {history.by_id[run.parent].component for run in history.runs[name] if run.parent in history.by_id}
    return parents - {name}


def _clock(c: Cadence, now: float) -> float | None:
    """The wall clock as the component's own, if it is alive there."""
    if c.lag is None or not -c.limit < now - c.lag - c.last < max(_RETIRED[0], _RETIRED[1] * c.gap):
        return None
    return now - c.lag


def _late_at(history: History, known: Mapping[str, Cadence], name: str, c: Cadence, now: float) -> float | None:
    """The moment, on its own clock, at which a run of a component is missed; None if it is not."""
    if (clock := _clock(c, now)) is not None:
        return clock if c.overdue(clock) else None
    if c.lag is not None:
        return None
    others = [
        other.last
        for peer, other in known.items()
        if peer != name and other.lag is None and not history.follows(peer, name)
    ]
    newest = max(others, default=c.last)
    # ``now`` may go with the data, as in a check after each day of a replay: then the period that is missed is over
    is_over = c.gap <= now - c.due <= 3 * c.limit and newest >= c.due
    return max(newest, c.due) if is_over or c.overdue(newest) else None


def _is_running(history: History, name: str) -> bool:
    """Whether its newest run lasts, so that the next may wait for it; if that lasts too long, it is another finding."""
    runs = history.runs[name]
    return bool(runs) and runs[-1].status is RunStatus.RUNNING


def _nothing_since(history: History, known: Mapping[str, Cadence]) -> bool:
    """Whether no component at all, regular or not, has run since the first of these was due."""
    newest = history.newest
    due = min(c.due + (c.lag or 0.0) for c in known.values())
    return newest is None or newest <= due


def _told(name: str, c: Cadence, clock: float) -> Finding:
    missed = max(1, round((clock - c.last) / c.gap))
    said = (
        f"{name} did not run when it was due: it runs every {length(c.gap)}, and last did {length(clock - c.last)} ago"
    )
    severity = Severity.PAGE if missed >= 3 else Severity.TICKET
    return Finding(
        f"run:{name}:missing_run", "missing_run", said, Group.STATELESS_SINGLE, severity, Where(component=name),
        began=c.due, began_low=c.last, began_high=c.last + c.limit + max(c.lag or 0.0, 0.0), seen=clock,
        value=clock - c.last, expected=c.gap, high=c.limit, n=missed, weight=(clock - c.last) / c.limit,
    )  # fmt: skip


def _silent(known: Mapping[str, Cadence], late: Mapping[str, float]) -> Finding:
    first = min(late, key=lambda name: known[name].due)
    told = _told(first, known[first], late[first])
    names = ", ".join(sorted(late)[:5]) + (", …" if len(late) > 5 else "")
    said = f"Nothing runs any more: {names} were due, the first of them {length(late[first] - known[first].due)} ago"
    return dataclasses.replace(
        told, series="run:pipeline_silent", kind="pipeline_silent", what=said, group=Group.STATELESS_CROSS,
        severity=Severity.PAGE, n=len(late),
    )  # fmt: skip
