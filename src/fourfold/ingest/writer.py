"""The writer of a store: takes sent messages into the log, and counts new records."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from filelock import Timeout

from fourfold.config import Settings
from fourfold.engine import make_engine
from fourfold.errors import StoreError
from fourfold.ingest import from_file
from fourfold.ingest.collect import Collector
from fourfold.ingest.counting import Counter
from fourfold.ingest.forgetting import Forgetter, Forgotten
from fourfold.ingest.liveness import mark_lost
from fourfold.log import (
    Conflict,
    Logs,
    Message,
    Quarantine,
    Quarantined,
    StorePath,
    StreamLog,
    open_inbox,
    refuse_in_fork,
    state_at,
    store_folder,
)
from fourfold.model import Address, Owner, Place, Standing, Sums
from fourfold.model.time import Moment, seconds
from fourfold.state import LostLockError, catalogue, jobs, open_state

logger = logging.getLogger("fourfold")
TOLD_AFTER = 60.0  # seconds of waiting for another process that counts
_AT_A_TIME = 0.5  # seconds of counting, after which others that wait for the lock get it


class Writer:
    """Takes the messages sent to a store, and counts them for one project. One process at a time does this.

    Raises:
        ConfigError: this version cannot use the address.
        StoreError: the folder cannot be created or holds something else.
    """

    def __init__(
        self,
        place: Address,
        project: str,
        retention: Mapping[str, int] | None = None,
    ) -> None:
        self.place, self.project = Place.of(place), project
        self.folder = store_folder(self.place.store)
        self.retention = dict(retention or {})  # for how many seconds streams keep their records, where not for ever
        try:
            (self.folder / "inbox").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store's folder {self.folder} cannot be made: {error}") from error
        self.database = open_state(*state_at(self.place))
        self.quarantine = Quarantine(self.folder / "quarantine")
        self._inbox = open_inbox(self.folder / "inbox")
        self.logs = Logs(self.folder / "log")
        self._collector = Collector(self._inbox, self.database, self.quarantine, self.logs)
        self.engine = make_engine(self.place.engine)
        self._folds = Counter(project, self.database, self.engine, self.logs)
        self._forgetter = Forgetter(project, self.database, self.logs, self._inbox, self.quarantine, self._folds)
        self._lock = self.database.lock("fold")
        self._thread_lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._behind = False
        self._told = False

    @property
    def writable(self) -> bool:
        """Whether this process can take messages and count; else it answers from the existing counts."""
        return self.database.writable

    @property
    def standing(self) -> Standing:
        """What the newest round of counting left undone."""
        collector = self._collector
        return Standing(self._behind, dict(collector.stuck), dict(self._folds.damaged), frozenset(collector.newer()))

    @contextlib.contextmanager
    def locked(self, wait: float = math.inf) -> Iterator[None]:
        """The only thread and process that takes and counts.

        Raises:
            Timeout: others hold the lock for longer than ``wait`` seconds.
            StoreError: the lock cannot be taken: its path is no file, or cannot be written.
        """
        if not self._thread_lock.acquire(timeout=min(wait, threading.TIMEOUT_MAX)):
            raise Timeout("fold")
        try:
            try:
                self._acquire(wait)
            except Timeout:
                raise
            except OSError as error:
                lock = state_at(self.place)[1] / "fold.lock"
                raise StoreError(
                    f"the lock {lock} cannot be taken: {error}. Check its permissions; "
                    "'fourfold doctor --mend' moves aside what is in its place"
                ) from error
            try:
                yield
            finally:
                self._lock.release()
        finally:
            self._thread_lock.release()

    def _acquire(self, wait: float) -> None:
        """Wait for the lock of all processes, and say so if it takes long."""
        if wait > TOLD_AFTER:
            with contextlib.suppress(Timeout):
                self._lock.acquire(timeout=TOLD_AFTER)
                return
            logger.warning(
                "another process has been counting for %g seconds, and this one waits for it. If it hangs, end it: "
                "nothing is lost", TOLD_AFTER,
            )  # fmt: skip
            wait -= TOLD_AFTER
        self._lock.acquire(timeout=-1 if math.isinf(wait) else wait)

    def catch_up(self, patience: float = math.inf) -> None:
        """Take sent messages and count new records. One process does, the others wait for it.

        After ``patience`` seconds, a thread does the rest, and questions are answered from the counts so far (see
        ``standing``).
        """
        refuse_in_fork()
        self.database.reopen_if_replaced()
        if not self.writable:
            self._tell_read_only()
            return
        if self.pending() and not self._fold(patience) and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._fold_in_background, name="fourfold-fold", daemon=True)
            self._thread.start()
        mark_lost(self.database)

    def pending(self) -> bool:
        """Whether something sent or declared is not counted yet."""
        return self._collector.waiting() or self._collector.forgotten() or self._folds.pending()

    def fold(self, report: Callable[[float], None] = lambda share: None) -> None:
        """Count everything, however long it takes; ``report`` is told what share of the first counts is done."""
        while self.writable and not self._fold(_AT_A_TIME, math.inf):
            shares = self.database.recall(jobs.progress, self.project).values()
            report(sum(shares) / len(shares) if shares else 1.0)
        report(1.0)

    def set_aside(self, log: StreamLog) -> Callable[[Message, Conflict], None]:
        """What keeps a batch's values that contradict their columns."""
        return functools.partial(self._collector.set_aside, log)

    def forget_counts_of(self, stream: str) -> None:
        """Forget the counts of a stream's log, of the stream and of the tasks on it, and count it again."""
        for owner in self._folds.owners_of(stream):
            self._folds.forget(owner)

    def recount(self, owner: Owner) -> None:
        """Forget an owner's counts and count it from the start of its logs."""
        with self.locked():
            self._folds.forget(owner)
        self.fold()

    def waiting(self) -> list[StorePath]:
        """The files of the messages that wait in the inbox."""
        return self._inbox.pending()

    def _tell_read_only(self) -> None:
        if self._told:
            return
        self._told = True
        at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.database.changed()))
        logger.warning(
            "%s is read-only for this process: %d messages wait, and counts are as of %s UTC.",
            self.folder, len(self.waiting()), at,
        )  # fmt: skip

    def _fold(self, patience: float, wait: float | None = None) -> bool:
        """Take and count for some seconds; returns whether that was all.

        ``wait`` is for how long another thread or process may be at it meanwhile; else it is the patience.
        """
        until = time.monotonic() + patience
        self._behind = True
        try:
            with self.locked(patience if wait is None else wait):
                taken = self._collector.collect(lambda: time.monotonic() < until)
                self._behind = not (self._folds.fold(lambda: time.monotonic() < until) and taken)
                if not self._behind:
                    self._forgetter.retain(self.retention, int(time.time()))
        except LostLockError as error:
            logger.warning("%s", error)
            return self._fold(max(0.0, until - time.monotonic()), wait)
        except Timeout:
            pass
        return not self._behind

    def _fold_in_background(self) -> None:
        try:
            while not self._closed and not self._fold(_AT_A_TIME, math.inf):
                pass
        except Exception as error:
            if not self._closed:
                logger.warning("counting in the background: %s: %s", type(error).__name__, error)

    def collect(self) -> bool:
        """Take what was sent into the log, without counting; False where another process is at it."""
        try:
            with self.locked(0.0):
                self._collector.collect()
        except Timeout:
            return False
        return True

    def declare(self, settings: Settings, project: str) -> None:
        """Send what fourfold.toml declares for a project, where that is new; the next round takes it.

        Raises:
            StoreError: it cannot be sent.
        """
        if self.writable:
            from_file.declare(settings, project, self.database, self._inbox)

    def define(self, task: str, sums: Sums, patience: float = math.inf) -> None:
        """Define a custom metric of a task, and count it from the start of the logs (see ``catch_up``)."""
        with self.database.write() as connection:
            catalogue.set_custom(connection, self.project, task, sums)
        self._collector.keep_declarations()
        self.catch_up(patience)

    def delete(self, stream: str, keys: Iterable[str]) -> int:
        """Delete all records of these keys from a stream's log, and from the counts; returns how many there were.

        Extremes (min, max) and distinct counts cannot be subtracted and stay.

        Raises:
            UnknownNameError: no such stream.
        """
        keys = list(keys)
        with self._settled():
            present = self._forgetter.present([stream], keys, None)[stream]
            self.logs.get(self.project, stream).delete(keys)
            self._folds.fold()
        return present

    def forget_keys(
        self, keys: Iterable[str], streams: Iterable[str] | None = None, *, force: bool = False
    ) -> Forgotten:
        """Erase all records of these keys, with every copy; see ``Forgetter.keys``."""
        with self._settled():
            return self._forgetter.keys(keys, streams, force=force)

    def forget_before(self, stream: str, moment: Moment, *, counts: bool = False, force: bool = False) -> Forgotten:
        """Erase a stream's records that are older than a moment, with every copy; see ``Forgetter.before``."""
        with self._settled():
            return self._forgetter.before(stream, seconds(moment, "before"), counts=counts, force=force)

    def forgettable(
        self, streams: Iterable[str] | None = None, *, keys: Iterable[str] = (), before: Moment | None = None
    ) -> dict[str, int]:
        """How many records of each stream ``forget_keys``, or ``forget_before``, would erase from its log."""
        self.catch_up()
        return self._forgetter.present(streams, keys, None if before is None else seconds(before, "before"))

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """While this lasts, all that was sent is counted, and nobody else takes or counts.

        Raises:
            LostLockError: another does all the same, as this process stood still.
        """
        refuse_in_fork()
        try:
            with self.locked():
                self._collector.collect()
                self._folds.fold()
                yield
        except LostLockError as error:
            raise LostLockError(f"{error}. Not all is erased: run it again") from error

    def log(self, stream: str) -> StreamLog:
        """The log of a stream."""
        return self.logs.get(self.project, stream)

    def quarantined(self) -> list[Quarantined]:
        """The batches that were kept aside."""
        return self.quarantine.entries()

    def close(self) -> None:
        """Stop what goes on in the background, and close the connections to the state."""
        self._closed = True
        if self._thread is not None and self._thread.is_alive():
            self.engine.stop(self._thread)
        self.database.close()
