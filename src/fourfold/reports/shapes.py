"""Distributions as few groups that two samples share, for people to look at; and how far apart they are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from fourfold.counts import Counts
from fourfold.counts.binning import Floats, Ints
from fourfold.metrics import drift
from fourfold.metrics.intervals import Z
from fourfold.model.names import told_apart

GROUPS = 10  # of a number: the tenths of the baseline, for the effect
SHOWN = 20  # groups of a number that are drawn
_FEWEST = 5.0  # records of a group that are expected, for it to be judged by itself
_NAMED = 12  # values of a category that are drawn
MISSING = "(missing)"
REST = "(other)"
_TENTHS = np.arange(1, GROUPS) / GROUPS
_DIGITS = 12  # of a number in a text, at most
_LARGEST = float(np.finfo(np.float64).max)
Axis = Floats | Ints


@dataclasses.dataclass(frozen=True, slots=True)
class Groups:
    """Two samples in the same groups: how many of each fall in each, as drawn."""

    labels: Sequence[str]
    inside: Floats
    baseline: Floats

    @property
    def shares(self) -> tuple[list[float], list[float]]:
        """The shares of each sample."""
        a, b = (side / max(side.sum(), 1.0) for side in (self.inside, self.baseline))
        return a.tolist(), b.tolist()


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """How much two distributions differ, from 0 (alike) to 1 (nothing in common), with a 95 % interval."""

    value: float
    low: float
    high: float


def effect(inside: Floats, baseline: Floats) -> Effect:
    """The Hellinger distance of two samples' shares, less what chance makes of it, with its interval.

    It does not depend on how many records there are, as a p-value does: more of them make the interval narrower, not
    the effect larger. With √p̂ of variance (1 − p) / 4n whatever p (Anscombe, Biometrika 35 (1948), 246–254), the
    squared distance of k groups, times 8 / (1/n + 1/m), is a noncentral χ² with k − 1 degrees of freedom, whose
    noncentrality is the true squared distance so scaled; its interval is that of the mean and variance of this
    distribution (Patnaik, Biometrika 36 (1949), 202–232), solved for the noncentrality. Groups of fewer than five
    expected in the smaller sample are taken together (Cochran, Biometrics 10 (1954), 417–451), which can only lessen
    the distance. On two groups it is √2 sin(h/4) of Cohen's h (Statistical Power Analysis for the Behavioral Sciences,
    1988, chapter 6).
    """
    n, m = float(inside.sum()), float(baseline.sum())
    if n <= 0 or m <= 0:
        return Effect(0.0, 0.0, 1.0)
    rare = (inside + baseline) / (n + m) * min(n, m) < _FEWEST
    if rare.any():
        inside, baseline = (np.append(side[~rare], side[rare].sum()) for side in (inside, baseline))
    p, q = np.maximum(inside / n, 0), np.maximum(baseline / m, 0)
    scale = 8 / (1 / n + 1 / m)
    freedom = max(int(((inside > 0) | (baseline > 0)).sum()) - 1, 1)
    beyond = scale * float(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)) / 2 - freedom
    middle, reach = beyond + 2 * Z**2, Z * math.sqrt(max(4 * beyond + 4 * Z**2 + 2 * freedom, 0.0))
    value, low, high = (min(math.sqrt(max(x, 0.0) / scale), 1.0) for x in (beyond, middle - reach, middle + reach))
    return Effect(value, min(low, value), max(high, value))


def between(inside: Counts | None, baseline: Counts | None) -> Effect | None:
    """How much two samples of a column differ; None where nothing can be compared."""
    if inside is None or baseline is None or inside.kind != baseline.kind:
        return None
    if inside.kind == "numeric":
        return _of_numbers(inside, baseline)
    sides = [_named(side) for side in (inside, baseline)]
    return None if sides[0] is None or sides[1] is None else effect(*_together(sides[0], sides[1])[1])


def drawn(inside: Counts, baseline: Counts) -> Groups:
    """Two samples of a column in the groups in which they are drawn."""
    if inside.kind == "numeric":
        return _numbers(inside, baseline)
    return names(_named(inside) or {}, _named(baseline) or {})


def of_names(inside: Mapping[str, float], baseline: Mapping[str, float]) -> tuple[Effect, Groups]:
    """The same of numbers by name: slices, versions."""
    return effect(*_together(inside, baseline)[1]), names(inside, baseline)


def apart(inside: Sequence[str], baseline: Sequence[str]) -> tuple[float, float]:
    """The Hellinger distance of two series of values, and by how much the second usually differs from itself.

    Both are all there are, and no samples: the distance is exact, however few they are. What is usual is the mean
    distance of as many values in a row, or of half of them, from the others; of a single value nobody knows (1).
    """
    places = {value: i for i, value in enumerate(dict.fromkeys((*inside, *baseline)))}
    here, there = (np.eye(len(places))[[places[value] for value in side]] for side in (inside, baseline))
    value = float(_distances(here.sum(axis=0), there.sum(axis=0)))
    length = min(len(here), len(there) // 2)
    if not length:
        return value, 1.0
    reached = np.cumsum(np.vstack([np.zeros_like(there[:1]), there]), axis=0)
    rows = reached[length:] - reached[:-length]
    return value, float(_distances(rows, reached[-1] - rows).mean())


def _distances(a: Floats, b: Floats) -> Floats:
    """The Hellinger distance of each row of numbers from that of another table."""
    p, q = (side / side.sum(axis=-1, keepdims=True) for side in (a, b))
    found: Floats = np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=-1) / 2)
    return found


def _named(counts: Counts) -> dict[str, float] | None:
    """How many records have each value, by name."""
    if counts.kind == "category":
        return _labels(counts)
    return _present(counts) if counts.kind == "opaque" else None


def _present(counts: Counts) -> dict[str, float]:
    rows, missing = counts.tally("rows"), counts.missing
    return {"(present)": float(rows - missing), MISSING: float(missing)}


def _labels(counts: Counts) -> dict[str, float]:
    found = {
        told_apart(label, REST, MISSING): float(n)
        for label, n in zip(counts.labels, counts.counts.tolist(), strict=True)
        if n > 0
    }
    found |= {name: float(n) for name, n in ((REST, counts.tally("other")), (MISSING, counts.missing)) if n > 0}
    return found


def _together(inside: Mapping[str, float], baseline: Mapping[str, float]) -> tuple[list[str], list[Floats]]:
    """The names that either sample has, and the numbers of both."""
    labels = list({**inside, **baseline})
    return labels, [np.array([side.get(name, 0.0) for name in labels]) for side in (inside, baseline)]


def names(inside: Mapping[str, float], baseline: Mapping[str, float]) -> Groups:
    """Numbers by name in the groups in which they are drawn."""
    labels, sides = _together(inside, baseline)
    order = sorted(range(len(labels)), key=lambda i: (-(sides[0][i] + sides[1][i]), labels[i]))
    labels, sides = [labels[i] for i in order], [side[order] for side in sides]
    if len(labels) <= _NAMED + 1:
        return Groups(labels, *sides)
    gap = np.abs(sides[0] / max(sides[0].sum(), 1.0) - sides[1] / max(sides[1].sum(), 1.0))
    shown = sorted(np.argsort(-gap, kind="stable")[:_NAMED].tolist())
    rest = np.ones(len(labels), bool)
    rest[shown] = False
    return Groups(
        [*(labels[i] for i in shown), f"{int(rest.sum())} others"], *(np.append(s[shown], s[rest].sum()) for s in sides)
    )


def _of_numbers(inside: Counts, baseline: Counts) -> Effect:
    """By the tenths of the baseline; bins of one binning are in the order of their values, and need no place."""
    here: tuple[Axis, Axis]
    there: tuple[Axis, Axis]
    if inside.binning == baseline.binning and len(inside.bins) and len(baseline.bins):
        here, there = ((side.bins, side.counts) for side in (inside, baseline))
        edges = _tenths(*(there if there[1].any() else here))
    else:
        on_here, on_there, positions = _places(inside, baseline)
        here, there = (positions, on_here), (positions, on_there)
        order = np.argsort(positions, kind="stable")
        edges = _tenths(positions[order], (on_there if on_there.any() else on_here)[order])
    special = [pair for _, pair in _special(inside, baseline)]
    groups = [np.bincount(np.searchsorted(edges, bins), n, len(edges) + 1) for bins, n in (here, there)]
    return effect(*(np.array([*side.tolist(), *(pair[i] for pair in special)]) for i, side in enumerate(groups)))


def _numbers(inside: Counts, baseline: Counts) -> Groups:
    here, there, positions = _places(inside, baseline)
    special = _special(inside, baseline)
    edges = _even(positions, here + there)
    place = np.clip(np.searchsorted(edges, positions, side="right") - 1, 0, len(edges) - 2)
    groups = [np.bincount(place, side, len(edges) - 1) for side in (here, there)]
    labels = [*_rounded(edges)[:-1], *(name for name, _ in special)]
    return Groups(labels, *(np.append(g, [pair[i] for _, pair in special]) for i, g in enumerate(groups)))


def _rounded(edges: Floats) -> list[str]:
    """Edges as texts, as exact as tells each from the next."""
    step = float(edges[1] / 2 - edges[0] / 2) * 2
    places = 1 - math.floor(math.log10(step)) if step > 0 else _DIGITS
    return [f"{round(edge, places):.{_DIGITS}g}" for edge in edges.tolist()]


def _special(inside: Counts, baseline: Counts) -> list[tuple[str, tuple[float, float]]]:
    """What is no number, with how often each sample has it."""
    found = [
        (name, (float(_tally(inside, of)), float(_tally(baseline, of))))
        for name, of in ((MISSING, ("null", "nan")), ("+∞", ("positive_infinity",)), ("−∞", ("negative_infinity",)))
    ]
    return [(name, pair) for name, pair in found if any(pair)]


def _places(inside: Counts, baseline: Counts) -> tuple[Floats, Floats, Floats]:
    """How many of each sample lie at each of some positions, and these."""
    sizes = [float(side.counts.sum()) for side in (inside, baseline)]
    if min(sizes) > 0 and inside.binning is not None and baseline.binning is not None:
        pair = drift.placed(inside, baseline)
        assert pair.positions is not None
        return pair.current, pair.reference, pair.positions
    one = inside if sizes[0] > 0 else baseline
    if one.binning is None:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    positions = np.clip(one.binning.middles(one.bins), -_LARGEST, _LARGEST)
    numbers, nothing = one.counts.astype(np.float64), np.zeros(len(positions))
    return (numbers, nothing, positions) if one is inside else (nothing, numbers, positions)


def _tally(counts: Counts, names: Sequence[str]) -> int:
    return sum(counts.tally(name) for name in names)


def _tenths(places: Axis, counts: Axis) -> Axis:
    """Where tenths of the records end, of places in order; a value that many have is a group of its own."""
    reached = np.cumsum(counts)
    if not len(reached) or reached[-1] <= 0:
        return places[:0]
    at = np.searchsorted(reached, reached[-1] * _TENTHS)
    ends: Axis = places[np.minimum(at, len(places) - 1)]
    last: Axis = ends[np.append(True, ends[1:] != ends[:-1])]
    return last


def _even(places: Floats, weights: Floats) -> Floats:
    """Edges of equally wide groups over all but the outermost records."""
    order = np.argsort(places, kind="stable")
    reached = np.cumsum(weights[order])
    if not len(reached) or reached[-1] <= 0:
        return np.array([0.0, 1.0])
    ends = np.searchsorted(reached, reached[-1] * np.array([0.005, 0.995]))
    low, high = places[order][np.minimum(ends, len(order) - 1)].tolist()
    if low == high:
        spread = abs(low) * 0.01 or 0.5
        return np.array([low - spread, low + spread])
    return np.linspace(low / 2, high / 2, SHOWN + 1) * 2
