"""One process's session: the settings of ``ff.init``, the sender, and the stores to ask.

After set-up, the host's calls cost microseconds and never raise: records and runs go to buffers, and a thread turns
them into messages at least every second.
"""

from __future__ import annotations

import atexit
import contextvars
import dataclasses
import multiprocessing.util
import os
import threading
from importlib.util import find_spec
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any

from fourfold import config
from fourfold.errors import ConfigError
from fourfold.log import messages
from fourfold.log.collector import CollectorInbox
from fourfold.log.writers import DURABILITIES
from fourfold.model import Endpoint, Objective, Task, is_collector
from fourfold.model.time import Moment
from fourfold.sdk import ending, hosts
from fourfold.sdk.form import Form, usual
from fourfold.sdk.host import Host
from fourfold.sdk.sender import SEND_EVERY, SHIP_EVERY, Sender, stream_name
from fourfold.sdk.spool import LIMIT, Spool, number_of, spool_folder

if TYPE_CHECKING:
    from fourfold.log import BucketInbox
    from fourfold.sdk.plans import Plans
    from fourfold.store import Store

_SPOOL_BYTES, _SEND_EVERY = "FOURFOLD_SPOOL_BYTES", "FOURFOLD_SEND_EVERY"
current_run: contextvars.ContextVar[Any] = contextvars.ContextVar("fourfold_run", default=None)


