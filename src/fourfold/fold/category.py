"""Categorical columns: their values as text, the 256 heaviest a bucket, and HyperLogLog for distinct counts.

HyperLogLog: Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm",
AofA 2007. Its registers are merged by taking the larger, so they add up like counts do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold import counts
from fourfold.counts import KINDS, RANK_BITS, REGISTER_BITS
from fourfold.counts.binning import Ints
from fourfold.fold.groups import Groups
from fourfold.fold.numeric import count_codes, counts_table
from fourfold.model import LONGEST_LABEL, label_of

TALLIES = {name: i for i, name in enumerate(KINDS["category"].tallies)}
_RANDOM = np.random.default_rng(20130101)
_BYTE_WORDS = _RANDOM.integers(0, 1 << 63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_MULTIPLIER = 0x9E3779B97F4A7C15


def fold_category(texts: pa.Array, groups: Groups, column: str) -> pa.Table:
    """The counts table of a text column (a string array, nulls allowed): one row a group."""
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    tallies[:, TALLIES["rows"]] = groups.sizes
    if texts.null_count:
        valid = texts.is_valid().to_numpy(zero_copy_only=False)
        tallies[:, TALLIES["null"]] = np.bincount(groups.ids[~valid], minlength=groups.size)
        texts, groups = texts.drop_null(), groups.where(valid)
    encoded = texts if isinstance(texts, pa.DictionaryArray) else texts.dictionary_encode()
    codes, counted, sizes = count_codes(encoded.indices.to_numpy().astype(np.int64), groups)
    labels = labels_of(encoded.dictionary)  # a long one holds a hash of its whole value, so it tells as much
    entries = hyperloglog_entries(hash_texts(labels))
    registers, register_sizes = _registers(entries[codes], np.repeat(np.arange(groups.size), sizes), groups.size)
    table = counts_table(
        column, "category", groups, tallies, np.zeros((groups.size, 0)), codes, counted, sizes,
        labels=labels.take(pa.array(codes)), registers=registers, register_sizes=register_sizes,
    )  # fmt: skip
    too_many = sizes.size and sizes.max() > counts.MAX_CATEGORIES
    return counts.add(table) if too_many or labels is not encoded.dictionary else table


def fold_identifier(texts: pa.Array, groups: Groups, column: str) -> pa.Table:
    """As ``fold_category``, of a column whose values are nearly all distinct: they are *other*, and how many differ."""
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    tallies[:, TALLIES["rows"]] = groups.sizes
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    there = groups.ids[valid]
    tallies[:, TALLIES["other"]] = np.bincount(there, minlength=groups.size)
    tallies[:, TALLIES["null"]] = groups.sizes - tallies[:, TALLIES["other"]]
    entries = hyperloglog_entries(hash_texts(labels_of(texts.drop_null())))
    registers, register_sizes = _registers(entries, there, groups.size)
    none = np.zeros(0, np.int64)
    return counts_table(
        column, "category", groups, tallies, np.zeros((groups.size, 0)), none, none, np.zeros(groups.size, np.int64),
        labels=pa.array([], pa.string()), registers=registers, register_sizes=register_sizes,
    )  # fmt: skip


def labels_of(texts: pa.StringArray) -> pa.StringArray:
    """Each text as a label (see ``model.label``); the array itself where none is too long."""
    if not pc.any(pc.greater(pc.utf8_length(texts), LONGEST_LABEL)).as_py():
        return texts
    return pa.array([None if text is None else label_of(text) for text in texts.to_pylist()], pa.string())


def hash_texts(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each string, the same on every machine and in every process.

    A random word for each byte, weighted by the byte's position and mixed at the end (splitmix64).
    """
    texts = texts.cast(pa.binary())
    if not len(texts):
        return np.zeros(0, np.uint64)
    _, offsets_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    lengths = np.diff(offsets)
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]] if data_buffer else np.zeros(0, np.uint8)
    place = np.arange(len(data)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    with np.errstate(over="ignore"):
        weights = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _MULTIPLIER, np.uint64))
        words = np.append(_BYTE_WORDS[data] * weights[place], np.uint64(0))
        sums = np.add.reduceat(words, offsets[:-1] - offsets[0])
        sums[lengths == 0] = 0  # of an empty stretch, reduceat returns the element after it
        return _mix(sums + lengths.astype(np.uint64))


def hyperloglog_entries(hashes: npt.NDArray[np.uint64]) -> Ints:
    """Each hash as register number × 32 + rank (the position of its first 1 after the register's bits)."""
    register = (hashes >> np.uint64(64 - REGISTER_BITS)).astype(np.int64)
    rest = hashes << np.uint64(REGISTER_BITS)
    _, exponent = np.frexp(rest.astype(np.float64))  # rest is in [2^(exponent−1), 2^exponent)
    rank = np.where(rest == 0, (1 << RANK_BITS) - 1, 65 - exponent)
    return register << RANK_BITS | np.minimum(rank, (1 << RANK_BITS) - 1)


def _registers(entries: Ints, group: Ints, size: int) -> tuple[Ints, Ints]:
    span = 1 << (REGISTER_BITS + RANK_BITS)
    distinct = counts.largest_rank(np.unique(group * span + entries))
    return distinct % span, np.bincount(distinct // span, minlength=size)


def _mix(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
