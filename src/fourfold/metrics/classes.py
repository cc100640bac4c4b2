"""Multiclass, multilabel and decision tasks, by scikit-learn's names, from counts of pairs of texts.

A metric is a function of three vectors over the classes: how many records were right, predicted, and actual. Its
interval is by the delta method over the cells of the confusion matrix, in Wilson's form where it has bounds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fourfold.counts import RANKS, Counts
from fourfold.counts.binning import Floats
from fourfold.errors import InputError
from fourfold.metrics import classification
from fourfold.metrics.declared import Curve, metric
from fourfold.metrics.intervals import (
    Interval,
    effective,
    few,
    fisher,
    logarithmic,
    mover,
    student,
    student_point,
    wilson,
)
from fourfold.metrics.tasks import answered, covered, mean_of, undefined, unlabelled
from fourfold.model import Task, Value, label_of

_LACKING = 4.0  # see ``intervals.few``
AVERAGES = ("macro", "micro", "weighted")
# Of right, predicted and actual (each … × classes) and the number of records, the metric; NaN where it is not defined.
Of = Callable[[Floats, Floats, Floats, Any], Floats]


@metric("multiclass", headline=1, paired=classification.right)
def accuracy(counts: Counts) -> Value:
    """The share of records whose class was predicted."""
    return unlabelled(counts) or _share(counts, counts.tally("correct"), counts.tally("labelled"))


@metric("multiclass", bins=True, title="balanced", headline=2)
def balanced_accuracy(counts: Counts) -> Value:
    """The mean of the recalls of the classes that occur."""
    return unlabelled(counts) or _macro(counts, _cells(counts), 1, only_labels=True)


@metric("multiclass", bins=True)
def precision(counts: Counts, average: str = "macro", label: str = "") -> Value:
    """The share of records predicted as a class that are in it: averaged over classes, or for one ``label``."""
    return _averaged(counts, average, label, 0)


@metric("multiclass", bins=True)
def recall(counts: Counts, average: str = "macro", label: str = "") -> Value:
    """The share of a class's records that are predicted as it: averaged over classes, or for one ``label``."""
    return _averaged(counts, average, label, 1)


@metric("multiclass", bins=True, title="F1", headline=3)
def f1(counts: Counts, average: str = "macro", label: str = "") -> Value:
    """The harmonic mean of a class's precision and recall: averaged over classes, or for one ``label``."""
    return _averaged(counts, average, label, 2)


@metric("multiclass", "decision", bins=True, title="kappa", headline=4)
def cohen_kappa(counts: Counts) -> Value:
    """Agreement beyond that of chance: (observed − expected) / (1 − expected). Cohen, Educ. Psych. Meas. 20 (1960)."""

    def kappa(right: Floats, said: Floats, true: Floats, n: Any) -> Floats:
        chance = (said * true).sum(-1) / n**2
        return _divide(right.sum(-1) / n - chance, 1 - chance, math.nan)

    return _smooth(counts, kappa, fisher, "all records are of one class")


@metric("multiclass", bins=True)
def matthews_corrcoef(counts: Counts) -> Value:
    """The correlation of predicted and actual class: Gorodkin, Comput. Biol. Chem. 28 (2004)."""

    def matthews(right: Floats, said: Floats, true: Floats, n: Any) -> Floats:
        both = n * right.sum(-1) - (said * true).sum(-1)
        size = np.sqrt(n**2 - (said**2).sum(-1)) * np.sqrt(n**2 - (true**2).sum(-1))
        return _divide(both, size, math.nan)

    return _smooth(counts, matthews, fisher, "labels or predictions of one class only")


@metric("multiclass")
def top_k_accuracy(counts: Counts, k: float = 2) -> Value:
    """The share of records whose class is among the k most probable; needs ``probabilities``."""
    if k not in RANKS:
        raise InputError(f"top_k_accuracy({k:g}): k is one of {RANKS[0]} to {RANKS[-1]}, the ranks that are counted")
    n = counts.tally("with_probabilities")
    if n <= 0:
        return unlabelled(counts) or undefined("the task declares no probabilities=, or none were logged", counts)
    return _share(counts, sum(counts.tally(f"rank_{i}") for i in range(1, int(k) + 1)), n)


@metric("multiclass")
def log_loss(counts: Counts) -> Value:
    """The mean of −ln(probability given to the actual class), clipped as scikit-learn does."""
    n = counts.tally("with_probabilities")
    if n <= 0:
        return unlabelled(counts) or undefined("the task declares no probabilities=, or none were logged", counts)
    mean, variance = mean_of(counts, "log_loss", n)
    return answered(mean, logarithmic(mean, variance, n), counts, n)


