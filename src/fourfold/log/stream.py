"""One stream of keyed records as a Delta table: append, what is new since a version, compact, delete by key."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake

from fourfold.errors import SchemaError, StoreError
from fourfold.log.batches import contradicts, fit, in_schema, widened
from fourfold.log.bucket import BucketPath
from fourfold.log.changes import Changes, TruncatedLogError, changes_since
from fourfold.log.commits import Commit, drop_before, exists, unlisted
from fourfold.log.keys import prune
from fourfold.log.opened import Opened, delta_errors
from fourfold.log.paths import StorePath, all_exist, delta_options, open_parquet, status
from fourfold.log.recent import RECENT
from fourfold.log.schema import Conflict, cast, conform
from fourfold.log.wire import Message
from fourfold.model.records import BATCH, EVENT_TIME, KEY, META, ROW, SET_ASIDE

logger = logging.getLogger("fourfold")
_GROUP_ROWS = 1 << 16  # of a row group, so that few records are read where few are sought
_PLAIN = ColumnProperties(dictionary_enabled=False)
_OLD = 7 * 86_400  # seconds in the inbox, after which a message is looked up in the log whatever is noted of it
COMPACT_AT = 48  # files; reading one costs about a millisecond
KEEP_REPLACED = 168  # hours for which files that were compacted away can still be read
_CONFIGURATION = {
    "delta.dataSkippingStatsColumns": f"{KEY},{EVENT_TIME}",  # by which records are deleted; each costs every commit
    "delta.setTransactionRetentionDuration": "interval 365 days",
    "delta.logRetentionDuration": "interval 30 days",
}


class StreamLog:
    """The Delta table of one stream; it exists from the first append on."""

    def __init__(self, folder: StorePath, stream: str, project: str = "") -> None:
        self.folder, self.stream, self.project = folder, stream, project
        self.opened = Opened(folder)

    @property
    def version(self) -> int | None:
        """The newest version, or None where nothing was logged yet."""
        table = self.opened.table()
        return None if table is None else table.version()

    @property
    def is_begun(self) -> bool:
        """Whether anything was logged; no table is opened to know it."""
        return self.opened.is_there()

    def newest(self, counted: int) -> int:
        """The newest version, -1 where nothing was logged yet.

        If it is older than one that was counted, another process may have cut the past away, with the commit that would
        lead on from what is open here: then it is opened anew.

        Raises:
            BucketError: the commit that was counted is there, and a listing does not have it yet.
        """
        version = self.version
        if version is None or version < counted:
            if not isinstance(self.folder, BucketPath) or not self.opened.is_open or self.opened.is_cut():
                self.opened.close()
                version = self.version
            behind = version is None or version < counted
            if behind and isinstance(self.folder, BucketPath) and exists(self.folder, counted):
                raise unlisted(self.folder)
        return -1 if version is None else version

    def ends_before(self, counted: int) -> int | None:
        """The newest version, if it is older than one that was counted (-1 where nothing was logged yet); else None.

        It is asked before each answer. If that version's commit is there, no table is opened, which takes milliseconds.

        Raises:
            StoreError: see ``newest``.
        """
        with delta_errors(self.folder):
            if exists(self.folder, counted):
                return None
        version = self.newest(counted)
        return version if version < counted else None

    @property
    def rows(self) -> int:
        """How many records there are."""
        table = self.opened.table()
        return 0 if table is None else sum(pa.table(table.get_add_actions(flatten=True))["num_records"].to_pylist())

    @property
    def schema(self) -> pa.Schema:
        """All columns, those of fourfold's own among them."""
        table = self.opened.table()
        return META if table is None else _schema(table)

    def append(
        self, messages: Sequence[Message], set_aside: Callable[[Message, Conflict], object] = lambda m, c: None
    ) -> None:
        """Append batches in one commit that can be read back; a batch that was appended before is left out.

        The table records each writer's highest appended number. A message above it is new. A message at or below it
        may be new too: a listing of the inbox may have shown its successor first. It is looked up in the log, by the
        batch that its records carry. Columns whose values must be set aside are handed over before anything is
        appended; the records name them.

        Raises:
            SchemaError: the log cannot hold a batch at all; then nothing is appended.
            StoreError: the log cannot be read or written; it is unknown what was appended.
        """
        table = self.opened.newest()  # what another version does not hold would be appended again
        noted = self._noted(table, {message.writer for message in messages})
        messages = self._new(messages, noted)
        if not messages:
            return
        fitted = fit(messages, None if table is None else _schema(table), self.stream)
        for message, conflict in fitted.conflicts:
            set_aside(message, conflict)
        if table is not None and contradicts(_schema(table), fitted.schema):
            self._rewrite(table, fitted.schema)
            table = self.opened.newest()
        latest: dict[str, int] = {}
        for message in messages:
            latest[message.writer] = max(message.sequence, latest.get(message.writer, noted.get(message.writer, 0)))
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with delta_errors(self.folder):
            write_deltalake(
                str(self.folder) if table is None else table,
                fitted.records,
                storage_options=delta_options(self.folder) if table is None else None,
                mode="append" if table is not None else "error",  # not if another has just made it, with the same
                schema_mode="merge" if table is not None else None,
                configuration=_CONFIGURATION if table is None else None,
                name=self.stream if table is None else None,  # the folder's name may be cut: see ``names``
                description=self.project if table is None else None,
                writer_properties=_writer(fitted.schema),
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(writer, sequence) for writer, sequence in latest.items()]
                ),
            )
        before = self.opened.version, self.opened.numbers
        files = self._check_committed(latest)
        if len(files) == 1:
            RECENT.keep(files[0], fitted.records)
        if self.opened.version == before[0] + 1:  # nobody else has written
            self.opened.numbers = {**before[1], **latest}

    def _noted(self, table: DeltaTable | None, writers: Collection[str]) -> dict[str, int]:
        """The highest number that the table holds of each writer, of those it has any of."""
        if table is None:
            return {}
        known = self.opened.numbers
        with delta_errors(self.folder):
            for writer in writers:
                if writer not in known:  # looking it up takes the longer, the more files there are
                    known[writer] = table.transaction_version(writer)
        return {writer: number for writer in writers if (number := known[writer]) is not None}

    def _new(self, messages: Sequence[Message], noted: Mapping[str, int]) -> list[Message]:
        """Those of the messages that are not in the log."""
        doubtful = {m.id for m in messages if m.sequence <= noted.get(m.writer, -1) or _is_old(m.path)}
        if not doubtful:
            return list(messages)
        present = self.whole().records(pc.field(BATCH).isin(sorted(doubtful)), [BATCH])
        batches = set(pc.unique(present[BATCH]).to_pylist())
        return [m for m in messages if m.id not in batches]

    def _check_committed(self, noted: Mapping[str, int]) -> list[str]:
        """Read a commit back before its contents may be removed elsewhere; return the files that it added."""
        table = self.opened.written()
        with contextlib.suppress(OSError, ValueError):
            commit = Commit.read(self.folder, -1 if table is None else table.version())
            added = [file for file in commit.files if file.added]
            if commit.noted == noted and all(has_size(file.path, file.size) for file in added):
                return [file.path for file in added]
        raise StoreError(f"the log at {self.folder}: a commit cannot be read back; what it holds stays in the inbox")

    def _rewrite(self, table: DeltaTable, schema: pa.Schema) -> None:
        """Cast the columns to wider types, in all files, so that their counts start over."""
        files = self._files(table)
        schema = pa.schema([schema.field(name) for name in self.schema.names])
        batches = (
            batch
            for file in files
            for part in open_parquet(file).iter_batches()
            for batch in in_schema(pa.Table.from_batches([part]), schema, missing=True).to_batches()
        )
        with delta_errors(self.folder):
            write_deltalake(
                table, pa.RecordBatchReader.from_batches(schema, batches), mode="overwrite", schema_mode="overwrite",
                writer_properties=_writer(schema),
            )  # fmt: skip
        self.opened.close()

    def whole(self, version: int | None = None, *, exact: bool = False) -> Changes:
        """All records, or those at a version, as added; in a bucket they may be those of a moment ago.

        Args:
            version: the version.
            exact: whether none may be missing.

        Raises:
            BucketError: none may be missing, and a listing does not have the newest ones yet.
            TruncatedLogError: where files of that version were cleaned away.
        """
        table = self.opened.newest() if exact else self.opened.held()
        if table is None:
            return Changes(-1, META)
        if version is not None and version != table.version():
            with delta_errors(self.folder, TruncatedLogError):
                table = DeltaTable(str(self.folder), version=version, storage_options=delta_options(self.folder))
        files = self._files(table)
        if not all_exist(files, files if version is None else ()):
            raise TruncatedLogError(f"stream {self.stream!r}: files of version {table.version()} are gone")
        return Changes(table.version(), _schema(table), added=tuple(files))

    def changes(self, since: int | None) -> Changes:
        """The records added and removed since a version; since None, all were added.

        Raises:
            TruncatedLogError: where the log since that version was cleaned away.
        """
        if self.opened.table() is None or since is None:
            return self.whole()
        version = self.newest(since)
        table = self.opened.table()
        if since > version or table is None:
            logger.warning(
                "stream %r: more was counted than the log at %s holds, which ends at version %d: newest commits are "
                "gone. The rest is counted again.", self.stream, self.folder, version,
            )  # fmt: skip
            raise TruncatedLogError(f"stream {self.stream!r}: its log ends before what was counted of it")
        return changes_since(self.folder, since, table.version(), _schema(table), self._files(table))

    def compact(self, at_least: int = COMPACT_AT, keep_hours: int = KEEP_REPLACED) -> bool:
        """Compact the table if it has many small files; files replaced a week ago are removed."""
        table = self.opened.table()
        if table is None or len(table.file_uris()) < at_least or (table := self.opened.newest()) is None:
            return False
        with delta_errors(self.folder):
            table.optimize.compact(writer_properties=_writer(_schema(table)))
            table.vacuum(retention_hours=keep_hours, dry_run=False, enforce_retention_duration=keep_hours > 0)
        prune(self.folder, self._files(table))
        return True

    def amend(self, column: str, values: pa.Table) -> None:
        """Restore the values of a column that were set aside; a repetition changes nothing.

        Args:
            column: its name.
            values: the column, and the batch and the row of each record.

        Raises:
            SchemaError: the values still contradict the column, or some of the records are not in the log.
            StoreError: the log cannot be read or written.
        """
        table = self.opened.newest()
        batches = pc.field(BATCH).isin(pc.unique(values[BATCH]))
        here = self.whole().records(batches, [BATCH, ROW, *([SET_ASIDE.name] if self._names_set_aside() else [])])
        places = {(row[BATCH], row[ROW]): row.get(SET_ASIDE.name) or [] for row in here.to_pylist()}
        wanted = list(zip(values[BATCH].to_pylist(), values[ROW].to_pylist(), strict=True))
        if table is None or any(place not in places for place in wanted):
            raise SchemaError(f"stream {self.stream!r}: some of these records are not in the log")
        known = self.schema
        fitted, conflicts = conform(values.select([column]), known, self.stream)
        if conflicts:
            raise SchemaError(conflicts[0].reason)
        wide = widened(known, fitted.schema)
        if contradicts(known, wide):
            self._rewrite(table, wide)
            table = self.opened.newest()
        assert table is not None
        left = [[name for name in places[place] if name != column] or None for place in wanted]
        source = pa.table(
            {
                "batch": values[BATCH].cast(pa.string()), "row": values[ROW].cast(pa.int64()),
                "value": cast(fitted[column], wide.field(column).type), "left": pa.array(left, SET_ASIDE.type),
            }
        )  # fmt: skip
        updates = {_quoted("t", column): "s.value"}
        if self._names_set_aside():
            updates[_quoted("t", SET_ASIDE.name)] = "s.left"
        with delta_errors(self.folder):
            table.merge(
                source, f"t.{BATCH} = s.batch AND t.{ROW} = s.row", source_alias="s", target_alias="t",
                writer_properties=_writer(wide),
            ).when_matched_update(updates).execute()  # fmt: skip
        self.opened.close()
        self._check_committed({})

    def _names_set_aside(self) -> bool:
        return SET_ASIDE.name in self.schema.names

    def delete(self, keys: Iterable[str]) -> None:
        """Remove all records of these keys; the counts follow at the next fold."""
        quoted = ["'" + key.replace("'", "''") + "'" for key in keys]
        for at in range(0, len(quoted), 1_000):
            self._delete(f"{KEY} IN ({', '.join(quoted[at : at + 1_000])})")

    def delete_before(self, moment: int) -> None:
        """Remove all records whose event time is before a moment, in seconds since 1970."""
        text = dt.datetime.fromtimestamp(moment, dt.UTC).isoformat()
        self._delete(f"{EVENT_TIME} < arrow_cast('{text}', 'Timestamp(Microsecond, Some(\"UTC\"))')")

    def _delete(self, predicate: str) -> None:
        table = self.opened.newest()
        if table is not None:
            with delta_errors(self.folder):
                table.delete(predicate, writer_properties=_writer(_schema(table)))

    def seal(self) -> None:
        """Begin a version without traces of a deletion, whose own commit contains the deleted keys."""
        table = self.opened.newest()
        if table is not None:
            with delta_errors(self.folder):
                table.alter.set_table_properties(_CONFIGURATION, raise_if_not_exists=False)

    def cut_past(self, is_alone: Callable[[], object] = lambda: None) -> None:
        """Remove everything that only older versions need: their data files, and their commits with keys and extremes.

        The newest version must come from ``seal``, and be counted, since changes from older ones are lost. After a
        crash, run it again.

        Args:
            is_alone: raises where this process may not write any more. It is asked after all that may go was listed:
                then nobody else has written a file of the list that this version does not know.
        """
        table = self.opened.newest()  # what another version does not know of would be removed
        if table is None:
            return
        with delta_errors(self.folder):
            table.create_checkpoint()
        kept = set(self._files(table))
        past = [path for path in self.folder.glob("*.parquet") if str(path) not in kept]
        is_alone()
        for path in past:
            path.unlink(missing_ok=True)
        prune(self.folder, kept)
        RECENT.drop(self.folder, kept)
        drop_before(self.folder, table.version())
        self.opened.close()

    def _files(self, table: DeltaTable) -> list[str]:
        """The data files of a version, all of them in the table's folder; they are given as URLs."""
        return [str(self.folder / unquote(url.rpartition("/")[2])) for url in table.file_uris()]


