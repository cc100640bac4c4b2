"""Components and their runs."""

from __future__ import annotations

import dataclasses

from fourfold.model import Run, RunStatus
from fourfold.query.reader import Reader
from fourfold.query.table import Table, moment
from fourfold.state import runs

_SIDES = ("input", "output")


@dataclasses.dataclass(frozen=True, slots=True)
class ComponentView:
    """A component: its newest run, its number of runs, failures among the last ten, and the components it feeds."""

    name: str
    runs: int
    last: Run
    failed: int
    feeds: tuple[str, ...]


def components(reader: Reader) -> Table[ComponentView]:
    """The components, in the order of their first run."""
    with reader.database.read() as connection:
        counted = runs.components(connection, reader.project)
        newest = runs.newest(connection, reader.project, 10)
        feeds: dict[str, dict[str, None]] = {}
        for up, down, _ in runs.edges(connection, reader.project):
            feeds.setdefault(up, {})[down] = None
    out = []
    for name, number in counted.items():
        several = newest[name]
        failed = sum(r.status is not RunStatus.SUCCEEDED and r.status is not RunStatus.RUNNING for r in several)
        out.append(ComponentView(name, number, several[-1], failed, tuple(feeds.get(name, ()))))
    return Table(out, _columns)


def recent_runs(reader: Reader, component: str | None = None, limit: int = 20) -> Table[Run]:
    """The newest runs, the newest first."""
    with reader.database.read() as connection:
        return Table(runs.recent(connection, reader.project, component, limit), _columns_of_run)


def newest_runs(reader: Reader) -> dict[str, Run]:
    """Each component's newest run."""
    with reader.database.read() as connection:
        names = runs.components(connection, reader.project)
        return {name: runs.recent(connection, reader.project, name, 1)[0] for name in names}


def _columns(view: ComponentView) -> dict[str, object]:
    """A component's row in the table."""
    return {
        "component": view.name,
        "status": view.last.status.value,
        "last_run": moment(view.last.started),
        "seconds": view.last.duration,
        "runs": view.runs,
        "failed_of_last_10": view.failed,
        "feeds": view.feeds,
    }


def _columns_of_run(run: Run) -> dict[str, object]:
    """A run's row in the table."""
    sides = {side: [artifact.name for artifact in run.artifacts if artifact.direction == side] for side in _SIDES}
    return {
        "id": run.id,
        "component": run.component,
        "status": run.status.value,
        "started": moment(run.started),
        "seconds": run.duration,
        "at": moment(run.at),
        "inputs": sides["input"],
        "outputs": sides["output"],
        "params": run.params,
        "metrics": run.metrics,
        "error": run.error,
        "commit": run.code.get("commit"),
        "host": run.host,
        "process": run.process,
    }
