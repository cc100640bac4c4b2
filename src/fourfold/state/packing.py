"""Counts tables to rows of the state store and back: whole columns at a time, never bin by bin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fourfold.counts import KINDS, SCHEMA, lists, offsets_of, ragged
from fourfold.counts.binning import Ints


class Packed(NamedTuple):
    """One row's counts as they are stored; ``bins`` is packed labels where the kind is "category"."""

    tallies: bytes
    sums: bytes
    low: float | None
    high: float | None
    size: int
    bins: bytes
    counts: bytes
    registers: bytes


def pack(table: pa.Table) -> Iterator[Packed]:
    """Each row's counts in packed form: 32-bit bins and counts (64-bit where needed), 16-bit registers."""
    tallies, sums = _Cut(table["tallies"], "<i8"), _Cut(table["sums"], "<f8")
    bins, registers = _Cut(table["bins"], "<i4"), _Cut(table["registers"], "<u2")
    counts, sizes = lists(table["counts"])
    ends = np.cumsum(sizes).tolist()
    low, high = (_nullable(table[name].to_numpy()) for name in ("low", "high"))
    labels = table["labels"].to_pylist()
    for i, end in enumerate(ends):
        part = counts[end - int(sizes[i]) : end]
        wide = len(part) and (part.max() > 2**31 - 1 or part.min() < -(2**31))
        packed_bins = _pack_labels(labels[i]) if labels[i] else bins.row(i)
        yield Packed(
            tallies.row(i), sums.row(i), low[i], high[i], int(sizes[i]), packed_bins,
            part.astype("<i8" if wide else "<i4").tobytes(), registers.row(i),
        )  # fmt: skip


def unpack(keys: Sequence[Sequence[Any]], columns: Sequence[Sequence[Any]]) -> pa.Table:
    """A counts table from its keys (column, kind, slice, bucket, binning) and the fields of ``Packed``, by column."""
    sizes = np.array(columns[4], np.int64)
    is_label = np.array([KINDS[kind].labelled for kind in keys[1]], bool)
    bin_ends, label_ends = offsets_of(np.where(is_label, 0, sizes)), offsets_of(np.where(is_label, sizes, 0))
    flags = is_label.tolist()
    bins = np.frombuffer(b"".join(b for b, f in zip(columns[5], flags, strict=True) if not f), "<i4")
    texts = [t for b, f, n in zip(columns[5], flags, columns[4], strict=True) if f for t in unpack_labels(b, n)]
    registers = np.frombuffer(b"".join(columns[7]), "<u2")
    register_ends = offsets_of(np.array([len(r) // 2 for r in columns[7]], np.int64))
    arrays = [
        pa.array(keys[0], pa.string()),
        pa.array(keys[1], pa.string()),
        pa.array(keys[2], pa.string()),
        pa.array(keys[3], pa.int64()),
        pa.array(keys[4], pa.int64()),
        _whole(columns[0], "<i8", pa.int64()),
        _whole(columns[1], "<f8", pa.float64()),
        pa.array(np.array(columns[2], np.float64)),
        pa.array(np.array(columns[3], np.float64)),
        ragged(bins.astype(np.int64), bin_ends, pa.int64()),
        ragged(pa.array(texts, pa.string()), label_ends, pa.string()),
        ragged(_unpack_counts(columns[6], sizes), offsets_of(sizes), pa.int64()),
        ragged(registers.astype(np.int32), register_ends, pa.int32()),
    ]
    return pa.table(arrays, schema=SCHEMA)


class _Cut:
    """A list column as bytes, cut row by row."""

    def __init__(self, column: pa.ChunkedArray, dtype: str) -> None:
        flat, lengths = lists(column)
        self._bytes = flat.astype(dtype).tobytes()
        self._ends = (offsets_of(lengths) * np.dtype(dtype).itemsize).tolist()

    def row(self, i: int) -> bytes:
        return self._bytes[self._ends[i] : self._ends[i + 1]]


def _nullable(values: Any) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def _pack_labels(labels: list[str]) -> bytes:
    texts = [label.encode() for label in labels]
    return np.array([len(t) for t in texts], "<i4").tobytes() + b"".join(texts)


def unpack_counts(packed: bytes, size: int) -> list[int]:
    """One row's counts."""
    found: list[int] = _unpack_counts([packed], np.array([size], np.int64)).tolist()
    return found


def unpack_labels(packed: bytes, size: int) -> Iterator[str]:
    """One row's labels."""
    ends = 4 * size + np.cumsum(np.frombuffer(packed[: 4 * size], "<i4"))
    start = 4 * size
    for end in ends.tolist():
        yield packed[start:end].decode()
        start = end


def _unpack_counts(packed: Sequence[bytes], sizes: Ints) -> Ints:
    if sum(map(len, packed)) == 4 * int(sizes.sum()):
        return np.frombuffer(b"".join(packed), "<i4").astype(np.int64)
    parts = [np.frombuffer(p, "<i4" if len(p) == 4 * n else "<i8") for p, n in zip(packed, sizes, strict=True)]
    return np.concatenate(parts).astype(np.int64)


def _whole(blobs: Sequence[bytes], dtype: str, item: pa.DataType) -> pa.ListArray:
    width = np.dtype(dtype).itemsize
    ends = offsets_of(np.array([len(b) // width for b in blobs], np.int64))
    return ragged(np.frombuffer(b"".join(blobs), dtype), ends, item)
