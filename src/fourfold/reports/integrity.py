"""Whether a store is intact: its logs, its state, its inbox, its quarantine."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fourfold.errors import FourfoldError, StoreError
from fourfold.ingest import declarations
from fourfold.ingest.mending import HALF_WRITTEN, misplaced
from fourfold.log import Quarantined, StorePath, faults
from fourfold.query.reader import Reader
from fourfold.reports.problem import Problem
from fourfold.state import StateError, catalogue

_MANY = 1_000  # waiting messages from which on doctor reports them
_LONG = 86_400  # seconds that a message has waited, likewise
_NAMED = 5  # faults of a log that a message names
_MEND = "restore the files from a backup, or run fourfold doctor --mend: it repairs what it can, and deletes nothing"


def of_folder(folder: StorePath) -> list[Problem]:
    """Problems that make a store unusable."""
    found = []
    for path, what in misplaced(folder):
        found.append(
            Problem("misplaced", path.name, f"{path} is not a {what}", "fourfold doctor --mend moves it aside")
        )
    return found


def of_state(reader: Reader) -> list[Problem]:
    """Damage to the state: pages that contradict each other, tables that are missing."""
    try:
        found = reader.database.faults()
    except StateError as error:
        found = [str(error)]
    system = reader.database.system
    return [Problem("damaged_state", system.subject, fault, system.advice) for fault in found]


def of_store(reader: Reader) -> Iterator[Problem]:
    """Damage that shows without reading all data."""
    yield from of_logs(reader)
    yield from _of_inbox(reader)
    if not reader.database.writable:
        text = f"read-only for this process: {len(reader.waiting())} messages wait, and nothing new is counted"
        yield Problem("read_only", str(reader.folder), text, "ask as a user who can write there")


def of_logs(reader: Reader) -> Iterator[Problem]:
    """Logs with changed or missing files, or that end before their counts do."""
    with reader.database.read() as connection:
        counted = catalogue.counted_to(connection, reader.project)
        streams = list(catalogue.streams(connection, reader.project))
    for stream in streams:
        log = reader.log(stream)
        found = faults(log)
        if found:  # another process may be writing: only a fault that persists counts
            again = faults(log)
            found = [fault for fault in found if fault in again]
        newest = counted.get(stream, -1)
        try:
            version = log.version
        except StoreError:
            version = newest
        if version is None and newest >= 0:
            found.append(f"the log is gone, though its version {newest} was counted; the counts stay as they are")
        elif version is not None and catalogue.ANEW > newest > version:
            found.append(f"version {newest} was counted, but the log ends at {version}: its newest commits are gone")
        if found:
            more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            yield Problem("damaged_log", stream, "; ".join(found[:_NAMED]) + more, _MEND)


def made_anew(reader: Reader) -> Iterator[Problem]:
    """The loss of the state, and what was lost with it."""
    if moments := declarations.made_anew(reader.folder):
        text = f"it was gone, and was rebuilt on {_at(moments[-1])}. {declarations.LOST}"
        yield Problem("state_made_anew", "state", text, f"delete {declarations.notes(reader.folder)} when read")


def stuck(reader: Reader) -> Iterator[Problem]:
    """Streams whose logs cannot be read or written."""
    for stream, why in reader.standing.stuck.items():
        text = f"its records wait in the inbox: {why}"
        yield Problem("stuck", stream, text, "repair the log with fourfold doctor --mend; nothing is lost meanwhile")


def quarantined(entries: list[Quarantined]) -> Iterator[Problem]:
    """What is in quarantine, one problem per reason."""
    groups: dict[tuple[str, str, bool], list[Quarantined]] = {}
    for entry in entries:
        reason = entry.reason.replace(entry.batch, "…") if entry.batch else entry.reason
        groups.setdefault((entry.stream, reason, entry.rows > 0), []).append(entry)
    for (stream, reason, _), alike in groups.items():
        newest, rows = alike[-1], sum(entry.rows for entry in alike)
        text = newest.reason if len(alike) == 1 else reason
        if len(alike) > 1:
            text += f" ({len(alike):,} times, first {_at(alike[0].at)}, last {_at(newest.at)})"
        place = newest.path if len(alike) == 1 else f"{newest.note.parent}, the newest in {newest.note.stem}.parquet"
        if newest.message.exists():
            advice = f"the message is kept in {newest.message}; fourfold doctor --retry tries it again"
        elif rows:
            advice = f"the {rows:,} records are kept in {place}; correct them, then run fourfold doctor --retry"
        else:
            advice = f"the note is kept in {newest.note}; delete it when read"
        yield Problem("quarantine", stream, text, advice)


def _of_inbox(reader: Reader) -> Iterator[Problem]:
    newer = reader.standing.left
    waiting = [path for path in reader.waiting() if path.stem not in newer]
    oldest = max((age for path in waiting if (age := _age(path)) is not None), default=0.0)
    if len(waiting) > _MANY or oldest > _LONG:
        text = f"{len(waiting):,} messages wait in the inbox, the oldest since {_at(time.time() - oldest)}"
        yield Problem("waiting", "inbox", text, "the next question takes them; run fourfold fold now and then")
    if newer:
        text = f"{len(newer)} messages are of a newer fourfold; they stay in {reader.folder / 'inbox'}"
        yield Problem("newer_messages", "inbox", text, "upgrade fourfold here")
    hidden = [path for path in (reader.folder / "inbox").glob(".*") if (_age(path) or 0.0) > HALF_WRITTEN]
    if hidden:
        text = f"{len(hidden)} files are incomplete, as their processes died; they were never acknowledged"
        yield Problem("half_written", "inbox", text, "they are removed after an hour, or by fourfold doctor --mend")


def told(subject: str, error: FourfoldError) -> Problem:
    """A question that could not be answered, as a problem."""
    return Problem("not_answered", subject, str(error), "solve the other problems first, then ask again")


def _age(path: StorePath) -> float | None:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return None


def _at(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
