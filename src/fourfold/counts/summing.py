"""The sum: counts of the same bin in the same group become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fourfold.counts.binning import Ints
from fourfold.counts.kinds import RANK_BITS


def summed(group: Ints, codes: Ints, counts: Ints, groups: int) -> tuple[Ints, Ints, Ints]:
    """Counts of the same code in the same group added up, without zeros.

    Returns the codes of each group in order, group after group, their counts, and how many each group has.
    """
    order = _in_order(group, codes)
    group, codes, counts = group[order], codes[order], counts[order]
    new = np.ones(len(codes), bool)
    new[1:] = (group[1:] != group[:-1]) | (codes[1:] != codes[:-1])
    first = np.flatnonzero(new)
    counts = np.add.reduceat(counts, first) if len(first) else counts
    kept = counts != 0
    first, counts = first[kept], counts[kept]
    return codes[first], counts, np.bincount(group[first], minlength=groups)


def largest_rank(entries: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of sorted entries ``register × 32 + rank``, the last one of each register."""
    if not len(entries):
        return entries
    register = entries >> RANK_BITS
    last: npt.NDArray[Any] = entries[np.append(register[1:] != register[:-1], True)]
    return last


def _in_order(group: Ints, codes: Ints) -> Ints:
    """The order by group and then by code; as one number where it fits, for sorted stretches are then merged."""
    if not len(codes):
        return codes
    low, high = int(codes.min()), int(codes.max())
    width = high - low + 1
    if int(group.max()) * width < 1 << 62:
        return np.argsort(group * width + (codes - low), kind="stable")
    return np.lexsort((codes, group))
