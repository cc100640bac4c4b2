"""The inbox: where messages come from any process, each a file that appears complete or not at all: in a folder, or in
a bucket.

A message is acknowledged when its file has its final name; from then on it survives the death of its process, and
with ``durability="disk"`` a power failure. It is identified by its writer (one per process and fork) and a number
that rises by one: sent twice, it is taken once. Its last bytes are a checksum of the others.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from fourfold.errors import StoreError
from fourfold.log.bucket import BucketPath
from fourfold.log.disk import appear
from fourfold.log.paths import StorePath
from fourfold.log.writers import message_id

_HEADER = b"fourfold"
_SUFFIX = ".arrow"
_SEAL = b"fourfold"  # before the checksum, at the end of each file
_SEAL_LENGTH = len(_SEAL) + 4
_LATEST_PUT = 7 * 86_400  # seconds after which no request that was made again can still arrive
_AGAIN = ".again"  # the mark of a folder where a message may arrive once more after it was taken
_AT_ONCE = 16  # requests to a bucket
_STALE = 3_600  # seconds after which an incomplete file of a dead process is removed


class DamagedMessageError(StoreError):
    """A file in the inbox is no message, or its bytes have changed."""


@dataclasses.dataclass(frozen=True)
class Message:
    """``header`` says what the message is (its ``kind``, and what that kind needs); ``table`` is its data."""

    writer: str
    sequence: int
    header: Mapping[str, Any]
    table: pa.Table
    path: StorePath | None = None

    @property
    def id(self) -> str:
        """The message's identity, which sorts by writer and then by age."""
        return message_id(self.writer, self.sequence)


class Inbox:
    """The messages under a folder that have not been taken yet.

    Args:
        folder: where they are; the first message makes it where it is missing.
        durability: what a message survives once ``put`` has returned: the death of the "process", or also a loss of
            power ("disk": its file and its folder are synchronised with the disk first).

    Raises:
        StoreError: where the folder is missing and cannot be made.
    """

    late = 0.0  # for how many seconds a message that was taken and removed may arrive once more

    def __init__(self, folder: Path, durability: str = "process") -> None:
        self.folder: StorePath = folder
        self._place, self._synchronise = folder, durability == "disk"
        self._check()
        if (folder / _AGAIN).exists():
            self.late = _LATEST_PUT

    def put(self, writer: str, sequence: int, header: Mapping[str, Any], table: pa.Table | None = None) -> str:
        """Write a message; when this returns it is safe. Returns its id.

        Raises:
            OSError: the file could not be written; nothing is left of it.
        """
        message = message_id(writer, sequence)
        self._put(message, _headed(header, table))
        return message

    def deliver(self, message: str, content: bytes) -> None:
        """Put a message that is in its form already, as a file here holds it; several may put the same one at once.

        Raises:
            OSError: it could not be put, or it is not known whether it was; to try again does no harm.
        """

        def write(file: BinaryIO) -> None:
            file.write(content)

        self._appear(message, write, f".{secrets.token_hex(4)}")

    def expect_again(self) -> None:
        """From now on, a message may arrive once more after it was taken: what was taken stays noted for days."""
        self._make()
        (self._place / _AGAIN).touch()
        self.late = _LATEST_PUT

    def pending(self) -> list[StorePath]:
        """The messages' files, each writer's in the order of writing.

        This is no snapshot: of two messages that are written meanwhile, the later one may be listed alone.
        """
        return [path for path in self.files() if not path.name.startswith(".")]

    def files(self) -> list[StorePath]:
        """All files with messages, those that are half written among them."""
        return [self._place / name for name in sorted(self._names()) if name.endswith(_SUFFIX)]

    def clear_stale(self, after: float = _STALE) -> int:
        """Remove incomplete files of processes that died while writing; they were never acknowledged.

        Returns how many. ``after`` is how many seconds old they must be; a process that writes on makes them again.
        """
        removed = 0
        for name in self._names():
            path = self._place / name
            try:
                if name.startswith(".") and name.endswith(_SUFFIX) and time.time() - path.stat().st_mtime > after:
                    path.unlink()
                    removed += 1
            except OSError:
                continue
        return removed

    def read_all(self, paths: Sequence[StorePath]) -> Iterator[tuple[StorePath, Message | Exception]]:
        """The messages in files, each with the error where it cannot be read (see ``read``)."""
        for path in paths:
            yield path, self._tried(path)

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

    def _tried(self, path: StorePath) -> Message | Exception:
        try:
            return self.read(path)
        except (OSError, StoreError) as error:
            return error

    def _put(self, message: str, table: pa.Table) -> None:
        self._appear(message, lambda file: _write_message(file, table))

    def _appear(self, message: str, write: Callable[[BinaryIO], None], by: str = "") -> None:
        path = self._place / f"{message}{_SUFFIX}"
        try:
            appear(path, write, by=by, synchronise=self._synchronise)
        except FileNotFoundError:  # the folder was taken away and may be made again
            self._make()
            appear(path, write, by=by, synchronise=self._synchronise)

    def _check(self) -> None:
        """Whether the folder is there or may be made, without making it: who only asks leaves nothing behind."""
        nearest = next(place for place in (self._place, *self._place.parents) if os.path.exists(place))
        if not nearest.is_dir():
            raise StoreError(f"the store's folder {self.folder} cannot be made: {nearest} is not a folder")
        if nearest != self._place and not os.access(nearest, os.W_OK | os.X_OK):
            raise StoreError(f"the store's folder {self.folder} cannot be made: {nearest} may not be written to")

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store's folder {self.folder} cannot be made: {error}") from error

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._place)
        except FileNotFoundError:  # nothing can be waiting in a folder that is gone
            return []


