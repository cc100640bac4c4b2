"""The maturity of a window: the share of its labels still expected, from the label delays so far.

Predictions without a label are not left out, which would underestimate the delays: they are censored observations, as
in Kaplan & Meier, JASA 53 (1958), 457–481.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from fourfold.counts.binning import Floats


@dataclasses.dataclass(frozen=True)
class LabelCurve:
    """F(t), the probability that a label comes within t seconds of its prediction; a step function."""

    delays: Floats
    arrived: Floats  # F at each of the delays

    def at(self, ages: Floats) -> Floats:
        """F at some ages."""
        place = np.searchsorted(self.delays, ages, side="right")
        values: Floats = np.concatenate(([0.0], self.arrived))[place]
        return values

    def awaited(self, open_predictions: Floats, ages: Floats, horizon: float) -> Floats:
        """How many of the unlabelled predictions of some ages will get a label within the horizon."""
        now, end = self.at(np.minimum(ages, horizon)), float(self.at(np.array([horizon]))[0])
        left = 1 - now
        chance = np.divide(np.maximum(end - now, 0.0), left, out=np.zeros_like(now), where=left > 1e-12)
        expected: Floats = open_predictions * chance
        return expected


def kaplan_meier(delays: Floats, labelled: Floats, ages: Floats, unlabelled: Floats) -> LabelCurve:
    """The curve from the labels so far (a number per delay) and the unlabelled predictions (a number per age).

    >>> curve = kaplan_meier(np.array([10.0, 20.0]), np.array([6.0, 2.0]), np.array([15.0]), np.array([2.0]))
    >>> curve.at(np.array([5.0, 10.0, 20.0])).tolist()
    [0.0, 0.6, 1.0]
    """
    times, where = np.unique(delays, return_inverse=True)
    events = np.bincount(where, labelled, len(times)) if len(times) else np.zeros(0)
    later = np.cumsum(events[::-1])[::-1]
    order = np.argsort(ages)
    censored = np.concatenate((np.cumsum(unlabelled[order][::-1])[::-1], [0.0]))
    at_risk = later + censored[np.searchsorted(ages[order], times, side="left")]
    hazard = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    return LabelCurve(times, 1 - np.cumprod(1 - hazard))
