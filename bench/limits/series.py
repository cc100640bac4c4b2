"""Stores of daily series: without any change, as hard as real ones, and with one change in some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from fourfold.counts.binning import Floats, Ints

SERIES, DAYS = 200, 730
START = 1_577_836_800  # 2020-01-01
LEAST = 0.02  # on the scale of asin(sqrt(rate)): 10 % become 11.2 %, 50 % become 52 %
CHANGED = 50  # of the series, in a store with a change
AT = 200  # the day of the change, or up to a week later


@dataclasses.dataclass(frozen=True)
class Store:
    """Series by day: the values on the working scale, and their sampling variances; a row for each series."""

    values: Floats
    noise: Floats

    @property
    def deviation(self) -> Floats:
        """Each series' standard deviation about its weekly season, robustly."""
        week = self.values[:, 7:] - self.values[:, :-7]
        return np.asarray(1.4826 * np.median(np.abs(week), axis=1) / np.sqrt(2))


def rates(n: Floats, p: Floats, rng: np.random.Generator) -> Store:
    """Counts of n records, each with its own probability, as rates on the working scale."""
    n = np.broadcast_to(n, p.shape)
    found = rng.binomial(n.astype(np.int64), np.clip(p, 0, 1)) / n
    return Store(np.arcsin(np.sqrt(found)), 1 / (4 * n))


def _sizes(rng: np.random.Generator, days: int) -> tuple[Floats, Floats]:
    n = np.exp(rng.uniform(np.log(200), np.log(20_000), (SERIES, 1))).round()
    return n, np.broadcast_to(rng.uniform(0.02, 0.5, (SERIES, 1)), (SERIES, days))


def independent(rng: np.random.Generator, days: int) -> Store:
    """Binomial rates."""
    return rates(*_sizes(rng, days), rng)


def _moved(rng: np.random.Generator, days: int, by: Floats) -> Store:
    n, p = _sizes(rng, days)
    return rates(n, np.sin(np.clip(np.arcsin(np.sqrt(p)) + by, 0, np.pi / 2)) ** 2, rng)


def correlated(rng: np.random.Generator, days: int) -> Store:
    """Rates that move together: 80 % of their natural variance is one common factor."""
    common, own = rng.normal(size=(1, days)), rng.normal(size=(SERIES, days))
    return _moved(rng, days, 0.03 * (np.sqrt(0.8) * common + np.sqrt(0.2) * own))


def overdispersed(rng: np.random.Generator, days: int) -> Store:
    """Beta-binomial rates, rho = 0.005."""
    n, p = _sizes(rng, days)
    size = 1 / 0.005 - 1
    return rates(n, rng.beta(p * size, (1 - p) * size), rng)


def seasonal(rng: np.random.Generator, days: int) -> Store:
    """A weekly season of its own for each series, and overdispersion."""
    season = rng.normal(0, 0.08, (SERIES, 7))[:, np.arange(days) % 7]
    return _moved(rng, days, season + rng.normal(0, 0.02, (SERIES, days)))


def wandering(rng: np.random.Generator, days: int) -> Store:
    """Natural variation that is AR(1) from day to day, phi between 0.3 and 0.95."""
    phi = rng.uniform(0.3, 0.95, (SERIES, 1))
    x, fresh = np.zeros((SERIES, days)), rng.normal(0, 0.04, (SERIES, days)) * np.sqrt(1 - phi**2)
    for day in range(1, days):
        x[:, day] = phi[:, 0] * x[:, day - 1] + fresh[:, day]
    return _moved(rng, days, x)


def heavy_tailed(rng: np.random.Generator, days: int) -> Store:
    """Natural variation that is Student's t with 4 degrees of freedom."""
    return _moved(rng, days, 0.02 * rng.standard_t(4, (SERIES, days)))


def stable(rng: np.random.Generator, days: int) -> Store:
    """Rates of next to nothing (1 in 10,000 to 1 in 1,000) of many records."""
    n, _ = _sizes(rng, days)
    return rates(
        10 * n, np.broadcast_to(np.exp(rng.uniform(np.log(1e-4), np.log(1e-3), (SERIES, 1))), (SERIES, days)), rng
    )


def yearly(rng: np.random.Generator, days: int) -> Store:
    """A season of the year, of which the first is new, a weekly one, and AR(1) variation (phi = 0.5)."""
    phase, size = rng.uniform(0, 2 * np.pi, (SERIES, 1)), rng.uniform(0.02, 0.1, (SERIES, 1))
    year = size * np.sin(np.arange(days) * 2 * np.pi / 365.25 + phase)
    season = rng.normal(0, 0.03, (SERIES, 7))[:, np.arange(days) % 7]
    x, fresh = np.zeros((SERIES, days)), rng.normal(0, 0.02, (SERIES, days))
    for day in range(1, days):
        x[:, day] = 0.5 * x[:, day - 1] + fresh[:, day]
    return _moved(rng, days, year + season + x)


def growing(rng: np.random.Generator, days: int) -> Store:
    """A steady trend, up or down, of 0.1 to 0.4 a year, and a weekly season."""
    trend = np.sign(rng.uniform(-1, 1, (SERIES, 1))) * rng.uniform(0.1, 0.4, (SERIES, 1)) * np.arange(days) / 365.25
    season = rng.normal(0, 0.03, (SERIES, 7))[:, np.arange(days) % 7]
    n = np.full((SERIES, 1), 2_000.0)
    return Store(3 + trend + season + rng.normal(0, 0.03, (SERIES, days)), np.broadcast_to(1 / (4 * n), (SERIES, days)))


NULLS: dict[str, Callable[[np.random.Generator, int], Store]] = {
    make.__name__: make
    for make in (independent, correlated, overdispersed, seasonal, wandering, heavy_tailed, stable, yearly, growing)
}


@dataclasses.dataclass(frozen=True)
class Change:
    """What happens to a series, in its own standard deviations: a level reached at once or in ``ramp`` days."""

    name: str
    size: float
    ramp: int = 0
    lasts: int = 10_000

    def curve(self, days: int) -> Floats:
        """By how many deviations, by day since it began."""
        day = np.arange(days)
        return np.where(day < self.lasts, self.size * np.clip((day + 1) / (self.ramp + 1), 0, 1), 0.0)


CHANGES = (
    Change("no change", 0),
    Change("step of 3", 3), Change("step of 5", 5), Change("step of 8", 8), Change("step of 16", 16),
    Change("drift to 4 in 30 days", 4, 30), Change("drift to 8 in 60 days", 8, 60),
    Change("spike of 8", 8, 0, 1), Change("spike of 16", 16, 0, 1),
)  # fmt: skip


def with_change(store: Store, change: Change, rng: np.random.Generator) -> tuple[Store, Ints]:
    """The store with a change up in each of ``CHANGED`` series, and the day on which each began."""
    values, days = store.values.copy(), store.values.shape[1]
    began = AT + rng.integers(0, 7, CHANGED)
    for row, day in enumerate(began):
        values[row, day:] += change.curve(days - day) * store.deviation[row]
    return Store(values, np.broadcast_to(store.noise, values.shape)), began
