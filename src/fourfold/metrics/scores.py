"""Positives and negatives by score bin, of one window and slice or of many at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fourfold.counts import Counts, Panel
from fourfold.counts.binning import Floats, Ints

_LISTED = 1 << 16  # bins whose middles are computed once for all rows


@dataclasses.dataclass(frozen=True, slots=True)
class Scores:
    """Rows of a panel × score bins, from the lowest score up: the bin (or any other, if both numbers are zero)."""

    rows: Ints
    bins: npt.NDArray[np.int32]
    positives: Floats
    negatives: Floats


def score_blocks(panel: Panel) -> Iterator[Scores]:
    """The score bins of all rows, in blocks."""
    for block in panel.blocks():
        state = block.bins & 3
        negatives, positives = block.counts * (state == 0), block.counts * (state == 1)
        # a bin's negatives come right before its positives; bring the two together
        same = (block.bins[:, 1:] - block.bins[:, :-1] == 1) & (state[:, :-1] == 0)
        moved = positives[:, 1:] * same
        positives[:, :-1] += moved
        positives[:, 1:] -= moved
        yield Scores(block.rows, block.bins >> 2, positives.astype(np.float64), negatives.astype(np.float64))


class OfScore:
    """A function of the score of each bin (its middle, or its end), by look-up if few bins are in use."""

    def __init__(self, panel: Panel, function: Callable[[Floats], npt.NDArray[Any]], *, at_end: bool = False) -> None:
        self._binning, self._function, self._first, self._at_end = panel.binning, function, 0, at_end
        self._listed: npt.NDArray[Any] | None = None
        ends = [packed for row in panel.bins if row for packed in (row[:4], row[-4:])]
        if not ends or self._binning is None:
            return
        bins = np.frombuffer(b"".join(ends), "<i4").astype(np.int64) >> 2
        self._first = int(bins.min())
        if bins.max() - self._first < _LISTED:
            self._listed = function(self._scores(np.arange(self._first, bins.max() + 1)))

    def __call__(self, bins: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The function of each bin's score."""
        assert self._binning is not None
        if self._listed is None:
            return self._function(self._scores(bins.astype(np.int64)))
        return self._listed.take(bins - self._first, mode="clip")

    def _scores(self, bins: Ints) -> Floats:
        """The middle of each bin, or the last score before its end."""
        assert self._binning is not None
        return np.nextafter(self._binning.edges(bins)[1], -np.inf) if self._at_end else self._binning.middles(bins)


def score_counts(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """Score (the bin's middle), positives and negatives of each score bin, from the lowest score up."""
    if counts.binning is None:  # no score was ever a number
        nothing = np.zeros(0)
        return nothing, nothing, nothing
    bins, (negatives, positives, _) = states(counts)
    some = positives + negatives > 0
    return counts.binning.middles(bins[some]), positives[some], negatives[some]


def states(counts: Counts) -> tuple[Ints, tuple[Floats, Floats, Floats]]:
    """The score bins, each with its negatives, positives, and unlabelled predictions."""

    bins, where = np.unique(counts.bins >> 2, return_inverse=True)
    state = counts.bins & 3
    found = [np.bincount(where[state == i], counts.counts[state == i], len(bins)).astype(np.float64) for i in range(3)]
    return bins, (found[0], found[1], found[2])
