"""The rows for sums of floats: separate by size, so that each disappears with the last of its records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fourfold.counts.binning import Floats, Ints

SIZED = 1 << 16  # the column ``binning`` holds version + SIZED × size
LARGEST = 2.0**1000  # the largest addend, so that a sum of millions is still a float
_SIZE_BITS, _MOST_SIZES = 12, 1 << 7


def sizes_of(magnitudes: Sequence[Floats], addends: Sequence[Floats]) -> Ints:
    """The row for each record's addends: 0 for the usual size.

    Args:
        magnitudes: at most five ways in which records are large or small; addends are products of powers of these.
        addends: what each record adds to each sum.

    The records of a row are within a factor of 2^12 of each other in each magnitude, those up to 2^12 in one. When the
    largest is taken away, 53 bits still tell the squares of the others. They are alike, too, in how many of the sums
    they are too large for: a sum is finite where those of its records are.
    """
    size = np.zeros(len(addends[0]), np.int64)
    for values in addends:
        if not (values.min(initial=0.0) >= -LARGEST and values.max(initial=0.0) <= LARGEST):
            size += ~(np.abs(values) <= LARGEST)
    for values in magnitudes:
        if values.max(initial=0.0) <= 1 << _SIZE_BITS:
            size *= _MOST_SIZES
            continue
        with np.errstate(divide="ignore"):
            place = np.nan_to_num(np.ceil(np.log2(values) / _SIZE_BITS) - 1, nan=_MOST_SIZES - 1.0)
        size = size * _MOST_SIZES + np.clip(place, 0, _MOST_SIZES - 1).astype(np.int64)
    return size
