"""Custom metrics: sums of SQL expressions over joined records, or any function of labels and predictions.

The first kind is additive: it is counted once and read for any window. The second is not: each question computes it
from the log.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fourfold.config import is_text
from fourfold.counts import Counts
from fourfold.counts.binning import Floats
from fourfold.errors import ConfigError
from fourfold.metrics.declared import METRICS, TASKS, Additive, FromLog
from fourfold.metrics.intervals import student_point
from fourfold.metrics.tasks import OVERFLOW
from fourfold.model import Sums, Value

SAMPLE = 100_000  # the default for the most records that a function receives


@dataclasses.dataclass(frozen=True)
class Custom:
    """A registered metric: by ``sums`` and ``value``, or by ``function``."""

    name: str
    sums: Sums | None = None
    value: Callable[[Mapping[str, float]], float] | None = None
    function: Callable[[Any, Any], float] | None = None
    sample: int | None = None

    @functools.cached_property
    def metric(self) -> Additive | FromLog:
        """It as one of ours."""
        if self.function is not None:
            return FromLog(self.name, self.function, self.sample)

        def of(counts: Counts) -> Value:
            return read(counts, self)

        return Additive(self.name, of, ("custom",), target="task", tasks=TASKS, series=self.name)


REGISTERED: dict[str, Custom] = {}


def register(
    name: str,
    *,
    sums: Mapping[str, str] | None = None,
    value: Callable[[Mapping[str, float]], float] | None = None,
    function: Callable[[Any, Any], float] | None = None,
    sample: int | None = SAMPLE,
) -> None:
    """Define a metric of tasks, in this process.

    Either ``sums`` and ``value``: each sum is a SQL expression (DuckDB's dialect) over the joined record, whose fields
    are ``score`` (the prediction), ``actual`` (the label), ``delay`` (seconds), and any column of the two streams as
    ``prediction.COLUMN`` and ``label.COLUMN``; ``value`` computes the metric from the sums, in which ``records`` is
    the number of labelled records. It adds up like all others: counted once, read for any window and slice.

    Or ``function``: any function of (y_true, y_pred), two arrays. It is not additive: each question reads the labelled
    records of each window, or ``sample`` of them drawn evenly (None: all), from the log.

    >>> register("cost", sums={"euros": "CASE WHEN actual = 1 THEN prediction.amount ELSE 0 END"},
    ...          value=lambda sums: sums["euros"] / sums["records"])

    Raises:
        ConfigError: a name that fourfold uses itself, or neither of the two is complete.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"metric {name!r}: give a name of letters, digits and _")
    if name in METRICS:
        raise ConfigError(f"metric {name!r}: fourfold uses this name itself; choose another")
    if (function is None) == (sums is None) or (sums is None) != (value is None):
        raise ConfigError(f"metric {name!r}: give sums= and value=, or function=")
    if sums is not None and (not sums or len(sums) > 8 or "records" in sums):
        raise ConfigError(f"metric {name!r}: sums={list(sums)!r}: give one to eight, none of them named 'records'")
    if sums is not None and not all(is_text(text) for entry in sums.items() for text in entry):
        raise ConfigError(
            f"metric {name!r}: sums={dict(sums)!r}: names and expressions are texts, without lone surrogates"
        )
    defined = Sums(name, tuple((str(k), str(sql)) for k, sql in sums.items())) if sums is not None else None
    REGISTERED[name] = Custom(name, defined, value, function, sample)


def read(counts: Counts, custom: Custom) -> Value:
    """The metric of summed counts, with an interval by the delta method from the sums of the products."""
    assert custom.sums is not None and custom.value is not None
    n, undefined = counts.tally("records"), counts.tally("undefined")
    if n <= 0:
        why = f"; in {undefined} an expression is null" if undefined else ""
        return Value.no_data(f"no labelled record to add up{why}")
    names = [name for name, _ in custom.sums.expressions]
    sums = np.array(counts.sums[: len(names)])
    if not np.isfinite(sums).all():
        return Value.no_data(OVERFLOW, n)
    try:
        centre = _value(custom, names, sums, n)
        why = f": it gave {centre}" if not math.isfinite(centre) else ""
    except Exception as error:  # a user's function may raise anything; the other windows are answered
        centre, why = math.nan, "" if isinstance(error, ZeroDivisionError) else f": {type(error).__name__}: {error}"
    if not math.isfinite(centre):
        seen = dict(zip(names, sums.tolist(), strict=True))
        return Value.no_data(f"the metric is not defined for sums of {seen}{why}", n)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = _half_width(custom, counts, names, sums, n)
    return Value(centre, centre - half, centre + half, n) if math.isfinite(half) else Value(centre, n=n)


def _half_width(custom: Custom, counts: Counts, names: list[str], sums: Floats, n: int) -> float:
    """Half of the interval's width; not finite without an interval."""
    means = sums / n
    products = np.zeros((len(names), len(names)))
    pairs = itertools.combinations_with_replacement(range(len(names)), 2)
    for (i, j), total in zip(pairs, counts.sums[len(names) :], strict=True):
        products[i, j] = products[j, i] = total / n
    covariance = (products - np.outer(means, means)) / max(n - 1, 1)
    gradient = np.zeros(len(names))
    for i in range(len(names)):
        step = max(abs(means[i]), math.sqrt(max(products[i, i], 0.0)), 1e-12) * 1e-5
        sides = []
        for sign in (1, -1):
            moved = means.copy()
            moved[i] += sign * step
            try:
                sides.append(_value(custom, names, moved * n, n))
            except Exception:  # defined for these sums, but not for some near them
                return math.inf
        gradient[i] = (sides[0] - sides[1]) / (2 * step)
    variance = float(gradient @ covariance @ gradient)
    return student_point(n - 1) * math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else math.inf


def _value(custom: Custom, names: list[str], sums: Floats, n: int) -> float:
    assert custom.value is not None
    return float(custom.value({**dict(zip(names, sums.tolist(), strict=True)), "records": n}))
