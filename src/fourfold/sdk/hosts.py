"""Servers that end their workers without the interpreter's own exit, and tell of it in ways of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable


def tell_of_end(action: Callable[[], None]) -> None:
    """Let the server that this process is a worker of, if it is one, call a function before the worker ends.

    Celery's workers end by ``os._exit``. It need not be loaded for this: who is a worker of it has loaded it.
    """
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(lambda **_: action(), weak=False, dispatch_uid="fourfold")
