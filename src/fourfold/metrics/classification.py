"""Binary classification, by scikit-learn's names, from the counts of a task.

Metrics of decisions are exact at the task's threshold; at another threshold they are read off the score bins.
Where a metric is not defined (recall without a positive label), there is no data and a reason, where
scikit-learn returns 0.0 with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fourfold.binning import Floats
from fourfold.counts import Counts
from fourfold.metrics.intervals import Interval, delta_variance, logit, normal, wilson
from fourfold.model import Value

Cells = tuple[int, int, int, int]  # true positives, false positives, false negatives, true negatives


def accuracy(counts: Counts, threshold: float | None = None) -> Value:
    """The share of decisions that were right."""
    return _proportion(counts, threshold, lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn), "labelled prediction")


def precision(counts: Counts, threshold: float | None = None) -> Value:
    """Of the records decided positive, the share that are."""
    return _proportion(counts, threshold, lambda tp, fp, fn, tn: (tp, tp + fp), "record decided positive")


def recall(counts: Counts, threshold: float | None = None) -> Value:
    """Of the records that are positive, the share decided so."""
    return _proportion(counts, threshold, lambda tp, fp, fn, tn: (tp, tp + fn), "positive label")


def specificity(counts: Counts, threshold: float | None = None) -> Value:
    """Of the records that are negative, the share decided so."""
    return _proportion(counts, threshold, lambda tp, fp, fn, tn: (tn, tn + fp), "negative label")


def base_rate(counts: Counts) -> Value:
    """The share of positive labels."""
    return _proportion(counts, None, lambda tp, fp, fn, tn: (tp + fn, tp + fp + fn + tn), "labelled prediction")


def f1(counts: Counts, threshold: float | None = None) -> Value:
    """The harmonic mean of precision and recall, with a delta-method interval."""

    def value(cells: Cells) -> tuple[float, float] | None:
        tp, fp, fn, _ = cells
        size = 2 * tp + fp + fn
        if not size:
            return None
        n = sum(cells)
        down = -2 * tp / size**2 * n
        return 2 * tp / size, delta_variance((2 * (fp + fn) / size**2 * n, down, down, 0.0), cells)

    return _smooth(counts, threshold, value, "neither a positive label nor a positive decision", 0.0)


def balanced_accuracy(counts: Counts, threshold: float | None = None) -> Value:
    """The mean of recall and specificity."""

    def value(cells: Cells) -> tuple[float, float] | None:
        tp, fp, fn, tn = cells
        if not (tp + fn and tn + fp):
            return None
        recalled, specific = tp / (tp + fn), tn / (tn + fp)
        variance = recalled * (1 - recalled) / (tp + fn) + specific * (1 - specific) / (tn + fp)
        return (recalled + specific) / 2, variance / 4

    return _smooth(counts, threshold, value, "labels of one class only", 0.0)


def matthews_corrcoef(counts: Counts, threshold: float | None = None) -> Value:
    """The correlation of decision and label, from −1 to 1, with a delta-method interval."""

    def value(cells: Cells) -> tuple[float, float] | None:
        centre = _matthews(cells)
        if centre is None:
            return None
        n, gradient = sum(cells), []
        for i in range(4):
            up = [*cells]
            up[i] += 1
            gradient.append(((_matthews((up[0], up[1], up[2], up[3])) or 0.0) - centre) * n)
        return centre, delta_variance(gradient, cells)

    return _smooth(counts, threshold, value, "labels or decisions of one class only", -1.0)


def true_positives(counts: Counts, threshold: float | None = None) -> Value:
    """The records decided positive that are."""
    return _cell(counts, threshold, 0)


def false_positives(counts: Counts, threshold: float | None = None) -> Value:
    """The records decided positive that are not."""
    return _cell(counts, threshold, 1)


def false_negatives(counts: Counts, threshold: float | None = None) -> Value:
    """The records decided negative that are positive."""
    return _cell(counts, threshold, 2)


def true_negatives(counts: Counts, threshold: float | None = None) -> Value:
    """The records decided negative that are."""
    return _cell(counts, threshold, 3)


def log_loss(counts: Counts) -> Value:
    """The mean of −ln(probability given to what happened), the probability clipped as scikit-learn does."""
    return _mean_loss(counts, "log_loss", math.inf)


def brier_score_loss(counts: Counts) -> Value:
    """The mean squared difference of probability and label, from 0 to 1."""
    return _mean_loss(counts, "brier", 1.0)


def roc_auc(counts: Counts) -> Value:
    """The probability that a positive scores above a negative, ties counting half.

    Interval: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), 837–845, on the logit scale; where it is
    degenerate (all ranks right or wrong) Wilson's with the smaller class as the number of trials.
    """
    empty = _unlabelled(counts)
    if empty is not None:
        return empty
    _, positives, negatives = score_counts(counts)
    p, n = float(positives.sum()), float(negatives.sum())
    if not (p and n):
        return _one_class(counts)
    below = (np.cumsum(negatives) - negatives / 2) / n
    above = (p - np.cumsum(positives) + positives / 2) / p
    value = float(positives @ below) / p
    spread_p = float(positives @ (below - value) ** 2) / max(p - 1, 1)
    spread_n = float(negatives @ (above - value) ** 2) / max(n - 1, 1)
    variance = spread_p / p + spread_n / n
    interval = logit(value, variance) if variance > 0 else None
    return _with_coverage(value, interval or wilson(value * min(p, n), min(p, n)), counts)


def average_precision(counts: Counts) -> Value:
    """Σ (recall gained) × precision, over the thresholds from the highest score down.

    Interval: logit, Boyd, Eng & Page, ECML PKDD 2013, 451–466, with the positives as the number of trials.
    """
    empty = _unlabelled(counts)
    if empty is not None:
        return empty
    _, positives, negatives = score_counts(counts)
    p = float(positives.sum())
    if not p:
        return _one_class(counts)
    tp, decided = np.cumsum(positives[::-1]), np.cumsum((positives + negatives)[::-1])
    value = float((positives[::-1] / p) @ (tp / np.maximum(decided, 1)))
    interval = logit(value, value * (1 - value) / p)
    return _with_coverage(value, interval or wilson(min(value, 1.0) * p, p), counts)


def calibration_curve(counts: Counts, n_bins: int = 10) -> dict[str, Value]:
    """The share of positives in each of n equally wide bins of the predicted probability, with Wilson's interval.

    ``expected`` is the mean probability that was predicted in the bin: a calibrated model's value.
    """
    curve = {}
    for label, predicted, happened, n in _reliability(counts, n_bins):
        value = Value(happened / n, *wilson(happened, n), int(n), counts_coverage(counts), expected=predicted)
        curve[label] = value
    return curve or {"": _unlabelled(counts) or Value.no_data("the scores are not probabilities")}


def expected_calibration_error(counts: Counts, n_bins: int = 10) -> Value:
    """The mean distance of predicted and realised share over n equally wide bins, weighted by their records.

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015. ``expected`` is its mean for a calibrated model at this
    sample size; the interval is by the delta method.
    """
    empty = _unlabelled(counts) or _improper(counts)
    if empty is not None:
        return empty
    total = float(counts.tally("labelled"))
    value = variance = chance = 0.0
    for _, predicted, happened, n in _reliability(counts, n_bins):
        share = happened / n
        value += n / total * abs(share - predicted)
        variance += (n / total) ** 2 * share * (1 - share) / n
        chance += n / total * math.sqrt(2 / math.pi * max(predicted * (1 - predicted), 0) / n)
    low, high = normal(value, variance, 0.0, 1.0)
    return Value(value, low, high, int(total), counts_coverage(counts), expected=chance)


def coverage(counts: Counts) -> Value:
    """Labelled ÷ predicted."""
    predicted, labelled = counts.tally("predicted"), counts.tally("labelled")
    if predicted <= 0:
        return Value.no_data("no predictions in this window")
    return Value(labelled / predicted, *wilson(labelled, predicted), predicted, labelled / predicted)


def predictions(counts: Counts) -> Value:
    """How many keys were predicted; a repeated prediction counts once."""
    n = counts.tally("predicted")
    return (
        Value(float(n), n=n, coverage=counts_coverage(counts)) if n else Value.no_data("no predictions in this window")
    )


def orphan_labels(counts: Counts) -> Value:
    """How many labels have a key that was never predicted, by the label's own time."""
    return Value(float(counts.tally("orphan")), n=counts.tally("orphan"))


