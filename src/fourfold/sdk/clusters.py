"""Data frames of a cluster: they are logged and counted where they are, and only messages' names and counts travel."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fourfold.errors import FourfoldError, StoreError
from fourfold.log import BucketError, Inbox, StorePath, messages, new_writer, open_inbox
from fourfold.log.paths import move
from fourfold.model import Plausible
from fourfold.sdk.batch import from_frame

_STAGED = "staged"  # beside the inbox: messages that are written, and not sent yet
_ROW = pa.schema([("message", pa.string()), ("unreadable", pa.int64()), ("failure", pa.binary())])
_DDL = "message string, unreadable bigint, failure binary"


@dataclasses.dataclass(frozen=True)
class Appended:
    """Executors that write a frame's records as messages, under names of their own for each attempt.

    The names of the attempts that Spark takes come back; only these messages are sent. What a failed or repeated
    attempt wrote is removed, whatever records it held.
    """

    project: str
    stream: str
    key: str | Sequence[str] | None
    time: str | None
    logged: int
    run: str | None
    times: Plausible
    staged: StorePath

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write what one task has."""
        from fourfold.engine.spark.files import gathered

        writer = new_writer()
        for sequence, table in enumerate(gathered(batches), 1):
            try:
                prepared = from_frame(table, self.key, self.time, self.logged, self.run, self.times)
                header = messages.records(self.project, self.stream, prepared.key, prepared.time)
                message = open_inbox(self.staged).put(writer, sequence, header, prepared.table)
            except FourfoldError as error:
                yield _row(None, 0, pickle.dumps(error))
                return
            yield _row(message, prepared.unreadable, None)


def append(frame: Any, inbox: Inbox, work: Appended) -> int:
    """Log a frame from where it is; returns how many of its times cannot be read.

    Raises:
        InputError: the key or time column does not exist.
        StoreError: the executors cannot write to the store, or Spark failed.
    """
    from fourfold.engine.spark.session import asked

    try:
        with asked(frame.sparkSession, f"ff.log({work.stream!r})"):
            rows = frame.mapInArrow(work, _DDL).toArrow().to_pylist()
        for row in rows:
            if row["failure"] is not None:
                raise pickle.loads(row["failure"])
        staged = open_inbox(work.staged)
        try:
            for row in rows:
                move(staged.path(row["message"]), inbox.path(row["message"]))
        except OSError as error:
            raise StoreError(
                f"ff.log({work.stream!r}): what the executors wrote to {work.staged} is not there for the driver: the "
                "store has to be a bucket, or a folder that all of them share"
            ) from error
    finally:
        _remove(work.staged)
    return sum(row["unreadable"] for row in rows)


def staged(inbox: Inbox) -> StorePath:
    """A new place for messages that are not sent yet."""
    inbox.folder.mkdir(parents=True, exist_ok=True)
    return inbox.folder.parent / _STAGED / new_writer()


def _remove(staged: StorePath) -> None:
    with contextlib.suppress(OSError, BucketError):
        for path in staged.iterdir():
            path.unlink(missing_ok=True)
        if isinstance(staged, Path):
            staged.rmdir()


def _row(message: str | None, unreadable: int, failure: bytes | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"message": message, "unreadable": unreadable, "failure": failure}], schema=_ROW)
