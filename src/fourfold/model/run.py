"""Runs of components, and what they read and wrote."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fourfold.model.time import DAY, HOUR

AHEAD = HOUR  # seconds by which a clock may be ahead
_LONGEST = 366 * DAY  # that a run lasts of which times that lie ahead are no nonsense
CLOCK = "clock"  # in a run's ``code``: by how many seconds a clock was ahead, and what it said of the start


class RunStatus(StrEnum):
    """The status of a run: started, succeeded, failed, or lost (its process died without a word)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


UNEXPLAINED: Mapping[RunStatus, str] = {
    RunStatus.FAILED: "no error message was reported",
    RunStatus.LOST: "its process ended without a word",
}
"""What is said of a run that was no success, where nobody said why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """A frame, file or model that a run reads or writes; equal content has an equal ``fingerprint`` in any process."""

    name: str
    direction: str  # "input" or "output"
    kind: str  # "frame", "file", "model"
    fingerprint: str
    rows: int | None = None
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def merged(self, later: Artifact) -> Artifact:
        """This artifact with what another report of it says."""
        rows = self.rows if later.rows is None else later.rows
        return dataclasses.replace(later, rows=rows, details={**self.details, **later.details})


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One execution of a component. Times are seconds since 1970 (UTC)."""

    id: str
    component: str
    status: RunStatus
    started: float
    ended: float | None = None
    at: float | None = None  # the logical time: which hour's or day's data the run is about
    parent: str | None = None
    host: str = ""
    process: int = 0
    error: str | None = None
    code: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    seen: float | None = None  # the newest sign of life, while it lasts

    def merged(self, report: Run) -> Run:
        """This run with what another report of it says, whichever came first.

        It began when the earliest report says. What a report of its end says stands against what others say; else the
        later one to arrive does.
        """
        over, under = (self, report) if self.ended is not None and report.ended is None else (report, self)
        artifacts = {(a.direction, a.name): a for a in under.artifacts}
        for artifact in over.artifacts:
            known = artifacts.get((artifact.direction, artifact.name))
            artifacts[artifact.direction, artifact.name] = artifact if known is None else known.merged(artifact)
        return dataclasses.replace(
            over,
            started=min(self.started, report.started),
            at=under.at if over.at is None else over.at,
            parent=over.parent or under.parent,
            host=over.host or under.host,
            process=over.process or under.process,
            error=over.error or under.error,
            code={**under.code, **over.code},
            params={**under.params, **over.params},
            metrics={**under.metrics, **over.metrics},
            artifacts=tuple(artifacts.values()),
        )

    def as_of(self, came: float) -> Run:
        """This run as it counts where its report came at a moment.

        Nothing starts or ends later than it is told of. Where a report says so by more than ``AHEAD``, the clock of its
        host is ahead: the run counts as of when it came, as long as it lasted, and what was said is kept in its
        ``code``. Otherwise a machine whose clock is ahead would have the newest runs for as long as it takes the others
        to catch up, whatever else has run since.
        """
        newest = max(moment for moment in (self.started, self.ended, self.seen) if moment is not None)
        code = {name: value for name, value in self.code.items() if name != CLOCK}  # nobody else says that
        if not newest > came + AHEAD:
            return self if CLOCK not in self.code else dataclasses.replace(self, code=code)
        by = newest - came
        moved = by if self.started > came + AHEAD and newest - self.started <= _LONGEST else 0.0

        def at(moment: float) -> float:
            return min(moment - moved, came)

        started = at(self.started)
        return dataclasses.replace(
            self,
            started=started,
            ended=None if self.ended is None else max(at(self.ended), started),
            seen=None if self.seen is None else max(at(self.seen), started),
            code={**code, CLOCK: {"ahead": round(min(by, 1e12), 3), "started": self.started}},
        )

    @property
    def ahead(self) -> float:
        """By how many seconds the clock of its host was ahead when it came; 0: by none that matters."""
        return _number(self.code.get(CLOCK), "ahead", 0.0)

    @property
    def counted_at(self) -> float:
        """Under which start the frames of this run are counted: what its host said of it."""
        return _number(self.code.get(CLOCK), "started", self.started)

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None while running."""
        return None if self.ended is None else self.ended - self.started

    @property
    def outcome(self) -> str:
        """How it ended, and why where that is known: "failed: ValueError: no rows", after the last line of its error.

        >>> Run("1", "train", RunStatus.FAILED, 0.0).outcome
        'failed: no error message was reported'
        """
        how = "was lost" if self.status is RunStatus.LOST else self.status.value
        lines = [line.strip() for line in (self.error or "").splitlines() if line.strip()]
        if lines or self.status in UNEXPLAINED:
            return f"{how}: {lines[-1] if lines else UNEXPLAINED[self.status]}"
        return how


def _number(kept: object, name: str, otherwise: float) -> float:
    found = kept.get(name) if isinstance(kept, dict) else None
    return found if isinstance(found, float) and math.isfinite(found) else otherwise