class Session(Host):
    """The session that ``ff.init`` sets up, one per process. Until a question, it only writes messages, and no engine
    runs in it. ``collector`` is what takes them, if the store is behind one.
    """

    def __init__(self, settings: config.Settings, *, durability: str = "process", wait: float = 0.0) -> None:
        super().__init__()
        self.settings, self.project = settings, settings.project
        self.collector: CollectorInbox | None = None
        form = usual()
        if is_collector(settings.store):
            self._sender = self._sender_to_collector(form, durability, wait)
        elif find_spec("fourfold.log.inbox") is None:
            raise ConfigError(
                f"store={settings.store!r}: fourfold-client sends to a collector only; give its address, such as "
                "'http://127.0.0.1:4404', or install fourfold"
            )
        else:
            self._sender = self._sender_to_store(form, durability, wait)
        self._is_forked = False  # and has not logged since
        self._plans: Plans | None = None
        self._stores: dict[str, Store] = {}  # by project
        self._inherited: dict[str, Store] = {}
        self._lock = threading.RLock()  # guards the stores
        hosts.tell_of_end(self.close)
        multiprocessing.util.register_after_fork(self, Session._close_at_exit)
        if multiprocessing.parent_process() is not None:
            self._close_at_exit()

    def _sender_to_collector(self, form: Form, durability: str, wait: float) -> Sender:
        self.collector = target = CollectorInbox(Endpoint.of(self.settings.store), form.encoding, form.compressed)
        if target.sends_openly:
            self.warn(f"the token for {target.folder} goes over http, which others can read; use https")
        spool = spool_folder(target.folder, project=self.project)
        return self._sender_by(spool, target, SEND_EVERY, form, durability, wait)

    def _sender_to_store(self, form: Form, durability: str, wait: float) -> Sender:
        from fourfold.log import BucketInbox, open_inbox, store_folder

        folder = store_folder(self.settings.store)
        self.settings = dataclasses.replace(self.settings, store=str(folder))
        inbox = open_inbox(folder / "inbox", durability)
        if isinstance(inbox, BucketInbox):
            return self._sender_by(spool_folder(str(folder)), inbox, SHIP_EVERY, form, durability, wait)
        return Sender(self.project, inbox, form, self.settings.times, self, wait)

    def _sender_by(
        self, folder: Path, target: BucketInbox | CollectorInbox, every: float, form: Form, durability: str, wait: float
    ) -> Sender:
        limit, every = int(number_of(_SPOOL_BYTES, LIMIT)), number_of(_SEND_EVERY, every)
        spool = Spool(folder, form, durability, limit=limit, wait=wait)
        return Sender(self.project, spool, form, self.settings.times, self, wait, target=target, every=every)

    def _close_at_exit(self) -> None:
        """In a child of ``multiprocessing``, which may end without the interpreter's own exit."""
        multiprocessing.util.Finalize(None, self.close, exitpriority=100)

    @property
    def sender(self) -> Sender:
        """What this process has to send.

        In the child of a fork it begins here, when the child first logs: a child may only be about to run another
        program, or to replace threads by greenlets, which must not meet with locks and threads of before.
        """
        if self._is_forked:
            self._begin_anew()
        return self._sender

    def _begin_anew(self) -> None:
        with self._lock:
            is_first, self._is_forked = self._is_forked, False
            if is_first:
                self._sender.forked()
                if self._plans is not None:
                    self._plans.forked()
        if is_first:
            hosts.tell_of_end(self.close)
            self._sender.start()

    @property
    def has_sent(self) -> bool:
        """Whether this process, or the one it was forked from, has sent anything."""
        return self.sender.outbox.has_sent

    @property
    def store(self) -> Store:
        """The store of what this process logs."""
        return self.store_of(self.project)

    def store_of(self, project: str) -> Store:
        """The store for questions to a project; the first question opens it and loads what it needs."""
        from fourfold.store import Store

        with self._lock:
            if project not in self._stores:
                self._stores[project] = Store(self.settings.place, project, retention=self.settings.retention)
            return self._stores[project]

    @property
    def plans(self) -> Plans:
        """How the columns of streams are counted here."""
        from fourfold.sdk.plans import Plans

        if self._plans is None:
            self._plans = Plans(self)
        return self._plans

    def can_check(self, component: str) -> bool:
        """Whether what a component makes can be compared with its past here; if not, there is a warning, once."""
        if self.collector is not None:
            self.warn(
                f"component {component!r}: check= is not made: the store is behind {self.collector.folder}, and cannot "
                "be asked from here; 'fourfold check' compares the runs there"
            )
        return self.collector is None

    def flush(self) -> None:
        """Send everything that waits; see ``ff.flush``."""
        self.sender.flush()
        self.sender.ship()

    def close(self) -> None:
        """Send what is left and stop the thread, within a bounded time."""
        if not self._is_forked:
            self._sender.close()
        for store in self._stores.values():
            store.close()
        if self._plans is not None:
            self._plans.close()

    def declare(self, task: Task) -> None:
        """Declare a task.

        Raises:
            ConfigError: an expression of its slices is invalid.
            StoreError: the store's folder cannot be written now.
        """
        _check_slices(task, f"task {task.name!r}")
        self.sender.send(messages.task(self.project, task))

    def declare_file(self) -> None:
        """Declare what fourfold.toml does, which counts where it is new or was changed there.

        Raises:
            ConfigError, StoreError: as of ``declare``.
        """
        for task in self.settings.tasks:
            _check_slices(task, config.section_of("task", task.name))
        for header in messages.of_file(self.project, self.settings.tasks, self.settings.objectives):
            self.sender.send(header)

    def aim(self, objective: Objective) -> None:
        """Declare an objective.

        Raises:
            StoreError: the store's folder cannot be written now.
        """
        self.sender.send(messages.objective(self.project, objective))

    def withdraw(self, name: str) -> None:
        """Withdraw an objective.

        Raises:
            StoreError: the store's folder cannot be written now.
        """
        self.sender.send(messages.no_objective(self.project, name))

    def end_by(self, signal_number: int) -> None:
        """Send what waits before a signal ends the process."""
        if self._is_forked:
            ending.die(signal_number)
        else:
            self._sender.end_by(signal_number)

    def hold(self) -> None:
        """Before a fork: make sure that no message is half written, and no store half opened."""
        self._lock.acquire()
        if not self._is_forked:
            self._sender.hold()

    def release(self) -> None:
        """After a fork, in the parent."""
        try:
            if not self._is_forked:
                self._sender.release()
        finally:
            self._lock.release()

    def forked(self) -> None:
        """In the child of a fork: a session of its own."""
        self._lock = threading.RLock()
        self._inherited, self._stores = self._stores, {}  # a connection must be neither used nor closed in a child
        self._sender.buffer.records.clear()  # the parent's
        self._is_forked = True


