"""Ranking: means over queries of each query's score, between 0 and 1."""

from __future__ import annotations

from fourfold.counts import Counts
from fourfold.metrics import quality
from fourfold.metrics.declared import metric
from fourfold.metrics.intervals import effective
from fourfold.model import Value


@metric("ranking", name="ndcg", series="ndcg_{k}", title="NDCG", headline=1)
@metric("ranking", name="mean_average_precision", series="average_precision_{k}", title="MAP", headline=2)
@metric("ranking", name="precision_at_k", series="precision_{k}")
@metric("ranking", name="recall_at_k", series="recall_{k}")
@metric("ranking", name="hit_rate", series="hit_{k}", title="hits", headline=4)
def at_cutoff(counts: Counts, k: float) -> Value:
    """The mean over the labelled queries."""
    return mean(counts)


@metric("ranking", name="mean_reciprocal_rank", series="reciprocal_rank", title="MRR", headline=3)
def mean(counts: Counts) -> Value:
    """The mean over the labelled queries, with Wilson's interval at the variance's effective sample size."""
    found = quality.mean(counts)
    n = counts.finite
    if found.value is None:
        return Value.no_data("no labelled query in this window", n)
    assert counts.binning is not None
    offset = counts.sum("offset") / n
    spread = max(counts.sum("offset_squared") / n - offset**2, 0.0) * counts.binning.scale**2
    value = min(max(found.value, 0.0), 1.0)
    return Value(value, *effective(value, spread / max(n - 1, 1), n), n)
