"""Records that this process has just appended: what counts them next need not read their files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection

import pyarrow as pa

from fourfold.log.paths import StorePath

MOST_BYTES = 32 << 20  # kept in all


class RecentRecords:
    """The records in data files by the files' paths, the newest ones, as many as there is room for.

    Data files do not change once they are written, so that a copy is right as long as its file is asked for.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, path: str, records: pa.Table) -> None:
        """Keep what was written to a file; the oldest are let go of where there is no room."""
        with self._lock:
            if records.nbytes <= self._most_bytes and path not in self._tables:
                self._tables[path] = records
                self._bytes += records.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._tables.popitem(last=False)[1].nbytes

    def get(self, path: str, wanted: pa.Schema) -> pa.Table | None:
        """The columns of a file that is kept, where it has them in these types."""
        records = self._tables.get(path)
        if records is None:
            return None
        types = dict(zip(records.schema.names, records.schema.types, strict=True))
        if any(types.get(field.name) != field.type for field in wanted):
            return None
        return records.select(wanted.names).cast(wanted)

    def rows(self, path: str) -> int | None:
        """How many records of a file are kept: all or, as None, none."""
        records = self._tables.get(path)
        return None if records is None else records.num_rows

    def drop(self, folder: StorePath, but: Collection[str] = ()) -> None:
        """Let go of the files in a folder, but for some."""
        with self._lock:
            for path in [path for path in self._tables if path.rpartition("/")[0] == str(folder) and path not in but]:
                self._bytes -= self._tables.pop(path).nbytes


RECENT = RecentRecords()
