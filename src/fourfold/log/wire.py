"""A message's bytes: a file of Arrow's format whose schema carries the header, and a checksum of it at the end."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from fourfold.errors import StoreError
from fourfold.fold.arrays import numbers, repeated
from fourfold.log.checking import check_columns, refuse_compressed, refuse_foreign
from fourfold.log.messages import Content, UnreadableMessageError, decode
from fourfold.log.paths import StorePath
from fourfold.log.writers import message_id
from fourfold.model.records import BATCH, PLACE, ROW

Bytes = bytes | memoryview
_HEADER = b"fourfold"
_ARROW = b"ARROW1\0\0"  # how a file of Arrow's format begins
_SEAL = b"fourfold"  # before the checksum, at the end of each file
_SEAL_LENGTH = len(_SEAL) + 4
_SMALL, _MOST_KNOWN = 1 << 14, 64  # bytes of the schemas that are remembered, and how many of these are
_KNOWN: dict[bytes, Opening] = {}  # by their bytes: few, and often sent


class DamagedMessageError(StoreError):
    """A file in the inbox is no message, or its bytes have changed."""


@dataclasses.dataclass(frozen=True)
class Message:
    """``header`` says what the message is (its ``kind``, and what that kind needs); ``table`` is its data."""

    writer: str
    sequence: int
    header: Mapping[str, Any]
    table: pa.Table
    path: StorePath | None = None  # where it is, if that is known

    @property
    def id(self) -> str:
        """The message's identity, which sorts by writer and then by age."""
        return message_id(self.writer, self.sequence)

    def placed(self) -> Message:
        """The message of records with what tells each of them from all others, as the log has it.

        A message of an older fourfold brings such columns itself; nobody has to trust them.
        """
        columns = [number for number, name in enumerate(self.table.column_names) if name not in PLACE]
        table, rows = self.table.select(columns), self.table.num_rows
        table = table.append_column(BATCH, repeated(self.id, rows)).append_column(ROW, numbers(np.arange(rows)))
        return dataclasses.replace(self, table=table)


class Opening:
    """What a message begins with; the same one begins many, so what is found out about it is kept with it."""

    def __init__(self, schema: pa.Schema, header: Mapping[str, Any]) -> None:
        self.schema, self.header = schema, header

    @functools.cached_property
    def content(self) -> Content:
        """What the header says.

        Raises:
            UnreadableMessageError, NewerMessageError: see ``messages.decode``.
        """
        return decode(self.header)

    @functools.cached_property
    def nested(self) -> tuple[int, ...]:
        """The columns of lists, structs and maps.

        Raises:
            UnreadableMessageError: from a network, columns like these are not taken.
        """
        return check_columns(self.content, self.schema)


def write_message(file: BinaryIO, header: Mapping[str, Any], table: pa.Table | None = None) -> None:
    """Write a message's file."""
    text = json.dumps(dict(header), default=str)  # ASCII, whatever the texts in it hold
    data = (table if table is not None else pa.table({})).replace_schema_metadata({_HEADER: text.encode()})
    sink = _Checksummed(file)
    with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), data.schema) as out:
        out.write_table(data)
    file.write(_sealed(sink.checksum))


def written(header: Mapping[str, Any], table: pa.Table | None = None) -> bytes:
    """A message's file, as its bytes."""
    buffer = io.BytesIO()
    write_message(buffer, header, table)
    return buffer.getvalue()


def parsed(message: str, content: Bytes, called: str) -> Message:
    """The message in the bytes of a file; ``called`` is what errors call it.

    It is read from its start on, and not by the list of parts at its end, which may name others; and no part is read
    that claims more than its bytes hold.

    Raises:
        DamagedMessageError: it is no message.
    """
    opening, table = opened(content, called)
    try:
        writer, _, sequence = message.rpartition("-")
        return Message(writer, int(sequence), opening.header, table)
    except ValueError as error:
        raise DamagedMessageError(f"{called} is not a message of fourfold: {error}") from error


def opened(content: Bytes, called: str) -> tuple[Opening, pa.Table]:
    """As ``parsed``, of a message whose name is of no matter.

    Raises:
        DamagedMessageError: it is no message.
    """
    body = _unsealed(content, called)
    try:
        if body[: len(_ARROW)] != _ARROW:
            raise UnreadableMessageError("it is no file of Arrow's format")
        first, *others = pa.ipc.MessageReader.open_stream(pa.py_buffer(body)[len(_ARROW) :])
        opening = _begun(first)
        for part in others:
            refuse_compressed(part.metadata)
        schema = opening.schema
        return opening, pa.Table.from_batches([pa.ipc.read_record_batch(part, schema) for part in others], schema)
    except (
        pa.ArrowException, OSError, UnreadableMessageError, KeyError, TypeError, ValueError, RecursionError
    ) as error:  # fmt: skip
        raise DamagedMessageError(f"{called} is not a message of fourfold: {error}") from error


def _begun(part: pa.ipc.Message) -> Opening:
    """The schema that a stream of Arrow begins with, and the header in it."""
    content = bytes(part.metadata)
    known = _KNOWN.get(content)
    if known is None:
        refuse_foreign(content)
        schema = pa.ipc.read_schema(part)
        known = Opening(schema.remove_metadata(), json.loads(schema.metadata[_HEADER]))
        if len(content) <= _SMALL:
            if len(_KNOWN) >= _MOST_KNOWN:
                _KNOWN.clear()
            _KNOWN[content] = known
    return known


def _unsealed(content: Bytes, called: str) -> memoryview:
    """Bytes without the checksum at their end.

    Raises:
        DamagedMessageError: it is not theirs.
    """
    body, seal = memoryview(content)[:-_SEAL_LENGTH], bytes(content[-_SEAL_LENGTH:])
    if len(content) < _SEAL_LENGTH or seal != _sealed(zlib.crc32(body)):
        raise DamagedMessageError(f"{called} is not a message of fourfold, or its bytes have changed (checksum)")
    return body


class _Checksummed:
    """A file that keeps the checksum of what is written to it."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.checksum = file, 0

    def write(self, data: bytes) -> int:
        self.checksum = zlib.crc32(data, self.checksum)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Nothing: the checksum follows."""


def _sealed(checksum: int) -> bytes:
    return _SEAL + checksum.to_bytes(4, "little")
