"""What a detector says of the series that it was shown."""

from __future__ import annotations

import dataclasses
from enum import IntEnum

from fourfold.counts.binning import Floats, Ints


class Status(IntEnum):
    """What a bucket says of a series."""

    LEARNING = 0  # too little history to judge
    NORMAL = 1
    CHANGED = 2  # it differs from its history, by more than the least that matters
    SETTLED = 3  # a change has lasted, and has just become what is normal: said once
    RARE = 4  # it would have changed, but its season has been seen too seldom to tell


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """One bucket, judged: arrays in the order of the keys that were given.

    ``expected``, ``low`` and ``high`` are the centre and the 95 % interval that were predicted before the bucket was
    seen, on the scale of the values: of the bucket's own sampling noise and of the series' natural variation.
    ``evidence`` is 0 where a series begins to count as changed, and grows with how improbable the bucket is (natural
    logarithm). ``began`` is the start of the first bucket of a change; the moment when it began, which may lie within a
    bucket, is between ``began_low`` and ``began_high`` (95 %); 0 if there is none. A series is judged once ``seen`` of
    its buckets are ``needed``.
    """

    status: Ints
    expected: Floats
    low: Floats
    high: Floats
    evidence: Floats
    began: Ints
    began_low: Ints
    began_high: Ints
    seen: Ints
    needed: Ints
