"""One process's connection to a store: the buffer of records, the thread that sends them, and the questions.

What the host calls costs microseconds and never raises after set-up: records go to a bounded buffer, and a
thread turns them into messages at least every second. After a fork, parent and child each send their own.
"""

from __future__ import annotations

import atexit
import collections
import concurrent.futures.thread  # noqa: F401 - Arrow may load what needs it in the last flush, too late to be loaded
import contextlib
import contextvars
import dataclasses
import functools
import logging
import multiprocessing.util
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep, time, time_ns
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fourfold import config
from fourfold.errors import ConfigError, InputError, StoreError, let_end
from fourfold.fold import Plan, to_arrow
from fourfold.log import DURABILITIES, Inbox, messages, new_writer, store_folder
from fourfold.model import Task
from fourfold.model.time import Moment
from fourfold.sdk import ending
from fourfold.sdk.batch import Prepared, Record, from_records, is_record, prepare, shown, with_batch

if TYPE_CHECKING:
    from fourfold.store import Store

LIMIT = 200_000  # records in the buffer; beyond, they are dropped and counted
WAKE_AT = 20_000  # records in the buffer, at which the sender does not wait any longer; as many are sent at once
MOST_UNSENT = 256 << 20  # bytes of messages that wait for a disk that takes them
SEND_EVERY = 0.5  # seconds
END_WITHIN = 1.5  # seconds that the end of a process waits for a sender that gets nowhere
LONGEST_END = 30.0  # seconds that it waits for one that does
logger = logging.getLogger("fourfold")
current_run: contextvars.ContextVar[Any] = contextvars.ContextVar("fourfold_run", default=None)


