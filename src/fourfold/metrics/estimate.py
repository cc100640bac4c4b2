"""Metrics of predictions that have no label yet, estimated from those that have.

A task's counts form a table: its rows are the *strata* (score bins, predicted classes), its columns the outcomes
(labels, residuals); beside it is each stratum's number of unlabelled predictions. Two estimators use it:

``expected``: nothing in the window is labelled. Each prediction is expected to turn out like those of its stratum in
settled windows; for a classification this is its calibrated confidence. Source: Guillory et al., "Predicting with
confidence on unseen distributions", ICCV 2021; for the calibration see ``calibration``. It assumes that only the
strata's shares have changed (no concept drift).

``post_stratified``: a part is labelled, not at random. Each labelled record represents its stratum (weight = all ÷
labelled). Source: Holt & Smith, J. R. Stat. Soc. A 142 (1979); effective sample size by Kish, Survey Sampling (1965).
It assumes that within a stratum records are labelled at random.

Both return counts, and ``value`` computes any metric of them. Its interval is for the final value of these records,
and its width depends on the metric: an accuracy is based on all settled records, a precision on the few that were
decided positive, whose share in the window differs once the inputs have shifted. So it draws from the predictive
distribution: the calibration from its posterior, the outcomes given the calibration, and the metric of them (Rubin,
The Annals of Statistics 12 (1984), 1151–1172). The metric's own interval is then computed for the number of records
at which it is as wide as the spread of the draws, the *effective* sample size of this metric, and widened to contain
95 % of the draws: a share of two records is 0, a half or 1, and a smooth interval may miss all three.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fourfold.counts import KINDS, OUTCOMES, Counts
from fourfold.counts.binning import Binning, Floats, Ints, bins_of
from fourfold.metrics.calibration import Calibration, equal_groups
from fourfold.metrics.classification import CELLS
from fourfold.metrics.intervals import Z
from fourfold.metrics.scores import states
from fourfold.metrics.tasks import OVERFLOW
from fourfold.model import Task, Value

KINDS_OF_TASK = ("binary", "multiclass", "regression")
SPAN, ZERO = 1 << 17, 1 << 16  # of the pairs of a regression: score bin × span + residual bin + zero; + 0: no label
RESIDUAL_BITS = 5
_STRATA, _PER_STRATUM = 10, 8  # at most so many strata of scores, and so many labels in each: few are less biased
_SETTLED = 30  # labels that are needed before, and in each group of a regression's scores
_GROUPS = 40  # of a regression's scores
_DRAWS = 50  # from the predictive distribution: their spread is known to within 10 %


@dataclasses.dataclass(frozen=True)
class Estimated:
    """The expected counts if all were labelled, worth ``effective`` records; or the reason why there are none.

    ``draws`` draws such counts, from which a metric's effective number of records is computed.
    """

    counts: Counts | None
    effective: float = 0.0
    reason: str = ""
    draws: Callable[[], Iterable[Counts]] = tuple


@dataclasses.dataclass(frozen=True)
class _Table:
    """Strata × outcomes: the number of labelled records, and of unlabelled ones per stratum.

    ``decided`` is the share decided positive in the threshold's bin, if known.
    """

    strata: list[float | str]  # scores (the bins' middles) in order, or classes
    outcomes: list[float | str]
    labelled: Floats
    unlabelled: Floats
    decided: float | None = None

    @property
    def all(self) -> Floats:
        total: Floats = self.labelled.sum(1) + self.unlabelled
        return total


def value(guess: Estimated, of: Callable[[Counts], Value], drift: float = 0.0) -> Value:
    """A metric of estimated counts, with an interval for its value once all labels are in.

    ``drift`` is the standard deviation of estimates' errors beyond sampling noise.
    """
    if guess.counts is None:
        return Value.no_data(guess.reason)
    found = of(guess.counts)
    if found.reason == OVERFLOW and any(map(math.isnan, guess.counts.sums)):  # NaN stands for what is not known
        return Value.no_data("no estimate: what this metric is made of cannot be expected of a prediction")
    if found.value is None or found.low is None or found.high is None:
        return found
    size = guess.counts.tally("predicted")
    half = (found.high - found.low) / 2
    drawn = [v for v in (of(counts).value for counts in guess.draws()) if v is not None]
    spread = float(np.std(drawn)) if drawn else half / Z * math.sqrt(size / guess.effective)
    spread = math.hypot(spread, drift)
    worth = size * (half / (Z * spread)) ** 2 if spread > 0 and half > 0 else guess.effective
    less = of(_scaled(guess.counts, worth / size))
    if less.value is None or less.low is None or less.high is None:
        return found
    grown = found.value / less.value if less.value else 1.0  # a total grows with the records, a mean does not
    ends = np.quantile(drawn or [found.value], (0.025, 0.975), method="nearest").tolist()
    return dataclasses.replace(found, low=min(grown * less.low, ends[0]), high=max(grown * less.high, ends[1]))


def expected(window: Counts, settled: Counts | None, task: Task, residuals: Binning | None = None) -> Estimated:
    """The window's expected counts, from the strata's outcomes in settled windows.

    ``residuals`` is the binning of a regression's residuals.
    """
    then = _table(settled, task, residuals) if settled is not None else None
    now = _table(window, task, residuals, then.decided if then is not None else None)
    size, seen = float(now.all.sum()), float(then.labelled.sum()) if then is not None else 0.0
    if size <= 0:
        return Estimated(None, reason="no predictions in this window")
    if then is None or seen < _SETTLED:
        return Estimated(None, reason=f"{seen:.0f} labels in settled windows before; {_SETTLED} are needed")
    if task.kind == "multiclass":
        known = {stratum for stratum, row in zip(then.strata, then.labelled, strict=True) if row.sum()}
        for stratum in now.strata:
            if stratum not in known:
                return Estimated(None, reason=f"the class {stratum!r} has no label in settled windows")
    table = dataclasses.replace(now, outcomes=then.outcomes)
    weights, draws = (_by_calibration if task.kind == "binary" else _by_strata)(now, then, task)

    def counted(weights: Floats) -> Counts:
        return _counts(table, weights, window, task)

    reason = f"expected from {seen:,.0f} labelled predictions before, assuming no concept drift"
    return Estimated(counted(weights), size, reason, lambda: map(counted, draws()))


Expectation = tuple[Floats, Callable[[], Iterator[Floats]]]  # tables of weights: the mean, and draws


def _by_calibration(now: _Table, then: _Table, task: Task) -> Expectation:
    """Negatives and positives of each score, by its calibration."""
    assert task.threshold is not None
    scores, sizes = np.array(now.strata, np.float64), now.all
    calibration = Calibration.fit(np.array(then.strata, np.float64), then.labelled, task.threshold)
    shares = calibration(scores)

    def draws() -> Iterator[Floats]:
        random = np.random.default_rng(0)
        for drawn in calibration.drawn(scores, random, _DRAWS):
            positives = random.binomial(sizes.astype(np.int64), drawn)
            yield np.column_stack([sizes - positives, positives])

    return np.column_stack([sizes * (1 - shares), sizes * shares]), draws


def _by_strata(now: _Table, then: _Table, task: Task) -> Expectation:
    """Outcomes of each class, or of each score from its neighbours, by their shares; the draws are Dirichlet."""
    sizes = now.all
    if task.kind == "multiclass":
        before = then.labelled[[then.strata.index(stratum) for stratum in now.strata]]
        weights, nearest = sizes[:, None] * before / before.sum(1, keepdims=True), np.arange(len(sizes))
    else:
        scores, old = np.array(now.strata, np.float64), np.array(then.strata, np.float64)
        places, before = _neighbours(old, then.labelled)
        known = before / before.sum(1, keepdims=True)
        shares = np.column_stack([np.interp(scores, places, column) for column in known.T])
        weights, nearest = sizes[:, None] * shares, np.abs(scores[:, None] - places).argmin(1)
    many = np.bincount(nearest, sizes, len(before)).astype(np.int64)
    prior = then.labelled.sum(0) / then.labelled.sum()  # one record, as all are: what did not occur is not impossible

    def draws() -> Iterator[Floats]:
        random = np.random.default_rng(0)
        for _ in range(_DRAWS):
            shares = random.standard_gamma(before + prior)
            yield random.multinomial(many, shares / shares.sum(1, keepdims=True)).astype(np.float64)

    return weights, draws


def _neighbours(scores: Floats, labelled: Floats) -> tuple[Floats, Floats]:
    """Scores in groups of about equally many labels: each group's mean score, and its outcomes."""
    size = labelled.sum(1)
    group = equal_groups(size, int(np.clip(size.sum() // _SETTLED, 1, _GROUPS)))
    _, group = np.unique(group[size > 0], return_inverse=True)
    outcomes = np.column_stack([np.bincount(group, column[size > 0]) for column in labelled.T])
    places: Floats = np.bincount(group, (size * scores)[size > 0]) / outcomes.sum(1)
    return places, outcomes.astype(np.float64)


def post_stratified(slices: Mapping[str, Counts], task: Task, residuals: Binning | None = None) -> Estimated:
    """The window's counts with each labelled record weighted by the number it represents.

    ``slices`` are the window's counts by the values of one dimension (or of all records, under one name); within each
    the strata are groups of scores, or predicted classes.
    """
    pieces: list[tuple[_Table, Floats, float]] = []
    for name, counts in slices.items():
        table = _table(counts, task, residuals)
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
        _counts(table, table.labelled * weight[:, None], counts, task)
        for (table, weight, _), counts in zip(pieces, slices.values(), strict=True)
    ]
    return Estimated(_added(parts), worth, f"effective sample size {worth:,.0f}, assuming that within a stratum it is "
                                           "chance which predictions have a label")  # fmt: skip


def _weights(table: _Table) -> Floats | str:
    """Each stratum's weight: all ÷ labelled in its group; or the name of a group without a label."""
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
    group = equal_groups(labelled, groups)
    here, whole = np.bincount(group, labelled, groups), np.bincount(group, everyone, groups)
    if (whole[here == 0] > 0).any():
        return "a group of scores"
    shared: Floats = np.divide(whole, here, out=np.zeros(groups), where=here > 0)[group]
    return shared


def _table(counts: Counts, task: Task, residuals: Binning | None, decided: float | None = None) -> _Table:
    if counts.kind == "binary":
        return _split(counts, task, decided)
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


def _split(counts: Counts, task: Task, decided: float | None) -> _Table:
    """A binary task's table, with the threshold's bin split into two strata.

    The exact tallies say how many of that bin's labelled records are decided positive; its other records have the same
    share, or ``decided``, or if nothing is known, as if spread evenly over the bin.
    """
    assert counts.binning is not None and task.threshold is not None
    bins, (negatives, positives, none) = states(counts)
    labelled, scores = np.column_stack([negatives, positives]), counts.binning.middles(bins)
    threshold = bins_of(np.array([task.threshold]), counts.binning)[0]
    place = int(np.searchsorted(bins, threshold))
    if place == len(bins) or bins[place] != threshold:
        return _Table(scores.tolist(), [0.0, 1.0], labelled, none, decided)
    lower, upper = (float(edge[0]) for edge in counts.binning.edges(bins[place : place + 1]))
    exact = np.array([counts.tally("false_positive"), counts.tally("true_positive")])
    above = np.clip(exact - labelled[place + 1 :].sum(0), 0.0, labelled[place])
    if labelled[place].sum():
        decided = float(above.sum() / labelled[place].sum())
    share = (upper - task.threshold) / (upper - lower) if decided is None else decided
    sides = min((lower + task.threshold) / 2, math.nextafter(task.threshold, -math.inf)), (task.threshold + upper) / 2
    return _Table(
        [*scores[:place].tolist(), *sides, *scores[place + 1 :].tolist()],
        [0.0, 1.0],
        np.concatenate([labelled[:place], [labelled[place] - above, above], labelled[place + 1 :]]),
        np.concatenate([none[:place], none[place] * np.array([1 - share, share]), none[place + 1 :]]),
        decided,
    )


def _counts(table: _Table, weights: Floats, like: Counts, task: Task) -> Counts:
    """A table of weights as the counts of a task whose predictions are all labelled."""
    total = float(weights.sum())
    tallies: dict[str, float] = dict.fromkeys(KINDS[like.kind].tallies, math.nan)  # what the table does not tell
    sums = dict.fromkeys(KINDS[like.kind].sums, math.nan)
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
        pairs = [(table.strata[i], table.outcomes[j]) for i, j in zip(*np.nonzero(weights), strict=True)]
        labels, flat = [json.dumps(pair, ensure_ascii=False) for pair in pairs], weights[np.nonzero(weights)]
        tallies["correct"] = float(sum(w for (said, came), w in zip(pairs, flat, strict=True) if said == came))
    else:
        error, flat = np.array(table.outcomes, np.float64), weights.sum(0)
        above, below = np.maximum(error, 0), np.maximum(-error, 0)
        for name, side in (("above", above), ("below", below)):
            sums[name], sums[f"{name}_squared"] = float(flat @ side), float(flat @ side**2)
        sums["error_fourth"] = float(flat @ error**4)
        tallies["zero_actual"] = 0.0  # of no percentage: their sums are not told either
        flat = np.zeros(0)
    shares: Any = [tallies[name] for name in KINDS[like.kind].tallies], flat  # no whole numbers: they are expectations
    return Counts(
        like.kind, shares[0], list(sums.values()), like.low, like.high, bins, labels, shares[1], np.zeros(0, np.int64),
        like.binning,
    )  # fmt: skip


def _scaled(counts: Counts, factor: float) -> Counts:
    scaled: Any = [tally * factor for tally in counts.tallies], counts.counts * factor  # no whole numbers either
    return dataclasses.replace(
        counts, tallies=scaled[0], sums=[total * factor for total in counts.sums], counts=scaled[1]
    )


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
