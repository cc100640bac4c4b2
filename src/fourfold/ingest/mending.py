"""Repairs a store as far as is safe, and reports each step. Nothing that held data is deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from fourfold.errors import FourfoldError
from fourfold.ingest.writer import Writer
from fourfold.log import StorePath, mend, open_inbox, state_at, store_folder, unreadable
from fourfold.model import DAY, Address, Place
from fourfold.state import StateError, catalogue, open_state, series

HALF_WRITTEN = 60  # seconds after which a message that is not whole belongs to a process that has died


def mended(place: Address, project: str) -> Iterator[str]:
    """Repair a store, reporting each step.

    Files in the wrong place are moved aside; an unusable state is moved aside and rebuilt from the logs and the
    declarations beside them; damaged logs are repaired and counted again; incomplete messages are removed.

    Raises:
        StoreError: the folder cannot be written, or the state was written by a newer fourfold.
    """
    place = Place.of(place)
    folder = store_folder(place.store)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    for path, what in misplaced(folder):
        yield _move(path, f"it was not a {what}", stamp)
    url, state = state_at(place)
    if not url:  # a file of its own, which can be set aside
        yield from _mend_state(state, folder, stamp)
    writer = Writer(place, project)
    try:
        writer.catch_up()
        yield from _mend_logs(writer, stamp)
        removed = open_inbox(folder / "inbox").clear_stale(HALF_WRITTEN)
        if removed:
            yield f"{removed} incomplete messages were removed; they were never acknowledged"
        writer.fold()
    finally:
        writer.close()


def misplaced(folder: StorePath) -> list[tuple[Path, str]]:
    """What stands where a store has something of another kind, and what should be there; a bucket has no kinds."""
    if not isinstance(folder, Path):
        return []
    files = [(folder / name, "file") for name in ("fold.lock", "state.lock", "state.db")]
    folders = [(folder / name, "folder") for name in ("inbox", "log", "quarantine")]
    found = [(path, what) for path, what in files if path.exists() and not path.is_file()]
    return found + [(path, what) for path, what in folders if path.exists() and not path.is_dir()]


def _mend_state(place: Path, folder: StorePath, stamp: str) -> Iterator[str]:
    path = place / "state.db"
    if not path.exists():
        return
    try:
        database = open_state("", path.parent)
        faults = database.faults()
        database.close()
    except StateError as error:
        faults = [str(error)]
    else:
        unreadable_rows = _unreadable_rows(path)
        if faults and not unreadable_rows and next((folder / "log").glob("*/*/_delta_log"), None) is None:
            yield f"{path} is left as it is, though damaged ({faults[0]}): there is no log to rebuild it from"
            return
        faults = faults or unreadable_rows
    for file in (path, *(Path(f"{path}{end}") for end in ("-wal", "-shm"))) if faults else ():
        if file.exists():
            yield _move(file, faults[0], stamp)


def _unreadable_rows(path: Path) -> list[str]:
    """What of the state cannot be read though the file is sound: declarations and counts that make no sense."""
    database = open_state("", path.parent)
    try:
        with database.read() as connection:
            for project in catalogue.projects(connection):
                catalogue.tasks(connection, project)
                catalogue.backfills(connection, project)
                catalogue.cursors(connection, project)
                for owner in series.owners(connection, project):
                    series.select(connection, series.find(connection, project, owner), DAY)
    except StateError as error:
        return [str(error)]
    finally:
        database.close()
    return []


def _mend_logs(writer: Writer, stamp: str) -> Iterator[str]:
    with writer.database.read() as connection:
        streams = list(catalogue.streams(connection, writer.project))
    for stream in streams:
        log = writer.log(stream)
        if not unreadable(log):
            continue
        with writer.locked():
            writer.forget_counts_of(stream)  # first: whatever ends this, they are counted from what the log then holds
            try:
                for step in mend(log, writer.quarantine.folder / f"log-{log.folder.name}-{stamp}"):
                    yield f"stream {stream!r}: {step}"
            except FourfoldError as error:
                yield f"stream {stream!r} could not be repaired: {error}"
                continue
        yield f"stream {stream!r}: its log is counted again"


def _move(path: Path, why: str, stamp: str) -> str:
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    os.replace(path, aside)
    return f"{path} was moved to {aside.name}: {why}"
