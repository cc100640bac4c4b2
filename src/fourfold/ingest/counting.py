"""From the log into counts: records since the last fold, counted once."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from fourfold.engine import Engine, Extent, Folded, Splits, StoppedError
from fourfold.errors import StoreError
from fourfold.fold import KeptSlices, Plan
from fourfold.ingest.failures import Failures, versions
from fourfold.ingest.identifiers import recognise_identifiers
from fourfold.ingest.progress import (
    Counted,
    Known,
    Position,
    few,
    is_behind,
    positions,
    versions_of,
)
from fourfold.log import Changes, Logs, StreamLog, TruncatedLogError
from fourfold.model import ALL, VERSIONS, Dimension, Owner, Sums
from fourfold.state import Database, StateError, adding, catalogue, series
from fourfold.state.catalogue import Backfill
from fourfold.state.jobs import Job, Workload, workloads

OVERTIME = 1.0  # seconds in which each owner gets its first piece, however little time there is for more
ROWS_AT_ONCE = 20_000  # of counts, that are written in one transaction where several owners have some


class Counter:
    """Counts the logs of a project. Only one process at a time does (see ``Writer.catch_up``).

    Each job remembers the log versions up to which it has counted, written in the same transaction as the counts.
    One that is new is counted from the start of the logs, in pieces, so that it can be interrupted; until it is
    done, the others go on without it. Jobs at the same position are counted together.
    """

    def __init__(self, project: str, database: Database, engine: Engine, logs: Logs) -> None:
        self._project, self._database, self._engine, self._logs = project, database, engine, logs
        self._failures = Failures(project, database, self._log)

    @property
    def damaged(self) -> dict[Owner, str]:
        """The owners whose logs could not be read in the last fold, with the reason."""
        return self._failures.damaged

    def pending(self) -> bool:
        """Whether some log has records that are not counted yet, or something counted is not asked for any more."""
        standing = self._database.recall(positions, self._project)
        resting = {key for key, failure in standing.failures.items() if time.time() < failure.again}
        if any(self._failures.damaged_at(key) is None for key in standing.unfinished - resting):
            return True
        newest = self._versions(standing.wanted)
        for position in standing.wanted:
            current = versions_of(newest, position.streams)
            left = position.key in resting or current == self._failures.damaged_at(position.key)
            if current and current != position.versions and not left:
                return True
        return False

    def fold(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Count all new records, and then first counts, piece by piece, as long as ``go_on`` says so.

        Failures are retried at growing intervals. Returns whether all else is counted.
        """
        self._failures.begin()
        wanted = self._database.recall(workloads, self._project)
        self._forget_all_but({job.key for work in wanted for job in work.jobs})
        self._count_new(wanted)
        self._begin_first_counts(wanted)
        return self._go_on_with_first_counts(wanted, go_on)

    def owners_of(self, stream: str) -> list[Owner]:
        """The owners that are counted from a stream."""
        return [work.owner for work in self._database.recall(workloads, self._project) if stream in work.streams]

    def forget(self, owner: Owner) -> None:
        """Forget an owner's counts, except those of erased records; its logs are counted again."""
        for work in self._database.recall(workloads, self._project):
            if work.owner == owner:
                self._start_anew(work)

    def _forget_all_but(self, wanted: set[str]) -> None:
        """Forget the jobs that are no longer declared."""
        unwanted = self._jobs(catalogue.cursors, catalogue.backfills, catalogue.failures) - wanted
        if unwanted:
            with self._database.write() as connection:
                for key in unwanted:
                    self._forget(connection, Job.from_key(key))

    def _start_anew(self, work: Workload) -> None:
        """Let jobs be counted from the logs as they are; what the logs have forgotten stays as it was counted."""
        with self._database.write() as connection:
            closed = catalogue.closed_before(connection, self._project, work.streams)
            for job in work.jobs:
                self._forget(connection, job, since=series.FIRST if closed is None else closed)

    def _forget(self, connection: sa.Connection, job: Job, since: int = series.FIRST) -> None:
        names = [job.dimension.names, *([VERSIONS] if job.dimension == ALL and not job.metric else [])]
        series.forget(connection, self._project, job.owner, names=names, custom=job.metric, since=since)
        catalogue.forget_job(connection, self._project, job.key)

    # what is new ----------------------------------------------------------------------------------------------------

    def _count_new(self, wanted: Sequence[Workload]) -> None:
        """Count new records for the jobs that have counted before; several owners' counts are written together."""
        newest = self._versions(wanted)
        cursors = self._database.recall(catalogue.cursors, self._project, few(wanted))
        behind = [work for work in wanted if is_behind(work, cursors, newest)]
        if not behind:
            return
        known = self._known(behind)
        waiting: list[Counted] = []
        for work in behind:
            self._failures.guard(work, functools.partial(self._count_changes, known, newest, waiting))
            if sum(counted.counts.num_rows for counted in waiting) >= ROWS_AT_ONCE:
                self._add_together(waiting)
        self._add_together(waiting)

    def _count_changes(self, known: Known, newest: Mapping[str, int], results: list[Counted], work: Workload) -> None:
        """Count what is new for a workload's jobs; what was counted is put among the results."""
        for since, part in known.behind(work, versions_of(newest, work.streams)):
            if gone := since.keys() - newest.keys():
                raise StoreError(f"the log of {min(gone)!r} is gone, and version {since[min(gone)]} was counted")
            try:
                changes = {stream: self._log(stream).changes(since.get(stream)) for stream in work.streams}
            except TruncatedLogError as error:  # what was counted cannot be told from the log any more
                if (why := self._failures.damage_of(work.streams)) is not None:  # nor can it be counted again
                    raise StoreError(why) from error
                self._start_anew(part)
                continue
            counted = self._counted(known, part, changes, known.extent(part))
            known.advance(counted, changes[work.streams[0]])
            results.append(counted)

    def _add_together(self, waiting: list[Counted]) -> None:
        """Add the counts to the state, in one transaction; if one fails, each in its own."""
        try:
            with self._database.write() as connection:
                self._add(connection, waiting)
                for counted in waiting:
                    self._set_cursors(connection, counted)
        except (StateError, StoppedError):
            raise
        except Exception:  # nothing of them is in the state: each is counted again, and fails by itself
            for counted in waiting:
                self._failures.guard(counted.work, self._count_alone)
        waiting.clear()

    def _count_alone(self, work: Workload) -> None:
        results: list[Counted] = []
        self._count_changes(self._known([work]), self._versions([work]), results, work)
        with self._database.write() as connection:
            self._add(connection, results)
            for counted in results:
                self._set_cursors(connection, counted)

    # first counts ---------------------------------------------------------------------------------------------------

    def _begin_first_counts(self, wanted: Sequence[Workload]) -> None:
        begun = self._jobs(catalogue.cursors, catalogue.backfills)
        for work in wanted:
            if not all(job.key in begun for job in work.jobs):
                self._failures.guard(work, self._begin)

    def _begin(self, work: Workload) -> None:
        """Prepare the first count of the new jobs: the versions of the logs, and the number of pieces."""
        newest = self._versions([work])
        begun = self._jobs(catalogue.cursors, catalogue.backfills, of=few([work]))
        fresh = dataclasses.replace(work, jobs=tuple(job for job in work.jobs if job.key not in begun))
        if not newest or not fresh.jobs:
            return
        whole = {stream: self._log(stream).whole(newest.get(stream)) for stream in work.streams}
        kept_slices = self._kept_slices(self._known([fresh]), fresh, whole)
        rows = sum(self._log(stream).rows for stream in newest)
        pieces = 1 if work.task is not None and work.task.query else 1 + rows // self._engine.piece_rows
        if work.task is None:
            pieces = min(pieces, max(len(whole[work.streams[0]].added), 1))
        progress = Backfill(tuple(sorted(newest.items())), 0, pieces)
        with self._database.write() as connection:
            self._set_kept_slices(connection, work, kept_slices)
            for job in fresh.jobs:
                catalogue.set_backfill(connection, self._project, job.key, progress)

    def _go_on_with_first_counts(self, wanted: Sequence[Workload], go_on: Callable[[], bool]) -> bool:
        """Count a piece of an owner and, as long as ``go_on`` says so, further ones; then the next owner's.

        First come those that have the fewest pieces left, and where owners are very many, not each has its turn.
        Returns whether that was all.
        """
        under_way = self._database.recall(catalogue.backfills, self._project)
        left = {key: progress.pieces - progress.piece for key, progress in under_way.items()}
        begun = [work for work in wanted if any(job.key in left for job in work.jobs)]
        until, any_counted = time.monotonic() + OVERTIME, False
        for work in sorted(begun, key=lambda work: sum(left.get(job.key, 0) for job in work.jobs)):
            counted = False
            while (following := self._next_piece(work)) is not None:
                if (counted or (any_counted and time.monotonic() > until)) and not go_on():
                    return False
                progress, part = following
                self._failures.guard(part, functools.partial(self._count_piece, progress))
                any_counted = counted = True
            if counted:  # records may have come meanwhile
                self._count_new([work])
        return True

    def _next_piece(self, work: Workload) -> tuple[Backfill, Workload] | None:
        """How far an owner's first counts have come, and the owner with the jobs that are as far, if any."""
        if work.owner in self._failures.damaged:
            return None
        under_way = self._database.recall(catalogue.backfills, self._project, few([work]))
        jobs = [job for job in work.jobs if job.key in under_way and not self._failures.rests(job.key)]
        if not jobs:
            return None
        progress = under_way[jobs[0].key]
        return progress, dataclasses.replace(work, jobs=tuple(c for c in jobs if under_way[c.key] == progress))

    def _count_piece(self, progress: Backfill, work: Workload) -> None:
        """Count one piece of the first count of a workload's jobs."""
        at = dict(progress.versions)
        try:
            logs = {s: self._log(s).whole(at[s]) if s in at else _nothing(self._log(s)) for s in work.streams}
        except TruncatedLogError:  # too long ago: start over, from the logs as they are
            self._start_anew(work)
            self._begin(work)
            return
        known = self._known([work])
        piece = None
        if work.task is None:
            logs = {stream: _nth(log, progress.piece, progress.pieces) for stream, log in logs.items()}
        elif progress.pieces > 1:
            piece = (progress.piece, progress.pieces)
        counted = self._counted(known, work, logs, known.extent(work, piece), known.kept_slices_of(work))
        last = progress.piece + 1 == progress.pieces
        with self._database.write() as connection:
            self._add(connection, [counted])
            for key in counted.keys:
                after = None if last else dataclasses.replace(progress, piece=progress.piece + 1)
                catalogue.set_backfill(connection, self._project, key, after)
            if last:
                self._set_cursors(connection, dataclasses.replace(counted, versions=at))

    # both -----------------------------------------------------------------------------------------------------------

    def _counted(
        self,
        known: Known,
        work: Workload,
        logs: Mapping[str, Changes],
        extent: Extent,
        kept_slices: Splits | None = None,
    ) -> Counted:
        """Count changes; without ``kept_slices``, these are fixed by them as far as they are not."""
        before = known.kept_slices_of(work)
        kept_slices = self._kept_slices(known, work, logs) if kept_slices is None else kept_slices
        plan = known.plans[work.owner]
        folded = self._fold(work, logs, kept_slices, plan, extent)
        new = {dimension: after for dimension, after in kept_slices.items() if after != before[dimension]}
        at = {stream: log.version for stream, log in logs.items() if log.version >= 0}
        return Counted(work, folded.counts, plan, folded.plan, new, at)

    def _fold(
        self, work: Workload, logs: Mapping[str, Changes], kept_slices: Splits, plan: Plan, extent: Extent
    ) -> Folded:
        if work.task is None:
            return self._engine.fold_stream(logs[work.streams[0]], kept_slices, plan, extent)
        wanted: dict[Dimension, list[str]] = {}
        for job in work.jobs:
            wanted.setdefault(job.dimension, []).append(job.metric)
        sums: dict[str, Sums] = {job.metric: job.sums for job in work.jobs if job.sums is not None}
        task = dataclasses.replace(work.task, sums=tuple(sums.values()))
        return self._engine.fold_task(task, logs, kept_slices, plan, extent, wanted)

    def _kept_slices(self, known: Known, work: Workload, logs: Mapping[str, Changes]) -> dict[Dimension, KeptSlices]:
        """What is fixed of the jobs' dimensions, once these changes are counted."""
        stream = work.streams[0]
        log = logs[stream]
        return {
            d: kept_slices
            if (stream, d, log.added) in known.fixed_by
            else self._engine.kept_slices(log, d, kept_slices)
            for d, kept_slices in known.kept_slices_of(work).items()
        }

    def _add(self, connection: sa.Connection, results: Sequence[Counted]) -> None:
        """Add the counts to the state, and the plans fixed on the way."""
        hourly: dict[Owner, list[pa.Table]] = {}
        for counted in results:
            self._fix(connection, counted)
            hourly.setdefault(counted.work.owner, []).append(counted.counts)
        tables = {owner: pa.concat_tables(parts) for owner, parts in hourly.items()}
        added = adding.add_levels(connection, self._project, tables)
        texts = {counted.work.owner: counted.plan.identifiers for counted in results}
        recognise_identifiers(connection, self._project, texts, added)

    def _fix(self, connection: sa.Connection, counted: Counted) -> None:
        """Write down what was fixed while these were counted."""
        owner, plan = counted.work.owner, counted.plan
        known = counted.before.by_version()
        for column, entries in plan.binnings.items():
            for start, binning in entries:
                if (column, binning.version) not in known:
                    catalogue.add_binnings(connection, self._project, owner, {column: binning}, start)
        catalogue.add_small_integers(connection, self._project, owner, plan.small - counted.before.small)
        if plan.identifiers != counted.before.identifiers:
            catalogue.set_identifiers(connection, self._project, owner, plan.identifiers)
        self._set_kept_slices(connection, counted.work, counted.kept_slices)

    def _set_kept_slices(self, connection: sa.Connection, work: Workload, kept_slices: Splits) -> None:
        for dimension, fixed in kept_slices.items():
            if dimension != ALL:
                catalogue.set_kept_slices(connection, self._project, work.streams[0], dimension, fixed)

    def _set_cursors(self, connection: sa.Connection, counted: Counted) -> None:
        """Write down how far jobs have come; they could be counted, whatever had kept them from it."""
        catalogue.set_cursors(connection, self._project, counted.keys, counted.versions)
        self._failures.clear(connection, counted.keys)

    def _known(self, wanted: Sequence[Workload]) -> Known:
        with self._database.read() as connection:
            return Known.read(connection, self._project, wanted)

    def _jobs(self, *parts: Callable[..., Mapping[str, object]], of: tuple[str, ...] | None = None) -> set[str]:
        """The jobs that some parts of the catalogue know, or those of some."""
        return {key for part in parts for key in self._database.recall(part, self._project, *([of] if of else []))}

    def _versions(self, entries: Iterable[Workload | Position]) -> dict[str, int]:
        """The newest versions of the logs of all their streams."""
        return versions(self._log, dict.fromkeys(stream for entry in entries for stream in entry.streams))

    def _log(self, stream: str) -> StreamLog:
        return self._logs.get(self._project, stream)


def _nothing(log: StreamLog) -> Changes:
    """An empty log."""
    return Changes(-1, log.schema)


def _nth(log: Changes, piece: int, pieces: int) -> Changes:
    """One of so many parts of a log's files, of about as many records each, as if those before it had been counted."""
    ends = np.cumsum(log.sizes())
    bounds = [ends[-1:].sum() * i / pieces for i in (piece, piece + 1)]
    start, end = np.searchsorted(ends, bounds, side="right").tolist()
    return dataclasses.replace(log, before=log.added[:start], added=log.added[start:end])
