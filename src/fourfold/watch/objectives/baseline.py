"""The best constant predictor: what the same metric would be if every prediction were the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from fourfold.model import slice_key
from fourfold.query.reader import Reader
from fourfold.watch.objectives.reading import Reading


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """A constant predictor's value of a metric; without one, ``words`` says why there is none."""

    value: float | None
    words: str = ""

    @staticmethod
    def of(constants: Mapping[str, Baseline], place: Mapping[str, str | None]) -> Baseline:
        """That of a slice."""
        return constants.get(slice_key(place), Baseline(None))


def baselines(reader: Reader, reading: Reading) -> dict[str, Baseline]:
    """The best constant predictor in the window of an objective, by slice."""
    return {}