def _writer(schema: pa.Schema) -> WriterProperties:
    """How data files are written. Values that hardly repeat, keys and floats, get no dictionary: trying one takes
    three times as long as writing them, and makes the file larger.
    """
    plain = {field.name: _PLAIN for field in schema if field.name == KEY or pa.types.is_floating(field.type)}
    return WriterProperties(
        compression="ZSTD", compression_level=1, max_row_group_size=_GROUP_ROWS, column_properties=plain
    )


def _schema(table: DeltaTable) -> pa.Schema:
    return pa.schema(table.schema().to_arrow())


def _is_old(path: StorePath | None) -> bool:
    try:
        return path is not None and time.time() - path.stat().st_mtime > _OLD
    except OSError:
        return True


def _quoted(table: str, column: str) -> str:
    return f'{table}."{column.replace(chr(34), chr(34) * 2)}"'


def has_size(path: str | StorePath, size: int) -> bool:
    """Whether there is a file of a size."""
    found = status(str(path))
    return found is not None and found[2] == size


def names(folder: StorePath) -> tuple[str, str] | None:
    """The project and the stream whose table is in a folder, as the table itself says; None where there is none."""
    log = StreamLog(folder, folder.name)
    try:
        table = log.opened.table()
    except StoreError:
        return None
    if table is None:
        return None
    said = table.metadata()
    return (said.description, said.name) if said.name and said.description else None