@metric("multiclass", bins=True, curve=("actual", "predicted"))
def confusion_matrix(counts: Counts) -> Curve:
    """The number of records by actual and predicted class."""
    empty = unlabelled(counts)
    if empty is not None:
        return [(("", ""), empty)]
    cells = sorted(_cells(counts).items())
    return [((actual, said), Value(float(n), n=n, coverage=covered(counts))) for (said, actual), n in cells]


@metric("multiclass", bins=True)
def value(counts: Counts, task: Task) -> Value:
    """The total worth of the predictions: Σ records × the worth of their cell, as the task declares it."""
    return _worth(counts, task, mean=False)


@metric("multiclass", bins=True)
def mean_value(counts: Counts, task: Task) -> Value:
    """The mean worth of a prediction."""
    return _worth(counts, task, mean=True)


# multilabel -------------------------------------------------------------------------------------------------------


@metric("multilabel", name="accuracy", headline=4)
def subset_accuracy(counts: Counts) -> Value:
    """The share of records whose set of classes was predicted exactly."""
    return unlabelled(counts) or _share(counts, counts.tally("exact"), counts.tally("labelled"))


@metric("multilabel", bins=True)
def hamming_loss(counts: Counts, classes: float = 0) -> Value:
    """The share of wrong labels among records × classes; without ``classes``, those that occur in the window."""
    size = int(classes) or len({name for name, _ in _cells(counts)})
    if unlabelled(counts) is None and not size:
        return undefined("no class was predicted or occurred", counts)
    return _sample_mean(counts, "wrong", 1 / max(size, 1))


@metric("multilabel")
def jaccard(counts: Counts) -> Value:
    """The mean of |predicted ∩ actual| ÷ |predicted ∪ actual| over the records."""
    return _sample_mean(counts, "jaccard")


@metric("multilabel", name="precision", bins=True, headline=2)
def multilabel_precision(counts: Counts, average: str = "macro", label: str = "") -> Value:
    """As ``precision``; ``average=samples`` is the mean over the records."""
    return _multilabel(counts, average, label, 0)


@metric("multilabel", name="recall", bins=True, headline=3)
def multilabel_recall(counts: Counts, average: str = "macro", label: str = "") -> Value:
    """As ``recall``; ``average=samples`` is the mean over the records."""
    return _multilabel(counts, average, label, 1)


@metric("multilabel", name="f1", bins=True, title="F1", headline=1)
def multilabel_f1(counts: Counts, average: str = "macro", label: str = "") -> Value:
    """As ``f1``; ``average=samples`` is the mean over the records."""
    return _multilabel(counts, average, label, 2)


# decisions --------------------------------------------------------------------------------------------------------


@metric("decision", title="overridden", headline=1)
def override_rate(counts: Counts) -> Value:
    """The share of decisions that differ from the prediction."""
    return unlabelled(counts) or _share(counts, counts.tally("overridden"), counts.tally("labelled"))


@metric("decision", headline=2)
def agreement(counts: Counts) -> Value:
    """The share of decisions that follow the prediction."""
    return unlabelled(counts) or _share(counts, counts.tally("followed"), counts.tally("labelled"))


@metric("decision")
def followed_outcome(counts: Counts) -> Value:
    """The mean outcome of predictions that were followed."""
    return _outcome(counts, "followed")


@metric("decision")
def overridden_outcome(counts: Counts) -> Value:
    """The mean outcome of predictions that were overridden."""
    return _outcome(counts, "overridden")


@metric("decision", title="outcome Δ", headline=5)
def outcome_difference(counts: Counts) -> Value:
    """The mean outcome of overridden predictions − that of followed ones, with Welch's interval.

    Overrides are not random, so a difference is not yet an effect of overriding.
    """
    sizes = [counts.tally(f"{name}_with_outcome") for name in ("overridden", "followed")]
    if min(sizes) < 2:
        return unlabelled(counts) or undefined(f"{sizes[0]} overridden and {sizes[1]} followed predictions have an "
                                               "outcome; two of each are needed", counts)  # fmt: skip
    (a, va), (b, vb) = (
        mean_of(counts, f"{name}_outcome", size) for name, size in zip(("overridden", "followed"), sizes, strict=True)
    )
    spread = va + vb
    if not math.isfinite(spread):
        return answered(a - b, (-math.inf, math.inf), counts, sum(sizes))
    share = va / spread if spread > 0 else 0.5  # of the variance; the degrees of freedom are Welch & Satterthwaite's
    degrees = 1 / (share * share / (sizes[0] - 1) + (1 - share) * (1 - share) / (sizes[1] - 1))
    half = student_point(degrees) * math.sqrt(spread)
    return answered(a - b, (a - b - half, a - b + half), counts, sum(sizes))


