"""Runs that gave signs of life while they lasted, and give none any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from fourfold.model import Run, RunStatus
from fourfold.model.incident import Finding, Group, Severity
from fourfold.watch.runs.history import History
from fourfold.watch.runs.telling import about, length

EVERY = 30.0  # seconds from beat to beat; the SDK's ``runs.BEAT_EVERY``
MISSED = 4  # beats, after which a run counts as silent: a host may be busy
_FORGOTTEN = 7 * 86_400.0


def silent(history: History, now: float) -> list[Finding]:
    """Components with runs that were to go on and have not been seen for several beats."""
    found = []
    for name, runs in history.runs.items():
        lasting = [run for run in runs if run.status is RunStatus.RUNNING and run.seen is not None]
        gone = _not_replaced([run for run in lasting if is_silent(run, now)], runs)
        if gone:
            found.append(_told(name, gone, [run for run in lasting if not is_silent(run, now)], now))
    return found


def is_silent(run: Run, now: float) -> bool:
    """Whether a run has given signs of life, and none for several beats; not one that ended so long ago."""
    return run.seen is not None and MISSED * EVERY < now - run.seen < _FORGOTTEN


def _not_replaced(gone: Sequence[Run], runs: Sequence[Run]) -> list[Run]:
    """Those in whose place no other run has started since: a supervisor restarts what has died."""
    later = sorted(run.started for run in runs if run not in gone)
    left = []
    for run in sorted(gone, key=lambda run: run.seen or 0.0):
        taken = next((i for i, started in enumerate(later) if started > (run.seen or 0.0)), None)
        if taken is None:
            left.append(run)
        else:
            later.pop(taken)
    return left


def _told(name: str, gone: Sequence[Run], alive: Sequence[Run], now: float) -> Finding:
    last = max(run.seen or run.started for run in gone)
    whole = len(gone) + len(alive)
    said = f"{name} has given no sign of life for {length(now - last)}"
    if whole > 1:
        said = f"{len(gone)} of {whole} workers of {name} have given no sign of life for {length(now - last)}"
    hosts = sorted({run.host for run in gone})
    if hosts and hosts != [""]:
        said += f" (on {', '.join(hosts[:3])}{', …' if len(hosts) > 3 else ''})"
    severity = Severity.PAGE if not alive or len(gone) >= len(alive) else Severity.TICKET
    finding = about(
        "heartbeat_lost", gone, None, said, severity, group=Group.STATELESS_CROSS, value=float(len(alive)),
        expected=float(whole), weight=1.0 + len(gone) / whole,
    )  # fmt: skip
    first = min(run.seen or run.started for run in gone)
    return dataclasses.replace(finding, began=first, began_low=first, began_high=first + EVERY, seen=last)
