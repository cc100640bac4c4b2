"""One process's connection to a store: the buffer of records, the thread that sends them, and the questions.

What the host calls costs microseconds and never raises after set-up: records go to a bounded buffer, and a
thread turns them into messages at least every second. After a fork, parent and child each send their own.
"""

from __future__ import annotations

import atexit
import collections
import contextvars
import functools
import itertools
import logging
import multiprocessing.util
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Any

import pyarrow as pa

from fourfold import config
from fourfold.engine import check_expression
from fourfold.errors import InputError
from fourfold.fold import Plan, to_arrow
from fourfold.log import Inbox, new_writer
from fourfold.model import Task
from fourfold.sdk.batch import Prepared, Record, from_frame, from_records, is_record, shown, with_batch
from fourfold.store import Store, messages, store_folder

LIMIT = 100_000  # records in the buffer; beyond, they are dropped and counted
SEND_EVERY = 0.5  # seconds
COLLECT_AT = 64  # messages in the inbox, at which a sender moves them into the log
logger = logging.getLogger("fourfold")
current_run: contextvars.ContextVar[Any] = contextvars.ContextVar("fourfold_run", default=None)


class Session:
    """What ``ff.init`` sets up; a process has one."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.project = settings.project
        self.queue: collections.deque[tuple[Any, ...]] = collections.deque()
        self.dropped = 0
        self._plans: dict[str, Plan] = {}  # of the frames counted here
        self._inbox = Inbox(store_folder(settings.store) / "inbox")
        self._store: Store | None = None
        self._inherited: Store | None = None
        self._lock = threading.RLock()  # guards the sequence, sending and the store
        self._warned: set[str] = set()
        self._process = os.getpid()
        multiprocessing.util.register_after_fork(self, Session._close_at_exit)
        self._begin()

    def _close_at_exit(self) -> None:
        """In a child of ``multiprocessing``, which ends without the interpreter's own exit."""
        multiprocessing.util.Finalize(None, self.close, exitpriority=100)

    def _begin(self) -> None:
        self._writer, self._sequence = new_writer(), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_forever, name="fourfold", daemon=True)
        self._thread.start()

    @property
    def store(self) -> Store:
        """The store to ask; opened when it is first needed."""
        with self._lock:
            if self._store is None:
                self._store = Store(self.settings.store, self.project)
            return self._store

    def plan(self, stream: str) -> Plan:
        """What is fixed of a stream's columns: as this process fixed it, else as the store knows it."""
        if stream not in self._plans:
            self._plans[stream] = self.store.plan(stream)
        return self._plans[stream]

    def keep_plan(self, stream: str, plan: Plan) -> None:
        """Fix more of a stream's columns."""
        self._plans[stream] = plan

    def send(self, header: Mapping[str, Any], table: pa.Table | None = None) -> str:
        """Send a message; when this returns it is safe."""
        with self._lock:
            self._sequence += 1
            return self._inbox.put(self._writer, self._sequence, header, table)

    def send_batch(self, stream: str, prepared: Prepared) -> None:
        """Send records for a stream's log."""
        with self._lock:
            self._sequence += 1
            table = with_batch(prepared.table, f"{self._writer}-{self._sequence:012d}")
            header = messages.records(self.project, stream, prepared.key, prepared.time)
            self._inbox.put(self._writer, self._sequence, header, table)

    def send_frame(self, stream: str, data: Any, key: str | Sequence[str] | None, time: str | None) -> None:
        """Send a dataframe as one batch; one that cannot be logged goes to quarantine with the reason."""
        run = current_run.get()
        try:
            prepared = from_frame(data, key, time, time_ns(), run.id if run else None)
        except InputError as error:
            self.warn(f"ff.log({stream!r}): {error} The batch is kept in quarantine.")
            self.send(messages.rejected(self.project, stream, str(error)), _as_kept(data))
            return
        self.send_batch(stream, prepared)

    def flush(self) -> None:
        """Send all that is in the buffer; when this returns it is safe."""
        with self._lock:
            records: dict[str, list[Record]] = {}
            for _ in range(len(self.queue)):
                record = Record._make(self.queue.popleft())
                records.setdefault(record.stream, []).append(record)
            while records:
                stream, found = records.popitem()
                try:
                    self._send_records(stream, found)
                except OSError:  # a full disk may be emptied: keep them for the next time
                    self.queue.extendleft(reversed([*found, *itertools.chain(*records.values())]))
                    raise
            if self.dropped:
                self.warn(
                    f"{self.dropped} records were dropped: they came faster than they could be written "
                    f"(the buffer holds {LIMIT:,})", once="dropped",
                )  # fmt: skip

    def close(self) -> None:
        """Send what is left and stop the thread."""
        self._stop.set()
        self.flush()
        if self._store is not None:
            self._store.close()

    def warn(self, message: str, *, once: str | None = None) -> None:
        """Tell the host's log; the same thing once a process."""
        if (once or message) not in self._warned:
            self._warned.add(once or message)
            logger.warning("%s", message)

    def guard(self, what: str, action: Callable[[], object]) -> None:
        """Do something that must not disturb the host: an error becomes a warning."""
        try:
            action()
        except Exception as error:
            self.warn(f"{what}: {type(error).__name__}: {error}", once=f"{what}{type(error)}")

    def forked(self) -> None:
        """In the child of a fork: the parent sends what it had; the child starts with nothing."""
        self._lock = threading.RLock()
        self.queue.clear()
        self.dropped = 0
        self._process = os.getpid()
        self._inherited, self._store = self._store, None  # a connection must be neither used nor closed in a child
        self._begin()

    def hold(self) -> None:
        """Before a fork: let no message be half written."""
        self._lock.acquire()

    def release(self) -> None:
        """After a fork, in the parent."""
        self._lock.release()

    def _send_records(self, stream: str, records: list[Record]) -> None:
        singles = []
        for record in records:
            if record.data is None or is_record(record.data, record.key):
                singles.append(record)
            else:  # a dict of columns
                self.guard(
                    f"ff.log({stream!r})",
                    functools.partial(self.send_frame, stream, record.data, record.key, record.time),
                )
        if not singles:
            return
        for prepared, error in from_records(singles):
            if error is None:
                self.send_batch(stream, prepared)
            else:
                self.warn(f"ff.log({stream!r}): {error} The record is kept in quarantine.")
                self.send(messages.rejected(self.project, stream, str(error)), prepared.table)

    def _send_forever(self) -> None:
        stop = self._stop
        while not stop.wait(SEND_EVERY):
            self.guard("sending records", self.flush)
            if self._process == _FIRST_PROCESS and len(self._inbox.pending()) > COLLECT_AT:
                self.guard("moving records into the log", self.store.collect)


