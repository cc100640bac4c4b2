"""The changes of a stream's log between two versions, from its commits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from fourfold.errors import StoreError
from fourfold.log.commits import Commit
from fourfold.log.keys import records_of
from fourfold.log.paths import StorePath, all_exist, dataset, path_of
from fourfold.log.records import read, readable, size


class TruncatedLogError(StoreError):
    """The files between two versions are gone: counts have to be folded from the start."""


@dataclasses.dataclass(frozen=True)
class Changes:
    """The changes of a stream between two versions, as Parquet files of records.

    ``before`` was there and still is, ``added`` is new, ``removed`` is gone. The version is −1 without a log.
    """

    version: int
    schema: pa.Schema
    before: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def records(self, where: pc.Expression, columns: Sequence[str] | None = None) -> pa.Table:
        """The added records that fit a condition."""
        with readable(str(path_of(self.added[0]).parent) if self.added else "nothing", "a data file in "):
            return self._records(where, columns)

    def _records(self, where: pc.Expression, columns: Sequence[str] | None) -> pa.Table:
        source = dataset(self.added, self.schema) if self.added else pds.dataset(self.schema.empty_table())
        try:
            return source.to_table(columns, filter=where)
        except pa.ArrowNotImplementedError:
            # files that the Delta engine rewrote hold texts in a form that Arrow cannot compare with their statistics
            batches = (pa.Table.from_batches([batch]).filter(where) for batch in source.to_batches())
            whole = pa.concat_tables([self.schema.empty_table(), *(batch for batch in batches if batch.num_rows)])
            return whole if columns is None else whole.select(columns)

    def before_with(self, keys: pa.Array, columns: Sequence[str], most: int | None = None) -> pa.Table | None:
        """Some columns of the records before that have one of some keys; None where all have to be read for that."""
        return records_of(self.before, keys, self.schema, columns, most)

    def dataset(self, files: Sequence[str]) -> pds.Dataset:
        """Some of the files, at least one, to be read in part."""
        return dataset(files, self.schema)

    def read(self, files: Sequence[str], columns: Sequence[str], most: int) -> pa.Table | None:
        """Some columns of the records of some of the files; None where there are more than so many."""
        return read(files, self.schema, columns, most)

    def sizes(self) -> list[int]:
        """How many records each of the added files holds."""
        return [size(file) for file in self.added]

    def rows(self) -> int:
        """How many records all the files hold."""
        return sum(map(size, (*self.before, *self.added, *self.removed)))


def changes_since(folder: StorePath, since: int, version: int, schema: pa.Schema, files: Iterable[str]) -> Changes:
    """What was added to and removed from a table since a version; ``files`` are those of its newest one.

    Raises:
        BucketError: a bucket could not be asked.
        TruncatedLogError: a commit or a data file that is needed is gone, or the columns were brought to other types.
    """
    newest, added, removed = set(files), set[str](), set[str]()
    before = newest
    for number in range(version, since, -1):  # back to what stood then
        try:
            commit = Commit.read(folder, number)
        except (OSError, ValueError) as error:
            raise TruncatedLogError(f"commit {number} of {folder} cannot be read: {error}") from error
        if commit.overwrites:
            raise TruncatedLogError(f"the columns of {folder} were brought to wider types")
        before = before - commit.paths(added=True) | commit.paths(added=False)
        added |= commit.paths(added=True, is_change=True)
        removed |= commit.paths(added=False, is_change=True)
    added, removed = added - removed, removed - added
    # compaction followed by deletion cannot be told apart file by file: fold from the start
    if not removed <= before or not all_exist(before | added, newest):
        raise TruncatedLogError(f"files of {folder} since version {since} are gone")
    kept, new, gone = (tuple(sorted(part)) for part in (before - removed, added, removed))
    return Changes(version, schema, kept, new, gone)
