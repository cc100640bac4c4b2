"""Faults of distributions: of inputs, outputs, units, embeddings, subgroups and workers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from bench.faults.fault import DAYS, Fault, Injection, Roles, Size, Truth, downstream
from fourfold.model.incident import Group, Where

WORKER, LOST = "worker", "w3"
EMBEDDING = "embedding"
GROWTH = 28  # days until a slow drift is complete


@dataclasses.dataclass
class InputDrift(Injection):
    """A column's values shift, at once or little by little."""

    column: str
    shift: float
    grows: bool

    def source(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """All values shift."""
        frame = frame.copy()
        passed = np.clip((times - self.truth.onset) / (GROWTH * DAYS), 0, 1) if self.grows else 1.0
        shifted = frame[self.column] + self.shift * self.after(times) * passed
        whole = pd.api.types.is_integer_dtype(frame[self.column])  # it stays so
        frame[self.column] = shifted.round().astype(frame[self.column].dtype) if whole else shifted
        return frame


def _input_drift(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    visible = onset + (GROWTH / 4 * DAYS if size is Size.SLOW else 0)  # a quarter of a deviation, as the small one
    return InputDrift(
        Truth(onset, visible, (Where(column=roles.drifting),), downstream(roles)),
        random,
        column=roles.drifting,
        grows=size is Size.SLOW,
        shift=roles.deviation * {Size.LARGE: 1.0, Size.SMALL: 0.25, Size.SLOW: 1.0}[size],
    )


@dataclasses.dataclass
class OutputDrift(Injection):
    """Scores shift in log-odds, of all records or of one group."""

    shift: float
    column: str = ""
    group: str = ""

    def scores(
        self, scores: np.ndarray[Any, Any], frame: pd.DataFrame, times: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Shifted scores are still between 0 and 1."""
        touched = self.after(times)
        if self.column:
            touched &= (frame[self.column] == self.group).to_numpy()
        odds = scores / (1 - scores) * np.exp(self.shift)
        return np.where(touched, odds / (1 + odds), scores)


def _output_drift(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    places = (Where(stream=roles.predictions), Where(task=roles.task))
    return OutputDrift(
        Truth(onset, onset, places, (Where(component=roles.inference),)),
        random,
        shift={Size.LARGE: 1.0, Size.SMALL: 0.25}[size],
    )


def _slice_outputs(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return OutputDrift(
        Truth(
            onset, onset, (Where(stream=roles.predictions), Where(task=roles.task)), (Where(component=roles.inference),)
        ),
        random,
        column=roles.slice,
        group=roles.group,
        shift={Size.LARGE: -1.5, Size.SMALL: -0.5}[size],
    )


@dataclasses.dataclass
class WrongUnit(Injection):
    """A feature is served in another unit than it was trained with, for all records or for one group."""

    roles: Roles
    everywhere: bool

    def served(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """The served values are converted."""
        frame, roles = frame.copy(), self.roles
        touched = self.after(times)
        if not self.everywhere:
            touched &= (frame[roles.slice] == roles.group).to_numpy()
        values = frame[roles.unit].to_numpy(np.float64)
        frame[roles.unit] = np.where(touched, roles.convert(values), values)
        return frame


def _wrong_unit(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return WrongUnit(
        Truth(onset, onset, (Where(column=roles.unit),), downstream(roles)),
        random,
        roles=roles,
        everywhere=size is Size.LARGE,
    )


@dataclasses.dataclass
class LostRecords(Injection):
    """A share of one group's records does not come in."""

    column: str
    group: str
    share: float

    def source(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """They are missing everywhere after."""
        lost = self.some(times, self.share) & (frame[self.column] == self.group).to_numpy()
        return frame[~lost]


def _subgroup(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return LostRecords(
        Truth(onset, onset, (Where(column=roles.slice), *_sliced(roles)), downstream(roles)),
        random,
        column=roles.slice,
        group=roles.group,
        share={Size.LARGE: 0.80, Size.SMALL: 0.30}[size],
    )


def _worker(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    places = (Where(column=WORKER), Where(slice=f'{{"{WORKER}": "{LOST}"}}'), Where(component="ingest"))
    truth = Truth(onset, onset, places, (Where(),))  # all that counts records has fewer
    return LostRecords(truth, random, WORKER, LOST, share={Size.LARGE: 1.0, Size.SMALL: 0.33}[size])


def _sliced(roles: Roles) -> tuple[Where, ...]:
    return (Where(slice=f'{{"{roles.slice}": "{roles.group}"}}'),)


@dataclasses.dataclass
class OtherEmbedding(Injection):
    """Vectors come from another model: turned in their space, in whole or a little."""

    angle: float  # radians, in each of the planes of two neighbouring axes

    def source(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """Lengths stay as they are."""
        frame = frame.copy()
        vectors = np.stack(frame[EMBEDDING].to_list()) if len(frame) else np.zeros((0, 2))
        even, odd = vectors[:, 0::2], vectors[:, 1::2]
        turned = np.empty_like(vectors)
        turned[:, 0::2] = np.cos(self.angle) * even - np.sin(self.angle) * odd
        turned[:, 1::2] = np.sin(self.angle) * even + np.cos(self.angle) * odd
        chosen = np.where(self.after(times)[:, None], turned, vectors)
        frame[EMBEDDING] = pd.Series(list(chosen), index=frame.index, dtype=object)
        return frame


def _embedding(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return OtherEmbedding(
        Truth(onset, onset, (Where(column=EMBEDDING),), downstream(roles)),
        random,
        angle={Size.LARGE: np.pi / 2, Size.SMALL: np.pi / 12}[size],
    )


FAULTS = (
    Fault(
        7, "input drift", Group.STATEFUL_SINGLE,
        {
            Size.LARGE: "1 standard deviation of a column", Size.SMALL: "0.25 standard deviations",
            Size.SLOW: f"1 standard deviation over {GROWTH} days",
        },
        _input_drift,
    ),
    Fault(
        8, "output drift", Group.STATEFUL_SINGLE,
        {Size.LARGE: "scores + 1 in log-odds", Size.SMALL: "+ 0.25"}, _output_drift,
    ),
    Fault(
        10, "outputs differ for one slice", Group.STATEFUL_SINGLE,
        {Size.LARGE: "scores of one group − 1.5 in log-odds", Size.SMALL: "− 0.5"}, _slice_outputs,
    ),
    Fault(
        11, "train/serve skew (units)", Group.STATEFUL_CROSS,
        {Size.LARGE: "one feature of all records", Size.SMALL: "of one group"}, _wrong_unit,
    ),
    Fault(
        14, "subgroup representation changes", Group.STATEFUL_SINGLE,
        {Size.LARGE: "a group loses 80 % of its records", Size.SMALL: "30 %"}, _subgroup,
    ),
    Fault(
        16, "an upstream embedding model changes", Group.STATEFUL_CROSS,
        {Size.LARGE: "vectors turned by 90°", Size.SMALL: "by 15°"}, _embedding, ("synthetic",),
    ),
    Fault(
        17, "a worker node is lost", Group.STATELESS_CROSS,
        {Size.LARGE: "all records of one in 8 workers", Size.SMALL: "a third of them"}, _worker, ("synthetic",),
    ),
)  # fmt: skip
