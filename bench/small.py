"""Small questions stay cheap: what a small batch, a question, a component and an import cost, before and now.

``python -m bench.small [--short] [--rounds N]`` runs this table alone and rewrites its section of RESULTS.md; a short
run has small sizes, to look at, and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses

from bench.before import RIVAL, side_by_side
from bench.measure import RESULTS, Report


@dataclasses.dataclass(frozen=True)
class Line:
    """One figure of a scenario: what it is, in which unit it is shown, and what it should be at most.

    ``what`` names the arguments of the scenario by their place.
    """

    figure: str
    what: str
    goal: float | None
    unit: str = "ms"
    scale: float = 1_000.0  # from the scenario's unit to the one shown

    def row(self, sizes: tuple[int, ...], before: float, now: float) -> list[str]:
        """The line in the table."""
        goal = "" if self.goal is None else f"≤ {self.goal:g} {self.unit}".rstrip()
        missed = self.goal is not None and now * self.scale > self.goal
        shown = [f"{figure * self.scale:,.{self._digits}f} {self.unit}".rstrip() for figure in (before, now)]
        return [self.what.format(*sizes), *shown, f"{now / before:.2f}", f"{goal}, missed" if missed else goal]

    @property
    def _digits(self) -> int:
        return {"": 2, "s": 3, "MB": 0}.get(self.unit, 1)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A script of bench/scenarios, its arguments in full and in short, and what is read off it."""

    name: str
    full: tuple[int, ...]
    short: tuple[int, ...]
    lines: tuple[Line, ...]


def _question(name: str) -> tuple[Line, ...]:
    return (
        Line(f"cpu {name}, few records", f"a year of `{name}` by day and 16 carriers, {{0:,}} records", 100),
        Line(f"cpu {name}, many records", f"a year of `{name}` by day and 16 carriers, {{1:,}} records", 100),
        Line(f"cpu {name}, many / few", "many / few", 1.2, "", 1),
    )


SCENARIOS = (
    Scenario(
        "refresh",
        (60, 1_000, 22),
        (10, 1_000, 22),
        (Line("cpu a task", "a task of {2} columns, with {1:,} new records ({0} tasks)", 60),),
    ),
    Scenario(
        "streams",
        (400, 100),
        (50, 100),
        (Line("cpu a stream", "a stream of 2 columns, with {1:,} new records ({0} streams)", 10),),
    ),
    Scenario(
        "log_size",
        (12_000, 3_000_000),
        (12_000, 300_000),
        (
            Line("with few records in the log", "one such task, with {0:,} records in the log", None),
            Line("with many records in the log", "one such task, with {1:,} records in the log", None),
            Line("many / few", "many / few", 1.3, "", 1),
        ),
    ),
    Scenario(
        "questions_by_slice",
        (300_000, 3_000_000),
        (30_000, 300_000),
        (
            *_question("recall"),
            *_question("roc_auc"),
            *_question("average_precision"),
            *_question("expected_calibration_error"),
        ),
    ),
    Scenario(
        "component_frame",
        (1_000_000,),
        (100_000,),
        (
            Line("numbers, pandas: cpu", "a component around a frame of {0:,} rows and 22 columns", 0.25, "s", 1),
            Line("identifiers, pandas: cpu", "the same, one column of which is identifiers", 0.3, "s", 1),
        ),
    ),
    Scenario(
        "component_call",
        (2_000,),
        (500,),
        (
            Line("µs a call, in the caller's thread", "a call of a small component, in the caller", 150, "µs", 1),
            Line("µs a call, CPU of the process", "the same, in all threads", None, "µs", 1),
        ),
    ),
    Scenario(
        "import_cost",
        (),
        (),
        (
            Line("CPU seconds, until the first record is safe", "import, and log until the first record is safe", 250),
            Line("MB, after the first record", "memory by then", 90, "MB", 1),
        ),
    ),
)


def run(report: Report, *, rounds: int = 3, short: bool = False) -> None:
    """Measure and report."""
    rows = []
    for scenario in SCENARIOS:
        sizes = scenario.short if short else scenario.full
        before, now = side_by_side(scenario.name, *map(str, sizes), rounds=rounds)
        rows += [line.row(sizes, before[line.figure], now[line.figure]) for line in scenario.lines]
    report.table(
        "Small questions stay cheap",
        ["", "before", "now", "now / before", "goal"],
        rows,
        f"CPU time. Before is commit {RIVAL}; both ran each scenario in turn, in a process of its own, "
        f"{rounds} {'time' if rounds == 1 else 'times, of which these are the medians'}.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="small sizes, for a quick look; nothing is written")
    parser.add_argument("--rounds", type=int, help="how often each scenario is run (3; 1 in short)")
    arguments = parser.parse_args()
    report = Report()
    run(report, rounds=arguments.rounds or (1 if arguments.short else 3), short=arguments.short)
    if not arguments.short:
        report.update(RESULTS)


if __name__ == "__main__":
    main()
