"""Binary classification, by scikit-learn's names, from the counts of a task.

Metrics of decisions are exact at the task's threshold; at another threshold they are read off the score bins.
Where a metric is not defined (recall without a positive label), there is no data and a reason, where
scikit-learn returns 0.0 with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fourfold.counts import Counts
from fourfold.counts.binning import Floats, Ints
from fourfold.metrics.intervals import (
    absolute_distances,
    delta_variance,
    fisher,
    logarithmic,
    logit,
    mover,
    student,
    wilson,
)
from fourfold.metrics.tasks import answered, covered, mean_of, undefined, unlabelled
from fourfold.model import Task, Value

_PRIOR = 4.0  # records as predicted, that are added to a bin before its spread is judged
Cells = tuple[float, float, float, float]  # whole numbers but where they are expectations
CELLS = ("true_positive", "false_positive", "false_negative", "true_negative")  # in this order


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
    """The harmonic mean of precision and recall; its interval is Wilson's of J = right ÷ (positive or decided so)."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    tp, fp, fn, _ = _cells(counts, threshold)
    if not tp + fp + fn:
        return undefined("neither a positive label nor a positive decision", counts)
    low, high = wilson(tp, tp + fp + fn)  # F1 = 2 J / (1 + J)
    return answered(2 * tp / (2 * tp + fp + fn), (2 * low / (1 + low), 2 * high / (1 + high)), counts)


def balanced_accuracy(counts: Counts, threshold: float | None = None) -> Value:
    """The mean of recall and specificity."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    tp, fp, fn, tn = _cells(counts, threshold)
    if not (tp + fn and tn + fp):
        return undefined("labels of one class only", counts)
    value = (tp / (tp + fn) + tn / (tn + fp)) / 2
    return answered(value, mover([(0.5, tp, tp + fn), (0.5, tn, tn + fp)]), counts)


def matthews_corrcoef(counts: Counts, threshold: float | None = None) -> Value:
    """The correlation of decision and label, from −1 to 1, with a delta-method interval on the scale of Fisher's z."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    cells = _cells(counts, threshold)
    centre = _matthews(cells)
    if centre is None:
        return undefined("labels or decisions of one class only", counts)
    n, gradient = sum(cells), []
    for i in range(4):
        up = [*cells]
        up[i] += 1
        gradient.append(((_matthews((up[0], up[1], up[2], up[3])) or 0.0) - centre) * n)
    return answered(centre, fisher(centre, delta_variance(gradient, cells), n), counts)


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
    empty = unlabelled(counts)
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
    return answered(value, interval or wilson(value * min(p, n), min(p, n)), counts)


def average_precision(counts: Counts) -> Value:
    """Σ (recall gained) × precision, over the thresholds from the highest score down.

    Its variance is by the delta method over the score bins; the interval is on the logit scale, as Boyd, Eng & Page,
    ECML PKDD 2013, 451–466, advise.
    """
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    _, positives, negatives = (column[::-1] for column in score_counts(counts))
    p = float(positives.sum())
    if not p:
        return _one_class(counts)
    tp, decided = np.cumsum(positives), np.cumsum(positives + negatives)
    precise, gained = tp / decided, positives / p
    value = float(gained @ precise)
    # one more record in a bin changes the precision at its threshold and all lower ones, a positive the recall too
    after = np.cumsum((gained * (decided - tp) / decided**2)[::-1])[::-1]
    spoiled = np.cumsum((gained * tp / decided**2)[::-1])[::-1]
    change = ((precise - value) / p + after) ** 2
    variance = float(positives @ change + negatives @ spoiled**2) * p / max(p - 1, 1)
    interval = logit(value, variance, p) if variance > 0 and p > 1 else None
    return answered(value, interval or wilson(min(value, 1.0) * p, p), counts)


def calibration_curve(counts: Counts, n_bins: int = 10) -> dict[tuple[str, ...], Value]:
    """The share of positives in each of n equally wide bins of the predicted probability, with Wilson's interval.

    ``expected`` is the mean probability that was predicted in the bin: a calibrated model's value.
    """
    curve: dict[tuple[str, ...], Value] = {}
    for label, predicted, happened, n in _reliability(counts, n_bins):
        value = Value(happened / n, *wilson(happened, n), int(n), covered(counts), expected=predicted)
        curve[(label,)] = value
    return curve or {("",): unlabelled(counts) or Value.no_data("the scores are not probabilities")}


def expected_calibration_error(counts: Counts, n_bins: int = 10) -> Value:
    """The mean distance of predicted and realised share over n equally wide bins, weighted by their records.

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015. Chance makes it larger than it is: ``expected`` is its mean for a
    calibrated model at this sample size; the interval takes chance into account, and may lie below the value.
    """
    empty = unlabelled(counts) or _improper(counts)
    if empty is not None:
        return empty
    n, happened, predicted = np.array([(n, h / n, p) for _, p, h, n in _reliability(counts, n_bins)]).T
    weights, total = n / n.sum(), counts.tally("labelled")
    chance = float((weights * np.sqrt(2 / math.pi * np.clip(predicted * (1 - predicted), 0, None) / n)).sum())
    likely = (happened * n + predicted * _PRIOR) / (n + _PRIOR)  # that a bin is all of one class is no certainty
    errors = np.sqrt(np.maximum(likely * (1 - likely), 1e-9) / n)
    low, high = absolute_distances(weights, happened - predicted, errors)
    value = float((weights * np.abs(happened - predicted)).sum())
    return Value(value, low, min(high, 1.0), total, covered(counts), expected=chance)


