"""95 % intervals for what is read off counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fourfold.counts.binning import Floats

Z = 1.959963984540054  # the 97.5 % point of the standard normal distribution
Interval = tuple[float, float]
_BEYOND = 1.0  # standard errors, from which on a distance is taken for more than chance; by simulation
_TRUTHS = 33  # between which is interpolated
_MOST_TRIALS = 1e15  # more make no difference to an interval
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
    return max(0.0, middle - half), min(1.0, middle + half)


def logit(value: float, variance: float, n: float = math.inf) -> Interval | None:
    """Student's interval of n records on the logit scale, for a value within (0, 1); None at its ends."""
    if not 0 < value < 1:
        return None
    spread = value * (1 - value)
    low, high = student(math.log(value / (1 - value)), variance / spread / spread, n)
    return _expit(low), _expit(high)


def effective(value: float, variance: float, n: float, low: float = 0.0, high: float = 1.0) -> Interval:
    """Wilson's interval for a value between two bounds that is no proportion, from its variance.

    The number of trials is the one at which a proportion of this value has this variance; where the variance is zero,
    for the value lies at a bound, it is n.
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

    Of a single record, and where the variance is too large for a float, it is the whole line.
    """
    if n < 2 or not math.isfinite(variance):
        return -math.inf, math.inf
    half = student_point(n - 1) * math.sqrt(max(variance, 0.0))
    return value - half, value + half


def student_point(degrees: float) -> float:
    """The 97.5 % point of Student's distribution: Cornish & Fisher's expansion, within 0.002 from 5 degrees on.

    Source: Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    if degrees < 1:
        return math.inf
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


def absolute_distances(weights: Floats, distances: Floats, errors: Floats) -> Interval:
    """Of Σ weight × |distance|, the distances having normal standard errors, which are above zero.

    Chance makes each |distance| longer, by as much as the mean of the folded normal distribution says (Leone, Nelson &
    Nottingham, Technometrics 3, 1961, 543–550); the sum of few records lies far above the truth. The interval holds
    those truths under which the sum seen is no surprise. How much chance adds depends on how a truth is shared out: the
    least where evenly. For the upper end it is taken to be half evenly and half as seen, for the lower as seen, where
    that is beyond chance.
    """
    lengths = np.abs(distances)
    seen = float((weights * lengths).sum())
    beyond = np.where(lengths > _BEYOND * errors, lengths, 0.0)
    if not beyond.any():
        beyond = np.where(lengths == lengths.max(), 1.0, 0.0)
    truths = np.linspace(0.0, seen + 2 * Z * float(np.sqrt((weights**2 * errors**2).sum())), _TRUTHS)
    ends = []
    for shape, sign in ((beyond / (weights * beyond).sum(), 1), ((1 + lengths / max(seen, 1e-12)) / 2, -1)):
        at = truths[:, None] * shape
        z = at / errors / math.sqrt(2)
        inside = np.array([math.erf(x) for x in z.ravel().tolist()]).reshape(z.shape)
        mean = errors * math.sqrt(2 / math.pi) * np.exp(-z * z) + at * inside
        spread = np.sqrt((weights**2 * np.maximum(at * at + errors**2 - mean * mean, 0.0)).sum(1))
        ends.append(float(np.interp(seen, (weights * mean).sum(1) + sign * Z * spread, truths)))
    return ends[0], ends[1]


def few(variance: float, n: float, lacking: float) -> float:
    """A variance made of high moments, which few records with long tails show too small: grown by 1 + lacking/n.

    How much is lacking was found by simulation; docs/intervals.md has the coverage that results.
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


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
