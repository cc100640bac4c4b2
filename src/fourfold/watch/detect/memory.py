"""What a detector remembers of each series, and its form in bytes."""

from __future__ import annotations

import functools
import json
import math
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fourfold.counts.binning import Floats, Ints
from fourfold.watch.detect.robust import median as middle

__all__ = ["History", "middle", "pack", "unpack"]

MAGIC = b"fourfold detector 3\n"  # the number is the version of what follows
_LENGTH = 8  # bytes of the length of the head
CHECK = 4  # bytes of the checksum after it
_ROWS = "rows of "
GRIDS = {"y": np.float32, "v": np.float32, "e": np.float32, "moved": np.float32, "out": np.bool_}
SPARSE = ("moved", "out")  # grids of which most rows are zero: only the others are written
GONE = 1 / 4  # of the series: so many may be remembered of which there has long been nothing
SUMS = (2, 5)  # up and down, by effect
COLUMNS = {
    "open": np.bool_, "began": np.int64, "low": np.int64, "high": np.int64, "length": np.int64,
    "shift": np.float64, "over": np.float64, "peak": np.float64, "family": np.int64, "total": np.int64,
}  # fmt: skip


class History:
    """The newest buckets of all series, a row each, and what is open.

    The grids: ``y`` the values, ``v`` their sampling variances, ``e`` by how much they differed from what was expected,
    ``moved`` by how much later changes have moved what is normal since, ``out`` whether a bucket is no part of the
    baseline. The columns are of ``times``.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.index: dict[str, int] = {}
        self.families: dict[str, int] = {}
        self.times: Ints = np.zeros(0, dtype=np.int64)
        self.y = self.v = self.e = self.moved = np.zeros((0, 0), dtype=np.float32)
        self.out = np.zeros((0, 0), dtype=bool)
        self.open = np.zeros(0, dtype=bool)
        self.began = self.low = self.high = self.length = self.family = self.total = np.zeros(0, dtype=np.int64)
        self.shift = self.over = self.peak = np.zeros(0)
        self.sums = np.zeros((0, *SUMS), dtype=np.float32)

    @property
    def filled(self) -> int:
        """How many buckets are remembered."""
        return len(self.times)

    def advance(self, bucket: int) -> None:
        """Make room for a bucket; the oldest is forgotten once there is no more."""
        if self.filled and bucket <= self.times[-1]:
            raise ValueError(f"buckets come in order: {bucket} is not after {int(self.times[-1])}")
        drop = max(0, self.filled + 1 - self.capacity)
        self.times = np.append(self.times[drop:], bucket)
        for name, kind in GRIDS.items():
            grid = getattr(self, name)
            grown: npt.NDArray[np.generic] = np.empty((len(grid), self.filled), dtype=kind)
            grown[:, :-1] = grid[:, drop:]
            grown[:, -1] = _empty(name)
            setattr(self, name, grown)
        if drop:
            self._forget()

    def _forget(self) -> None:
        """Drop the series of which nothing is remembered any more, once they are many."""
        kept = ~np.isnan(self.y).all(axis=1) | self.open
        if np.count_nonzero(~kept) <= len(kept) * GONE:
            return
        for name in (*GRIDS, *COLUMNS, "sums"):
            setattr(self, name, getattr(self, name)[kept])
        keys = [key for key, row in self.index.items() if kept[row]]
        self.index = {key: row for row, key in enumerate(keys)}

    def rows(self, keys: Sequence[str], family: Sequence[str] | None) -> Ints:
        """The row of each key; new ones are added."""
        index = self.index
        before = len(index)
        rows = np.fromiter((index.setdefault(key, len(index)) for key in keys), dtype=np.int64, count=len(keys))
        new = len(index) - before
        if new:
            for name, kind in GRIDS.items():
                fill = _empty(name)
                more: npt.NDArray[np.generic] = np.full((new, self.filled), fill, dtype=kind)
                setattr(self, name, np.concatenate([getattr(self, name), more]))
            for name, kind in COLUMNS.items():
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(new, dtype=kind)]))
            self.sums = np.concatenate([self.sums, np.full((new, *SUMS), -np.inf, dtype=np.float32)])
        families, names = self.families, family if family is not None else [""] * len(keys)
        self.family[rows] = np.fromiter(
            (families.setdefault(name, len(families)) for name in names), dtype=np.int64, count=len(keys)
        )
        return rows

    def learn(self, rows: Ints, values: Floats, noise: Floats, errors: Floats) -> None:
        """The newest bucket of some rows."""
        self.y[rows, -1], self.v[rows, -1], self.e[rows, -1] = values, noise, errors
        self.total[rows] += np.isfinite(errors)


def _empty(grid: str) -> float:
    return 0 if grid in ("out", "moved") else np.nan


def pack(numbers: dict[str, float], history: History) -> bytes:
    """A detector's numbers and history as bytes: a checksum, a head as JSON, and the arrays one after the other."""
    arrays = {name: getattr(history, name) for name in (*GRIDS, *COLUMNS, "times", "sums")}
    for name in SPARSE:
        arrays[_ROWS + name] = rows = np.flatnonzero(arrays[name].any(axis=1)).astype(np.int64)
        arrays[name] = arrays[name][rows]
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = {
        "numbers": numbers,
        "capacity": history.capacity,
        "keys": list(history.index),
        "families": list(history.families),
        "arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
    }
    text = json.dumps(head).encode()
    parts = [len(text).to_bytes(_LENGTH, "big"), text, *(array.data for array in arrays.values() if array.size)]
    check = functools.reduce(lambda check, part: zlib.crc32(part, check), parts, 0)
    return b"".join((MAGIC, check.to_bytes(CHECK, "big"), *parts))  # one copy: it may be large


