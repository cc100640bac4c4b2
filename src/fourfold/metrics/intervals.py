"""95 % intervals of metrics from counts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from fourfold.counts.binning import Floats

Z = 1.959963984540054  # the 97.5 % point of the standard normal distribution
Interval = tuple[float, float]
_BEYOND = 1.0  # standard errors beyond which a distance is more than sampling noise; by simulation
_STEPS = 32  # between which is interpolated; a power of two
_ERF_ENDS, _ERF_STEPS = 6, 256  # from where on it is 1; the numbers listed up to 1
_MOST_TRIALS = 1e15  # more make no difference to an interval
_STUDENT = (  # the 97.5 % points of Student's distribution with 1 to 6 degrees of freedom
    12.706204736174694, 4.302652729749462, 3.1824463052837078, 2.7764451051977934, 2.5705818356363146,
    2.4469118511449786,
)  # fmt: skip
_LARGEST_EXPONENT = 709.0  # e to it is a float still


def wilson(successes: float, trials: float) -> Interval:
    """The score interval of a proportion: Wilson, JASA 22 (1927), 209–212.

    >>> low, high = wilson(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    share = successes / trials
    z2 = Z * Z / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * math.sqrt(max(share * (1 - share) / trials + z2 / (4 * trials), 0.0))
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))  # whatever rounding makes of them


def logit(value: Floats, variance: Floats, n: Floats | None = None) -> tuple[Floats, Floats]:
    """Student's interval of n records on the logit scale, of each value within (0, 1); NaN at its ends.

    Without n, the normal distribution's.
    """
    inside = (value > 0) & (value < 1)
    centre = np.where(inside, value, 0.5)
    spread = centre * (1 - centre)
    points = Z if n is None else np.array([student_point(records - 1) for records in n.tolist()])
    middle, half = np.log(centre / (1 - centre)), points * np.sqrt(np.maximum(variance, 0.0)) / spread
    low, high = (
        np.where(inside, 1 / (1 + np.exp(-np.clip(end, -700, 700))), np.nan) for end in (middle - half, middle + half)
    )
    return low, high


def effective(value: float, variance: float, n: float, low: float = 0.0, high: float = 1.0) -> Interval:
    """Wilson's interval for a bounded value that is no proportion, from its variance.

    The number of trials is the one at which a proportion of this value has this variance; if the variance is zero,
    since the value lies at a bound, it is n.
    """
    share = (value - low) / (high - low)
    spread = variance / (high - low) ** 2
    if not math.isfinite(spread):
        return low, high
    trials = min(share * (1 - share) / spread, _MOST_TRIALS) if spread > 0 and 0 < share < 1 else n
    if not trials > 0:
        return low, high
    lower, upper = wilson(min(max(share, 0.0), 1.0) * trials, trials)
    return low + (high - low) * lower, low + (high - low) * upper


def student(value: float, variance: float, n: float) -> Interval:
    """value ± t standard errors, t being the 97.5 % point of Student's distribution with n − 1 degrees of freedom.

    For a single record, and if the variance is too large for a float, it is the whole line.
    """
    if n < 2 or not math.isfinite(variance):
        return -math.inf, math.inf
    half = student_point(n - 1) * math.sqrt(max(variance, 0.0))
    return value - half, value + half


def student_point(degrees: float) -> float:
    """The 97.5 % point of Student's distribution; from 6 degrees on by Cornish & Fisher's expansion, within 0.002.

    Below 6 it is exact at whole degrees and within 3 % between them. Source: Abramowitz & Stegun, Handbook of
    Mathematical Functions, 26.7.5.
    """
    if degrees < 1:
        return math.inf
    if degrees < len(_STUDENT):
        lower = int(degrees)
        share = (1 / lower - 1 / degrees) / (1 / lower - 1 / (lower + 1))
        return math.exp((1 - share) * math.log(_STUDENT[lower - 1]) + share * math.log(_STUDENT[lower]))
    z, v = Z, degrees
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def logarithmic(value: float, variance: float, n: float) -> Interval:
    """Student's interval on the logarithmic scale, for a value above zero whose errors are to one side."""
    if not value > 0:
        return value, value
    low, high = student(math.log(value), variance / value / value, n)
    return exp(low), exp(high)


def fisher(value: float, variance: float, n: float) -> Interval:
    """Student's interval on the scale of Fisher's z, for a correlation (or agreement) between −1 and 1.

    Source: Fisher, Metron 1 (1921), 3–32. At ±1, where it is degenerate, Wilson's of n trials.
    """
    if not -1 < value < 1:
        return effective(value, 0.0, n, -1.0, 1.0)
    low, high = student(math.atanh(value), variance / (1 - value**2) ** 2, n)
    return math.tanh(low), math.tanh(high)


def mover(parts: Sequence[tuple[float, float, float]]) -> Interval:
    """The interval of Σ weight × proportion over independent proportions, each (weight, successes, trials).

    Source: the method of variance estimates recovery, Zou & Donner, Statistics in Medicine 27 (2008), 1693–1702.
    """
    centre = below = above = 0.0
    for weight, successes, trials in parts:
        share, (low, high) = successes / trials, wilson(successes, trials)
        centre += weight * share
        below += (weight * (share - low)) ** 2
        above += (weight * (high - share)) ** 2
    return centre - math.sqrt(below), centre + math.sqrt(above)


