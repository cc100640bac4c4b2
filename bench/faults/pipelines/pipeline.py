"""What a replay asks of a pipeline, and what both share: jobs at simulated times, and models that faults change."""

from __future__ import annotations

import contextvars
import pickle
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pandas as pd

import fourfold as ff
from bench.faults.fault import Injection, Roles, RunPlan
from bench.faults.simulated import SimulatedClock

Work = Callable[[Any], None]


class Pipeline(Protocol):
    """A pipeline that can be replayed day by day, and pickled between two days.

    ``days`` are numbered from 0, faults begin at ``split`` or later. ``start`` is the first midnight, and ``since`` is
    when the data begin, both in seconds since 1970.
    """

    name: str
    start: float
    since: float
    days: int
    split: int

    @property
    def roles(self) -> Roles:
        """The roles of its columns."""

    def begin(self, clock: SimulatedClock) -> None:
        """Declare the tasks, and do what is done once."""

    def replay(self, number: int, injection: Injection | None, clock: SimulatedClock) -> None:
        """One day."""

    def seen(self, now: float) -> pd.DataFrame:
        """The predicted records of the last weeks, for peers.

        ``time`` is in seconds since 1970; beside the features are ``score``, and ``label`` if it is known by now.
        """


class Failure(Exception):  # noqa: N818 - it is the fault that is simulated
    """The error of a run that a fault lets fail."""


class Changed:
    """A model whose scores a fault changes, or that fails. To fourfold it is the same model, with the same bytes."""

    def __init__(self, model: Any, change: Callable[[Any], Any]) -> None:
        self.model, self.change = model, change

    def predict(self, features: Any) -> Any:
        """The classes."""
        return self.model.predict(features)

    def predict_proba(self, features: Any) -> Any:
        """The changed probabilities of both classes."""
        scores = self.change(self.model.predict_proba(features)[:, 1])
        return np.column_stack([1 - scores, scores])

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.model,)


def frozen(model: Any) -> bytes:
    """A model as bytes, as a file would keep it: by itself, so that its copies have equal bytes."""
    return pickle.dumps(model)


def _itself(model: Any) -> Any:
    return model


def job(component: str, at: float, plan: RunPlan, lasts: float, clock: SimulatedClock, work: Work) -> bool:
    """Run a component as planned; whether it succeeded. ``lasts`` is its usual duration in seconds."""
    if plan.skipped:
        return False
    if plan.hangs:  # in a context of its own, or later runs would be its children
        contextvars.copy_context().run(ff.run(component, at=at).__enter__)
        return False
    try:
        with ff.run(component, at=at) as run:
            clock.now += lasts * plan.takes
            if plan.error:
                raise Failure(plan.error)
            work(run)
    except Failure:
        if not plan.retried:
            return False
        clock.now += 3_600
        return job(component, at, RunPlan(), lasts, clock, work)
    return True