def init(
    store: str | os.PathLike[str] | None = None,
    project: str | None = None,
    *,
    state: str | None = None,
    engine: str | None = None,
    durability: str = "process",
    wait: float = 0.0,
    earliest: Moment | None = None,
    ahead: str | None = None,
) -> Session:
    """Choose where to log and what to ask. Without it, the first call uses the environment and fourfold.toml.

    It declares the tasks and objectives of fourfold.toml that are new there, or were changed since they were declared
    last.

    Args:
        store: a folder, a bucket ("s3://…") or a collector ("https://…"); else FOURFOLD_STORE, else fourfold.toml's
            ``store``, else ".fourfold".
        project: a name; else FOURFOLD_PROJECT, else fourfold.toml's ``project``, else "default". A process that has
            chosen none and logged nothing asks the store's only project.
        state: a database's URL, such as "postgresql://host/fourfold"; else FOURFOLD_STATE, else fourfold.toml's
            ``state``, else SQLite in the store's folder.
        engine: what counts, "duckdb" or "spark"; else FOURFOLD_ENGINE, else fourfold.toml's ``engine``, else "duckdb".
        durability: what a record survives once ``ff.flush()`` has returned: the death of the "process", or also a
            power failure ("disk": every message waits for the disk).
        wait: for how many seconds ``ff.log`` may wait for room in a full buffer before it drops the record; 0: never.
        earliest: event times before this are treated as mistakes; else FOURFOLD_EARLIEST, else fourfold.toml's
            ``earliest``, else 1970. Such a record counts at its log time, and keeps the given time.
        ahead: event times further ahead of the log time than this, "12h" or "400d", are treated likewise; else
            FOURFOLD_AHEAD, else fourfold.toml's ``ahead``, else 366 days.

    Raises:
        ConfigError: the store or fourfold.toml cannot be used.
    """
    global _session
    if durability not in DURABILITIES:
        raise ConfigError(f"durability={durability!r}: give one of {', '.join(map(repr, DURABILITIES))}")
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not 0 <= wait < float("inf"):
        raise ConfigError(f"wait={wait!r}: give a number of seconds, at least 0")
    settings = config.load(store, project, state=state, engine=engine, earliest=earliest, ahead=ahead)
    previous, _session = _session, Session(settings, durability=durability, wait=wait)
    atexit.unregister(_at_exit)  # what is registered last is done first: before a bucket's clients end
    atexit.register(_at_exit)
    ending.do_first(_terminated)
    if previous is not None:
        previous.close()
    _session.declare_file()
    return _session


def session() -> Session:
    """The process's session, set up from the environment if ``init`` was not called."""
    return _session if _session is not None else init()


def log(stream: str, data: Any = None, /, *, key: Any = None, time: Any = None, **fields: Any) -> None:
    """Log records of a stream: one, as keywords or a dict, or a dataframe as one batch.

    One record costs microseconds: it goes to a buffer that a thread sends at least every second, and to a bucket every
    five. A frame is sent before this returns; for a bucket or a collector, it is on this machine's disk then, and a
    thread sends it.
    After set-up it never raises: data that cannot be logged goes to quarantine, with a warning.

    Args:
        stream: the stream's name, such as the component's.
        data: a pandas, Polars, PyArrow or DuckDB frame, a list of dicts, a dict; or None, with keywords.
        key: the record's identity: the key's column if ``data`` is given, else the key itself. A multi-part key is a
            list of columns, or a tuple of values, such as the query and the item of a ranking.
        time: the event time: the column's name if ``data`` is given, else the moment. Default: now. A moment
            without a time zone is UTC; a number is seconds since 1970, or by its size milli-, micro- or nanoseconds;
            a period of pandas is its start.
        **fields: the record's other columns.
    """
    now = _session or session()
    try:
        if data is None or type(data) is dict:
            now.sender.buffer.add((stream, data and data.copy(), fields, key, time, time_ns(), current_run.get()))
        else:
            now.sender.send_frame(stream_name(stream), data, key, time, time_ns(), current_run.get())
    except BaseException as error:
        now.failed("ff.log", error)


def flush() -> None:
    """Send the buffer; when this returns, its records survive the death of this process; to a bucket: they are in it;
    to a collector: it has acknowledged them.

    Raises:
        StoreError: the store cannot be written; all is kept, and sent as soon as it can be.
    """
    session().flush()


_session: Session | None = None


def _check_slices(task: Task, whose: str) -> None:
    has_sql = any(part.sql for dimension in task.slices for part in dimension.parts)
    if has_sql and find_spec("fourfold.engine") is not None:  # else, the store's own check tells
        from fourfold.engine import check_slices

        check_slices(task, whose)


def _terminated(number: int) -> None:
    if _session is not None:
        _session.end_by(number)
    else:
        ending.die(number)


def _at_exit() -> None:
    ending.wait()
    if _session is not None:
        _session.never_raise("sending records at exit", _session.close)


def _before_fork() -> None:
    if _session is not None:
        _session.hold()
        ending.before_fork()


def _after_fork_in_parent() -> None:
    if _session is not None:
        try:
            _session.release()
            ending.after_fork_in_parent()
        finally:
            ending.after_fork()


def _after_fork_in_child() -> None:
    if _session is not None:
        try:
            ending.after_fork_in_child()
            _session.forked()
        finally:
            ending.after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