class Session:
    """What ``ff.init`` sets up; a process has one. Until it asks, it writes messages only, and no engine runs in it."""

    def __init__(self, settings: config.Settings, *, durability: str = "process", wait: float = 0.0) -> None:
        folder = store_folder(settings.store)
        self.settings = dataclasses.replace(settings, store=str(folder))
        self.project = settings.project
        self.queue: collections.deque[tuple[Any, ...]] = collections.deque()
        self.dropped = 0
        self.wait = wait
        self.wake = threading.Event()
        self._told = self._warned_of = 0  # how many of the dropped records the store, and the host, were told of
        self._plans: dict[str, Plan] = {}  # of the frames counted here
        self._inbox = Inbox(folder / "inbox", durability)
        self._unsent: collections.deque[tuple[int, messages.Header, pa.Table | None]] = collections.deque()
        self.has_sent = False  # whether this process, or the one it was forked from, has sent anything
        self._stores: dict[str, Store] = {}  # by project
        self._inherited: dict[str, Store] = {}
        self._lock = threading.RLock()  # guards the sequence, sending and the store
        self._warned: set[str] = set()
        self._process = os.getpid()
        multiprocessing.util.register_after_fork(self, Session._close_at_exit)
        if multiprocessing.parent_process() is not None:
            self._close_at_exit()
        self._begin()

    def _close_at_exit(self) -> None:
        """In a child of ``multiprocessing``, which may end without the interpreter's own exit."""
        multiprocessing.util.Finalize(None, self.close, exitpriority=100)

    def _begin(self) -> None:
        self._writer, self._sequence = new_writer(), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_forever, name="fourfold", daemon=True)
        self._thread.start()

    @property
    def store(self) -> Store:
        """The store of what this process logs."""
        return self.store_of(self.project)

    def store_of(self, project: str) -> Store:
        """The store, to be asked about a project; opened, and what it needs loaded, when it is first asked."""
        from fourfold.store import Store

        with self._lock:
            if project not in self._stores:
                self._stores[project] = Store(self.settings.store, project, retention=self.settings.retention)
            return self._stores[project]

    def plan(self, stream: str) -> Plan:
        """What is fixed of a stream's columns: as this process fixed it, else as the store knows it."""
        if stream not in self._plans:
            self._plans[stream] = self.store.reader.plan(stream)
        return self._plans[stream]

    def keep_plan(self, stream: str, plan: Plan) -> None:
        """Fix more of a stream's columns."""
        self._plans[stream] = plan

    def send(self, header: messages.Header, table: pa.Table | None = None) -> None:
        """Send a message; when this returns it is safe.

        Raises:
            StoreError: it cannot be written now; it is kept, and sent with what comes next.
        """
        with self._lock:
            self._post(header, table)
            self._raise_unsent()

    def send_batch(self, stream: str, prepared: Prepared) -> None:
        """Send records for a stream's log, as ``send`` does."""
        header = messages.records(self.project, stream, prepared.key, prepared.time)
        with self._lock:
            self._post(header, prepared.table)

    def send_frame(
        self, stream: str, data: Any, key: str | Sequence[str] | None, time: str | None, logged: int, run: Any
    ) -> None:
        """Send a dataframe as one batch; one that cannot be logged goes to quarantine with the reason.

        ``logged`` is when it was handed over, in nanoseconds since 1970; ``run`` is the run in which it was, if any.
        """
        try:
            found = prepare(data, key, time, logged, run.id if run else None, self.settings.times)
        except InputError as error:
            self.warn(f"ff.log({stream!r}): {error} The batch is kept in quarantine.")
            self._post(messages.rejected(self.project, stream, str(error)), _as_kept(data))
        else:
            self._send_prepared(stream, found)
        self._raise_unsent()

    def flush(self) -> None:
        """Send all that is in the buffer; when this returns it is safe.

        Raises:
            StoreError: the store's folder cannot be written; all is kept, and sent as soon as it can be.
        """
        with self._lock:
            self._post_unsent()
            left = len(self.queue)
            while left > 0 and (taken := self._take(min(left, WAKE_AT))):
                left -= len(taken)
                records: dict[str, list[Record]] = {}
                for record in taken:
                    records.setdefault(_stream_name(record.stream), []).append(record)
                for stream, together in records.items():
                    self.guard(f"ff.log({stream!r})", functools.partial(self._send_records, stream, together))
            self._tell_dropped(last=self._stop.is_set())
            self._raise_unsent()

    def close(self) -> None:
        """Send what is left and stop the thread, within a bounded time."""
        self._stop.set()
        self.wake.set()
        if self._finish() and self._thread is not threading.current_thread():
            self._thread.join(END_WITHIN)
        for store in self._stores.values():
            store.close()

    def room(self) -> bool:
        """Whether a record may be added to the buffer after all, once the sender had a moment to make room."""
        self.wake.set()
        until = monotonic() + self.wait
        while len(self.queue) >= LIMIT:
            if monotonic() >= until:
                self.dropped += 1
                return False
            sleep(0.001)
        return True

    def warn(self, message: str, *, once: str | None = None) -> None:
        """Tell the host's log; the same thing once a process."""
        if (once or message) not in self._warned:
            self._warned.add(once or message)
            logger.warning("%s", message)

    def guard(self, what: str, action: Callable[[], object]) -> None:
        """Do something that must not disturb the host: an error becomes a warning."""
        try:
            action()
        except BaseException as error:
            let_end(error)
            self.warn(f"{what}: {type(error).__name__}: {shown_text(error)}", once=f"{what}{type(error)}")

    def forked(self) -> None:
        """In the child of a fork: the parent sends what it had; the child starts with nothing."""
        self._lock = threading.RLock()
        self.wake = threading.Event()
        self.queue.clear()
        self._unsent.clear()
        self.dropped = self._told = self._warned_of = 0
        self._process = os.getpid()
        self._inherited, self._stores = self._stores, {}  # a connection must be neither used nor closed in a child
        self._begin()

    def hold(self) -> None:
        """Before a fork: let no message be half written."""
        self._lock.acquire()

    def release(self) -> None:
        """After a fork, in the parent."""
        self._lock.release()

    def end_by(self, signal_number: int) -> None:
        """Send what is in the buffer before a signal ends the process, within a bounded time."""
        self._stop.set()
        self._finish()
        ending.die(signal_number)

    def _finish(self) -> bool:
        """Send what is left: as long as the sender, which may be at it, gets on with it. Whether that was all."""
        give_up, progress = monotonic() + LONGEST_END, (-1, -1)
        while not self._lock.acquire(timeout=END_WITHIN):
            now = len(self.queue), self._sequence
            if now == progress or monotonic() > give_up:
                logger.warning("%d records are lost: the process ended before they could be written", len(self.queue))
                return False
            progress = now
        try:
            self.guard("sending records at the end", self.flush)
        finally:
            self._lock.release()
        return True

    def _take(self, most: int) -> list[Record]:
        """The oldest records of the buffer; a signal's handler may empty it meanwhile."""
        taken: list[Record] = []
        with contextlib.suppress(IndexError):
            while len(taken) < most:
                taken.append(Record._make(self.queue.popleft()))
        return taken

    def _post(self, header: messages.Header, table: pa.Table | None) -> None:
        """Write a message to the inbox, or keep it for the next time where the disk does not take it."""
        with self._lock:
            self._sequence += 1
            self.has_sent = True
            if table is not None and header["kind"] == "records":
                table = with_batch(table, f"{self._writer}-{self._sequence:012d}")
            self._unsent.append((self._sequence, header, table))
            self._post_unsent()

    def _post_unsent(self) -> None:
        while self._unsent:
            sequence, header, table = self._unsent[0]
            try:
                self._inbox.put(self._writer, sequence, header, table)
            except (OSError, StoreError) as error:
                self._why = f"the store's folder {self._inbox.folder} cannot be written: {error}"
                self._bound_unsent()
                return
            except BaseException as error:  # what no message can hold
                let_end(error)
                self.warn(f"a message could not be written: {type(error).__name__}: {shown_text(error)}")
                self.dropped += table.num_rows if table is not None else 1
            if self._unsent and self._unsent[0][0] == sequence:  # a signal's handler may have sent it meanwhile
                self._unsent.popleft()

    def _bound_unsent(self) -> None:
        """Drop what is more than memory may hold, the oldest first, and count it."""
        while sum(table.nbytes for _, _, table in self._unsent if table is not None) > MOST_UNSENT:
            _, _, table = self._unsent.popleft()
            self.dropped += table.num_rows if table is not None else 0

    def _raise_unsent(self) -> None:
        if self._unsent:
            raise StoreError(f"{self._why}. {len(self._unsent)} messages are kept and sent as soon as it can be")

    def _tell_dropped(self, *, last: bool = False) -> None:
        """Tell the store how many records were dropped, and the host when their number has doubled, and at the end."""
        if self.dropped > self._told and (last or not self._unsent):
            self._told = self.dropped
            text = (
                f"{self.dropped} records were dropped: they came faster than they could be written (the buffer holds "
                f"{LIMIT:,}; ff.init(wait=1.0) lets a call wait for room), or the store could not be written"
            )
            if last or self.dropped >= 2 * self._warned_of:
                self._warned_of = self.dropped
                self.warn(text)
            total = messages.Dropped(self.project, socket.gethostname(), self._process, self.dropped, time())
            self._post(messages.dropped(total, f"process {self._process}: {text}"), None)

    def _send_records(self, stream: str, records: list[Record]) -> None:
        singles = []
        for record in records:
            if record.data is None or _is_single(record):
                singles.append(record)
            else:  # a dict of columns
                self.guard(
                    f"ff.log({stream!r})",
                    functools.partial(
                        self.send_frame, stream, record.data, record.key, record.time, record.logged, record.run
                    ),
                )
        if singles:
            self._send_prepared(stream, from_records(singles, self.settings.times))

    def _send_prepared(self, stream: str, found: Sequence[tuple[Prepared, BaseException | None]]) -> None:
        for prepared, error in found:
            if error is None:
                self.send_batch(stream, prepared)
                if prepared.unreadable:
                    self.warn(
                        f"ff.log({stream!r}): {prepared.unreadable} times cannot be read, or are implausible; these "
                        "records count as of when they were logged, and keep the time in the column unreadable_time",
                        once=f"time{stream}",
                    )
            else:
                self.warn(f"ff.log({stream!r}): {shown_text(error)} The record is kept in quarantine.")
                self._post(messages.rejected(self.project, stream, shown_text(error)), prepared.table)

    def _send_forever(self) -> None:
        stop = self._stop
        while not stop.is_set():
            self.wake.wait(SEND_EVERY)
            self.wake.clear()
            with contextlib.suppress(BaseException):  # whatever an object of the host's raises: this thread goes on
                self.guard("sending records", self.flush)
                self.guard("ending the process", ending.attend)


