"""Constraints that a column's history suggests: inferred from its first days, confirmed on later ones.

A rule is read off the first k days. It counts if the next k days keep to it; else it is tried again on twice as many
days, so that a column that drifts, grows or has a season never gets one too early.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fourfold.counts.binning import Floats, Ints
from fourfold.watch.constraints.rule import Constraint, Rule, Status

FEW_DAYS, DAYS = 7, 14  # to learn a rule from, at least: of signs and nulls; of ranges and sets
RECORDS = 500  # in each part, at least
MOST_DAYS = 256  # of a history that are looked at
_LARGEST = 1e300  # beyond, nothing is reckoned
MOST_VALUES = 40  # of a set
_RARE = 3  # a value seen less often says that there are others not seen yet
_SLACK, _SPAN = 5.0, 0.5  # beyond the extremes: so often the variation of daily extremes, and this much of the range
_HEAVY = 2.0  # the largest of all days in units of the usual largest of a day: then the tail is heavy
_TAIL = 10.0  # scales of the distribution: once in 20,000 days
_TREND = 0.8  # rank correlation of daily extremes with time
_ZEROS, _NEAR = 0.1, 0.01  # share of days that have a zero; how near to zero the lowest values come, in highest ones


@dataclasses.dataclass(frozen=True, slots=True)
class Days:
    """A column's days, the oldest first: the start of each, and numbers for each. Extremes are NaN without values."""

    buckets: Ints
    rows: Ints
    missing: Ints
    negative: Ints
    infinite: Ints
    low: Floats
    high: Floats

    def __len__(self) -> int:
        return len(self.buckets)

    def first(self, n: int) -> Days:
        """The first n days."""
        return self.part(0, n)

    def part(self, start: int, end: int) -> Days:
        """The days from one number to another."""
        return Days(*(getattr(self, field.name)[start:end] for field in dataclasses.fields(self)))


Learn = Callable[[Days], float | None]
Keeps = Callable[[float, Days, Days], bool]


def numeric(stream: str, column: str, days: Days) -> list[Constraint]:
    """The constraints on a column of numbers."""
    days = days.first(MOST_DAYS)
    found = [
        _tried(stream, column, Rule.NULL, days, FEW_DAYS, _never_null, lambda limit, _, later: not later.missing.any())
    ]
    positive = _tried(
        stream, column, Rule.MIN, days, FEW_DAYS, _never_negative, lambda limit, _, later: not later.negative.any()
    )
    lowest = _tried(stream, column, Rule.MIN, days, DAYS, _lowest, _keeps_above)
    found.append(positive if positive is not None else lowest)
    found.append(_tried(stream, column, Rule.MAX, days, DAYS, _highest, _keeps_below))
    return [constraint for constraint in found if constraint is not None]


def missing(stream: str, column: str, days: Days) -> list[Constraint]:
    """The constraint on a column of any kind that it is never null."""
    days = days.first(MOST_DAYS)
    found = _tried(stream, column, Rule.NULL, days, FEW_DAYS, _never_null, lambda _, __, later: not later.missing.any())
    return [found] if found is not None else []


def unique_keys(stream: str, days: Days) -> list[Constraint]:
    """The constraint that a stream's keys are never repeated; ``missing`` are those that are, ``negative`` are null."""
    if (days.negative >= days.rows).all():
        return []
    return [dataclasses.replace(found, rule=Rule.UNIQUE) for found in missing(stream, "", days.first(MOST_DAYS))]


def categories(stream: str, column: str, days: Sequence[tuple[int, Mapping[str, int]]]) -> list[Constraint]:
    """The constraint that a column has a value of a set; days are their starts and how often each value was there."""
    days = days[:MOST_DAYS]
    k = DAYS
    while 2 * k <= len(days):
        learned, later = _added(days[:k]), _added(days[k : 2 * k])
        n = sum(learned.values()) + sum(later.values())
        whole = {text: learned.get(text, 0) + later.get(text, 0) for text in {*learned, *later}}
        if _is_complete(whole, n) and later.keys() <= learned.keys() and min(map(_sum, (learned, later))) >= RECORDS:
            values = tuple(sorted(whole))
            return [_active(stream, column, Rule.VALUES, n, 2 * k, days[2 * k - 1][0], values=values)]
        k *= 2
    seen = _added(days)
    if not 0 < len(seen) <= MOST_VALUES or 2 * k > MOST_DAYS:
        return []
    return [
        Constraint(stream, column, Rule.VALUES, Status.LEARNING, values=tuple(sorted(seen)), n=_sum(seen),
                   buckets=len(days), needed=2 * k)
    ]  # fmt: skip


def _tried(stream: str, column: str, rule: Rule, days: Days, few: int, learn: Learn, keeps: Keeps) -> Constraint | None:
    """The rule as it was confirmed first, or as far as it has been learned; None if the history speaks against it."""
    k = few
    while 2 * k <= len(days):
        learned, later = days.part(0, k), days.part(k, 2 * k)
        limit = learn(learned)
        enough = min(int(learned.rows.sum()), int(later.rows.sum())) >= RECORDS
        if limit is not None and enough and keeps(limit, learned, later):
            whole = learn(days.first(2 * k))
            if whole is not None:
                n = int(days.rows[: 2 * k].sum())
                return _active(stream, column, rule, n, 2 * k, int(days.buckets[2 * k - 1]), limit=whole)
        k *= 2
    limit = learn(days) if len(days) else None
    if limit is None or 2 * k > MOST_DAYS:
        return None
    return Constraint(stream, column, rule, Status.LEARNING, None if rule is Rule.NULL else limit,
                      n=int(days.rows.sum()), buckets=len(days), needed=2 * k)  # fmt: skip


