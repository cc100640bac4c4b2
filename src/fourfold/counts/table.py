"""The counts table: everything that fourfold remembers is a count that adds up.

A *counts table* is an Arrow table, one row per series and time bucket:

========== ============== ==========================================================================
column     type           meaning
========== ============== ==========================================================================
column     string         the column that was counted ("" for the records themselves)
kind       string         what was counted, a name in ``KINDS``
slice      string         JSON, ``{"carrier": "AA"}``; ``{}`` for all records
bucket     int64          start of the hour or day, seconds since 1970 (UTC)
binning    int64          version of the binning that ``bins`` refer to, and ``SIZED`` × the size of the addends
tallies    list<int64>    exact integer counts, named by ``KINDS[kind].tallies``
sums       list<double>   sums, named by ``KINDS[kind].sums``
low, high  double         extremes, NaN if there are none
bins       list<int64>    sorted bins with a count other than zero (numeric kinds)
labels     list<string>   the values counted (categories), instead of ``bins``
counts     list<int64>    the count of each bin or label; negative in a correction
registers  list<int32>    HyperLogLog: register number × 32 + rank, sorted
========== ============== ==========================================================================

``merge`` is associative and commutative, its identity is ``empty()``: a commutative monoid, so folding in one
pass, in a thousand batches, in any order or on a cluster gives the same counts. ``add`` also keeps only the most
frequent labels of each row (``heaviest``), which is done to totals.

Float sums are not exact: adding 1e300 to a sum and subtracting it again, because the label was a typo, leaves zero;
infinity less infinity is NaN. So records whose addends have another size have their own row, which disappears with the
last of them (see ``sizes_of``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts.binning import Ints
from fourfold.counts.kinds import KINDS, MAX_CATEGORIES, RANK_BITS, REGISTER_BITS
from fourfold.counts.lists import lengths_of, lists, offsets_of, ragged
from fourfold.counts.summing import largest_rank, summed

KEYS = ("column", "kind", "slice", "bucket", "binning")
_OTHER = KINDS["category"].tallies.index("other")  # of each kind that is capped

SCHEMA = pa.schema(
    [
        ("column", pa.string()),
        ("kind", pa.string()),
        ("slice", pa.string()),
        ("bucket", pa.int64()),
        ("binning", pa.int64()),
        ("tallies", pa.list_(pa.int64())),
        ("sums", pa.list_(pa.float64())),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("bins", pa.list_(pa.int64())),
        ("labels", pa.list_(pa.string())),
        ("counts", pa.list_(pa.int64())),
        ("registers", pa.list_(pa.int32())),
    ]
)


def empty() -> pa.Table:
    """The identity of ``add``: a counts table of no rows."""
    return SCHEMA.empty_table()


def negate(table: pa.Table) -> pa.Table:
    """The counts that, when added, subtract these. Extremes and registers cannot be subtracted."""
    rows = table.num_rows
    for name, item in (("tallies", pa.int64()), ("sums", pa.float64()), ("counts", pa.int64())):
        flat, lengths = lists(table[name])
        table = _replace(table, name, ragged(-flat, offsets_of(lengths), item))
    nothing = pa.array(np.full(rows, np.nan))
    none = ragged(np.zeros(0, np.int32), np.zeros(rows + 1, np.int64), pa.int32())
    table = _replace(_replace(table, "low", nothing), "high", nothing)
    return _replace(table, "registers", none)


def add(*tables: pa.Table) -> pa.Table:
    """Add counts, of which each row keeps the most frequent labels."""
    return heaviest(merge(*tables))


def merge(*tables: pa.Table) -> pa.Table:
    """Add counts, with all labels: rows with the same column, kind, slice, bucket and binning become one row."""
    table = pa.concat_tables([t for t in tables if t.num_rows] or [empty()]).combine_chunks()
    if table.num_rows == 0:
        return table
    first, group = _groups(table)
    size = len(first)
    keys = table.select(KEYS).take(pa.array(first))
    low, high = np.full(size, np.nan), np.full(size, np.nan)
    np.fmin.at(low, group, table["low"].to_numpy())
    np.fmax.at(high, group, table["high"].to_numpy())

    tallies, tally_lengths = _add_aligned(table["tallies"], group, first)
    sums, sum_lengths = _add_aligned(table["sums"], group, first)
    bins, labels, counts, sizes = _add_bins(table, group, size)
    kinds = keys["kind"].to_pylist()
    labelled = np.array([KINDS[kind].labelled for kind in kinds], bool)
    registers, register_sizes = _add_registers(table["registers"], group, size)

    no_rows = np.zeros(size, np.int64)
    return pa.table(
        [
            *keys.columns,
            ragged(tallies, offsets_of(tally_lengths), pa.int64()),
            ragged(sums, offsets_of(sum_lengths), pa.float64()),
            pa.array(low),
            pa.array(high),
            ragged(bins, offsets_of(np.where(labelled, no_rows, sizes)), pa.int64()),
            ragged(
                labels if labels is not None else pa.array([], pa.string()),
                offsets_of(np.where(labelled, sizes, no_rows)),
                pa.string(),
            ),
            ragged(counts, offsets_of(sizes), pa.int64()),
            ragged(registers, offsets_of(register_sizes), pa.int32()),
        ],
        schema=SCHEMA,
    )


def heaviest(table: pa.Table) -> pa.Table:
    """The counts with the most frequent ``MAX_CATEGORIES`` labels of each capped row; the rest is counted as *other*.

    Of equally frequent labels the alphabetically first are kept.
    """
    numbers, sizes = lists(table["counts"])
    label_sizes = lengths_of(table["labels"].combine_chunks())
    wide = np.flatnonzero(label_sizes > MAX_CATEGORIES)
    if not len(wide):
        return table
    capped = [KINDS[kind].capped for kind in table["kind"].take(pa.array(wide)).to_pylist()]
    wide = wide[np.array(capped, bool)]
    labels = table["labels"].combine_chunks().flatten()
    tallies, tally_sizes = lists(table["tallies"])
    tallies = tallies.copy()
    others = offsets_of(tally_sizes)[:-1] + _OTHER
    starts, label_starts = offsets_of(sizes), offsets_of(label_sizes)
    keep, keep_labels = np.ones(len(numbers), bool), np.ones(len(labels), bool)
    for row in wide:
        window, texts = slice(starts[row], starts[row + 1]), slice(label_starts[row], label_starts[row + 1])
        kept = _heaviest(np.abs(numbers[window]), labels[texts])
        tallies[others[row]] += numbers[window][~kept].sum()
        keep[window] = keep_labels[texts] = kept
    sizes, label_sizes = sizes.copy(), label_sizes.copy()
    sizes[wide] = label_sizes[wide] = MAX_CATEGORIES
    table = _replace(table, "tallies", ragged(tallies, offsets_of(tally_sizes), pa.int64()))
    table = _replace(table, "counts", ragged(numbers[keep], offsets_of(sizes), pa.int64()))
    kept_labels = labels.filter(pa.array(keep_labels))
    return _replace(table, "labels", ragged(kept_labels, offsets_of(label_sizes), pa.string()))


def _heaviest(sizes: Ints, labels: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Which of a row's labels are its largest ``MAX_CATEGORIES``."""
    lightest = np.partition(sizes, -MAX_CATEGORIES)[-MAX_CATEGORIES]
    kept: npt.NDArray[np.bool_] = sizes > lightest
    room = MAX_CATEGORIES - int(kept.sum())
    equal = np.flatnonzero(sizes == lightest)
    first = pc.select_k_unstable(labels.take(pa.array(equal)), room, [("", "ascending")])
    kept[equal[first.to_numpy()]] = True
    return kept


