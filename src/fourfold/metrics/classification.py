"""Binary classification, by scikit-learn's names, from the counts of a task.

Metrics of decisions are exact at the task's threshold; another threshold reads the score bins.
If a metric is undefined (recall without a positive label), the answer is no data with a reason; scikit-learn
returns 0.0 with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fourfold.counts import Counts, Panel
from fourfold.counts.binning import Floats, Ints
from fourfold.metrics.declared import Curve, Share, metric
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
from fourfold.metrics.scores import OfScore, score_blocks, score_counts
from fourfold.metrics.tasks import answered, by_row, covered, mean_of, undefined, unlabelled
from fourfold.model import Task, Value

_TINY = 1e-300  # replaces a zero divisor
_ROWS = 512  # processed at once, so that intermediate results stay in the processor's cache
_PRIOR = 4.0  # records as predicted, added to a bin before its variance is estimated
Cells = tuple[float, float, float, float]  # whole numbers unless they are expectations
CELLS = ("true_positive", "false_positive", "false_negative", "true_negative")  # in this order


# Metrics as parts of cells, which are numbers or arrays of them: what counts, of what.


def right(tp: Any, fp: Any, fn: Any, tn: Any) -> Share:
    """Right decisions, of all."""
    return tp + tn, tp + fp + fn + tn


def precise(tp: Any, fp: Any, fn: Any, tn: Any) -> Share:
    """Positives, of the records decided positive."""
    return tp, tp + fp


def recalled(tp: Any, fp: Any, fn: Any, tn: Any) -> Share:
    """Records decided positive, of the positives."""
    return tp, tp + fn


def specific(tp: Any, fp: Any, fn: Any, tn: Any) -> Share:
    """Records decided negative, of the negatives."""
    return tn, tn + fp


def harmonic(tp: Any, fp: Any, fn: Any, tn: Any) -> Share:
    """F1."""
    return 2 * tp, 2 * tp + fp + fn


def balanced(tp: Any, fp: Any, fn: Any, tn: Any) -> Share:
    """The mean of recall and specificity."""
    return tp * (tn + fp) + tn * (tp + fn), 2 * (tp + fn) * (tn + fp)


def _positive(tp: Any, fp: Any, fn: Any, tn: Any) -> Share:
    return tp + fn, tp + fp + fn + tn


@metric("binary", paired=right)
def accuracy(counts: Counts, threshold: float | None = None) -> Value:
    """The share of decisions that were right."""
    return _proportion(counts, threshold, right, "labelled prediction")


@metric("binary", headline=2, paired=precise)
def precision(counts: Counts, threshold: float | None = None) -> Value:
    """The share of records decided positive that are positive."""
    return _proportion(counts, threshold, precise, "record decided positive")


@metric("binary", headline=1, paired=recalled)
def recall(counts: Counts, threshold: float | None = None) -> Value:
    """The share of positives that are decided positive."""
    return _proportion(counts, threshold, recalled, "positive label")


@metric("binary", paired=specific)
def specificity(counts: Counts, threshold: float | None = None) -> Value:
    """The share of negatives that are decided negative."""
    return _proportion(counts, threshold, specific, "negative label")


@metric("binary")
def base_rate(counts: Counts) -> Value:
    """The share of positive labels."""
    return _proportion(counts, None, _positive, "labelled prediction")


@metric("binary", title="F1", paired=harmonic)
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


@metric("binary", title="balanced", paired=balanced)
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


@metric("binary")
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


@metric("binary")
def true_positives(counts: Counts, threshold: float | None = None) -> Value:
    """The positives that are decided positive."""
    return _cell(counts, threshold, 0)


@metric("binary")
def false_positives(counts: Counts, threshold: float | None = None) -> Value:
    """The negatives that are decided positive."""
    return _cell(counts, threshold, 1)


@metric("binary")
def false_negatives(counts: Counts, threshold: float | None = None) -> Value:
    """The positives that are decided negative."""
    return _cell(counts, threshold, 2)


@metric("binary")
def true_negatives(counts: Counts, threshold: float | None = None) -> Value:
    """The negatives that are decided negative."""
    return _cell(counts, threshold, 3)


@metric("binary")
def log_loss(counts: Counts) -> Value:
    """The mean of −ln(predicted probability of the actual class), clipped as in scikit-learn."""
    return _mean_loss(counts, "log_loss", math.inf)


@metric("binary")
def brier_score_loss(counts: Counts) -> Value:
    """The mean squared difference of probability and label, from 0 to 1."""
    return _mean_loss(counts, "brier", 1.0)


@metric("binary", bins=True, title="ROC AUC", headline=3)
def roc_auc(panel: Panel) -> list[Value]:
    """The probability that a positive scores above a negative, ties counting half.

    Interval: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), 837–845, on the logit scale; where it is
    degenerate (all ranks right or wrong) Wilson's with the smaller class as the number of trials.
    """
    value, variance, p, n = np.zeros((4, len(panel)))
    for scores in score_blocks(panel):
        below, above = np.cumsum(scores.negatives, axis=1), np.cumsum(scores.positives, axis=1)
        positives, negatives = above[:, -1:].copy(), below[:, -1:].copy()
        some_p, some_n = np.maximum(positives, _TINY), np.maximum(negatives, _TINY)  # a class may be missing
        below -= scores.negatives / 2  # of each positive, how many negatives are
        above -= scores.positives / 2  # positives − these are above each negative
        won = np.einsum("ij,ij->i", scores.positives, below)[:, None]
        below -= won / some_p
        above -= positives - won / some_n
        spread_p = np.einsum("ij,ij,ij->i", scores.positives, below, below)[:, None] / np.maximum(positives - 1, 1)
        spread_n = np.einsum("ij,ij,ij->i", scores.negatives, above, above)[:, None] / np.maximum(negatives - 1, 1)
        spread = (spread_p / some_n + spread_n / some_p) / some_p / some_n
        columns = positives, negatives, won / some_p / some_n, spread
        p[scores.rows], n[scores.rows], value[scores.rows], variance[scores.rows] = (of[:, 0] for of in columns)
    low, high = logit(value, np.where(variance > 0, variance, np.nan))
    fewer = np.minimum(p, n)
    low, high = _or_wilson(low, high, value * fewer, fewer)
    return by_row(panel, (p > 0) & (n > 0), _one_class, value, low, high)


@metric("binary", bins=True)
def average_precision(panel: Panel) -> list[Value]:
    """Σ (recall gained) × precision, over the thresholds from the highest score down.

    The variance is by the delta method over the score bins; the interval is on the logit scale, as Boyd, Eng & Page,
    ECML PKDD 2013, 451–466, recommend.
    """
    value, variance, p = np.zeros((3, len(panel)))
    for scores in score_blocks(panel):
        positives = scores.positives.sum(axis=1)
        gained = scores.positives / np.maximum(positives, _TINY)[:, None]
        tp = np.cumsum(scores.positives[:, ::-1], axis=1)[:, ::-1]  # at each threshold
        decided = tp + np.cumsum(scores.negatives[:, ::-1], axis=1)[:, ::-1]
        decided[decided == 0] = 1.0
        precise_ = tp / decided
        found = np.einsum("ij,ij->i", gained, precise_)
        # one more record in a bin changes the precision at its threshold and all lower ones, a positive the recall too
        after = np.cumsum(gained * (1 - precise_) / decided, axis=1)
        spoiled = np.cumsum(gained * precise_ / decided, axis=1)
        change = (precise_ - found[:, None]) / np.maximum(positives, _TINY)[:, None] + after
        spread = np.einsum("ij,ij,ij->i", scores.positives, change, change)
        spread += np.einsum("ij,ij,ij->i", scores.negatives, spoiled, spoiled)
        at = scores.rows
        p[at], value[at], variance[at] = positives, found, spread * positives / np.maximum(positives - 1, 1)
    low, high = logit(value, np.where((variance > 0) & (p > 1), variance, np.nan), p)
    low, high = _or_wilson(low, high, np.minimum(value, 1.0) * p, p)
    return by_row(panel, p > 0, _one_class, value, low, high)


@metric("binary", bins=True, curve=("bin",))
def calibration_curve(panel: Panel, n_bins: int = 10) -> list[Curve]:
    """The share of positives in each of n equally wide bins of the predicted probability, with Wilson's interval.

    ``expected`` is the mean predicted probability in the bin: a calibrated model's value.
    """
    names = [(f"{i / n_bins:g}–{(i + 1) / n_bins:g}",) for i in range(n_bins)]
    sums = zip(*(column.tolist() for column in _reliability(panel, n_bins)), strict=True)
    improper, predicted, labelled = map(panel.tally, ("not_probability", "predicted", "labelled"))
    curves: list[Curve] = []
    for i, row in enumerate(sums):
        coverage = float(labelled[i] / predicted[i]) if predicted[i] > 0 else None
        curve = [
            (name, Value(hits / n, *wilson(hits, n), int(n), coverage, expected=total / n))
            for name, n, hits, total in zip(names, *row, strict=True)
            if n > 0 and labelled[i] > 0 and not improper[i]
        ]
        if not curve:
            curve = [(("",), unlabelled(panel.row(i)) or Value.no_data("the scores are not probabilities"))]
        curves.append(curve)
    return curves


@metric("binary", bins=True, title="calibration", headline=4)
def expected_calibration_error(panel: Panel, n_bins: int = 10) -> list[Value]:
    """The mean distance between predicted and realised share over n equally wide bins, weighted by their records.

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015. Sampling noise inflates it: ``expected`` is its mean for a
    calibrated model at this sample size; the interval corrects for that, and may lie below the value.
    """
    n, happened, predicted = _reliability(panel, n_bins)
    total = n.sum(axis=1)
    weights, some = n / np.maximum(total, _TINY)[:, None], np.maximum(n, _TINY)
    happened, predicted = happened / some, predicted / some
    chance = (weights * np.sqrt(2 / math.pi * np.maximum(predicted * (1 - predicted), 0) / some)).sum(axis=1)
    likely = (happened * n + predicted * _PRIOR) / (n + _PRIOR)  # a bin of one class only is not certain to stay so
    errors = np.sqrt(np.maximum(likely * (1 - likely), 1e-9) / np.where(n > 0, n, 1.0))
    distances = happened - predicted
    parts = [slice(start, start + _ROWS) for start in range(0, max(len(panel), 1), _ROWS)]
    ends = [absolute_distances(weights[rows], distances[rows], errors[rows]) for rows in parts]
    low, high = (np.concatenate([end[side] for end in ends]) for side in (0, 1))
    value = (weights * np.abs(distances)).sum(axis=1)
    judged = (total > 0) & (panel.tally("not_probability") == 0)
    return by_row(panel, judged, _improper, value, low, np.minimum(high, 1.0), expected=chance)


@metric("binary")
def value(counts: Counts, task: Task) -> Value:
    """The total worth of the decisions: Σ records × the worth of their cell, as the task declares it."""
    return _worth(counts, task, mean=False)


@metric("binary")
def mean_value(counts: Counts, task: Task) -> Value:
    """The mean worth of a decision."""
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
    """Why there is no area without positives or negatives."""
    n = counts.tally("labelled")
    return Value.no_data(f"all {n} labels are of one class", n, covered(counts))


def _proportion(counts: Counts, threshold: float | None, of: Callable[[Any, Any, Any, Any], Share], what: str) -> Value:
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


def _reliability(panel: Panel, n_bins: int) -> tuple[Floats, Floats, Floats]:
    """Rows × bins of probability: the number of records, of positives, and the sum of the predictions."""
    sums = np.zeros((3, len(panel) * n_bins))
    score_of = OfScore(panel, lambda score: np.clip(score, 0.0, 1.0))

    def place(score: Floats) -> Ints:
        return np.minimum(np.clip(score, 0, 1) * n_bins, n_bins - 1).astype(np.int64)

    place_of = OfScore(panel, place, at_end=True)  # a round score on an edge, such as 0.1, is in the bin above it
    for block in panel.blocks():
        bins, state = block.bins >> 2, block.bins & 3
        labelled, positives = block.counts * (state < 2), block.counts * (state == 1)
        places = (place_of(bins) + block.rows[:, None] * n_bins).ravel()
        first = np.flatnonzero(
            np.append(True, places[1:] != places[:-1])
        )  # scores rise, so each bin's records are adjacent
        for found, weights in zip(sums, (labelled, positives, score_of(bins) * labelled), strict=True):
            np.add.at(found, places[first], np.add.reduceat(weights.ravel(), first))
    n, happened, predicted = sums.reshape(3, len(panel), n_bins)
    return n, happened, predicted


def _or_wilson(low: Floats, high: Floats, successes: Floats, trials: Floats) -> tuple[Floats, Floats]:
    """Wilson's interval instead of a degenerate one."""
    for i in np.flatnonzero(np.isnan(low) & (trials > 0)).tolist():
        low[i], high[i] = wilson(float(successes[i]), float(trials[i]))
    return low, high
