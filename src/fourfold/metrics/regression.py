"""Regression, by scikit-learn's names, from the sums and bins of the residuals (actual − predicted)."""

from __future__ import annotations

import math

from fourfold.counts import Counts
from fourfold.errors import InputError
from fourfold.metrics import quality
from fourfold.metrics.declared import metric
from fourfold.metrics.intervals import effective, exp, few, logarithmic, student
from fourfold.metrics.tasks import OVERFLOW, answered, mean_of, undefined, unlabelled
from fourfold.model import Value

_LACKING_SQUARES, _LACKING_RATIO = 25.0, 15.0  # see ``intervals.few``


@metric("regression", headline=3)
def bias(counts: Counts) -> Value:
    """The mean residual: above zero if predictions are too low."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    n = counts.tally("labelled")
    mean = (counts.sum("above") - counts.sum("below")) / n
    return answered(mean, student(mean, _spread(counts, mean), n), counts)


@metric("regression", title="MAE", headline=1, paired="absolute")
def mean_absolute_error(counts: Counts) -> Value:
    """The mean |residual|."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    n = counts.tally("labelled")
    mean = (counts.sum("above") + counts.sum("below")) / n
    return answered(mean, logarithmic(mean, _spread(counts, mean), n), counts)


@metric("regression", paired="squared")
def mean_squared_error(counts: Counts) -> Value:
    """The mean residual²."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    n = counts.tally("labelled")
    mean, variance = _squared(counts)
    return answered(mean, logarithmic(mean, few(variance, n, _LACKING_SQUARES), n), counts)


@metric("regression", title="RMSE", headline=2)
def root_mean_squared_error(counts: Counts) -> Value:
    """√ of the mean residual²."""
    found = mean_squared_error(counts)
    if found.value is None or found.low is None or found.high is None:
        return found
    return answered(math.sqrt(found.value), (math.sqrt(found.low), math.sqrt(found.high)), counts)


@metric("regression")
def mean_absolute_percentage_error(counts: Counts) -> Value:
    """The mean |residual| ÷ |actual|, as a share; undefined if an actual value is zero."""
    zero = counts.tally("zero_actual")
    if zero:
        return undefined(f"{zero} actual values are zero and have no percentage", counts)
    return _mean(counts, "percentage")


@metric("regression")
def symmetric_mean_absolute_percentage_error(counts: Counts) -> Value:
    """The mean of 2 |residual| ÷ (|actual| + |predicted|), from 0 to 2; 0 if both are zero."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    mean, variance = mean_of(counts, "symmetric")
    return answered(mean, effective(mean, variance, counts.tally("labelled"), 0.0, 2.0), counts)


@metric("regression")
def mean_pinball_loss(counts: Counts, alpha: float = 0.5) -> Value:
    """The mean of α × residual if it is above zero, else (α − 1) × residual: for a predicted α-quantile."""
    if not 0 <= alpha <= 1:
        raise InputError(f"mean_pinball_loss({alpha}): alpha is a share, from 0 to 1")
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    n = counts.tally("labelled")
    mean = (alpha * counts.sum("above") + (1 - alpha) * counts.sum("below")) / n
    square = (alpha**2 * counts.sum("above_squared") + (1 - alpha) ** 2 * counts.sum("below_squared")) / n
    return answered(mean, logarithmic(mean, max(square - mean * mean, 0.0) / max(n - 1, 1), n), counts)


@metric("regression", title="R²", headline=4)
def r2(counts: Counts) -> Value:
    """1 − Σ residual² ÷ Σ (actual − mean)², with a delta-method interval on the scale of log(1 − R²)."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    n = counts.tally("labelled")
    t1, t2, t3, t4 = (counts.sum(name) / n for name in ("t", "t2", "t3", "t4"))
    spread = t2 - t1 * t1
    error = _squared(counts)[0]
    if not (math.isfinite(spread) and math.isfinite(error)):
        return undefined(OVERFLOW, counts)
    if n < 2 or not spread > 1e-12 * max(t2, 1e-300):
        return undefined("all actual values are equal; there is no variance to explain", counts)
    assert counts.binning is not None
    scale = counts.binning.scale  # the unit of t
    unexplained = error / scale / scale / spread
    value = 1 - unexplained
    if unexplained <= 0:
        return answered(value, (value, value), counts)
    fourth = t4 - 4 * t1 * t3 + 6 * t1 * t1 * t2 - 3 * t1 * t1 * t1 * t1
    cross = (counts.sum("error2_t2") - 2 * t1 * counts.sum("error2_t")) / n + t1 * t1 * error
    squares = counts.sum("error_fourth") / n / error / error + fourth / spread / spread - 2 * cross / error / spread
    if not math.isfinite(unexplained):
        return undefined(OVERFLOW, counts)
    low, high = student(math.log(unexplained), few(max(squares, 0.0) / (n - 1), n, _LACKING_RATIO), n)
    return answered(value, (1 - exp(high), 1 - exp(low)), counts)


@metric("regression", series="residual")
def residual_quantile(counts: Counts, q: float) -> Value:
    """The q-quantile of the residuals, from their bins."""
    return quality.quantile(counts, q)


@metric("regression", series="absolute_error")
def median_absolute_error(counts: Counts) -> Value:
    """The median |residual|, from its bins."""
    return quality.quantile(counts, 0.5)


def _squared(counts: Counts) -> tuple[float, float]:
    n = counts.tally("labelled")
    mean = (counts.sum("above_squared") + counts.sum("below_squared")) / n
    return mean, max(counts.sum("error_fourth") / n - mean * mean, 0.0) / max(n - 1, 1)


def _spread(counts: Counts, mean: float) -> float:
    n = counts.tally("labelled")
    return max((counts.sum("above_squared") + counts.sum("below_squared")) / n - mean * mean, 0.0) / max(n - 1, 1)


def _mean(counts: Counts, name: str) -> Value:
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    mean, variance = mean_of(counts, name)
    return answered(mean, logarithmic(mean, variance, counts.tally("labelled")), counts)