def drop_zero(table: pa.Table, *, changes: bool = False) -> pa.Table:
    """The counts without rows whose tallies and bins are all zero.

    With ``changes``, rows whose sums are not zero stay too: a corrected record may change nothing else.
    """
    if table.num_rows == 0:
        return table
    alive = np.zeros(table.num_rows, bool)
    for name in ("tallies", "counts", *(["sums"] if changes else [])):
        flat, lengths = lists(table[name])
        alive |= np.bincount(np.repeat(np.arange(len(lengths)), lengths)[flat != 0], minlength=len(lengths)) > 0
    return table if alive.all() else table.take(pa.array(np.flatnonzero(alive)))


def without_negative_labels(table: pa.Table) -> pa.Table:
    """Totals with each label that was subtracted more often than it was added taken from *other* instead.

    Such a label was counted as *other* when it came, since a row keeps at most ``MAX_CATEGORIES`` labels.
    """
    numbers, lengths = lists(table["counts"])
    capped = np.array([KINDS[kind].capped for kind in table["kind"].to_pylist()], bool)
    row = np.repeat(np.arange(table.num_rows), lengths)
    negative = (numbers < 0) & capped[row]
    if not negative.any():
        return table
    rows_ = table.to_pylist()
    for i in np.unique(row[negative]).tolist():
        entry = rows_[i]
        pairs = list(zip(entry["labels"], entry["counts"], strict=True))
        entry["labels"], entry["counts"] = ([p[side] for p in pairs if p[1] > 0] for side in (0, 1))
        entry["tallies"][_OTHER] += sum(n for _, n in pairs if n < 0)
    return pa.Table.from_pylist(rows_, schema=SCHEMA)


