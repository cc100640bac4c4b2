"""What Prometheus scrapes: few series, as OpenMetrics 1.0 or in Prometheus's text format. Pure: data in, text out.

Histograms of columns have buckets at powers of two (those of a native histogram of schema 0) and cumulative counts:
neither text format can express a native histogram, and Prometheus makes one of these buckets if a scrape says
``convert_classic_histograms_to_nhcb: true``.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from fourfold.counts.entry import Counts
from fourfold.model import Incident, IncidentState, Severity

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
_FINEST = 30  # powers of two below the largest value's; smaller values share a bucket


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """A number, its labels, and what is put behind the family's name ("_bucket").

    ``text_only``: OpenMetrics does not allow it there.
    """

    labels: Mapping[str, str]
    value: float
    suffix: str = ""
    text_only: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """Samples of one metric. A name with a unit ends in it."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]
    unit: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectiveState:
    """How an objective stands, in a slice (text, empty for all): None where nothing is known."""

    name: str
    slice: str
    status: str
    target: float
    value: float | None
    budget: float | None  # the share that is left: 1 is all, below 0 is overspent
    burn: float | None  # how many times faster than allowed the budget is spent


@dataclasses.dataclass(frozen=True, slots=True)
class Watched:
    """What a watch knows of a project after a check; times in seconds since 1970.

    ``newest`` is by stream the end of the newest bucket that has records, in event time.
    """

    project: str
    checked: float
    incidents: Sequence[Incident] = ()
    objectives: Sequence[ObjectiveState] = ()
    newest: Mapping[str, float] = dataclasses.field(default_factory=dict)
    waiting: int = 0  # notices that have not been sent
    histograms: Mapping[tuple[str, str], Counts] = dataclasses.field(default_factory=dict)  # by stream and column


def families(watched: Watched) -> list[Family]:
    """The metrics of a project."""
    project = {"project": watched.project}
    active = [incident for incident in watched.incidents if incident.state.is_active]
    number = Counter((incident.severity, incident.state) for incident in active)
    found = [
        Family(
            "fourfold_check_timestamp_seconds", "gauge", "When the project was last checked.",
            [Sample(project, watched.checked)], "seconds",
        ),
        Family(
            "fourfold_incidents", "gauge", "Incidents that have not ended.",
            [
                Sample({**project, "severity": severity.value, "state": state.value}, number[severity, state])
                for severity in Severity
                for state in IncidentState
                if state.is_active
            ],
        ),
        Family(
            "fourfold_notices_waiting", "gauge", "Notices that no channel has taken yet.",
            [Sample(project, watched.waiting)],
        ),
        Family(
            "fourfold_stream_newest_timestamp_seconds", "gauge", "The event time of the newest records, by bucket.",
            [Sample({**project, "stream": stream}, at) for stream, at in sorted(watched.newest.items())], "seconds",
        ),
    ]  # fmt: skip
    return [*found, *_objectives(project, watched.objectives), *_histograms(project, watched.histograms)]


def _objectives(project: Mapping[str, str], states: Sequence[ObjectiveState]) -> Iterator[Family]:
    """A family for each number of an objective; ``fourfold_objective_status`` is 1 for what it is."""
    named = [({**project, "objective": state.name, "slice": state.slice}, state) for state in states]
    numbers: Mapping[str, tuple[str, Sequence[tuple[Mapping[str, str], float | None]]]] = {
        "value": ("The metric of the objective.", [(labels, state.value) for labels, state in named]),
        "target": ("What the metric is compared with.", [(labels, state.target) for labels, state in named]),
        "budget_remaining_ratio": (
            "The share of the error budget that is left; below 0 it is overspent.",
            [(labels, state.budget) for labels, state in named],
        ),
        "burn_rate": (
            "How many times faster than allowed the error budget is spent.",
            [(labels, state.burn) for labels, state in named],
        ),
        "status": (
            "1 for the status that the objective has.",
            [({**labels, "status": state.status}, 1.0) for labels, state in named],
        ),
    }
    for name, (about, values) in numbers.items():
        samples = [Sample(labels, value) for labels, value in values if value is not None]
        unit = "ratio" if name.endswith("_ratio") else ""
        yield Family(f"fourfold_objective_{name}", "gauge", about, samples, unit)


