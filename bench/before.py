"""This version beside an earlier commit: each scenario runs in a process of its own, the two in turn.

A scenario is a script in ``bench/scenarios`` that uses what both versions have, and prints one JSON object: figures by
name, in seconds or as plain numbers. The earlier commit is taken from this repository's history.
"""

from __future__ import annotations

import functools
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

RIVAL = "1cbd63a"  # before the layers were laid out anew
_ROOT = Path(__file__).parent.parent
Figures = Mapping[str, float]


@functools.cache
def source_of(commit: str) -> Path:
    """The package as it was at a commit, unpacked into a temporary folder."""
    packed = subprocess.run(["git", "archive", commit, "src"], cwd=_ROOT, check=True, capture_output=True).stdout
    folder = Path(tempfile.mkdtemp(prefix="fourfold-before-"))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def measured(scenario: str, source: Path, arguments: tuple[str, ...] = ()) -> Figures:
    """One run of a scenario with a version of the package."""
    script = _ROOT / "bench" / "scenarios" / f"{scenario}.py"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(script), *arguments], env=environment, cwd=folder, check=True, stdout=subprocess.PIPE
        )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def side_by_side(scenario: str, *arguments: str, rounds: int = 3) -> tuple[Figures, Figures]:
    """The medians of a scenario's figures before and now, run in turn."""
    sources = {"before": source_of(RIVAL), "now": _ROOT / "src"}
    runs: dict[str, list[Figures]] = {name: [] for name in sources}
    for _ in range(rounds):
        for name, source in sources.items():
            runs[name].append(measured(scenario, source, arguments))
    before, now = ({key: statistics.median(run[key] for run in found) for key in found[0]} for found in runs.values())
    return before, now


if __name__ == "__main__":  # python -m bench.before SCENARIO [ARGUMENT ...]
    figures = side_by_side(*sys.argv[1:], rounds=int(os.environ.get("ROUNDS", "3")))
    for key, was in figures[0].items():
        print(f"{key:40s} before {was:10.4f}   now {figures[1][key]:10.4f}   ratio {figures[1][key] / (was or 1):.2f}")
