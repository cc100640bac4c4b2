"""Records to counts: pure functions, Arrow in, Arrow out, no I/O and no clock.

``fold`` is the way in for any dataframe; the engines call ``fold_columns`` and ``tasks.fold_task`` on Arrow batches.
"""

from fourfold.fold.category import labels_of
from fourfold.fold.columns import (
    NEVER,
    Plan,
    better_binnings,
    fold,
    fold_columns,
    nearly_all_distinct,
    plan_columns,
    unplanned,
)
from fourfold.fold.frames import is_frame, to_arrow
from fourfold.fold.groups import Groups, Split, bucket_starts, event_seconds, group_records
from fourfold.fold.kept_slices import KeptSlices, bucket_names
from fourfold.fold.numeric import choose_binning
from fourfold.fold.stream import fold_duplicates, fold_keys

__all__ = [
    "NEVER",
    "Groups",
    "KeptSlices",
    "Plan",
    "Split",
    "better_binnings",
    "bucket_names",
    "bucket_starts",
    "choose_binning",
    "event_seconds",
    "fold",
    "fold_columns",
    "fold_duplicates",
    "fold_keys",
    "group_records",
    "is_frame",
    "labels_of",
    "nearly_all_distinct",
    "plan_columns",
    "to_arrow",
    "unplanned",
]