def init(
    store: str | os.PathLike[str] | None = None,
    project: str | None = None,
    *,
    durability: str = "process",
    wait: float = 0.0,
    earliest: Moment | None = None,
    ahead: str | None = None,
) -> Session:
    """Choose where to log and what to ask. Without it, the first call uses the environment and fourfold.toml.

    Args:
        store: a folder; else FOURFOLD_STORE, else fourfold.toml's ``store``, else ".fourfold".
        project: a name; else FOURFOLD_PROJECT, else fourfold.toml's ``project``, else "default". Questions of a process
            that has chosen none and logged nothing go to the only project that the store has.
        durability: what a record survives once ``ff.flush()`` has returned: the death of the "process", or also a
            loss of power ("disk": every message waits for the disk).
        wait: for how many seconds ``ff.log`` may wait for room in a buffer that is full, before it drops the record;
            by default it never waits.
        earliest: event times before this are taken for mistakes; else FOURFOLD_EARLIEST, else fourfold.toml's
            ``earliest``, else 1970. Such a record counts as of when it was logged, and keeps what was given.
        ahead: so are event times further ahead than this, "12h" or "400d", of the moment of logging; else
            FOURFOLD_AHEAD, else fourfold.toml's ``ahead``, else 366 days.

    Raises:
        ConfigError: the store or fourfold.toml cannot be used.
    """
    global _session
    if durability not in DURABILITIES:
        raise ConfigError(f"durability={durability!r}: give one of {', '.join(map(repr, DURABILITIES))}")
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not 0 <= wait < float("inf"):
        raise ConfigError(f"wait={wait!r}: give a number of seconds, at least 0")
    settings = config.load(store, project, earliest=earliest, ahead=ahead)
    previous, _session = _session, Session(settings, durability=durability, wait=wait)
    ending.do_first(_terminated)
    if previous is not None:
        previous.close()
    for declared in settings.tasks:
        _check(declared)
        _session.send(messages.task(_session.project, declared))
    return _session


