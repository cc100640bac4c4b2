"""From the log into counts: what is new since the last fold, counted once."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from fourfold.engine import Engine, Extent, Folded, Splits, StoppedError, TooSlowError
from fourfold.errors import FourfoldError, StoreError
from fourfold.fold import Levels, Plan
from fourfold.ingest.identifiers import recognise_identifiers
from fourfold.log import Changes, Logs, StreamLog, TruncatedLogError, unreadable
from fourfold.model import ALL, VERSIONS, Dimension, Sums
from fourfold.state import Database, StateError, catalogue, series
from fourfold.state.catalogue import Backfill, Failure
from fourfold.state.jobs import Cell, Owner, owners_of

_UNREADABLE = 2**62  # the version of a log that cannot be read
REST = 20.0  # what could not be counted is left for so many times as long as the try took; twice that the next time
LONGEST_REST = 3_600.0  # seconds
PIECE_ROWS = 1_000_000  # of a first count, that are counted in one transaction
logger = logging.getLogger("fourfold")


class Folder:
    """Folds the logs of a project. Only one process at a time does (see ``Store.catch_up``).

    Each cell remembers the log versions up to which it has counted, written in the same transaction as the counts.
    One that is new is counted from the start of the logs, in pieces, so that it can be interrupted; until it is
    done, the others go on without it. Cells at the same position are counted together.
    """

    def __init__(self, project: str, database: Database, engine: Engine, logs: Logs) -> None:
        self._project, self._database, self._engine, self._logs = project, database, engine, logs
        self._resting: set[str] = set()  # the jobs that could not count, and are not tried in this fold
        self._slow: dict[tuple[str, Dimension], tuple[str, float]] = {}  # slices of a stream: why, after how long
        self.damaged: dict[str, str] = {}  # the owners whose logs cannot be read, and why
        self._damaged_at: dict[str, dict[str, int]] = {}  # by job, the versions of the logs at that time
        self._warned: set[str] = set()

    def pending(self) -> bool:
        """Whether some log has records that are not counted yet, or something counted is not asked for any more."""
        unfinished, positions, failures = self._database.recall(_positions, self._project)
        resting = {job for job, failure in failures.items() if time.time() < failure.again}
        if unfinished - resting - self._damaged_at.keys():
            return True
        newest = self._versions({stream for _, streams, _ in positions for stream in streams})
        for job, streams, counted in positions:
            versions = {stream: newest[stream] for stream in streams if stream in newest}
            if versions and versions != counted and job not in resting and versions != self._damaged_at.get(job):
                return True
        return False

    def fold(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Count everything that is new, and then first counts, piece by piece, as long as ``go_on`` says so.

        What could not be counted is tried again later and later. Returns whether all else is counted.
        """
        known = self._database.recall(catalogue.failures, self._project)
        self._resting = {job for job, failure in known.items() if time.time() < failure.again}
        self._slow.clear()
        self.damaged.clear()
        self._damaged_at.clear()
        owners_ = self._database.recall(owners_of, self._project)
        self._forget_unwanted(cell.job for owner in owners_ for cell in owner.cells)
        for owner in owners_:
            self._guarded(owner, self._fold_new)
        for owner in owners_:
            self._guarded(owner, self._begin)
        return all(self._first_counts(owner, go_on) for owner in owners_)

    def _guarded(self, owner: Owner, action: Callable[[Owner], object]) -> None:
        """Do something for an owner's cells; one that cannot be counted does not keep the others from it."""
        cells = tuple(cell for cell in owner.cells if cell.job not in self._resting)
        slow = [cell for cell in cells if (owner.streams[0], cell.dimension) in self._slow]
        for cell in slow:  # as its stream has shown
            self._fail(cell, *self._slow[owner.streams[0], cell.dimension])
        cells = tuple(cell for cell in cells if cell not in slow)
        if not cells:
            return
        begun = time.monotonic()
        try:
            action(dataclasses.replace(owner, cells=cells))
        except (StateError, StoppedError):  # of the state, or of the process; not of this owner
            raise
        except Exception as error:
            if (why := self._damage(owner, error)) is not None:  # of the logs: what was counted stays
                self.damaged[owner.name] = why
                self._damaged_at |= dict.fromkeys((cell.job for cell in cells), self._versions(owner.streams))
                self._warn(why)
                return
            if isinstance(error, TooSlowError) and error.dimension is not None:
                self._slow[owner.streams[0], error.dimension] = str(error), time.monotonic() - begun
                self._guarded(owner, action)
                return
            if len(cells) > 1:
                for cell in cells:
                    self._guarded(dataclasses.replace(owner, cells=(cell,)), action)
                return
            known = isinstance(error, FourfoldError)
            why = str(error) if known else f"{owner.name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
            self._fail(cells[0], why, time.monotonic() - begun)

    def _fail(self, cell: Cell, why: str, took: float) -> None:
        """Remember that a cell cannot be counted now, and when it is tried again."""
        self._resting.add(cell.job)
        with self._database.write() as connection:
            before = catalogue.failures(connection, self._project).get(cell.job)
            tries = before.tries + 1 if before is not None else 1
            again = time.time() + min(REST * took * 2.0 ** (tries - 1), LONGEST_REST)
            catalogue.set_failure(connection, self._project, cell.job, catalogue.Failure(why, tries, again))
        self._warn(why)

    def _damage(self, owner: Owner, error: Exception) -> str | None:
        """What is wrong with an owner's logs, where that is why it cannot be counted."""
        if isinstance(error, StoreError):
            return str(error)
        return self._damage_of(owner.streams)

    def _damage_of(self, streams: Iterable[str]) -> str | None:
        faults = [f"the log of {s!r}: {fault}" for s in streams for fault in unreadable(self._log(s))]
        return "; ".join(dict.fromkeys(faults)) or None

    def _warn(self, why: str) -> None:
        if why not in self._warned:
            self._warned.add(why)
            logger.warning("%s", why)

    def owners_of(self, stream: str) -> list[str]:
        """The owners that are counted from a stream."""
        return [owner.name for owner in self._database.recall(owners_of, self._project) if stream in owner.streams]

    def forget(self, owner: str) -> None:
        """Forget what was counted of an owner, but for what its logs have forgotten; it is counted anew from these."""
        for known in self._database.recall(owners_of, self._project):
            if known.name == owner:
                self._start_anew(known, known.cells)

    def _versions(self, streams: Iterable[str]) -> dict[str, int]:
        """The newest version of each stream that has a log; of one that cannot be read, one that is never reached."""
        found = {}
        for stream in streams:
            try:
                version = self._log(stream).version
            except StoreError:
                version = _UNREADABLE
            if version is not None:
                found[stream] = version
        return found

    def _forget_unwanted(self, wanted: Iterable[str]) -> None:
        with self._database.write() as connection:
            parts = (catalogue.cursors, catalogue.backfills, catalogue.failures)
            known = {job for part in parts for job in part(connection, self._project)}
            for job in known - set(wanted):
                self._forget(connection, Cell.from_job(job))

    def _start_anew(self, owner: Owner, cells: Iterable[Cell]) -> None:
        """Let cells be counted from the logs as they are; what the logs have forgotten stays as it was counted."""
        with self._database.write() as connection:
            closed = catalogue.closed_before(connection, self._project, owner.streams)
            for cell in cells:
                self._forget(connection, cell, since=series.FIRST if closed is None else closed)

    def _forget(self, connection: sa.Connection, cell: Cell, since: int = series.FIRST) -> None:
        names = [cell.dimension.names, *([VERSIONS] if cell.dimension == ALL and not cell.metric else [])]
        series.forget(connection, self._project, cell.owner, names=names, custom=cell.metric, since=since)
        catalogue.forget_job(connection, self._project, cell.job)

    def _fold_new(self, owner: Owner) -> None:
        """Count what is new for the cells that have counted before."""
        newest = self._versions(owner.streams)
        with self._database.read() as connection:
            cursors = catalogue.cursors(connection, self._project)
        behind: dict[tuple[tuple[str, int], ...], list[Cell]] = {}
        for cell in owner.cells:
            if cell.job in cursors and cursors[cell.job] != newest:
                behind.setdefault(tuple(sorted(cursors[cell.job].items())), []).append(cell)
        for since, together in behind.items():
            if gone := dict(since).keys() - newest.keys():
                raise StoreError(f"the log of {min(gone)!r} is gone, and version {dict(since)[min(gone)]} was counted")
            try:
                changed = {s: self._log(s).changes(dict(since).get(s)) for s in owner.streams}
            except TruncatedLogError as error:  # what was counted cannot be told from the log any more
                if (why := self._damage_of(owner.streams)) is not None:  # nor can it be counted anew
                    raise StoreError(why) from error
                self._start_anew(owner, together)
                continue
            with self._database.read() as connection:
                levels = self._levels(connection, owner, together, changed)
                plan = catalogue.plan(connection, self._project, owner.name)
            folded = self._fold(owner, together, changed, levels, plan)
            with self._database.write() as connection:
                self._remember(connection, owner, plan, folded, levels)
                versions = {stream: change.version for stream, change in changed.items() if change.version >= 0}
                for cell in together:
                    self._set_cursors(connection, cell, versions)

    def _begin(self, owner: Owner) -> None:
        """Prepare the first count of the cells that are new: at which versions of the logs, and in how many pieces."""
        versions = self._versions(owner.streams)
        if not versions:
            return
        with self._database.read() as connection:
            known = {*catalogue.cursors(connection, self._project), *catalogue.backfills(connection, self._project)}
            fresh = [cell for cell in owner.cells if cell.job not in known]
            if not fresh:
                return
            whole = {stream: self._log(stream).whole(versions.get(stream)) for stream in owner.streams}
            levels = self._levels(connection, owner, fresh, whole)
        rows = sum(self._log(stream).rows for stream in versions)
        pieces = 1 if owner.task is not None and owner.task.query else 1 + rows // PIECE_ROWS
        if owner.task is None:
            pieces = min(pieces, max(len(whole[owner.streams[0]].added), 1))
        progress = Backfill(tuple(sorted(versions.items())), 0, pieces)
        with self._database.write() as connection:
            self._set_levels(connection, owner, levels)
            for cell in fresh:
                catalogue.set_backfill(connection, self._project, cell.job, progress)

    def _first_counts(self, owner: Owner, go_on: Callable[[], bool]) -> bool:
        """Go on with the owner's first counts; returns whether they are done."""
        done = False
        while True:
            jobs = {cell.job: cell for cell in owner.cells if cell.job not in self._resting}
            if owner.name in self.damaged:
                return True
            with self._database.read() as connection:
                under_way = catalogue.backfills(connection, self._project)
            together: dict[Backfill, list[Cell]] = {}
            for job, progress in under_way.items():
                if job in jobs:
                    together.setdefault(progress, []).append(jobs[job])
            if not together:
                if done:  # records may have come meanwhile
                    self._guarded(owner, self._fold_new)
                return True
            if done and not go_on():
                return False
            progress, found = next(iter(together.items()))
            self._guarded(dataclasses.replace(owner, cells=tuple(found)), functools.partial(self._piece, progress))
            done = True

    def _piece(self, progress: Backfill, owner: Owner) -> None:
        """Count one piece of the first count of an owner's cells."""
        together = owner.cells
        versions = dict(progress.versions)
        try:
            logs = {s: self._log(s).whole(versions[s]) if s in versions else _nothing(self._log(s))
                    for s in owner.streams}  # fmt: skip
        except TruncatedLogError:  # too long ago: start anew, from the logs as they are
            self._start_anew(owner, together)
            self._begin(owner)
            return
        extent = Extent()
        if owner.task is None:
            logs = {stream: _nth(log, progress.piece, progress.pieces) for stream, log in logs.items()}
        elif progress.pieces > 1:
            extent = Extent(piece=(progress.piece, progress.pieces))
        with self._database.read() as connection:
            levels = self._known_levels(connection, owner, together)
            plan = catalogue.plan(connection, self._project, owner.name)
        folded = self._fold(owner, together, logs, levels, plan, extent)
        with self._database.write() as connection:
            self._remember(connection, owner, plan, folded, {})
            last = progress.piece + 1 == progress.pieces
            for cell in together:
                after = None if last else dataclasses.replace(progress, piece=progress.piece + 1)
                catalogue.set_backfill(connection, self._project, cell.job, after)
                if last:
                    self._set_cursors(connection, cell, versions)

    def _fold(
        self, owner: Owner, together: Sequence[Cell], logs: Mapping[str, Changes], levels: Splits, plan: Plan,
        extent: Extent = Extent(),  # noqa: B008 - it is frozen
    ) -> Folded:  # fmt: skip
        with self._database.read() as connection:
            closed = catalogue.closed_before(connection, self._project, owner.streams)
        extent = dataclasses.replace(extent, closed=None if closed is None else closed * 1_000_000)
        if owner.task is None:
            return self._engine.fold_stream(logs[owner.streams[0]], levels, plan, extent)
        wanted: dict[Dimension, list[str]] = {}
        for cell in together:
            wanted.setdefault(cell.dimension, []).append(cell.metric)
        sums: dict[str, Sums] = {cell.metric: cell.sums for cell in together if cell.sums is not None}
        task = dataclasses.replace(owner.task, sums=tuple(sums.values()))
        return self._engine.fold_task(task, logs, levels, plan, extent, wanted)

    def _known_levels(
        self, connection: sa.Connection, owner: Owner, together: Sequence[Cell]
    ) -> dict[Dimension, Levels]:
        dimensions = dict.fromkeys(cell.dimension for cell in together)
        return {d: catalogue.levels(connection, self._project, owner.streams[0], d) for d in dimensions}

    def _levels(
        self, connection: sa.Connection, owner: Owner, together: Sequence[Cell], logs: Mapping[str, Changes]
    ) -> dict[Dimension, Levels]:
        """What is fixed of the cells' dimensions, once these changes are counted."""
        known = self._known_levels(connection, owner, together)
        return {d: self._engine.levels(logs[owner.streams[0]], d, levels) for d, levels in known.items()}

    def _set_levels(self, connection: sa.Connection, owner: Owner, levels: Splits) -> None:
        for dimension, found in levels.items():
            if dimension != ALL:
                catalogue.set_levels(connection, self._project, owner.streams[0], dimension, found)

    def _remember(
        self, connection: sa.Connection, owner: Owner, before: Plan, folded: Folded, levels: Splits
    ) -> None:  # fmt: skip
        known = before.by_version()
        for column, versions in folded.plan.binnings.items():
            for start, binning in versions:
                if (column, binning.version) not in known:
                    catalogue.add_binnings(connection, self._project, owner.name, {column: binning}, start)
        catalogue.add_small_integers(connection, self._project, owner.name, folded.plan.small - before.small)
        catalogue.set_identifiers(connection, self._project, owner.name, folded.plan.identifiers)
        self._set_levels(connection, owner, levels)
        series.add_levels(connection, self._project, owner.name, folded.counts)
        recognise_identifiers(connection, self._project, owner.name, folded.counts)

    def _set_cursors(self, connection: sa.Connection, cell: Cell, versions: Mapping[str, int]) -> None:
        """Write down how far a cell has come; it could be counted, whatever had kept it from it."""
        catalogue.set_cursors(connection, self._project, cell.job, versions)
        catalogue.set_failure(connection, self._project, cell.job, None)

    def _log(self, stream: str) -> StreamLog:
        return self._logs.get(self._project, stream)


