"""The inbox: a folder into which any process puts messages, each a file that appears whole or not at all.

A message is acknowledged when its file has its final name; from then on it survives the death of its process.
It is identified by its writer (one per process and fork) and a number that rises by one: sent twice, it is taken
once.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from fourfold.errors import StoreError

_HEADER = b"fourfold"
_SUFFIX = ".arrow"


@dataclasses.dataclass(frozen=True)
class Message:
    """``header`` says what the message is (its ``kind``, and what that kind needs); ``table`` is its data."""

    writer: str
    sequence: int
    header: Mapping[str, Any]
    table: pa.Table
    path: Path | None = None

    @property
    def id(self) -> str:
        """The message's identity, which sorts by writer and then by age."""
        return f"{self.writer}-{self.sequence:012d}"


class Inbox:
    """The messages under a folder that have not been taken yet.

    Raises:
        StoreError: where the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store's folder {folder} cannot be made: {error}") from error

    def put(self, writer: str, sequence: int, header: Mapping[str, Any], table: pa.Table | None = None) -> str:
        """Write a message; when this returns it is safe. Returns its id."""
        data = table if table is not None else pa.table({})
        text = json.dumps(dict(header), default=str)
        message = Message(writer, sequence, header, data)
        hidden = self.folder / f".{message.id}{_SUFFIX}"
        marked = data.replace_schema_metadata({_HEADER: text.encode()})
        with pa.OSFile(str(hidden), "wb") as sink, pa.ipc.new_file(sink, marked.schema) as out:
            out.write_table(marked)
        os.replace(hidden, self.folder / f"{message.id}{_SUFFIX}")
        return message.id

    def pending(self) -> list[Path]:
        """The messages' files, each writer's in the order of writing."""
        with os.scandir(self.folder) as entries:
            names = [e.name for e in entries if e.name.endswith(_SUFFIX) and not e.name.startswith(".")]
        return [self.folder / name for name in sorted(names)]

    def read(self, path: Path) -> Message:
        """The message in a file.

        Raises:
            StoreError: where the file is no message; it is left in its place.
        """
        writer, _, sequence = path.name.removesuffix(_SUFFIX).rpartition("-")
        try:
            with pa.OSFile(str(path), "rb") as source:
                table = pa.ipc.open_file(source).read_all()
            header = json.loads(table.schema.metadata[_HEADER])
            return Message(writer, int(sequence), header, table.replace_schema_metadata(None), path)
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path} is not a message of fourfold ({error}); move it out of the inbox") from error


def new_writer() -> str:
    """A name for a writer that no other process or fork has, and that sorts by time."""
    return f"{time.time_ns():x}-{os.getpid()}-{secrets.token_hex(4)}"
