"""The inbox: where messages come from any process, each a file that appears complete or not at all: in a folder, or in
a bucket.

A message is acknowledged when its file has its final name; from then on it survives the death of its process, and
with ``durability="disk"`` a power failure. It is identified by its writer (one per process and fork) and a number
that rises by one: sent twice, it is taken once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from fourfold.errors import StoreError
from fourfold.log.bucket import BucketPath
from fourfold.log.disk import appear
from fourfold.log.packs import packed, unpacked
from fourfold.log.paths import StorePath
from fourfold.log.wire import Bytes, DamagedMessageError, Message, parsed, write_message, written
from fourfold.log.writers import message_id

_SUFFIX = ".arrow"
_PACK = ".pack"  # of a file with several messages
_AT_ONCE = 16  # requests to a bucket
_SPARED = 256 << 20  # bytes of a disk that are left to who takes the messages, or a quarter of a small one
_STALE = 3_600  # seconds after which an incomplete file of a dead process is removed


class Found(NamedTuple):
    """A message in a file: as it was read, or the error why it cannot be; with its bytes if others are in the file."""

    path: StorePath
    id: str
    message: Message | Exception
    content: Bytes | None = None


class Inbox:
    """The messages under a folder that have not been taken yet.

    Args:
        folder: where they are; the first message makes it where it is missing.
        durability: what a message survives once ``put`` has returned: the death of the "process", or also a loss of
            power ("disk": its file and its folder are synchronised with the disk first).

    Raises:
        StoreError: where the folder is missing and cannot be made.
    """

    def __init__(self, folder: Path, durability: str = "process") -> None:
        self.folder: StorePath = folder
        self._place, self._synchronise = folder, durability == "disk"
        self._check()

    def put(self, writer: str, sequence: int, header: Mapping[str, Any], table: pa.Table | None = None) -> str:
        """Write a message; when this returns it is safe. Returns its id.

        Raises:
            OSError: the file could not be written; nothing is left of it.
        """
        message = message_id(writer, sequence)
        self._put(message, header, table)
        return message

    def deliver(self, message: str, content: bytes) -> None:
        """Put a message that is in its form already, as a file here holds it; several may put the same one at once.

        Raises:
            OSError: it could not be put, or it is not known whether it was; to try again does no harm.
        """

        self._deliver(f"{message}{_SUFFIX}", [content])

    def deliver_together(self, name: str, together: Sequence[tuple[str, bytes]]) -> None:
        """Put several messages, each its id and its content, in one file of a name that no other has: all or none.

        Raises:
            OSError: as of ``deliver``.
        """
        self._deliver(f"{name}{_PACK}", packed(together))

    def room(self) -> float:
        """How many bytes may be put there before its disk is too full for who takes them."""
        try:
            found = os.statvfs(self._place)
        except FileNotFoundError:  # the folder was taken away and may be made again
            self.make()
            found = os.statvfs(self._place)
        return found.f_frsize * (found.f_bavail - min(found.f_blocks // 4, _SPARED // found.f_frsize))

    def waiting_bytes(self) -> int:
        """How large all files there are together."""
        size = 0
        for path in self.files():
            with contextlib.suppress(OSError):
                size += path.stat().st_size
        return size

    def make(self) -> None:
        """Make the folder, where it is missing.

        Raises:
            StoreError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store's folder {self.folder} cannot be made: {error}") from error

    def pending(self) -> list[StorePath]:
        """The messages' files, each writer's in the order of writing.

        This is no snapshot: of two messages that are written meanwhile, the later one may be listed alone.
        """
        return [path for path in self.files() if not path.name.startswith(".")]

    def files(self) -> list[StorePath]:
        """All files with messages, those that are half written among them."""
        return [self._place / name for name in sorted(self._names()) if name.endswith((_SUFFIX, _PACK))]

    def clear_stale(self, after: float = _STALE) -> int:
        """Remove incomplete files of processes that died while writing; they were never acknowledged.

        Returns how many. ``after`` is how many seconds old they must be; a process that writes on makes them again.
        """
        removed = 0
        for name in self._names():
            path = self._place / name
            try:
                if (
                    name.startswith(".")
                    and name.endswith((_SUFFIX, _PACK))
                    and time.time() - path.stat().st_mtime > after
                ):
                    path.unlink()
                    removed += 1
            except OSError:
                continue
        return removed

    def read_all(self, paths: Sequence[StorePath]) -> Iterator[Found]:
        """The messages in files, each with the error where it cannot be read (see ``read``)."""
        for path in paths:
            yield from _found(path)

    def remove(self, paths: Sequence[StorePath]) -> None:
        """Remove messages' files; one that is gone is."""
        for path in paths:
            path.unlink(missing_ok=True)

    def path(self, message: str) -> StorePath:
        """The file of a message, by its id."""
        return self.folder / f"{message}{_SUFFIX}"

    def read(self, path: StorePath) -> Message:
        """The message in a file.

        Raises:
            DamagedMessageError: where the file is no message; it is left in its place.
            OSError: the file cannot be read, or is gone.
        """
        return dataclasses.replace(parsed(path.name.removesuffix(_SUFFIX), path.read_bytes(), str(path)), path=path)

    def _put(self, message: str, header: Mapping[str, Any], table: pa.Table | None) -> None:
        self._appear(f"{message}{_SUFFIX}", lambda file: write_message(file, header, table))

    def _deliver(self, name: str, parts: Sequence[bytes]) -> None:
        self._appear(name, lambda file: file.writelines(parts), f".{secrets.token_hex(4)}")

    def _appear(self, name: str, write: Callable[[BinaryIO], None], by: str = "") -> None:
        try:
            appear(self._place / name, write, by=by, synchronise=self._synchronise)
        except FileNotFoundError:  # the folder was taken away and may be made again
            self.make()
            appear(self._place / name, write, by=by, synchronise=self._synchronise)

    def _check(self) -> None:
        """Whether the folder is there or may be made, without making it: who only asks leaves nothing behind."""
        nearest = next(place for place in (self._place, *self._place.parents) if os.path.exists(place))
        if not nearest.is_dir():
            raise StoreError(f"the store's folder {self.folder} cannot be made: {nearest} is not a folder")
        if nearest != self._place and not os.access(nearest, os.W_OK | os.X_OK):
            raise StoreError(f"the store's folder {self.folder} cannot be made: {nearest} may not be written to")

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._place)
        except FileNotFoundError:  # nothing can be waiting in a folder that is gone
            return []


