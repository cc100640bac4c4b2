"""A fault: what is injected into a replay, from when on, and what a monitor can see of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from fourfold.model.incident import Group, Where

HOURS, DAYS = 3_600.0, 86_400.0


class Size(StrEnum):
    """Large is obvious on a chart; small would be missed by eye, but matters; slow grows for weeks."""

    LARGE = "large"
    SMALL = "small"
    SLOW = "slow"


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is true of an injected fault. Times are seconds since 1970, in event time.

    ``onset`` is when it begins, ``visible`` when the data first show it (a wrong label: when it arrives). ``places``
    are what it breaks; ``effects`` are what changes with it downstream. A place names only what matters: one with a
    column alone is that column in any stream.
    """

    onset: float
    visible: float
    places: tuple[Where, ...]
    effects: tuple[Where, ...] = ()


@dataclasses.dataclass
class RunPlan:
    """How the run of a component goes on one day."""

    takes: float = 1.0  # times the usual
    skipped: bool = False
    error: str = ""  # fails with this
    hangs: bool = False  # never ends
    retried: bool = False  # a failed run is repeated, and succeeds


@dataclasses.dataclass
class Injection:
    """One fault in one replay. Each hook changes the records from the onset on and leaves earlier ones alone.

    A pipeline calls the hooks in this order. Frames have the pipeline's own columns; ``times`` are their event times in
    seconds since 1970.
    """

    truth: Truth
    random: np.random.Generator

    def after(self, times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which records lie at or after the onset."""
        return np.asarray(times >= self.truth.onset)

    def some(self, times: np.ndarray[Any, Any], share: float) -> np.ndarray[Any, Any]:
        """A share of the records after the onset, drawn at random."""
        return np.asarray(self.after(times) & (self.random.random(len(times)) < share))

    def source(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The records as they come in."""
        return frame

    def joined(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The records with what was joined to them."""
        return frame

    def served(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The features at serving; those for training stay right."""
        return frame

    def model(self, current: Any, others: Mapping[str, Any], day: float) -> Any:
        """The model that serves on a day. ``others`` are the wrong ones, by size."""
        return current

    def scores(
        self, scores: np.ndarray[Any, Any], frame: pd.DataFrame, times: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """The scores of the served records."""
        return scores

    def labels(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The labels of these records (``label``: 0 or 1), and when they are known (``reported``: seconds)."""
        return frame

    def decisions(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """What people did (``approved``: boolean)."""
        return frame

    def run(self, component: str, start: float) -> RunPlan:
        """How a component's run goes that is due at this moment."""
        return RunPlan()

    def is_patched(self, day: float) -> bool:
        """Whether the online code of a shared component differs on a day."""
        return False


@dataclasses.dataclass(frozen=True)
class Roles:
    """The parts that a pipeline's columns and components play in faults, and where they can be seen.

    ``accuracy`` is what the pipeline's model reaches without faults, for faults that lower it by so many points.
    """

    positive: str  # a column that is never negative
    drifting: str  # a numeric column that the model uses
    deviation: float  # its standard deviation
    unit: str  # a numeric column with a unit
    convert: Callable[[Any], Any]  # to the wrong unit
    sensor: str
    joined: tuple[str, ...]  # columns that a join by key brings
    slice: str  # a column of subgroups
    group: str  # one of its values
    split: str  # a numeric column that splits the records in half, for concept drift
    median: float
    accuracy: float
    inference: str  # the component that predicts
    upstream: str  # a component that must run each day
    labeller: str  # the component that logs labels
    task: str
    predictions: str  # the stream of predictions
    label_delay: float  # seconds until most labels are known
    labels: str  # the stream of labels


Make = Callable[[Size, Roles, float, np.random.Generator], Injection]


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of the list: how to inject it, in which sizes, into which pipelines.

    ``sizes`` says what is injected.
    """

    number: int
    name: str
    group: Group
    sizes: Mapping[Size, str]
    make: Make
    pipelines: tuple[str, ...] = ("synthetic", "flights")


def downstream(roles: Roles) -> tuple[Where, ...]:
    """What follows from wrong inputs: the scores, their task, the component that predicts."""
    return (Where(stream=roles.predictions), Where(task=roles.task), Where(component=roles.inference))
