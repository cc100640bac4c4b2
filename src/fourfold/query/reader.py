"""The reader of a store: one project's declarations, counts and logs, for questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from fourfold.engine import Engine, make_engine
from fourfold.errors import StoreError
from fourfold.fold import Plan
from fourfold.log import Changes, Logs, Quarantine, StorePath, StreamLog, open_inbox, state_at, store_folder
from fourfold.model import Address, Owner, Place, Standing
from fourfold.state import Database, catalogue, jobs, open_state
from fourfold.state.jobs import Job

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """One project of a store, for questions. It takes no lock and writes nothing.

    Answers use what is counted: for the newest, the caller lets a ``Writer`` catch up first.
    """

    def __init__(
        self,
        folder: StorePath,
        project: str,
        database: Database,
        logs: Logs,
        engine: Engine,
        retention: Mapping[str, int] | None = None,
        standing: Callable[[], Standing] | None = None,
    ) -> None:
        self.folder, self.project, self.database, self.engine = folder, project, database, engine
        self.retention = dict(retention or {})
        self.quarantine = Quarantine(folder / "quarantine")
        self._inbox, self._logs = open_inbox(folder / "inbox"), logs
        self._standing = standing

    @classmethod
    def open(cls, place: Address, project: str, *, retention: Mapping[str, int] | None = None) -> Reader:
        """A reader without a writer, which needs no write permission for the folder.

        With one, SQLite may put empty side files beside the state.

        Raises:
            ConfigError: this version cannot use the address.
            StateError: there is no state to read, or it cannot be read.
        """
        place = Place.of(place)
        folder = store_folder(place.store)
        database = open_state(*state_at(place), read_only=True)
        return cls(folder, project, database, Logs(folder / "log"), make_engine(place.engine), retention)

    def close(self) -> None:
        """Close the connections to the state."""
        self.database.close()

    def recall(self, read: Callable[Concatenate[sa.Connection, str, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """A function's result on the project's state, cached until the state changes; do not modify it."""
        assert not named
        return self.database.recall(read, self.project, *arguments)

    def log(self, stream: str) -> StreamLog:
        """The log of a stream."""
        return self._logs.get(self.project, stream)

    def whole(self, streams: Iterable[str]) -> dict[str, Changes]:
        """All records of some streams' logs."""
        return {stream: self.log(stream).whole() for stream in dict.fromkeys(streams)}

    def plan(self, stream: str) -> Plan:
        """The plan of a stream's columns, for counting more of its data elsewhere."""
        return self.plan_of(Owner.of_stream(stream))

    def plan_of(self, owner: Owner) -> Plan:
        """What is fixed of an owner's columns."""
        return self.recall(catalogue.plans, (owner,))[owner]

    def log_versions(self) -> dict[str, int | None]:
        """The version of each stream's log; None for streams with counts only."""
        return {stream: self.log(stream).version for stream in self.recall(catalogue.streams)}

    @property
    def standing(self) -> Standing:
        """How far the writer of this reader is behind; without a writer, whether messages wait."""
        return self._standing() if self._standing is not None else Standing(behind=bool(self.waiting()))

    def waiting(self) -> list[StorePath]:
        """The files of the messages that wait in the inbox."""
        return self._inbox.pending()

    def progress(self, owner: Owner | None = None) -> dict[Job, float]:
        """The owners that are being counted from the start, with the share done."""
        return {job: share for job, share in self.recall(jobs.progress).items() if owner in (None, job.owner)}

    def failures(self) -> dict[Job, str]:
        """The owners that could not be counted at the last try, and why."""
        return self.recall(jobs.failures)

    def failure(self, owner: Owner, names: tuple[str, ...], custom: str = "") -> str | None:
        """Why an owner, or a custom metric of it, cannot be counted by these names, if so."""
        reasons = (
            why
            for job, why in self.failures().items()
            if (job.owner, job.dimension.names) == (owner, names) and job.metric in ("", custom)
        )
        return next(reasons, None)

    def damage(self, owner: Owner) -> str:
        """Why an owner's counts are behind its logs, or ahead of them; empty if they are not."""
        streams, counted_to = self._streams(owner), self.recall(catalogue.counted_to)
        for stream in (stream for stream in streams if stream in counted_to):
            counted = counted_to[stream]
            if counted < catalogue.ANEW and (version := self._end_before(stream, counted)) is not None:
                end = f"ends at version {version}" if version >= 0 else "is gone"
                return f"the log of {stream!r} {end}, and version {counted} of it was counted"
        standing = self.standing
        if owner in standing.damaged or not standing.stuck:
            return standing.damaged.get(owner, "")
        waiting = (stream for stream in streams if stream in standing.stuck)
        return next((f"records of {s!r} wait in the inbox: {standing.stuck[s]}" for s in waiting), "")

    def _streams(self, owner: Owner) -> tuple[str, ...]:
        if owner.kind == "stream":
            return (owner.name,)
        task = self.recall(catalogue.tasks).get(owner.name)
        return () if task is None else task.streams

    def _end_before(self, stream: str, counted: int) -> int | None:
        """See ``StreamLog.ends_before``; None if the log cannot be read, of which others tell."""
        try:
            return self.log(stream).ends_before(counted)
        except StoreError:
            return None
