"""Runs of components, and what they read and wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class RunStatus(StrEnum):
    """The status of a run: started, succeeded, failed, or lost (its process died without a word)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """A frame, file or model that a run reads or writes; equal content has an equal ``fingerprint`` in any process."""

    name: str
    direction: str  # "input" or "output"
    kind: str  # "frame", "file", "model"
    fingerprint: str
    rows: int | None = None
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)


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

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None while running."""
        return None if self.ended is None else self.ended - self.started
