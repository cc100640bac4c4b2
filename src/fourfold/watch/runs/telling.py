"""How a finding about runs is put: where, since when, and lengths of time in words."""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.model import Run
from fourfold.model.incident import Finding, Group, Severity, Where
from fourfold.watch.runs.history import moment


def about(
    kind: str,
    runs: Sequence[Run],
    before: Run | None,
    what: str,
    severity: Severity,
    *,
    group: Group = Group.STATELESS_SINGLE,
    series: str = "",
    value: float | None = None,
    expected: float | None = None,
    low: float | None = None,
    high: float | None = None,
    weight: float = 1.0,
    advice: str = "",
) -> Finding:
    """A finding about some runs of one component, in their order; ``before`` is the last one that was as it should be.

    ``series`` tells findings of the same kind about one component apart, such as an artifact's name.
    """
    component, moments = runs[-1].component, [moment(run) for run in runs]
    first = min(runs, key=moment)
    began = moment(first)
    low = min(began, moment(before)) if before is not None else began
    return Finding(
        series=":".join(filter(None, ("run", component, kind, series))),
        kind=kind,
        what=what,
        group=group,
        severity=severity,
        where=Where(component=component),
        began=began,
        began_low=low,
        began_high=max(began, min(first.started, 2 * began - low)),  # the run of a day may be made much later than it
        seen=max(moments),
        value=value,
        expected=expected,
        low=low,
        high=high,
        n=len(runs),
        weight=weight,
        advice=advice,
    )


def length(seconds: float) -> str:
    """A length of time in words of two digits or so: "3.2 s", "14 min", "5.5 h", "3 days"."""
    for size, unit in ((172_800.0, "days"), (5_400.0, "h"), (90.0, "min")):
        if seconds >= size:
            divisor = {"days": 86_400.0, "h": 3_600.0, "min": 60.0}[unit]
            return f"{seconds / divisor:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def times(n: int) -> str:
    """How many runs, in words."""
    return "1 run" if n == 1 else f"{n} runs"