class BucketInbox(Inbox):
    """The messages under a path in a bucket. A message is one put: there is nothing half written, and nothing to
    synchronise.

    A put that was made again may arrive after the message was taken and removed, so that what was taken stays noted
    for days.
    """

    late = _LATEST_PUT

    def __init__(self, folder: BucketPath) -> None:
        self.folder: StorePath = folder
        self._bucket = folder

    def deliver(self, message: str, content: bytes) -> None:
        """See ``Inbox``."""
        (self._bucket / f"{message}{_SUFFIX}").write_bytes(content, once=True)

    def expect_again(self) -> None:
        """Nothing: it always does."""

    def files(self) -> list[StorePath]:
        """All files with messages, with their sizes as they were listed."""
        found: list[StorePath] = sorted(path for path in self._bucket.iterdir() if path.name.endswith(_SUFFIX))
        return found

    def read_all(self, paths: Sequence[StorePath]) -> Iterator[tuple[StorePath, Message | Exception]]:
        """See ``Inbox``: several at once, as each takes a round trip or two."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from zip(paths, pool.map(self._tried, paths), strict=True)

    def remove(self, paths: Sequence[StorePath]) -> None:
        """See ``Inbox``: several at once."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda path: path.unlink(missing_ok=True), paths):
                pass

    def clear_stale(self, after: float = _STALE) -> int:
        """Nothing: a put is whole or not at all."""
        return 0

    def _put(self, message: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        _write_message(buffer, table)
        self.deliver(message, buffer.getvalue())


def open_inbox(folder: StorePath, durability: str = "process") -> Inbox:
    """The inbox under a path; ``durability`` is that of a folder (see ``Inbox``)."""
    return BucketInbox(folder) if isinstance(folder, BucketPath) else Inbox(folder, durability)


def parsed(message: str, content: bytes, called: str) -> Message:
    """The message in the bytes of a file; ``called`` is what errors call it.

    Raises:
        DamagedMessageError: it is no message.
    """
    writer, _, sequence = message.rpartition("-")
    reader = _reader(content, called)
    try:
        table = reader.read_all()
        header = json.loads(table.schema.metadata[_HEADER])
        return Message(writer, int(sequence), header, table.replace_schema_metadata(None))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedMessageError(f"{called} is not a message of fourfold: {error}") from error


def header_of(content: bytes, called: str) -> Mapping[str, Any]:
    """What the bytes of a message's file say of it, without reading its table.

    Raises:
        DamagedMessageError: it is no message.
    """
    try:
        header: Mapping[str, Any] = json.loads(_reader(content, called).schema.metadata[_HEADER])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedMessageError(f"{called} is not a message of fourfold: {error}") from error
    return header


def _reader(content: bytes, called: str) -> pa.RecordBatchFileReader:
    body, seal = memoryview(content)[:-_SEAL_LENGTH], content[-_SEAL_LENGTH:]
    if len(content) < _SEAL_LENGTH or seal != _sealed(zlib.crc32(body)):
        raise DamagedMessageError(f"{called} is not a message of fourfold, or its bytes have changed (checksum)")
    try:
        return pa.ipc.open_file(pa.py_buffer(body))
    except (pa.ArrowException, OSError) as error:
        raise DamagedMessageError(f"{called} is not a message of fourfold: {error}") from error


class _Checksummed:
    """A file that keeps the checksum of what is written to it."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file, self.checksum = file, 0

    def write(self, data: bytes) -> int:
        self.checksum = zlib.crc32(data, self.checksum)
        written: int = self._file.write(data)
        return written

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Nothing: the checksum follows."""


def write_message(file: BinaryIO, header: Mapping[str, Any], table: pa.Table | None) -> None:
    """Write a message's file."""
    _write_message(file, _headed(header, table))


def _headed(header: Mapping[str, Any], table: pa.Table | None) -> pa.Table:
    text = json.dumps(dict(header), default=str)  # ASCII, whatever the texts in it hold
    return (table if table is not None else pa.table({})).replace_schema_metadata({_HEADER: text.encode()})


def _write_message(file: Any, table: pa.Table) -> None:
    """Write a message's table, and the checksum of its bytes behind it."""
    sink = _Checksummed(file)
    with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), table.schema) as out:
        out.write_table(table)
    file.write(_sealed(sink.checksum))


def _sealed(checksum: int) -> bytes:
    return _SEAL + checksum.to_bytes(4, "little")
