"""Regression tasks: a number against a number, counted by the residual."""

from __future__ import annotations

import dataclasses

import numpy as np

from fourfold.counts.binning import Binning, Floats, Ints, bins_of
from fourfold.fold.columns import Plan
from fourfold.fold.numeric import ABSURD, choose_binning
from fourfold.fold.tasks.joined import Joined, Mask, Measured, at, delays

CHOSEN = ("", "residual", "absolute_error")
SCORE_BITS, RESIDUAL_BITS = 3, 5  # of the pairs that estimates are made from
RESIDUAL_SPAN, RESIDUAL_ZERO = 1 << 17, 1 << 16  # a pair is score bin × span + residual bin + zero; + 0: no label


def plan(records: Joined, known: Plan) -> Plan:
    """Fix the binnings from the first values that are seen."""
    predicted, actual, labelled = _values(records)
    found = {"": (predicted[np.isfinite(predicted)], SCORE_BITS)}
    if labelled.any():
        with np.errstate(over="ignore"):
            residual = actual[labelled] - predicted[labelled]
        found |= {"residual": (residual, 6), "absolute_error": (np.abs(residual), 6)}
    new = {
        name: choose_binning(values[np.abs(values) < ABSURD], bits)
        for name, (values, bits) in found.items()
        if name not in known.binnings and len(values)
    }
    return known.adding(new)


def measure(records: Joined, known: Plan, moment: int) -> Measured:
    """What is counted of each record; a prediction or label that is not finite is unusable."""
    predicted, actual, labelled = _values(records)
    scored = ~records.flags("orphan") & np.isfinite(predicted)
    outcomes = records.outcomes(scored, np.isfinite(actual))
    with np.errstate(invalid="ignore", over="ignore"):
        error = at(actual - predicted, labelled)
        truth = at(actual, labelled)
        scale = known.binning("", moment)
        t = at((truth - scale.centre) / scale.scale, labelled)
        absolute, squared = np.abs(error), error**2
        zero = labelled & (truth == 0)
        percentage = at(absolute / np.where(truth == 0, 1.0, np.abs(truth)), labelled & ~zero)
        size = np.abs(truth) + np.abs(at(predicted, labelled))
        symmetric = at(2 * absolute / np.where(size == 0, 1.0, size), labelled)
        above, below = np.maximum(error, 0.0), np.maximum(-error, 0.0)
        sums = {
            "above": above, "above_squared": above**2, "below": below, "below_squared": below**2,
            "error_fourth": squared**2, "t": t, "t2": t**2, "t3": t**3, "t4": t**4, "error2_t": squared * t,
            "error2_t2": squared * t**2, "percentage": percentage, "percentage_squared": percentage**2,
            "symmetric": symmetric, "symmetric_squared": symmetric**2,
        }  # fmt: skip
        magnitudes = absolute, np.abs(t), percentage
    counted = np.flatnonzero(scored)
    residual_bin = bins_of(error[counted], coarse(known.binning("residual", moment))) + RESIDUAL_ZERO
    codes = bins_of(predicted[counted], known.binning("", moment)) * RESIDUAL_SPAN
    return Measured(
        "regression",
        {**outcomes, "zero_actual": zero},
        sums,
        counted,
        codes + np.where(labelled[counted], residual_bin, 0),
        series={
            "residual": (error, labelled),
            "absolute_error": (absolute, labelled),
            **delays(records, labelled),
        },
        magnitudes=magnitudes,
    )


def coarse(binning: Binning) -> Binning:
    """The residual's binning as it is used in pairs."""
    return dataclasses.replace(binning, bits=RESIDUAL_BITS)


def residuals(codes: Ints) -> tuple[Ints, Ints, Mask]:
    """Of pairs the score bin, the residual bin, and whether there is a label."""
    score, residual = np.divmod(codes, RESIDUAL_SPAN)
    return score, residual - RESIDUAL_ZERO, residual != 0


def _values(records: Joined) -> tuple[Floats, Floats, Mask]:
    predicted, actual = records.numbers("prediction"), records.numbers("label")
    return predicted, actual, records.in_time & np.isfinite(predicted) & np.isfinite(actual)
