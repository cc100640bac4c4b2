"""From the inbox into the log and the state: every message once, whatever dies in between."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fourfold import counts
from fourfold.binning import Binning
from fourfold.errors import SchemaError, StoreError
from fourfold.log import Inbox, Message, Quarantine, StreamLog
from fourfold.model import EVERYTHING, Task
from fourfold.state import Database, catalogue, runs, series
from fourfold.store import messages
from fourfold.store.cells import Cell

logger = logging.getLogger("fourfold")
_MESSAGES_AT_ONCE = 2_000
_BYTES_AT_ONCE = 256 << 20
_ROWS_AT_ONCE = 1_000_000
_LONGEST_FOLDER = 200


class Collector:
    """Takes what is in an inbox. Only one process at a time does (see ``Store.catch_up``)."""

    def __init__(self, inbox: Inbox, database: Database, quarantine: Quarantine, logs: StreamLogs) -> None:
        self._inbox, self._database, self._quarantine, self._logs = inbox, database, quarantine, logs

    def collect(self) -> int:
        """Take all that is pending; returns how many messages were taken."""
        self._forget_applied()
        taken = 0
        waiting: list[Path] = []
        size = 0
        for path in self._inbox.pending():
            waiting.append(path)
            size += path.stat().st_size
            if len(waiting) == _MESSAGES_AT_ONCE or size > _BYTES_AT_ONCE:
                taken += self._take([self._read(path) for path in waiting])
                waiting, size = [], 0
        return taken + self._take([self._read(path) for path in waiting])

    def _read(self, path: Path) -> Message | None:
        try:
            return self._inbox.read(path)
        except StoreError as error:
            self._quarantine.keep("inbox", path.stem, pa.table({}), str(error))
            path.rename(self._quarantine.folder / path.name)
            return None

    def _take(self, found: Sequence[Message | None]) -> int:
        present = [message for message in found if message is not None]
        by_stream: dict[tuple[str, str], list[Message]] = {}
        for_state = []
        for message in present:
            match message.header["kind"]:
                case "records":
                    place = message.header["project"], message.header["stream"]
                    by_stream.setdefault(place, []).append(message)
                case "rejected":
                    stream, reason = message.header["stream"], message.header["reason"]
                    self._quarantine.keep(stream, message.id, message.table, reason)
                    _remove(message)
                case _:
                    for_state.append(message)
        self._apply(for_state)
        for (project, stream), batches in by_stream.items():
            self._append(project, stream, batches)
        return len(present)

    def _append(self, project: str, stream: str, batches: list[Message]) -> None:
        """Append to a stream's log as few commits as its size allows; what does not fit goes aside."""
        log = self._logs.get(project, stream)
        with self._database.write() as connection:
            header = batches[0].header
            catalogue.add_stream(connection, project, stream, header["key"], header["time"])
        waiting: list[Message] = []
        for message in batches:
            if waiting and sum(m.table.num_rows for m in waiting) + message.table.num_rows > _ROWS_AT_ONCE:
                self._commit(log, waiting)
                waiting = []
            waiting.append(message)
        self._commit(log, waiting)
        log.compact()

    def _commit(self, log: StreamLog, batches: list[Message]) -> None:
        try:
            log.append(batches)
        except (SchemaError, pa.ArrowTypeError, pa.ArrowInvalid):
            self._commit_singly(log, batches)
        for message in batches:
            _remove(message)

    def _commit_singly(self, log: StreamLog, batches: list[Message]) -> None:
        """One of these batches does not fit: append the others, and keep that one aside with the reason."""
        for message in batches:
            try:
                log.append([message])
            except (SchemaError, pa.ArrowTypeError, pa.ArrowInvalid) as error:
                kept = self._quarantine.keep(log.stream, message.id, message.table, str(error))
                logger.warning("%s The %d records are kept in %s.", error, kept.rows, kept.path)

    def _apply(self, found: Sequence[Message]) -> None:
        """Take messages into the state, in one transaction with the note that they were taken."""
        if not found:
            return
        with self._database.write() as connection:
            fresh = [m for m in found if not catalogue.was_applied(connection, m.id)]
            counted: dict[tuple[str, str], list[Message]] = {}
            for message in fresh:
                header = message.header
                match header["kind"]:
                    case "run":
                        runs.save(connection, header["project"], messages.run_of(header))
                    case "task":
                        declare(connection, header["project"], Task.from_json(header["task"]))
                    case "counts":
                        counted.setdefault((header["project"], header["stream"]), []).append(message)
                catalogue.mark_applied(connection, message.id)
            for (project, stream), batch in counted.items():
                _add_counts(connection, project, stream, batch)
        for message in found:
            _remove(message)

    def _forget_applied(self) -> None:
        """Clear the notes on messages whose files are gone."""
        with self._database.read() as connection:
            noted = catalogue.applied_messages(connection)
        present = {path.stem for path in self._inbox.pending()} if noted else set()
        gone = [message for message in noted if message not in present]
        if gone:
            with self._database.write() as connection:
                catalogue.unmark_applied(connection, gone)