def _active(
    stream: str, column: str, rule: Rule, n: int, days: int, last: int, *, limit: float | None = None,
    values: tuple[str, ...] = (),
) -> Constraint:  # fmt: skip
    limit = None if rule is Rule.NULL else limit
    return Constraint(stream, column, rule, Status.ACTIVE, limit, values, n, days, days, last + 86_400.0)


def _never_null(days: Days) -> float | None:
    return None if days.missing.any() else 0.0


def _never_negative(days: Days) -> float | None:
    """Zero, if no value was below it and zero is where the values end: it occurs, or is far off, or very near."""
    low, high = days.low[np.isfinite(days.low)], days.high[np.isfinite(days.high)]
    if days.negative.any() or not len(low) or low.min() < 0:
        return None
    lowest, usual = float(low.min()), _median(low)
    is_reached = float((low == 0).mean()) >= _ZEROS
    is_far = lowest - _SLACK * (usual - lowest) > 0
    is_near = usual <= _NEAR * _median(high)
    return 0.0 if is_reached or is_far or is_near else None


def _lowest(days: Days) -> float | None:
    below = _highest(dataclasses.replace(days, low=-days.high, high=-days.low))
    return None if below is None else -below


def _highest(days: Days) -> float | None:
    """A limit well above the largest values: beyond their variation from day to day, and a part of the range."""
    slack = _slack(days)
    limit = math.inf if slack is None else float(np.nanmax(days.high)) + slack
    return _rounded_up(limit) if abs(limit) < _LARGEST else None


def _slack(days: Days) -> float | None:
    low, high = days.low[np.isfinite(days.low)], days.high[np.isfinite(days.high)]
    if len(high) < FEW_DAYS:
        return None
    lowest, highest, usual = float(low.min()), float(high.max()), _median(high)
    if not 0 < highest - lowest < _LARGEST:
        return None
    even = _SLACK * (highest - usual) + _SPAN * (highest - lowest)
    return max(even, _heavy_tail(high, min(lowest, 0.0)) - highest)


def _heavy_tail(high: Floats, zero: float) -> float:
    """The value that the largest of a day hardly ever exceeds where its logarithm varies as Gumbel's distribution.

    The scale is that of the quartiles, which lie 1.573 scales apart (Coles, An Introduction to Statistical Modeling of
    Extreme Values, 2001, section 3.1).
    """
    above = high[high > zero] - zero
    if not len(above) or float(above.max()) <= _HEAVY * _median(above):
        return -math.inf
    quartiles = np.quantile(np.log(above), [0.25, 0.5, 0.75])
    return zero + math.exp(min(float(quartiles[1] + _TAIL * (quartiles[2] - quartiles[0]) / 1.573), 700.0))


def _keeps_below(limit: float, learned: Days, later: Days) -> bool:
    """Whether the later days stay well below the limit, and the highest values do not go up or down with time."""
    highest, slack = float(np.nanmax(learned.high)), _slack(learned)
    above = float(np.nanmax(later.high)) if np.isfinite(later.high).any() else -math.inf
    both = np.concatenate((learned.high, later.high))
    return slack is not None and above <= highest + slack / 2 and not _has_trend(both[np.isfinite(both)])


def _keeps_above(limit: float, learned: Days, later: Days) -> bool:
    turned = (dataclasses.replace(days, low=-days.high, high=-days.low) for days in (learned, later))
    return _keeps_below(-limit, *turned)


def _has_trend(values: Floats) -> bool:
    """Whether values go up or down with time, by Spearman's rank correlation."""
    if len(values) < 3 or (values == values[0]).all():
        return False
    ranks = np.array([(values < value).sum() + (values == value).sum() / 2 for value in values])
    return abs(float(np.corrcoef(ranks, np.arange(len(values)))[0, 1])) > _TREND


def _median(values: Floats) -> float:
    """The lower median: one of the values, so that no sum overflows."""
    return float(np.quantile(values, 0.5, method="lower"))


def _rounded_up(value: float) -> float:
    """The next number of two digits: a limit is no measurement."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.ceil(value / unit) * unit:.6g}")


def _is_complete(seen: Mapping[str, int], n: int) -> bool:
    """Whether a set of values looks whole: few and none of them rare. A number that never changed is no set: a year."""
    is_constant = len(seen) == 1 and next(iter(seen)).lstrip("-").isdigit()
    return (
        len(seen) <= MOST_VALUES and n >= 50 * len(seen) and min(seen.values(), default=0) >= _RARE and not is_constant
    )


def _added(days: Sequence[tuple[int, Mapping[str, int]]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, counted in days:
        for text, n in counted.items():
            if n > 0:
                found[text] = found.get(text, 0) + n
    return found


def _sum(counted: Mapping[str, int]) -> int:
    return sum(counted.values())
