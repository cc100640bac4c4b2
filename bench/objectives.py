"""How often the alerts of an objective that is met fire, and how soon those of one that is not: by simulation.

Rates vary from day to day (beta-binomial, with a correlation of ``rho``). Run: ``python -m bench.objectives``.
"""

from __future__ import annotations

import numpy as np

from fourfold.model import DAY, HOUR
from fourfold.watch.objectives.budget import Bucket, Tally
from fourfold.watch.objectives.burn import burns, rules

ALERTS = rules(30 * DAY, HOUR)
HISTORY, STEP, DAYS, REPEATS = 30 * 24, 3, 120, 6  # hours, hours, days, times
MET = (  # allowed and actual share of bad events, events an hour, variation
    (0.1, 0.1, 50, 0.0), (0.1, 0.1, 50, 0.005), (0.1, 0.1, 500, 0.005), (0.1, 0.09, 500, 0.005),
    (0.01, 0.01, 50, 0.005), (0.01, 0.01, 500, 0.005),
)  # fmt: skip
FAULTS = (  # allowed, before, and after; events an hour, variation
    (0.1, 0.06, 0.8, 50, 0.005), (0.1, 0.06, 0.2, 50, 0.005), (0.1, 0.06, 0.15, 500, 0.005),
    (0.01, 0.005, 0.2, 50, 0.005),
)  # fmt: skip


def hours(rng: np.random.Generator, shares: list[float], n: int, rho: float) -> list[Bucket]:
    """Hours of n events, of days with these shares of bad ones."""
    daily = np.array(shares)
    if rho:
        daily = rng.beta(daily * (1 - rho) / rho, (1 - daily) * (1 - rho) / rho)
    bad = rng.binomial(n, np.repeat(daily, 24)).astype(float)
    return [Bucket(i * HOUR, (i + 1) * HOUR, Tally(n - x, x)) for i, x in enumerate(bad)]


def alerts_at(buckets: list[Bucket], hour: int, allowed: float) -> set[str]:
    """The severities that fire after so many hours."""
    known = buckets[max(hour - HISTORY, 0) : hour]
    return {burn.rule.severity.value for burn in burns(known, hour * HOUR, ALERTS, allowed, events=True) if burn.fires}


def false_alerts(rng: np.random.Generator, allowed: float, share: float, n: int, rho: float) -> dict[str, float]:
    """How many alerts begin in 30 days, by severity."""
    buckets, before, begun = hours(rng, [share] * DAYS, n, rho), set[str](), {"page": 0, "ticket": 0}
    for hour in range(HISTORY, DAYS * 24, STEP):
        now = alerts_at(buckets, hour, allowed)
        for severity in now - before:
            begun[severity] += 1
        before = now
    return {severity: round(number / (DAYS - 30) * 30, 2) for severity, number in begun.items()}


def time_to_alert(
    rng: np.random.Generator, allowed: float, before: float, after: float, n: int, rho: float
) -> tuple[int | None, str]:
    """The hours from the fault to the first alert, and its severity."""
    buckets = hours(rng, [before] * 30 + [after] * 10, n, rho)
    for hour in range(HISTORY + 1, HISTORY + 240):
        if found := alerts_at(buckets, hour, allowed):
            return hour - HISTORY, min(found)
    return None, ""


def main() -> None:
    """Print both."""
    rng = np.random.default_rng(1)
    print("alerts that begin in 30 days, of an objective that is met")
    for allowed, share, n, rho in MET:
        found = false_alerts(rng, allowed, share, n, rho)
        print(f"  bad {share:.1%} of {allowed:.0%} allowed, {n} an hour, rho {rho}: {found}")
    print("hours from a fault to the first alert")
    for allowed, before, after, n, rho in FAULTS:
        times = [time_to_alert(rng, allowed, before, after, n, rho) for _ in range(REPEATS)]
        print(f"  bad {before:.1%} -> {after:.0%} of {allowed:.0%} allowed, {n} an hour: {times}")


if __name__ == "__main__":
    main()
