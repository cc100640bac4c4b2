"""Runs that failed, or were lost with their process, and were not followed by one that succeeded."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence

from fourfold.model import Run, RunStatus
from fourfold.model.incident import Finding, Severity
from fourfold.model.run import UNEXPLAINED
from fourfold.watch.runs.history import FEW, History
from fourfold.watch.runs.telling import about, times

RECENT = 20  # runs that tell how often a component fails now
_BY_CHANCE = 0.05  # a streak of failures at least this likely for a component is nothing new
_SELDOM, _RARE = 3_600.0, 0.02  # seconds from run to run; the share of runs that failed
_LIMIT = 300  # characters of an exception's message
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$')


@dataclasses.dataclass(frozen=True, slots=True)
class Raised:
    """An exception as a traceback tells it: its class and message, and the place where it was raised."""

    text: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.place})" if self.place else self.text


def failed(history: History, now: float) -> list[Finding]:
    """Components whose newest run failed, and those that fail much more often than they did."""
    streaks = {name: _streak(history.ended(name)) for name in history.runs}
    newest = [streak[-1] for streak in streaks.values() if streak]
    inner = {run.parent: raised(run.error).text for run in newest if run.parent is not None}
    found = []
    for name, streak in streaks.items():
        ended = history.ended(name)
        if not streak:
            found += _flaky(ended) or _repeated(history, name, ended, now)
        elif inner.get(streak[-1].id) != raised(streak[-1].error).text:  # else it began in a component within
            found.append(_failing(streak, ended[: len(ended) - len(streak)]))
    return found


def raised(error: str | None) -> Raised:
    """The exception that a traceback ends with; its last line would be only the end of a message of several lines."""
    lines = (error or "").splitlines()
    frames = [i for i, line in enumerate(lines) if _FRAME.match(line)]
    if not frames:
        return Raised(next((line.strip() for line in reversed(lines) if line.strip()), "")[:_LIMIT])
    frame = _FRAME.match(lines[frames[-1]])
    assert frame is not None
    rest = list(itertools.dropwhile(lambda line: not line or line[0].isspace(), lines[frames[-1] + 1 :]))
    text = " ".join(line.strip() for line in rest if line.strip())
    file = re.split(r"[\\/]", frame["file"])[-1]
    return Raised(text[:_LIMIT], f"in {frame['function']}, {file}:{frame['line']}")


def _streak(ended: Sequence[Run]) -> list[Run]:
    """The failures since the last success."""
    trailing = itertools.takewhile(lambda run: run.status is not RunStatus.SUCCEEDED, reversed(ended))
    return list(trailing)[::-1]


def _failing(streak: Sequence[Run], before: Sequence[Run]) -> Finding:
    usual = _share(before)
    why = _why(streak[-1])
    name = streak[-1].component
    how = "was lost" if streak[-1].status is RunStatus.LOST else "failed"
    if not before:
        said, severity = f"{name} has failed in each of its {times(len(streak))}: {why}", Severity.TICKET
        if len(streak) == 1:
            said = f"the first run of {name} {how}: {why}"
    else:
        said = f"{name} {how}: {why}" if len(streak) == 1 else f"{name} failed {len(streak)} times in a row: {why}"
        likely = usual ** len(streak)
        severity = Severity.NOTICE if likely > _BY_CHANCE else Severity.PAGE if len(before) >= FEW else Severity.TICKET
    return about(
        "failed_run", streak, before[-1] if before else None, said, severity, value=1.0, expected=usual,
        weight=1.0 + len(streak), advice="Read its traceback with 'fourfold runs --json'.",
    )  # fmt: skip


def _flaky(ended: Sequence[Run]) -> list[Finding]:
    """One finding for a component that succeeds in the end, and fails much more often than earlier."""
    recent, before = ended[-RECENT:], ended[:-RECENT]
    bad = [run for run in recent if run.status is not RunStatus.SUCCEEDED]
    share = len(bad) / max(len(recent), 1)
    if len(bad) < 3 or len(recent) < RECENT or share < 0.2 or _tail(len(bad), len(recent), _share(before)) > 0.001:
        return []
    severity = Severity.TICKET if share >= 0.5 else Severity.NOTICE
    said = f"{bad[0].component} failed in {len(bad)} of its last {times(len(recent))}: {_why(bad[-1])}"
    first = ended.index(bad[0])
    return [
        about("failed_run", bad, ended[first - 1] if first else None, said, severity, value=share,
              expected=_share(before), weight=1.0 + len(bad) / 4)
    ]  # fmt: skip


def _repeated(history: History, name: str, ended: Sequence[Run], now: float) -> list[Finding]:
    """A failure that was made good, of a component that hardly ever fails: until its next run is due.

    Between two checks it would not be seen at all; of one that often fails or runs, no one wants to know.
    """
    known = history.cadences.get(name)
    bad = [i for i, run in enumerate(ended) if run.status is not RunStatus.SUCCEEDED]
    if known is None or known.lag is None or known.gap < _SELDOM or not bad:
        return []
    last, earlier = bad[-1], [i for i in bad if ended[i].started < ended[bad[-1]].started - known.gap]
    if not 0 <= now - ended[last].started < known.gap or last < 2 * FEW or len(earlier) > _RARE * last:
        return []
    said = f"{name} failed, and has succeeded since: {_why(ended[last])}"
    return [about("failed_run", [ended[last]], ended[last - 1], said, Severity.NOTICE, value=0.0, expected=0.0)]


def _why(run: Run) -> str:
    """Why a run failed or was lost, as far as anybody said."""
    return str(raised(run.error)) or UNEXPLAINED[run.status]


def _share(before: Sequence[Run]) -> float:
    """The share of runs that failed (the middle of Jeffreys' prior where there were none)."""
    bad = sum(run.status is not RunStatus.SUCCEEDED for run in before)
    return (bad + 0.5) / (len(before) + 1) if len(before) >= 3 else 0.05


def _tail(bad: int, n: int, share: float) -> float:
    """The probability of at least so many failures, if each run fails with this probability."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(bad, n + 1))
