"""One stream of keyed records as a Delta table: append, what is new since a version, compact, delete by key."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from fourfold.errors import SchemaError, StoreError
from fourfold.log.commits import commit_faults
from fourfold.log.inbox import Message
from fourfold.log.keys import prune, records_of
from fourfold.log.records import read
from fourfold.log.schema import Conflict, cast, conform, undecided, wider
from fourfold.model.records import BATCH, EVENT_TIME, KEY, META, ROW, SET_ASIDE

logger = logging.getLogger("fourfold")
_GROUP_ROWS = 1 << 16  # of a row group, so that few records are read where few are sought
_WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=_GROUP_ROWS)
_OLD = 7 * 86_400  # seconds in the inbox, after which a message is looked up in the log whatever is noted of it
COMPACT_AT = 48  # files; reading one costs about a millisecond
KEEP_REPLACED = 168  # hours for which files that were compacted away can still be read
_CONFIGURATION = {
    "delta.setTransactionRetentionDuration": "interval 365 days",
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
        try:
            return found.to_table(columns, filter=where)
        except pa.ArrowNotImplementedError:
            # files that the Delta engine rewrote hold texts in a form that Arrow cannot compare with their statistics
            batches = (pa.Table.from_batches([batch]).filter(where) for batch in found.to_batches())
            whole = pa.concat_tables([self.schema.empty_table(), *(batch for batch in batches if batch.num_rows)])
            return whole if columns is None else whole.select(columns)

    def before_with(self, keys: pa.Array, columns: Sequence[str]) -> pa.Table | None:
        """Some columns of the records before that have one of some keys; None where all have to be read for that."""
        return records_of(self.before, keys, self.schema, columns)

    def read(self, files: Sequence[str], columns: Sequence[str], most: int) -> pa.Table | None:
        """Some columns of the records of some of the files; None where there are more than so many."""
        return read(files, self.schema, columns, most)

    def sizes(self) -> list[int]:
        """How many records each of the added files holds."""
        return [pq.read_metadata(file).num_rows for file in self.added]


class StreamLog:
    """The Delta table of one stream; it exists from the first append on."""

    def __init__(self, folder: Path, stream: str, project: str = "") -> None:
        self.folder, self.stream, self.project = folder, stream, project
        self._table: DeltaTable | None = None
        self._mark: tuple[int, object] = (-1, None)  # the version that was opened, and what its commit's file was

    @property
    def version(self) -> int | None:
        """The newest version, or None where nothing was logged yet."""
        table = self.open()
        return None if table is None else table.version()

    @property
    def rows(self) -> int:
        """How many records there are."""
        table = self.open()
        return 0 if table is None else sum(pa.table(table.get_add_actions(flatten=True))["num_records"].to_pylist())

    @property
    def schema(self) -> pa.Schema:
        """All columns, those of fourfold's own among them."""
        table = self.open()
        return META if table is None else pa.schema(table.schema().to_arrow())

    def append(
        self, messages: Sequence[Message], set_aside: Callable[[Message, Conflict], object] = lambda m, c: None
    ) -> None:
        """Append batches in one commit that can be read back; a batch that was appended before is left out.

        The table notes for each writer the highest number that was appended. A message above it is new. One that is
        not above it may still be: a listing of the inbox may have shown its successor first. It is looked up in the
        log, by the batch that its records carry. Columns whose values have to be set aside are handed over before
        anything is appended; the records say which they were.

        Raises:
            SchemaError: where a batch cannot be held by the log at all; nothing is appended then.
            StoreError: the log cannot be read or written; what was appended is not known.
        """
        table = self.open()
        messages = self._new(messages)
        if not messages:
            return
        known = self.schema if table is not None else None
        batches, conflicts = [], []
        plain: pa.Schema | None = None  # the columns of a batch that fitted as it was: those like it do, too
        for message in messages:
            batch = message.table
            if plain is not None and batch.schema == plain:
                with _held(self.stream):
                    batch.validate(full=True)
                batches.append(batch)
                continue
            with _held(self.stream):
                _check_fields("the batch", list(batch.schema))
            if known is not None:
                batch, found = conform(batch, known, self.stream)
                conflicts += [(message, conflict) for conflict in found]
                batch = _naming(batch, found)
            batch = undecided(batch, known)
            check_writable(batch, self.stream)
            known = _widened(known, batch.schema)
            batches.append(batch)
            fits = batch.schema == message.table.schema and not _contradicts(batch.schema, known)
            plain = batch.schema if fits else None
        assert known is not None
        for message, conflict in conflicts:
            set_aside(message, conflict)
        if table is not None and _contradicts(self.schema, known):
            self._rewrite(table, known)
            table = self.open()
        whole = pa.concat_tables([_in(batch, known) for batch in batches], promote_options="default").combine_chunks()
        latest = {m.writer: m.sequence for m in sorted(messages, key=lambda m: m.sequence)}
        if table is not None:
            latest = {w: max(n, table.transaction_version(w) or 0) for w, n in latest.items()}
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with _Translated(self.folder):
            write_deltalake(
                self.folder if table is None else table,
                whole,
                mode="append",
                schema_mode="merge",
                configuration=_CONFIGURATION if table is None else None,
                name=self.stream if table is None else None,  # the folder's name may be cut: see ``names``
                description=self.project if table is None else None,
                writer_properties=_WRITER,
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(writer, sequence) for writer, sequence in latest.items()]
                ),
            )
        self._check_committed(latest)

    def _new(self, messages: Sequence[Message]) -> list[Message]:
        """Those of the messages that are not in the log."""
        table = self.open()
        if table is None or not messages:
            return list(messages)
        with _Translated(self.folder):
            highest = {writer: table.transaction_version(writer) for writer in {m.writer for m in messages}}
        doubtful = {
            m.id for m in messages
            if ((known := highest[m.writer]) is not None and m.sequence <= known) or _is_old(m.path)
        }  # fmt: skip
        if not doubtful:
            return list(messages)
        present = self.whole().records(pc.field(BATCH).isin(sorted(doubtful)), [BATCH])
        there = set(pc.unique(present[BATCH]).to_pylist())
        return [m for m in messages if m.id not in there]

    def _check_committed(self, latest: Mapping[str, int]) -> None:
        """Read a commit back before anything that it holds may be forgotten elsewhere."""
        table = self.open()
        if table is not None:
            actions = self._commit(table.version())
            noted = {a["txn"]["appId"]: a["txn"]["version"] for a in actions if "txn" in a}
            added = [a["add"] for a in actions if "add" in a]
            if noted == latest and all(has_size(self.folder / unquote(a["path"]), a["size"]) for a in added):
                return
        raise StoreError(f"the log at {self.folder}: a commit cannot be read back; what it holds stays in the inbox")

    def _rewrite(self, table: DeltaTable, schema: pa.Schema) -> None:
        """Bring the columns to wider types, in all files: what counts them starts anew."""
        files = self._files(table)
        schema = pa.schema([schema.field(name) for name in self.schema.names])
        batches = (
            batch
            for file in files
            for part in pq.ParquetFile(file).iter_batches()
            for batch in _in(pa.Table.from_batches([part]), schema, missing=True).to_batches()
        )
        with _Translated(self.folder):
            write_deltalake(
                table, pa.RecordBatchReader.from_batches(schema, batches), mode="overwrite", schema_mode="overwrite",
                writer_properties=_WRITER,
            )  # fmt: skip
        self._table = None

    def whole(self, version: int | None = None) -> Changes:
        """All that there is, or was at a version, as added.

        Raises:
            TruncatedLogError: where files of that version were cleaned away.
        """
        table = self.open()
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
        table = self.open()
        if table is None or since is None:
            return self.whole()
        if since > table.version():
            logger.warning(
                "stream %r: more was counted than the log at %s holds, which ends at version %d: newest commits are "
                "gone. What is left is counted anew.", self.stream, self.folder, table.version(),
            )  # fmt: skip
            raise TruncatedLogError(f"stream {self.stream!r}: its log ends before what was counted of it")
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
        table = self.open()
        if table is None or len(table.file_uris()) < at_least:
            return False
        with _Translated(self.folder):
            table.optimize.compact(writer_properties=_WRITER)
            table.vacuum(retention_hours=keep_hours, dry_run=False, enforce_retention_duration=keep_hours > 0)
        prune(self.folder, self._files(table))
        return True

    def amend(self, column: str, values: pa.Table) -> None:
        """Give records the values of a column that were set aside; done twice, it is done once.

        Args:
            column: its name.
            values: the column, and the batch and the row of each record.

        Raises:
            SchemaError: the values still contradict the column, or some of the records are not in the log.
            StoreError: the log cannot be read or written.
        """
        table = self.open()
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
        wide = _widened(known, fitted.schema)
        if _contradicts(known, wide):
            self._rewrite(table, wide)
            table = self.open()
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
        with _Translated(self.folder):
            table.merge(
                source, f"t.{BATCH} = s.batch AND t.{ROW} = s.row", source_alias="s", target_alias="t",
                writer_properties=_WRITER,
            ).when_matched_update(updates).execute()  # fmt: skip
        self.close()
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
        table = self.open()
        if table is not None:
            with _Translated(self.folder):
                table.delete(predicate, writer_properties=_WRITER)

    def seal(self) -> None:
        """Begin a version that says nothing of what was removed: a deletion's commit holds the keys it was of."""
        table = self.open()
        if table is not None:
            with _Translated(self.folder):
                table.alter.set_table_properties(_CONFIGURATION, raise_if_not_exists=False)

    def cut_past(self) -> None:
        """Remove all that only older versions need: their data files, and their commits with keys and extremes.

        The newest version must be one of ``seal``, and counted: from older ones nothing can be told any more. What
        dies on the way is taken up by doing it again.
        """
        table = self.open()
        if table is None:
            return
        with _Translated(self.folder):
            table.create_checkpoint()
        kept = set(self._files(table))
        for path in self.folder.glob("*.parquet"):
            if str(path) not in kept:
                path.unlink()
        prune(self.folder, kept)
        for path in sorted((self.folder / "_delta_log").iterdir()):  # the oldest first, so that there is never a gap
            number = path.name.partition(".")[0]
            if number.isdigit() and int(number) < table.version():
                path.unlink()
        self._table = None

    def open(self) -> DeltaTable | None:
        """The table as it is now, or None where nothing was logged yet.

        Raises:
            StoreError: it cannot be read.
        """
        with _Translated(self.folder):
            if self._table is not None:
                version = self._table.version()
                mark = _mark(self.folder, version)
                if mark is None or (self._mark[0] == version and self._mark[1] != mark):
                    self._table = None  # the folder was removed, or another is in its place
            if self._table is None:
                if not (self.folder / "_delta_log").is_dir() or not DeltaTable.is_deltatable(str(self.folder)):
                    return None
                self._table = DeltaTable(self.folder)
            elif _newer_exists(self.folder, self._table.version()):
                self._table.update_incremental()
            if self._mark[0] != (version := self._table.version()):
                self._mark = version, _mark(self.folder, version)
        return self._table

    def close(self) -> None:
        """Forget what is known of the table; it is opened anew."""
        self._table, self._mark = None, (-1, None)

    def _files(self, table: DeltaTable) -> list[str]:
        """The data files of a version; the log writes their paths as parts of a URL."""
        paths = pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()
        return [str(self.folder / unquote(path)) for path in paths]

    def _actions(self, version: int) -> Iterator[tuple[str, str, bool]]:
        """What a commit did with files: "add" or "remove", which one, and whether that changed the data."""
        for action in self._commit(version):
            if action.get("commitInfo", {}).get("operationParameters", {}).get("mode") == "Overwrite":
                raise TruncatedLogError(f"stream {self.stream!r}: its columns were brought to wider types")
            for name in ("add", "remove"):
                if name in action:
                    found = action[name]
                    yield name, str(self.folder / unquote(found["path"])), found.get("dataChange", True)

    def _commit(self, version: int) -> list[dict[str, Any]]:
        """What a commit says.

        Raises:
            TruncatedLogError: it is gone, or damaged.
        """
        commit = self.folder / "_delta_log" / f"{version:020d}.json"
        try:
            return [json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise TruncatedLogError(f"{commit} cannot be read: {error}") from error


@contextlib.contextmanager
def _held(stream: str) -> Iterator[None]:
    """What keeps a batch from being held by the log, as our own error with the stream's name."""
    try:
        yield
    except Exception as error:
        raise SchemaError(f"stream {stream!r}: the batch cannot be held by the log: {error}") from error


def check_writable(table: pa.Table, stream: str) -> None:
    """Refuse what no Delta table can hold, before it is tried on the stream's own.

    Raises:
        SchemaError: names the stream and the reason.
    """
    with _held(stream):
        table.validate(full=True)
        if not table.column_names:
            raise pa.ArrowInvalid("it has no columns")
        _check_fields("the batch", list(table.schema))
        Schema.from_arrow(table.schema)
        pq.write_table(table.slice(0, 1), pa.BufferOutputStream())


def _check_fields(what: str, fields: Sequence[pa.Field]) -> None:
    """Refuse names that differ by their case only, on any level."""
    seen: set[str] = set()
    for field in fields:
        if field.name.casefold() in seen:
            raise pa.ArrowInvalid(f"{what} has the field {field.name!r} twice but for its case")
        seen.add(field.name.casefold())
        inner = field.type
        while pa.types.is_list(inner):
            inner = inner.value_type
        if pa.types.is_struct(inner):
            _check_fields(field.name, [inner.field(i) for i in range(inner.num_fields)])


def _widened(known: pa.Schema | None, new: pa.Schema) -> pa.Schema:
    """The schema that holds both; the columns of ``new`` are those that ``conform`` gave."""
    if known is None:
        return new
    fields = {field.name: field for field in known}
    for field in new:
        mine = fields.get(field.name)
        kind = field.type if mine is None else wider(mine.type, field.type)
        assert kind is not None
        fields[field.name] = pa.field(field.name, kind)
    return pa.schema(list(fields.values()))


def _contradicts(known: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether some column of a table has to be brought to another type."""
    return any(wanted.field(field.name).type != field.type for field in known)


def _in(table: pa.Table, schema: pa.Schema, *, missing: bool = False) -> pa.Table:
    """The table's columns in the types of a schema; with ``missing``, those it lacks as nulls."""
    names = schema.names if missing else table.column_names
    columns = [
        cast(table[name], schema.field(name).type)
        if name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, schema.field(name).type)])
        for name in names
    ]
    return pa.table(columns, schema=pa.schema([schema.field(name) for name in names]))


