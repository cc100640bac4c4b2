"""Changes that are too few for a cluster, which takes a second to begin: the driver folds them, like the embedded
engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.duckdb.files import SMALL
from fourfold.engine.duckdb.touched import changed_files
from fourfold.engine.protocol import ChangedLog
from fourfold.model.records import KEY

RECORDS = SMALL  # changed ones, up to which a fold is the driver's; 0: none is
_EARLIER = 1 << 20  # records that the driver reads to find the earlier ones of the same keys


def keys_of_few(logs: Iterable[ChangedLog], most: int | None = None) -> pa.ChunkedArray | None:
    """The keys of the records that changed; None where they are not few: more than so many, or than ``RECORDS``."""
    chunks: list[pa.Array] = []
    left = RECORDS if most is None else most
    for log in logs:
        for _, files in changed_files(log):
            table = log.read(files, [KEY], left) if left > 0 else None
            if table is None or table.num_rows > left:
                return None
            left -= table.num_rows
            chunks += table[KEY].chunks
    return pa.chunked_array(chunks, pa.string())


def is_few(logs: Collection[ChangedLog], *, every: bool = False) -> bool:
    """Whether few records changed, and the earlier ones of their keys are found without reading all.

    With ``every``, all earlier records have to be read in any case.
    """
    keys = keys_of_few(logs)
    if keys is None:
        return False
    before = [log for log in logs if log.before]
    if sum(log.rows() for log in before) <= SMALL:
        return True
    if every:
        return False
    distinct = pc.unique(keys).drop_null()
    return all(log.before_with(distinct, [KEY], _EARLIER) is not None for log in before)
