"""From the spool to a bucket or a collector: threads send what waits, and wait themselves while it is away.

Nothing else in the host's process talks to it when it logs. A request is one put, which is given up when it stalls and
made again later; while it is away, one thread tries now and then. A collector may also ask for a pause, and say of a
message that it will never take it.
"""

from __future__ import annotations

import contextlib
import random
import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING

from fourfold.errors import StoreError
from fourfold.log.collector import BusyError, CollectorInbox, NeverTakenError
from fourfold.sdk.host import Host, error_text, logger
from fourfold.sdk.spool import Spool, Waiting, size_text

if TYPE_CHECKING:
    from fourfold.log import BucketInbox

THREADS = 4  # requests at a time
SOONEST, LATEST = 2.0, 30.0  # seconds between two requests while it is away
LOOK_EVERY = 60.0  # seconds between two looks for what dead processes have left
FLUSH_WITHIN, LONGEST_FLUSH = 10.0, 60.0  # seconds that a flush waits for the next message to arrive, and for all
AWAY_WITHIN = 3.0  # seconds that it waits for the next where it is known to be away
AWAY = 2  # failures in a row from which on it is
GIVE_WAY = 3  # times that a message fails before others go first


class Shipper:
    """The threads that send a spool's messages to their ``target``."""

    def __init__(self, spool: Spool, target: BucketInbox | CollectorInbox, host: Host) -> None:
        self.spool, self._target, self._host = spool, target, host
        self._collector = target if isinstance(target, CollectorInbox) else None
        self._begin()

    def _begin(self) -> None:
        self._stopped = False
        self._delivered = self._outages = 0
        self._failures = 0  # since the last success; while there are any, it is away
        self._why, self._warned = "", False
        self._try_at = self._tried = 0.0
        self._look_at, self._is_alone = 0.0, True
        self._pause_until = 0.0  # as a collector has asked for
        self._urgent = 0  # how many wait for what is sent
        self._requests = [threading.Lock() for _ in range(THREADS)]  # each held by its thread during a request

    def start(self) -> None:
        """Start the first thread; the others follow when there is something to send."""
        self._start(self._requests[0], is_first=True)

    def flush(self) -> None:
        """Wait until all that this process has put into the spool has arrived, for a bounded time.

        Raises:
            StoreError: the other side is away, or slow; all is kept, and sent as soon as it can be.
        """
        if left := self._wait(FLUSH_WITHIN, LONGEST_FLUSH):
            why = self._why or f"it took no message within {FLUSH_WITHIN:g} seconds"
            raise StoreError(
                f"{self._called} cannot be written now: {why}. {left} messages are kept in "
                f"{self.spool.folder} and are sent as soon as it can be, by this process or the next of this store"
            )

    def close(self, within: float, longest: float) -> None:
        """Send what is left, as long as a message arrives every so many seconds, and stop."""
        if left := self._wait(within, longest):
            logger.warning(
                "%d messages are kept in %s: the process ended before %s took them; the next of this store sends them",
                left, self.spool.folder, self._target.folder,
            )  # fmt: skip
        with self.spool.changed:
            self._stopped = True
            self.spool.changed.notify_all()
        self.spool.close()

    def hold(self) -> None:
        """Before a fork. For a bucket, wait for the requests under way: they leave locks in its client that a child
        cannot free.
        """
        if self._collector is not None:
            self._collector.hold()
        else:
            for request in self._requests:
                request.acquire()
        self.spool.changed.acquire()

    def release(self) -> None:
        """After a fork, in the parent."""
        self.spool.changed.release()
        if self._collector is not None:
            self._collector.release()
        else:
            for request in self._requests:
                request.release()

    def forked(self) -> None:
        """In the child of a fork: for messages of its own, with threads that are to be started."""
        if self._collector is not None:
            self._collector.forked()
        self.spool.forked()
        self._begin()

    @property
    def _called(self) -> str:
        return f"the collector {self._target.folder}" if self._collector else f"the store's {self._target.folder}"

    def _wait(self, within: float, longest: float) -> int:
        """Wait for what is in the spool now; returns how many messages are left when it was given up."""
        changed, unsent = self.spool.changed, self.spool.unsent
        with changed:
            newest = next(reversed(unsent), 0)
            within = min(within, AWAY_WITHIN) if self._failures >= AWAY else within
            start = progress = monotonic()
            delivered = self._delivered
            self._urgent += 1
            changed.notify_all()
            try:
                while unsent and next(iter(unsent)) <= newest and not self._stopped:
                    if self._delivered != delivered:
                        delivered, progress = self._delivered, monotonic()
                    left = min(progress + within, start + longest) - monotonic()
                    if left <= 0:
                        return sum(number <= newest for number in unsent)
                    changed.wait(left)
            finally:
                self._urgent -= 1
        return 0

    def _start(self, request: threading.Lock, *, is_first: bool) -> None:
        named = f"fourfold-shipping-{self._requests.index(request)}"
        threading.Thread(target=self._ship_forever, args=(request, is_first), name=named, daemon=True).start()

    def _ship_forever(self, request: threading.Lock, is_first: bool) -> None:
        stumbled = False
        while not self._stopped:
            try:
                if stumbled:
                    sleep(SOONEST)
                    stumbled = False
                self._ship_next(request, is_first)
            except BaseException:  # this thread goes on
                stumbled = True
        if self._collector is not None:
            self._collector.leave()

    def _ship_next(self, request: threading.Lock, is_first: bool) -> None:
        if is_first and monotonic() >= max(self._look_at, self._try_at if self._failures else 0.0):
            self._look_at = monotonic() + LOOK_EVERY
            with request:
                self._host.never_raise("looking for messages of other processes", self.spool.take_over)
        if (message := self._next(is_first)) is None:
            return
        try:
            if is_first and self._is_alone:
                self._is_alone = False
                with contextlib.suppress(RuntimeError):  # at the end of a process no thread can be started
                    for other in self._requests[1:]:
                        self._start(other, is_first=False)
            with request:
                error = self._deliver(message)
        except BaseException as failure:
            self.spool.give_back(message)
            raise failure
        self._note(message, error, is_first)

    def _next(self, is_first: bool) -> Waiting | None:
        """The next message to send now, after waiting for it for a while."""
        with self.spool.changed:
            pause = self._pause(is_first)
            if pause <= 0 and (message := self.spool.take()) is not None:
                return message
            self.spool.changed.wait(pause if 0 < pause < LOOK_EVERY else LOOK_EVERY)
        return None

    def _pause(self, is_first: bool) -> float:
        """Seconds until a thread may send."""
        if self._stopped or (self._failures and not is_first):
            return float("inf")
        try_at = min(self._try_at, self._tried + SOONEST) if self._urgent else self._try_at
        return max(try_at, self._pause_until) - monotonic()

    def _deliver(self, message: Waiting) -> Exception | None:
        """Send a message; returns why it could not be sent, if so."""
        try:
            content = message.path.read_bytes()
        except FileNotFoundError:  # another process has sent it
            return None
        except OSError as error:
            return StoreError(f"{message.path} cannot be read: {error}")
        try:
            if isinstance(self._target, CollectorInbox):
                self._target.deliver(message.path.stem, content, message.path.suffix)
            else:
                self._target.deliver(message.path.stem, content)
        except Exception as error:
            return error
        return None

    def _note(self, message: Waiting, error: Exception | None, is_first: bool) -> None:
        with self.spool.changed:
            self._tried = monotonic()
            if error is None or isinstance(error, NeverTakenError):
                self._is_over(message, error)
                return
            self._why = error_text(error).rpartition(f"{message.path.name}: ")[2]
            if isinstance(error, BusyError):
                self._pause_until = max(self._pause_until, self._tried + error.seconds * random.uniform(1.0, 1.25))
                self.spool.give_back(message)
                return
            if is_first or not self._failures:
                self._failures += 1
                pause = min(LATEST, SOONEST * 2.0 ** min(self._failures - 1, 9))
                self._try_at = self._tried + pause * random.uniform(0.75, 1.25)
            self.spool.give_back(message, last=self._failures % GIVE_WAY == 0)
            if self._failures >= AWAY:  # perhaps for this process alone, as its token is wrong
                self.spool.leave_others()
                self._look_at = 0.0
            if self._failures == AWAY and not self._warned:
                self._warn()

    def _is_over(self, message: Waiting, error: Exception | None) -> None:
        """A message has arrived, or will never be taken."""
        if error is None:
            self.spool.sent(message)
        else:
            why = error_text(error)
            became = self.spool.refuse(message, why)
            self._host.warn(f"{self._target.folder} will not take a message: {why}. {became}")
        self._delivered += 1
        if self._warned:
            logger.warning("%s is back: %d messages are sent now", self._target.folder, len(self.spool.unsent))
        self._failures, self._try_at, self._why, self._warned = 0, 0.0, "", False

    def _warn(self) -> None:
        """Warn of an outage; of the 1st, 2nd, 4th, 8th … of one that comes and goes."""
        self._outages += 1
        if self._outages & (self._outages - 1) == 0:
            self._warned = True
            logger.warning(
                "%s is away: %s; what is logged is kept in %s (%s at most), and is sent when it is back",
                self._target.folder, self._why, self.spool.folder, size_text(self.spool.limit),
            )  # fmt: skip