def rebucket(table: pa.Table, buckets: npt.NDArray[np.int64]) -> pa.Table:
    """The counts with each row in another bucket (a day, a window), added up."""
    return add(_replace(table, "bucket", pa.array(buckets, pa.int64())))


def _replace(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), column)


def _groups(table: pa.Table) -> tuple[Ints, Ints]:
    """The first row of each distinct key, and each row's group."""
    code = np.zeros(table.num_rows, np.int64)
    for name in KEYS:
        encoded = table[name].combine_chunks().dictionary_encode()
        code = code * len(encoded.dictionary) + encoded.indices.to_numpy()
        _, code = np.unique(code, return_inverse=True)  # stays small, so the next product cannot overflow
    _, first, group = np.unique(code, return_index=True, return_inverse=True)
    return first, group


def _add_aligned(column: pa.ChunkedArray, group: Ints, first: Ints) -> tuple[npt.NDArray[Any], Ints]:
    """Lists that have the same length within a group, added place by place."""
    flat, lengths = lists(column)
    out_lengths = lengths[first]
    starts = offsets_of(out_lengths)
    place = np.arange(len(flat)) - np.repeat(offsets_of(lengths)[:-1], lengths)
    out = np.zeros(starts[-1], flat.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is said to, by the metric
        np.add.at(out, np.repeat(starts[group], lengths) + place, flat)
    return out, out_lengths


def _add_bins(table: pa.Table, group: Ints, size: int) -> tuple[Ints, pa.Array | None, Ints, Ints]:
    """Bins or labels with their counts, added per group; returns bins, labels, counts and row lengths."""
    counts, lengths = lists(table["counts"])
    element = np.repeat(group, lengths)
    codes = np.zeros(len(counts), np.int64)
    bins, bin_lengths = lists(table["bins"])
    binned = np.repeat(bin_lengths > 0, lengths)
    codes[binned] = bins
    labels = table["labels"].combine_chunks().flatten()
    dictionary: pa.Array | None = None
    if len(labels):
        encoded = labels.dictionary_encode()
        in_order = pc.sort_indices(encoded.dictionary)
        dictionary = encoded.dictionary.take(in_order)
        codes[~binned] = np.argsort(in_order.to_numpy())[encoded.indices.to_numpy()]

    codes, counts, sizes = summed(element, codes, counts, size)
    if dictionary is None:
        return codes, None, counts, sizes
    numeric = ~np.repeat(np.isin(np.arange(size), group[lengths_of(table["labels"].combine_chunks()) > 0]), sizes)
    return codes[numeric], dictionary.take(pa.array(codes[~numeric])), counts, sizes


def _add_registers(column: pa.ChunkedArray, group: Ints, size: int) -> tuple[npt.NDArray[np.int32], Ints]:
    """HyperLogLog registers merged per group: the largest rank of each register."""
    flat, lengths = lists(column)
    if not len(flat):
        return flat, np.zeros(size, np.int64)
    span = 1 << (REGISTER_BITS + RANK_BITS)
    entries = largest_rank(np.unique(np.repeat(group, lengths).astype(np.int64) * span + flat))
    return (entries % span).astype(np.int32), np.bincount(entries // span, minlength=size)
