"""Faults of runs: failed, slow, missing, with other code."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from bench.faults.fault import DAYS, HOURS, Fault, Injection, Roles, RunPlan, Size, Truth, downstream
from fourfold.model.incident import Group, Where


@dataclasses.dataclass
class FailedRuns(Injection):
    """Runs of a component fail for some days; or one does, and is repeated."""

    component: str
    days: float
    retried: bool

    def run(self, component: str, start: float) -> RunPlan:
        """The runs of these days fail."""
        if component == self.component and 0 <= start - self.truth.onset < self.days * DAYS:
            return RunPlan(error="the model's file could not be read", retried=self.retried)
        return RunPlan()


def _failed(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    due = _next_jobs(onset)
    return FailedRuns(
        Truth(due, due, (Where(component=roles.inference),), downstream(roles)),
        random,
        component=roles.inference,
        days={Size.LARGE: 3, Size.SMALL: 1}[size],
        retried=size is Size.SMALL,
    )


@dataclasses.dataclass
class SlowRuns(Injection):
    """Training takes longer, or never ends."""

    hangs: bool

    def run(self, component: str, start: float) -> RunPlan:
        """From the first training after the onset on."""
        if component == "train" and start >= self.truth.onset:
            return RunPlan(hangs=True) if self.hangs else RunPlan(takes=2.0)
        return RunPlan()


def _slow(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    first = _next_jobs(onset, weekly=True)
    normal = 2 * HOURS  # it would have ended by then in any case
    return SlowRuns(
        Truth(first, first + normal, (Where(component="train"),), (Where(component=roles.inference),)),
        random,
        hangs=size is Size.LARGE,
    )


@dataclasses.dataclass
class OtherCode(Injection):
    """The online code of the component that makes features is not the offline code."""

    def is_patched(self, day: float) -> bool:
        """From the onset on."""
        return day >= self.truth.onset

    large: bool
    column: str

    def served(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The large patch also computes a feature otherwise."""
        if self.large:
            frame = frame.copy()
            frame.loc[self.after(times), self.column] *= 1.3
        return frame


def _other_code(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    day = onset // DAYS * DAYS
    effects = (Where(column=roles.unit), *downstream(roles))
    return OtherCode(
        Truth(day, day, (Where(component="featurize"),), effects), random, large=size is Size.LARGE, column=roles.unit
    )


@dataclasses.dataclass
class MissingRuns(Injection):
    """A component does not run."""

    component: str
    days: float

    def run(self, component: str, start: float) -> RunPlan:
        """Not on these days."""
        missing = component == self.component and 0 <= start - self.truth.onset < self.days * DAYS
        return RunPlan(skipped=missing)


def _missing(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    due = _next_jobs(onset)
    places = (Where(component=roles.upstream), Where(stream=roles.upstream))
    return MissingRuns(
        Truth(due, due, places, (*downstream(roles), Where(stream=roles.labels))),
        random,
        component=roles.upstream,
        days={Size.LARGE: 1e6, Size.SMALL: 1}[size],
    )


@dataclasses.dataclass
class ClusterDown(Injection):
    """Nothing runs and nothing comes in for a while."""

    until: float

    def source(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """No records from the outage."""
        return frame[~((times >= self.truth.onset) & (times < self.until))]

    def run(self, component: str, start: float) -> RunPlan:
        """No run is started."""
        return RunPlan(skipped=self.truth.onset <= start < self.until)


def _down(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    begins = onset // DAYS * DAYS + 10 * HOURS
    truth = Truth(begins, begins, (Where(),))  # it touches all
    return ClusterDown(truth, random, until=begins + {Size.LARGE: 3 * DAYS, Size.SMALL: 8 * HOURS}[size])


def _next_jobs(onset: float, *, weekly: bool = False) -> float:
    """The next midnight, after which the day's jobs run; of a Monday if weekly."""
    midnight = np.ceil(onset / DAYS) * DAYS
    days = int(midnight // DAYS)
    return float(midnight + ((4 - days) % 7 if weekly else 0) * DAYS)  # 1970 began on a Thursday; day 4 was a Monday


FAULTS = (
    Fault(
        1, "inference job fails", Group.STATELESS_SINGLE,
        {Size.LARGE: "each run on 3 days", Size.SMALL: "one run, repeated an hour later"}, _failed,
    ),
    Fault(
        2, "retraining takes too long", Group.STATELESS_SINGLE,
        {Size.LARGE: "never ends", Size.SMALL: "twice as long"}, _slow, ("synthetic",),
    ),
    Fault(
        4, "online and offline code differ", Group.STATELESS_CROSS,
        {Size.LARGE: "other code; one feature × 1.3", Size.SMALL: "other code, same features"}, _other_code,
        ("synthetic",),
    ),
    Fault(
        5, "a component never runs", Group.STATELESS_CROSS,
        {Size.LARGE: "from one day on", Size.SMALL: "on one day"}, _missing,
    ),
    Fault(
        6, "the cluster is down", Group.STATELESS_CROSS,
        {Size.LARGE: "3 days", Size.SMALL: "8 hours"}, _down,
    ),
)  # fmt: skip
