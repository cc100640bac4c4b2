"""Bins of a numeric column: fixed by a centre and a scale, computed from the bits of a float."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class Binning:
    """Log-linear bins around a centre: narrow near it, far from it a constant share of the distance.

    With t = (x − centre) / scale and 1 + |t| = 2^e · (1 + f), the bin is 2^bits · e + floor(2^bits · f), and for
    t < 0 its negative minus one. At the default of 6 bits a bin is scale/64 wide near the centre and at most
    1/64 of (|x − centre| + scale) everywhere, so its middle is within 0.8 % of that of every value in it.
    """

    centre: float
    scale: float
    bits: int = 6
    version: int = 0

    def edges(self, bins: Ints) -> tuple[Floats, Floats]:
        """The lower and upper edge of each bin, in the column's unit."""
        outside = np.where(bins < 0, ~bins, bins)  # the distance from the centre, in bins
        near, far = self._distance(outside), self._distance(outside + 1)
        with np.errstate(over="ignore", invalid="ignore"):
            lower = self.centre + self.scale * np.where(bins < 0, -far, near)
            upper = self.centre + self.scale * np.where(bins < 0, -near, far)
        return lower, upper

    def middles(self, bins: Ints) -> Floats:
        """The middle of each bin, in the column's unit."""
        lower, upper = self.edges(bins)
        with np.errstate(over="ignore", invalid="ignore"):
            return lower / 2 + upper / 2

    def _distance(self, outside: Ints) -> Floats:
        exponent, fraction = np.divmod(outside, 1 << self.bits)
        with np.errstate(over="ignore"):
            return np.ldexp(1.0 + fraction / (1 << self.bits), exponent.astype(np.int32)) - 1.0


def bins_of(values: Floats, binning: Binning) -> Ints:
    """The bin of each finite value, straight from the float's bits: no logarithm."""
    with np.errstate(over="ignore", under="ignore"):
        # a centre of zero is taken as −0.0, so that x = −0.0 lands at +0.0 and not below the centre
        t = (values - (binning.centre or -0.0)) / binning.scale
        sign = t.view(np.int64) >> 63
        distance = 1.0 + np.abs(t)
    shift = 52 - binning.bits
    return ((distance.view(np.int64) >> shift) - (1023 << binning.bits)) ^ sign
