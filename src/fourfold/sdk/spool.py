"""The spool: messages on their way to a bucket or a collector wait on this machine's disk, until they are there.

Each process, and each fork, has a folder of its own in the folder of the store, and holds a lock beside it as long as
it lives. The system frees the lock of a process that dies, and another process of the store, or the next
one, sends what it has left. A message that two of them send has one identity, and counts once. What will never be
taken is kept aside, in the folder ``refused``, of which the oldest goes where it would be too much; a message that
alone is too much is not kept, and takes no other's place.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from fourfold.errors import ConfigError, StoreError
from fourfold.log.disk import appear
from fourfold.log.writers import message_id
from fourfold.sdk.form import Form, Payload

try:
    import fcntl
except ImportError:  # Windows: there, processes may send each other's messages too, which count once
    fcntl = None  # type: ignore[assignment]

LIMIT = 256 << 20  # bytes of all processes' messages; FOURFOLD_SPOOL_BYTES
RESERVE = 8  # declarations and runs may use one part of so many more than that
LOOKS = 128  # times that a process which fills the limit alone looks how much the others hold
_LOOK_AGAIN = 1.0  # seconds after which it looks again where there is no room
_LOCK = ".lock"
_REFUSED = "refused"
_MOST_REFUSED = 8  # what is kept aside may take one part of so many of the limit
_MOST_REASONS = 20  # by which what was refused is counted
_PLACES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ACCOUNT_NAME")  # say where an address leads


class SpoolFullError(Exception):
    """The spool holds as many bytes as it may."""


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the spool: its file with its size in bytes; ``number`` counts this process's, and is 0 of others.

    ``records`` is how many it holds, where that is known.
    """

    path: Path
    size: int
    number: int = 0
    records: int = 0