def _naming(batch: pa.Table, conflicts: Sequence[Conflict]) -> pa.Table:
    """The batch whose records say which of their values were set aside."""
    if not conflicts:
        return batch
    names = pa.nulls(batch.num_rows, SET_ASIDE.type).to_pylist()
    for conflict in conflicts:
        for i in np.flatnonzero(conflict.values.is_valid().to_numpy()):
            names[i] = [*(names[i] or []), conflict.column]
    return batch.append_column(SET_ASIDE, pa.array(names, SET_ASIDE.type))


def _is_old(path: Path | None) -> bool:
    try:
        return path is not None and time.time() - path.stat().st_mtime > _OLD
    except OSError:
        return True


def _quoted(table: str, column: str) -> str:
    return f'{table}."{column.replace(chr(34), chr(34) * 2)}"'


def has_size(path: Path, size: int) -> bool:
    """Whether there is a file of a size."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _exists(path: str) -> bool:
    return Path(path).exists()


def _mark(folder: Path, version: int) -> tuple[int, int, int] | None:
    """What tells the file of a commit from another in its place; None where there is none."""
    for kind in ("json", "checkpoint.parquet"):
        try:
            found = os.stat(f"{folder}/_delta_log/{version:020d}.{kind}")
            return found.st_ino, found.st_mtime_ns, found.st_size
        except OSError:
            continue
    return None


def _newer_exists(folder: Path, version: int) -> bool:
    return _commit_exists(folder, version + 1)


def _commit_exists(folder: Path, version: int) -> bool:
    return os.path.exists(f"{folder}/_delta_log/{version:020d}.json")  # asked before every answer: no Path


_PANIC = "PanicException"  # of the engine's own language; no subclass of Exception


def names(folder: Path) -> tuple[str, str] | None:
    """The project and the stream whose table is in a folder, as the table itself says; None where there is none."""
    log = StreamLog(folder, folder.name)
    try:
        table = log.open()
    except StoreError:
        return None
    if table is None:
        return None
    said = table.metadata()
    return (said.description, said.name) if said.name and said.description else None


class _Translated:
    """Errors of the Delta engine as our own, with the folder they are about.

    The engine's threads do not survive a fork: a child of a process that has used it would be aborted, so it is
    refused before it comes to that.
    """

    used_in: int | None = None  # the process in which the engine's threads are

    def __init__(self, folder: Path, error: type[StoreError] = StoreError) -> None:
        self.folder, self.error = folder, error

    def __enter__(self) -> None:
        refuse_in_fork()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DeltaError, OSError)) or type(error) is Exception or type(error).__name__ == _PANIC:
            told = "; ".join(commit_faults(self.folder)) or str(error).splitlines()[0][:200]
            raise self.error(f"the log at {self.folder} cannot be used: {told}") from error


def refuse_in_fork() -> None:
    """Refuse to use the Delta engine in a child of a process that has used it: its threads are not there.

    Raises:
        StoreError: says how to start processes that read.
    """
    if _Translated.used_in is None:
        _Translated.used_in = os.getpid()
    elif _Translated.used_in != os.getpid():
        raise StoreError(
            "this process was forked from one that had read the log already; it can log, but not read. Start "
            "processes that read with spawn or forkserver (multiprocessing.get_context('spawn'))"
        )
