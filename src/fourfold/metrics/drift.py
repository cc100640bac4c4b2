"""Distances between two distributions, and their expected values under no change.

Small samples differ even if nothing has changed. Each distance therefore comes with ``expected``, its mean under no
change at these two sample sizes: a distance near it is no sign of drift.
Numeric columns are compared on the reference's deciles (population stability index, Jensen–Shannon, Hellinger,
total variation) or bin by bin (Kolmogorov–Smirnov, Wasserstein); categories value by value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from fourfold.counts import Counts
from fourfold.counts.binning import Floats, Ints
from fourfold.metrics.declared import metric
from fourfold.model import Value

IDENTIFIER = "an identifier: nearly all values are distinct, so it is not counted by value"
GROUPS = 10
_SIMULATIONS = 200
_LARGEST = float(np.finfo(np.float64).max)


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two distributions on the same groups: counts in each, and the groups' positions (numeric columns only)."""

    current: Floats
    reference: Floats
    positions: Floats | None

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of values in each of the two."""
        return int(self.current.sum()), int(self.reference.sum())


@metric("category", "numeric", bins=True)
def population_stability_index(current: Counts, reference: Counts) -> Value:
    """Σ (p − q) ln(p/q), on the reference's deciles; half a record is added to each group, so that none is empty.

    Source: Yurdakul, "Statistical Properties of Population Stability Index", 2018; its mean under no change is
    about (groups − 1)(1/n + 1/m).
    """
    return _grouped(current, reference, _psi)


@metric("category", "numeric", bins=True, title="Jensen–Shannon")
def jensen_shannon(current: Counts, reference: Counts) -> Value:
    """The Jensen–Shannon distance, base 2, from 0 to 1: Lin, IEEE Trans. Inf. Theory 37 (1991)."""
    return _grouped(current, reference, _jensen_shannon)


@metric("category", "numeric", bins=True, title="Hellinger")
def hellinger(current: Counts, reference: Counts) -> Value:
    """The Hellinger distance, from 0 to 1: √(½ Σ (√p − √q)²)."""
    return _grouped(current, reference, _hellinger)


@metric("category", "numeric", bins=True)
def total_variation(current: Counts, reference: Counts) -> Value:
    """The total variation distance, from 0 to 1: ½ Σ |p − q|."""
    return _grouped(current, reference, _total_variation)


@metric("numeric", bins=True, title="Kolmogorov–Smirnov")
def kolmogorov_smirnov(current: Counts, reference: Counts) -> Value:
    """The largest distance between the two cumulative distributions, from 0 to 1.

    Its mean under no change is √(π/2) ln 2 · √(1/n + 1/m), that of the Kolmogorov distribution (an upper bound
    where the values are tied).
    """
    pair = _ordered(current, reference)
    if isinstance(pair, Value):
        return pair
    n, m = pair.sizes
    p, q = np.cumsum(pair.current) / n, np.cumsum(pair.reference) / m
    expected = min(1.0, math.sqrt(math.pi / 2) * math.log(2) * math.sqrt(1 / n + 1 / m))
    return Value(float(np.abs(p - q).max()), n=n, expected=expected)


@metric("numeric", bins=True, title="Wasserstein")
def wasserstein(current: Counts, reference: Counts) -> Value:
    """The mean distance by which values must move (Wasserstein-1), in units of the reference's scale.

    The scale is the interquartile range / 1.349, or the standard deviation where that is zero. Under no change
    the cumulative difference at x is normal with variance F(1 − F)(1/n + 1/m): its mean modulus is summed up.
    """
    pair = _ordered(current, reference)
    if isinstance(pair, Value):
        return pair
    assert pair.positions is not None
    n, m = pair.sizes
    p, q = np.cumsum(pair.current) / n, np.cumsum(pair.reference) / m
    pooled = np.cumsum(pair.current + pair.reference) / (n + m)
    chance = np.sqrt(2 / math.pi * np.clip(pooled * (1 - pooled), 0, None) * (1 / n + 1 / m))
    with np.errstate(over="ignore", invalid="ignore"):
        widths = np.diff(pair.positions / 2) / (_scale(pair) / 2)
        value, expected = (float(distance[:-1] @ widths) for distance in (np.abs(p - q), chance))
    if not (math.isfinite(value) and math.isfinite(expected)):
        return Value.no_data("the distance is too large for a number", n)
    return Value(value, n=n, expected=expected)


def _ordered(current: Counts, reference: Counts) -> Pair | Value:
    """The two distributions by position, or why they have no positions."""
    pair = _pair(current, reference)
    if isinstance(pair, Pair) and pair.positions is None:
        return Value.no_data("categories have no order; use total_variation", min(pair.sizes))
    return pair


def _grouped(current: Counts, reference: Counts, distance: Callable[[Floats, Floats], Floats]) -> Value:
    pair = _pair(current, reference)
    if isinstance(pair, Value):
        return pair
    if pair.positions is not None:
        pair = _deciles(pair)
    n, m = pair.sizes
    value = float(distance(pair.current[None, :], pair.reference[None, :])[0])
    pooled = (pair.current + pair.reference) / (n + m)
    random = np.random.default_rng(0)  # the same question has the same answer
    drawn = distance(*(random.multinomial(size, pooled, _SIMULATIONS).astype(np.float64) for size in (n, m)))
    return Value(value, n=n, expected=float(drawn.mean()))


def _pair(current: Counts, reference: Counts) -> Pair | Value:
    """The two distributions on the same groups, or why they cannot be compared."""
    for name, side in (("the window", current), ("the reference", reference)):
        if side.kind not in ("numeric", "category"):
            return Value.no_data(f"a column counted as {side.kind} has no distribution")
        if side.kind == "category" and not side.labels and side.tally("other") > 0:
            return Value.no_data(IDENTIFIER, side.tally("other"))
        if side.counts.sum() <= 0:
            return Value.no_data(f"no values in {name}")
    if current.kind != reference.kind:
        return Value.no_data(f"the window is {current.kind}, the reference {reference.kind}")
    if current.kind == "category":
        return _categories(current, reference)
    return placed(current, reference)


def placed(current: Counts, reference: Counts) -> Pair:
    """Two samples of a number, which both have values, by position."""
    assert reference.binning is not None
    places = _places(reference)
    where, positions = _aligned(current, reference, places)
    here = np.bincount(where, current.counts, len(positions)).astype(np.float64)
    there = np.zeros(len(positions))
    there[np.searchsorted(positions, places)] = reference.counts
    return Pair(here, there, positions)


def _aligned(current: Counts, reference: Counts, places: Floats) -> tuple[Ints, Floats]:
    """Each current bin's position among all positions, which are the sorted middles of the used bins.

    On another binning, a bin that overlaps the nearest reference bin is matched with it: else values that both have
    often, such as whole numbers, would fall into neighbouring bins and look like drift.
    """
    middles = _places(current)
    if current.binning != reference.binning:
        right = np.clip(np.searchsorted(places, middles), 1, max(len(places) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(places) - 1)
        half = middles / 2, places / 2  # which never overflow
        nearest = np.where(np.abs(half[1][left] - half[0]) <= np.abs(half[1][right] - half[0]), left, right)
        with np.errstate(over="ignore"):
            reach = _half_width(current) + _half_width(reference)[nearest]
            middles = np.where(np.abs(places[nearest] - middles) <= reach, places[nearest], middles)
    positions = np.union1d(middles, places)
    return np.searchsorted(positions, middles), positions


def _places(counts: Counts) -> Floats:
    """The middles of the bins, limited to finite floats."""
    assert counts.binning is not None
    return np.clip(counts.binning.middles(counts.bins), -_LARGEST, _LARGEST)


def _half_width(counts: Counts) -> Floats:
    assert counts.binning is not None
    lower, upper = (np.clip(edge, -_LARGEST, _LARGEST) for edge in counts.binning.edges(counts.bins))
    return upper / 2 - lower / 2


def _categories(current: Counts, reference: Counts) -> Pair:
    here = dict(zip(current.labels, current.counts.tolist(), strict=True))
    there = dict(zip(reference.labels, reference.counts.tolist(), strict=True))
    labels = sorted(here.keys() | there.keys())
    other = current.tally("other"), reference.tally("other")
    return Pair(
        np.array([*(here.get(label, 0) for label in labels), other[0]], np.float64),
        np.array([*(there.get(label, 0) for label in labels), other[1]], np.float64),
        None,
    )


def _deciles(pair: Pair) -> Pair:
    """Bins grouped at the reference's deciles; values beyond its extremes are in two further groups."""
    share = np.cumsum(pair.reference) / pair.reference.sum()
    middle = share - pair.reference / pair.reference.sum() / 2
    group = 1 + np.clip(np.floor(middle * GROUPS), 0, GROUPS - 1).astype(np.int64)
    first, last = np.flatnonzero(pair.reference)[[0, -1]]
    group[:first], group[last + 1 :] = 0, GROUPS + 1
    here, there = (np.bincount(group, side, GROUPS + 2).astype(np.float64) for side in (pair.current, pair.reference))
    used = (here + there) > 0
    return Pair(here[used], there[used], None)


