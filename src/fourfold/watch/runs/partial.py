"""Runs that read or wrote much less than usual: a worker was lost, a partition never came.

Only whole runs are judged, and only when much is missing: how a stream's volume changes over time is a series of its
own (see ``watch.signals``).
"""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.model import Run
from fourfold.model.incident import Finding, Group, Severity
from fourfold.watch.runs.habit import Habit, habit, streak
from fourfold.watch.runs.history import History, weekday
from fourfold.watch.runs.telling import about

FEW = 8  # earlier runs
_LEFT = 0.78  # of the usual rows: with more, nothing that anyone would look for is missing; a quarter is
_SPREADS = 4.0
_SPREAD = 0.02  # of the logarithm, at least
_HOLIDAY = 0.15  # a holiday is so near to a quiet day of the week
_ALIKE = 4  # runs of the same day of the week, from which on only these are compared


def partial(history: History, now: float) -> list[Finding]:
    """Frames of a component's newest run with far fewer rows than usual, and parents with fewer runs inside."""
    found = []
    for name in history.runs:
        runs = [r for r in history.succeeded(name) if r.at is None or history.is_over(name, r.at, now)]
        if not runs:
            continue
        frames = [(a.direction, a.name) for a in runs[-1].artifacts if a.rows is not None]
        findings = [f for frame in frames if (f := _fewer_rows(runs, *frame)) is not None]
        wrote = [f for f in findings if ":output:" in f.series]
        found += wrote or findings  # what it read lacks the same
        found += _fewer_tasks(history, runs)
    return found


def _fewer_rows(runs: Sequence[Run], direction: str, name: str) -> Finding | None:
    rows = {
        run.id: artifact.rows
        for run in runs
        for artifact in run.artifacts
        if (artifact.direction, artifact.name) == (direction, name) and artifact.rows is not None
    }
    found = _fewer([(run, rows[run.id]) for run in runs if run.id in rows])
    if found is None:
        return None
    fewer, before, count, usual = found
    verb = "wrote" if direction == "output" else "read"
    said = f"{runs[-1].component} {verb} {count:,} rows of {name!r} instead of about {usual.usual:,.0f}"
    return _told(fewer, before, said, f"{direction}:{name}", count, usual)


def _fewer_tasks(history: History, runs: Sequence[Run]) -> list[Finding]:
    """Fewer runs of a component within a run than usual: not all partitions were worked on."""
    found = []
    for child, counted in history.inside.items():
        known = [(run, counted[run.id]) for run in runs if run.id in counted]
        # the oldest may have lost some of theirs, of which only the newest are read
        if len(known) < 2 or known[-1][0] is not runs[-1] or max(n for _, n in known) < 3:
            continue
        if (fewer := _fewer(known[1:])) is not None:
            several, before, count, usual = fewer
            said = f"{runs[-1].component} had {count} runs of {child} instead of about {usual.usual:.0f}"
            found.append(_told(several, before, said, f"runs:{child}", count, usual))
    return found


def _fewer(counted: Sequence[tuple[Run, int]]) -> tuple[Sequence[Run], Run, int, Habit] | None:
    """The newest runs whose numbers are far below what earlier ones of the same weekday had."""
    numbers = [float(n) for _, n in counted]
    days = [weekday(run) for run, _ in counted]

    def breaks(i: int, kept: Sequence[int]) -> Habit | None:
        if numbers[i] >= max(numbers[j] for j in kept) * _LEFT:
            return None
        by_day = [[numbers[j] for j in kept if days[j] == day] for day in range(7)]
        alike = by_day[days[i]] if len(by_day[days[i]]) >= _ALIKE else [numbers[j] for j in kept]
        usual = habit([max(n, 0.5) for n in alike], _SPREAD)
        if numbers[i] >= min(usual.beyond(-_SPREADS), _LEFT * usual.usual, usual.second_lowest):
            return None
        quiet = [habit(several).usual for several in by_day if len(several) >= _ALIKE]
        return None if any(_is_holiday(numbers[i], level, usual.usual) for level in quiet) else usual

    found = streak(numbers, FEW, breaks)
    if found is None:
        return None
    runs = [run for run, _ in counted]
    return runs[found.first :], runs[found.first - 1], int(numbers[-1]), found.expected


def _is_holiday(number: float, quiet: float, usual: float) -> bool:
    """Whether a day was like the quiet day of the week, which has much less than this one usually has."""
    return quiet < 0.9 * usual and abs(number / quiet - 1) <= _HOLIDAY


def _told(fewer: Sequence[Run], before: Run, said: str, what: str, count: float, usual: Habit) -> Finding:
    share = count / usual.usual
    severity = Severity.TICKET if share > 0.5 else Severity.PAGE
    return about(
        "partial_run", fewer, before, said, severity, group=Group.STATELESS_CROSS, series=what, value=count,
        expected=usual.usual, low=_LEFT * usual.usual, weight=_LEFT / max(share, 0.01),
    )  # fmt: skip
