"""The one idea: everything that fourfold remembers is a count that adds up.

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
low, high  double         extremes seen, NaN where there are none
bins       list<int64>    sorted bins with a count other than zero (numeric kinds)
labels     list<string>   the values counted (categories); stands in the place of ``bins``
counts     list<int64>    the count of each bin or label; negative in a correction
registers  list<int32>    HyperLogLog: register number × 32 + rank, sorted
========== ============== ==========================================================================

``add`` is associative and commutative, its identity is ``empty()``: a commutative monoid, so folding in one
pass, in a thousand batches, in any order or on a cluster gives the same counts.

Sums of floats are no such thing by themselves: 1e300 swallows all that it is added to, and when it is taken away again,
for the label was a slip, nothing is left; infinity less infinity is no number at all. So records whose addends are of
another size are kept in a row of their own, which vanishes with the last of them (see ``sizes_of``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts.binning import Binning, Floats, Ints, bins_of

MAX_CATEGORIES = 256
REGISTER_BITS = 11  # 2,048 HyperLogLog registers: a standard error of 1.04 / sqrt(2048) = 2.3 %
RANK_BITS = 5

KEYS = ("column", "kind", "slice", "bucket", "binning")

SIZED = 1 << 16  # the column ``binning`` holds version + SIZED × size
LARGEST = 2.0**1000  # what is added to a sum at most, so that a sum of millions is still a float
_SIZE_BITS, _MOST_SIZES = 12, 1 << 7


class Kind(NamedTuple):
    """The names of a kind's tallies and sums, in the order in which they are stored.

    ``labelled``: its counts are by text (``labels``) and not by number (``bins``); ``most`` of these are kept a row.
    """

    tallies: tuple[str, ...]
    sums: tuple[str, ...] = ()
    labelled: bool = False
    most: int | None = None


# What can become of a prediction, whatever the kind of its task; ``matched`` has some label record, and ``pairs`` is
# how many rows a plain join of the two streams makes of it.
OUTCOMES = (
    "predicted", "labelled", "unscored", "invalid_label", "expired", "withdrawn", "orphan", "matched", "pairs",
)  # fmt: skip
RANKS = tuple(range(1, 11))  # of the actual class among those predicted, that are counted exactly

KINDS: dict[str, Kind] = {
    "stream": Kind(("rows", "null_key", "duplicate_key")),
    "numeric": Kind(
        ("rows", "null", "nan", "positive_infinity", "negative_infinity", "negative", "zero"),
        ("offset", "offset_squared"),  # of t = (x − centre) / scale over the finite values
    ),
    "category": Kind(("rows", "null", "other"), labelled=True, most=MAX_CATEGORIES),
    "opaque": Kind(("rows", "null")),
    # bins: score bin × 4 + 0 (negative), 1 (positive) or 2 (without a label)
    "binary": Kind(
        (*OUTCOMES, "true_positive", "false_positive", "false_negative", "true_negative", "not_probability"),
        ("log_loss", "log_loss_squared", "brier", "brier_squared"),
    ),
    # labels: JSON, [predicted, actual]; [predicted] where there is no label yet
    "multiclass": Kind(
        (*OUTCOMES, "correct", "with_probabilities", *(f"rank_{k}" for k in RANKS)),
        ("log_loss", "log_loss_squared"),
        labelled=True,
    ),
    # labels: JSON, [class, "true_positive" | "false_positive" | "false_negative"]
    "multilabel": Kind(
        (*OUTCOMES, "exact"),
        ("precision", "precision_squared", "recall", "recall_squared", "f1", "f1_squared", "jaccard",
         "jaccard_squared", "wrong", "wrong_squared"),
        labelled=True,
    ),
    # e = actual − predicted, t = (actual − centre) / scale of the predictions' binning;
    # bins: score bin × 2^17 + residual bin + 2^16, both coarse; + 0 where there is no label
    "regression": Kind(
        (*OUTCOMES, "zero_actual"),
        ("above", "above_squared", "below", "below_squared", "error_fourth", "t", "t2", "t3", "t4", "error2_t",
         "error2_t2", "percentage", "percentage_squared", "symmetric", "symmetric_squared"),
    ),
    "ranking": Kind((*OUTCOMES, "items", "labelled_items", "without_relevant")),
    # labels: JSON, [predicted, done, outcome or null]
    "decision": Kind(
        (*OUTCOMES, "followed", "overridden", "followed_with_outcome", "overridden_with_outcome"),
        ("followed_outcome", "followed_outcome_squared", "overridden_outcome", "overridden_outcome_squared"),
        labelled=True,
    ),
    "custom": Kind(("records", "undefined")),  # sums: each expression's, then all products of two of them
    # labels: JSON, [actual, JSON of both versions' predictions]
    "paired": Kind(("pairs",), labelled=True),
    "paired_errors": Kind(("pairs",), ("absolute", "absolute_squared", "squared", "squared_squared")),
}  # fmt: skip

_PLACES = {kind: {name: i for i, name in enumerate(names.tallies)} for kind, names in KINDS.items()}

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


@dataclasses.dataclass(slots=True)
class Counts:
    """The counts of one series in one window: what every metric is a function of."""

    kind: str
    tallies: list[int]
    sums: list[float]
    low: float
    high: float
    bins: Ints
    labels: list[str]
    counts: Ints
    registers: Ints
    binning: Binning | None = None
    column: str = ""

    def tally(self, name: str) -> int:
        """The exact count of that name, as listed in ``KINDS``."""
        return self.tallies[_PLACES[self.kind][name]]

    @property
    def finite(self) -> int:
        """How many records have a finite value (numeric counts)."""
        rows, null, nan, positive, negative, *_ = self.tallies
        return rows - null - nan - positive - negative

    @property
    def missing(self) -> int:
        """How many records have no value: null, or NaN, as pandas has one for the other."""
        return self.tally("null") + (self.tally("nan") if self.kind == "numeric" else 0)

    def sum(self, name: str) -> float:
        """The sum of that name, as listed in ``KINDS``."""
        return self.sums[KINDS[self.kind].sums.index(name)]


def sizes_of(magnitudes: Sequence[Floats], addends: Sequence[Floats]) -> Ints:
    """Which row each record's addends are kept in: 0 where they are of the usual size.

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