def expired_labels(counts: Counts) -> Value:
    """How many predictions were labelled only after the horizon."""
    return Value(float(counts.tally("expired")), n=counts.tally("predicted"))


def counts_coverage(counts: Counts) -> float | None:
    """Labelled ÷ predicted, as the coverage that a value carries."""
    predicted = counts.tally("predicted")
    return counts.tally("labelled") / predicted if predicted > 0 else None


def score_counts(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """Score (the bin's middle), positives and negatives of each score bin, from the lowest score up."""
    assert counts.binning is not None
    bins, where = np.unique(counts.bins >> 1, return_inverse=True)
    positive = (counts.bins & 1).astype(bool)
    positives = np.bincount(where[positive], counts.counts[positive], len(bins)).astype(np.float64)
    negatives = np.bincount(where[~positive], counts.counts[~positive], len(bins)).astype(np.float64)
    return counts.binning.middles(bins), positives, negatives


def _cells(counts: Counts, threshold: float | None) -> Cells:
    if threshold is None:
        tp, fp, fn, tn = counts.tallies[2:6]
        return tp, fp, fn, tn
    score, positives, negatives = score_counts(counts)
    decided = score >= threshold
    tp, fp = int(positives[decided].sum()), int(negatives[decided].sum())
    return tp, fp, int(positives.sum()) - tp, int(negatives.sum()) - fp


def _unlabelled(counts: Counts) -> Value | None:
    """Why there is no data, where no prediction has a label."""
    predicted, labelled = counts.tally("predicted"), counts.tally("labelled")
    if labelled > 0:
        return None
    if predicted <= 0:
        return Value.no_data("no predictions in this window")
    reason = f"no labels yet for {predicted} predictions"
    for tally, words in (
        ("expired", "labels came later than the horizon (does the label stream pass time=?)"),
        ("invalid_label", "labels are neither 0 nor 1"),
        ("unscored", "predictions have no finite score"),
    ):
        if counts.tally(tally):
            reason += f"; {counts.tally(tally)} {words}"
    return Value.no_data(reason, coverage=0.0)


def _improper(counts: Counts) -> Value | None:
    improper = counts.tally("not_probability")
    if not improper:
        return None
    reason = f"{improper} scores are outside [0, 1]: they are not probabilities"
    return Value.no_data(reason, counts.tally("labelled"), counts_coverage(counts))


def _one_class(counts: Counts) -> Value:
    n = counts.tally("labelled")
    return Value.no_data(f"all {n} labels are of one class", n, counts_coverage(counts))


def _with_coverage(value: float, interval: Interval, counts: Counts) -> Value:
    return Value(value, *interval, counts.tally("labelled"), counts_coverage(counts))


def _proportion(
    counts: Counts, threshold: float | None, of: Callable[[int, int, int, int], tuple[int, int]], what: str
) -> Value:
    hits, trials = of(*_cells(counts, threshold))
    if trials <= 0:
        n = counts.tally("labelled")
        return _unlabelled(counts) or Value.no_data(f"no {what} among {n} labels", n, counts_coverage(counts))
    low, high = wilson(hits, trials)
    return Value(hits / trials, low, high, trials, counts_coverage(counts))


def _smooth(
    counts: Counts, threshold: float | None, of: Callable[[Cells], tuple[float, float] | None], why: str, low: float
) -> Value:
    empty = _unlabelled(counts)
    if empty is not None:
        return empty
    found = of(_cells(counts, threshold))
    if found is None:
        return Value.no_data(why, counts.tally("labelled"), counts_coverage(counts))
    return _with_coverage(found[0], normal(*found, low, 1.0), counts)


def _cell(counts: Counts, threshold: float | None, index: int) -> Value:
    empty = _unlabelled(counts)
    if empty is not None:
        return empty
    return Value(float(_cells(counts, threshold)[index]), n=counts.tally("labelled"), coverage=counts_coverage(counts))


def _matthews(cells: Cells) -> float | None:
    tp, fp, fn, tn = cells
    size = math.sqrt(tp + fp) * math.sqrt(tp + fn) * math.sqrt(tn + fp) * math.sqrt(tn + fn)
    return (tp * tn - fp * fn) / size if size else None


def _mean_loss(counts: Counts, name: str, most: float) -> Value:
    empty = _unlabelled(counts) or _improper(counts)
    if empty is not None:
        return empty
    n = counts.tally("labelled")
    value = counts.sum(name) / n
    low, high = normal(value, (counts.sum(f"{name}_squared") / n - value**2) / n, 0.0, most)
    return _with_coverage(value, (low, high), counts)


def _reliability(counts: Counts, n_bins: int) -> list[tuple[str, float, float, float]]:
    """Of each bin of probability: its range, the mean predicted, how many happened, how many there are."""
    if _unlabelled(counts) or _improper(counts):
        return []
    score, positives, negatives = score_counts(counts)
    score = np.clip(score, 0.0, 1.0)
    place = np.minimum((score * n_bins).astype(np.int64), n_bins - 1)
    n = np.bincount(place, positives + negatives, n_bins)
    happened = np.bincount(place, positives, n_bins)
    predicted = np.bincount(place, score * (positives + negatives), n_bins)
    return [
        (f"{i / n_bins:g}–{(i + 1) / n_bins:g}", float(predicted[i] / n[i]), float(happened[i]), float(n[i]))
        for i in range(n_bins)
        if n[i] > 0
    ]
