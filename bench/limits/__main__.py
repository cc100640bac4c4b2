"""``python -m bench.limits [--seeds A-B] [--quick]`` measures, prints, and rewrites its section of RESULTS.md."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from bench.limits.rivals import LEARN, METHODS, Alarms
from bench.limits.series import CHANGES, DAYS, NULLS, Change, with_change
from bench.measure import RESULTS, Report

TOGETHER = 3  # days: alarms that begin so soon after the first are one incident
HORIZON = 60  # days in which a change is to be found


@dataclasses.dataclass(frozen=True)
class False_:
    """Of a store without a change: alarms, and incidents, per 30 days."""

    alarms: float
    incidents: float


def raised(alarms: Alarms) -> Alarms:
    """The days on which an alarm begins."""
    before = np.concatenate([np.zeros((len(alarms), 1), dtype=bool), alarms[:, :-1]], axis=1)
    begins = alarms & ~before
    begins[:, :LEARN] = False
    return begins


def incidents(days: np.ndarray) -> int:
    """How many, where one holds what begins within three days of its first alarm."""
    n, end = 0, -1
    for day in np.unique(days):
        if day > end:
            n, end = n + 1, int(day) + TOGETHER
    return n


def false_alarms(alarms: Alarms) -> False_:
    begins = raised(alarms)
    periods = (alarms.shape[1] - LEARN) / 30
    return False_(begins.sum() / periods, incidents(np.flatnonzero(begins.any(axis=0))) / periods)


def delays(alarms: Alarms, began: np.ndarray, change: Change) -> np.ndarray:
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
    methods = {name: method for name, method in METHODS.items() if name.startswith(arguments.only)}
    report = Report()
    _nulls(report, seeds, methods)
    _changes(report, seeds, methods)
    if not arguments.quick and not arguments.only:
        report.update(RESULTS)


def _nulls(report: Report, seeds: range, methods: dict) -> None:
    figures: dict[str, dict[str, list[False_]]] = {name: {null: [] for null in NULLS} for name in methods}
    for seed in seeds:
        for null, make in NULLS.items():
            store = make(np.random.default_rng([seed, len(null)]), DAYS)
            for name, method in methods.items():
                figures[name][null].append(false_alarms(method(store)))
    rows = [
        [
            name,
            *(
                f"{np.mean([f.alarms for f in by[null]]):.2f} / {np.mean([f.incidents for f in by[null]]):.2f}"
                for null in NULLS
            ),
        ]
        for name, by in figures.items()
    ]
    report.table(
        "Limits that set themselves: false alarms",
        ["", *(null.replace("_", " ") for null in NULLS)],
        rows,
        "Alarms / incidents.",
    )


def _changes(report: Report, seeds: range, methods: dict) -> None:
    for base in ("overdispersed", "seasonal", "wandering"):
        found: dict[str, dict[str, list[np.ndarray]]] = {name: {c.name: [] for c in CHANGES} for name in methods}
        for seed in seeds:
            rng = np.random.default_rng([seed, 99])
            store = NULLS[base](rng, 400)
            for change in CHANGES:
                changed, began = with_change(store, change, rng)
                for name, method in methods.items():
                    found[name][change.name].append(delays(method(changed), began, change))
        rows = []
        for name, by in found.items():
            row = [name]
            for change in CHANGES:
                all_ = np.concatenate(by[change.name])
                hit = all_[np.isfinite(all_)]
                row.append(f"{len(hit) / len(all_):.0%}" + (f", {np.median(hit):.0f}" if len(hit) else ""))
            rows.append(row)
        report.table(
            f"Limits that set themselves: changes of {base} series",
            ["", *(c.name for c in CHANGES)],
            rows,
            "Found, median delay in days.",
        )


if __name__ == "__main__":
    main()
