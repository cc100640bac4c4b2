"""Categorical columns: all of their values as text, and HyperLogLog for distinct counts.

That only the 256 most frequent values of a bucket are kept is up to ``counts.heaviest``, once all is added up: what is
cut earlier depends on how the records were divided.

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
from fourfold.fold.counted import Counted
from fourfold.fold.groups import CHUNK, Groups
from fourfold.fold.numeric import count_codes
from fourfold.model import LONGEST_LABEL, label_of

TALLIES = {name: i for i, name in enumerate(KINDS["category"].tallies)}
Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
_RANDOM = np.random.default_rng(20130101)
_BYTE_WORDS = _RANDOM.integers(0, 1 << 63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_MULTIPLIER = 0x9E3779B97F4A7C15


def fold_category(texts: pa.Array, groups: Groups, column: str) -> Counted:
    """The counts of a text column (a string array, nulls allowed) in each group."""
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    tallies[:, TALLIES["rows"]] = groups.sizes
    if texts.null_count:
        valid = texts.is_valid().to_numpy(zero_copy_only=False)
        tallies[:, TALLIES["null"]] = np.bincount(groups.ids[~valid], minlength=groups.size)
        texts, groups = texts.drop_null(), groups.where(valid)
    encoded = texts if isinstance(texts, pa.DictionaryArray) else texts.dictionary_encode()
    codes, labels = encoded.indices.to_numpy(), labels_of(encoded.dictionary)
    if labels is not encoded.dictionary:  # a long value, and one that is its label, are the same
        labels = labels.dictionary_encode()
        codes, labels = labels.indices.to_numpy()[codes], labels.dictionary
    codes, counted, sizes = count_codes(codes.astype(np.int64), groups)
    group = np.repeat(np.arange(groups.size), sizes)
    registers, register_sizes = _registers(_entries(labels)[codes], group, groups.size)
    return Counted(
        column,
        "category",
        groups,
        tallies,
        labels=labels.take(pa.array(codes)),
        counts=counted,
        sizes=sizes,
        registers=registers,
        register_sizes=register_sizes,
    )


def fold_identifier(texts: pa.Array, groups: Groups, column: str) -> Counted:
    """As ``fold_category``, for a column of nearly distinct values: counts them as *other*, and the distinct ones."""
    tallies = np.zeros((groups.size, len(TALLIES)), np.int64)
    tallies[:, TALLIES["rows"]] = groups.sizes
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    there = groups.ids[valid]
    tallies[:, TALLIES["other"]] = np.bincount(there, minlength=groups.size)
    tallies[:, TALLIES["null"]] = groups.sizes - tallies[:, TALLIES["other"]]
    registers, register_sizes = _registers(_entries(labels_of(texts.drop_null())), there, groups.size)
    return Counted(column, "category", groups, tallies, registers=registers, register_sizes=register_sizes)


def labels_of(texts: pa.StringArray) -> pa.StringArray:
    """Each text as a label (see ``model.label``); the array itself if none is too long."""
    if not pc.any(pc.greater(pc.utf8_length(texts), LONGEST_LABEL)).as_py():
        return texts
    return pa.array([None if text is None else label_of(text) for text in texts.to_pylist()], pa.string())


def hash_texts(texts: pa.Array) -> Words:
    """A 64-bit hash of each string, the same on every machine and in every process.

    A random word for each byte, weighted by the byte's position and mixed at the end (splitmix64).
    """
    texts = texts.cast(pa.binary())
    if not len(texts):
        return np.zeros(0, np.uint64)
    _, offsets_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    with np.errstate(over="ignore"):
        weights: Words = np.multiply.accumulate(np.full(int(lengths.max()), _MULTIPLIER, np.uint64))
        weigh = _weigh_by_text if len(texts) <= len(weights) else _weigh_by_position
        return _mix(weigh(data, offsets[:-1], lengths, weights) + lengths.astype(np.uint64))


def _weigh_by_text(data: Bytes, starts: Ints, lengths: Ints, weights: Words) -> Words:
    """The weighted sum of each text's words, a text at a time: for few long ones."""
    places = zip(starts.tolist(), lengths.tolist(), strict=True)
    return np.array([(_BYTE_WORDS[data[at : at + n]] * weights[:n]).sum() for at, n in places], np.uint64)


def _weigh_by_position(data: Bytes, starts: Ints, lengths: Ints, weights: Words) -> Words:
    """As ``_weigh_by_text``, a position at a time, over all texts that reach it: the longest stand first."""
    order = np.argsort(-lengths, kind="stable") if (lengths != lengths[0]).any() else np.arange(len(lengths))
    places, sums = starts[order], np.zeros(len(lengths), np.uint64)
    reaching = len(lengths) - np.cumsum(np.bincount(lengths))  # how many texts are longer than 0, 1, 2…
    for weight, number in zip(weights, reaching.tolist(), strict=False):
        sums[:number] += (_BYTE_WORDS * weight)[data[places[:number]]]
        places += 1
    in_order = np.empty_like(sums)
    in_order[order] = sums
    return in_order


def _entries(labels: pa.StringArray) -> Ints:
    """The HyperLogLog entry of each label; some at a time, so that what is between stays in the cache."""
    parts = [hyperloglog_entries(hash_texts(labels.slice(at, CHUNK))) for at in range(0, len(labels), CHUNK)]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def hyperloglog_entries(hashes: Words) -> Ints:
    """Each hash as register number × 32 + rank (the position of its first 1 after the register's bits)."""
    register = (hashes >> np.uint64(64 - REGISTER_BITS)).astype(np.int64)
    rest = hashes << np.uint64(REGISTER_BITS)
    _, exponent = np.frexp(rest.astype(np.float64))  # rest is in [2^(exponent−1), 2^exponent)
    rank = np.where(rest == 0, (1 << RANK_BITS) - 1, 65 - exponent)
    return register << RANK_BITS | np.minimum(rank, (1 << RANK_BITS) - 1)


def _registers(entries: Ints, group: Ints, size: int) -> tuple[Ints, Ints]:
    span = 1 << (REGISTER_BITS + RANK_BITS)
    places = group * span + entries
    if size * span <= 8 * len(places):
        seen = np.zeros(size * span, bool)
        seen[places] = True
        distinct = counts.largest_rank(np.flatnonzero(seen))
    else:
        distinct = counts.largest_rank(np.unique(places))
    return distinct % span, np.bincount(distinct // span, minlength=size)


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
