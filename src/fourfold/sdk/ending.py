"""Flush before SIGTERM ends the process (as a ``Pool`` ends its workers).

Python runs a signal's handler in the main thread, between two bytecodes, which may hold a lock or a half imported
module. So the handler only starts a thread, which does the rest while the main thread goes on. A main thread that waits
for a lock, or stays in native code, would never reach the handler, and the process could not end. So the signal is
also written to a pipe, and a thread that polls it takes the place of the main thread.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep

try:
    import fcntl
except ImportError:  # Windows, where fourfold does not handle signals
    fcntl = None  # type: ignore[assignment]

GRACE = 0.3  # seconds that the main thread has to reach the handler
LONGEST = 60.0  # seconds that the end of the main thread waits for that of the process
_HIGH = 500  # the descriptors of the pipe; a daemon that closes all descriptors does not reopen these
_first: Callable[[int], None] | None = None
_pipe: tuple[int, int] | None = None
_identity: tuple[int, int] | None = None  # of the pipe's reading end, in case the host has closed it
_noted: float | None = None  # when a signal was seen in the pipe
_forking = threading.local()  # the signals that this thread had blocked before a fork that is under way
_begun = False  # whether somebody is ending the process


def do_first(action: Callable[[int], None]) -> None:
    """Call a function with the signal's number before the process ends; it must end in ``die``.

    If the host has its own handler, or outside the main thread, this changes nothing.
    """
    global _first
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGTERM"):
        return
    _first = action
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _handle)
        _listen()


def attend() -> None:
    """Called from a thread now and then: end the process if the main thread does not."""
    global _noted, _pipe
    if _pipe is None or _first is None:
        return
    if _identity_of(_pipe[0]) != _identity:
        _pipe = None
        return
    is_ours = signal.getsignal(signal.SIGTERM) is _handle
    try:  # a signal that another handler has taken is over, also if ours is put back later
        if signal.SIGTERM in os.read(_pipe[0], 1_024) and is_ours:
            _noted = monotonic()
    except BlockingIOError:
        pass
    if _noted is not None and monotonic() - _noted > GRACE and not _begun:
        _handle(signal.SIGTERM, None)


def before_fork() -> None:
    """A signal in a child's first moments must wait: Python forgets it then, and it would reach the parent's pipe."""
    if _first is not None and signal.getsignal(signal.SIGTERM) is _handle:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if _pipe is not None and threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


def after_fork_in_parent() -> None:
    """Listen again, unless the host has closed the pipe."""
    is_main = threading.current_thread() is threading.main_thread()
    if _pipe is not None and is_main and _identity_of(_pipe[0]) == _identity:
        signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)


def after_fork_in_child() -> None:
    """Listen on a pipe of its own."""
    global _pipe, _noted, _begun
    if _pipe is None:
        return
    inherited = signal.set_wakeup_fd(-1)
    if inherited not in (-1, _pipe[1]):
        signal.set_wakeup_fd(inherited)
    if _identity_of(_pipe[0]) == _identity:
        _close(_pipe)
    _pipe, _noted, _begun = None, None, False
    _listen()


def after_fork() -> None:
    """In either, once all is in order: what came meanwhile arrives now."""
    mask, _forking.mask = getattr(_forking, "mask", None), None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def wait() -> None:
    """At the end of the main thread: if a signal is ending the process, let it."""
    give_up = monotonic() + LONGEST
    while _begun and monotonic() < give_up:
        sleep(0.01)


def die(number: int) -> None:
    """End the process by the signal, as if it were not handled; from any thread."""
    try:
        ctypes.CDLL(None).signal(number, None)  # Python's ``signal.signal`` works in the main thread only
    except (OSError, AttributeError, TypeError):
        os._exit(128 + number)
    os.kill(os.getpid(), number)


def _listen() -> None:
    """Let Python's C handler, which runs at once in any thread, write signals to a pipe."""
    global _pipe, _identity
    if "trio" in sys.modules or os.name == "nt":  # trio treats another listener as a mistake
        return
    low = os.pipe()
    try:
        pipe = _moved_up(low[0]), _moved_up(low[1])
    except OSError:  # the process has too many open descriptors
        _close(low)
        return
    _close(low)
    for end in pipe:
        os.set_blocking(end, False)
    previous = signal.set_wakeup_fd(pipe[1], warn_on_full_buffer=False)
    if previous != -1:  # another library listens: leave it
        signal.set_wakeup_fd(previous)
        _close(pipe)
        return
    _pipe, _identity = pipe, _identity_of(pipe[0])


def _moved_up(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)


def _close(descriptors: tuple[int, int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _identity_of(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _handle(number: int, frame: object) -> None:
    global _begun
    if not _begun:
        _begun = True
        _thread.start_new_thread(_first or die, (number,))  # without the locks that ``threading`` takes