class BucketInbox(Inbox):
    """The messages under a path in a bucket. A message is one put: there is nothing half written, and nothing to
    synchronise.
    """

    def __init__(self, folder: BucketPath) -> None:
        self.folder: StorePath = folder
        self._bucket = folder

    def room(self) -> float:
        """Always: a bucket has no end."""
        return math.inf

    def make(self) -> None:
        """Nothing: a bucket has no folders."""

    def files(self) -> list[StorePath]:
        """All files with messages, with their sizes as they were listed."""
        found: list[StorePath] = sorted(path for path in self._bucket.iterdir() if path.name.endswith((_SUFFIX, _PACK)))
        return found

    def read_all(self, paths: Sequence[StorePath]) -> Iterator[Found]:
        """See ``Inbox``: several at once, as each takes a round trip or two."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for found in pool.map(_found, paths):
                yield from found

    def remove(self, paths: Sequence[StorePath]) -> None:
        """See ``Inbox``: several at once."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda path: path.unlink(missing_ok=True), paths):
                pass

    def clear_stale(self, after: float = _STALE) -> int:
        """Nothing: a put is whole or not at all."""
        return 0

    def _put(self, message: str, header: Mapping[str, Any], table: pa.Table | None) -> None:
        self.deliver(message, written(header, table))

    def _deliver(self, name: str, parts: Sequence[bytes]) -> None:
        (self._bucket / name).write_bytes(b"".join(parts), once=True)


def open_inbox(folder: StorePath, durability: str = "process") -> Inbox:
    """The inbox under a path; ``durability`` is that of a folder (see ``Inbox``)."""
    return BucketInbox(folder) if isinstance(folder, BucketPath) else Inbox(folder, durability)


def _found(path: StorePath) -> list[Found]:
    """The messages in a file; where it cannot be read as a whole, the error in their place."""
    try:
        content = path.read_bytes()
        if path.suffix != _PACK:
            return [_tried(path, path.stem, content)]
        return [_tried(path, id_, part)._replace(content=part) for id_, part in unpacked(content)]
    except ValueError as error:
        return [Found(path, path.stem, DamagedMessageError(f"{path}: {error}"))]
    except (OSError, StoreError) as error:
        return [Found(path, path.stem, error)]


def _tried(path: StorePath, message: str, content: Bytes) -> Found:
    try:
        return Found(path, message, dataclasses.replace(parsed(message, content, str(path)), path=path))
    except StoreError as error:
        return Found(path, message, error)
