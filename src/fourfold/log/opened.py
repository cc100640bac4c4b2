"""Which version of a stream's table is open.

In a folder it is the newest one. In a bucket others may have cut away what is open here, and a listing, by which the
Delta engine finds commits, may lack the newest ones: what that matters for asks for a commit directly, by its name.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from fourfold.errors import StoreError
from fourfold.log.bucket import BucketPath, of_client
from fourfold.log.commits import commit_faults, exists, is_table, mark, unlisted
from fourfold.log.forks import refuse_in_fork
from fourfold.log.paths import StorePath, delta_options

_LOOK_AGAIN = 60.0  # seconds after which a bucket is asked again whether it still holds the version that is open
_PANIC = "PanicException"  # of the engine's own language; no subclass of Exception
_LACKING = (  # what the engine says where a listing lacks commits, or a checkpoint, that are there
    "Invalid table version", "is older than the existing snapshot", "no new commits were found",
    "didn't find any checkpoints", "contiguous", "No files in log segment",
)  # fmt: skip


class Opened:
    """The table in a folder, as it is open here."""

    def __init__(self, folder: StorePath) -> None:
        self.folder = folder
        self.version = -1  # that is open
        self.numbers: dict[str, int | None] = {}  # up to which one each writer's messages are in that version
        self._table: DeltaTable | None = None
        self._mark: object = None  # what tells that version's commit from another in its place
        self._seen = -math.inf  # when a bucket was last known to hold that version
        self._is_last = False  # whether there was no further one when the table was last asked for

    def table(self) -> DeltaTable | None:
        """The table as it is now, or as it was a moment ago; None where nothing was logged yet.

        Raises:
            StoreError: it cannot be read.
        """
        with delta_errors(self.folder):
            if self._table is not None:
                version = self._table.version()
                found = mark(self.folder, version)
                is_other = found is None or (self.version == version and self._mark != found)
                if is_other or (time.monotonic() - self._seen > _LOOK_AGAIN and self.is_cut()):
                    self.close()  # the folder was removed, or another is in its place; or others go on from elsewhere
            if self._table is None:
                self._table = self._new()
                if self._table is None:
                    return None
                self._seen, self._is_last = time.monotonic(), not isinstance(self.folder, BucketPath)
            elif exists(self.folder, self._table.version() + 1):
                self._table.update_incremental()
                self._is_last = not isinstance(self.folder, BucketPath)
            else:
                self._is_last = True
            self._note(self._table)
        return self._table

    def is_there(self) -> bool:
        """Whether there is a table, or, in a bucket, was one; none is opened to know it.

        Raises:
            BucketError: a bucket could not be asked.
        """
        if self._table is not None and isinstance(self.folder, BucketPath):
            return True
        return is_table(self.folder)

    def written(self) -> DeltaTable | None:
        """The table at the version that this process has just written, whatever may follow it."""
        if self._table is None:
            return self.table()
        with delta_errors(self.folder):
            self._note(self._table)
        return self._table

    def held(self) -> DeltaTable | None:
        """As ``table``, and it is there now.

        Of a version that another has cut away, files are gone, and a commit on it is seen by nobody.
        """
        if self.is_cut():
            self.close()
        return self.table()

    def newest(self) -> DeltaTable | None:
        """As ``held``, and no commit follows it: what is not in it is not in the log.

        Raises:
            BucketError: one does, and a listing does not have it yet.
        """
        table = self.held()
        if table is not None and not self._is_last and exists(self.folder, table.version() + 1):
            raise unlisted(self.folder)
        return table

    def is_cut(self) -> bool:
        """Whether a bucket does not hold the version that is open any more; in a folder, ``table`` looks each time."""
        if self._table is None or not isinstance(self.folder, BucketPath):
            return False
        self._seen = time.monotonic()
        return not exists(self.folder, self._table.version())

    @property
    def is_open(self) -> bool:
        """Whether any is."""
        return self._table is not None

    def close(self) -> None:
        """Drop the open table; the next use opens it anew."""
        self._table, self.version, self._mark, self.numbers = None, -1, None, {}

    def _note(self, table: DeltaTable) -> None:
        """Note which version is open, if it is another than before."""
        if self.version != (version := table.version()):
            _check_features(table, self.folder)
            self.version, self._mark, self.numbers = version, mark(self.folder, version), {}

    def _new(self) -> DeltaTable | None:
        if not is_table(self.folder):
            return None
        try:  # ``is_deltatable`` would ask a bucket with the interpreter's lock, so that all threads wait
            return DeltaTable(str(self.folder), storage_options=delta_options(self.folder))
        except TableNotFoundError:
            if isinstance(self.folder, BucketPath) and exists(self.folder, 0):
                raise unlisted(self.folder) from None
            return None


@contextlib.contextmanager
def delta_errors(folder: StorePath, error: type[StoreError] = StoreError) -> Iterator[None]:
    """Around what the Delta engine does: its errors as our own, with the folder they are about.

    Raises:
        BucketError: a bucket could not be asked, or its listing lags behind, which says nothing of the log.
        StoreError: all else; also in a child of a process that has used the engine, see ``refuse_in_fork``.
    """
    refuse_in_fork()
    try:
        yield
    except BaseException as fault:
        if isinstance(fault, (DeltaError, OSError)) or type(fault) is Exception or type(fault).__name__ == _PANIC:
            if (asked := of_client(folder, fault)) is not None:
                raise asked from None
            found = commit_faults(folder)
            if isinstance(folder, BucketPath) and not found and any(sign in str(fault) for sign in _LACKING):
                raise unlisted(folder) from None
            text = "; ".join(found) or str(fault).splitlines()[0][:200]
            raise error(f"the log at {folder} cannot be used: {text}") from fault
        raise


def _check_features(table: DeltaTable, folder: StorePath) -> None:
    """Refuse a table of which another engine says that its data files alone do not tell what is in it.

    Raises:
        StoreError: it has deletion vectors, or maps its columns to other names.
    """
    protocol = table.protocol()
    features = {*(protocol.reader_features or ()), *(["columnMapping"] if protocol.min_reader_version == 2 else [])}
    if found := sorted(features & {"columnMapping", "deletionVectors"}):
        raise StoreError(
            f"the log at {folder}: another engine gave the table {found[0]}, which fourfold does not read; there, run "
            f"REORG TABLE … APPLY (PURGE) and ALTER TABLE … DROP FEATURE {found[0]}"
        )
