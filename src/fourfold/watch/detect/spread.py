"""How much a series usually differs from what was expected of it, how heavy its tails are, and for how long it does."""

from __future__ import annotations

import dataclasses

import numpy as np

from fourfold.counts.binning import Floats, Ints
from fourfold.watch.detect.memory import History
from fourfold.watch.detect.robust import CONSISTENT, Flags, Grid, count, median

GUARD = 16  # buckets: the newest, which are being tested, are no part of what is usual
SPAN = 8  # buckets: how much their mean varies tells how long natural variation lasts
PRIOR = 20.0  # a scale is as sure as that of so many buckets before any are seen
WORTH = (3.0, 40.0)  # a family's variation counts like so many buckets of the series' own, by how alike siblings are
LONELY = 3.0  # the same of a series without siblings
CHANCE = 5.4  # over n: the variance of the logarithm of a variance from n values, by their median
CLIP, KEPT = 2.5, 0.977  # deviations; and the mean square of a normal value that is cut off there
FLOOR = 1 / 20  # of the least change that matters: no series is steadier
FAR, FARTHEST = 3.0, 7.0  # deviations between which errors tell how heavy the tails are
TAIL_PRIOR = 300.0  # a family's tails count like so many buckets of the series' own: it takes long to see them
UNSEEN, TAILS = 200.0, 0.079  # before a family has shown so many buckets, its tails are taken to be those of t with 6
LIGHTEST, HEAVIEST = 100.0, 2.5  # degrees of freedom


@dataclasses.dataclass(frozen=True)
class Spread:
    """By series: ``natural`` is the variance of an error beyond sampling noise, ``freedom`` the weight of its tails.

    ``unit`` is the scale of the t distribution with so heavy tails, in deviations; ``longer`` how many times the
    variance of a mean of several errors is what it would be if they were independent.
    """

    natural: Floats
    freedom: Floats
    unit: Floats
    longer: Floats

    def deviation(self, noise: Floats) -> Floats:
        """The standard deviation of one bucket's error."""
        return np.asarray(np.sqrt(noise + self.natural))


