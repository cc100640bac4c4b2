"""Data quality of a stream or column: rates, extremes, moments, quantiles, distinct values."""

from __future__ import annotations

import math

import numpy as np

from fourfold.counts import KINDS, RANK_BITS, REGISTER_BITS, Counts
from fourfold.counts.binning import Binning, Floats
from fourfold.errors import InputError
from fourfold.metrics.declared import TASKS, metric
from fourfold.metrics.intervals import Z, few, logarithmic, student, wilson
from fourfold.model import Value

_LACKING = 40.0  # see ``intervals.few``


@metric("stream")
def rows(counts: Counts) -> Value:
    """The number of records."""
    n = counts.tally("rows")
    return Value(float(n), n=n) if n else Value.no_data("no records in this window")


@metric("stream")
def duplicate_keys(counts: Counts) -> Value:
    """The number of records that repeat an earlier key."""
    n = counts.tally("rows")
    return Value(float(counts.tally("duplicate_key")), n=n) if n else Value.no_data("no records in this window")


@metric("stream")
def null_keys(counts: Counts) -> Value:
    """The number of records without a key."""
    n = counts.tally("rows")
    return Value(float(counts.tally("null_key")), n=n) if n else Value.no_data("no records in this window")


@metric("stream")
def null_key_rate(counts: Counts) -> Value:
    """The share of records without a key, which join nothing."""
    return _rate(counts, "null_key")


@metric("numeric", "category", "opaque")
def null_rate(counts: Counts) -> Value:
    """The share of records in which the column is null."""
    return _rate(counts, "null")


@metric("numeric", title="NaN rate")
def nan_rate(counts: Counts) -> Value:
    """The share of records in which the column is NaN (a missing value in pandas' float columns)."""
    return _rate(counts, "nan")


@metric("numeric", "category", "opaque")
def missing_rate(counts: Counts) -> Value:
    """The share of records in which the column is null or NaN, which pandas does not tell apart."""
    return _rate(counts, "null", *(["nan"] if counts.kind == "numeric" else []))


@metric("numeric")
def infinite_rate(counts: Counts) -> Value:
    """The share of records in which the column is +∞ or −∞."""
    return _rate(counts, "positive_infinity", "negative_infinity")


@metric("numeric")
def negative_rate(counts: Counts) -> Value:
    """The share of records in which the column is below zero (including −∞)."""
    return _rate(counts, "negative", "negative_infinity")


@metric("numeric")
def zero_rate(counts: Counts) -> Value:
    """The share of records in which the column is zero."""
    return _rate(counts, "zero")


@metric("numeric", name="min")
def minimum(counts: Counts) -> Value:
    """The smallest finite value seen."""
    return _finite(counts.low, counts, "no finite values in this window")


@metric("numeric", name="max")
def maximum(counts: Counts) -> Value:
    """The largest finite value seen."""
    return _finite(counts.high, counts, "no finite values in this window")


@metric("numeric")
def mean(counts: Counts) -> Value:
    """The mean of the finite values, with Student's interval."""
    n, moments = counts.finite, _moments(counts)
    if moments is None:
        return Value.no_data("no finite values in this window", n)
    centre, variance = moments
    if not math.isfinite(centre):
        return Value.no_data("the sum of the values overflows", n)
    if not math.isfinite(variance):
        return Value(centre, n=n)
    low, high = student(centre, variance / max(n - 1, 1), n)
    return Value(centre, low, high, n) if math.isfinite(high) else Value(centre, n=n)


@metric("numeric", name="std", bins=True)
def standard_deviation(counts: Counts) -> Value:
    """The standard deviation of the finite values (n − 1 in the denominator).

    Its interval is by the delta method on the logarithmic scale, with the fourth moment from the bins:
    Var s² ≈ (m₄ − s⁴)/n.
    """
    n, moments = counts.finite, _moments(counts)
    if moments is None or n < 2:
        return Value.no_data(f"{n} finite values in this window; two are needed", n)
    centre, variance = moments
    if not math.isfinite(variance):
        return Value.no_data("the sum of the squares overflows", n)
    deviation = math.sqrt(variance * n / (n - 1))
    if deviation == 0:
        return Value(0.0, 0.0, 0.0, n)
    with np.errstate(over="ignore", invalid="ignore"):
        fourth = float(np.average(((_middles(counts) - centre) / deviation) ** 4, weights=counts.counts))
    variance = few(deviation * deviation * max(fourth - 1, 0) / (4 * n), n, _LACKING)
    low, high = logarithmic(deviation, variance, n)
    return Value(deviation, low, high, n)


