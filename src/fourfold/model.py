"""Frozen records that all layers share. This file imports nothing of fourfold."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

HOUR = 3_600
DAY = 86_400
KEEP_HOURS = 60 * DAY  # how long counts by hour are kept; days stay
EVERYTHING = "{}"  # the slice that holds all records


class Status(StrEnum):
    """How far a value can be trusted: its labels are all in, still arriving, guessed, or there is nothing to say."""

    SETTLED = "settled"
    PROVISIONAL = "provisional"
    ESTIMATED = "estimated"
    NO_DATA = "no_data"


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A metric's answer: the number, its 95 % interval, and what it rests on.

    ``value`` is None exactly when ``status`` is NO_DATA, and then ``reason`` says why. ``n`` is the number of
    records the value rests on; ``coverage`` is labelled / predicted, for metrics that need labels, and ``awaited``
    the share of the predictions whose label can still be expected; ``expected`` is, for a distance, its mean under
    no change at this sample size. Of an estimate, ``reason`` says what it assumes.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    coverage: float | None = None
    status: Status = Status.SETTLED
    reason: str = ""
    expected: float | None = None
    awaited: float | None = None

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


@dataclasses.dataclass(frozen=True, slots=True)
class Plausible:
    """Which event times are taken for what they say: from ``earliest`` (seconds since 1970) to ``ahead`` seconds after
    the moment of logging.
    """

    earliest: int = 0
    ahead: int = 366 * DAY

    def micros(self, logged: int) -> tuple[int, int]:
        """The first and the last of them for a record that is logged at a moment, all in microseconds since 1970."""
        return self.earliest * 1_000_000, logged + self.ahead * 1_000_000


def percent(share: float | None) -> str:
    """A share as a percentage; what is little but not nothing does not read as nothing.

    >>> percent(0.9712), percent(0.00004), percent(None)
    ('97.1 %', '<0.1 %', '–')
    """
    if share is None:
        return "–"
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


VERSIONS = ("against", "version")  # the names in a slice that holds two model versions
OTHER = "(other)"  # the slice of the values beyond the heaviest ``MOST_SLICES``
MOST_SLICES = 200


LONGEST_LABEL, LABEL_PREFIX = 120, 100  # characters


def label_of(text: str) -> str:
    """A value as a label: itself; or, where it is long, its first 100 characters and a hash of the whole.

    >>> label_of("AA"), len(label_of("a" * 100_000)), label_of(label_of("a" * 999)) == label_of("a" * 999)
    ('AA', 117, True)
    """
    if len(text) <= LONGEST_LABEL:
        return text
    whole = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    return f"{text[:LABEL_PREFIX]}…{whole.hexdigest()}"


def slice_key(values: Mapping[str, str | None]) -> str:
    """A slice's canonical text: JSON with sorted keys; ``{}`` is the slice of all records.

    >>> slice_key({"carrier": "AA"})
    '{"carrier": "AA"}'
    """
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False)


def slice_names(key: str) -> tuple[str, ...]:
    """The names in a slice's text, sorted.

    >>> slice_names('{"carrier": "AA", "origin": null}'), slice_names("{}")
    (('carrier', 'origin'), ())
    """
    return tuple(json.loads(key))


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One thing that records are split by: a column, a number's quantile buckets, or a SQL expression.

    ``buckets`` is how many buckets a number falls in (0: its values as they are); ``sql`` is an expression over the
    stream's columns, in DuckDB's dialect, that takes the place of the column.
    """

    name: str
    buckets: int = 0
    sql: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Dimension:
    """What slices are made by: one part, several crossed, or none (all records in one slice)."""

    parts: tuple[Part, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, sorted: those of the slices that the dimension makes."""
        return tuple(sorted(part.name for part in self.parts))

    def __str__(self) -> str:
        return " × ".join(self.names)

    def to_json(self) -> str:
        """The definition as canonical text."""
        return json.dumps([dataclasses.astuple(part) for part in self.parts], ensure_ascii=False)


ALL = Dimension()  # not split


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A column of a stream."""

    stream: str
    column: str

    def __str__(self) -> str:
        return f"{self.stream}.{self.column}"


@dataclasses.dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the joined records, each by a SQL expression: what a custom metric is a function of."""

    metric: str
    expressions: tuple[tuple[str, str], ...]  # name and SQL


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A prediction stream joined with a label stream.

    ``horizon`` is in seconds: a label whose event time is later than its prediction's by more is expired. Which of
    the further fields have a meaning depends on ``kind``; ``config.make_task`` checks it.
    """

    name: str
    prediction: Source
    label: Source
    kind: str = "binary"
    threshold: float | None = 0.5
    slices: tuple[Dimension, ...] = ()
    horizon: int = 30 * DAY
    version: str = ""  # the prediction stream's column that says which model version made the prediction
    probabilities: str = ""  # multiclass: the prediction stream's column of class probabilities
    classes: tuple[str, ...] = ()  # multiclass: the classes of these, where they come as lists
    query: str = ""  # ranking: the prediction stream's column that says to which query an item belongs
    cutoffs: tuple[int, ...] = ()  # ranking: the ranks k down to which a list is judged
    outcome: Source | None = None  # decision: what came of it
    values: tuple[tuple[str, str, float], ...] = ()  # predicted, actual, and what such a record is worth
    sums: tuple[Sums, ...] = ()
    positive: str | None = None  # binary: the label that is positive, as text; any other is negative

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that the task joins, the predictions first."""
        sources = (self.prediction, self.label, *([self.outcome] if self.outcome else []))
        return tuple(source.stream for source in sources)

    @property
    def by_version(self) -> Dimension | None:
        """The dimension of the model versions."""
        return Dimension((Part(self.version),)) if self.version else None

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All that its counts are split by, the model version among them."""
        return tuple(dict.fromkeys((*self.slices, *([self.by_version] if self.by_version else []))))

    def to_json(self) -> str:
        """The definition as canonical JSON: equal definitions have equal text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Task:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return Task(
            **{
                **fields,
                "prediction": Source(**fields["prediction"]),
                "label": Source(**fields["label"]),
                "outcome": Source(**fields["outcome"]) if fields["outcome"] else None,
                "slices": tuple(Dimension(tuple(Part(**part) for part in d["parts"])) for d in fields["slices"]),
                "classes": tuple(fields["classes"]),
                "cutoffs": tuple(fields["cutoffs"]),
                "values": tuple(map(tuple, fields["values"])),
                "sums": tuple(Sums(s["metric"], tuple(map(tuple, s["expressions"]))) for s in fields["sums"]),
            }
        )


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
