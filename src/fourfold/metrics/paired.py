"""Two model versions on the same keys: the difference of a metric, with a paired interval.

Both versions predicted the same records, so records that are hard for both cancel out, and few records show a small
difference. Source of the test: McNemar, Psychometrika 12 (1947); of the interval: the bootstrap over the cells of the
joint table, Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 8.
"""

from __future__ import annotations

import json
import math

import numpy as np

from fourfold.counts import Counts
from fourfold.counts.binning import Floats
from fourfold.errors import InputError
from fourfold.metrics.declared import METRICS, Additive, OfCells
from fourfold.metrics.intervals import few, student
from fourfold.metrics.tasks import OVERFLOW
from fourfold.model import Value

_DRAWS = 2_000
_LACKING = 25.0  # see ``intervals.few``
_PRIOR = 0.25  # after Agresti & Min, Statistics in Medicine 24 (2005), 729–740, who add 0.5; simulated, less will do


def difference(counts: Counts, metric: Additive) -> Value:
    """The first version's metric − the second's, on the keys that both predicted and that have a label.

    For the accuracy, ``reason`` gives McNemar's p-value.

    Raises:
        InputError: the metric has no paired difference for this kind of task.
    """
    if metric.paired is None:
        kind = metric.tasks[0]
        known = [m.name for several in METRICS.values() for m in several if m.paired is not None and kind in m.tasks]
        raise InputError(
            f"two versions of a {kind} task are compared by {', '.join(known) or 'no metric'}, not {metric.name}"
        )
    n = counts.tally("pairs")
    if n <= 0:
        return Value.no_data("no labelled key was predicted by both versions")
    if isinstance(metric.paired, str):
        name = metric.paired
        mean = counts.sum(name) / n
        if not math.isfinite(mean):
            return Value.no_data(OVERFLOW, n)
        variance = max(counts.sum(f"{name}_squared") / n - mean * mean, 0.0) / max(n - 1, 1)
        if name == "squared":
            variance = few(variance, n, _LACKING)
        return Value(mean, *student(mean, variance, n), n)
    cells = {tuple(_flat(text)): c for text, c in zip(counts.labels, counts.counts.tolist(), strict=True)}
    binary = all(set(cell) <= {"0", "1"} for cell in cells)
    if not binary:  # of several classes, only whether each version was right matters
        right: dict[tuple[str, ...], int] = {}
        for (actual, a, b), count in cells.items():
            cell = ("1", str(int(a == actual)), str(int(b == actual)))
            right[cell] = right.get(cell, 0) + count
        cells = right
    names: list[tuple[str, ...]] = [(actual, a, b) for actual in ("0", "1") for a in ("0", "1") for b in ("0", "1")]
    joint = np.array([cells.get(name, 0) for name in names], np.float64)
    # a fraction of a record in each possible cell, so that cells without records do not count as impossible
    possible = joint + _PRIOR * np.array([binary or name[0] == "1" for name in names])
    drawn = np.random.default_rng(0).multinomial(n, possible / possible.sum(), _DRAWS).astype(np.float64)
    centre = float(_difference(joint[None, :], names, metric.paired)[0])
    if not math.isfinite(centre):
        return Value.no_data(f"{metric.name} is not defined for both versions", n)
    found = _difference(drawn, names, metric.paired)
    low, high = (float(q) for q in np.nanquantile(found, (0.025, 0.975)))
    low, high = min(low, centre), max(high, centre)
    reason = f"McNemar p = {_mcnemar(cells):.3g}" if metric.name == "accuracy" else ""
    return Value(centre, low, high, n, reason=reason)


def _difference(joint: Floats, names: list[tuple[str, ...]], share: OfCells) -> Floats:
    """The difference of the two versions' metrics, for tables (… × cells)."""
    sides = []
    for version in (1, 2):
        cell = [(name[version] == "1", name[0] == "1") for name in names]
        wanted = ((True, True), (True, False), (False, True), (False, False))
        sides.append(_over(*share(*(joint[:, np.array([c == w for c in cell])].sum(1) for w in wanted))))
    found: Floats = sides[0] - sides[1]
    return found


def _mcnemar(cells: dict[tuple[str, ...], int]) -> float:
    """The exact two-sided p-value of the split of records that only one version got right."""
    first = sum(n for (actual, a, b), n in cells.items() if a == actual != b)
    second = sum(n for (actual, a, b), n in cells.items() if b == actual != a)
    total, fewer = first + second, min(first, second)
    if total == 0:
        return 1.0
    if total > 1_000:  # the normal distribution, with the correction for continuity
        return float(math.erfc(max(abs(first - second) - 1, 0) / math.sqrt(2 * total)))
    tail = sum(math.comb(total, i) for i in range(fewer + 1)) / 2**total
    return float(min(1.0, 2 * tail))


def _flat(text: str) -> list[str]:
    actual, both = json.loads(text)
    return [actual, *json.loads(both)]


def _over(a: Floats, b: Floats) -> Floats:
    share: Floats = np.divide(a, b, out=np.full(np.shape(a), math.nan), where=np.asarray(b) > 0)
    return share