class StreamLogs:
    """The logs of a store, opened once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[tuple[str, str], StreamLog] = {}

    def get(self, project: str, stream: str) -> StreamLog:
        """The log of a stream; its folder's name is the stream's, with what a path cannot hold escaped."""
        key = (project, stream)
        if key not in self._open:
            self._open[key] = StreamLog(self._folder / _as_folder(project) / _as_folder(stream), stream)
        return self._open[key]


def declare(connection: sa.Connection, project: str, task: Task) -> None:
    """Declare a task. Where it joins or judges otherwise than it was declared before, it is counted anew.

    Slices that are new are counted from the start, those that are gone are forgotten (see ``Folder``).
    """
    known = catalogue.tasks(connection, project).get(task.name)
    if known is not None and dataclasses.replace(known, slices=task.slices, sums=task.sums) != task:
        series.forget(connection, project, f"task:{task.name}")
        for job in list(catalogue.cursors(connection, project)) + list(catalogue.backfills(connection, project)):
            if Cell.from_job(job).owner == f"task:{task.name}":
                catalogue.forget_job(connection, project, job)
    catalogue.set_task(connection, project, dataclasses.replace(task, sums=()))


def _add_counts(connection: sa.Connection, project: str, stream: str, batch: Sequence[Message]) -> None:
    """Add the counts of frames that runs read or wrote, by hour, day and run."""
    owner = f"stream:{stream}"
    catalogue.add_stream(connection, project, stream, None, None)
    hourly, by_run = [], []
    for message in batch:
        binnings, small = messages.plan_of(message.header)
        table = _with_known_versions(connection, project, owner, message.table.cast(counts.SCHEMA), binnings)
        catalogue.add_small_integers(connection, project, owner, small)
        hourly.append(table)
        whole = table.filter(pc.equal(table["slice"], EVERYTHING))
        started = np.full(whole.num_rows, int(message.header["started"] * 1e6))
        by_run.append(counts.rebucket(whole, started))
    series.add_levels(connection, project, owner, counts.add(*hourly))
    series.add(connection, project, owner, series.RUN, counts.add(*by_run))


def _with_known_versions(
    connection: sa.Connection, project: str, owner: str, table: pa.Table, binnings: dict[str, Binning]
) -> pa.Table:
    """Counts with the versions under which the state knows their binnings.

    Two processes may have fixed a column's binning at the same time: the later one becomes a version of its own,
    which no new data will use.
    """
    known = catalogue.binnings(connection, project, owner)
    versions = {}
    for column, binning in binnings.items():
        same = [b for _, b in known.get(column, ()) if (b.centre, b.scale, b.bits) == _shape(binning)]
        if same:
            versions[column] = same[0].version
            continue
        versions[column] = 1 + max((b.version for _, b in known.get(column, ())), default=-1)
        new = Binning(*_shape(binning), versions[column])
        start = 2**62 if column in known else 0
        catalogue.add_binnings(connection, project, owner, {column: new}, start)
    renamed = [versions.get(column, 0) for column in table["column"].to_pylist()]
    index = table.schema.get_field_index("binning")
    return table.set_column(index, table.schema.field(index), pa.array(renamed, pa.int32()))


def _shape(binning: Binning) -> tuple[float, float, int]:
    return binning.centre, binning.scale, binning.bits


def _remove(message: Message) -> None:
    if message.path is not None:
        message.path.unlink(missing_ok=True)


def _as_folder(name: str) -> str:
    """A name as a folder's: letters, digits, "_", "-" and inner dots stay, every other byte becomes ~ and its hex.

    No "%" and no "..": the Delta engine reads paths as URLs.
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else _escaped(c) for c in name)
    if plain.startswith("."):
        plain = _escaped(".") + plain[1:]
    if len(plain) > _LONGEST_FOLDER:
        plain = f"{plain[: _LONGEST_FOLDER - 33]}~{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"
    return plain or "~"


def _escaped(character: str) -> str:
    return "".join(f"~{byte:02x}" for byte in character.encode(errors="surrogatepass"))
