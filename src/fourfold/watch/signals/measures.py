"""What is judged of a series: its measures, the scale on which each is judged, and the words that say it.

On its working scale a measure's noise is about normal, and known from the number of records:

========== ======================= =============================================================================
scale      working value           sampling variance
========== ======================= =============================================================================
rate       asin √p                 1 / 4n  (Anscombe, Biometrika 35 (1948), 246–254)
log        ln(1 + x)               1 / x
position   mean of F(x), in 0..1   1 / 12n, F that of recent data (Mann–Whitney)
distance   Hellinger's, less what  1 / 16n
           chance makes of it
plain      the metric itself       from its interval
ratio      ln x                    from its interval
duration   ln(1 + x), in seconds   from its interval
========== ======================= =============================================================================
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from enum import Enum

from fourfold.model import Group, Severity, percent


class Scale(Enum):
    """The scale on which a measure is judged."""

    RATE = "rate"
    LOG = "log"
    POSITION = "position"
    DISTANCE = "distance"
    PLAIN = "plain"
    DURATION = "duration"
    RATIO = "ratio"

    def back(self, value: float) -> float:
        """A working value in the measure's own unit.

        >>> round(Scale.RATE.back(math.asin(math.sqrt(0.2))), 6), round(Scale.LOG.back(math.log1p(9.0)), 6)
        (0.2, 9.0)
        """
        match self:
            case Scale.RATE:
                return math.sin(min(max(value, 0.0), math.pi / 2)) ** 2
            case Scale.LOG | Scale.DURATION:
                return max(math.expm1(min(value, 700.0)), 0.0)
            case Scale.RATIO:
                return math.exp(min(value, 700.0))
            case Scale.POSITION:
                return min(max(value, 0.0), 1.0)
            case Scale.DISTANCE:
                return max(value, 0.0)
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """One way to look at a series.

    ``least`` is the smallest change that matters, on the working scale; ``side`` the direction that does (+1 up, −1
    down, 0 both); ``words`` says the value and what was expected, such as "41 % are null instead of 0.2 %".
    """

    name: str
    scale: Scale
    least: float
    side: int
    words: Callable[[float, float], str]
    group: Group = Group.STATEFUL_SINGLE
    severity: Severity = Severity.TICKET
    advice: str = ""

    @property
    def kind(self) -> str:
        """The kind of its findings."""
        return {"location": "drift", "shape": "drift", "rows": "volume"}.get(self.name, self.name)


def _share(what: str) -> Callable[[float, float], str]:
    return lambda value, expected: f"{percent(value)} {what} instead of {percent(expected)}"


def _position(value: float, expected: float) -> str:
    way = "up" if value > expected else "down"
    return f"values moved {way}: on average to the {value:.0%} quantile of recent data instead of {expected:.0%}"


def _shape(value: float, expected: float) -> str:
    return f"the distribution changed: Hellinger distance {value:.2f} instead of {expected:.2f}"


def _rows(value: float, expected: float) -> str:
    return "no records" if value < 0.5 else f"{value:,.0f} records instead of {expected:,.0f}"


STREAM = (
    Measure("rows", Scale.LOG, 0.15, 0, _rows),
    Measure("null_key_rate", Scale.RATE, 0.04, 1, _share("of the keys are null"), Group.STATEFUL_CROSS),
    Measure("duplicate_rate", Scale.RATE, 0.06, 1, _share("of the records repeat a key")),
)
SHARE = Measure("share", Scale.RATE, 0.05, 0, _share("of the records"))
NUMERIC = (
    Measure("missing_rate", Scale.RATE, 0.03, 0, _share("are null, NaN or not there")),
    Measure("negative_rate", Scale.RATE, 0.03, 0, _share("are negative")),
    Measure("infinite_rate", Scale.RATE, 0.03, 1, _share("are infinite")),
    Measure("location", Scale.POSITION, 0.02, 0, _position),
    Measure("shape", Scale.DISTANCE, 0.03, 1, _shape),
)
CATEGORY = (
    NUMERIC[0],
    Measure("new_rate", Scale.RATE, 0.05, 1, _share("have values never seen before")),
    NUMERIC[4],
)
OPAQUE = (NUMERIC[0],)
SLICED_NUMERIC = (NUMERIC[0], NUMERIC[3])
SLICED_CATEGORY = (NUMERIC[0],)


def of_task(metric: str, scale: Scale, least: float, side: int) -> Measure:
    """The measure of a task's metric; ``side`` is the harmful direction."""
    title = metric.replace("_", " ")

    def words(value: float, expected: float) -> str:
        if scale is Scale.DURATION:
            return f"labels take {_length(value)} (median) instead of {_length(expected)}"
        shown = percent if scale is Scale.RATE or metric == "coverage" else "{:.3g}".format
        return f"{title} {shown(value)} instead of {shown(expected)}"

    labels = metric.startswith(("coverage", "label_delay", "base_rate"))
    return Measure(
        metric, scale, least, side, words, Group.STATEFUL_CROSS, Severity.TICKET if labels else Severity.PAGE
    )


def _length(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
