"""Failures to count: if one owner fails, the others are still counted."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable

import sqlalchemy as sa

from fourfold.engine import StoppedError, TooSlowError
from fourfold.errors import FourfoldError, StoreError
from fourfold.log import BucketError, StreamLog, of_client, unreadable
from fourfold.model import Dimension, Owner
from fourfold.state import Database, StateError, catalogue
from fourfold.state.catalogue import Failure
from fourfold.state.jobs import Job, Workload

REST = 20.0  # a failed owner rests so many times as long as the try took; twice that the next time
LONGEST_REST = 3_600.0  # seconds
_UNREADABLE = 2**62  # the version of a log that cannot be read
logger = logging.getLogger("fourfold")


@dataclasses.dataclass(frozen=True)
class _TooSlow:
    """Why a way to split a stream's records was stopped, and after how many seconds."""

    reason: str
    took: float


class Failures:
    """The failures of a project's jobs: noted in the state, or in memory where the logs are what is damaged."""

    def __init__(self, project: str, database: Database, log: Callable[[str], StreamLog]) -> None:
        self._project, self._database, self._log = project, database, log
        self._noted: dict[str, Failure] = {}  # by job
        self._resting: set[str] = set()  # the jobs that are not tried in this fold
        self._slow: dict[tuple[str, Dimension], _TooSlow] = {}  # by stream and way to split it
        self.damaged: dict[Owner, str] = {}  # the owners whose logs cannot be read, and why
        self._damaged_at: dict[str, dict[str, int]] = {}  # by job, the versions of the logs at that time
        self._warned: set[str] = set()

    def begin(self) -> None:
        """Begin a fold, which tries everything whose time to rest is over."""
        self._noted = dict(self._database.recall(catalogue.failures, self._project))
        self._resting = {key for key, failure in self._noted.items() if time.time() < failure.again}
        self._slow.clear()
        self.damaged.clear()
        self._damaged_at.clear()

    def rests(self, key: str) -> bool:
        """Whether a job is not tried in this fold."""
        return key in self._resting

    def damaged_at(self, key: str) -> dict[str, int] | None:
        """The versions of its logs at which a job could not read them in the last fold."""
        return self._damaged_at.get(key)

    def clear(self, connection: sa.Connection, keys: Iterable[str]) -> None:
        """Note that jobs were counted, after any earlier failures."""
        for key in keys:
            if self._noted.pop(key, None) is not None:
                catalogue.set_failure(connection, self._project, key, None)

    def guard(self, work: Workload, action: Callable[[Workload], object]) -> None:
        """Do something for a workload's jobs that do not rest; where it fails, for each of them alone.

        Raises:
            StateError, StoppedError: of the state, or of the process; not of this owner.
        """
        jobs = []
        for job in work.jobs:
            if (slow := self._slow.get((work.streams[0], job.dimension))) is not None and not self.rests(job.key):
                self._note(job, slow.reason, slow.took)  # as its stream has shown
            if not self.rests(job.key):
                jobs.append(job)
        if not jobs:
            return
        begun = time.monotonic()
        try:
            action(dataclasses.replace(work, jobs=tuple(jobs)))
        except (StateError, StoppedError):
            raise
        except Exception as fault:
            took = time.monotonic() - begun
            error = of_client(self._log(work.streams[0]).folder, fault) or fault  # it came through an engine
            if (why := self._damage(work, error)) is not None:  # of the logs: what was counted stays
                self.damaged[work.owner] = why
                if not isinstance(error, BucketError):  # which says nothing of the logs: it is tried again at once
                    self._damaged_at |= dict.fromkeys((job.key for job in jobs), versions(self._log, work.streams))
                self._warn(why)
            elif isinstance(error, TooSlowError) and error.dimension is not None:
                self._slow[work.streams[0], error.dimension] = _TooSlow(str(error), took)
                self.guard(work, action)
            elif len(jobs) > 1:
                for job in jobs:
                    self.guard(dataclasses.replace(work, jobs=(job,)), action)
            else:
                first_line = str(error).partition("\n")[0]
                known = isinstance(error, FourfoldError)
                self._note(
                    jobs[0], str(error) if known else f"{work.owner}: {type(error).__name__}: {first_line}", took
                )

    def damage_of(self, streams: Iterable[str]) -> str | None:
        """What is wrong with the logs of some streams, where they cannot be read."""
        faults = [f"the log of {s!r}: {fault}" for s in streams for fault in unreadable(self._log(s))]
        return "; ".join(dict.fromkeys(faults)) or None

    def _damage(self, work: Workload, error: Exception) -> str | None:
        """What is wrong with an owner's logs, where that is why it cannot be counted."""
        return str(error) if isinstance(error, StoreError) else self.damage_of(work.streams)

    def _note(self, job: Job, why: str, took: float) -> None:
        """Note that a job cannot be counted now, and when to try again."""
        self._resting.add(job.key)
        with self._database.write() as connection:
            before = catalogue.failures(connection, self._project).get(job.key)
            tries = before.tries + 1 if before is not None else 1
            again = time.time() + min(REST * took * 2.0 ** (tries - 1), LONGEST_REST)
            self._noted[job.key] = Failure(why, tries, again)
            catalogue.set_failure(connection, self._project, job.key, self._noted[job.key])
        self._warn(why)

    def _warn(self, why: str) -> None:
        if why not in self._warned:
            self._warned.add(why)
            logger.warning("%s", why)


def versions(log: Callable[[str], StreamLog], streams: Iterable[str]) -> dict[str, int]:
    """The newest version of each stream that has a log; of one that cannot be read, one that is never reached."""
    found = {}
    for stream in streams:
        try:
            version = log(stream).version
        except StoreError:
            version = _UNREADABLE
        if version is not None:
            found[stream] = version
    return found