def _positions(
    connection: sa.Connection, project: str
) -> tuple[set[str], list[tuple[str, tuple[str, ...], dict[str, int]]], dict[str, Failure]]:
    """The jobs that are still to be counted from the start or forgotten; each job's streams and how far it is; and
    what could not be counted.
    """
    cursors, found = catalogue.cursors(connection, project), owners_of(connection, project)
    failures = catalogue.failures(connection, project)
    positions = [(cell.job, owner.streams, cursors.get(cell.job, {})) for owner in found for cell in owner.cells]
    unwanted = (cursors.keys() | failures.keys()) - {job for job, _, _ in positions}
    return {*catalogue.backfills(connection, project), *unwanted}, positions, failures


def _nothing(log: StreamLog) -> Changes:
    """A log of which nothing is meant yet."""
    return Changes(-1, log.schema)


def _nth(log: Changes, piece: int, pieces: int) -> Changes:
    """One of so many parts of a log's files, of about as many records each, as if those before it had been counted."""
    ends = np.cumsum(log.sizes())
    bounds = [ends[-1:].sum() * i / pieces for i in (piece, piece + 1)]
    start, end = np.searchsorted(ends, bounds, side="right").tolist()
    return dataclasses.replace(log, before=log.added[:start], added=log.added[start:end])