def _histograms(project: Mapping[str, str], columns: Mapping[tuple[str, str], Counts]) -> Iterator[Family]:
    if columns:
        samples = [
            sample
            for (stream, column), counts in sorted(columns.items())
            for sample in _histogram({**project, "stream": stream, "column": column}, counts)
        ]
        yield Family("fourfold_column_value", "histogram", "The finite values of a column, ever counted.", samples)


def _histogram(labels: Mapping[str, str], counts: Counts) -> list[Sample]:
    """Cumulative counts up to powers of two and their negatives.

    A value is placed by the lower edge of its bin: one that is a boundary, as whole numbers often are, counts as such;
    one that is up to 1.6 % above a boundary may count as at it.
    """
    assert counts.binning is not None
    lower = np.clip(counts.binning.edges(counts.bins)[0], counts.low, counts.high)
    bounds = boundaries([*lower.tolist(), counts.low, counts.high])
    reached = np.concatenate([[0], np.cumsum(counts.counts)])
    below = reached[np.searchsorted(lower, bounds, side="right")]
    whole = counts.finite
    values = {**dict(zip(map(_number, bounds), below.tolist(), strict=True)), "+Inf": whole}
    offset = counts.sum("offset") * counts.binning.scale + whole * counts.binning.centre
    signed = bounds[0] < 0  # then OpenMetrics has no sum, as it would not only grow, and without it no count
    return [
        *(Sample({**labels, "le": bound}, number, "_bucket") for bound, number in values.items()),
        Sample(labels, whole, "_count", signed),
        Sample(labels, offset, "_sum", signed),
    ]


def boundaries(values: Iterable[float]) -> list[float]:
    """The powers of two, their negatives and 0, as far as values reach.

    >>> boundaries([-3.0, 0.6, 1.0])
    [-4.0, -2.0, 0.0, 0.5, 1.0]
    """
    finite = [value for value in values if math.isfinite(value)]
    below, above = _powers([-value for value in finite if value < 0]), _powers([value for value in finite if value > 0])
    return [*(-power for power in reversed(below)), 0.0, *above]


def _powers(sizes: Sequence[float]) -> list[float]:
    """The powers of two from just below the least of some sizes above 0 to just above the largest, but not too many."""
    if not sizes:
        return []
    highest = min(max(_power(max(sizes)), -1000), 1023)
    lowest = max(_power(min(sizes)) - 1, highest - _FINEST, -1000)
    return [2.0**power for power in range(lowest, highest + 1)]


def _power(size: float) -> int:
    """The least power of two that is not below a size."""
    fraction, exponent = math.frexp(size)
    return exponent - 1 if fraction == 0.5 else exponent


def exposition(found: Iterable[Family], *, openmetrics: bool) -> str:
    """Families as text.

    >>> print(exposition([Family("a", "gauge", "b", [Sample({"c": 'd"'}, 1)])], openmetrics=False), end="")
    # HELP a b
    # TYPE a gauge
    a{c="d\\""} 1
    """
    lines = []
    for family in found:
        lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"# UNIT {family.name} {family.unit}"] if openmetrics and family.unit else []
        lines += [_line(family.name, each) for each in family.samples if not (openmetrics and each.text_only)]
    return "".join(f"{line}\n" for line in [*lines, *(["# EOF"] if openmetrics else [])])


def wants_openmetrics(accept: str) -> bool:
    """Whether a scrape's ``Accept`` header prefers OpenMetrics to plain text.

    >>> wants_openmetrics("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"), wants_openmetrics("*/*")
    (True, False)
    """
    weights = {}
    for part in accept.split(","):
        kind, *parameters = (text.strip().lower() for text in part.split(";"))
        given = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        weights[kind] = _weight(given)
    return weights.get("application/openmetrics-text", 0.0) > weights.get("text/plain", 0.0)


def _weight(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if 0 <= found <= 1 else 0.0


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sample.labels.items())
    return f"{name}{sample.suffix}{{{labels}}} {_number(sample.value)}"


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    """A label's value: users' text, with the three characters escaped that the formats name, in valid UTF-8."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return escaped.encode("utf-8", "replace").decode()