def init(store: str | os.PathLike[str] | None = None, project: str | None = None) -> Session:
    """Choose where to log and what to ask. Without it, the first call uses the environment and fourfold.toml.

    Args:
        store: a folder; else FOURFOLD_STORE, else fourfold.toml's ``store``, else ".fourfold".
        project: a name; else FOURFOLD_PROJECT, else fourfold.toml's ``project``, else "default".

    Raises:
        ConfigError: the store or fourfold.toml cannot be used.
    """
    global _session
    settings = config.load(store, project)
    previous, _session = _session, Session(settings)
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
        if len(queue) < LIMIT:
            queue.append((stream, data and data.copy(), fields, key, time, time_ns(), current_run.get()))
        else:
            now.dropped += 1
        return
    now.guard(f"ff.log({stream!r})", lambda: now.send_frame(stream, data, key, time))


def flush() -> None:
    """Send what is in the buffer; when this returns, it survives the death of this process."""
    session().flush()


def task(
    name: str,
    *,
    prediction: str,
    label: str,
    kind: str = "binary",
    threshold: float | None = None,
    slices: Sequence[config.Slicing | Sequence[config.Slicing]] = (),
    horizon: str = "30d",
    version: str | None = None,
    probabilities: str | None = None,
    classes: Sequence[str] | None = None,
    query: str | None = None,
    cutoffs: Sequence[int] | None = None,
    outcome: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> None:
    """Declare a task: the join of a prediction stream with a label stream, before or after they are logged.

    Args:
        name: the task's name, for ``ff.metric``.
        prediction: "stream.column" of what was predicted: a score (binary, ranking), a class (multiclass), a list of
            classes (multilabel), a number (regression), or what was recommended (decision).
        label: "stream.column" of what it turned out to be: 0, 1 or a boolean (binary), a class, a list of classes, a
            number, how relevant the item was (ranking), or what was done (decision).
        kind: "binary", "multiclass", "multilabel", "regression", "ranking" or "decision".
        threshold: a score at or above it decides "positive" (binary: 0.5 without it). Of a decision with a threshold
            the prediction is a score, and what was done a boolean.
        slices: how metrics can be split: columns of the prediction stream; {"column": "distance", "buckets": 4}, a
            number's quantile buckets; {"name": "night", "sql": "hour < 6"}, an expression; or a list of these, crossed.
        horizon: how long after its prediction a label still counts, by the two event times.
        version: the prediction stream's column of the model version: metrics by version, and of two on the same keys.
        probabilities: multiclass: the prediction stream's column of class probabilities, a dict or a list.
        classes: multiclass: the classes, in the order of these lists.
        query: ranking: the prediction stream's column that says to which query an item belongs.
        cutoffs: ranking: the ranks k at which lists are judged; default: 1, 5, 10.
        outcome: decision: "stream.column" of what came of it, a number such as 0 or 1.
        values: what a record is worth: {"true_positive": 10, "false_positive": -1} (binary), or
            {predicted: {actual: worth}} (multiclass).

    Raises:
        ConfigError: names the field, its value and what is expected.
    """
    declared = config.make_task(
        name, prediction=prediction, label=label, kind=kind, threshold=threshold, slices=slices, horizon=horizon,
        version=version, probabilities=probabilities, classes=classes, query=query, cutoffs=cutoffs, outcome=outcome,
        values=values,
    )  # fmt: skip
    _check(declared)
    now = session()
    now.send(messages.task(now.project, declared))


def _check(declared: Task) -> None:
    """Refuse expressions that cannot be, while whoever wrote them looks."""
    for part in (part for dimension in declared.slices for part in dimension.parts if part.sql):
        check_expression(part.sql, f"task {declared.name!r}: slices")


def _as_kept(data: Any) -> pa.Table:
    """Whatever was handed over, in a form that can be kept."""
    try:
        return to_arrow(data)
    except Exception:
        return pa.table({"data": [shown(data)]})


_session: Session | None = None
_FIRST_PROCESS = os.getpid()


def _at_exit() -> None:
    if _session is not None:
        _session.guard("sending records at exit", _session.close)


def _before_fork() -> None:
    if _session is not None:
        _session.hold()


def _after_fork_in_parent() -> None:
    if _session is not None:
        _session.release()


def _after_fork_in_child() -> None:
    if _session is not None:
        _session.forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
