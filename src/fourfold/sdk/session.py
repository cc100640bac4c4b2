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
from time import time_ns
from typing import TYPE_CHECKING, Any

from fourfold import config
from fourfold.errors import ConfigError
from fourfold.fold import Plan
from fourfold.log import DURABILITIES, BucketInbox, messages, open_inbox, store_folder
from fourfold.model import Objective, Task
from fourfold.model.time import Moment
from fourfold.sdk import ending
from fourfold.sdk.host import Host
from fourfold.sdk.sender import SHIP_EVERY, Sender, stream_name
from fourfold.sdk.spool import LIMIT, Spool, number_of, spool_folder

if TYPE_CHECKING:
    from fourfold.store import Store

SPOOL_BYTES, SEND_EVERY = "FOURFOLD_SPOOL_BYTES", "FOURFOLD_SEND_EVERY"
current_run: contextvars.ContextVar[Any] = contextvars.ContextVar("fourfold_run", default=None)


class Session(Host):
    """The session that ``ff.init`` sets up, one per process. Until a question, it only writes messages, and no engine
    runs in it.
    """

    def __init__(self, settings: config.Settings, *, durability: str = "process", wait: float = 0.0) -> None:
        super().__init__()
        folder = store_folder(settings.store)
        self.settings = dataclasses.replace(settings, store=str(folder))
        self.project = settings.project
        inbox = open_inbox(folder / "inbox", durability)
        if isinstance(inbox, BucketInbox):
            limit, every = int(number_of(SPOOL_BYTES, LIMIT)), number_of(SEND_EVERY, SHIP_EVERY)
            spool = Spool(spool_folder(str(folder)), durability, limit=limit, wait=wait)
            self.sender = Sender(self.project, spool, settings.times, self, wait, bucket=inbox, every=every)
        else:
            self.sender = Sender(self.project, inbox, settings.times, self, wait)
        self._plans: dict[str, Plan] = {}  # of the frames counted here
        self._stores: dict[str, Store] = {}  # by project
        self._inherited: dict[str, Store] = {}
        self._lock = threading.RLock()  # guards the stores
        multiprocessing.util.register_after_fork(self, Session._close_at_exit)
        if multiprocessing.parent_process() is not None:
            self._close_at_exit()

    def _close_at_exit(self) -> None:
        """In a child of ``multiprocessing``, which may end without the interpreter's own exit."""
        multiprocessing.util.Finalize(None, self.close, exitpriority=100)

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

    def plan(self, stream: str) -> Plan:
        """The plan of a stream's columns: as this process fixed it, else as the store knows it."""
        if stream not in self._plans:
            self._plans[stream] = self.store.reader.plan(stream)
        return self._plans[stream]

    def keep_plan(self, stream: str, plan: Plan) -> None:
        """Fix more of a stream's columns."""
        self._plans[stream] = plan

    def flush(self) -> None:
        """Send everything that waits; see ``ff.flush``."""
        self.sender.flush()
        self.sender.ship()

    def close(self) -> None:
        """Send what is left and stop the thread, within a bounded time."""
        self.sender.close()
        for store in self._stores.values():
            store.close()

    def declare(self, task: Task) -> None:
        """Declare a task.

        Raises:
            ConfigError: an expression of its slices is invalid.
            StoreError: the store's folder cannot be written now.
        """
        for part in (part for dimension in task.slices for part in dimension.parts if part.sql):
            from fourfold.engine import check_expression

            check_expression(part.sql, f"task {task.name!r}: slices")
        self.sender.send(messages.task(self.project, task))

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

    def hold(self) -> None:
        """Before a fork: make sure that no message is half written, and no store half opened."""
        self._lock.acquire()
        self.sender.hold()

    def release(self) -> None:
        """After a fork, in the parent."""
        self.sender.release()
        self._lock.release()

    def forked(self) -> None:
        """In the child of a fork: a session of its own."""
        self._lock = threading.RLock()
        self._inherited, self._stores = self._stores, {}  # a connection must be neither used nor closed in a child
        self.sender.forked()


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

    Args:
        store: a folder; else FOURFOLD_STORE, else fourfold.toml's ``store``, else ".fourfold".
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
    ending.do_first(_terminated)
    if previous is not None:
        previous.close()
    for declared in settings.tasks:
        _session.declare(declared)
    for objective in settings.objectives:
        _session.aim(objective)
    return _session


def session() -> Session:
    """The process's session, set up from the environment if ``init`` was not called."""
    return _session if _session is not None else init()


def log(stream: str, data: Any = None, /, *, key: Any = None, time: Any = None, **fields: Any) -> None:
    """Log records of a stream: one, as keywords or a dict, or a dataframe as one batch.

    One record costs microseconds: it goes to a buffer that a thread sends at least every second, and to a bucket every
    five. A frame is sent before this returns; to a bucket, it is on this machine's disk then, and a thread sends it.
    After set-up it never raises: data that cannot be logged goes to quarantine, with a warning.

    Args:
        stream: the stream's name, such as the component's.
        data: a pandas, Polars, PyArrow or DuckDB frame, a list of dicts, a dict; or None, with keywords.
        key: the record's identity: the key's column if ``data`` is given, else the key itself. A multi-part key is a
            list of columns, or a tuple of values, such as the query and the item of a ranking.
        time: the event time: the column's name if ``data`` is given, else the moment. Default: now. A moment
            without a time zone is UTC; a number is seconds since 1970.
        **fields: the record's other columns.
    """
    now = _session or session()
    if data is None or type(data) is dict:
        now.sender.buffer.add((stream, data and data.copy(), fields, key, time, time_ns(), current_run.get()))
        return
    logged, run_ = time_ns(), current_run.get()
    now.never_raise("ff.log", lambda: now.sender.send_frame(stream_name(stream), data, key, time, logged, run_))


def flush() -> None:
    """Send the buffer; when this returns, its records survive the death of this process; to a bucket: they are in it.

    Raises:
        StoreError: the store cannot be written; all is kept, and sent as soon as it can be.
    """
    session().flush()


_session: Session | None = None


def _terminated(number: int) -> None:
    if _session is not None:
        _session.sender.end_by(number)
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
        ending.after_fork_in_parent()
        _session.release()


def _after_fork_in_child() -> None:
    if _session is not None:
        ending.after_fork_in_child()
        _session.forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
