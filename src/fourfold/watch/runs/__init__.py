"""Findings from runs: failed, slow, missing, partial; pipelines that did not complete; old inputs and unequal code.

Each has limits that come of the component's own history, and none says anything about a component's first runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fourfold.model import Run
from fourfold.model.incident import Finding
from fourfold.query.reader import Reader
from fourfold.state import catalogue, runs
from fourfold.watch.runs.cadence import Start
from fourfold.watch.runs.code import discrepancies
from fourfold.watch.runs.duration import overdue, slow
from fourfold.watch.runs.failed import failed
from fourfold.watch.runs.heartbeat import silent
from fourfold.watch.runs.history import RUNS, History
from fourfold.watch.runs.inputs import stale, superseded
from fourfold.watch.runs.missing import missing
from fourfold.watch.runs.partial import partial
from fourfold.watch.runs.pipeline import incomplete
from fourfold.watch.runs.version import versions

__all__ = ["JUDGES", "RUNS", "STARTS", "History", "findings", "judge", "read"]

_FAR = 1e11  # seconds: 3,000 years
STARTS = 2_000  # of each component, the newest: when they were, which is less to read than ``RUNS`` in full
JUDGES: Sequence[Callable[[History, float], list[Finding]]] = (
    failed, slow, overdue, silent, missing, incomplete, stale, superseded, discrepancies, partial,
)  # fmt: skip


def findings(
    reader: Reader, now: float, since: float | None = None, expects: Mapping[str, Any] | None = None
) -> list[Finding]:
    """What is wrong with the runs of a project, and with the version of the model that is served.

    Args:
        reader: the project's reader.
        now: seconds since 1970.
        since: the time of the check before; unused, since a finding is given as long as it holds.
        expects: the section ``[watch.expects]`` of fourfold.toml.

    Raises:
        ConfigError: ``expects`` is invalid.
    """
    history = reader.database.remember((read, reader.project), lambda: read(reader))
    return judge(history, now) + versions(reader, now, expects or {})


def judge(history: History, now: float) -> list[Finding]:
    """What is wrong with these runs."""
    return [finding for judging in JUDGES for finding in judging(history, now)]


def read(reader: Reader) -> History:
    """The newest runs of a project."""
    newest = reader.recall(runs.newest, RUNS)
    starts = {
        name: [start for pair in pairs if _is_sound(start := Start(*pair))]
        for name, pairs in reader.recall(runs.newest_starts, STARTS).items()
    }
    sound = {name: [run for run in several if _is_sound(run)] for name, several in newest.items()}
    return History({name: several for name, several in sound.items() if several}, starts, _labels(reader))


def _is_sound(run: Run | Start) -> bool:
    """Whether a run's times are some that can be reckoned with."""
    return abs(run.started) < _FAR and (run.at is None or abs(run.at) < _FAR)


def _labels(reader: Reader) -> dict[str, frozenset[str]]:
    """The components that log labels, each with those that log the predictions."""
    found: dict[str, set[str]] = {}
    for task in reader.recall(catalogue.tasks).values():
        if task.label.stream != task.prediction.stream:
            found.setdefault(task.label.stream, set()).add(task.prediction.stream)
    return {name: frozenset(several) for name, several in found.items()}