class Spool:
    """The messages of a store that are on this machine; those of this process, and of dead ones, are to be sent.

    ``changed`` guards it, and tells of each message that comes or goes. Where there is no room, the newest message is
    refused: what was promised to be kept stays, and no process removes what another is sending.

    Args:
        folder: of the store's spool.
        durability: as that of an ``Inbox``.
        form: writes the messages.
        limit: the most bytes, of all processes. One message may be more.
        wait: for how many seconds a message with records may wait for room.
    """

    def __init__(
        self, folder: Path, form: Form, durability: str = "process", *, limit: int = LIMIT, wait: float = 0.0
    ) -> None:
        self.folder, self.limit = folder, limit
        self._form, self._synchronise, self._wait = form, durability == "disk", wait
        self._start_anew()

    def _start_anew(self) -> None:
        self.changed = threading.Condition()
        self.unsent: dict[int, Waiting] = {}  # of this process, waiting or on their way, the oldest first
        self._own: collections.deque[Waiting] = collections.deque()
        self._left: collections.deque[Waiting] = collections.deque()  # by dead processes
        self._left_by: collections.Counter[str] = collections.Counter()  # how many, by their writers
        self._bytes = self._of_others = self._count = 0
        self._unseen, self._looked = self.limit, 0.0  # bytes put since it was looked how much others hold; and when
        self._writer = ""
        self.refused: collections.Counter[str] = collections.Counter()  # records, by what became of them, and why
        self._held: dict[str, int] = {}  # the locks of this process's folder and of those it has taken over

    def forked(self) -> None:
        """In the child of a fork: start with nothing; the locks stay the parent's."""
        for lock in self._held.values():
            with contextlib.suppress(OSError):  # a daemon has closed it
                os.close(lock)
        self._start_anew()

    def put(self, writer: str, sequence: int, header: Mapping[str, Any], payload: Payload | None = None) -> str:
        """Write a message; when this returns it survives the death of this process. Returns its id.

        Raises:
            SpoolFullError: there is no room; what is there already is kept.
            OSError: the file could not be written.
            StoreError: the folder cannot be made.
        """
        small = payload is None
        self._look_at_others(small)
        with self.changed:
            if not self.changed.wait_for(lambda: self.has_room(small), 0 if small else self._wait):
                raise SpoolFullError
        if writer != self._writer:
            self._make(self.folder)
            if (lock := _hold(self.folder / f"{writer}{_LOCK}", wait=True)) is not None:
                self._held[writer] = lock
            self._writer = writer
        message = message_id(writer, sequence)
        path = self.folder / writer / f"{message}{self._form.suffix}"
        self._make(path.parent)
        appear(path, lambda file: self._form.write(file, header, payload), synchronise=self._synchronise)
        with self.changed:
            self._count += 1
            added = Waiting(path, os.path.getsize(path), self._count, 0 if payload is None else payload.num_rows)
            self._own.append(added)
            self.unsent[added.number] = added
            self._bytes += added.size
            self._unseen += added.size
            self.changed.notify_all()
        return message

    def has_room(self, small: bool = False) -> bool:
        """Whether another message may be kept; a ``small`` one, without records, may use the reserve."""
        return self._bytes + self._of_others < self.limit + (self.limit // RESERVE if small else 0)

    def _look_at_others(self, small: bool) -> None:
        """Find how much the others hold, if it may have changed by much since."""
        full = not self.has_room(small) and monotonic() - self._looked >= _LOOK_AGAIN
        if full or self._unseen >= self.limit // LOOKS:
            writers = {name for name in _names(self.folder) if not name.endswith(_LOCK)} - {_REFUSED, *self._held}
            self._of_others = sum(_size(path) for writer in writers for path in _files(self.folder / writer))
            self._unseen, self._looked = 0, monotonic()

    def take(self) -> Waiting | None:
        """The next message to be sent: this process's before others', and the oldest first."""
        with self.changed:
            for several in (self._own, self._left):
                if several:
                    return several.popleft()
        return None

    def give_back(self, message: Waiting, *, last: bool = False) -> None:
        """A message could not be sent; it is the next again, or the last."""
        with self.changed:
            several = self._own if message.number else self._left
            (several.append if last else several.appendleft)(message)

    def sent(self, message: Waiting) -> None:
        """A message was sent: remove it."""
        with contextlib.suppress(OSError):
            message.path.unlink(missing_ok=True)
        self._is_gone(message)

    def refuse(self, message: Waiting, why: str) -> str:
        """A message will never be taken: keep it aside, if there can be room, and count its records.

        Returns what became of it, as a sentence.
        """
        aside, most = self.folder / _REFUSED, self.limit // _MOST_REFUSED
        became = f"It is kept in {aside}"
        counted = f"were refused: {why} (kept in {aside}, the newest {size_text(most)} of such)"
        if message.size > most:
            became = f"It is not kept: alone it is larger than the {size_text(most)} that {aside} may hold"
            counted = f"were refused: {why} (not kept: too large for {aside})"
        else:
            try:
                if self._set_aside(message.path, aside, most):
                    became += ", where older ones made room for it"
            except OSError as error:
                became = f"It is lost: {aside} cannot be written: {error.strerror or error}"
                counted = f"were refused: {why} (lost: {aside} cannot be written)"
        with contextlib.suppress(OSError):
            message.path.unlink(missing_ok=True)  # where it is not kept
        with self.changed:
            if counted not in self.refused and len(self.refused) >= _MOST_REASONS:
                counted = "were refused for other reasons"
            self.refused[counted] += message.records if message.number else 1
        self._is_gone(message)
        return became

    def _is_gone(self, message: Waiting) -> None:
        with self.changed:
            self._bytes -= message.size
            self.unsent.pop(message.number, None)
            if (writer := message.path.parent.name) in self._left_by:
                self._left_by[writer] -= 1
                if not self._left_by[writer]:
                    self._discard(writer)
            self.changed.notify_all()

    def take_over(self) -> None:
        """Find what dead processes have left, and how much the others hold."""
        of_others = 0
        for writer in sorted({name.removesuffix(_LOCK) for name in _names(self.folder)} - {_REFUSED}):
            if writer in self._held:
                continue
            if (lock := _hold(self.folder / f"{writer}{_LOCK}")) is None:
                of_others += sum(_size(path) for path in _files(self.folder / writer))
                continue
            for name in _names(self.folder / writer):
                if name.startswith("."):  # half written when its process died
                    with contextlib.suppress(OSError):
                        (self.folder / writer / name).unlink(missing_ok=True)
            found = [Waiting(path, _size(path)) for path in _files(self.folder / writer)]
            with self.changed:
                self._held[writer] = lock
                self._left.extend(found)
                self._left_by[writer] = len(found)
                self._bytes += sum(message.size for message in found)
                if not found:
                    self._discard(writer)
                self.changed.notify_all()
        self._of_others = of_others

    def leave_others(self) -> None:
        """Leave what dead processes have left to another one, which may be able to send it."""
        with self.changed:
            self._bytes -= sum(message.size for message in self._left)
            self._left.clear()
            for writer in list(self._left_by):
                del self._left_by[writer]
                self._discard(writer)

    def close(self) -> None:
        """Leave what is left to other processes."""
        with self.changed:
            for writer in list(self._held):
                self._discard(writer)
            self._writer = ""

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the spool {self.folder} cannot be written: {error}") from error

    def _set_aside(self, path: Path, aside: Path, most: int) -> bool:
        """Keep a message aside, for which the oldest there make room; returns whether any had to.

        Raises:
            OSError: it cannot be kept.
        """
        aside.mkdir(mode=0o700, exist_ok=True)
        kept = [(other, _size(other)) for other in _files(aside) if other.name != path.name]
        with contextlib.suppress(FileNotFoundError):  # another process has set it aside
            path.replace(aside / path.name)
        with contextlib.suppress(OSError):  # the order is that in which they were refused; that of writing is near it
            os.utime(aside / path.name)
        too_much = sum(size for _, size in kept) + _size(aside / path.name) - most
        made_room = too_much > 0
        for other, size in sorted(kept, key=lambda entry: _changed(entry[0])):
            if too_much <= 0:
                break
            with contextlib.suppress(OSError):
                other.unlink(missing_ok=True)
            too_much -= size
        return made_room

    def _discard(self, writer: str) -> None:
        """Give a folder up; nothing remains of it if it is empty."""
        try:
            with contextlib.suppress(FileNotFoundError):
                (self.folder / writer).rmdir()
            (self.folder / f"{writer}{_LOCK}").unlink(missing_ok=True)
        except OSError:  # not empty
            pass
        if (lock := self._held.pop(writer, None)) is not None:
            os.close(lock)


def spool_folder(address: str, environment: Mapping[str, str] = os.environ, *, project: str = "") -> Path:
    """The folder, made if it is missing, for the messages to a store; a temporary one where home cannot be written.

    ``project`` is named where a process sends what others have left with its own token, which may be good for it alone.

    Raises:
        ConfigError: the folder that FOURFOLD_SPOOL names cannot be written.
    """
    leads = "\n".join([address, *(environment.get(name, "") for name in _PLACES), *([project] if project else [])])
    readable = re.sub(r"[^A-Za-z0-9]+", "-", address)[:40].strip("-")
    name = f"{readable}-{hashlib.sha256(leads.encode()).hexdigest()[:12]}"
    if given := environment.get("FOURFOLD_SPOOL"):
        if (folder := _made(Path(given).expanduser().absolute() / name)) is None:
            raise ConfigError(f"FOURFOLD_SPOOL={given!r}: the folder cannot be written; give one that can be")
        return folder
    state = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    if os.path.isabs(state) and (folder := _made(Path(state) / "fourfold" / "spool" / name)) is not None:
        return folder
    user = os.getuid() if hasattr(os, "getuid") else ""
    shared = Path(tempfile.gettempdir()) / f"fourfold-{user}"
    if _is_own(_made(shared)) and (folder := _made(shared / name)) is not None:
        return folder
    return Path(tempfile.mkdtemp(prefix="fourfold-"))


def size_text(size: int) -> str:
    """A number of bytes in words.

    >>> size_text(256 << 20), size_text(12_500)
    ('268 MB', '12 kB')
    """
    return f"{size / 1e6:,.0f} MB" if size >= 10_000_000 else f"{size / 1e3:,.0f} kB"


def number_of(variable: str, default: float, environment: Mapping[str, str] = os.environ) -> float:
    """A positive number from the environment.

    Raises:
        ConfigError: it is none.
    """
    text = environment.get(variable)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"{variable}={text!r}: give a positive number, such as {default:g}")
    return number


def _made(folder: Path) -> Path | None:
    """A folder that only its user may read, unless it cannot be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else None


def _is_own(folder: Path | None) -> bool:
    """Whether a folder, in a place where anybody may make one, was made by this user for himself."""
    if folder is None or folder.is_symlink():
        return False
    status = folder.stat()
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)


def _hold(path: Path, *, wait: bool = False) -> int | None:
    """The descriptor of a lock that this process holds from now on; None where another holds it.

    To wait is for a process's own lock, at which another may be looking just now.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:  # who held it has just removed it
            pass
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in sorted(_names(folder)) if not name.startswith(".")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
