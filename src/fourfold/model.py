"""Frozen records that all layers share. This file imports nothing of fourfold."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

HOUR = 3_600
DAY = 86_400
KEEP_HOURS = 60 * DAY  # how long counts by hour are kept; days stay
EVERYTHING = "{}"  # the slice that holds all records


class Status(StrEnum):
    """How far a value can be trusted: its labels are all in, still arriving, or there is nothing to say."""

    SETTLED = "settled"
    PROVISIONAL = "provisional"
    NO_DATA = "no_data"


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A metric's answer: the number, its 95 % interval, and what it rests on.

    ``value`` is None exactly when ``status`` is NO_DATA, and then ``reason`` says why. ``n`` is the number of
    records the value rests on; ``coverage`` is labelled / predicted, for metrics that need labels;
    ``expected`` is, for a distance, its mean under no change at this sample size.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    coverage: float | None = None
    status: Status = Status.SETTLED
    reason: str = ""
    expected: float | None = None

    @staticmethod
    def no_data(reason: str, n: int = 0, coverage: float | None = None) -> Value:
        """The absence of a number, and why: never 0.0, never NaN."""
        return Value(None, n=n, coverage=coverage, status=Status.NO_DATA, reason=reason)


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of event time [start, end), in whole seconds since 1970 (UTC)."""

    start: int
    end: int

    @property
    def start_time(self) -> dt.datetime:
        """The start as an aware datetime."""
        return dt.datetime.fromtimestamp(self.start, dt.UTC)


def slice_key(values: Mapping[str, str | None]) -> str:
    """A slice's canonical text: JSON with sorted keys; ``{}`` is the slice of all records.

    >>> slice_key({"carrier": "AA"})
    '{"carrier": "AA"}'
    """
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A prediction stream joined with a label stream.

    ``horizon`` is in seconds: a label whose event time is later than its prediction's by more is expired.
    """

    name: str
    prediction_stream: str
    prediction_column: str
    label_stream: str
    label_column: str
    kind: str = "binary"
    threshold: float = 0.5
    slices: tuple[str, ...] = ()
    horizon: int = 30 * DAY

    def to_json(self) -> str:
        """The definition as canonical JSON: equal definitions have equal text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Task:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return Task(**{**fields, "slices": tuple(fields["slices"])})


class RunStatus(StrEnum):
    """The life of a run: it started, and then succeeded, failed, or was never heard of again."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """What a run reads or writes. ``fingerprint`` is equal for equal content, also across processes."""

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

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None while running."""
        return None if self.ended is None else self.ended - self.started
