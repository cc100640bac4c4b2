"""Counts that add up."""

from fourfold.counts.entry import Counts, reproject, rows, total
from fourfold.counts.kinds import KINDS, MAX_CATEGORIES, OUTCOMES, RANK_BITS, RANKS, REGISTER_BITS, Kind
from fourfold.counts.lists import lists, offsets_of, ragged
from fourfold.counts.panel import Panel, Place, as_matrix, cut, of_table
from fourfold.counts.sizes import LARGEST, SIZED, sizes_of
from fourfold.counts.summing import largest_rank
from fourfold.counts.table import (
    KEYS,
    SCHEMA,
    add,
    drop_zero,
    empty,
    heaviest,
    merge,
    negate,
    rebucket,
    without_negative_labels,
)

__all__ = [
    "KEYS",
    "KINDS",
    "LARGEST",
    "MAX_CATEGORIES",
    "OUTCOMES",
    "RANKS",
    "RANK_BITS",
    "REGISTER_BITS",
    "SCHEMA",
    "SIZED",
    "Counts",
    "Kind",
    "Panel",
    "Place",
    "add",
    "as_matrix",
    "cut",
    "drop_zero",
    "empty",
    "heaviest",
    "largest_rank",
    "lists",
    "merge",
    "negate",
    "of_table",
    "offsets_of",
    "ragged",
    "rebucket",
    "reproject",
    "rows",
    "sizes_of",
    "total",
    "without_negative_labels",
]
