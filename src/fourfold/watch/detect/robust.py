"""Robust statistics along the last axis, of many series at once; NaN is a value that is not there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fourfold.counts.binning import Floats, Ints

Flags = npt.NDArray[np.bool_]
Grid = npt.NDArray[np.floating]  # of single precision, where there are many
CONSISTENT = 1.4826  # a normal distribution's standard deviation, in median absolute deviations


def median(values: Grid) -> Floats:
    """The median of each row's values; NaN of a row without any."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan, dtype=values.dtype)
    ordered = np.sort(values, axis=-1)  # NaN comes last
    n = count(values)
    lower, upper = np.maximum(n - 1, 0) // 2, np.minimum(n // 2, values.shape[-1] - 1)
    pair = [np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0] for place in (lower, upper)]
    return np.asarray((pair[0] + pair[1]) / 2)


def count(values: Grid) -> Ints:
    """How many values each row has."""
    return np.asarray(np.count_nonzero(~np.isnan(values), axis=-1))


def spread(values: Grid) -> Floats:
    """The standard deviation about 0 of each row, from the median of the absolute values."""
    return np.asarray(CONSISTENT * median(np.abs(values)))


def normal_score(z: Floats, freedom: Floats) -> Floats:
    """Of values of a t distribution, the standard normal value that is as improbable.

    Source: Wallace, Bounds on normal approximations to Student's and the chi-square distributions, Annals of
    Mathematical Statistics 30 (1959), 1121-1130.
    """
    factor = (8 * freedom + 1) / (8 * freedom + 3)
    return np.asarray(np.sign(z) * factor * np.sqrt(freedom * np.log1p(z * z / freedom)))


def log_tail(score: Floats) -> Floats:
    """The logarithm of the probability that a standard normal variable exceeds a score; within 1.5 % above 0.

    Source: the bound of Sampford (Annals of Mathematical Statistics 24, 1953) and Birnbaum, with 8/pi so that it is
    exact at 0.
    """
    positive = np.maximum(score, 0)
    return np.asarray(-(positive**2) / 2 - np.log(np.sqrt(np.pi / 2) * (positive + np.sqrt(positive**2 + 8 / np.pi))))
