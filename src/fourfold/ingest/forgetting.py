"""Erases records with every copy, and decides what stays of their counts.

After a deletion from a log the counts follow: they are subtracted. To erase only the records and keep the history, the
time before a midnight is *closed* first, for the stream and for every task that joins it: predictions before it, and
labels that may be theirs, no longer change the counts. The state notes this before the first record goes. So it does
not matter which process folds the deletion, or when, or what crashes in between: the fold finds no open change.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.errors import InputError, StoreError, suggest
from fourfold.log import Inbox, Logs, Quarantine, StorePath, StreamLog, erasing
from fourfold.log.paths import remove_all
from fourfold.model import DAY, HOUR, Owner, label_of, slice_label
from fourfold.model.records import EVENT_TIME, KEY, META
from fourfold.state import Database, adding, catalogue, jobs, runs, series

logger = logging.getLogger("fourfold")

if TYPE_CHECKING:
    from fourfold.ingest.counting import Counter

STAYS = (
    "the smallest and the largest value of each column, and the registers that estimate how many are distinct, stay as "
    "they are: they cannot be subtracted"
)


@dataclasses.dataclass(frozen=True)
class Forgotten:
    """The erased records, and places that may still hold them.

    ``records`` is the number erased, by stream; ``quarantined`` that of rows in the quarantine. ``left`` names places
    that could not be searched or cleared.
    """

    records: Mapping[str, int]
    quarantined: int = 0
    before: dt.datetime | None = None
    counts: str = "taken back"  # or "kept"
    left: tuple[str, ...] = ()


class Forgetter:
    """Erases records of a project. The caller holds the store's lock, and everything is counted."""

    def __init__(
        self, project: str, database: Database, logs: Logs, inbox: Inbox, quarantine: Quarantine, folds: Counter
    ) -> None:
        self._project, self._database, self._logs, self._inbox = project, database, logs, inbox
        self._quarantine, self._folds = quarantine, folds

    def keys(self, keys: Iterable[str], streams: Iterable[str] | None = None, *, force: bool = False) -> Forgotten:
        """Erase all records of some keys: from the logs, the quarantine, and the names under which things are counted.

        The counts follow. ``streams`` None means all; ``force`` removes from the quarantine what cannot be read.

        Raises:
            InputError: a key is no text.
            UnknownNameError: no such stream.
        """
        wanted, waiting = _checked(keys), self._waiting()
        found = self.present(streams, wanted)
        for stream, n in found.items():
            if n:
                self._logs.get(self._project, stream).delete(sorted(wanted))
        self._settle(found)
        rows, unreadable = erasing.erase(
            self._quarantine, erasing.with_keys(wanted), None if streams is None else list(found)
        )
        labels, slices = {label_of(key) for key in wanted}, {slice_label(key) for key in wanted}
        with self._database.write() as connection:
            adding.erase_labels(connection, self._project, labels)
            series.drop_unused(connection, self._project)
            catalogue.drop_kept_slices_of(connection, self._project, slices)
            left = [f"run {run} mentions a key: it is kept with its parameters and error"
                    for run in runs.mentioning(connection, self._project, wanted)]  # fmt: skip
            left += [f"the slice {key} of {owner} has other records"
                     for owner, key in series.slices_of(connection, self._project, slices)]  # fmt: skip
        return Forgotten(found, rows, left=(*left, *self._left(unreadable, waiting, force)))

    def before(self, stream: str, moment: int, *, counts: bool = False, force: bool = False) -> Forgotten:
        """Erase the records of a stream that happened before the midnight (UTC) at or before a moment.

        Their counts stay and no longer change; with ``counts`` they go, too.

        Raises:
            UnknownNameError: no such stream.
            InputError: the moment lies in the future.
        """
        self._named([stream])
        if moment > time.time():
            raise InputError(
                f"before={moment}: that lies in the future; records logged until then would not be counted"
            )
        midnight, waiting = _midnight(moment), self._waiting()
        found = self.present([stream], before=midnight)
        if not counts:
            with self._database.write() as connection:  # the intent first: see above
                catalogue.close_before(connection, self._project, stream, midnight)
        if found[stream]:
            self._logs.get(self._project, stream).delete_before(midnight)
        self._settle([stream])
        if counts:
            self._drop_counts(stream, midnight)
        rows, unreadable = erasing.erase(self._quarantine, erasing.before(midnight), [stream])
        return Forgotten(
            found, rows, dt.datetime.fromtimestamp(midnight, dt.UTC), "taken back" if counts else "kept",
            self._left(unreadable, waiting, force),
        )  # fmt: skip

    def retain(self, retention: Mapping[str, int], now: int) -> None:
        """Let streams forget what is older than they are to keep it, once a day each; the counts stay."""
        for stream, length in retention.items():
            midnight = _midnight(now - length)
            with self._database.read() as connection:
                known = stream in catalogue.streams(connection, self._project)
                closed = catalogue.closed_before(connection, self._project, [stream])
            if known and (closed is None or closed < midnight):
                try:
                    self.before(stream, midnight)
                except StoreError as error:  # of this stream's log; it is tried again tomorrow
                    logger.warning("stream %r: its old records cannot be erased: %s", stream, error)

    def _named(self, streams: Iterable[str] | None) -> list[str]:
        with self._database.read() as connection:
            known = list(catalogue.streams(connection, self._project))
        for stream in streams or ():
            if stream not in known:
                raise suggest("stream", stream, known)
        return known if streams is None else list(dict.fromkeys(streams))

    def present(
        self, streams: Iterable[str] | None, keys: Iterable[str] = (), before: int | None = None
    ) -> dict[str, int]:
        """How many records of each stream's log have one of the keys, or happened before a moment's midnight."""
        if before is None:
            which = pc.field(KEY).isin(sorted(_checked(keys)))
        else:
            which = pc.field(EVENT_TIME) < pa.scalar(_midnight(before) * 1_000_000, META.field(EVENT_TIME).type)
        logs = {stream: self._log(stream).whole(exact=True) for stream in self._named(streams)}
        return {stream: log.records(which, [KEY]).num_rows for stream, log in logs.items()}

    def _settle(self, streams: Iterable[str]) -> None:
        """Let the counts follow, then remove what only earlier versions of the logs need."""
        for stream in streams:
            self._log(stream).seal()
        self._folds.fold()
        for stream in streams:
            self._log(stream).cut_past(self._confirm)

    def _confirm(self) -> None:
        """Ask whether this process still has the store's lock.

        Raises:
            LostLockError: another has taken it; forget again what was to be forgotten.
        """
        with self._database.write():
            pass

    def _drop_counts(self, stream: str, midnight: int) -> None:
        """Of what was closed before: its records are gone already, so that the fold takes nothing back."""
        with self._database.write() as connection:
            if catalogue.closed_before(connection, self._project, [stream]) is not None:
                tasks = catalogue.tasks(connection, self._project).values()
                owners = [
                    Owner.of_stream(stream),
                    *(Owner.of_task(t.name) for t in tasks if t.prediction.stream == stream),
                ]
                for owner in owners:
                    for level in (HOUR, DAY):
                        series.drop_before(connection, self._project, level, {owner: midnight})
            series.drop_unused(connection, self._project)

    def _waiting(self) -> set[str]:
        """The files of messages that were sent before now and not taken; what is sent later is not meant."""
        return {path.name for path in self._inbox.files()}

    def _left(self, unreadable: Iterable[StorePath], waiting: Collection[str], force: bool) -> tuple[str, ...]:
        """What may still hold what was to be erased."""
        left = []
        for path in unreadable:
            if force and path.is_dir():
                remove_all(path)
            elif force:
                path.unlink(missing_ok=True)
                path.with_suffix(".json").unlink(missing_ok=True)
            else:
                left.append(f"{path} in quarantine cannot be read; --force removes it")
        left += [
            f"{path} is in the inbox and not taken yet; run forget again later"
            for path in self._inbox.files()
            if path.name in waiting
        ]
        left += [
            f"{job.owner} is not counted: {why}"
            for job, why in self._database.recall(jobs.failures, self._project).items()
        ]
        if kept := self._database.erase_deleted():
            left.append(f"{kept}; run forget again when it has ended")
        return tuple(left)

    def _log(self, stream: str) -> StreamLog:
        return self._logs.get(self._project, stream)


def _midnight(moment: int) -> int:
    """The midnight (UTC) at or before a moment: counts are kept by the day, so that a day is closed as a whole."""
    return moment // DAY * DAY


def _checked(keys: Iterable[str]) -> set[str]:
    found = set(keys)
    if not found:
        raise InputError("no key was given: name at least one")
    for key in found:
        if not isinstance(key, str):
            raise InputError(f"key {key!r} is no text; give keys as the log keeps them, '5' for 5")
    return found
