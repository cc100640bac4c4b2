"""No Delta engine in a child of a process that has used it: the engine's threads do not survive a fork."""

from __future__ import annotations

import os

from fourfold.errors import StoreError

_used_in: int | None = None  # the process in which the engine's threads are


def refuse_in_fork() -> None:
    """Reject the use of the Delta engine in a child of a process that has used it: the system would abort the child.

    Raises:
        StoreError: says how to start processes that read.
    """
    global _used_in
    if _used_in is None:
        _used_in = os.getpid()
    elif _used_in != os.getpid():
        raise StoreError(
            "this process was forked from one that had already read the log; it can log, but not read. Start "
            "processes that read with spawn or forkserver (multiprocessing.get_context('spawn'))"
        )
