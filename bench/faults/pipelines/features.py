"""The synthetic pipeline's shared component, whose source is its version; and one that someone has patched online."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

import fourfold as ff

Tables = Callable[[], Mapping[str, pd.DataFrame]]


@ff.component("featurize", at="day", time="time")
def featurize(clean: pd.DataFrame, warehouse: Tables, day: float) -> dict[str, pd.DataFrame]:
    """The features of these records."""
    return dict(warehouse())


@ff.component("featurize", at="day", time="time")
def featurize_patched(clean: pd.DataFrame, warehouse: Tables, day: float) -> dict[str, pd.DataFrame]:
    """The features of these records, as a hot fix computes them."""
    return {name: table.fillna(value={"device_age": 0.0}) for name, table in warehouse().items()}
