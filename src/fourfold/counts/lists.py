"""List columns of Arrow as flat values with the lengths or offsets of their rows, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.counts.binning import Ints


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
    return combined.flatten().to_numpy(zero_copy_only=False), lengths_of(combined)


def lengths_of(column: pa.ListArray) -> Ints:
    """The length of each list."""
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
    outlengths_of = lengths[first]
    starts = offsets_of(outlengths_of)
    place = np.arange(len(flat)) - np.repeat(offsets_of(lengths)[:-1], lengths)
    out = np.zeros(starts[-1], flat.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is said to, by the metric
        np.add.at(out, np.repeat(starts[group], lengths) + place, flat)
    return out, outlengths_of


def _add_bins(table: pa.Table, group: Ints, size: int) -> tuple[Ints, pa.Array | None, Ints, Ints]:
    """Bins or labels with their counts, added per group; returns bins, labels, counts and row lengths."""
    counts, lengths = lists(table["counts"])
    element = np.repeat(group, lengths)
    codes = np.zeros(len(counts), np.int64)
    bins, binlengths_of = lists(table["bins"])
    binned = np.repeat(binlengths_of > 0, lengths)
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
    numeric = ~np.isin(element, group[lengths_of(table["labels"].combine_chunks()) > 0])
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
