"""One stream of keyed records as a Delta table: append, what is new since a version, compact, delete by key."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from fourfold.errors import StoreError
from fourfold.log.inbox import Message
from fourfold.log.schema import conform, undecided
from fourfold.records import KEY, META

COMPACT_AT = 48  # files; reading one costs about a millisecond
KEEP_REPLACED = 168  # hours for which files that were compacted away can still be read
_CONFIGURATION = {
    "delta.setTransactionRetentionDuration": "interval 30 days",
    "delta.logRetentionDuration": "interval 30 days",
}


class TruncatedLogError(StoreError):
    """The files between two versions are gone: counts have to be folded from the start."""


@dataclasses.dataclass(frozen=True)
class Changes:
    """What happened to a stream between two versions, as Parquet files of records.

    ``before`` stood and still stands, ``added`` is new, ``removed`` is gone. The version is −1 where there is no
    log yet.
    """

    version: int
    schema: pa.Schema
    before: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def records(self, where: pc.Expression, columns: Sequence[str] | None = None) -> pa.Table:
        """The added records that fit a condition."""
        if self.added:
            found = pds.dataset(list(self.added), schema=self.schema, format="parquet")
        else:
            found = pds.dataset(self.schema.empty_table())
        return found.to_table(columns, filter=where)


class StreamLog:
    """The Delta table of one stream; it exists from the first append on."""

    def __init__(self, folder: Path, stream: str) -> None:
        self.folder, self.stream = folder, stream
        self._table: DeltaTable | None = None

    @property
    def version(self) -> int | None:
        """The newest version, or None where nothing was logged yet."""
        table = self._open()
        return None if table is None else table.version()

    @property
    def rows(self) -> int:
        """How many records there are."""
        table = self._open()
        return 0 if table is None else sum(pa.table(table.get_add_actions(flatten=True))["num_records"].to_pylist())

    @property
    def schema(self) -> pa.Schema:
        """All columns, those of fourfold's own among them."""
        table = self._open()
        return META if table is None else pa.schema(table.schema().to_arrow())

    def append(self, messages: Sequence[Message]) -> None:
        """Append batches in one commit; a batch that was appended before is left out.

        Raises:
            SchemaError: where a batch does not fit; nothing is appended then.
        """
        table = self._open()
        if table is not None:
            messages = [m for m in messages if (table.transaction_version(m.writer) or -1) < m.sequence]
        if not messages:
            return
        known = self.schema if table is not None else None
        batches = []
        for message in messages:
            batch = message.table if known is None else conform(message.table, known, self.stream)
            batch = undecided(batch, known)
            known = pa.unify_schemas([known, batch.schema]) if known is not None else batch.schema
            batches.append(batch)
        latest = {m.writer: m.sequence for m in messages}
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with _Translated(self.folder):
            write_deltalake(
                self.folder if table is None else table,
                pa.concat_tables(batches, promote_options="default").combine_chunks(),
                mode="append",
                schema_mode="merge",
                configuration=_CONFIGURATION if table is None else None,
                writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(writer, sequence) for writer, sequence in latest.items()]
                ),
            )

    def check(self, message: Message) -> None:
        """Raise SchemaError where a batch does not fit the stream as it is now."""
        if self._open() is not None:
            conform(message.table, self.schema, self.stream)

    def whole(self, version: int | None = None) -> Changes:
        """All that there is, or was at a version, as added.

        Raises:
            TruncatedLogError: where files of that version were cleaned away.
        """
        table = self._open()
        if table is None:
            return Changes(-1, META)
        if version is not None and version != table.version():
            with _Translated(self.folder, TruncatedLogError):
                table = DeltaTable(self.folder, version=version)
        files = self._files(table)
        if not all(map(_exists, files)):
            raise TruncatedLogError(f"stream {self.stream!r}: files of version {table.version()} are gone")
        return Changes(table.version(), self.schema, added=tuple(files))

    def changes(self, since: int | None) -> Changes:
        """What was added and removed since a version; since None everything was.

        Raises:
            TruncatedLogError: where the log since that version was cleaned away.
        """
        table = self._open()
        if table is None or since is None:
            return self.whole()
        before, added, removed = set(self._files(table)), set[str](), set[str]()
        for number in range(table.version(), since, -1):  # back to what stood then
            for name, path, is_change in self._actions(number):
                if name == "add":
                    before.discard(path)
                else:
                    before.add(path)
                if is_change:
                    (added if name == "add" else removed).add(path)
        added, removed = added - removed, removed - added
        # what was compacted and then deleted from cannot be told apart file by file: fold it anew
        if not removed <= before or not all(map(_exists, before | added)):
            raise TruncatedLogError(f"stream {self.stream!r}: files since version {since} are gone")
        kept, new, gone = (tuple(sorted(files)) for files in (before - removed, added, removed))
        return Changes(table.version(), self.schema, kept, new, gone)

    def compact(self, at_least: int = COMPACT_AT, keep_hours: int = KEEP_REPLACED) -> bool:
        """Put small files together where there are many; what was replaced a week ago is removed."""
        table = self._open()
        if table is None or len(table.file_uris()) < at_least:
            return False
        with _Translated(self.folder):
            table.optimize.compact()
            table.vacuum(retention_hours=keep_hours, dry_run=False, enforce_retention_duration=keep_hours > 0)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove all records of these keys; the counts follow at the next fold."""
        table = self._open()
        if table is None:
            return
        quoted = ["'" + key.replace("'", "''") + "'" for key in keys]
        for at in range(0, len(quoted), 1_000):
            with _Translated(self.folder):
                table.delete(f"{KEY} IN ({', '.join(quoted[at : at + 1_000])})")

    def _open(self) -> DeltaTable | None:
        with _Translated(self.folder):
            if self._table is None:
                if not (self.folder / "_delta_log").is_dir() or not DeltaTable.is_deltatable(str(self.folder)):
                    return None
                self._table = DeltaTable(self.folder)
            elif _newer_exists(self.folder, self._table.version()):
                self._table.update_incremental()
        return self._table

    def _files(self, table: DeltaTable) -> list[str]:
        """The data files of a version; the log writes their paths as parts of a URL."""
        paths = pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()
        return [str(self.folder / unquote(path)) for path in paths]

    def _actions(self, version: int) -> Iterator[tuple[str, str, bool]]:
        """What a commit did with files: "add" or "remove", which one, and whether that changed the data."""
        commit = self.folder / "_delta_log" / f"{version:020d}.json"
        try:
            lines = commit.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError as error:
            raise TruncatedLogError(f"{commit} is gone") from error
        for action in map(json.loads, lines):
            for name in ("add", "remove"):
                if name in action:
                    found = action[name]
                    yield name, str(self.folder / unquote(found["path"])), found.get("dataChange", True)


def _exists(path: str) -> bool:
    return Path(path).exists()


def _newer_exists(folder: Path, version: int) -> bool:
    return os.path.exists(f"{folder}/_delta_log/{version + 1:020d}.json")  # asked before every answer: no Path


class _Translated:
    """Errors of the Delta engine as our own, with the folder they are about.

    The engine's threads do not survive a fork: a child of a process that has used it would be aborted, so it is
    refused before it comes to that.
    """

    used_in: int | None = None  # the process in which the engine's threads are

    def __init__(self, folder: Path, error: type[StoreError] = StoreError) -> None:
        self.folder, self.error = folder, error

    def __enter__(self) -> None:
        if _Translated.used_in is None:
            _Translated.used_in = os.getpid()
        elif _Translated.used_in != os.getpid():
            raise StoreError(
                "this process was forked from one that had read the log already; it can log, but not read. Start "
                "processes that read with spawn or forkserver (multiprocessing.get_context('spawn'))"
            )

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DeltaError, OSError)):
            raise self.error(f"the log at {self.folder}: {error}") from error
