"""A binary task: predictions joined with their labels, counted by score bin, decision and label."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fourfold.binning import Binning, Floats, bins_of
from fourfold.counts import KINDS
from fourfold.fold.groups import Groups
from fourfold.fold.numeric import count_codes, counts_table, fold_numeric

TALLIES = {name: i for i, name in enumerate(KINDS["binary"].tallies)}
DELAY_BINNING = Binning(0.0, 60.0)  # delays are read within 0.8 % of (delay + a minute)
SCORE_BITS = 12  # finer than a column's: ranks within a bin are lost to AUC and average precision


def fold_binary(
    score: Floats, label: Floats, has_label: np.ndarray, expired: np.ndarray, orphan: np.ndarray,
    groups: Groups, threshold: float, binning: Binning,
) -> pa.Table:  # fmt: skip
    """The counts of joined records: one row a group, column "" and kind "binary".

    Args:
        score: the predictions' scores; NaN where there is none.
        label: the labels, 0 or 1; anything else is counted as invalid.
        has_label: whether a label that is not null has come in time.
        expired: whether a label came, but after the horizon.
        orphan: whether the record is a label whose key has no prediction.
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
    for name, mask in masks.items():
        tallies[:, TALLIES[name]] = np.bincount(groups.ids[mask], minlength=groups.size)

    proper = np.flatnonzero(joined & probability)
    p, y, ids = score[proper], label[proper], groups.ids[proper]
    epsilon = np.finfo(np.float64).eps
    clipped = np.clip(p, epsilon, 1 - epsilon)
    log_loss = -np.where(y == 1, np.log(clipped), np.log1p(-clipped))
    brier = (p - y) ** 2
    sums: Floats = np.column_stack(
        [
            np.bincount(ids, loss, minlength=groups.size).astype(np.float64)
            for loss in (log_loss, log_loss**2, brier, brier**2)
        ]
    )
    codes = bins_of(score[joined], binning) * 2 + positive[joined]
    bins, counts, sizes = count_codes(codes, groups.where(joined))
    return counts_table("", "binary", groups, tallies, sums, bins, counts, sizes, binning=binning.version)


def fold_delay(delay: Floats, joined: np.ndarray, groups: Groups, binning: Binning) -> pa.Table:
    """The counts of the labels' delays in seconds, column "delay", of the records that have a label."""
    return fold_numeric(delay[joined], None, groups.where(joined).used(), "delay", binning)
