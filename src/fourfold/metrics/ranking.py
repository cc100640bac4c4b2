"""Ranking: means over queries of what was counted of each; between 0 and 1."""

from __future__ import annotations

from fourfold.counts import Counts
from fourfold.metrics import quality
from fourfold.metrics.intervals import effective
from fourfold.model import Value


def at_cutoff(counts: Counts, k: float) -> Value:
    """The mean over the labelled queries."""
    return mean(counts)


def mean(counts: Counts) -> Value:
    """The mean over the labelled queries, with Wilson's interval at the number of queries its variance is worth."""
    found = quality.mean(counts)
    n = counts.finite
    if found.value is None:
        return Value.no_data("no labelled query in this window", n)
    assert counts.binning is not None
    offset = counts.sum("offset") / n
    spread = max(counts.sum("offset_squared") / n - offset**2, 0.0) * counts.binning.scale**2
    value = min(max(found.value, 0.0), 1.0)
    return Value(value, *effective(value, spread / max(n - 1, 1), n), n)
