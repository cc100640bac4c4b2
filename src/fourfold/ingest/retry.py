"""Takes corrected entries of the quarantine again: each once, despite crashes in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pyarrow as pa

from fourfold.errors import FourfoldError, InputError, SchemaError, StoreError
from fourfold.ingest.writer import Writer
from fourfold.log import BucketError, Message, Quarantined
from fourfold.log.paths import move, open_parquet, path_of
from fourfold.model.records import BATCH, META, SET_ASIDE
from fourfold.state import catalogue


@dataclasses.dataclass(frozen=True, slots=True)
class Retried:
    """The outcome for an entry: taken, or why it stays."""

    stream: str
    batch: str
    rows: int
    taken: bool
    message: str


def retry(writer: Writer) -> Iterator[Retried]:
    """Take each entry of the quarantine again; those that succeed leave it.

    Whole batches, whose Parquet file may have been edited, are appended to the log unless it holds that batch. A
    column's values go to their records. A message's file goes back to the inbox. Entries that fail stay, with the
    newest reason. The result names all.
    """
    entries = [entry for entry in writer.quarantine.entries() if entry.rows or entry.message.exists()]
    messages = [entry for entry in entries if entry.message.exists()]
    for entry in entries:
        if entry in messages:
            continue
        try:
            with writer.locked():
                _take(writer, entry)
        except (FourfoldError, pa.ArrowException, OSError) as error:
            yield _stays(writer, entry, str(error).splitlines()[0])
        else:
            yield Retried(entry.stream, entry.batch, entry.rows, True, "taken into the log")
    yield from _messages(writer, messages)
    writer.fold()


def _take(writer: Writer, entry: Quarantined) -> None:
    """Take a batch, or a column's values, into the log; then it is in quarantine no more.

    Raises:
        FourfoldError: it cannot be taken.
    """
    if entry.project not in ("", writer.project):
        raise InputError(f"it is of project {entry.project!r}; give --project")
    with open_parquet(entry.path, at_once=True) as file:
        table = file.read()
    if missing := sorted(set(META.names) - set(table.column_names)):
        raise SchemaError(
            f"it was set aside before it could be a batch ({', '.join(missing)} are missing); log it again with "
            f"ff.log({entry.stream!r}, …) and delete {entry.note}"
        )
    log = writer.log(entry.stream)
    if entry.column:
        if entry.column not in table.column_names:
            raise SchemaError(f"{entry.path} has no column {entry.column!r}")
        log.amend(entry.column, table)
    else:
        sender, _, number = entry.batch.rpartition("-")
        if not number.isdigit():
            raise SchemaError(f"{entry.batch!r} is not the name of a batch")
        with writer.database.write() as connection:
            catalogue.add_stream(connection, writer.project, entry.stream, None, None)
        named = pa.array([entry.batch] * table.num_rows, META.field(BATCH).type)
        table = table.set_column(table.schema.get_field_index(BATCH), META.field(BATCH), named)
        table = table.select([name for name in table.column_names if name != SET_ASIDE.name])
        log.append([Message(sender, int(number), {}, table)], writer.set_aside(log))
    writer.quarantine.remove(entry)


def _messages(writer: Writer, entries: list[Quarantined]) -> Iterator[Retried]:
    """Put messages back into the inbox, where they are taken, or set aside again."""
    for entry in entries:
        with writer.locked():
            try:
                move(entry.message, writer.folder / "inbox" / entry.message.name)
            except (OSError, BucketError) as error:
                yield _stays(writer, entry, str(error))
                continue
            writer.quarantine.remove(entry)
    writer.catch_up(0.0)
    again = {entry.batch: entry for entry in writer.quarantine.entries()}
    for entry in entries:
        if entry.batch in again:
            yield Retried(entry.stream, entry.batch, 0, False, again[entry.batch].reason)
        elif (writer.folder / "inbox" / entry.message.name).exists():
            yield Retried(entry.stream, entry.batch, 0, False, "it waits in the inbox")
        else:
            yield Retried(entry.stream, entry.batch, 0, True, "taken")


def _stays(writer: Writer, entry: Quarantined, reason: str) -> Retried:
    """Keep an entry, with the newest reason."""
    try:
        if entry.note.is_file() and path_of(entry.path).is_file():
            writer.quarantine.note(dataclasses.replace(entry, reason=reason))
    except OSError as error:
        raise StoreError(f"the quarantine {writer.quarantine.folder} cannot be written: {error}") from error
    return Retried(entry.stream, entry.batch, entry.rows, False, reason)