def _scale(pair: Pair) -> float:
    assert pair.positions is not None
    share = np.cumsum(pair.reference) / pair.reference.sum()
    lower, upper = pair.positions[np.searchsorted(share, (0.25, 0.75))]
    if upper > lower:
        return min(float(upper / 2 - lower / 2) / 1.349, _LARGEST / 2) * 2
    size = float(np.abs(pair.positions[pair.reference > 0]).max()) or 1.0  # whose squares might overflow
    places = np.where(pair.reference > 0, pair.positions, 0.0) / size
    centre = float(np.average(places, weights=pair.reference))
    deviation = math.sqrt(float(np.average((places - centre) ** 2, weights=pair.reference)))
    return (deviation or abs(centre)) * size or 1.0


def _shares(counts: Floats, extra: float = 0.0) -> Floats:
    shares: Floats = (counts + extra) / (counts + extra).sum(axis=1, keepdims=True)
    return shares


def _psi(current: Floats, reference: Floats) -> Floats:
    p, q = _shares(current, 0.5), _shares(reference, 0.5)
    value: Floats = ((p - q) * np.log(p / q)).sum(axis=1)
    return value


def _jensen_shannon(current: Floats, reference: Floats) -> Floats:
    p, q = _shares(current), _shares(reference)
    middle = (p + q) / 2

    def relative_entropy(a: Floats) -> Floats:
        ratio = np.divide(a, middle, out=np.ones_like(a), where=a > 0)
        entropy: Floats = (a * np.log2(ratio)).sum(axis=1)
        return entropy

    value: Floats = np.sqrt(np.maximum((relative_entropy(p) + relative_entropy(q)) / 2, 0))
    return value


def _hellinger(current: Floats, reference: Floats) -> Floats:
    difference = np.sqrt(_shares(current)) - np.sqrt(_shares(reference))
    value: Floats = np.sqrt((difference**2).sum(axis=1) / 2)
    return value


def _total_variation(current: Floats, reference: Floats) -> Floats:
    value: Floats = np.abs(_shares(current) - _shares(reference)).sum(axis=1) / 2
    return value
