"""Faults of values: negative, missing, joined on null keys."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from bench.faults.fault import Fault, Injection, Roles, Size, Truth, downstream
from fourfold.model.incident import Group, Where


@dataclasses.dataclass
class Negative(Injection):
    """Some values of a column change their sign."""

    column: str
    share: float

    def source(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """Some become negative; a zero becomes minus one."""
        frame = frame.copy()
        wrong = self.some(times, self.share)
        values = frame[self.column].to_numpy(np.float64)
        frame[self.column] = np.where(wrong, -np.abs(np.where(values == 0, 1.0, values)), values)
        return frame


def _negative(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return Negative(
        Truth(onset, onset, (Where(column=roles.positive),), downstream(roles)),
        random,
        column=roles.positive,
        share={Size.LARGE: 0.10, Size.SMALL: 0.005}[size],
    )


@dataclasses.dataclass
class Missing(Injection):
    """Some values of columns become null."""

    columns: tuple[str, ...]
    share: float

    def _lost(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        frame = frame.copy()
        lost = self.some(times, self.share)
        for column in self.columns:
            frame[column] = frame[column].astype("float64").where(~lost, np.nan)
        return frame


@dataclasses.dataclass
class MissingSensor(Missing):
    """A sensor that fails."""

    def source(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """Its values are lost where they are measured."""
        return self._lost(frame, times)


@dataclasses.dataclass
class MissingKeys(Missing):
    """Keys are null, so that the join finds nothing."""

    def joined(self, frame: pd.DataFrame, times: np.ndarray[Any, Any]) -> pd.DataFrame:
        """All that the join brings is null at once."""
        return self._lost(frame, times)


def _sensor(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    return MissingSensor(
        Truth(onset, onset, (Where(column=roles.sensor),), downstream(roles)),
        random,
        columns=(roles.sensor,),
        share={Size.LARGE: 0.60, Size.SMALL: 0.05}[size],
    )


def _keys(size: Size, roles: Roles, onset: float, random: np.random.Generator) -> Injection:
    places = tuple(Where(column=column) for column in roles.joined)
    return MissingKeys(
        Truth(onset, onset, places, downstream(roles)),
        random,
        columns=roles.joined,
        share={Size.LARGE: 0.40, Size.SMALL: 0.05}[size],
    )


FAULTS = (
    Fault(
        3, "negative values", Group.STATELESS_SINGLE,
        {Size.LARGE: "10 % of the records", Size.SMALL: "0.5 %"}, _negative,
    ),
    Fault(
        13, "joins on null keys", Group.STATEFUL_CROSS,
        {Size.LARGE: "40 % of the records", Size.SMALL: "5 %"}, _keys,
    ),
    Fault(
        18, "a sensor becomes mainly null", Group.STATEFUL_SINGLE,
        {Size.LARGE: "60 % of the records", Size.SMALL: "5 %"}, _sensor,
    ),
)  # fmt: skip
