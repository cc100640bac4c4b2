"""What goes on beside the server, each in a process of its own, so that no request waits for it: counting, and judging.

Such a process is told by its input whose store it is, when something has arrived, and, by the end of the input, that
the server is gone. It says by its output that it lives.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO

import pyarrow as pa
import sqlalchemy as sa

from fourfold.config import Settings
from fourfold.errors import FourfoldError
from fourfold.ingest.writer import Writer
from fourfold.log import store_folder
from fourfold.log.bucket import BucketPath
from fourfold.state import catalogue
from fourfold.store import Store

logger = logging.getLogger("fourfold")
GATHER = 0.25  # seconds after an arrival, so that what comes with it is counted with it
LOOK_EVERY, LOOK_EVERY_IN_BUCKET = 1.0, 5.0  # seconds after which is looked for what came another way
CHECK_EVERY = 300.0  # seconds from one check to the next
_YIELDING = 10  # of Unix's niceness, from 0 to 19
_AT_ONCE = 1.0  # seconds of counting for one project, before it is the next one's turn
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds after something has failed
_FORESEEN = (FourfoldError, OSError, pa.ArrowException, sa.exc.SQLAlchemyError)
_END_WITHIN = 5.0  # seconds for what is under way when the server ends; what is killed loses nothing


class Signs:
    """What the server says: that something arrived, or that it ends."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._said, self.ended = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, name="fourfold-server", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until something arrives, but not for longer; False once the server ends."""
        self._said.wait(seconds)
        self._said.clear()
        return not self.ended.is_set()

    def _listen(self) -> None:
        while self._source.read(1):
            self._said.set()
        self.ended.set()
        self._said.set()
        time.sleep(_END_WITHIN)
        os._exit(0)


def count(settings: Settings, signs: Signs) -> None:
    """Take and count whatever arrives, for all projects, until the server ends."""
    writers: dict[str, Writer] = {}
    in_bucket = isinstance(store_folder(settings.store), BucketPath)
    each = _Each("counting")

    def one(project: str) -> None:
        if project not in writers:
            own = settings.retention if project == settings.project else {}
            writers[project] = Writer(settings.place, project, own)
        writers[project].catch_up(_AT_ONCE)

    def work() -> float:
        return each.of(_projects(settings, writers), one)

    _repeat("counting", work, signs, LOOK_EVERY_IN_BUCKET if in_bucket else LOOK_EVERY, GATHER)
    for writer in writers.values():
        writer.close()


def watch(settings: Settings, signs: Signs) -> None:
    """Check again and again, and tell the channels of fourfold.toml, until the server ends."""
    from fourfold.watch.check import check
    from fourfold.watch.notify import channels
    from fourfold.watch.notify.outbox import deliver
    from fourfold.watch.settings import watch_settings

    told = watch_settings(settings.watch)
    made = channels(told.notify)
    each = _Each("watching")

    def one(project: str) -> None:
        with contextlib.closing(Store(settings.place, project)) as store:
            now = time.time()
            for incident, event in check(store, told, now).news:
                logger.warning("%s %s: %s", incident.id, event.value, incident.title)
            for failure in deliver(store.reader.database, project, made, now).failed:
                logger.warning("%s has not been told of %s: %s", failure.channel, failure.incident, failure.error)

    def work() -> float:
        with contextlib.closing(Store(settings.place, settings.project)) as store:
            known = store.reader.database.recall(catalogue.projects)
        return each.of([settings.project] if settings.named_by else known, one)

    _repeat("watching", work, signs, CHECK_EVERY, 0.0)


WORK: dict[str, Callable[[Settings, Signs], None]] = {"count": count, "watch": watch}


class _Each:
    """Does something for each project; one that fails costs the others nothing, and is tried again later and later."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failed: dict[str, tuple[str, float, float]] = {}  # why, when it is tried again, and the pause after that

    def of(self, projects: Sequence[str], work: Callable[[str], None]) -> float:
        """Do it for all projects whose time it is; returns in how many seconds one that failed is to be tried again."""
        for project in projects:
            told, again, pause = self._failed.get(project, ("", 0.0, _PAUSE))
            if time.monotonic() < again:
                continue
            try:
                work(project)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                if why != told:
                    unforeseen = not isinstance(error, _FORESEEN)
                    logger.warning("%s, project %r: %s", self._what, project, why, exc_info=unforeseen)
                self._failed[project] = why, time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE)
            else:
                self._failed.pop(project, None)
        again = min((self._failed[project][1] for project in projects if project in self._failed), default=math.inf)
        return max(again - time.monotonic(), 0.0)


def _projects(settings: Settings, writers: dict[str, Writer]) -> list[str]:
    """The projects of the store, and the one that was chosen, which may be still to come."""
    known = [project for writer in list(writers.values())[:1] for project in writer.database.recall(catalogue.projects)]
    return list(dict.fromkeys((settings.project, *known)))


def _repeat(what: str, work: Callable[[], float], signs: Signs, every: float, gather: float) -> None:
    """Work after each arrival, every so often, and when the work says; what fails is told, and tried again later."""
    pause, told = _PAUSE, ""
    going = True
    while going:
        try:
            soonest = work()
        except _FORESEEN as error:
            if str(error) != told:
                logger.warning("%s: %s: %s", what, type(error).__name__, error)
            told = str(error)
            going = not signs.ended.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            pause, told = _PAUSE, ""
            going = signs.wait(min(every, soonest)) and not signs.ended.wait(gather)


def _beat(every: float) -> None:
    """Say again and again that this process does not stand still."""
    with contextlib.suppress(OSError):  # the server is gone
        while os.write(sys.stdout.fileno(), b"."):
            time.sleep(every)


def main() -> None:
    """A process of the server: does what its argument names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the server decides
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if hasattr(os, "nice"):  # who sends and who looks come first
        os.nice(_YIELDING)
    settings = pickle.load(sys.stdin.buffer)  # from the server itself
    threading.Thread(target=_beat, args=(float(sys.argv[2]),), name="fourfold-beats", daemon=True).start()
    WORK[sys.argv[1]](settings, Signs(sys.stdin.buffer))


if __name__ == "__main__":
    main()
