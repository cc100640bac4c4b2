"""Runs: what ran, with which code and parameters, how long it took, and what changed from one to the next."""

from __future__ import annotations

from fourfold.charts import Chart, Curve, Limit, Line
from fourfold.errors import InputError, suggest
from fourfold.model import Run, RunStatus
from fourfold.query.reader import Reader
from fourfold.state import runs
from fourfold.views import forms
from fourfold.views.asking import Asked
from fourfold.views.page import Page

_DRAWN = 500  # runs


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What the runs' page shows: of one component or of all, of one status or of all; or one run."""
    component, status, id_ = (asked.more.get(name, "") for name in ("component", "status", "run"))
    known = reader.recall(runs.components)
    if component and component not in known:
        raise suggest("component", component, list(known))
    if status and status not in list(RunStatus):
        raise InputError(f"status={status!r}: give one of {', '.join(RunStatus)}")
    of, wanted = component or None, RunStatus(status) if status else None
    with reader.database.read() as connection:
        if id_:
            named = runs.by_id(connection, reader.project, [id_]).get(id_)
            if named is None:
                raise suggest("run", id_, [run.id for run in runs.recent(connection, reader.project, of, 10)])
            chosen = [named] if of in (None, named.component) and wanted in (None, named.status) else []
            total = len(chosen)
        else:
            chosen = runs.recent(connection, reader.project, of, asked.limit, status=wanted, offset=asked.offset)
            total = runs.number(connection, reader.project, of, wanted)
        older = runs.before(connection, reader.project, [run.id for run in chosen])
        newest = runs.recent(connection, reader.project, of, _DRAWN) if of else []
    streams = forms.known_streams(reader)
    rows = [forms.run(run, streams, older.get(run.id)) for run in chosen]
    charts: dict[str, Chart] = {}
    ended = [run for run in reversed(newest) if run.duration is not None]
    if ended:
        charts["durations"] = durations(component, ended)
    return Page({"rows": rows, "total": total, "components": list(known), "component": component}, charts, rows)


def durations(component: str, ended: list[Run]) -> Chart:
    """How long runs took, in the order in which they started."""
    took = sorted(run.duration or 0.0 for run in ended)
    middle = took[len(took) // 2]
    values = [run.duration for run in ended]
    return Line(f"duration of {component}", [run.started for run in ended], [Curve("duration", values)], "seconds",
                limits=[Limit(middle, "median")])  # fmt: skip
