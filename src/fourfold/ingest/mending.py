"""Mending a store: what can be done safely, each step told of. Nothing that held data is deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fourfold.errors import FourfoldError
from fourfold.log import Inbox, mend, unreadable
from fourfold.model import DAY
from fourfold.reports.integrity import HALF_WRITTEN, misplaced
from fourfold.reports.recount import differences
from fourfold.state import Database, StateError, catalogue, series
from fourfold.store import Store


def mended(folder: Path, project: str, *, recount: bool = False) -> Iterator[str]:
    """Mend a store, telling of each step as it is done.

    What stands in the place of something else is moved aside; a state that cannot be used is moved aside and made
    anew from the logs and the declarations beside them; logs are brought to where they can be read, and what they
    hold is counted anew; half-written messages are removed. With ``recount``, counts that differ from the logs too.

    Raises:
        StoreError: the folder cannot be written, or the state was written by a newer fourfold.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    for path, what in misplaced(folder):
        yield _move(path, f"it was not a {what}", stamp)
    yield from _mend_state(folder, stamp)
    store = Store(folder, project)
    try:
        store.catch_up()
        yield from _mend_logs(store, stamp)
        removed = Inbox(folder / "inbox").clear_stale(HALF_WRITTEN)
        if removed:
            yield f"{removed} half-written messages were removed; they were never acknowledged"
        if recount:
            yield from recounted(store)
        store.fold()
    finally:
        store.close()


def recounted(store: Store, report: Callable[[float], None] = lambda share: None) -> Iterator[str]:
    """Count anew what differs from the logs."""
    for owner in {difference.owner for difference in differences(store, report)}:
        store.recount(owner)
        yield f"{owner.replace(':', ' ', 1)} was counted anew from the log"


def _mend_state(folder: Path, stamp: str) -> Iterator[str]:
    path = folder / "state.db"
    if not path.exists():
        return
    try:
        database = Database(path)
        faults = database.faults()
        database.close()
    except StateError as error:
        faults = [str(error)]
    else:
        unreadable_rows = _unreadable_rows(path)
        if faults and not unreadable_rows and next((folder / "log").glob("*/*/_delta_log"), None) is None:
            yield f"{path} is left as it is, though damaged ({faults[0]}): there is no log to make it anew from"
            return
        faults = faults or unreadable_rows
    for file in (path, *(Path(f"{path}{end}") for end in ("-wal", "-shm"))) if faults else ():
        if file.exists():
            yield _move(file, faults[0], stamp)


def _unreadable_rows(path: Path) -> list[str]:
    """What of the state cannot be read though the file is sound: declarations and counts that make no sense."""
    database = Database(path)
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


def _mend_logs(store: Store, stamp: str) -> Iterator[str]:
    with store.database.read() as connection:
        streams = list(catalogue.streams(connection, store.project))
    for stream in streams:
        log = store.log(stream)
        if not unreadable(log):
            continue
        with store.locked():
            store.forget_counts_of(stream)  # first: whatever ends this, they are counted from what the log then holds
            try:
                for step in mend(log, store.quarantine.folder / f"log-{log.folder.name}-{stamp}"):
                    yield f"stream {stream!r}: {step}"
            except FourfoldError as error:
                yield f"stream {stream!r} could not be mended: {error}"
                continue
        yield f"stream {stream!r}: what its log holds is counted anew"


def _move(path: Path, why: str, stamp: str) -> str:
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    os.replace(path, aside)
    return f"{path} was moved to {aside.name}: {why}"
