"""Which slices to look at first: those that differ most from the whole beyond sampling noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from fourfold.model import Value

MOST_SHOWN = 8
_DEVIATIONS = 1.96  # standard errors in the half of a 95 % interval


@dataclasses.dataclass(frozen=True, slots=True)
class SliceView:
    """A slice, named by its values ("AA × JFK"), and its metrics by name."""

    name: str
    values: Mapping[str, Value]


def strongest(slices: Sequence[SliceView], whole: Mapping[str, Value], most: int = MOST_SHOWN) -> list[SliceView]:
    """The ``most`` slices with the strongest evidence of differing from the whole; all, as given, if they are few."""
    if len(slices) <= most:
        return list(slices)
    return sorted(slices, key=lambda entry: -evidence(entry.values, whole))[:most]


def evidence(values: Mapping[str, Value], whole: Mapping[str, Value]) -> float:
    """The distance of a slice from the whole, in standard errors, in its furthest metric.

    A standard error is 1/1.96 of the distance from the slice's value to the end of its 95 % interval on the whole's
    side. The distance is treated as a Student's t with n − 1 degrees of freedom and converted to the normal deviate of
    the same probability (Wallace's approximation, Annals of Mathematical Statistics 30, 1959), so that slices with few
    records do not win by chance. Better and worse count alike. All slices are compared by the same metrics, so the
    order also holds after a correction for multiple comparisons.
    """
    return max((_deviate(value, whole[name]) for name, value in values.items()), default=0.0)


def _deviate(value: Value, whole: Value) -> float:
    if value.value is None or whole.value is None or value.low is None or value.high is None or value.n < 2:
        return 0.0
    towards = value.high - value.value if whole.value > value.value else value.value - value.low
    spread = towards if towards > 0 else (value.high - value.low) / 2
    if spread <= 0 or not math.isfinite(spread):
        return 0.0
    t, freedom = abs(whole.value - value.value) / (spread / _DEVIATIONS), value.n - 1
    return (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
