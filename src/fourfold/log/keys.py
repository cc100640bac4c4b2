"""Finds the records of some keys without reading the log: an index of keys beside each data file.

An index holds a 64-bit number for each record that has a key: 48 bits of the key's hash, then 16 bits for the row group
that the record is in, in order. So it takes 8 MB on the disk for a million records; it is mapped into memory, and
searching it for a few thousand keys touches few of its pages. Two keys of one hash cost a needless read and no more.

An index is only a cache. Data files never change once written, so an index is valid as long as it is intact and made
for a file of that size; else it is rebuilt. It is removed with its data file (see ``prune``).
"""

from __future__ import annotations

import functools
import hashlib
import os
import struct
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.fold.category import hash_texts
from fourfold.log.bucket import endpoint
from fourfold.log.paths import StorePath, open_parquet
from fourfold.log.records import read_file, readable
from fourfold.model.records import KEY

Words = npt.NDArray[np.uint64]

FOLDER = "_keys"  # in a stream's folder; what begins with "_" is none of the Delta engine's
FEW = 50_000  # keys, or records to read, for which an index is always worth asking
KEYS_SHARE, RECORDS_SHARE = 1 / 8, 1 / 4  # of the records, beyond which reading all of them is quicker
LOOKUPS = 4  # of a key in a file's index take as long as reading a record
_MAGIC = b"ffkeys1\0"
_HEADER = struct.Struct("<8sQQQ")  # the magic, the data file's size, how many numbers there are, and their sum
_GROUP_BITS = np.uint64(16)
_GROUPS = 1 << 16


def records_of(
    files: Sequence[str], keys: pa.Array, schema: pa.Schema, columns: Sequence[str], most: int | None = None
) -> pa.Table | None:
    """The records that have one of some keys, read from the row groups that hold such keys.

    Args:
        files: the data files of one stream.
        keys: distinct texts.
        schema: the stream's columns; a file that lacks one has nulls in it.
        columns: those that are wanted, ``KEY`` among them.
        most: how many records may be read for it; None: a share of all.

    Returns:
        The records, or None where it is better to read all files: so many keys are sought, or found, that no time is
        saved, or an index can be neither read nor written.
    """
    places = _places(files, keys, most)
    if places is None:
        return None
    wanted = pa.schema([schema.field(name) for name in columns])
    tables = [read_file(file, schema, columns, groups) for file, groups in places.items()]
    candidates = pa.concat_tables([wanted.empty_table(), *tables])
    return candidates.filter(pc.is_in(candidates[KEY], keys)) if tables else candidates


def prune(folder: StorePath, kept: Collection[str]) -> None:
    """Remove the indexes of a stream's data files but those that are kept, given by their paths."""
    names = {_name(file) for file in kept}
    for path in Path(_folder(str(folder / "file"))).glob("*"):
        if path.name not in names:
            path.unlink(missing_ok=True)
    _mapped.cache_clear()


def _places(files: Sequence[str], keys: pa.Array, most: int | None = None) -> dict[str, list[int]] | None:
    """The row groups that may hold one of the keys, by file; None where all files are better read."""
    prefixes = np.unique(hash_texts(keys) >> _GROUP_BITS) << _GROUP_BITS
    indexes: dict[str, Words] = {}
    for file in files:
        index = _index(file)
        if index is None:
            return None
        indexes[file] = index
    records = sum(map(len, indexes.values()))
    if len(keys) > max(FEW, records * KEYS_SHARE) or len(keys) * len(files) > max(FEW, records * LOOKUPS):
        return None
    places: dict[str, list[int]] = {}
    to_read = 0
    for file, index in indexes.items():
        groups = _groups_with(index, prefixes)
        if len(groups):
            with readable(file), open_parquet(file) as data:
                layout = data.metadata
            to_read += sum(layout.row_group(group).num_rows for group in groups)
            places[file] = groups
    limit = max(FEW, records * RECORDS_SHARE)
    return None if to_read > (limit if most is None else min(most, limit)) else places


