"""Counts tables to rows of the state store and back: whole columns at a time, never bin by bin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fourfold.counts import KINDS, SCHEMA, cut, lists, offsets_of, ragged
from fourfold.counts.binning import Ints


class Packed(NamedTuple):
    """Counts as they are stored, one entry a row in each column; ``bins`` is labels where the kind is "category"."""

    tallies: Sequence[bytes]
    sums: Sequence[bytes]
    low: Sequence[float | None]
    high: Sequence[float | None]
    size: Sequence[int]
    bins: Sequence[bytes]
    counts: Sequence[bytes]
    registers: Sequence[bytes]


def pack(table: pa.Table) -> Packed:
    """A table's counts in packed form: 32-bit bins and counts (64-bit where needed), 16-bit registers."""
    counts, sizes = lists(table["counts"])
    bins = cut(*lists(table["bins"]), "<i4")
    if table["labels"].combine_chunks().flatten():
        labels = table["labels"].to_pylist()
        bins = [_pack_labels(texts) if texts else packed for texts, packed in zip(labels, bins, strict=True)]
    return Packed(
        tallies=cut(*lists(table["tallies"]), "<i8"),
        sums=cut(*lists(table["sums"]), "<f8"),
        low=_nullable(table["low"].to_numpy()),
        high=_nullable(table["high"].to_numpy()),
        size=sizes.tolist(),
        bins=bins,
        counts=_pack_counts(counts, sizes),
        registers=cut(*lists(table["registers"]), "<u2"),
    )


def unpack(keys: Sequence[Sequence[Any]], packed: Packed) -> pa.Table:
    """A counts table from its keys (column, kind, slice, bucket, binning), each a column, and what was packed."""
    sizes = np.array(packed.size, np.int64)
    is_label = np.array([KINDS[kind].labelled for kind in keys[1]], bool)
    bin_ends, label_ends = offsets_of(np.where(is_label, 0, sizes)), offsets_of(np.where(is_label, sizes, 0))
    parts = list(zip(packed.bins, packed.size, is_label.tolist(), strict=True))
    bins = np.frombuffer(b"".join(part for part, _, labelled in parts if not labelled), "<i4")
    texts = [text for part, size, labelled in parts if labelled for text in unpack_labels(part, size)]
    registers = np.frombuffer(b"".join(packed.registers), "<u2")
    register_ends = offsets_of(np.array([len(part) // 2 for part in packed.registers], np.int64))
    arrays = [
        *(pa.array(key, kind) for key, kind in zip(keys, (*[pa.string()] * 3, pa.int64(), pa.int64()), strict=True)),
        _whole(packed.tallies, "<i8", pa.int64()),
        _whole(packed.sums, "<f8", pa.float64()),
        pa.array(np.array(packed.low, np.float64)),
        pa.array(np.array(packed.high, np.float64)),
        ragged(bins.astype(np.int64), bin_ends, pa.int64()),
        ragged(pa.array(texts, pa.string()), label_ends, pa.string()),
        ragged(unpack_all(packed.counts, sizes), offsets_of(sizes), pa.int64()),
        ragged(registers.astype(np.int32), register_ends, pa.int32()),
    ]
    return pa.table(arrays, schema=SCHEMA)


def _pack_counts(counts: Ints, sizes: Ints) -> list[bytes]:
    narrow = np.iinfo(np.int32)
    if not len(counts) or (counts.max() <= narrow.max and counts.min() >= narrow.min):
        return cut(counts, sizes, "<i4")
    rows = np.split(counts, np.cumsum(sizes)[:-1])
    return [
        row.astype("<i8" if len(row) and (row.max() > narrow.max or row.min() < narrow.min) else "<i4").tobytes()
        for row in rows
    ]


def _nullable(values: Any) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def _pack_labels(labels: list[str]) -> bytes:
    texts = [label.encode() for label in labels]
    return np.array([len(t) for t in texts], "<i4").tobytes() + b"".join(texts)


def unpack_counts(packed: bytes, size: int) -> list[int]:
    """One row's counts."""
    found: list[int] = unpack_all([packed], np.array([size], np.int64)).tolist()
    return found


def unpack_labels(packed: bytes, size: int) -> Iterator[str]:
    """One row's labels."""
    ends = 4 * size + np.cumsum(np.frombuffer(packed[: 4 * size], "<i4"))
    start = 4 * size
    for end in ends.tolist():
        yield packed[start:end].decode()
        start = end


def unpack_all(packed: Sequence[bytes], sizes: Ints) -> Ints:
    """The counts of some rows, one after the other."""
    if sum(map(len, packed)) == 4 * int(sizes.sum()):
        return np.frombuffer(b"".join(packed), "<i4").astype(np.int64)
    parts = [np.frombuffer(p, "<i4" if len(p) == 4 * n else "<i8") for p, n in zip(packed, sizes, strict=True)]
    return np.concatenate(parts).astype(np.int64)


def _whole(blobs: Sequence[bytes], dtype: str, item: pa.DataType) -> pa.ListArray:
    width = np.dtype(dtype).itemsize
    ends = offsets_of(np.array([len(b) // width for b in blobs], np.int64))
    return ragged(np.frombuffer(b"".join(blobs), dtype), ends, item)