def absolute_distances(weights: Floats, distances: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Of Σ weight × |distance|, the distances having normal standard errors, which are above zero.

    Sampling noise lengthens each |distance|, by the mean of the folded normal distribution (Leone, Nelson & Nottingham,
    Technometrics 3, 1961, 543–550); with few records the sum lies far above the true one. The interval contains the
    true sums that are consistent with the observed one. How much noise adds depends on how a sum is distributed over
    the distances: least if evenly. The upper end assumes half evenly and half as observed, the lower end as observed,
    where that is beyond noise.

    The sums are over the last axis: each row has its own interval.
    """
    lengths = np.abs(distances)
    seen = (weights * lengths).sum(-1)
    beyond = np.where(lengths > _BEYOND * errors, lengths, 0.0)
    longest = np.where(lengths == lengths.max(-1, keepdims=True), 1.0, 0.0)
    beyond = np.where(beyond.any(-1, keepdims=True), beyond, longest)
    furthest = seen + 2 * Z * np.sqrt((weights**2 * errors**2).sum(-1))
    evenly = (1 + lengths / np.maximum(seen, 1e-12)[..., None]) / 2
    shared = beyond / np.maximum((weights * beyond).sum(-1), 1e-300)[..., None]

    half_normal = math.sqrt(2 / math.pi)

    def expected(truth: Floats, shape: Floats, sign: int) -> Floats:
        """The mean of such a sum, plus or minus Z standard deviations."""
        at = truth[..., None] * shape
        z = at / (errors * math.sqrt(2))
        mean = errors * (half_normal * np.exp(-z * z)) + at * erf(z)
        spread = np.sqrt((weights**2 * np.maximum(at * at + errors**2 - mean * mean, 0.0)).sum(-1))
        sums: Floats = (weights * mean).sum(-1) + sign * Z * spread
        return sums

    ends = []
    for shape, sign in ((shared, 1), (evenly, -1)):
        none = half_normal * (weights * errors).sum(-1)
        none += sign * Z * np.sqrt((1 - half_normal**2) * (weights**2 * errors**2).sum(-1))
        ends.append(_where_it_comes_to(seen, furthest, none, functools.partial(expected, shape=shape, sign=sign)))
    return ends[0], ends[1]


def _where_it_comes_to(seen: Floats, furthest: Floats, lowest: Floats, of: Callable[[Floats], Floats]) -> Floats:
    """Where a rising function on [0, furthest] reaches the observed value: by steps, then by interpolation.

    ``lowest`` is its value at zero.
    """
    step = furthest / _STEPS
    left, right = np.zeros_like(seen), np.full_like(seen, _STEPS)
    below, above = lowest, np.full_like(seen, np.inf)
    for _ in range(int(math.log2(_STEPS))):
        middle = (left + right) / 2
        there = of(middle * step)
        beyond = there <= seen
        left, below = np.where(beyond, middle, left), np.where(beyond, there, below)
        right, above = np.where(beyond, right, middle), np.where(beyond, above, there)
    if (right == _STEPS).any():  # not often
        above = np.where(right == _STEPS, of(furthest), above)
    rise = above - below
    share = np.divide(seen - below, rise, out=np.zeros_like(rise), where=rise != 0)
    return np.where(seen < lowest, 0.0, np.minimum((left + share) * step, furthest))


@functools.cache
def _erf_table() -> tuple[Floats, Floats]:
    """The error function and its slope at each step."""
    x = np.arange(_ERF_ENDS * _ERF_STEPS + 1) / _ERF_STEPS
    return np.array([math.erf(at) for at in x.tolist()]), 2 / math.sqrt(math.pi) * np.exp(-x * x)


def erf(x: Floats) -> Floats:
    """The error function of numbers from 0 on, to the last bit or two: Taylor's series from the nearest listed one."""
    values, slopes = _erf_table()
    x = np.minimum(x, _ERF_ENDS)
    place = np.rint(x * _ERF_STEPS)
    near = place / _ERF_STEPS
    d, place, square = x - near, place.astype(np.int64), near * near
    series = (4 * square - 12) * square + 3
    series = (3 - 2 * square) * near / 6 + d * series / 30
    series = (2 * square - 1) / 3 + d * series
    return values[place] + slopes[place] * d * (1 + d * (d * series - near))


def few(variance: float, n: float, lacking: float) -> float:
    """A variance of high moments, which few records with long tails underestimate, increased by 1 + lacking/n.

    ``lacking`` was found by simulation; docs/intervals.md shows the resulting coverage.
    """
    return variance * (1 + lacking / n)


def delta_variance(gradient: Sequence[float], cells: Sequence[float]) -> float:
    """The variance of a smooth function of multinomial cell counts, by the delta method.

    ``gradient`` is by the cells' shares. Source: Agresti, Categorical Data Analysis, 3rd ed., section 16.1.
    """
    total = sum(cells)
    mean = sum(g * c for g, c in zip(gradient, cells, strict=True)) / total
    square = sum(g * g * c for g, c in zip(gradient, cells, strict=True)) / total
    return (square - mean * mean) / total


def exp(x: float) -> float:
    """e^x; infinite where no float holds it."""
    return math.exp(x) if x < _LARGEST_EXPONENT else math.inf
