"""Metrics of predictions that have no label yet, estimated from those that have.

A task's counts are taken as a table: in the rows the *strata* (a score bin, a predicted class), in the columns the
outcomes (a label, a residual), and beside it how many predictions of each stratum have no label. Two ways lead from
what is labelled to what is not:

``expected``: nothing in the window is labelled. Each prediction is taken to turn out as those of its stratum did in
settled windows: for a classification this is its calibrated confidence. Source: Guillory et al., "Predicting with
confidence on unseen distributions", ICCV 2021; calibration by isotonic regression (Zadrozny & Elkan, KDD 2002).
It assumes that nothing has changed but the strata's shares (no concept drift).

``post_stratified``: a part is labelled, and which part is no accident. Each labelled record stands for all of its
stratum (weight = all ÷ labelled). Source: Holt & Smith, J. R. Stat. Soc. A 142 (1979); effective sample size by Kish,
Survey Sampling (1965). It assumes that within a stratum it is chance which records have a label.

Both give counts, of which every metric can be asked; they are scaled to the sample size that they are worth.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fourfold.binning import Binning, Floats, Ints, bins_of
from fourfold.counts import KINDS, OUTCOMES, Counts
from fourfold.metrics.classification import CELLS, states
from fourfold.model import Task

KINDS_OF_TASK = ("binary", "multiclass", "regression")
SPAN, ZERO = 1 << 17, 1 << 16  # of the pairs of a regression: score bin × span + residual bin + zero; + 0: no label
RESIDUAL_BITS = 5
_STRATA, _PER_STRATUM = 10, 8  # at most so many strata of scores, and so many labels in each: few are less biased
_SETTLED = 30  # labels that a calibration needs, and each of its points
_CALIBRATION = 40


@dataclasses.dataclass(frozen=True)
class Estimated:
    """Counts as they would be, were all labelled, scaled to ``effective`` records; or the reason why there are none."""

    counts: Counts | None
    effective: float = 0.0
    reason: str = ""
    residuals: Binning | None = None


@dataclasses.dataclass(frozen=True)
class _Table:
    """Strata × outcomes: how many records are labelled, and how many of each stratum are not."""

    strata: list[float | str]  # scores (the bins' middles) in order, or classes
    outcomes: list[float | str]
    labelled: Floats
    unlabelled: Floats

    @property
    def all(self) -> Floats:
        total: Floats = self.labelled.sum(1) + self.unlabelled
        return total


def expected(window: Counts, settled: Counts, task: Task, residuals: Binning | None = None) -> Estimated:
    """The window's counts as the strata's outcomes in settled windows make them expected.

    ``residuals`` is the binning of a regression's residuals.
    """
    now, then = _table(window, residuals), _table(settled, residuals)
    seen = float(then.labelled.sum())
    size = float(now.all.sum())
    if size <= 0:
        return Estimated(None, reason="no predictions in this window")
    if seen < _SETTLED:
        return Estimated(None, reason=f"{seen:.0f} labels in settled windows before; {_SETTLED} are needed")
    if task.kind == "multiclass":
        known = {stratum: row / row.sum() for stratum, row in zip(then.strata, then.labelled, strict=True) if row.sum()}
        new = [stratum for stratum in now.strata if stratum not in known]
        if new:
            return Estimated(None, reason=f"the class {new[0]!r} has no label in settled windows")
        shares = np.array([known[stratum] for stratum in now.strata])
    else:
        scores, old = np.array(now.strata, np.float64), np.array(then.strata, np.float64)
        shares = _calibrated(scores, old, then.labelled, monotone=task.kind == "binary")
    weights = now.all[:, None] * shares
    worth = 1 / (1 / size + 1 / seen)
    found = _counts(dataclasses.replace(now, outcomes=then.outcomes), weights * (worth / size), window, task, residuals)
    return Estimated(found, worth, f"expected from {seen:,.0f} labelled predictions before, assuming no concept drift")


def post_stratified(slices: Mapping[str, Counts], task: Task, residuals: Binning | None = None) -> Estimated:
    """The window's counts with each labelled record weighted by what it stands for.

    ``slices`` are the window's counts by the values of one dimension (or of all records, under one name); within each
    the strata are groups of scores, or predicted classes.
    """
    pieces: list[tuple[_Table, Floats, float]] = []
    for name, counts in slices.items():
        table = _table(counts, residuals)
        weight = _weights(table)
        if isinstance(weight, str):
            where = f" of {name}" if len(slices) > 1 else ""
            return Estimated(None, reason=f"no estimate: {weight}{where} has no label")
        pieces.append((table, weight, float(table.all.sum())))
    total = sum(size for _, _, size in pieces)
    if not total:
        return Estimated(None, reason="no predictions in this window")
    squares = sum(float((weight**2 * table.labelled.sum(1)).sum()) for table, weight, _ in pieces)
    worth = total**2 / squares if squares else 0.0
    if not worth:
        return Estimated(None, reason="no estimate: nothing has a label")
    parts = [
        _counts(table, table.labelled * weight[:, None] * (worth / total), counts, task, residuals)
        for (table, weight, _), counts in zip(pieces, slices.values(), strict=True)
    ]
    return Estimated(_added(parts), worth, f"effective sample size {worth:,.0f}, assuming that within a stratum it is "
                                           "chance which predictions have a label")  # fmt: skip


def _weights(table: _Table) -> Floats | str:
    """Each stratum's weight: all ÷ labelled in its group; or the name of a group that has no label."""
    labelled, everyone = table.labelled.sum(1), table.all
    if table.strata and isinstance(table.strata[0], str):
        for stratum, here, whole in zip(table.strata, labelled, everyone, strict=True):
            if whole and not here:
                return f"the class {stratum!r}"
        weight: Floats = np.divide(everyone, labelled, out=np.zeros_like(labelled), where=labelled > 0)
        return weight
    total = float(labelled.sum())
    if not total:
        return "a slice" if everyone.sum() else np.zeros_like(labelled)
    groups = int(np.clip(total // _PER_STRATUM, 1, _STRATA))
    middle = np.cumsum(labelled) - labelled / 2
    group = np.clip((middle / total * groups).astype(np.int64), 0, groups - 1)
    here, whole = np.bincount(group, labelled, groups), np.bincount(group, everyone, groups)
    if (whole[here == 0] > 0).any():
        return "a group of scores"
    shared: Floats = np.divide(whole, here, out=np.zeros(groups), where=here > 0)[group]
    return shared


def _calibrated(scores: Floats, old: Floats, labelled: Floats, *, monotone: bool) -> Floats:
    """The outcomes' shares at some scores, from those at others: means of neighbours, with lines between."""
    size = labelled.sum(1)
    total = float(size.sum())
    groups = int(np.clip(total // _SETTLED, 1, _CALIBRATION))
    group = np.clip(((np.cumsum(size) - size / 2) / total * groups).astype(np.int64), 0, groups - 1)
    weight = np.bincount(group, size, groups)
    used = weight > 0
    place = (np.bincount(group, size * old, groups)[used]) / weight[used]
    shares = np.column_stack([np.bincount(group, column, groups)[used] / weight[used] for column in labelled.T])
    if monotone:
        rising = _isotonic(shares[:, 1], weight[used].astype(np.float64))
        shares = np.column_stack([1 - rising, rising])
    found = np.column_stack([np.interp(scores, place, column) for column in shares.T])
    proper: Floats = found / found.sum(1, keepdims=True)
    return proper


def _isotonic(values: Floats, weights: Floats) -> Floats:
    """The nearest rising sequence: pool adjacent violators (Ayer et al., Ann. Math. Stat. 26, 1955)."""
    blocks: list[list[float]] = []  # value, weight, how many
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            upper, lower = blocks.pop(), blocks.pop()
            both = upper[1] + lower[1]
            blocks.append([(upper[0] * upper[1] + lower[0] * lower[1]) / both, both, upper[2] + lower[2]])
    return np.repeat([block[0] for block in blocks], [int(block[2]) for block in blocks])


def _table(counts: Counts, residuals: Binning | None) -> _Table:
    assert counts.binning is not None or counts.kind == "multiclass"
    if counts.kind == "binary":
        assert counts.binning is not None
        bins, (negatives, positives, none) = states(counts)
        return _Table(counts.binning.middles(bins).tolist(), [0.0, 1.0], np.column_stack([negatives, positives]), none)
    if counts.kind == "multiclass":
        cells = [(json.loads(text), n) for text, n in zip(counts.labels, counts.counts.tolist(), strict=True)]
        strata: list[float | str] = sorted({cell[0] for cell, _ in cells})
        outcomes: list[float | str] = sorted({cell[1] for cell, _ in cells if len(cell) > 1})
        labelled, none = np.zeros((len(strata), len(outcomes))), np.zeros(len(strata))
        for cell, n in cells:
            if len(cell) > 1:
                labelled[strata.index(cell[0]), outcomes.index(cell[1])] += n
            else:
                none[strata.index(cell[0])] += n
        return _Table(strata, outcomes, labelled, none)
    assert counts.binning is not None and residuals is not None
    score, residual = np.divmod(counts.bins, SPAN)
    bins, row = np.unique(score, return_inverse=True)
    present = residual != 0
    errors, column = np.unique(residual[present] - ZERO, return_inverse=True)
    labelled = np.zeros((len(bins), len(errors)))
    np.add.at(labelled, (row[present], column), counts.counts[present])
    none = np.bincount(row[~present], counts.counts[~present], len(bins)).astype(np.float64)
    middles = dataclasses.replace(residuals, bits=RESIDUAL_BITS).middles(errors)
    return _Table(counts.binning.middles(bins).tolist(), middles.tolist(), labelled, none)


def _counts(table: _Table, weights: Floats, like: Counts, task: Task, residuals: Binning | None) -> Counts:
    """A table of weights as the counts of a task, in which every prediction has a label."""
    total = float(weights.sum())
    tallies: dict[str, float] = dict.fromkeys(KINDS[like.kind].tallies, 0.0)
    sums = dict.fromkeys(KINDS[like.kind].sums, 0.0)
    tallies |= {"predicted": total, "labelled": total}
    bins: Ints = np.zeros(0, np.int64)
    labels: list[str] = []
    if like.kind == "binary":
        assert like.binning is not None and task.threshold is not None
        score = np.array(table.strata, np.float64)
        negatives, positives = weights.T
        decided = score >= task.threshold
        cells = (positives[decided], negatives[decided], positives[~decided], negatives[~decided])
        tallies |= {name: float(cell.sum()) for name, cell in zip(CELLS, cells, strict=True)}
        tallies["not_probability"] = float(weights[(score < -1e-3) | (score > 1 + 1e-3)].sum())
        p = np.clip(score, 1e-15, 1 - 1e-15)
        for name, losses in (("log_loss", (-np.log1p(-p), -np.log(p))), ("brier", (p**2, (1 - p) ** 2))):
            sums[name] = float(negatives @ losses[0] + positives @ losses[1])
            sums[f"{name}_squared"] = float(negatives @ losses[0] ** 2 + positives @ losses[1] ** 2)
        codes = bins_of(score, like.binning) * 4
        bins, flat = np.concatenate([codes, codes + 1]), np.concatenate([negatives, positives])
    elif like.kind == "multiclass":
        labels = [json.dumps([s, o], ensure_ascii=False) for s in table.strata for o in table.outcomes]
        flat = weights.ravel()
        tallies["correct"] = float(
            sum(w for s, row in zip(table.strata, weights, strict=True)
            for o, w in zip(table.outcomes, row, strict=True) if s == o)
        )  # fmt: skip
    else:
        error, flat = np.array(table.outcomes, np.float64), weights.sum(0)
        above, below = np.maximum(error, 0), np.maximum(-error, 0)
        for name, side in (("above", above), ("below", below)):
            sums[name], sums[f"{name}_squared"] = float(flat @ side), float(flat @ side**2)
        sums["error_fourth"] = float(flat @ error**4)
        flat = np.zeros(0)
    shares: Any = [tallies[name] for name in KINDS[like.kind].tallies], flat  # no whole numbers: they are expectations
    return Counts(
        like.kind, shares[0], list(sums.values()), like.low, like.high, bins, labels, shares[1], np.zeros(0, np.int64),
        like.binning,
    )  # fmt: skip


def _added(parts: Sequence[Counts]) -> Counts:
    head = parts[0]
    if len(parts) == 1:
        return head
    return dataclasses.replace(
        head,
        tallies=[sum(column) for column in zip(*(p.tallies for p in parts), strict=True)],
        sums=[sum(column) for column in zip(*(p.sums for p in parts), strict=True)],
        bins=np.concatenate([p.bins for p in parts]),
        labels=[label for p in parts for label in p.labels],
        counts=np.concatenate([p.counts for p in parts]),
    )


assert OUTCOMES[:2] == ("predicted", "labelled")
