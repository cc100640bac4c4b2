"""From the inbox into the log and the state: every message once, despite crashes in between."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from fourfold.errors import SchemaError, StoreError
from fourfold.ingest import apart, declarations
from fourfold.ingest.applying import Received, apply, came
from fourfold.log import (
    BucketError,
    Conflict,
    DamagedMessageError,
    Inbox,
    Logs,
    Message,
    Quarantine,
    StorePath,
    StreamLog,
    faults,
    messages,
)
from fourfold.log.checking import check
from fourfold.log.inbox import Found
from fourfold.model import limits
from fourfold.model.records import META
from fourfold.state import Database, StateError, catalogue, taken

logger = logging.getLogger("fourfold")
_MESSAGES_AT_ONCE = 2_000
_BYTES_AT_ONCE = 256 << 20
_ROWS_AT_ONCE = 1_000_000


class Collector:
    """Takes what is in an inbox. Only one process at a time does (see ``Store.catch_up``).

    A file is removed only when readable commits hold all its messages: a version of a stream's log, a transaction of
    the state, or a file in quarantine. A crash in between leaves the file, and the next collector finds out exactly
    what was taken: for records by looking up the batch in the log, for all else by the note in the state's transaction.
    What was taken stays noted for days, as it may be sent again.
    """

    def __init__(self, inbox: Inbox, database: Database, quarantine: Quarantine, logs: Logs) -> None:
        self._inbox, self._database, self._quarantine, self._logs = inbox, database, quarantine, logs
        self.stuck: dict[str, str] = {}  # the streams whose records wait in the inbox, and why
        self._missed = False  # whether a bucket did not give what is in it
        self._left: set[str] = set()  # the messages, and files, that stay: of newer versions, or unreadable
        self._settled: set[str] = set()  # of the messages at hand, those that need not be taken any more
        self._taken: list[Message] = []  # and those of them that are to be noted as taken
        self._warned: set[str] = set()

    def newer(self) -> set[str]:
        """The messages that stay in the inbox: of newer versions, or unreadable."""
        return {path.stem for path in self._inbox.pending() if path.stem in self._left} if self._left else set()

    def waiting(self) -> bool:
        """Whether there are messages to take, not counting those of newer versions."""
        return any(path.stem not in self._left for path in self._inbox.pending())

    def forgotten(self) -> bool:
        """Whether there are logs that the state does not know: it was lost and rebuilt."""
        return not self._database.recall(catalogue.any_stream) and self._logs.any()

    def collect(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Take all that is pending, some at a time, as long as ``go_on`` says so; returns whether that was all."""
        if self.forgotten():
            self._rediscover()
        self._inbox.clear_stale()
        self._forget_taken()
        self.stuck, self._missed = {}, False
        waiting: list[StorePath] = []
        size = 0
        for path in self._inbox.pending():
            if len(waiting) == _MESSAGES_AT_ONCE or size > _BYTES_AT_ONCE:
                self._take(waiting)
                if not go_on():
                    return False
                waiting, size = [], 0
            waiting.append(path)
            size += _size(path)
        self._take(waiting)
        self.keep_declarations()
        return not self._missed

    def keep_declarations(self) -> None:
        """Bring the copy of what is declared, beside the logs, up to date where it is not."""
        for project in self._database.recall(catalogue.projects):
            declared = self._database.recall(declarations.of, project)
            try:
                declarations.keep(self._logs.project(project), declared)
            except (OSError, BucketError) as error:
                self._warn(f"declarations{project}", f"the declarations of {project!r} cannot be copied: {error}")

    def _rediscover(self) -> None:
        """Register again the streams in the logs, and the declarations beside them."""
        found = self._logs.found()
        with self._database.write() as connection:
            for project in {project for project, _ in found} | declarations.projects(self._logs.folder):
                logged = functools.partial(self._logs.has, project)
                declarations.restore(connection, project, self._logs.project(project), logged)
            for project, stream in found:
                catalogue.add_stream(connection, project, stream, None, None)
        declarations.note_made_anew(self._inbox.folder.parent)
        logger.warning("The state of the store was gone. %s", declarations.LOST)

    def _received(self, found: Found) -> Received | None:
        """A message and its contents; an unreadable one goes to quarantine, a newer one stays where it is.

        One that a bucket did not give stays there too, and is tried again in the next round.
        """
        try:
            if isinstance(found.message, Exception):
                raise found.message
            content = messages.decode(found.message.header)
            check(content, found.message.table)
            return found.message.placed() if isinstance(content, messages.Records) else found.message, content
        except FileNotFoundError:
            return None
        except BucketError as error:
            self._missed = True
            self._warn(f"{type(error)}", f"a message cannot be read, and waits: {error}")
        except messages.NewerMessageError as error:
            self._left.add(found.id)
            self._warn(str(error), f"{error} It stays in {self._inbox.folder}.")
        except (DamagedMessageError, messages.UnreadableMessageError, IsADirectoryError) as error:
            if isinstance(found.message, Message) and len(messages.apart(found.message.header)) > 1:
                self._take_apart(found, found.message)
            else:
                self._keep(found, str(error))
        except OSError as error:
            self._left.add(found.id)
            self._warn(str(found.path), f"{found.path} cannot be read, and stays there: {error}")
        return None

    def _keep(self, found: Found, reason: str, stream: str = "inbox", project: str = "") -> None:
        """Put a message into quarantine; if that cannot be written, it stays in the inbox."""

        def keep() -> None:
            if found.content is None:
                self._quarantine.keep_file(found.path, reason, stream, project)
            else:
                self._quarantine.keep_message(found.id, found.content, reason, stream, project)

        if self._is_kept(found.id, keep, lambda: reason):
            self._settled.add(found.id)
            self._warn(reason, f"{reason} It is kept in {self._quarantine.folder}.")

    def _is_kept(self, message: str, keep: Callable[[], object], why: Callable[[], str]) -> bool:
        """Whether something of a message could be put into quarantine; if not, the message stays in the inbox.

        Raises:
            StateError: ``keep`` needs the state, which cannot be used.
        """
        try:
            keep()
        except StateError:
            raise
        except BucketError as error:
            self._missed = True
            self._warn(f"keeping {type(error)}", f"a message that goes to quarantine waits: {error}")
        except StoreError as error:
            self._left.add(message)
            self._warn(str(error), f"{why()} It stays in the inbox: {error}")
        else:
            return True
        return False

    def _take(self, paths: Sequence[StorePath]) -> None:
        """Take the messages in files, each once, whichever files it is in, and remove the files that are done with."""
        fresh: dict[str, Found] = {}
        inside: dict[StorePath, list[str]] = {}
        for found in self._inbox.read_all([path for path in paths if path.stem not in self._left]):
            if found.id not in fresh or isinstance(fresh[found.id].message, Exception):  # of two copies, a sound one
                fresh[found.id] = found
            inside.setdefault(found.path, []).append(found.id)
        again = self._known([found.message for found in fresh.values() if isinstance(found.message, Message)])
        self._settled, self._taken = {message.id for message in again}, list(again)
        in_order = sorted(fresh.values(), key=lambda found: found.id)  # each writer's as they were written
        self._take_fresh([found for found in in_order if found.id not in self._settled])
        if self._taken:
            with self._database.write() as connection:
                taken.note(connection, [(message.writer, message.sequence) for message in self._taken], time.time())
        done = []
        for path, ids in inside.items():
            if not (waiting := set(ids) - self._settled):
                done.append(path)
            elif waiting <= self._left:
                self._left.add(path.stem)
        self._remove(done)

    def _known(self, listed: Sequence[Message]) -> list[Message]:
        """Those of some messages that were taken before."""
        if not listed:
            return []
        with self._database.read() as connection:
            known = taken.of(connection, {message.writer for message in listed})
        return [message for message in listed if message.sequence in known.get(message.writer, ())]

    def _take_fresh(self, fresh: Sequence[Found]) -> None:
        """Take messages that were not taken before."""
        received = [each for found in fresh if (each := self._received(found)) is not None]
        by_stream: dict[tuple[str, str], list[Message]] = {}
        named: dict[tuple[str, str], messages.Records] = {}
        for_state = []
        for message, content in self._once(received):
            match content:
                case messages.Records():
                    place = content.project, content.stream
                    by_stream.setdefault(place, []).append(message)
                    named.setdefault(place, content)
                case messages.Rejected():
                    self._keep_rejected(message, content)
                case messages.Dropped():
                    self._quarantine.note_dropped(message.writer, content)
                    self._settle([message])
                case _:
                    for_state.append((message, content))
        self._apply(for_state, {found.id: found for found in fresh})
        unknown = self._make_known(named.values())
        for place, batches in by_stream.items():
            if place in unknown:
                for message in batches:
                    self._keep_rejected(message, messages.Rejected(*place, unknown[place]))
                continue
            try:
                self._append(named[place], batches)
            except StateError:
                raise
            except (StoreError, pa.ArrowException, OSError) as error:  # of this stream's log; the others go on
                self.stuck[place[1]] = str(error)
                self._warn(f"{place}{type(error)}", f"stream {place[1]!r}: its records wait in the inbox: {error}")

    def _once(self, received: Sequence[Received]) -> Iterator[Received]:
        """The messages without those of their records that another message brought under the same name."""
        claims = [
            (name, message.id) for message, content in received
            if isinstance(content, messages.Records) for name, _, _ in content.once
        ]  # fmt: skip
        if not claims:
            yield from received
            return
        with self._database.write() as connection:
            counts_in = taken.claim(connection, claims, time.time())
        for message, content in received:
            if isinstance(content, messages.Records):
                left = np.ones(message.table.num_rows, bool)
                seen = set[str]()
                for name, first, rows in content.once:
                    left[first : first + rows] &= counts_in[name] == message.id and name not in seen
                    seen.add(name)
                if not left.all():
                    message = dataclasses.replace(message, table=message.table.filter(pa.array(left)))
            yield message, content

    def _keep_rejected(self, message: Message, content: messages.Rejected) -> None:
        keep = functools.partial(
            self._quarantine.keep, content.stream, message.id, message.table, content.reason, project=content.project
        )
        if self._is_kept(message.id, keep, lambda: f"stream {content.stream!r}: {content.reason}"):
            self._settle([message])

    def _append(self, named: messages.Records, batches: list[Message]) -> None:
        """Append to a stream's log as few commits as its size allows; what does not fit goes aside."""
        log = self._logs.get(named.project, named.stream)
        self._check_counted(log)
        waiting: list[Message] = []
        rows, names = 0, set[str]()
        for message in batches:
            rows += message.table.num_rows
            names.update(message.table.column_names)
            if waiting and (rows > _ROWS_AT_ONCE or rows * len(names) > limits.CELLS):
                self._commit(log, waiting)
                waiting, rows, names = [], message.table.num_rows, set(message.table.column_names)
            waiting.append(message)
        self._commit(log, waiting)
        log.compact()

    def _make_known(self, streams: Iterable[messages.Records]) -> dict[tuple[str, str], str]:
        """Make streams known that are not; returns those whose names the state cannot hold, and why."""
        new = [n for n in streams if n.stream not in self._database.recall(catalogue.streams, n.project)]
        unknown = {}
        if new:
            with self._database.write() as connection:
                for named in new:
                    try:
                        with self._database.attempt(connection):
                            catalogue.add_stream(connection, named.project, named.stream, named.key, named.time)
                    except sa.exc.DBAPIError as error:  # on PostgreSQL, an index holds no very long text
                        unknown[named.project, named.stream] = f"the state cannot hold its name: {error.orig}"
        return unknown

    def _check_counted(self, log: StreamLog) -> None:
        """If a log ends before its counts do, have it counted again, since its version numbers are reused.

        Raises:
            StoreError: the missing commits may be restored; until then, nothing is added.
        """
        counted = self._database.recall(catalogue.counted_to, log.project).get(log.stream, -1)
        if counted < catalogue.ANEW and log.ends_before(counted) is not None:
            if found := faults(log):
                raise StoreError(f"its log ends before what was counted of it ({found[0]}); see fourfold doctor --mend")
            with self._database.write() as connection:
                catalogue.count_anew(connection, log.project, log.stream)

    def _commit(self, log: StreamLog, batches: Sequence[Message]) -> None:
        """Append batches together, or one by one if the log cannot hold one, which goes to quarantine."""
        try:
            log.append(batches, functools.partial(self.set_aside, log))
        except SchemaError as error:
            if len(batches) > 1:
                for message in batches:
                    self._commit(log, [message])
                return
            (message,) = batches
            kept = self._quarantine.keep(log.stream, message.id, message.table, str(error), project=log.project)
            logger.warning("%s The %d records are kept in %s.", error, kept.rows, kept.path)
        self._settle(batches)

    def set_aside(self, log: StreamLog, message: Message, conflict: Conflict) -> None:
        """Keep the values that contradict their column, with their records' identities."""
        meta = [name for name in META.names if name in message.table.column_names]
        aside = message.table.select(meta).append_column(conflict.column, conflict.values)
        aside = aside.filter(conflict.values.is_valid())
        name = f"{message.id}.{_short(conflict.column)}"
        kept = self._quarantine.keep(
            log.stream, name, aside, conflict.reason, project=log.project, column=conflict.column
        )  # fmt: skip
        self._warn(conflict.reason, f"{conflict.reason} They are kept in {kept.path}.")

    def _apply(self, received: Sequence[Received], found: Mapping[str, Found]) -> None:
        """Take messages into the state, in one transaction with the note that they were taken.

        If one of them is invalid for the state, each gets its own transaction, and that one goes to quarantine; of
        several runs in a message, those that are invalid.
        """
        if not received:
            return
        try:
            with self._database.write() as connection:
                apply(connection, received)
                taken.note(connection, [(message.writer, message.sequence) for message, _ in received], time.time())
        except StateError:  # locked, full, damaged: of the state, not of a message
            raise
        except Exception as error:
            if len(received) > 1:
                for one in received:
                    self._apply([one], found)
                return
            for message, content in received:
                if isinstance(content, messages.Runs | messages.Reported) and len(content.runs) > 1:
                    self._take_apart(found[message.id], message)
                    continue
                reason = f"a message cannot be taken into the state: {type(error).__name__}: {error}"
                self._keep(found[message.id], reason, getattr(content, "stream", "inbox"), content.project)
            return
        self._settled |= {message.id for message, _ in received}

    def _take_apart(self, found: Found, message: Message) -> None:
        """Take those of a message's runs that can be taken; the others go to quarantine, as a message of their own."""
        parts, refused = messages.apart(message.header), list[apart.Refused]()
        project = messages.encodable(str(message.header.get("project") or ""))

        def take() -> None:
            with self._database.write() as connection:
                refused.extend(apart.save_each(self._database, connection, parts, came(message)))
                if len(refused) < len(parts):
                    if refused:  # kept before the message counts as taken
                        name, content = apart.together(message, refused)
                        self._quarantine.keep_message(name, content, apart.told(refused), project=project)
                    taken.note(connection, [(message.writer, message.sequence)], time.time())

        if not self._is_kept(message.id, take, lambda: apart.told(refused)):
            return
        if len(refused) == len(parts):
            self._keep(found, apart.told(refused), project=project)
            return
        self._settled.add(message.id)
        if refused:
            self._warn(f"runs{project}", f"{apart.told(refused)} They are kept in {self._quarantine.folder}.")

    def _settle(self, done: Sequence[Message]) -> None:
        """Messages are in a log, or in quarantine as records: they are to be noted as taken."""
        self._settled |= {message.id for message in done}
        self._taken += done

    def _forget_taken(self) -> None:
        """Let go of notes that are older than any message that may come again."""
        if self._database.recall(taken.oldest) < time.time():
            with self._database.write() as connection:
                taken.forget(connection, time.time())

    def _remove(self, paths: Sequence[StorePath]) -> None:
        """Remove files that are done with; one that cannot be is taken once all the same."""
        try:
            self._inbox.remove(paths)
        except BucketError as error:
            self._warn(f"removing {type(error)}", f"messages that were taken cannot be removed, and wait: {error}")

    def _warn(self, once: str, text: str) -> None:
        if once not in self._warned:
            self._warned.add(once)
            logger.warning("%s", text)


def _size(path: StorePath) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _short(name: str) -> str:
    """A part of a file's name that stands for a column."""
    return hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=8).hexdigest()
