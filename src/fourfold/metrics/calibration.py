"""The share of positives at each score, learned from records with a known outcome, and its uncertainty.

The log odds of a positive are a line in the log odds of the score (in the score itself, if scores are no
probabilities), and each group of neighbouring scores departs from the line by its own amount:

    logit p(score) = a + b · x + u(group),   and the share of a group whose line says p varies as Beta(κ p, κ (1 − p)).

The line is the logistic recalibration of Cox, Biometrika 45 (1958), 562–565 (as Platt's, 1999). A group's departure
comes from its outcomes plus κ records on the line (the mean of the beta's posterior: empirical Bayes, Morris, JASA 78
(1983), 47–55), so that groups with many records follow their outcomes and those with few the line; beyond the observed
scores the line goes on. Groups never span the threshold: records decided negative do not calibrate those decided
positive, else the many would pull the precision of the few. Isotonic regression (Zadrozny & Elkan, KDD 2002) pools
across the threshold and jumps between steps; bench/RESULTS.md shows the cost.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from fourfold.counts.binning import Floats, Ints

_GROUP, _MOST = 200, 60  # records in a group, and so many groups on each side of the threshold
_PRIOR = 50.0  # κ, in records; by simulation, as is the size of a group
_RIDGE = 1e-2  # on the line, whose x has a standard deviation of 1: against outcomes that are all of one class
_NEAREST = 1e-4  # to 0 and 1, of a score whose log odds are taken
_OUTSIDE = 0.02  # how far beyond 0 and 1 the middle of a bin of probabilities may lie
_STEPS = 30  # Newton's


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Shares of positives by score; ``drawn`` draws such shares from the posterior."""

    logistic: bool
    middle: float
    width: float
    line: Floats
    covariance: Floats  # of the line's two numbers
    starts: Floats  # the lowest score of each group
    places: Floats  # its mean score
    shares: Floats  # of positives in it
    departures: Floats  # from the line, in log odds
    sizes: Floats

    @classmethod
    def fit(cls, scores: Floats, labelled: Floats, threshold: float) -> Calibration:
        """From rising scores, and each score's number of negative and positive records (scores × 2)."""
        known = labelled.sum(1) > 0
        scores, positives, sizes = scores[known], labelled[known, 1], labelled[known].sum(1)
        logistic = bool(scores.min() > -_OUTSIDE and scores.max() < 1 + _OUTSIDE)
        x = _stretched(scores, logistic)
        middle = float(np.average(x, weights=sizes))
        width = float(np.sqrt(np.average((x - middle) ** 2, weights=sizes))) or 1.0
        design = _design((x - middle) / width)
        line = _fitted(design, sizes, positives)
        group = _groups(scores, sizes, threshold)
        expected = sizes * _expit(design @ line)
        n, said, came = (_added(group, column) for column in (sizes, expected, positives))
        said = np.clip(said / n, 1e-9, 1 - 1e-9)
        shares = (came + _PRIOR * said) / (n + _PRIOR)
        places = _added(group, sizes * scores) / n
        starts = scores[np.flatnonzero(np.diff(group, prepend=-1))]
        starts[np.searchsorted(starts, threshold) :][:1] = threshold  # the first group that is decided positive
        at = _design((_stretched(places, logistic) - middle) / width)
        information = (at * (_PRIOR * n / (n + _PRIOR) * shares * (1 - shares))[:, None]).T @ at
        covariance = np.linalg.inv(information + _RIDGE * np.eye(2)).astype(np.float64)
        return cls(logistic, middle, width, line, covariance, starts, places, shares, _logit(shares) - _logit(said), n)

    def __call__(self, scores: Floats) -> Floats:
        """The share of positives at each score."""
        return _expit(self._log_odds(scores))

    def drawn(self, scores: Floats, random: np.random.Generator, draws: int) -> Floats:
        """draws × scores: shares of positives from the posterior, of the line and of each group's departure."""
        group = np.clip(np.searchsorted(self.starts, scores, side="right") - 1, 0, len(self.starts) - 1)
        known = np.maximum(self.sizes, _PRIOR)  # for a group with few records, the line decides
        shares = random.beta(self.shares * known, (1 - self.shares) * known, (draws, len(known)))
        departures = _logit(shares) - _logit(self.shares)
        lines = random.multivariate_normal(np.zeros(2), self.covariance, draws) @ self._design(scores).T
        return _expit(self._log_odds(scores) + departures[:, group] + lines * (_PRIOR / (self.sizes + _PRIOR))[group])

    def _log_odds(self, scores: Floats) -> Floats:
        found: Floats = self._design(scores) @ self.line + np.interp(scores, self.places, self.departures)
        return found

    def _design(self, scores: Floats) -> Floats:
        return _design((_stretched(scores, self.logistic) - self.middle) / self.width)


def _fitted(design: Floats, sizes: Floats, positives: Floats) -> Floats:
    """The maximum-likelihood line, by Newton's method; a ridge keeps it level, near the overall share."""
    line = origin = np.array([_logit((positives.sum() + 0.5) / (sizes.sum() + 1)), 0.0])
    for _ in range(_STEPS):
        p = _expit(design @ line)
        slope = design.T @ (positives - sizes * p) - _RIDGE * (line - origin)
        curvature = (design * (sizes * p * (1 - p))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.clip(np.linalg.solve(curvature, slope), -2, 2)
        line = line + step
        if np.abs(step).max() < 1e-8:
            break
    return line


def _groups(scores: Floats, sizes: Floats, threshold: float) -> Ints:
    """The number of each score's group: on each side of the threshold groups of about as many records."""
    sides = np.split(sizes, [np.searchsorted(scores, threshold)])
    numbers = [equal_groups(side, int(np.clip(side.sum() // _GROUP, 1, _MOST))) for side in sides]
    _, group = np.unique(np.concatenate([numbers[0], numbers[1] + _MOST]), return_inverse=True)
    return group.astype(np.int64)


def equal_groups(sizes: Floats, many: int) -> Ints:
    """Neighbours put into groups of about as many records: the number of each one's group."""
    middle = np.cumsum(sizes) - sizes / 2
    return np.clip((middle / max(float(sizes.sum()), 1.0) * many).astype(np.int64), 0, many - 1)


def _added(group: Ints, column: Floats) -> Floats:
    return np.bincount(group, column).astype(np.float64)


def _stretched(scores: Floats, logistic: bool) -> Floats:
    return _logit(np.clip(scores, _NEAREST, 1 - _NEAREST)) if logistic else scores


def _design(x: Floats) -> Floats:
    return np.column_stack([np.ones_like(x), x])


def _logit(share: Floats) -> Floats:
    inside = np.clip(share, 1e-9, 1 - 1e-9)
    found: Floats = np.log(inside / (1 - inside))
    return found


def _expit(x: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(x, -700, 700)))
    return found
