"""The records of a stream themselves: all, those without a key, and those with a key logged before."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fourfold.counts import KINDS
from fourfold.counts.binning import Ints
from fourfold.fold.counted import Counted, counts_table
from fourfold.fold.groups import Groups

TALLIES = {name: i for i, name in enumerate(KINDS["stream"].tallies)}


def fold_keys(keys: pa.Array | None, groups: Groups) -> pa.Table:
    """The number of records, and of those without a key: one row per group, column "" and kind "stream".

    ``keys`` is None for records without keys.
    """
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    tallies[:, TALLIES["rows"]] = groups.sizes
    if keys is not None:
        null = keys.is_null().to_numpy(zero_copy_only=False)
        tallies[:, TALLIES["null_key"]] = np.bincount(groups.ids[null], minlength=groups.size)
    return counts_table([Counted("", "stream", groups, tallies)])


def fold_duplicates(sign: Ints, groups: Groups) -> pa.Table:
    """The number of records that repeat a key; ``sign`` is +1 to add one and −1 to subtract one."""
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    np.add.at(tallies[:, TALLIES["duplicate_key"]], groups.ids, sign)
    return counts_table([Counted("", "stream", groups, tallies)])
