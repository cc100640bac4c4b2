"""The group (a slice in a time bucket) of each record: computed once, used by every column."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts.binning import Ints
from fourfold.model import DAY, EVERYTHING, HOUR, KEEP_HOURS, OTHER, slice_key, slice_label

CHUNK = 1 << 14  # records worked on at a time: 128 KiB a float column, which stays in the processor's cache


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Some records in order of their group. ``order`` is None where they are in order as they stand."""

    records: slice
    order: npt.NDArray[np.intp] | None
    ids: Ints  # of the records in order, counted from the first group present
    starts: Ints  # where each present group's records begin
    present: Ints  # the groups that occur

    @property
    def span(self) -> int:
        """How many groups lie between the first and the last that occur."""
        return int(self.present[-1] - self.present[0]) + 1


@dataclasses.dataclass(frozen=True)
class Groups:
    """``ids[i]`` is the group of record i; group g is the slice ``slices[g]`` in the bucket ``buckets[g]``."""

    ids: Ints
    slices: list[str]
    buckets: Ints

    @property
    def size(self) -> int:
        """How many groups there are."""
        return len(self.buckets)

    @functools.cached_property
    def sizes(self) -> Ints:
        """How many records each group has."""
        return np.bincount(self.ids, minlength=self.size)

    @functools.cached_property
    def slice_array(self) -> pa.StringArray:
        """The slices as an Arrow array: made once, for each column's counts hold them."""
        return pa.array(self.slices, pa.string())

    @functools.cached_property
    def bucket_array(self) -> pa.Int64Array:
        """The buckets as an Arrow array."""
        return pa.array(self.buckets)

    @functools.cached_property
    def chunks(self) -> list[Chunk]:
        """The records in chunks: worked out once, for every column needs them."""
        return list(self._make_chunks())

    def where(self, mask: npt.NDArray[np.bool_]) -> Groups:
        """The same groups, for the records of the mask only."""
        return Groups(self.ids[mask], self.slices, self.buckets)

    def used(self) -> Groups:
        """The same records, without the groups in which none of them falls."""
        ids, kept = _factorise(self.ids)
        return Groups(ids, [self.slices[g] for g in kept], self.buckets[kept])

    def _make_chunks(self) -> Iterator[Chunk]:
        narrow = self.ids.astype(np.uint16) if self.size <= 1 << 16 else self.ids  # 16 bits are sorted by radix
        for at in range(0, len(narrow), CHUNK):
            ids, order = narrow[at : at + CHUNK], None
            if (ids[1:] < ids[:-1]).any():
                order = np.argsort(ids, kind="stable")
                ids = ids[order]
            starts = np.concatenate(([0], np.flatnonzero(ids[1:] != ids[:-1]) + 1))
            wide = ids.astype(np.int64)
            yield Chunk(slice(at, at + len(ids)), order, wide - wide[0], starts, wide[starts])


def bucket_starts(seconds: Ints) -> Ints:
    """The bucket of each event time: its hour, or its day where the hours will not be kept (see ``KEEP_HOURS``)."""
    if not len(seconds):
        return seconds
    days, kept = seconds // DAY, KEEP_HOURS // DAY
    if int(days.max()) - int(days.min()) < kept:
        return seconds // HOUR * HOUR
    oldest = int(np.unique(days)[-kept:][0]) * DAY  # of the days that occur: one far ahead takes one's place only
    return np.where(seconds >= oldest, seconds // HOUR * HOUR, seconds // DAY * DAY)


@dataclasses.dataclass(frozen=True)
class Split:
    """One way to split records: the names of its parts, and of each record the value of each part as text.

    ``kept`` holds the combinations of values with their own slice, None if all have one; the others share one slice
    whose values are ``OTHER``.
    """

    names: tuple[str, ...]
    values: tuple[pa.Array, ...]
    kept: frozenset[tuple[str | None, ...]] | None = None

    def groups(self, starts: Ints, mask: npt.NDArray[np.bool_] | None = None) -> Groups:
        """The groups of the records of the mask, by slice and bucket; the others have none."""
        values = self.values
        if mask is not None and not mask.all():
            starts, values = starts[mask], tuple(v.filter(pa.array(mask)) for v in values)
        buckets, hours = _factorise(starts // HOUR)
        code = np.zeros(len(starts), np.int64)
        texts: list[tuple[str | None, ...]] = [()]
        for column in values:
            encoded = column.cast(pa.string()).dictionary_encode(null_encoding="encode")
            here = [None if text is None else slice_label(text) for text in encoded.dictionary.to_pylist()]
            width = max(len(here), 1)
            code, used = _factorise(code * width + encoded.indices.to_numpy().astype(np.int64))
            texts = [(*texts[u // width], here[u % width]) for u in used.tolist()]
        if self.kept is not None:
            rest = (OTHER,) * len(self.names)
            texts = [text if text in self.kept else rest for text in texts]
            distinct = list(dict.fromkeys(texts))
            place = {text: i for i, text in enumerate(distinct)}
            code, texts = np.array([place[text] for text in texts], np.int64)[code], distinct
        ids, cells = _factorise(buckets * max(len(texts), 1) + code)
        bucket, text = np.divmod(cells, max(len(texts), 1))
        keys = [slice_key(dict(zip(self.names, values, strict=True))) for values in texts]
        return Groups(ids, [keys[t] for t in text], hours[bucket] * HOUR)


def group_records(starts: Ints, slices: pa.Table | None = None, *, everything: bool = True) -> list[Groups]:
    """The groups of records: all of them by bucket, and one set for each column of ``slices``.

    ``starts`` is the start of each record's bucket, a whole hour, in seconds since 1970.
    """
    codes, hours = _factorise(starts // HOUR)
    buckets = hours * HOUR
    out = [Groups(codes, [EVERYTHING] * len(buckets), buckets)] if everything else []
    for name in slices.column_names if slices is not None else ():
        assert slices is not None
        out.append(Split((name,), (slices[name].combine_chunks(),)).groups(starts))
    return out


def _factorise(values: Ints) -> tuple[Ints, Ints]:
    """Values to codes 0…k−1 and the k sorted distinct values; linear where their range is moderate."""
    if not len(values):
        return values.astype(np.int64), values.astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low == high:
        return np.zeros(len(values), np.int64), np.array([low])
    if high - low > 4 * len(values) + 1_000_000:
        distinct, codes = np.unique(values, return_inverse=True)
        return codes.astype(np.int64), distinct
    present = np.zeros(high - low + 1, bool)
    present[values - low] = True
    distinct = np.flatnonzero(present)
    position = np.zeros(len(present), np.int64)
    position[distinct] = np.arange(len(distinct))
    return position[values - low], distinct + low


def event_seconds(column: pa.ChunkedArray | pa.Array) -> Ints:
    """A timestamp column without nulls as whole seconds since 1970 (rounded down)."""
    micros = pc.cast(column, pa.timestamp("us", "UTC")).cast(pa.int64())
    seconds: Ints = micros.to_numpy() // 1_000_000
    return seconds
