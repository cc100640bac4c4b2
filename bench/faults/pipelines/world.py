"""The synthetic plant: machines with 200 sensors in families, read by hourly traffic with seasons and drift.

Each day follows from the seed and its number alone, so a replay can begin anywhere.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

START = 1_704_067_200  # Monday, 1 January 2024
FAMILIES = (
    "temperature", "pressure", "flow", "vibration", "voltage", "current", "humidity", "speed", "torque", "level",
    "acid", "noise", "light", "carbon", "dust", "tilt", "force", "rotation", "fuel", "strain",
)  # fmt: skip
MEMBERS = 10
POSITIVE = frozenset({"flow", "vibration", "noise", "light", "carbon", "dust"})  # log-normal
COUNTS = frozenset({"rotation"})
ROWS = 1_000  # a day
BEFORE = 28  # days before the first that can be asked for
REGIONS = ("north", "south", "east", "west", "coast", "island")
DEVICES = tuple(f"type {letter}" for letter in "ABCDEFGHIJKL")
PLANS = ("basic", "plus", "pro", "trial")
WORKERS = tuple(f"w{number}" for number in range(1, 9))
MOSTLY_NULL = "dust_9"  # it has always been
USED = (
    "temperature_0", "pressure_3", "flow_1", "voltage_2", "speed_0", "torque_4", "humidity_5", "vibration_1",
)  # fmt: skip
JOINED = ("device_age", "device_price")
DELAYS = {"north": 2.0, "south": 4.0, "east": 8.0, "west": 24.0, "coast": 48.0, "island": 72.0}  # hours, the median
DIMENSIONS = 16


class World:
    """What is fixed by the seed: levels, seasons, drifts and day-to-day effects of each family and sensor."""

    def __init__(self, seed: int, days: int, rows: int = ROWS) -> None:
        self.seed, self.rows = seed, rows
        random = np.random.default_rng([seed, 0])
        families, span = len(FAMILIES), days + BEFORE
        self.level = random.uniform(20, 80, families)
        self.scale = random.uniform(3, 12, families)
        self.daily = random.uniform(0, 0.6, families)  # in standard deviations, as all that follows
        self.phase = random.uniform(0, 24, families)
        self.weekly = random.normal(0, 0.15, (families, 7))
        self.drift = random.normal(0, 0.0006, families)  # a day
        self.shocks = _autoregressive(random, span, families, 0.5, 0.07)
        self.own_shocks = random.normal(0, 0.04, (span, families, MEMBERS))
        self.nulls = np.where(
            random.random((families, MEMBERS)) < 0.2, random.uniform(0.005, 0.15, (families, MEMBERS)), 0.0
        )
        self.nulls[FAMILIES.index("dust"), 9] = 0.93
        for used in (*USED, "light_2", "carbon_3"):  # what faults touch has next to none
            family, member = used.rsplit("_", 1)
            self.nulls[FAMILIES.index(family), int(member)] = 0.002
        self.traffic = random.normal(0, 0.07, span)  # of the number of records, in logarithms
        self.shares = {
            "region": _shares(random, span, (0.3, 0.22, 0.18, 0.14, 0.1, 0.06)),
            "device": _shares(random, span, tuple(1 / (rank + 2) for rank in range(len(DEVICES)))),
            "plan": _shares(random, span, (0.5, 0.25, 0.15, 0.1)),
            "worker": _shares(random, span, (1.0,) * len(WORKERS), 3_000),
        }
        self.centres = random.normal(0, 1, (len(REGIONS), DIMENSIONS))
        self.devices = pd.DataFrame(
            {"device_age": random.gamma(4, 1.5, 300).round(1), "device_price": random.lognormal(5, 0.6, 300).round(2)}
        )
        self.weights = np.array([0.9, -0.7, 0.6, 0.5, 0.9, -0.6, 0.5, 0.6])
        self.base = random.normal(-0.9, 0.1)
        self.risk = _autoregressive(random, span, 1, 0.5, 0.05)[:, 0]  # of the labels' log-odds, day to day

    def day(self, number: int) -> pd.DataFrame:
        """The day's records, with ``label`` and ``reported`` (seconds since 1970; NaN: never)."""
        random = np.random.default_rng([self.seed, 1, number + BEFORE])
        at, weekday = number + BEFORE, number % 7
        hours = np.arange(24)
        busy = 1 + 0.6 * np.sin((hours - 9) / 24 * 2 * np.pi)
        expected = self.rows / 24 * busy * (0.6 if weekday >= 5 else 1.1) * np.exp(self.traffic[at])
        hour = np.repeat(hours, random.poisson(expected))
        rows = len(hour)
        seconds = np.sort(START + number * 86_400 + hour * 3_600 + random.integers(0, 3_600, rows))
        hour = (seconds // 3_600) % 24
        frame: dict[str, object] = {"id": [f"{number}-{row}" for row in range(rows)]}
        frame["time"] = pd.to_datetime(seconds, unit="s", utc=True)
        names = {"region": REGIONS, "device": DEVICES, "plan": PLANS, "worker": WORKERS}
        drawn = {column: random.choice(len(names[column]), rows, p=self.shares[column][at]) for column in names}
        frame |= {column: np.array(names[column], object)[places] for column, places in drawn.items()}
        sensors, standard = self._sensors(random, at, number, weekday, hour)
        frame |= sensors
        device = random.integers(0, len(self.devices), rows)
        frame |= {column: self.devices[column].to_numpy()[device] for column in JOINED}
        vectors = self.centres[drawn["region"]] + random.normal(0, 1, (rows, DIMENSIONS))
        frame["embedding"] = list(vectors)
        age = (frame["device_age"] - 6.0) / 3.0  # type: ignore[operator]
        odds = self.base + self.risk[at] + standard @ self.weights + 0.4 * age
        frame["label"] = (random.random(rows) < 1 / (1 + np.exp(-1.3 * odds))).astype(np.int64)
        delay = np.array([DELAYS[name] for name in REGIONS])[drawn["region"]] * random.lognormal(0, 0.4, rows)
        frame["reported"] = np.where(random.random(rows) < 0.95, seconds + delay * 3_600, np.nan)
        return pd.DataFrame(frame)

    def _sensors(
        self, random: np.random.Generator, at: int, number: int, weekday: int, hour: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """All sensors, and those that matter in standard deviations (rows × sensors)."""
        rows, columns, used = len(hour), {}, {}
        for place, family in enumerate(FAMILIES):
            common = (
                self.daily[place] * np.sin((hour - self.phase[place]) / 24 * 2 * np.pi)
                + self.weekly[place, weekday]
                + self.drift[place] * number
                + self.shocks[at, place]
                + 0.6 * random.normal(0, 1, rows)
            )
            own = 0.8 * random.normal(0, 1, (rows, MEMBERS)) + self.own_shocks[at, place]
            missing = random.random((rows, MEMBERS)) < self.nulls[place]
            for member in range(MEMBERS):
                name, deviation = f"{family}_{member}", common + own[:, member]
                if name in USED:
                    used[name] = deviation
                if family in POSITIVE:
                    values = self.level[place] * np.exp(0.3 * deviation)
                elif family in COUNTS:
                    values = np.floor(self.level[place] * np.exp(0.2 * deviation))
                else:
                    values = self.level[place] + self.scale[place] * deviation
                columns[name] = np.where(missing[:, member], np.nan, np.round(values, 4))
        return columns, np.column_stack([used[name] for name in USED])


def _autoregressive(random: np.random.Generator, days: int, series: int, memory: float, size: float) -> np.ndarray:
    """Day-to-day effects that fade: AR(1) with a stationary standard deviation of ``size``."""
    shocks = random.normal(0, size * np.sqrt(1 - memory**2), (days, series))
    for day in range(1, days):
        shocks[day] += memory * shocks[day - 1]
    return np.asarray(shocks)


def _shares(
    random: np.random.Generator, days: int, shares: tuple[float, ...], concentration: float = 800
) -> np.ndarray:
    """Shares that vary from day to day more than chance alone would make them."""
    even = np.array(shares) / sum(shares)
    return np.asarray(random.dirichlet(even * concentration, days))
