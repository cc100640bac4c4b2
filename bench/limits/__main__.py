"""``python -m bench.limits [--seeds A-B] [--quick]`` measures, prints, and rewrites its section of RESULTS.md."""

from __future__ import annotations

import argparse
import dataclasses
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from bench.limits.rivals import LEARN, METHODS, Alarms
from bench.limits.series import AT, CHANGED, CHANGES, DAYS, NULLS, SERIES, Change, with_change
from bench.measure import RESULTS, Report
from fourfold.counts.binning import Floats, Ints

TOGETHER = 3  # days: alarms that begin so soon after the first are one incident
TUNED = 9  # the seeds up to this one are those on which limits were tuned
HORIZON = 60  # days in which a change is to be found


@dataclasses.dataclass(frozen=True)
class FalseAlarms:
    """Of a store without a change: alarms, and incidents, per 30 days."""

    alarms: float
    incidents: float


def raised(alarms: Alarms) -> Alarms:
    """The days on which an alarm begins."""
    before = np.concatenate([np.zeros((len(alarms), 1), dtype=bool), alarms[:, :-1]], axis=1)
    begins = alarms & ~before
    begins[:, :LEARN] = False
    return np.asarray(begins)


def incidents(days: Ints) -> int:
    """How many, where one holds what begins within three days of its first alarm."""
    n, end = 0, -1
    for day in np.unique(days):
        if day > end:
            n, end = n + 1, int(day) + TOGETHER
    return n


def false_alarms(alarms: Alarms) -> FalseAlarms:
    begins = raised(alarms)
    periods = (alarms.shape[1] - LEARN) / 30
    return FalseAlarms(begins.sum() / periods, incidents(np.flatnonzero(begins.any(axis=0))) / periods)


def delays(alarms: Alarms, began: Ints, change: Change) -> Floats:
    """In how many days each change was found; infinite if it was not."""
    begins, out = raised(alarms), np.full(len(began), np.inf)
    for row, day in enumerate(began):
        end = min(HORIZON, change.lasts + 1)
        found = np.flatnonzero(begins[row, day : day + end])
        if len(found):
            out[row] = found[0]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("--seeds", default="100-109", help="from-to, both included")
    parser.add_argument("--quick", action="store_true", help="two seeds, and nothing is written")
    parser.add_argument("--only", default="", help="only the methods whose names begin so; nothing is written")
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split("-"))
    seeds = range(first, (min(last, first + 1) if arguments.quick else last) + 1)
    methods = [name for name in METHODS if name.startswith(arguments.only)]
    report = Report()
    _nulls(report, seeds, methods)
    _changes(report, seeds, methods)
    if not arguments.quick and not arguments.only:
        report.update(RESULTS)


def _nulls(report: Report, seeds: range, methods: list[str]) -> None:
    figures: dict[str, dict[str, list[FalseAlarms]]] = {name: {null: [] for null in NULLS} for name in methods}
    with ProcessPoolExecutor() as pool:
        for seed in pool.map(_false_alarms, seeds, [list(methods)] * len(seeds)):
            for (name, null), found in seed.items():
                figures[name][null].append(found)
    report.table(
        "Limits that set themselves: false alarms",
        ["", *(null.replace("_", " ") for null in NULLS)],
        [[name, *(_rates(found) for found in by.values())] for name, by in figures.items()],
        f"Per 30 days, of stores of {SERIES} series in which nothing has changed: alarms / incidents (alarms that "
        f"begin within {TOGETHER} days of an incident's first are one with it). The promise is one at most. "
        f"{DAYS} days, of which each method may learn from the first {LEARN} and is then judged; means of seeds "
        f"{seeds[0]} to {seeds[-1]}{'' if seeds[0] <= TUNED else ', which nothing was tuned on'}. "
        + " ".join(f"*{make.__name__.replace('_', ' ').capitalize()}*: {make.__doc__}" for make in NULLS.values()),
    )


def _false_alarms(seed: int, methods: list[str]) -> dict[tuple[str, str], FalseAlarms]:
    found = {}
    for null, make in NULLS.items():
        store = make(np.random.default_rng([seed, len(null)]), DAYS)
        for name in methods:
            found[name, null] = false_alarms(METHODS[name](store))
    return found


def _delays(seed: int, base: str, methods: list[str]) -> dict[tuple[str, str], Floats]:
    found, rng = {}, np.random.default_rng([seed, 99])
    store = NULLS[base](rng, AT + 100)
    for change in CHANGES:
        changed, began = with_change(store, change, rng)
        for name in methods:
            found[name, change.name] = delays(METHODS[name](changed), began, change)
    return found


def _rates(found: list[FalseAlarms]) -> str:
    return f"{np.mean([f.alarms for f in found]):,.2f} / {np.mean([f.incidents for f in found]):.2f}"


def _changes(report: Report, seeds: range, methods: list[str]) -> None:
    for base in ("overdispersed", "seasonal", "wandering"):
        found: dict[str, dict[str, list[Floats]]] = {name: {c.name: [] for c in CHANGES} for name in methods}
        with ProcessPoolExecutor() as pool:
            for seed in pool.map(_delays, seeds, [base] * len(seeds), [list(methods)] * len(seeds)):
                for (name, change), delay in seed.items():
                    found[name][change].append(delay)
        report.table(
            f"Limits that set themselves: changes of {base} series",
            ["", *(change.name for change in CHANGES)],
            [[name, *(_found(np.concatenate(by[change.name])) for change in CHANGES)] for name, by in found.items()],
            f"How many of {CHANGED * len(seeds)} changes raise an alarm within {HORIZON} days (a spike: at once or "
            "on the next), and after how many days (median). Sizes are in the series' own standard deviations. What a "
            "method finds where there is no change, it finds by chance elsewhere too.",
        )


def _found(delay: Floats) -> str:
    hit = delay[np.isfinite(delay)]
    return f"{len(hit) / len(delay):.0%}" + (f", {np.median(hit):.0f}" if len(hit) else "")


if __name__ == "__main__":
    main()
