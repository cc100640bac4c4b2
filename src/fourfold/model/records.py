"""The columns that fourfold adds to each record in the log."""

from collections.abc import Iterable

import pyarrow as pa

KEY, EVENT_TIME, LOG_TIME, RUN, BATCH, ROW = "_ff_key", "_ff_time", "_ff_log_time", "_ff_run", "_ff_batch", "_ff_row"

META = pa.schema(
    [
        (KEY, pa.string()),
        (EVENT_TIME, pa.timestamp("us", "UTC")),  # when it happened
        (LOG_TIME, pa.timestamp("us", "UTC")),  # when it was logged
        (RUN, pa.string()),  # the run that logged it
        (BATCH, pa.string()),
        (ROW, pa.int64()),  # its place in the batch: batch and row order records of the same log time
    ]
)
PLACE = (BATCH, ROW)  # what tells a record from all others: the log has it of the message that brings the record
SET_ASIDE = pa.field("_ff_set_aside", pa.list_(pa.string()))  # the columns whose values are in quarantine; null: none


def users(names: Iterable[str]) -> list[str]:
    """The user's columns among those of a log."""
    return [name for name in names if name not in META.names and name != SET_ASIDE.name]