def usual(h: History, rows: Ints, least: Floats, error: Floats, early: int) -> Spread:
    """What the history shows without the newest buckets; ``error`` is the baseline's own, per unit variance.

    The ``early`` first errors of a series are larger than later ones, as its season was not known yet: they count
    only until there are as many others.
    """
    stop = max(0, h.filled - 1 - min(GUARD, h.filled // 4))
    errors = _errors(h, rows, stop, early)
    valid = np.isfinite(errors)
    n = valid.sum(axis=1).astype(np.float64)
    typical = _typical(h.v[rows, :stop], valid)
    total = _robust_variance(errors, n)
    own, floor, family = np.maximum(total - typical, 0), (FLOOR * least) ** 2, h.family[rows]
    siblings = _pooled(family, np.maximum(own, total / 10) + floor, n)
    natural = np.maximum((n * own + siblings.weight * siblings.value) / (n + siblings.weight), floor)
    beyond = _beyond(errors, natural, h.v[rows, :stop])
    longer = (_longer(errors, valid, family, natural, typical) + SPAN * error) / (1 + error)
    freedom, unit = _tails(family, beyond, n)
    return Spread(natural * (1 + error), freedom, unit, np.maximum(longer, 1))


def _robust_variance(errors: Grid, n: Floats) -> Floats:
    """The mean square of each row, with what is beyond ``CLIP`` deviations cut off there (Huber's proposal 2, 1964).

    It starts from the median, and is surer than that: it uses all values, and outliers only as far as they are usual.
    """
    found = np.nan_to_num(CONSISTENT * median(np.abs(errors))).astype(np.float64) ** 2
    squares = errors.astype(np.float64) ** 2
    for _ in range(3):
        cut = np.minimum(squares, CLIP**2 * found[:, None])
        found = np.nansum(cut, axis=1) / np.maximum(n, 1) / KEPT
    return np.asarray(found)


def _errors(h: History, rows: Ints, stop: int, early: int) -> Grid:
    errors = np.where(h.out[rows, :stop], np.nan, h.e[rows, :stop])
    before = h.total[rows] - np.count_nonzero(np.isfinite(h.e[rows]), axis=1)
    (grown,) = np.nonzero((before < early) & (h.total[rows] >= 2 * early))
    if len(grown):
        order = before[grown, None] + np.cumsum(np.isfinite(h.e[rows[grown], :stop]), axis=1)
        errors[grown] = np.where(order <= early, np.nan, errors[grown])
    return errors


def _typical(noise: Grid, valid: Flags) -> Floats:
    """The harmonic mean: a few buckets of few records do not hide the natural variation of the others."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = valid.sum(axis=1) / np.where(valid, 1 / noise, 0).sum(axis=1)
    return np.asarray(np.nan_to_num(found, nan=0.0, posinf=0.0), dtype=np.float64)


def _beyond(errors: Grid, natural: Floats, noise: Grid) -> Floats:
    """By how much the squares of each row's errors, in deviations, exceed that of ``FAR``, in all."""
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = errors**2 / (natural[:, None].astype(np.float32) + noise)
    return np.asarray(np.nansum(np.clip(squares, FAR**2, FARTHEST**2) - FAR**2, axis=1, dtype=np.float64))


def _tails(family: Ints, beyond: Floats, n: Floats) -> tuple[Floats, Floats]:
    """The degrees of freedom of a t distribution that has such tails, whose scale is estimated from n buckets; and
    that scale, in deviations.

    By integration over t distributions with 2.5 to 1,000 degrees of freedom: the mean excess of the squares is
    ``(1.63 / freedom) ** 2 + 0.005`` within 7 % up to 10 (lighter tails are taken to be a little heavier), and the
    squared deviation, a mean square that the tails hardly matter to, ``1 + 1.8 / (freedom - 0.9)`` within 1 %.
    """
    of_family = (_sum(family, beyond) + UNSEEN * TAILS) / (_sum(family, n) + UNSEEN)
    excess = (beyond + TAIL_PRIOR * of_family) / (n + TAIL_PRIOR)
    found = np.clip(1.63 / np.sqrt(np.maximum(excess - 0.005, 1e-4)), HEAVIEST, LIGHTEST)
    return np.asarray(1 / (1 / found + 1 / (PRIOR + n))), np.asarray(1 / np.sqrt(1 + 1.8 / (found - 0.9)))


def _longer(
    errors: Grid,
    valid: Flags,
    family: Ints,
    natural: Floats,
    typical: Floats,
) -> Floats:
    """The variance of the mean of ``SPAN`` errors over that of independent ones, 1 at least."""
    if errors.shape[1] < 2 * SPAN:
        return np.full(len(errors), 2.0)
    none = np.zeros((len(errors), 1), dtype=np.float32)
    sums = np.concatenate([none, np.cumsum(np.where(valid, errors, 0), axis=1)], axis=1)
    sizes = np.concatenate([none, np.cumsum(valid, axis=1, dtype=np.float32)], axis=1)
    size = (sizes[:, SPAN:] - sizes[:, :-SPAN])[:, :: SPAN // 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (sums[:, SPAN:] - sums[:, :-SPAN])[:, :: SPAN // 2] / np.where(2 * size > SPAN, size, np.nan)
    blocks = count(means) / 2
    alone = natural / SPAN
    own = np.nan_to_num(CONSISTENT * median(np.abs(means))).astype(np.float64) ** 2 - typical / SPAN
    own = np.maximum(own, 0)
    ratio = _pooled(family, (own + alone / 10) / alone, blocks)
    of_family = np.maximum(ratio.value, 1) * alone
    found = np.maximum((blocks * own + ratio.weight * of_family) / (blocks + ratio.weight), alone)
    return np.asarray((found * SPAN + typical) / (natural + typical))


def _sum(family: Ints, values: Floats) -> Floats:
    return np.asarray(np.bincount(family, values)[family])


@dataclasses.dataclass(frozen=True)
class _Siblings:
    value: Floats  # the geometric mean, to which no single sibling matters much
    weight: Floats  # how many buckets of a series' own it is worth: the more alike the siblings, the more


def _pooled(family: Ints, values: Floats, n: Floats) -> _Siblings:
    """What the siblings show of a variance; ``n`` is how many buckets each is estimated from.

    The logarithms of siblings' variances differ by chance (the variance of one from n values by a median is about
    5.4 / n) and in truth; how much in truth decides what a sibling tells (empirical Bayes).
    """
    mass = np.maximum(_sum(family, n), 1e-12)
    logs = np.log(np.maximum(values, 1e-30))
    mean = _sum(family, n * logs) / mass
    size = _sum(family, (n > 0).astype(np.float64))
    apart = _sum(family, n * (logs - mean) ** 2) / mass * size / np.maximum(size - 1, 1)
    truth = np.maximum(apart - CHANCE * size / mass, 0)
    weight = np.where(size > 1, np.clip(CHANCE / np.maximum(truth, 1e-9), *WORTH), LONELY)
    return _Siblings(np.where(_sum(family, n) > 0, np.exp(mean), values), weight)