def empty() -> pa.Table:
    """The identity of ``add``: a counts table of no rows."""
    return SCHEMA.empty_table()


def ragged(values: npt.NDArray[Any] | pa.Array, offsets: Ints, item: pa.DataType) -> pa.ListArray:
    """A list column from flat values and the n+1 offsets of its rows."""
    flat = values if isinstance(values, pa.Array) else pa.array(values, item)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def offsets_of(lengths: npt.NDArray[np.integer[Any]]) -> Ints:
    """Row lengths to the n+1 offsets of a list column."""
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def lists(column: pa.ChunkedArray) -> tuple[npt.NDArray[Any], Ints]:
    """A list column of numbers as its flat values and row lengths."""
    combined = column.combine_chunks()
    return combined.flatten().to_numpy(zero_copy_only=False), _lengths(combined)


def negate(table: pa.Table) -> pa.Table:
    """The counts that, added, take these away again. Extremes and registers cannot be taken back."""
    rows = table.num_rows
    for name, item in (("tallies", pa.int64()), ("sums", pa.float64()), ("counts", pa.int64())):
        flat, lengths = lists(table[name])
        table = _replace(table, name, ragged(-flat, offsets_of(lengths), item))
    nothing = pa.array(np.full(rows, np.nan))
    none = ragged(np.zeros(0, np.int32), np.zeros(rows + 1, np.int64), pa.int32())
    table = _replace(_replace(table, "low", nothing), "high", nothing)
    return _replace(table, "registers", none)


def add(*tables: pa.Table) -> pa.Table:
    """Counts that agree in column, kind, slice, bucket and binning become one row: their sum."""
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
    if labels is not None:
        capped = np.array([KINDS[kind].most is not None for kind in kinds], bool)
        labels, counts, sizes, dropped = _heaviest(labels, counts, sizes, labelled, capped)
        starts = offsets_of(tally_lengths)[:-1]
        tallies[starts[capped] + KINDS["category"].tallies.index("other")] += dropped[capped]
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


def drop_zero(table: pa.Table) -> pa.Table:
    """Without the rows whose every tally and bin has come to zero."""
    if table.num_rows == 0:
        return table
    alive = np.zeros(table.num_rows, bool)
    for name in ("tallies", "counts"):
        flat, lengths = lists(table[name])
        alive |= np.bincount(np.repeat(np.arange(len(lengths)), lengths)[flat != 0], minlength=len(lengths)) > 0
    return table.filter(pa.array(alive))


