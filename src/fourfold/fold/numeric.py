"""Numeric columns: the kernel that turns a million floats into bins in a few passes over the cache.

The bin comes out of the float's bits: with t = (x − c)/s, the exponent and the leading mantissa bits of 1 + |t|
are 2^bits · e + floor(2^bits · f) already, so a shift takes the place of a logarithm. The steps run in place on
chunks that stay in the processor's cache; sums and extremes are taken per group on the sorted chunk.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from fourfold.counts import KINDS
from fourfold.counts.binning import Binning, Floats, Ints, bins_of
from fourfold.fold.counted import Counted
from fourfold.fold.groups import CHUNK, Chunk, Groups

TALLIES = {name: i for i, name in enumerate(KINDS["numeric"].tallies)}
FEW_BINS, MANY_BINS = 8, 4_000
ABSURD = 1e60  # from here on a number is not typical of a column
_FURTHEST = 2.0**-148  # times 2^-52, the rounding of floats: how small a scale may be beside the largest value
ENOUGH_VALUES = 256  # to judge a binning by
_LOOKED_AT, _MARGIN = 4_096, 8.0  # values of many that say where the others are likely to be, and how much further off


def choose_binning(values: Floats, bits: int = 6, version: int = 0) -> Binning:
    """The binning for a column, from its first data: the median, and IQR/1.349 for the scale.

    A scale of zero falls back on the standard deviation, then |centre|, then 1. Values from ``ABSURD`` on are ignored,
    unless there are no others.
    """
    finite = values[np.isfinite(values)]
    usual = finite[np.abs(finite) < ABSURD]
    finite = usual if len(usual) else finite
    if not len(finite):
        return Binning(0.0, 1.0, bits, version)
    lower, centre, upper = (float(q) for q in np.quantile(finite / 2, (0.25, 0.5, 0.75)))  # halves never overflow
    centre *= 2
    largest, quartile = float(np.abs(finite).max()), 2 * max(abs(lower), abs(upper))
    with np.errstate(over="ignore", invalid="ignore"):
        # each with the size of what it is a difference of; in units of the scale all values' fourth powers are floats
        candidates = [((upper - lower) / 1.349 * 2, max(quartile, largest * _FURTHEST))]
        candidates += [(scale, largest) for scale in (float(np.std(np.sort(finite))), abs(centre), 1.0, largest)]
    tiny, epsilon = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).eps)
    scale = next(s for s, of in candidates if math.isfinite(s) and s > max(tiny, epsilon * of))  # more than rounding
    return Binning(centre, scale, bits, version)


def needs_new_binning(values: Floats, current: Binning) -> Binning | None:
    """A better binning where these values use fewer than 8 bins or more than 4,000, else None.

    A column of few distinct values uses few bins whatever they are; it keeps its binning.
    """
    values = values[np.isfinite(values)]
    if len(values) < ENOUGH_VALUES:
        return None
    used = _distinct(bins_of(values, current))
    if FEW_BINS <= used <= MANY_BINS or (used < FEW_BINS and len(np.unique(values[:10_000])) <= 2 * FEW_BINS):
        return None
    fresh = choose_binning(values, current.bits, current.version + 1)
    return fresh if _distinct(bins_of(values, fresh)) in range(FEW_BINS, MANY_BINS + 1) else None


def _distinct(bins: Ints) -> int:
    """How many different bins there are; where they lie close together, without sorting or hashing them."""
    first, last = int(bins.min()), int(bins.max())
    if last - first > len(bins):
        return len(np.unique(bins))
    return int(np.count_nonzero(np.bincount(bins - first)))


def fold_numeric(values: Floats, valid: np.ndarray | None, groups: Groups, column: str, binning: Binning) -> Counted:
    """The counts of a float column in each group.

    ``valid`` marks the records that are not null (None: all are).
    """
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    tallies[:, TALLIES["rows"]] = groups.sizes
    if valid is not None:
        tallies[:, TALLIES["null"]] = np.bincount(groups.ids[~valid], minlength=groups.size)
        values, groups = values[valid], groups.where(valid)
    measured = _measure(values, groups, binning)
    if measured is None:  # somewhere a NaN or an infinity: count these apart and measure the rest
        for name, mask in (
            ("nan", np.isnan(values)),
            ("positive_infinity", values == np.inf),
            ("negative_infinity", values == -np.inf),
        ):
            tallies[:, TALLIES[name]] = np.bincount(groups.ids[mask], minlength=groups.size)
        finite = np.isfinite(values)
        measured = _measure(values[finite], groups.where(finite), binning)
        assert measured is not None
    tallies[:, TALLIES["negative"]] = measured.negative
    tallies[:, TALLIES["zero"]] = measured.zero
    return Counted(
        column,
        "numeric",
        groups,
        tallies,
        measured.sums,
        measured.low,
        measured.high,
        binning.version,
        bins=measured.bins,
        counts=measured.counts,
        sizes=measured.sizes,
    )


class CodeCounter:
    """Counts how often each code from ``first`` to ``last`` occurs in each group, chunk by chunk.

    Where a chunk touches few groups and codes, as in a log in order of time, it is counted in a small table that
    stays in the cache; else its codes are kept and counted all at once at the end.
    """

    def __init__(self, groups: Groups, first: int, last: int) -> None:
        self._groups, self._first, self._width = groups, first, last - first + 1
        self._dense = groups.size * self._width <= 2 * len(groups.ids) + (1 << 20)
        self._table = np.zeros(groups.size * self._width if self._dense else 0, np.int64)
        self._kept: list[Ints] = []
        self._index = np.empty(min(CHUNK, len(groups.ids)), np.int64)

    def count(self, chunk: Chunk, code: Ints) -> None:
        """Add a chunk's codes, which are in the chunk's order; ``code`` is used up."""
        base, width = int(chunk.present[0]), self._width
        code -= self._first
        if chunk.span > 1:
            code += np.multiply(chunk.ids, width, out=self._index[: len(code)])
        if self._dense and chunk.span * width <= 2 * CHUNK:
            found = np.bincount(code, minlength=chunk.span * width)
            self._table[base * width : (base + chunk.span) * width] += found
        else:
            self._kept.append(code + base * width)

    def result(self) -> tuple[Ints, Ints, Ints]:
        """Sorted codes, their counts, and how many codes each group has."""
        if self._dense:
            if self._kept:
                self._table += np.bincount(np.concatenate(self._kept), minlength=len(self._table))
            at = np.flatnonzero(self._table)
            counts = self._table[at]
        else:  # far outliers in many groups: the table would be mostly empty
            at, counts = np.unique(np.concatenate(self._kept), return_counts=True)
        group, code = np.divmod(at, self._width)
        return code + self._first, counts, np.bincount(group, minlength=self._groups.size)


def count_codes(codes: Ints, groups: Groups) -> tuple[Ints, Ints, Ints]:
    """How often each code occurs in each group: sorted codes, their counts, and how many codes a group has."""
    if not len(codes):
        return codes, codes, np.zeros(groups.size, np.int64)
    counter = CodeCounter(groups, int(codes.min()), int(codes.max()))
    for chunk in groups.chunks:
        code = codes[chunk.records]
        counter.count(chunk, code.take(chunk.order) if chunk.order is not None else code.copy())
    return counter.result()


@dataclasses.dataclass
class _Measured:
    """What one pass over the values finds in each group."""

    low: Floats
    high: Floats
    sums: Floats  # groups × 2: of t and of t²
    negative: Ints
    zero: Ints
    bins: Ints
    counts: Ints
    sizes: Ints  # how many bins each group has


def _measure(values: Floats, groups: Groups, binning: Binning, *, exact: bool = False) -> _Measured | None:
    """The groups' bins, sums and extremes; None where a value is not finite.

    ``exact``: room is made for the bins between the extremes, and not between those that are likely.
    """
    size = groups.size
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    sums, negative, zero = np.zeros((size, 2)), np.zeros(size, np.int64), np.zeros(size, np.int64)
    smallest, largest = _extremes(values) if exact else _likely_extremes(values, binning)
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        return None if exact else _measure(values, groups, binning, exact=True)
    first, last = bins_of(np.array([smallest, largest]), binning).tolist()  # bins rise with the values
    counter = CodeCounter(groups, first, last)
    centre, scale = binning.centre or -0.0, binning.scale  # x − (−0.0) makes of −0.0 a +0.0
    shift, bias = 52 - binning.bits, 1023 << binning.bits
    room = min(CHUNK, len(values))
    t_buffer, x_buffer, sign_buffer = np.empty(room), np.empty(room), np.empty(room, np.int64)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for chunk in groups.chunks:
            x = values[chunk.records]
            length = len(x)
            t, sign = t_buffer[:length], sign_buffer[:length]
            if chunk.order is not None:
                x = x.take(chunk.order, out=x_buffer[:length], mode="clip")
            starts, present = chunk.starts, chunk.present
            least, most = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
            lowest, highest = float(least.min()), float(most.max())
            if not (smallest <= lowest and highest <= largest):  # beyond what was likely, or NaN
                return _measure(values, groups, binning, exact=True)
            low[present] = np.minimum(low[present], least)
            high[present] = np.maximum(high[present], most)
            if lowest <= 0:
                negative[present] += np.add.reduceat((x < 0).view(np.int8), starts, dtype=np.int64)
                zero[present] += np.add.reduceat((x == 0).view(np.int8), starts, dtype=np.int64)
            np.subtract(x, centre, out=t)
            np.divide(t, scale, out=t)
            sums[present, 0] += np.add.reduceat(t, starts)
            np.right_shift(t.view(np.int64), 63, out=sign)
            np.abs(t, out=t)
            squares = np.multiply(t, t, out=x_buffer[:length])
            sums[present, 1] += np.add.reduceat(squares, starts)
            np.add(t, 1.0, out=t)
            code = t.view(np.int64)
            np.right_shift(code, shift, out=code)
            np.subtract(code, bias, out=code)
            np.bitwise_xor(code, sign, out=code)
            counter.count(chunk, code)
    low[low == np.inf] = high[high == -np.inf] = np.nan
    return _Measured(low, high, sums, negative, zero, *counter.result())


def _extremes(values: Floats) -> tuple[float, float]:
    """The smallest and the largest value; NaN where one of them is."""
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _likely_extremes(values: Floats, binning: Binning) -> tuple[float, float]:
    """Values between which all are likely to be: to look at each would cost two passes over the memory."""
    if len(values) <= _LOOKED_AT * 16:
        return _extremes(values)
    sample = values[:: len(values) // _LOOKED_AT]
    with np.errstate(over="ignore", invalid="ignore"):
        reach = _MARGIN * (binning.scale + float(np.abs(sample - binning.centre).max()))
    return binning.centre - reach, binning.centre + reach