@metric("numeric", bins=True)
@metric(*TASKS, name="label_delay", series="delay")
def quantile(counts: Counts, q: float) -> Value:
    """The smallest finite value with at least a share q of the values at or below it.

    Within 0.8 % of (|x − centre| + scale) of the exact one. The interval is that of the order statistics whose
    ranks are qn + ½ ± 1.96 √(nq(1 − q)), evenly spread within their bins; where both fall in one, it is that bin.
    """
    if not 0 <= q <= 1:
        raise InputError(f"quantile({q}): q is a share, from 0 to 1")
    n = counts.finite
    if n <= 0:
        return Value.no_data("no finite values in this window", n)
    half = Z * math.sqrt(n * q * (1 - q))
    ranks = np.clip([math.ceil(q * n), q * n - half + 0.5, q * n + half + 0.5], 1, n)
    reached = np.cumsum(counts.counts)
    places = np.minimum(np.searchsorted(reached, ranks), len(counts.bins) - 1)
    lower, upper = (np.clip(edge[places], counts.low, counts.high) for edge in _binning(counts).edges(counts.bins))
    value = float(_middles(counts)[places[0]])
    if places[1] == places[2]:
        return Value(value, float(lower[1]), float(upper[2]), n)
    within = (ranks - 0.5 - (reached - counts.counts)[places]) / counts.counts[places]
    with np.errstate(over="ignore"):
        _, low, high = (lower * (1 - within) + upper * within).tolist()
    return Value(value, min(low, value), max(high, value), n)


@metric("category", bins=True)
def distinct(counts: Counts) -> Value:
    """The number of distinct values; exact up to 256 in a bucket, else by HyperLogLog (± 4.5 %)."""
    n = counts.tally("rows") - counts.tally("null")
    if n <= 0:
        return Value.no_data("no values in this window", n)
    if counts.tally("other") == 0:
        return Value(float(len(counts.labels)), float(len(counts.labels)), float(len(counts.labels)), n)
    size = 1 << REGISTER_BITS
    ranks = np.zeros(size)
    ranks[counts.registers >> RANK_BITS] = counts.registers & ((1 << RANK_BITS) - 1)
    estimate = 0.7213 / (1 + 1.079 / size) * size**2 / float(np.sum(2.0**-ranks))
    empty = int((ranks == 0).sum())
    if estimate <= 2.5 * size and empty:
        estimate = size * math.log(size / empty)  # linear counting, for few values
    error = Z * 1.04 / math.sqrt(size) * estimate
    return Value(estimate, estimate - error, estimate + error, n)


def _rate(counts: Counts, *names: str) -> Value:
    n = counts.tally("rows")
    if n <= 0:
        return Value.no_data("no records in this window")
    hits = sum(counts.tally(name) for name in names if name in KINDS[counts.kind].tallies)
    return Value(hits / n, *wilson(hits, n), n)


def _finite(value: float, counts: Counts, reason: str) -> Value:
    n = counts.finite
    return Value(value, value, value, n) if n > 0 and math.isfinite(value) else Value.no_data(reason, n)


def _binning(counts: Counts) -> Binning:
    assert counts.binning is not None
    return counts.binning


def _moments(counts: Counts) -> tuple[float, float] | None:
    """Mean and variance (n in the denominator) of the finite values."""
    n = counts.finite
    if n <= 0:
        return None
    binning = _binning(counts)
    offset = counts.sum("offset") / n
    variance = max(counts.sum("offset_squared") / n - offset * offset, 0.0) * binning.scale * binning.scale
    return binning.centre + binning.scale * offset, variance


def _middles(counts: Counts) -> Floats:
    """The middle of each bin, within the observed extremes."""
    low = counts.low if math.isfinite(counts.low) else -math.inf
    high = counts.high if math.isfinite(counts.high) else math.inf
    return np.clip(_binning(counts).middles(counts.bins), low, high)
