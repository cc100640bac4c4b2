"""Nothing but series without a fault: 200 seasonal, overdispersed, correlated columns over two years."""

from __future__ import annotations

import pandas as pd

import fourfold as ff
from bench.faults.fault import DAYS, HOURS, Injection
from bench.faults.pipelines.synthetic import ROLES
from bench.faults.pipelines.world import FAMILIES, MEMBERS, START, World
from bench.faults.simulated import SimulatedClock

COLUMNS = [f"{family}_{member}" for family in FAMILIES for member in range(MEMBERS)]
ROWS = 300  # a day


class Series:
    """See ``Pipeline``: one component that writes a day's sensors."""

    name, start, since = "series", float(START), float(START)
    days = split = 730
    roles = ROLES

    def __init__(self, seed: int) -> None:
        self.world = World(seed, self.days, rows=ROWS)

    def begin(self, clock: SimulatedClock) -> None:
        """Nothing is declared."""

    def replay(self, number: int, injection: Injection | None, clock: SimulatedClock) -> None:
        """One day."""
        day = self.start + number * DAYS
        clock.go_to(day + DAYS + HOURS / 2)
        with ff.run("collect", at=day) as run:
            run.output("sensors", self.world.day(number)[COLUMNS])
            clock.now += 60

    def seen(self, now: float) -> pd.DataFrame:
        """Nothing is given to peers."""
        return pd.DataFrame()
