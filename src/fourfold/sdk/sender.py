"""From the buffers to the inbox: a thread sends what waits at least every second, and so does ``flush``.

Of a store in a bucket or behind a collector, the inbox is a spool on this machine's disk, and other threads send it on
(``Shipper``): the host never waits for either, unless it asks to. After a fork, parent and child each send their own.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - Arrow may need it in the last flush, when it is too late to load it
import functools
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from fourfold.errors import ConfigError, InputError
from fourfold.log import messages
from fourfold.log.collector import CollectorInbox
from fourfold.model import Plausible, Run, limits
from fourfold.sdk import buffer, ending, runs
from fourfold.sdk.buffer import Buffer
from fourfold.sdk.form import Batch, Form, Payload, in_parts
from fourfold.sdk.host import Host, error_text, is_cluster_frame, logger, shown
from fourfold.sdk.outbox import Outbox
from fourfold.sdk.record import Record
from fourfold.sdk.runs import RunQueue
from fourfold.sdk.shipping import Shipper
from fourfold.sdk.spool import Spool

if TYPE_CHECKING:
    import pyarrow as pa

    from fourfold.log import BucketInbox, Inbox

SEND_EVERY = 0.5  # seconds
SHIP_EVERY = 5.0  # seconds, to a bucket, where each message is a request; FOURFOLD_SEND_EVERY
END_WITHIN = 1.5  # seconds that the end of a process waits for a sender without progress
LONGEST_END = 30.0  # seconds that it waits for one with progress
END_SHIPPING = 5.0  # seconds that it waits for the next message to arrive in a bucket
END_SENDING, LONGEST_SENDING = 1.0, 2.0  # seconds that it waits for the next to arrive at a collector, and for all
PART = limits.JSON // 2  # bytes of the records of a message to a collector
_RUNS = limits.JSON // 4  # characters of the runs of a message, whose quotes are escaped where it is JSON
PARTS = 16  # into which the spool's room is divided at least
_SHOWN = 5  # reasons for which records were dropped that a text names


class Sender:
    """What this process has to send to a project of a store, and the thread that sends it.

    ``inbox`` is the store's, or a spool for its ``target``; ``every`` is how many seconds records are gathered for.
    """

    def __init__(
        self,
        project: str,
        inbox: Inbox | Spool,
        form: Form,
        times: Plausible,
        host: Host,
        wait: float = 0.0,
        *,
        target: BucketInbox | CollectorInbox | None = None,
        every: float = SEND_EVERY,
    ) -> None:
        self.project = project
        self.buffer, self.outbox, self.runs = Buffer(wait, form.together), Outbox(inbox, host), RunQueue()
        self._shipper = Shipper(inbox, target, host) if isinstance(inbox, Spool) and target is not None else None
        self.form, self._target, self._every = form, target, every
        self._times, self._host = times, host
        self._told = self._warned_of = 0  # how many of the dropped records were reported to the store, and to the host
        self._begin()
        self.start()

    @property
    def dropped(self) -> int:
        """How many records were dropped."""
        return sum(self._dropped().values())

    def _dropped(self) -> Mapping[str, int]:
        """How many records were dropped, by what befell them."""
        fast = (
            f"came faster than they could be written (the buffer holds {buffer.LIMIT:,}; ff.init(wait=1.0) lets a call "
            "wait for room)"
        )
        refused = self._shipper.spool.refused if self._shipper is not None else {}
        return {fast: self.buffer.dropped, **self.outbox.dropped, **refused}

    def send(self, header: messages.Header) -> None:
        """Send a message; when this returns it is safe.

        Raises:
            StoreError: it cannot be written now; it is kept, and sent with the next message.
        """
        with self.outbox.lock:
            self.outbox.post(header)
            self.outbox.check()

    def send_frame(
        self, stream: str, data: Any, key: str | Sequence[str] | None, time: str | None, logged: int, run: Any
    ) -> None:
        """Send a dataframe as one batch; one that cannot be logged goes to quarantine with the reason.

        ``logged`` is when it was logged, in nanoseconds since 1970; ``run`` is the run that logged it, if any. A frame
        of a cluster is logged from there, and there is a warning if it cannot be: it is too large to be kept.
        """
        if is_cluster_frame(data):
            self._append(stream, data, key, time, logged, run.id if run else None)
            return
        try:
            batches = self.form.of_data(data, key, time, logged, run.id if run else None, self._times)
        except InputError as error:
            self._host.warn(f"ff.log({stream!r}): {error} The batch is kept in quarantine.")
            self.outbox.post(messages.rejected(self.project, stream, str(error)), self.form.kept(data))
        else:
            self._send_batches(stream, batches)
        self.outbox.check()

    def _append(
        self, stream: str, data: Any, key: str | Sequence[str] | None, time: str | None, logged: int, run: str | None
    ) -> None:
        if isinstance(self._target, CollectorInbox):
            raise ConfigError("a frame of a cluster is logged by its executors: name the bucket that they all reach")
        from fourfold.sdk import clusters

        inbox: Any = self._target or self.outbox.inbox
        place = clusters.staged(inbox)
        work = clusters.Appended(self.project, stream, key, time, logged, run, self._times, place)
        if unreadable := clusters.append(data, inbox, work):
            self._host.warn(f"ff.log({stream!r}): {unreadable} {_UNREADABLE}", once=f"time{stream}")

    def send_counts(self, header: messages.Header, table: pa.Table) -> None:
        """Queue the counts of a run's frame."""
        self.runs.count(header, table)
        self._make_room()

    def end_run(self, run: Run) -> None:
        """Queue the end of a run."""
        self.runs.end(run)
        self._make_room()

    def flush(self, lasting: float = 0.0) -> None:
        """Send all that waits; when this returns it is safe: in the store's folder, or in the spool.

        Runs that have not ended are sent if they have lasted so many seconds.

        Raises:
            StoreError: the store's folder cannot be written; all is kept, and sent as soon as it can be.
        """
        with self.outbox.lock:
            self.outbox.post_unsent()
            self._send_runs([*self.runs.beats(), *self.runs.begun(lasting)])
            self._send_buffer()
            self._send_ended()
            self._tell_dropped(last=self._stop.is_set())
            self.outbox.check()

    def ship(self) -> None:
        """Wait until all that was sent is in the bucket, or acknowledged by the collector, for a bounded time.

        Raises:
            StoreError: it cannot be written; all is kept, and sent as soon as it can be.
        """
        if self._shipper is not None:
            self._shipper.flush()

    def close(self) -> None:
        """Send what is left and stop the threads, within a bounded time."""
        self._is_stopped = True
        self._stop.set()
        self.buffer.wake.set()
        if self._finish() and self._thread is not threading.current_thread():
            self._thread.join(END_WITHIN)
        self._end_shipping()

    def stop(self) -> None:
        """Stop the thread: from now on, only ``flush`` sends."""
        self._is_stopped = True
        self._stop.set()
        self.buffer.wake.set()
        self._thread.join()

    def is_alive(self) -> bool:
        """Whether the thread sends."""
        return self._thread.is_alive()

    def hold(self) -> None:
        """Before a fork: make sure that no message is half written, and none on its way to a bucket."""
        self.outbox.lock.acquire()
        if self._shipper is not None:
            self._shipper.hold()

    def release(self) -> None:
        """After a fork, in the parent."""
        if self._shipper is not None:
            self._shipper.release()
        self.outbox.lock.release()

    def forked(self) -> None:
        """In the child of a fork: the parent sends what it had; the child starts with nothing, and is to be started."""
        self.buffer.forked()
        self.outbox.start_anew()
        self.runs.forked()
        self._told = self._warned_of = 0
        if self._shipper is not None:
            self._shipper.forked()
        self._begin()

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()
        if self._shipper is not None:
            self._shipper.start()

    def end_by(self, signal_number: int) -> None:
        """Send what waits before a signal ends the process, within a bounded time."""
        self._is_stopped = True
        self._stop.set()
        self._finish()
        self._end_shipping()
        ending.die(signal_number)

    def _begin(self) -> None:
        self._stop = threading.Event()
        self._sent, self._stumbled, self._is_stopped = monotonic(), False, False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._send_forever, name="fourfold", daemon=True)

    def _send_forever(self) -> None:
        while not self._is_stopped:
            try:
                self._send_when_due()
            except BaseException:  # whatever the host's objects raise, this thread goes on
                self._stumbled = True

    def _send_when_due(self) -> None:
        if self._stumbled:
            self._stumbled = False
            self._stop.wait(SEND_EVERY)
        woken = self.buffer.wake.wait(SEND_EVERY)
        self.buffer.wake.clear()
        if self._is_stopped:
            return
        if woken or self._every <= SEND_EVERY or monotonic() - self._sent >= self._every:
            self._sent = monotonic()
            self._host.never_raise("sending records", functools.partial(self.flush, runs.LASTING))
        self._host.never_raise("ending the process", ending.attend)

    def _finish(self) -> bool:
        """Send the rest while the sender, which may be at it, makes progress; return whether all was sent."""
        give_up, progress = monotonic() + LONGEST_END, (-1, -1)
        while not self.outbox.lock.acquire(timeout=END_WITHIN):
            left = len(self.buffer.records)
            now = left, self.outbox.sequence
            if now == progress or monotonic() > give_up:
                logger.warning("%d records are lost: the process ended before they could be written", left)
                return False
            progress = now
        try:
            self._host.never_raise("sending records at the end", self.flush)
        finally:
            self.outbox.lock.release()
        return True

    def _end_shipping(self) -> None:
        if self._shipper is not None:
            is_collector = isinstance(self._target, CollectorInbox)
            within = (END_SENDING, LONGEST_SENDING) if is_collector else (END_SHIPPING, LONGEST_END)
            end = functools.partial(self._shipper.close, *within)
            self._host.never_raise("sending messages at the end", end)

    def _send_buffer(self) -> None:
        left = len(self.buffer.records)
        while left > 0 and (taken := self.buffer.take(min(left, self.buffer.wake_at))):
            left -= len(taken)
            records: dict[str, list[Record]] = {}
            for record in taken:
                records.setdefault(stream_name(record.stream), []).append(record)
            for stream, together in records.items():
                send = functools.partial(self._send_records, stream, together)
                self._host.never_raise(f"ff.log({stream!r})", send)

    def _send_records(self, stream: str, records: list[Record]) -> None:
        singles = []
        for record in records:
            if record.is_single:
                singles.append(record)
            else:  # a dict of columns
                fields = record.data, record.key, record.time, record.logged, record.run
                self._host.never_raise(f"ff.log({stream!r})", functools.partial(self.send_frame, stream, *fields))
        if singles:
            self._send_batches(stream, self.form.of_records(singles, self._times))

    def _send_batches(self, stream: str, batches: Sequence[Batch]) -> None:
        for batch in batches:
            if batch.error is None:
                header = messages.records(self.project, stream, batch.key, batch.time)
                for part in self._parts(batch.payload):
                    self.outbox.post(header, part)
                if batch.unreadable:
                    self._host.warn(f"ff.log({stream!r}): {batch.unreadable} {_UNREADABLE}", once=f"time{stream}")
            else:
                text = error_text(batch.error)
                number = batch.payload.num_rows
                kept = "The record is" if number == 1 else f"The {number} records are"
                self._host.warn(f"ff.log({stream!r}): {text} {kept} kept in quarantine.", once=f"{stream}{text}")
                for part in self._parts(batch.payload):
                    self.outbox.post(messages.rejected(self.project, stream, text), part)

    def _parts(self, payload: Payload) -> Sequence[Payload]:
        """A payload as messages: one, but for a collector, which takes no larger ones, and its spool."""
        if not isinstance(self._target, CollectorInbox) or not isinstance(self.outbox.inbox, Spool):
            return [payload]
        return self.form.parts(payload, min(PART, self.outbox.inbox.limit // PARTS))

    def _make_room(self) -> None:
        """If too many runs wait, wake the sender, or send them here."""
        if len(self.runs) >= runs.WAKE_AT:
            self.buffer.wake.set()
        if self.runs.is_full():
            self.flush(lasting=runs.LASTING)

    def _send_ended(self) -> None:
        """Send the counts, and then the runs that have ended, so that a run's reader finds its counts."""
        counted, ended = self.runs.take()
        for header, table in counted:
            self.outbox.post(header, table)
        for at in range(0, len(ended), runs.WAKE_AT):
            self._send_runs(ended[at : at + runs.WAKE_AT])

    def _send_runs(self, several: Sequence[Run]) -> None:
        texts: list[str] = []

        def write(run: Run) -> None:
            texts.append(messages.run_text(run))

        for run in several:
            self._host.never_raise("recording a run", functools.partial(write, run))
        for part in in_parts(texts, _RUNS):
            self.outbox.post(messages.runs(self.project, part))

    def _tell_dropped(self, *, last: bool = False) -> None:
        """Report dropped records to the store, and to the host when their number has doubled, and at the end."""
        by_reason = self._dropped()
        if (dropped := sum(by_reason.values())) > self._told and (last or self.outbox.has_room()):
            self._told = dropped
            why = _listed(by_reason)
            text = f"{dropped} records were dropped: {why}"
            if last or dropped >= 2 * self._warned_of:
                self._warned_of = dropped
                self._host.warn(text)
            total = messages.Dropped(self.project, socket.gethostname(), self._process, dropped, time(), why)
            self.outbox.post(messages.dropped(total, f"process {self._process}: {text}"))


_UNREADABLE = (
    "times cannot be read, or are implausible; these records count as of when they were logged, and keep the time in "
    "the column unreadable_time"
)


def _listed(by_reason: Mapping[str, int]) -> str:
    """What befell records, the most frequent first.

    >>> _listed({"were lost": 3}), _listed({"were lost": 3, "came late": 0, "were refused": 4})
    ('they were lost', '4 were refused; 3 were lost')
    """
    several = sorted(((n, why) for why, n in by_reason.items() if n), key=lambda entry: -entry[0])
    if len(several) == 1:
        return f"they {several[0][1]}"
    shown = [f"{n} {why}" for n, why in several[:_SHOWN]]
    return "; ".join([*shown, *([f"{sum(n for n, _ in several[_SHOWN:])} otherwise"] if several[_SHOWN:] else [])])


def stream_name(stream: Any) -> str:
    """A stream's name as text, whatever was given."""
    text = str.__str__(stream) if issubclass(type(stream), str) else shown(stream)
    return (text or shown(stream)).encode("utf-8", "backslashreplace").decode()
