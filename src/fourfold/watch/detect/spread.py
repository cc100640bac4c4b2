"""How much a series usually differs from what was expected of it: by bucket, and by the mean of several buckets."""

from __future__ import annotations

import dataclasses

import numpy as np

from fourfold.counts.binning import Floats, Ints
from fourfold.watch.detect.memory import History
from fourfold.watch.detect.robust import CONSISTENT, count, median

SPANS = (1, 2, 4, 8, 16, 28)  # buckets; a sudden change is seen in one, a slow one in the mean of many
PRIOR = 20.0  # a scale is as sure as that of so many buckets before any are seen
WORTH = (3.0, 40.0)  # a family's variation counts like so many buckets of the series' own, by how alike siblings are
LONELY = 3.0  # the same of a series without siblings
CHANCE = 5.4  # over n: the variance of the logarithm of a variance from n values, by their median
GUARD = 28  # buckets: the newest, which are being tested, are no part of what is usual
FLOOR = 1 / 20  # of the least change that matters: no series is steadier
TAIL_PRIOR = 60.0  # the same for how heavy its tails are, which takes longer to see
UNSEEN, TAILS = 200.0, 1.3  # before a family has shown so many buckets, its tails are taken to be those of t with 7
PER_EXCESS = 1.2
SURE = 1.0
LIGHTEST, HEAVIEST = 100.0, 3.0  # degrees of freedom


@dataclasses.dataclass(frozen=True)
class Spread:
    """By span: ``nat`` is the natural variance of the mean of so many errors, ``freedom`` the weight of its tails."""

    nat: list[Floats]
    freedom: list[Floats]

    def one(self, noise: Floats) -> Floats:
        """The standard deviation of one bucket."""
        return np.asarray(np.sqrt(noise + self.nat[0]))


@dataclasses.dataclass(frozen=True)
class Means:
    """The mean of the errors of the last buckets, its sampling variance, and whether most of them are there."""

    mean: Floats
    noise: Floats
    full: np.ndarray[tuple[int], np.dtype[np.bool_]]


def means(h: History, rows: Ints, span: int) -> Means:
    """Of the newest ``span`` buckets."""
    width = min(span, h.filled)
    error = np.where(h.out[rows, -width:], np.nan, h.e[rows, -width:]).astype(np.float64)
    valid = np.isfinite(error)
    n = valid.sum(axis=1)
    some = np.maximum(n, 1)
    noise = np.where(valid, h.v[rows, -width:], 0).sum(axis=1) / some**2
    return Means(np.where(valid, error, 0).sum(axis=1) / some, noise, (2 * n > span) & valid[:, -1])


def usual(h: History, rows: Ints, least: Floats, error: Floats, noise: Floats) -> Spread:
    """What the history before the newest bucket shows; ``error`` is the baseline's own, per unit variance."""
    guard = min(GUARD, h.filled // 4)  # what is being tested
    stop = h.filled - 1 - guard
    still = h.open[rows][:, None] & (h.times[None, :stop] >= h.began[rows][:, None])
    errors = np.where(still | h.out[rows, :stop], np.nan, h.e[rows, :stop])
    floor = (FLOOR * least) ** 2
    family = h.family[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = 1 / h.v[rows, :stop]
        valid = np.isfinite(errors)
        typical = valid.sum(axis=1) / np.where(valid, weight, 0).sum(axis=1)
    typical = np.nan_to_num(typical, nan=0.0, posinf=0.0)
    n = valid.sum(axis=1).astype(np.float64)
    total = np.nan_to_num(CONSISTENT * median(np.abs(errors))).astype(np.float64) ** 2
    own = np.maximum(total - typical, 0)
    siblings = _pooled(family, np.maximum(own, total / 10) + floor, n)
    one = np.maximum((n * own + siblings.weight * siblings.value) / (n + siblings.weight), floor)
    nat, freedom = [one * (1 + error)], []
    squares = np.clip(errors**2 / (one + typical)[:, None], 0, 50)
    heavy = np.nansum(squares, axis=1)
    of_family = (_sum(family, heavy) + UNSEEN * TAILS) / (_sum(family, n) + UNSEEN)
    tails = (heavy + TAIL_PRIOR * np.maximum(of_family, 1)) / (n + TAIL_PRIOR)
    tail = np.clip(2 + PER_EXCESS / np.maximum(tails - 1, 1e-3), HEAVIEST, LIGHTEST)
    freedom.append(1 / (1 / tail + 1 / (PRIOR + SURE * n)))
    filled = np.where(valid, errors, 0).astype(np.float32)
    sums = np.concatenate([np.zeros((len(rows), 1), np.float32), np.cumsum(filled, axis=1)], axis=1)
    counts = np.concatenate([np.zeros((len(rows), 1), np.int32), np.cumsum(valid, axis=1, dtype=np.int32)], axis=1)
    for span in SPANS[1:]:
        alone = one / span
        if sums.shape[1] <= 2 * span:
            nat.append(np.maximum(2 * alone, one * error + alone))
            freedom.append(1 / (1 / tail + 1 / PRIOR) + 0 * n)
            continue
        stride = max(1, span // 2)
        size = counts[:, span::stride] - counts[:, :-span:stride]
        with np.errstate(divide="ignore", invalid="ignore"):
            window = (sums[:, span::stride] - sums[:, :-span:stride]) / np.where(2 * size > span, size, 0)
        window = np.where(2 * size > span, window, np.nan)
        blocks = count(window) * stride / span
        emp = np.maximum(np.nan_to_num(CONSISTENT * median(np.abs(window))).astype(np.float64) ** 2 - typical / span, 0)
        ratio = _pooled(family, (emp + alone / 10) / alone, blocks)
        longer = np.maximum(ratio.value, 1) * alone
        nat.append(np.maximum((blocks * emp + ratio.weight * longer) / (blocks + ratio.weight), alone) + one * error)
        freedom.append(1 / (1 / (tail * np.sqrt(span)) + 1 / (PRIOR + blocks)))
    return Spread(nat, freedom)


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
