"""A metric over time as a chart."""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.charts import Band, Curve, Limit, Line, Span
from fourfold.model import Incident, Severity, Value
from fourfold.query.result import Result

_SECONDS = ("label_delay", "duration", "freshness")
_NUMBERS = (
    "log_loss", "rows", "distinct", "mean", "min", "max", "quantile", "sum", "wasserstein", "fan_out", "psi",
    "population_stability_index", "value", "mean_value", "true_positives", "false_positives", "false_negatives",
    "true_negatives", "orphan_labels", "expired_labels", "standard_deviation", "std", "predictions",
    "matthews_corrcoef",
)  # fmt: skip
_ERRORS = ("error", "deviation", "bias", "r2", "correlation", "explained_variance")
_COLOURS = {Severity.PAGE: "broken", Severity.TICKET: "warning", Severity.NOTICE: "muted"}


def unit_of(metric: str) -> str:
    """The unit of a metric's values: "share", "seconds", or nothing for a plain number.

    >>> unit_of("recall"), unit_of("label_delay(0.5)"), unit_of("mean_absolute_error"), unit_of("null_rate")
    ('share', 'seconds', '', 'share')
    """
    name = metric.partition("(")[0].strip()
    if name in _SECONDS:
        return "seconds"
    if name.endswith("_rate"):
        return "share"
    if name == "expected_calibration_error":
        return "share"
    return "" if name in _NUMBERS or any(part in name for part in _ERRORS) else "share"


def line(
    title: str,
    result: Result,
    name: str,
    *,
    limits: Sequence[Limit] = (),
    expected: Band | None = None,
    spans: Sequence[Span] = (),
) -> Line:
    """The rows of one metric over time."""
    times = [float(row.window.start) for row in result]
    return Line(title, times, [curve(name, [row.value for row in result])], unit_of(name), expected, limits, spans)


def curve(name: str, values: Sequence[Value], colour: str = "", *, dashed: bool = False) -> Curve:
    """Values over time, with their intervals."""
    return Curve(name, [v.value for v in values], [v.low for v in values], [v.high for v in values], colour, dashed)


def spans(incidents: Sequence[Incident]) -> list[Span]:
    """When things were wrong."""
    return [
        Span(each.began, max(each.seen, each.began), f"incident {each.id}", _COLOURS[each.severity])
        for each in incidents
    ]
