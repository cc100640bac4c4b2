"""What is read for an objective: its window's value, and good and bad events by hour or day, of each slice."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

from fourfold.metrics.intervals import Z
from fourfold.model import Objective, Value, Window
from fourfold.model.objective import SLICES_GOAL
from fourfold.watch.objectives.budget import Bucket, Tally, summed
from fourfold.watch.objectives.burn import CHANCE
from fourfold.watch.objectives.judge import is_mature

_COVERED = 0.005  # a coverage is only known once the labels are in
RATES = {  # the metrics that are a share of n events, by kind of task, or for any task, a stream or a column
    "binary": ("accuracy", "precision", "recall", "specificity", "base_rate"),
    "multiclass": ("accuracy", "top_k_accuracy"), "multilabel": ("accuracy",),
    "decision": ("agreement", "override_rate"), "regression": (), "ranking": (), "task": ("coverage", "match_rate"),
    "stream": ("null_key_rate",), "column": ("null_rate", "nan_rate", "infinite_rate", "negative_rate", "zero_rate"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Sliced:
    """One slice: the metric's value over the window, and the events before its end, with those before its start."""

    slice: Mapping[str, str | None]
    value: Value
    buckets: Sequence[Bucket] = ()
    mature: bool = True
    estimate: Value | None = None


@dataclasses.dataclass(frozen=True)
class Reading:
    """All that is known of an objective.

    ``end`` is where its data end, within the window; ``unit`` is the length of its buckets; ``events`` is whether they
    count records or runs, and not time slices; ``goal`` is the share of them that must be good. Without data,
    ``reason`` says why. ``alert_unit`` is that of the buckets that alerts look at, if another one: where labels take
    longer than the window, these are days before it.
    """

    objective: Objective
    window: Window
    end: int
    unit: int
    goal: float
    events: bool
    slices: Sequence[Sliced]
    reason: str = ""
    alert_unit: int = 0

    @property
    def allowed(self) -> float:
        """The share of the events that may be bad."""
        return max(round(1 - self.goal, 12), 0.0)

    @property
    def elapsed(self) -> float:
        """The share of the window that is over."""
        return min((self.end - self.window.start) / (self.window.end - self.window.start), 1.0)

    def tally(self, of: Sliced) -> Tally:
        """The events of a slice in the window."""
        return summed(bucket for bucket in of.buckets if bucket.start >= self.window.start)

    @functools.cached_property
    def settled_until(self) -> int:
        """The end of the newest bucket with (nearly) all labels, in any slice."""
        ends = (b.end for one in self.slices for b in one.buckets if b.mature and b.tally.total)
        return max(ends, default=self.window.start)


def is_rate(metric: str, target: str, kind: str | None) -> bool:
    """Whether a metric's value is a share of its n events, for a kind of target and of task."""
    return metric in RATES.get(kind or target, ()) or metric in RATES[target]


def is_known(objective: Objective, value: Value) -> bool:
    """Whether (nearly) all labels that a value needs are in."""
    return is_mature(value, _COVERED) if objective.name_of_metric == "coverage" else is_mature(value)


def of_value(objective: Objective, value: Value, *, events: bool, slices: int = 1) -> tuple[Tally, bool]:
    """The good and bad events of one bucket, and whether (nearly) all its labels are in.

    A bad time slice is doubtful if chance explains it: if the bound lies within so many standard errors that only one
    in ``1 / CHANCE`` buckets of so many slices is beyond them (by Chernoff's bound for the normal distribution).
    """
    mature = is_known(objective, value)
    if value.value is None:
        return Tally(), mature
    if not events:
        if objective.is_met_by(value.value):
            return Tally(good=1.0), mature
        better = value.high if objective.at_least else value.low
        if better is not None:
            better = value.value + (better - value.value) * math.sqrt(2 * math.log(slices / CHANCE)) / Z
        doubtful = not mature or (better is not None and objective.is_met_by(better))
        return Tally(bad=1.0, doubtful=float(doubtful)), mature
    hits = float(round(value.value * value.n))
    good = hits if objective.at_least else value.n - hits
    return Tally(good, value.n - good), mature


def share_goal(objective: Objective, *, events: bool) -> float:
    """The share of the events, or time slices, that must be good."""
    if not events:
        return SLICES_GOAL if objective.goal is None else objective.goal
    return min(max(objective.bound if objective.at_least else 1 - objective.bound, 0.0), 1.0)