def session() -> Session:
    """The process's session, set up with what the environment says where ``init`` was not called."""
    return _session if _session is not None else init()


def log(stream: str, data: Any = None, /, *, key: Any = None, time: Any = None, **fields: Any) -> None:
    """Log records of a stream: one, as keywords or a dict, or a dataframe as one batch.

    One record costs microseconds: it goes to a buffer that a thread sends at least every second. A frame is sent
    before this returns. Nothing is raised after set-up: what cannot be logged is warned of and kept aside.

    Args:
        stream: the stream's name, such as the component's.
        data: a pandas, Polars, PyArrow or DuckDB frame, a list of dicts, a dict; or None, with keywords.
        key: what identifies the record: the key's column where ``data`` is given, else the key itself. A key of
            several parts is a list of columns, or a tuple of values: of a ranked item, its query and itself.
        time: when it happened: the column's name where ``data`` is given, else the moment; default: now.
            A moment without a time zone is UTC; a number is seconds since 1970.
        **fields: the record's other columns.
    """
    now = _session or session()
    if data is None or type(data) is dict:
        queue = now.queue
        waiting = len(queue)
        if waiting < LIMIT or now.room():
            queue.append((stream, data and data.copy(), fields, key, time, time_ns(), current_run.get()))
            if waiting == WAKE_AT:
                now.wake.set()
        return
    logged, run_ = time_ns(), current_run.get()
    now.guard("ff.log", lambda: now.send_frame(_stream_name(stream), data, key, time, logged, run_))


def flush() -> None:
    """Send what is in the buffer; when this returns, it survives the death of this process.

    Raises:
        StoreError: the store's folder cannot be written; all is kept, and sent as soon as it can be.
    """
    session().flush()