def without_negative_labels(table: pa.Table) -> pa.Table:
    """Totals in which a category's label that was taken back more often than it was counted is taken from *other*.

    Such a label was among the others when it came: only so many are kept (see ``MAX_CATEGORIES``).
    """
    numbers, lengths = lists(table["counts"])
    capped = np.array([KINDS[kind].most is not None for kind in table["kind"].to_pylist()], bool)
    row = np.repeat(np.arange(table.num_rows), lengths)
    negative = (numbers < 0) & capped[row]
    if not negative.any():
        return table
    rows_ = table.to_pylist()
    for i in np.unique(row[negative]).tolist():
        entry = rows_[i]
        pairs = list(zip(entry["labels"], entry["counts"], strict=True))
        entry["labels"], entry["counts"] = ([p[side] for p in pairs if p[1] > 0] for side in (0, 1))
        entry["tallies"][KINDS["category"].tallies.index("other")] += sum(n for _, n in pairs if n < 0)
    return pa.Table.from_pylist(rows_, schema=SCHEMA)


def rebucket(table: pa.Table, buckets: npt.NDArray[np.int64]) -> pa.Table:
    """The counts with each row in another bucket (a day, a window), added up."""
    return add(_replace(table, "bucket", pa.array(buckets, pa.int64())))


def rows(table: pa.Table, binnings: dict[tuple[str, int], Binning]) -> Iterator[Counts]:
    """Each row as a ``Counts``; ``binnings`` is by column and version."""
    parts = {name: lists(table[name]) for name in ("tallies", "sums", "bins", "counts", "registers")}
    ends = {name: offsets_of(lengths).tolist() for name, (_, lengths) in parts.items()}
    tallies, sums = parts["tallies"][0].tolist(), parts["sums"][0].tolist()  # few a row: quicker as Python's numbers
    low, high = table["low"].to_numpy().tolist(), table["high"].to_numpy().tolist()
    kinds, columns, versions = (table[name].to_pylist() for name in ("kind", "column", "binning"))
    labels = table["labels"].to_pylist() if any(KINDS[kind].labelled for kind in set(kinds)) else None
    nothing = parts["bins"][0][:0]

    def cut(name: str, i: int) -> Any:
        start, end = ends[name][i], ends[name][i + 1]
        return parts[name][0][start:end] if end > start else nothing

    for i, (kind, column, version) in enumerate(zip(kinds, columns, versions, strict=True)):
        yield Counts(
            kind=kind,
            tallies=tallies[ends["tallies"][i] : ends["tallies"][i + 1]],
            sums=sums[ends["sums"][i] : ends["sums"][i + 1]],
            low=low[i],
            high=high[i],
            bins=cut("bins", i),
            labels=labels[i] if labels is not None else [],
            counts=cut("counts", i),
            registers=cut("registers", i),
            binning=binnings.get((column, version % SIZED)),
            column=column,
        )


def total(parts: Sequence[Counts]) -> Counts:
    """The sum of counts of one series; all must have the same kind and binning."""
    head = parts[0]
    if len(parts) == 1:
        return head
    bins, where = np.unique(np.concatenate([p.bins for p in parts]), return_inverse=True)
    merged: dict[str, int] = {}
    for part in parts:
        for label, count in zip(part.labels, part.counts.tolist(), strict=False):
            merged[label] = merged.get(label, 0) + count
    if KINDS[head.kind].labelled:
        counts = np.fromiter(merged.values(), np.int64, len(merged))
    else:
        counts = np.zeros(len(bins), np.int64)
        np.add.at(counts, where, np.concatenate([p.counts for p in parts]))
    registers = np.unique(np.concatenate([p.registers for p in parts]))
    return Counts(
        kind=head.kind,
        tallies=[sum(column) for column in zip(*(p.tallies for p in parts), strict=True)],
        sums=[sum(column) for column in zip(*(p.sums for p in parts), strict=True)],
        low=float(np.fmin.reduce([p.low for p in parts])),
        high=float(np.fmax.reduce([p.high for p in parts])),
        bins=bins,
        labels=list(merged),
        counts=counts,
        registers=largest_rank(registers),
        binning=head.binning,
        column=head.column,
    )


