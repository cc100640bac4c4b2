"""Measuring: CPU time beside wall time, the median of several runs, alternatives in turn."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclasses.dataclass(frozen=True)
class Timing:
    """Medians in seconds. CPU time is of the whole process, all threads."""

    cpu: float
    wall: float


def in_turn(work: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, Timing]:
    """Each piece of work once a round, one after the other, so that a slower machine is slower for all."""
    cpu: dict[str, list[float]] = {name: [] for name in work}
    wall: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, action in work.items():
            started, used = time.perf_counter(), time.process_time()
            action()
            if round_:  # the first is to warm up
                cpu[name].append(time.process_time() - used)
                wall[name].append(time.perf_counter() - started)
    return {name: Timing(statistics.median(cpu[name]), statistics.median(wall[name])) for name in work}


class Report:
    """The sections of RESULTS.md, printed as they come."""

    def __init__(self) -> None:
        versions = [
            f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "pyarrow", "duckdb", "deltalake")
        ]
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
        print(", ".join([machine, *versions]))
        self._parts = [
            "# Benchmarks\n\n"
            "Written by `make bench`. The machine is shared, so read the ratios, not the times: all rows of a table\n"
            "were measured in turn in one run. CPU time is of all threads of the process.\n\n"
            + ", ".join([machine, *versions])
        ]

    def section(self, title: str, lines: list[str]) -> None:
        """A section; its lines are printed at once."""
        self._parts.append("\n".join([title, "", *lines]))
        print("", f"## {self._parts[-1]}", sep="\n", flush=True)

    def table(self, title: str, head: list[str], rows: list[list[str]], note: str = "") -> None:
        """A section that is a table."""
        lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
        self.section(title, [*lines, *(["", note] if note else [])])

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text("\n\n## ".join(self._parts) + "\n", encoding="utf-8")
        print(f"\nwritten to {path}")

    def update(self, path: Path) -> None:
        """Write the sections of this report into the file, instead of those with the same titles or at its end."""
        parts = {part.split("\n")[0]: part for part in path.read_text(encoding="utf-8").rstrip().split("\n\n## ")}
        self._parts = list((parts | {part.split("\n")[0]: part for part in self._parts[1:]}).values())
        self.write(path)


def milliseconds(seconds: float) -> str:
    """A time in milliseconds."""
    return f"{1000 * seconds:,.1f} ms"
