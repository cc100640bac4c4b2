"""Processes beside the server, which are started again when they die or stand still, and end with it."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from fourfold.config import Settings

logger = logging.getLogger("fourfold")
_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds until one that died is started again: the longer, the more often it does
COUNT, WATCH = "count", "watch"
_STEADY = 60.0  # seconds after which one that died counts as one that had worked
BEAT = 5.0  # seconds after which one says again that it lives
_SILENT = 60  # such lengths without a word, after which one stands still: what is killed loses nothing
_END_WITHIN = 8.0  # seconds for one to end by itself


class Child:
    """A process that does what a name in ``background.WORK`` says, again and again until it is closed."""

    def __init__(self, work: str, settings: Settings) -> None:
        self.work, self._settings = work, settings
        self._closed = threading.Event()
        self._woken = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"fourfold-{work}", daemon=True)

    @property
    def process(self) -> int | None:
        """The number of the process, while there is one."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def wake(self) -> None:
        """Tell it that something arrived."""
        process = self._process
        if process is not None and process.stdin is not None and self._woken.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError, ValueError):  # it has just died: the next one looks by itself
                    process.stdin.write(b"\n")
            finally:
                self._woken.release()

    def close(self) -> None:
        """End it; it is given a moment to bring its work to an end."""
        self._closed.set()
        if self._thread.is_alive():
            self._end()
            self._thread.join()

    def _keep(self) -> None:
        pause = _PAUSE
        while not self._closed.is_set():
            began = time.monotonic()
            command = [sys.executable, "-m", "fourfold.serve.background", self.work, str(BEAT)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.write(pickle.dumps(self._settings))
                os.set_blocking(process.stdin.fileno(), False)  # one that does not listen stops nobody
            self._process = process
            if self._closed.is_set():
                self._end()
            code = self._ended(process)
            with contextlib.suppress(OSError):
                process.stdin.close()
            if self._closed.is_set():
                return
            pause = _PAUSE if time.monotonic() - began > _STEADY else min(2 * pause, _LONGEST_PAUSE)
            logger.warning("the process that does %r ended (%d); it is started again", self.work, code)
            self._closed.wait(pause)

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until a process has ended, and end it if it stands still; how it ended.

        What is counted is how often it was waited for, not the time that has passed: a machine that was asleep is none
        of its faults.
        """
        beats: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(process, beats), name=f"fourfold-{self.work}-beats", daemon=True).start()
        silent = 0
        while silent < _SILENT:
            try:
                if not beats.get(timeout=BEAT):
                    return process.wait()
                silent = 0
            except queue.Empty:
                silent += 1
                if process.poll() is not None:  # what it had started keeps its output open
                    return process.returncode
        logger.warning(
            "the process that does %r has stood still for %g seconds: it is ended", self.work, _SILENT * BEAT
        )
        process.kill()
        return process.wait()

    def _end(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()


def _listen(process: subprocess.Popen[bytes], beats: queue.SimpleQueue[bool]) -> None:
    """Pass on each sign of life of a process, and its end."""
    assert process.stdout is not None
    with process.stdout as said:
        while said.read(4_096):
            beats.put(True)
    beats.put(False)


class Children:
    """The processes beside a server."""

    def __init__(self, work: Sequence[str], settings: Settings) -> None:
        self.all = tuple(Child(name, settings) for name in work)

    def __enter__(self) -> Children:
        for child in self.all:
            child.start()
        return self

    def wake(self) -> None:
        """Tell who counts that something arrived."""
        for child in self.all:
            if child.work == COUNT:
                child.wake()

    def __exit__(self, *_: object) -> None:
        for child in self.all:
            child.close()