@metric("decision", bins=True, curve=("predicted", "done"))
def decisions(counts: Counts) -> Curve:
    """How often each action was taken on each prediction."""
    empty = unlabelled(counts)
    if empty is not None:
        return [(("", ""), empty)]
    cells = sorted(_cells(counts).items())
    return [((said, done), Value(float(n), n=n, coverage=covered(counts))) for (said, done), n in cells]


# ------------------------------------------------------------------------------------------------------------------


def _cells(counts: Counts) -> dict[tuple[str, str], int]:
    """The counts by pair, without unlabelled predictions."""
    found: dict[tuple[str, str], int] = {}
    for text, n in zip(counts.labels, counts.counts.tolist(), strict=True):
        cell = json.loads(text)
        if len(cell) > 1:
            key = str(cell[0]), str(cell[1])
            found[key] = found.get(key, 0) + n
    return found


def _vectors(cells: dict[tuple[str, str], int]) -> tuple[list[str], Floats, Floats, Floats]:
    """The classes, and for each the number of right, predicted and actual records."""
    classes = sorted({name for cell in cells for name in cell})
    place = {name: i for i, name in enumerate(classes)}
    right, said, true = (np.zeros(len(classes)) for _ in range(3))
    for (predicted, actual), n in cells.items():
        said[place[predicted]] += n
        true[place[actual]] += n
        if predicted == actual:
            right[place[actual]] += n
    return classes, right, said, true


def _smooth(
    counts: Counts,
    of: Of,
    interval: Callable[[float, float, float], Interval] = effective,
    why: str = "labels without a class",
) -> Value:
    """A metric with an interval by the delta method: its change with one more record in each used cell."""
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    cells = _cells(counts)
    classes, right, said, true = _vectors(cells)
    n = float(sum(cells.values()))
    centre = float(of(right, said, true, n))
    if not math.isfinite(centre):
        return undefined(why, counts)
    place = {name: i for i, name in enumerate(classes)}
    predicted = np.array([place[cell[0]] for cell in cells])
    actual = np.array([place[cell[1]] for cell in cells])
    weight = np.array(list(cells.values()), np.float64)
    rows = np.arange(len(cells))
    more_right, more_said, more_true = (np.tile(v, (len(cells), 1)) for v in (right, said, true))
    step = min(1.0, n / 100)
    more_right[rows[predicted == actual], actual[predicted == actual]] += step
    more_said[rows, predicted] += step
    more_true[rows, actual] += step
    change = (of(more_right, more_said, more_true, n + step) - centre) * (n + step) / step
    change = np.where(np.isfinite(change), change, 0.0)
    variance = float((weight @ change**2) / n - ((weight @ change) / n) ** 2) / max(n - 1, 1)
    return answered(centre, interval(centre, few(variance, n, _LACKING), n), counts)


def _averaged(counts: Counts, average: str, label: str, which: int) -> Value:
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    label = label_of(label)
    cells = _cells(counts)
    if label:
        right = cells.get((label, label), 0)
        said = sum(n for (predicted, _), n in cells.items() if predicted == label)
        true = sum(n for (_, actual), n in cells.items() if actual == label)
        return _one_class(counts, label, right, said, true, which)
    if average == "micro":  # each record has one class: micro-averaged, all three are the accuracy
        return accuracy(counts)
    if average == "macro" and which < 2:
        return _macro(counts, cells, which)
    if average == "weighted" and which == 1:  # each class's recall by its share: the accuracy, too
        return accuracy(counts)
    return _smooth(counts, _average(average, which))


def _macro(counts: Counts, cells: dict[tuple[str, str], int], which: int, *, only_labels: bool = False) -> Value:
    """The mean of the classes' precisions or recalls; one that was never predicted, or never occurred, scores 0."""
    _, right, said, true = _vectors(cells)
    if only_labels:
        right, said, true = right[true > 0], said[true > 0], true[true > 0]
    trials = said if which == 0 else true
    weight = 1 / len(trials)
    parts = [(weight, int(r), int(t)) for r, t in zip(right, trials, strict=True) if t]
    return answered(float(_divide(right, trials).mean()), mover(parts), counts)