def reproject(counts: Counts, target: Binning) -> Counts:
    """Numeric counts on other bins: each old bin goes where its middle falls; sums are converted exactly."""
    source = counts.binning
    if source is None or source == target or counts.kind != "numeric":
        return counts
    finite = counts.finite  # not the sum of the bins: these may not have been read
    shift, ratio = (source.centre - target.centre) / target.scale, source.scale / target.scale
    offset, squared = counts.sums
    sums = [
        ratio * offset + finite * shift,
        ratio * ratio * squared + 2 * ratio * shift * offset + finite * shift * shift,
    ]
    middles = np.clip(source.middles(counts.bins), counts.low, counts.high)
    bins, where = np.unique(bins_of(middles, target), return_inverse=True)
    moved = np.zeros(len(bins), np.int64)
    np.add.at(moved, where, counts.counts)
    return dataclasses.replace(counts, sums=sums, bins=bins, counts=moved, binning=target)


def _lengths(column: pa.ListArray) -> Ints:
    offsets = column.offsets.to_numpy().astype(np.int64)
    lengths: Ints = np.diff(offsets)
    return lengths


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

    order = _in_order(element, codes)
    element, codes, counts = element[order], codes[order], counts[order]
    new = np.ones(len(codes), bool)
    new[1:] = (element[1:] != element[:-1]) | (codes[1:] != codes[:-1])
    at = np.flatnonzero(new)
    counts = np.add.reduceat(counts, at) if len(at) else counts
    kept = counts != 0
    at, counts = at[kept], counts[kept]
    element, codes = element[at], codes[at]
    sizes = np.bincount(element, minlength=size)
    if dictionary is None:
        return codes, None, counts, sizes
    numeric = ~np.isin(element, group[_lengths(table["labels"].combine_chunks()) > 0])
    return codes[numeric], dictionary.take(pa.array(codes[~numeric])), counts, sizes


def _in_order(element: Ints, codes: Ints) -> Ints:
    """The order by element and then by code; as one number where it fits, for sorted stretches are then merged."""
    if not len(codes):
        return codes
    low, high = int(codes.min()), int(codes.max())
    width = high - low + 1
    if int(element.max()) * width < 1 << 62:
        return np.argsort(element * width + (codes - low), kind="stable")
    return np.lexsort((codes, element))


def _heaviest(
    labels: pa.Array, counts: Ints, sizes: Ints, labelled: npt.NDArray[np.bool_], capped: npt.NDArray[np.bool_]
) -> tuple[pa.Array, Ints, Ints, Ints]:
    """Of the capped rows at most ``MAX_CATEGORIES`` labels, the heaviest; also what each row lost to *other*."""
    dropped = np.zeros(len(sizes), np.int64)
    wide = np.flatnonzero(capped & (sizes > MAX_CATEGORIES))
    if not len(wide):
        return labels, counts, sizes, dropped
    label_starts, count_starts = offsets_of(np.where(labelled, sizes, 0)), offsets_of(sizes)
    keep_labels, keep_counts = np.ones(len(labels), bool), np.ones(len(counts), bool)
    for row in wide:
        window = slice(count_starts[row], count_starts[row + 1])
        texts = labels[label_starts[row] : label_starts[row + 1]].to_pylist()
        heavy = sorted(range(len(texts)), key=lambda i: (-abs(int(counts[window][i])), texts[i]))
        light = np.array(heavy[MAX_CATEGORIES:])
        dropped[row] = counts[window][light].sum()
        keep_counts[count_starts[row] + light] = False
        keep_labels[label_starts[row] + light] = False
    sizes = sizes.copy()
    sizes[wide] = MAX_CATEGORIES
    return labels.filter(pa.array(keep_labels)), counts[keep_counts], sizes, dropped


def _add_registers(column: pa.ChunkedArray, group: Ints, size: int) -> tuple[npt.NDArray[np.int32], Ints]:
    """HyperLogLog registers merged per group: of each register the largest rank."""
    flat, lengths = lists(column)
    if not len(flat):
        return flat, np.zeros(size, np.int64)
    span = 1 << (REGISTER_BITS + RANK_BITS)
    entries = largest_rank(np.unique(np.repeat(group, lengths).astype(np.int64) * span + flat))
    return (entries % span).astype(np.int32), np.bincount(entries // span, minlength=size)


def largest_rank(entries: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of sorted entries ``register × 32 + rank``, the last one of each register."""
    if not len(entries):
        return entries
    register = entries >> RANK_BITS
    last: npt.NDArray[Any] = entries[np.append(register[1:] != register[:-1], True)]
    return last
