"""Custom metrics: sums of SQL expressions over the joined records, and of their products, for the interval."""

from __future__ import annotations

import itertools

import numpy as np

from fourfold.fold.tasks.joined import Joined, Mask, Measured, at
from fourfold.model import Sums


def column_of(metric: int, expression: int) -> str:
    """The joined records' column that holds an expression of the task's nth custom metric."""
    return f"custom_{metric}_{expression}"


def measure(records: Joined, number: int, sums: Sums, labelled: Mask) -> Measured:
    """What is counted of each labelled record; a record with a null expression only adds to a count."""
    names = [column_of(number, i) for i in range(len(sums.expressions))]
    values = [records.numbers(name) for name in names]
    defined = labelled & np.logical_and.reduce([np.isfinite(v) for v in values])
    values = [at(v, defined) for v in values]
    products = itertools.combinations_with_replacement(range(len(values)), 2)
    every = {name: v for (name, _), v in zip(sums.expressions, values, strict=True)}
    with np.errstate(over="ignore"):
        every |= {f"{i} × {j}": values[i] * values[j] for i, j in products}
    sizes = [np.abs(v) for v in values]
    magnitudes = [*sizes[:4], *([np.maximum.reduce(sizes[4:])] if sizes[4:] else [])]
    nothing = np.zeros(0, np.int64)
    tallies = {"records": defined, "undefined": labelled & ~defined}
    return Measured("custom", tallies, every, nothing, nothing, column=sums.metric, magnitudes=magnitudes)
