"""A year of a store, simulated fold by fold from measured costs: what it needs, and what gives out first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from bench.scale.costs import Costs
from fourfold.model import DAY, HOUR, KEEP_HOURS

FILE_BYTES = 100 << 20  # to which compaction brings the log's files
PEAK = 1.6  # the busiest hour, over the mean
FINDING, JOINING = "finding the predictions of labels", "joining and counting labels"
JOINS = (FINDING, JOINING)
LIMITS = {"counting": 1.0, "disk": 2e12, "state": 1e11, "question": 2.0}  # cores, bytes, bytes, seconds


@dataclasses.dataclass(frozen=True)
class Load:
    """What is logged: so many predictions a day of so many columns, each with a label some days later.

    ``dimensions`` of ``slices`` values each split the task; the log keeps ``retention`` days.
    """

    predictions: float
    columns: int
    delay: int = 30
    retention: int = 60
    dimensions: int = 1
    slices: int = 16


@dataclasses.dataclass(frozen=True)
class Setup:
    """What counts: ``cores`` that fold side by side, each at ``efficiency`` of what was measured; joins at ``joins`` of
    it.

    ``is_bounded`` is whether the log is on one machine's disk; ``every`` is how many seconds lie between folds.
    """

    name: str
    cores: float = 1.0
    efficiency: float = 1.0
    joins: float = 1.0
    is_bounded: bool = True
    every: int = HOUR


@dataclasses.dataclass(frozen=True)
class Fold:
    """One fold: when it began (in seconds), what it took, and the seconds of CPU time that each part of it needed."""

    at: float
    records: float
    took: float
    parts: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Year:
    """What the last 30 days of a year needed, a day; and the size of things at its end."""

    cores: float  # CPU seconds a second, over what the setup has: above one it falls behind
    parts: dict[str, float]  # CPU seconds a day
    lag: float  # seconds from a record to its counts, at most
    log: float
    files: float
    state: float
    question: float

    def gives_out(self, setup: Setup) -> str:
        """What is beyond its limit, the part of the counting that takes most of it with it; empty: nothing."""
        heaviest = max(self.parts, key=lambda part: self.parts[part])
        beyond = {
            f"counting ({heaviest})": self.cores > LIMITS["counting"],
            "disk": setup.is_bounded and self.log > LIMITS["disk"],
            "state": self.state > LIMITS["state"],
            "question": self.question > LIMITS["question"],
        }
        return ", ".join(name for name, is_beyond in beyond.items() if is_beyond)


def year(load: Load, setup: Setup, costs: Costs, days: int = 365) -> Year:
    """Simulate a year; a store that falls behind without end is cut off when it is 30 days behind."""
    folds = list(_folds(load, setup, costs, days * DAY))
    last = [fold for fold in folds if fold.at > folds[-1].at - 30 * DAY] or folds[-1:]
    span = max(last[-1].at + last[-1].took - last[0].at, setup.every)
    parts = {name: sum(fold.parts[name] for fold in last) * DAY / span for name in last[0].parts}
    busy = sum(fold.took for fold in last) / sum(max(fold.took, setup.every) for fold in last)
    lag = max(max(fold.took, setup.every) + fold.took for fold in last)
    kept = min(load.retention, days)
    log = load.predictions * kept * (costs.log.at(load.columns) + costs.log.at(0))
    behind = folds[-1].took > 2 * DAY
    return Year(
        math.inf if behind else busy,
        parts,
        math.inf if behind else lag,
        log,
        _files(load, kept, costs),
        _state(load, costs, days),
        costs.question.at(days),
    )


def _folds(load: Load, setup: Setup, costs: Costs, end: float) -> Iterator[Fold]:
    """Folds, one after the other: each counts what has come since the one before began."""
    since, at = 0.0, float(setup.every)
    while at < end:
        parts = _work(load, costs, since, at)
        needed = {part: cpu / (setup.joins if part in JOINS else setup.efficiency) for part, cpu in parts.items()}
        took = sum(needed.values()) / setup.cores
        yield Fold(at, _arrived(load, since, at), took, needed)
        if took > 30 * DAY:
            return
        since, at = at, at + max(took, setup.every)


def _work(load: Load, costs: Costs, since: float, until: float) -> dict[str, float]:
    """The CPU seconds of a fold of what came in [since, until)."""
    records = _arrived(load, since, until)
    labels = _arrived(load, since - load.delay * DAY, until - load.delay * DAY)
    day = until / DAY
    kept = min(load.retention, day)
    before = load.predictions * kept
    files = _files(load, kept, costs)
    probing = files * costs.probe.fixed + costs.probe.slope * files * labels
    scanning = before * costs.scan
    counts = load.columns * (1 + load.dimensions * load.slices) * (1 + math.ceil((until - since) / HOUR))
    return {
        "appending to the log": records * costs.collect.at(load.columns) + labels * costs.collect.at(1),
        "counting columns": records * (costs.fold.at(load.columns) + load.dimensions * costs.sliced.at(load.columns))
        + labels * costs.fold.at(1),
        FINDING: min(probing, scanning) if labels else 0.0,
        JOINING: labels * costs.label,
        "reading the list of files": costs.metadata.at(files),
        "adding to the state": counts * costs.write,
    }


def _arrived(load: Load, since: float, until: float) -> float:
    """The records of a stretch of time; a day has a peak, of a cosine's form."""

    def up_to(at: float) -> float:
        at = max(at, 0.0)
        return at / DAY - (PEAK - 1) / (2 * math.pi) * math.sin(2 * math.pi * at / DAY)

    return load.predictions * (up_to(until) - up_to(since))


def _files(load: Load, days: float, costs: Costs) -> float:
    return max(load.predictions * days * costs.log.at(load.columns) / FILE_BYTES, 1.0)


def _state(load: Load, costs: Costs, days: int) -> float:
    """The bytes of the counts: hours are kept for 60 days; columns in slices have fewer records."""
    hours = min(days * DAY, KEEP_HOURS) / HOUR
    daily, hourly = load.predictions, load.predictions / 24
    slices = load.dimensions * load.slices
    of_all = hours * costs.state(hourly) + days * costs.state(daily)
    of_slices = hours * costs.state(hourly / load.slices) + days * costs.state(daily / load.slices)
    return load.columns * (of_all + slices * of_slices)