def unpack(data: bytes) -> tuple[dict[str, float], History]:
    """The inverse of ``pack``. Raises ``ValueError``."""
    start = len(MAGIC) + CHECK
    body = memoryview(data)[start:]
    if data[: len(MAGIC)] != MAGIC or zlib.crc32(body).to_bytes(CHECK, "big") != data[len(MAGIC) : start]:
        raise ValueError(f"these are not the bytes of a detector, which begin with {MAGIC!r} and a checksum that fits")
    try:
        at = _LENGTH + int.from_bytes(body[:_LENGTH], "big")
        head = json.loads(bytes(body[_LENGTH:at]))
        arrays = {}
        for name, kind, shape in head["arrays"]:
            count = math.prod(shape)
            arrays[name] = np.frombuffer(body, kind, count, at).reshape(shape)
            at += arrays[name].nbytes
        return head["numbers"], _history(head["capacity"], head["keys"], head["families"], arrays)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"these are not the bytes of a detector: {error}") from error


def _history(
    capacity: int, keys: list[str], families: list[str], arrays: dict[str, npt.NDArray[np.generic]]
) -> History:
    history = History(int(capacity))
    history.index = {str(key): row for row, key in enumerate(keys)}
    history.families = {str(name): row for row, name in enumerate(families)}
    history.times = np.asarray(arrays["times"], dtype=np.int64)
    shape = (len(history.index), len(history.times))
    for name, kind in (GRIDS | COLUMNS | {"sums": np.float32}).items():
        array: Floats = np.asarray(arrays[name])
        if name in SPARSE:
            whole: Floats = np.zeros(shape, array.dtype)
            whole[arrays[_ROWS + name]] = array
            array = whole
        wanted = shape if name in GRIDS else (shape[0], *SUMS) if name == "sums" else shape[:1]
        if array.dtype != kind or array.shape != wanted:
            raise ValueError(f"{name} is {array.dtype}{array.shape}")
        setattr(history, name, array if name in SPARSE else array.copy())
    return history