def _groups_with(index: Words, prefixes: Words) -> list[int]:
    """The row groups whose records have one of the hashes."""
    firsts = np.searchsorted(index, prefixes)
    inside = firsts < len(index)
    firsts, prefixes = firsts[inside], prefixes[inside]
    groups: set[int] = set()
    while len(firsts):  # once for nearly all: few keys have several records in one file
        numbers = index[firsts]
        same = (numbers >> _GROUP_BITS) << _GROUP_BITS == prefixes
        groups.update((numbers[same] & np.uint64(_GROUPS - 1)).tolist())
        firsts, prefixes = firsts[same] + 1, prefixes[same]
        inside = firsts < len(index)
        firsts, prefixes = firsts[inside], prefixes[inside]
    return sorted(groups)


def _index(file: str) -> Words | None:
    """A data file's index, made where there is none that can be used; None where it cannot be written."""
    path = os.path.join(_folder(file), _name(file))
    size = 0 if "://" in file else os.stat(file).st_size  # in a bucket each name is given once
    index = _read(path, size)
    if index is None:
        index = _made(file)
        if index is None or not _written(path, size, index):
            return None
    return index


def _folder(file: str) -> str:
    """Where the indexes of a stream's files are: beside them, or, of a bucket, in this user's cache."""
    folder = os.path.dirname(file)
    if "://" not in folder:
        return os.path.join(folder, FOLDER)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = hashlib.blake2b(f"{endpoint()} {folder}".encode(), digest_size=16).hexdigest()
    return os.path.join(cache, "fourfold", "keys", name)


def _name(file: str) -> str:
    return f"{os.path.basename(file)}.keys"


def _read(path: str, size: int) -> Words | None:
    """An index, mapped into memory; None where it is missing, damaged, or another file's."""
    try:
        state = os.stat(path)
        return _mapped(path, size, state.st_size, state.st_mtime_ns)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _mapped(path: str, size: int, own_size: int, written: int) -> Words | None:
    """As ``_read``. Whether it is whole is looked at once for each that is written."""
    with open(path, "rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, of_size, count, total = _HEADER.unpack(header)
    if (magic, of_size, _HEADER.size + 8 * count) != (_MAGIC, size, own_size):
        return None
    index = np.memmap(path, np.uint64, "r", _HEADER.size).view(np.ndarray) if count else np.zeros(0, np.uint64)
    whole = _sum(index) == total and bool((index[1:] >= index[:-1]).all())  # a sum alone is blind to their order
    return index if whole else None


def _sum(index: Words) -> int:
    with np.errstate(over="ignore"):
        return int(np.add.reduce(index, dtype=np.uint64))


def _made(file: str) -> Words | None:
    """The index of a data file; None of one in more parts than it can tell apart."""
    parts = [np.zeros(0, np.uint64), *_numbers(file)]
    if len(parts) > _GROUPS:
        return None
    index = np.concatenate(parts)
    index.sort()
    return index


def _numbers(file: str) -> Iterator[Words]:
    """Of each row group the numbers of its records."""
    with readable(file), open_parquet(file) as data:
        for group in range(data.num_row_groups):
            keys = data.read_row_group(group, [KEY], use_threads=False)[KEY].drop_null()
            hashes = [hash_texts(chunk.cast(pa.string())) for chunk in keys.chunks]
            whole = np.concatenate([np.zeros(0, np.uint64), *hashes])
            yield (whole >> _GROUP_BITS) << _GROUP_BITS | np.uint64(group % _GROUPS)


def _written(path: str, size: int, index: Words) -> bool:
    """Write an index; whether it could be."""
    hidden = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(hidden, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, size, len(index), _sum(index)))
            index.tofile(file)
        os.replace(hidden, path)
    except OSError:
        return False
    return True
