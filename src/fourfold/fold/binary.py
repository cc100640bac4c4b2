"""A binary task: predictions joined with their labels, counted by score bin, decision and label."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fourfold.binning import Binning, Floats, Ints, bins_of
from fourfold.counts import KINDS, add, negate
from fourfold.fold.groups import Groups
from fourfold.fold.numeric import count_codes, counts_table, fold_numeric

TALLIES = {name: i for i, name in enumerate(KINDS["binary"].tallies)}
DELAY_BINNING = Binning(0.0, 60.0)  # delays are read within 0.8 % of (delay + a minute)
SCORE_BITS = 12  # finer than a column's: ranks within a bin are lost to AUC and average precision


def fold_binary(
    score: Floats, label: Floats, has_label: np.ndarray, expired: np.ndarray, orphan: np.ndarray,
    sign: Ints, groups: Groups, threshold: float, binning: Binning,
) -> pa.Table:  # fmt: skip
    """The counts of joined records: one row a group, column "" and kind "binary".

    Args:
        score: the predictions' scores; NaN where there is none.
        label: the labels, 0 or 1; anything else is counted as invalid.
        has_label: whether a label that is not null has come in time.
        expired: whether a label came, but after the horizon.
        orphan: whether the record is a label whose key has no prediction.
        sign: +1 for records to count, −1 for those to take back.
        groups: the slice and bucket of each record, by its prediction's event time.
        threshold: a score at or above it decides "positive".
        binning: of the scores.
    """
    predicted = ~orphan
    scored = predicted & np.isfinite(score)
    valid = has_label & ((label == 0) | (label == 1))
    joined = scored & valid
    positive, decided = label == 1, score >= threshold
    probability = (score >= 0) & (score <= 1)
    masks = {
        "predicted": predicted,
        "labelled": joined,
        "true_positive": joined & decided & positive,
        "false_positive": joined & decided & ~positive,
        "false_negative": joined & ~decided & positive,
        "true_negative": joined & ~decided & ~positive,
        "unscored": predicted & ~scored,
        "invalid_label": predicted & has_label & ~valid,
        "expired": predicted & expired,
        "orphan": orphan,
        "not_probability": joined & ~probability,
    }
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    added, taken = sign > 0, sign < 0
    for name, mask in masks.items():
        tallies[:, TALLIES[name]] = _tally(groups, mask & added) - _tally(groups, mask & taken)

    proper = np.flatnonzero(joined & probability)
    p, y, ids = score[proper], label[proper], groups.ids[proper]
    epsilon = np.finfo(np.float64).eps
    clipped = np.clip(p, epsilon, 1 - epsilon)
    log_loss = -np.where(y == 1, np.log(clipped), np.log1p(-clipped))
    brier = (p - y) ** 2
    sums: Floats = np.column_stack(
        [
            np.bincount(ids, loss * sign[proper], minlength=groups.size).astype(np.float64)
            for loss in (log_loss, log_loss**2, brier, brier**2)
        ]
    )
    bins, counts, sizes = _signed_bins(score, positive, joined, added, taken, groups, binning)
    return counts_table("", "binary", groups, tallies, sums, bins, counts, sizes, binning=binning.version)


def fold_delay(delay: Floats, joined: np.ndarray, sign: Ints, groups: Groups, binning: Binning) -> pa.Table:
    """The counts of the labels' delays in seconds, column "delay", of the records that have a label."""
    parts = []
    for mask, taken in ((joined & (sign > 0), False), (joined & (sign < 0), True)):
        if mask.any():
            table = fold_numeric(delay[mask], None, groups.where(mask).used(), "delay", binning)
            parts.append(negate(table) if taken else table)
    return add(*parts)


def _tally(groups: Groups, mask: np.ndarray) -> Ints:
    return np.bincount(groups.ids[mask], minlength=groups.size)


def _signed_bins(
    score: Floats, positive: np.ndarray, joined: np.ndarray, added: np.ndarray, taken: np.ndarray,
    groups: Groups, binning: Binning,
) -> tuple[Ints, Ints, Ints]:  # fmt: skip
    """Score bin × 2 + label, with signed counts per group."""
    parts = []
    for mask, sign in ((joined & added, 1), (joined & taken, -1)):
        codes = bins_of(score[mask], binning) * 2 + positive[mask]
        bins, counts, sizes = count_codes(codes, groups.where(mask))
        parts.append((np.repeat(np.arange(groups.size), sizes), bins, counts * sign))
    group, bins, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((bins, group))
    group, bins, counts = group[order], bins[order], counts[order]
    if not len(bins):
        return bins, counts, np.zeros(groups.size, np.int64)
    starts = np.concatenate(([0], np.flatnonzero((bins[1:] != bins[:-1]) | (group[1:] != group[:-1])) + 1))
    counts = np.add.reduceat(counts, starts)
    kept = counts != 0
    return bins[starts][kept], counts[kept], np.bincount(group[starts][kept], minlength=groups.size)
