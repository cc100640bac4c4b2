"""Burn rates: how many times faster than allowed is the error budget being spent?

Source: Beyer et al., The Site Reliability Workbook (2018), chapter 5, table 5-8: alert when both a long and a short
window burn faster than a factor; the long one says that it matters, the short one that it still goes on.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from fourfold.model import DAY, HOUR, Severity
from fourfold.watch.objectives.budget import Bucket, Tally, summed
from fourfold.watch.objectives.windows import rounded_up

_STANDARD = (  # for a window of 30 days: 2 % of the budget in an hour, 5 % in six hours, 10 % in three days
    (Severity.PAGE, 14.4, HOUR, HOUR / 12),
    (Severity.PAGE, 6.0, 6 * HOUR, HOUR / 2),
    (Severity.TICKET, 1.0, 3 * DAY, 6 * HOUR),
)
CHANCE = 0.001  # of a false alert in a window, over all slices
_SLICES = 2  # of time that are bad, for an alert
_LEAST_DAYS = 7  # of history, to learn how much a rate varies from day to day
_MEDIAN = 0.4549  # of the χ² distribution with one degree of freedom
_LIKELY = 2.0  # onsets whose log-likelihood is no further from the best: about a 95 % interval


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """An alert: its windows in seconds, and the factor that both must burn faster than."""

    severity: Severity
    factor: float
    long: int
    short: int


@dataclasses.dataclass(frozen=True, slots=True)
class Burn:
    """A rule's two burn rates, 1 spending the budget exactly by the end of the window, and whether it fires."""

    rule: Rule
    long: float
    short: float
    fires: bool
    tally: Tally  # of the long window


@dataclasses.dataclass(frozen=True, slots=True)
class Onset:
    """When it began, with an interval; seconds since 1970."""

    at: int
    low: int
    high: int


def rules(window: int, unit: int, least: int = 1) -> list[Rule]:
    """The standard alerts, scaled to a window and rounded up to whole buckets of ``unit`` seconds.

    The long windows are at least ``least`` buckets.

    >>> [(rule.factor, rule.long // HOUR, rule.short // HOUR) for rule in rules(30 * DAY, HOUR)]
    [(14.4, 1, 1), (6.0, 6, 1), (1.0, 72, 6)]
    """
    scale = window / (30 * DAY)
    found: dict[tuple[Severity, int, int], Rule] = {}
    for severity, factor, long, short in _STANDARD:
        place = severity, max(rounded_up(long * scale, unit), least * unit), rounded_up(short * scale, unit)
        found[place] = Rule(severity, factor, *place[1:])  # of two with the same windows, the lower factor says it all
    return list(found.values())


def longest(window: int, unit: int) -> int:
    """The longest window of the alerts, in seconds."""
    return max(rule.long for rule in rules(window, unit))


def burns(
    buckets: Sequence[Bucket], until: int, rules_: Sequence[Rule], allowed: float, *, slices: int = 1, events: bool
) -> list[Burn]:
    """The burn rates at the moment ``until``, in mature buckets alone.

    Args:
        buckets: of one slice.
        until: the end of the windows, in seconds since 1970.
        rules_: the alerts.
        allowed: the share of the events that may be bad.
        slices: how many slices are judged at the same time, each of which might raise a false alert.
        events: whether the tallies are of records or runs, whose number is subject to chance.
    """
    found = []
    for rule in rules_:
        long, short = (_within(buckets, until - span, until) for span in (rule.long, rule.short))
        limit = limit_of(rule, allowed)
        fires = long.bad_share > limit and short.bad_share > limit
        if events:
            certain = is_certain(long, allowed, slices, dispersion(buckets, until - rule.long))
        else:  # one slice of time may be bad in a way that its interval does not know
            certain = long.bad - long.doubtful >= _SLICES
        found.append(Burn(rule, _rate(long, allowed), _rate(short, allowed), fires and certain, long))
    return found


def limit_of(rule: Rule, allowed: float) -> float:
    """The share of bad events beyond which a rule fires.

    Where much may be bad, no share can be 14.4 times as much: then it is where a quarter of the wanted events is left.
    """
    return min(rule.factor * allowed, 1 - (1 - allowed) / 4)


def is_certain(tally: Tally, allowed: float, slices: int = 1, variation: float = 1.0) -> bool:
    """Whether more events are bad than chance explains, if the allowed share of them were bad.

    Source: Chernoff's bound, P(share ≥ s) ≤ exp(−n KL(s ‖ allowed)); Hoeffding, JASA 58 (1963), 13–30, theorem 1; with
    n divided by the ``dispersion`` of the rate, as for a quasi-binomial.
    """
    share = tally.bad_share
    if share <= allowed:
        return False
    return tally.total / variation * _divergence(share, allowed) > math.log(slices / CHANCE)


def dispersion(buckets: Sequence[Bucket], before: int) -> float:
    """How many times more than binomial a rate varies from day to day, before a moment; 1 while history is short.

    It is the median of the squared Pearson residuals, from the median rate, over its value for binomial counts: some
    bad days do not count. Source: McCullagh & Nelder, Generalized Linear Models (1989), section 4.5.
    """
    days: dict[int, Tally] = {}
    for bucket in buckets:
        if bucket.mature and bucket.end <= before and bucket.tally.total:
            days[bucket.start // DAY] = days.get(bucket.start // DAY, Tally()) + bucket.tally
    share = statistics.median(day.bad / day.total for day in days.values()) if len(days) >= _LEAST_DAYS else 0.0
    if not 0 < share < 1:
        return 1.0
    squares = [(day.bad - day.total * share) ** 2 / (day.total * share * (1 - share)) for day in days.values()]
    return max(statistics.median(squares) / _MEDIAN, 1.0)


def onset(buckets: Sequence[Bucket], until: int, allowed: float) -> Onset | None:
    """When too many events began to be bad, by the start after which they are least likely at the allowed share.

    Source: the generalised likelihood ratio, Lai, IEEE Trans. Inf. Theory 44 (1998), 2917–2929.
    """
    tally, found = Tally(), []
    for bucket in reversed([b for b in buckets if b.mature and b.end <= until and b.tally.total]):
        tally += bucket.tally
        share = tally.bad / tally.total
        ratio = tally.total * _divergence(share, allowed) if share > allowed else 0.0
        found.append((min(ratio, 1e300), bucket))
    best = max((ratio for ratio, _ in found), default=0.0)
    if best <= 0:
        return None
    likely = [bucket for ratio, bucket in found if ratio >= best - _LIKELY]
    at = next(bucket for ratio, bucket in found if ratio == best)
    return Onset(at.start, min(bucket.start for bucket in likely), max(bucket.end for bucket in likely))


def _within(buckets: Sequence[Bucket], start: int, end: int) -> Tally:
    return summed(b for b in buckets if b.mature and start <= b.start and b.end <= end)


def _rate(tally: Tally, allowed: float) -> float:
    share = tally.bad_share
    return share / allowed if allowed > 0 else math.inf if share > 0 else 0.0


def _divergence(share: float, expected: float) -> float:
    """The Kullback-Leibler divergence of two shares, in nats."""
    found = 0.0
    for a, b in ((share, expected), (1 - share, 1 - expected)):
        if a > 0:
            if b <= 0:
                return math.inf
            found += a * math.log(a / b)
    return max(found, 0.0)