def task(
    name: str,
    *,
    prediction: str,
    label: str,
    kind: str = "binary",
    threshold: float | None = None,
    slices: Sequence[config.Slicing | Sequence[config.Slicing]] | Mapping[str, str] = (),
    horizon: str = "30d",
    version: str | None = None,
    probabilities: str | None = None,
    classes: Sequence[str] | None = None,
    query: str | None = None,
    cutoffs: Sequence[int] | None = None,
    outcome: str | None = None,
    values: Mapping[str, Any] | None = None,
    positive: str | float | None = None,
) -> None:
    """Declare a task: the join of a prediction stream with a label stream, before or after they are logged.

    Args:
        name: the task's name, for ``ff.metric``.
        prediction: "stream.column" of what was predicted: a score (binary, ranking), a class (multiclass), a list of
            classes (multilabel), a number (regression), or what was recommended (decision).
        label: "stream.column" of what it turned out to be: 0 or 1, a boolean, or these as words (binary; for others see
            ``positive``), a class, a list of classes, a number, how relevant the item was (ranking), or what was done
            (decision). Labels of no use to the task are counted, and said in each answer's reason.
        kind: "binary", "multiclass", "multilabel", "regression", "ranking" or "decision".
        threshold: a score at or above it decides "positive" (binary: 0.5 without it). Of a decision with a threshold
            the prediction is a score, and what was done a boolean.
        slices: how metrics can be split: columns of the prediction stream; {"column": "distance", "buckets": 4}, a
            number's quantile buckets; {"name": "night", "sql": "hour < 6"}, an expression; or a list of these, crossed.
            A mapping of names to expressions, {"night": "hour < 6"}, is as good as a list of these.
        horizon: how long after its prediction a label still counts, by the two event times.
        version: the prediction stream's column of the model version: metrics by version, and of two on the same keys.
        probabilities: multiclass: the prediction stream's column of class probabilities, a dict or a list.
        classes: multiclass: the classes, in the order of these lists.
        query: ranking: the prediction stream's column that says to which query an item belongs.
        cutoffs: ranking: the ranks k at which lists are judged; default: 1, 5, 10.
        outcome: decision: "stream.column" of what came of it, a number such as 0 or 1.
        values: what a record is worth: {"true_positive": 10, "false_positive": -1} (binary), or
            {predicted: {actual: worth}} (multiclass).
        positive: binary: the label that is positive, such as "yes" or 2; any other is negative.

    Raises:
        ConfigError: names the field, its value and what is expected.
    """
    declared = config.make_task(
        name, prediction=prediction, label=label, kind=kind, threshold=threshold, slices=slices, horizon=horizon,
        version=version, probabilities=probabilities, classes=classes, query=query, cutoffs=cutoffs, outcome=outcome,
        values=values, positive=positive,
    )  # fmt: skip
    _check(declared)
    now = session()
    now.send(messages.task(now.project, declared))


def _check(declared: Task) -> None:
    """Reject an invalid expression where it is declared."""
    for part in (part for dimension in declared.slices for part in dimension.parts if part.sql):
        from fourfold.engine import check_expression

        check_expression(part.sql, f"task {declared.name!r}: slices")


def _is_single(record: Record) -> bool:
    """Whether a record is one, and not columns; one that cannot be told is left to be set aside as one."""
    try:
        return is_record(record.data, record.key)
    except BaseException as error:
        let_end(error)
        return True


def _stream_name(stream: Any) -> str:
    """A stream's name as text, whatever was given for it."""
    text = str.__str__(stream) if issubclass(type(stream), str) else shown(stream)
    return (text or shown(stream)).encode("utf-8", "backslashreplace").decode()


def shown_text(error: BaseException) -> str:
    """An error's text, whatever it does when asked for it."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode() or type(error).__name__
    except BaseException as error:
        let_end(error)
        return type(error).__name__


def _as_kept(data: Any) -> pa.Table:
    """Whatever was handed over, in a form that can be kept."""
    try:
        return to_arrow(data)
    except BaseException as error:
        let_end(error)
        return pa.table({"data": [shown(data)]})


_session: Session | None = None


def _terminated(number: int) -> None:
    if _session is not None:
        _session.end_by(number)
    else:
        ending.die(number)


def _at_exit() -> None:
    ending.wait()
    if _session is not None:
        _session.guard("sending records at exit", _session.close)


def _before_fork() -> None:
    if _session is not None:
        _session.hold()
        ending.before_fork()


def _after_fork_in_parent() -> None:
    if _session is not None:
        ending.after_fork_in_parent()
        _session.release()


def _after_fork_in_child() -> None:
    if _session is not None:
        ending.after_fork_in_child()
        _session.forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
