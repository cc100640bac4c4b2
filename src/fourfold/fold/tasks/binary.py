"""Binary tasks: a score against a label of 0 or 1, counted by score bin, decision and label."""

from __future__ import annotations

import numpy as np

from fourfold.counts.binning import bins_of
from fourfold.fold.columns import Plan
from fourfold.fold.numeric import choose_binning
from fourfold.fold.tasks.joined import Joined, Measured, at, delays

CHOSEN = ("",)
SCORE_BITS = 12  # finer than a column's: ranks within a bin are lost to AUC and average precision


def plan(records: Joined, known: Plan) -> Plan:
    """Fix the scores' binning from the first that are seen."""
    score = records.numbers("prediction")
    if "" not in known.binnings and np.isfinite(score).any():
        known = known.adding({"": choose_binning(score, SCORE_BITS)})
    return known


def measure(records: Joined, known: Plan, moment: int) -> Measured:
    """What is counted of each record; a label that is neither 0 nor 1 is invalid."""
    score, label = records.numbers("prediction"), records.numbers("label")
    threshold = records.task.threshold
    assert threshold is not None
    scored = ~records.flags("orphan") & np.isfinite(score)
    outcomes = records.outcomes(scored, (label == 0) | (label == 1))
    labelled = scored & (outcomes["labelled"] != 0)
    positive, decided = label == 1, score >= threshold
    probability = labelled & (score >= 0) & (score <= 1)
    with np.errstate(invalid="ignore"):
        epsilon = np.finfo(np.float64).eps
        clipped = np.clip(np.where(probability, score, 0.5), epsilon, 1 - epsilon)
        log_loss = at(-np.where(positive, np.log(clipped), np.log1p(-clipped)), probability)
        brier = at((np.where(probability, score, 0.0) - positive) ** 2, probability)
    counted = np.flatnonzero(scored)
    state = np.where(labelled, positive.astype(np.int64), 2)
    return Measured(
        "binary",
        {
            **outcomes,
            "true_positive": labelled & decided & positive,
            "false_positive": labelled & decided & ~positive,
            "false_negative": labelled & ~decided & positive,
            "true_negative": labelled & ~decided & ~positive,
            "not_probability": labelled & ~probability,
        },
        {"log_loss": log_loss, "log_loss_squared": log_loss**2, "brier": brier, "brier_squared": brier**2},
        counted,
        bins_of(score[counted], known.binning("", moment)) * 4 + state[counted],
        series=delays(records, labelled),
    )
