"""Makes durable together what arrives at about the same time: many small requests become few writes to the disk.

A thread takes all that waits, writes it as one file, and only then are the requests answered; meanwhile the next ones
gather. So a request waits for at most two writes, however many come. The thread is woken once the event loop has looked
at all requests that are there: to wake it for each would cost more than all else that a small request needs.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from fourfold.errors import StoreError
from fourfold.log import Inbox, new_writer
from fourfold.model import Plausible
from fourfold.serve.access import Refused
from fourfold.serve.collector.gathering import Given, Message, gather

MOST_WAITING = 8 << 30  # bytes of messages that wait to be counted
_TOGETHER = 32 << 20  # bytes that are written together
_LARGE = 1 << 16  # bytes of a request, from which on its records are prepared apart
_LOOK_EVERY = 5.0  # seconds after which is looked again how much waits
_FULL = (errno.ENOSPC, errno.EDQUOT)


class _Parcel(NamedTuple):
    """What one request brings, and what waits for it."""

    content: Sequence[Message] | Given
    size: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Committer:
    """Puts messages into an inbox, those of several requests at once.

    Args:
        inbox: where to.
        times: which event times are plausible.
        most_waiting: how many bytes of messages may wait there to be counted.
    """

    def __init__(self, inbox: Inbox, times: Plausible, most_waiting: int = MOST_WAITING) -> None:
        self._inbox, self._times, self._most = inbox, times, most_waiting
        self._gathered: list[_Parcel] = []
        self._telling: asyncio.AbstractEventLoop | None = None  # the loop that will wake the thread
        self._signs: queue.SimpleQueue[bool] = queue.SimpleQueue()  # to the thread: whether it goes on
        self._thread: threading.Thread | None = None
        self._writer, self._numbers, self._packs = new_writer(), itertools.count(1), itertools.count(1)
        self._waiting, self._looked = 0.0, -_LOOK_EVERY
        self._lock = threading.Lock()
        self.committed: Callable[[], None] = lambda: None  # called when something was put there

    async def commit(self, content: Sequence[Message] | Given) -> None:
        """Return when messages, or a request's records, are durable.

        Raises:
            Refused: the disk is full, or too much waits to be counted.
            OSError: they could not be written, or it is not known whether they were.
            StoreError: likewise.
        """
        if isinstance(content, Given) and content.size > _LARGE:  # nobody else's records wait for its preparation
            content = await run_in_threadpool(lambda given: [*self._made([given])], content)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        size = content.size if isinstance(content, Given) else sum(len(data) for _, data in content)
        with self._lock:
            self._gathered.append(_Parcel(content, size, loop, done))
            if self._telling is not loop:
                self._telling = loop
                loop.call_soon(self._tell)
        await done

    def new_id(self) -> str:
        """The id of a new message of this process."""
        return f"{self._writer}-{next(self._numbers):012d}"

    def close(self) -> None:
        """Write what waits, and stop. What comes later begins anew: nothing waits for a thread that has ended."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._signs.put(False)
        if thread is not None:
            thread.join()

    def _tell(self) -> None:
        """Wake the thread."""
        with self._lock:
            self._telling = None
            if self._thread is None:
                self._signs = queue.SimpleQueue()
                self._thread = threading.Thread(
                    target=self._run, args=(self._signs,), name="fourfold-commit", daemon=True
                )
                self._thread.start()
            self._signs.put(True)

    def _run(self, signs: queue.SimpleQueue[bool]) -> None:
        goes_on = True
        while goes_on:
            goes_on = signs.get()
            with self._lock:
                parcels, self._gathered = self._gathered, []
            for together in _parts(parcels):
                self._write(together)

    def _write(self, parcels: Sequence[_Parcel]) -> None:
        error: BaseException | None = None
        try:
            self._put(parcels)
        except BaseException as raised:
            error = _explained(raised)
        for loop in {parcel.loop for parcel in parcels}:
            waiting = [parcel.done for parcel in parcels if parcel.loop is loop]
            try:
                loop.call_soon_threadsafe(_finish, waiting, error)
            except RuntimeError:  # the server has ended, and nobody waits any more
                continue

    def _put(self, parcels: Sequence[_Parcel]) -> None:
        given = [parcel.content for parcel in parcels if isinstance(parcel.content, Given)]
        ready = [message for parcel in parcels if not isinstance(parcel.content, Given) for message in parcel.content]
        ready += self._made(given)
        size = sum(len(content) for _, content in ready)
        self._check_room(size)
        if len(ready) == 1:
            self._inbox.deliver(*ready[0])
        elif ready:
            # listed where its first message would be, so that messages are taken in the order in which they came
            name = f"{ready[0][0]}+{self._writer}-{next(self._packs):012d}"
            self._inbox.deliver_together(name, ready)
        self._waiting += size
        self.committed()

    def _made(self, several: Sequence[Given]) -> Iterator[Message]:
        return gather(several, self._times, self.new_id)

    def _check_room(self, size: int) -> None:
        """Refuse what the disk has no room for, so that there is always room to count what is there.

        Raises:
            Refused: says when to try again.
        """
        if self._inbox.room() < size:
            raise OSError(errno.ENOSPC, "the disk is nearly full")
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY or self._waiting + size > self._most:
            self._waiting, self._looked = float(self._inbox.waiting_bytes()), now
        if self._waiting + size > self._most:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS, "more waits to be counted than may; is anything counting?",
                {"Retry-After": "10"},
            )  # fmt: skip


def _parts(parcels: Sequence[_Parcel]) -> Iterator[Sequence[_Parcel]]:
    """What is written together: all, but not more than so many bytes."""
    first, size = 0, 0
    for number, parcel in enumerate(parcels, 1):
        size += parcel.size
        if size >= _TOGETHER or number == len(parcels):
            yield parcels[first:number]
            first, size = number, 0


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, OSError) and error.errno in _FULL:
        text = "the server's disk is full; nothing of this was kept, send it again"
        return Refused(HTTPStatus.INSUFFICIENT_STORAGE, text, {"Retry-After": "10"})
    if isinstance(error, (Refused, OSError, StoreError)):
        return error
    return StoreError(f"it could not be stored: {type(error).__name__}: {error}")


def _finish(waiting: Sequence[asyncio.Future[None]], error: BaseException | None) -> None:
    for done in waiting:
        if done.done():  # its sender is gone
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
