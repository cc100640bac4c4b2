"""Asks the state in threads of its own, so that one that stands still keeps only those waiting who need it.

A database that is stopped, or behind a network that loses everything, neither answers nor fails. Who asks is told so
after a time; the threads that wait on are few, and nobody else's.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from fourfold.state import StateError

WITHIN = 5.0  # seconds for an answer that is read: a machine may be busy
WRITTEN_WITHIN = 30.0  # seconds for one that is written: writers wait for each other
_THREADS = 4
T = TypeVar("T")
_Work = tuple[Callable[[], Any], "Future[Any]"]


class Lookups:
    """A few threads that ask a state; ``name`` is what messages call it, ``within`` how many seconds it has."""

    def __init__(self, name: str, within: float = WITHIN) -> None:
        self._name, self.within = name, within
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._late = 0  # how many threads are at what nobody waits for any more

    async def ask(self, work: Callable[[], T], within: float | None = None) -> T:
        """What ``work`` returns, in another thread.

        Raises:
            StateError: it has not returned within so many seconds, or would not, as no thread does any more.
        """
        within = self.within if within is None else within
        with self._lock:
            if self._late >= _THREADS:
                raise self._unanswered(within)
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._run, name="fourfold-lookup", daemon=True) for _ in range(_THREADS)
                ]  # at its end, the server waits for none of them
                for thread in self._threads:
                    thread.start()
        asked: Future[T] = Future()
        self._asked.put((work, asked))
        waiting = asyncio.wrap_future(asked)
        done, _ = await asyncio.wait({waiting}, timeout=within)
        if not done:
            waiting.cancel()
            if not asked.cancel():
                self._count(1)
                asked.add_done_callback(lambda _: self._count(-1))
            raise self._unanswered(within)
        return waiting.result()

    def close(self) -> None:
        """Let the threads end, once they are done."""
        with self._lock:
            for _ in self._threads:
                self._asked.put(None)
            self._threads = []

    def _unanswered(self, within: float) -> StateError:
        return StateError(f"the state at {self._name} has not answered within {within:g} seconds: try again")

    def _count(self, one: int) -> None:
        with self._lock:
            self._late += one

    def _run(self) -> None:
        while (given := self._asked.get()) is not None:
            work, asked = given
            if not asked.set_running_or_notify_cancel():
                continue
            try:
                found = work()
            except BaseException as error:
                asked.set_exception(error)
            else:
                asked.set_result(found)