def score_counts(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """Score (the bin's middle), positives and negatives of each score bin, from the lowest score up."""
    if counts.binning is None:  # no score was ever a number
        nothing = np.zeros(0)
        return nothing, nothing, nothing
    bins, (negatives, positives, _) = states(counts)
    some = positives + negatives > 0
    return counts.binning.middles(bins[some]), positives[some], negatives[some]


def states(counts: Counts) -> tuple[Ints, tuple[Floats, Floats, Floats]]:
    """The score bins, and of each how many negatives, positives, and predictions without a label."""
    bins, where = np.unique(counts.bins >> 2, return_inverse=True)
    state = counts.bins & 3
    found = [np.bincount(where[state == i], counts.counts[state == i], len(bins)).astype(np.float64) for i in range(3)]
    return bins, (found[0], found[1], found[2])


def value(counts: Counts, task: Task) -> Value:
    """What the decisions were worth, all together: Σ records × the worth of their cell, as the task declares it."""
    return _worth(counts, task, mean=False)


def mean_value(counts: Counts, task: Task) -> Value:
    """What a decision was worth, on average."""
    return _worth(counts, task, mean=True)


def _worth(counts: Counts, task: Task, *, mean: bool) -> Value:
    worth = {(predicted, actual): value for predicted, actual, value in task.values}
    cells = _cells(counts, None)
    of = [worth.get(cell, 0.0) for cell in (("1", "1"), ("1", "0"), ("0", "1"), ("0", "0"))]
    return total_worth(of, cells, counts, task, mean=mean)


def total_worth(worth: Sequence[float], cells: Sequence[float], counts: Counts, task: Task, *, mean: bool) -> Value:
    """Σ records × worth over cells, or its mean, with Student's interval."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    if not task.values:
        return Value.no_data(f"the task declares no values=; without it a cell is worth nothing: {task.name}")
    n = sum(cells)
    centre = sum(w * c for w, c in zip(worth, cells, strict=True)) / n
    spread = sum(w * w * c for w, c in zip(worth, cells, strict=True)) / n - centre * centre
    low, high = student(centre, max(spread, 0.0) / max(n - 1, 1), n)
    scale = 1 if mean else n
    return answered(scale * centre, (scale * low, scale * high), counts)


def _cells(counts: Counts, threshold: float | None) -> Cells:
    if threshold is None:
        tp, fp, fn, tn = map(counts.tally, CELLS)
        return tp, fp, fn, tn
    score, positives, negatives = score_counts(counts)
    above = score >= threshold
    decided = float(positives[above].sum()), float(negatives[above].sum())
    return *decided, float(positives.sum()) - decided[0], float(negatives.sum()) - decided[1]


def _improper(counts: Counts) -> Value | None:
    improper = counts.tally("not_probability")
    if not improper:
        return None
    reason = f"{improper} scores are outside [0, 1]: they are not probabilities"
    return Value.no_data(reason, counts.tally("labelled"), covered(counts))


def _one_class(counts: Counts) -> Value:
    n = counts.tally("labelled")
    return Value.no_data(f"all {n} labels are of one class", n, covered(counts))


def _proportion(
    counts: Counts, threshold: float | None, of: Callable[[float, float, float, float], tuple[float, float]], what: str
) -> Value:
    hits, trials = of(*_cells(counts, threshold))
    if trials <= 0:
        n = counts.tally("labelled")
        return unlabelled(counts) or Value.no_data(f"no {what} among {n} labels", n, covered(counts))
    low, high = wilson(hits, trials)
    return Value(hits / trials, low, high, round(trials), covered(counts))


def _cell(counts: Counts, threshold: float | None, index: int) -> Value:
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    return Value(float(_cells(counts, threshold)[index]), n=counts.tally("labelled"), coverage=covered(counts))


def _matthews(cells: Cells) -> float | None:
    tp, fp, fn, tn = cells
    size = math.sqrt(tp + fp) * math.sqrt(tp + fn) * math.sqrt(tn + fp) * math.sqrt(tn + fn)
    return (tp * tn - fp * fn) / size if size else None


def _mean_loss(counts: Counts, name: str, most: float) -> Value:
    empty = unlabelled(counts) or _improper(counts)
    if empty is not None:
        return empty
    n = counts.tally("labelled")
    value, variance = mean_of(counts, name)
    low, high = logarithmic(value, variance, n)
    return answered(value, (low, min(high, most)), counts)


def _reliability(counts: Counts, n_bins: int) -> list[tuple[str, float, float, float]]:
    """Of each bin of probability: its range, the mean predicted, how many happened, how many there are."""
    if unlabelled(counts) or _improper(counts):
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
