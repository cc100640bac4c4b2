"""Answers of pages, remembered while they are true.

An answer is true until the state changes or a minute is over. One that took long is given again for a while although
the state has changed: for three times as long as it took, so that looking takes a quarter of a core at most.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Hashable

_MINUTE = 60.0
_AGAIN, _LONGEST = 3.0, 30.0  # times as long as it took; seconds
_KEPT, _BYTES = 256, 32 << 20  # answers, and what they may take together


@dataclasses.dataclass(frozen=True)
class Answer:
    """A body, and what it was true for."""

    body: bytes
    etag: str
    version: Hashable
    made: float
    took: float

    def holds(self, version: Hashable, now: float) -> bool:
        """Whether it may be given again."""
        if self.version == version and self.made // _MINUTE == now // _MINUTE:
            return True
        return 0 <= now - self.made < min(_AGAIN * self.took, _LONGEST)


class Remembered:
    """The newest answers, by what was asked. The same question is worked out by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: collections.OrderedDict[Hashable, Answer] = collections.OrderedDict()
        self._working: dict[Hashable, threading.Lock] = {}
        self._size = 0

    def get(self, key: Hashable, version: Callable[[], Hashable], work: Callable[[float], bytes]) -> Answer:
        """The answer; ``work`` is given the minute in which it is worked out, in seconds since 1970."""
        with self._lock:
            own = self._working.setdefault(key, threading.Lock())
        try:
            with own:
                return self._get(key, version, work)
        finally:
            with self._lock:
                if self._working.get(key) is own and not own.locked():
                    del self._working[key]

    def _get(self, key: Hashable, version: Callable[[], Hashable], work: Callable[[float], bytes]) -> Answer:
        now, at = time.time(), version()  # before it is read: what comes meanwhile makes it old
        with self._lock:
            found = self._answers.get(key)
        if found is not None and found.holds(at, now):
            return found
        body = work(now // _MINUTE * _MINUTE)
        etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        answer = Answer(body, etag, at, now, time.time() - now)
        with self._lock:
            self._drop(key)
            self._answers[key] = answer
            self._size += len(body)
            while len(self._answers) > _KEPT or (self._size > _BYTES and len(self._answers) > 1):
                self._drop(next(iter(self._answers)))
        return answer

    def _drop(self, key: Hashable) -> None:
        old = self._answers.pop(key, None)
        self._size -= 0 if old is None else len(old.body)