def _average(average: str, which: int) -> Of:
    """The averaged metric; a class that was never predicted, or never occurred, scores 0 as in scikit-learn."""
    if average not in AVERAGES:
        raise InputError(f"average={average!r}: there is {', '.join(AVERAGES)}")

    def of(right: Floats, said: Floats, true: Floats, n: Any) -> Floats:
        each = _each(right, said, true, which)
        if average == "weighted":
            return _divide((each * true).sum(-1), true.sum(-1))
        return _mean(each, (said + true) > 0)

    return of


def _each(right: Floats, said: Floats, true: Floats, which: int) -> Floats:
    if which == 2:
        return _divide(2 * right, said + true)
    return _divide(right, said if which == 0 else true)


def _one_class(counts: Counts, label: str, right: int, said: int, true: int, which: int) -> Value:
    trials = (said, true, said + true - right)[which]
    if trials <= 0:
        return undefined(f"the class {label!r} was {('never predicted', 'never the label', 'neither')[which]}", counts)
    if which < 2:
        return answered(right / trials, wilson(right, trials), counts, trials)
    low, high = wilson(right, trials)  # F1 = 2 J / (1 + J), J being right ÷ (predicted or actual)
    return answered(2 * right / (said + true), (2 * low / (1 + low), 2 * high / (1 + high)), counts, trials)


def _multilabel(counts: Counts, average: str, label: str, which: int) -> Value:
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    label = label_of(label)
    if average == "samples" and not label:
        return _sample_mean(counts, ("precision", "recall", "f1")[which])
    names = ("true_positive", "false_positive", "false_negative")
    cells = _cells(counts)
    classes = sorted({name for name, _ in cells})
    if not classes:
        return undefined("no class was predicted or occurred", counts)
    tp, fp, fn = (np.array([cells.get((c, cell), 0) for c in classes], np.float64) for cell in names)
    if label:
        at = classes.index(label) if label in classes else -1
        right, wrong, missed = (int(v[at]) if at >= 0 else 0 for v in (tp, fp, fn))
        return _one_class(counts, label, right, right + wrong, right + missed, which)
    if average == "micro":
        tp, fp, fn = (v.sum(keepdims=True) for v in (tp, fp, fn))
        weights = np.ones(1)
    elif average == "weighted":
        weights = (tp + fn) / max(float((tp + fn).sum()), 1.0)
    elif average == "macro":
        weights = np.full(len(classes), 1 / len(classes))
    else:
        raise InputError(f"average={average!r}: there is {', '.join(AVERAGES)}, samples")
    each = _each(tp, tp + fp, tp + fn, which)
    trials = (tp + fp, tp + fn, tp + fp + fn)[which]
    inner = _divide(tp, trials)
    slope = 1.0 if which < 2 else 2 / (1 + inner) ** 2
    variance = float((weights**2 * slope**2 * _divide(inner * (1 - inner), trials)).sum())
    centre = float(weights @ each)
    variance = few(variance, counts.tally("labelled"), _LACKING)
    return answered(centre, effective(centre, variance, float(trials.sum()) or 1.0), counts)


def _sample_mean(counts: Counts, name: str, scale: float = 1.0) -> Value:
    empty = unlabelled(counts)
    if empty is not None:
        return empty
    mean, variance = mean_of(counts, name)
    mean, variance = mean * scale, variance * scale**2
    return answered(mean, effective(mean, variance, counts.tally("labelled")), counts)


def _outcome(counts: Counts, name: str) -> Value:
    n = counts.tally(f"{name}_with_outcome")
    if n <= 0:
        return unlabelled(counts) or undefined(f"no {name} prediction has an outcome", counts)
    mean, variance = mean_of(counts, f"{name}_outcome", n)
    return answered(mean, student(mean, variance, n), counts, n)


def _share(counts: Counts, hits: int, trials: int) -> Value:
    return answered(hits / trials, wilson(hits, trials), counts, trials)


def _worth(counts: Counts, task: Task, *, mean: bool) -> Value:
    worth = {(label_of(predicted), label_of(actual)): value for predicted, actual, value in task.values}
    cells = _cells(counts)
    return classification.total_worth(
        [worth.get(cell, 0.0) for cell in cells], list(cells.values()), counts, task, mean=mean
    )  # fmt: skip


def _divide(a: Floats, b: Floats, otherwise: float = 0.0) -> Floats:
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    ratio: Floats = np.divide(a, b, out=np.full(a.shape, otherwise), where=b != 0)
    return ratio


def _mean(values: Floats, where: npt.NDArray[np.bool_]) -> Floats:
    """The mean over the classes that occur."""
    return _divide((values * where).sum(-1), where.sum(-1), math.nan)
