"""Work that is repeated until a signal comes, for ``fourfold fold --every`` and ``fourfold watch``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from fourfold.cli.failures import EXPECTED, tell


class _EndedError(Exception):
    """A signal came in the middle of a round."""


def repeat(
    seconds: float,
    work: Callable[[Callable[[float], None]], None],
    failed: Callable[[Exception], None] = lambda _: None,
) -> None:
    """Work every so many seconds until a signal comes.

    An error of the store is told, once until there is another, and the next round tries again.

    Args:
        seconds: from the end of a round to the next one.
        work: one round. What it is given, it may call with the share that is done; after a signal, that ends the round.
        failed: called with an error.
    """
    ended = threading.Event()

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second one ends it at once
        ended.set()

    def report(share: float) -> None:
        if ended.is_set():
            raise _EndedError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    told = ""
    while not ended.is_set():
        try:
            work(report)
            told = ""
        except _EndedError:
            return
        except EXPECTED as error:  # no store yet, a full disk: the next round may succeed
            failed(error)
            if str(error) != told:
                tell(error)
            told = str(error)
        ended.wait(seconds)
