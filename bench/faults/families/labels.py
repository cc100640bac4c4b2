"""Faults of models, labels and decisions: what is predicted is no longer right, known or followed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.faults.fault import DAYS, HOURS, Fault, Injection, Roles, Size, Truth
from fourfold.model.incident import Group, Where


@dataclasses.dataclass
class Flipped(Injection):
    """Some labels are the other one: anywhere, or where a feature is large."""

    share: float
    column: str = ""
    above: float = 0.0

    def labels(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The truth changes, not the scores."""
        frame = frame.copy()
        wrong = self.some(times, self.share)
        if self.column:
            wrong &= (frame[self.column] > self.above).to_numpy()
        frame["label"] = np.where(wrong, 1 - frame["label"].to_numpy(np.int64), frame["label"].to_numpy(np.int64))
        return frame


def _task_truth(roles: Roles, onset: float, *more: Where) -> Truth:
    places = (Where(task=roles.task), Where(stream=roles.labels))
    return Truth(onset, onset + roles.label_delay, (*places, *more), (Where(component=roles.labeller),))


def _concept(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return Flipped(
        _task_truth(roles, onset),
        random,
        column=roles.split,
        above=roles.median,
        share={Size.LARGE: 0.50, Size.SMALL: 0.15}[size],
    )


def _accuracy(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return Flipped(
        _task_truth(roles, onset), random, share={Size.LARGE: 0.10, Size.SMALL: 0.03}[size] / (2 * roles.accuracy - 1)
    )


@dataclasses.dataclass
class WrongModel(Injection):
    """Another model serves."""

    size: Size

    def model(self, current: Any, others: Mapping[str, Any], day: float) -> Any:
        """From the onset on."""
        return others[self.size] if day >= self.truth.onset else current


def _wrong_model(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    day = float(np.ceil(onset / DAYS) * DAYS)
    effects = (Where(stream=roles.predictions), Where(task=roles.task))
    return WrongModel(
        Truth(day, day, (Where(component=roles.inference), Where(component="train")), effects), random, size=size
    )


@dataclasses.dataclass
class LateLabels(Injection):
    """One group's labels are reported later."""

    column: str
    group: str
    delay: float

    def labels(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The labels stay right."""
        frame = frame.copy()
        late = self.after(times) & (frame[self.column] == self.group).to_numpy()
        frame["reported"] = frame["reported"].to_numpy(np.float64) + late * self.delay
        return frame


def _late(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    delay = {Size.LARGE: 6 * DAYS, Size.SMALL: 36 * HOURS}[size]
    return LateLabels(_task_truth(roles, onset), random, column=roles.slice, group=roles.group, delay=delay)


@dataclasses.dataclass
class Overridden(Injection):
    """People decide otherwise than the model more often."""

    share: float

    def decisions(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """Some decisions more are the opposite."""
        frame = frame.copy()
        frame["approved"] = frame["approved"].to_numpy(np.bool_) ^ self.some(times, self.share)
        return frame


def _overridden(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    places = (Where(task="review"), Where(stream="decisions"), Where(component="review"))
    return Overridden(Truth(onset, onset, places), random, share={Size.LARGE: 0.25, Size.SMALL: 0.05}[size])


FAULTS = (
    Fault(
        9, "concept drift", Group.STATEFUL_CROSS,
        {Size.LARGE: "half of the labels flip where a feature is above its median", Size.SMALL: "15 % of them"},
        _concept,
    ),
    Fault(
        12, "real-time accuracy falls", Group.STATEFUL_CROSS,
        {Size.LARGE: "by 10 points", Size.SMALL: "by 3 points"}, _accuracy,
    ),
    Fault(
        15, "the wrong model is promoted", Group.STATELESS_CROSS,
        {Size.LARGE: "one trained on a few noisy records", Size.SMALL: "an earlier one, nearly as good"}, _wrong_model,
    ),
    Fault(
        19, "people override predictions", Group.STATEFUL_CROSS,
        {Size.LARGE: "25 % of the decisions more", Size.SMALL: "5 %"}, _overridden, ("synthetic",),
    ),
    Fault(
        20, "labels arrive late for one group", Group.STATEFUL_CROSS,
        {Size.LARGE: "6 days later", Size.SMALL: "36 hours later"}, _late,
    ),
)  # fmt: skip
