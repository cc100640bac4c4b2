"""Runs: what ran, with which code and parameters, how long it took, and what changed from one to the next."""

from __future__ import annotations

from fourfold.charts import Chart, Curve, Limit, Line
from fourfold.errors import InputError, suggest
from fourfold.model import Run, RunStatus
from fourfold.query.reader import Reader
from fourfold.state import runs
from fourfold.views import forms
from fourfold.views.asking import MOST, Asked
from fourfold.views.page import Page

_DRAWN = 500


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What the runs' page shows: of one component or of all, of one status or of all; or one run."""
    component, status, id_ = (asked.more.get(name, "") for name in ("component", "status", "run"))
    known = reader.recall(runs.components)
    if component and component not in known:
        raise suggest("component", component, list(known))
    if status and status not in list(RunStatus):
        raise InputError(f"status={status!r}: give one of {', '.join(RunStatus)}")
    most = min(asked.offset + asked.limit, MOST) + 1 if not (status or id_) else MOST
    with reader.database.read() as connection:
        found = runs.recent(connection, reader.project, component or None, most)
        if id_ and all(run.id != id_ for run in found):
            found = [*runs.by_id(connection, reader.project, [id_]).values(), *found]
    before: dict[str, Run] = {}
    older: dict[str, Run | None] = {}
    for run in reversed(found):
        older[run.id] = before.get(run.component)
        before[run.component] = run
    chosen = [run for run in found if (not status or run.status == status) and (not id_ or run.id == id_)]
    if id_ and not chosen:
        raise suggest("run", id_, [run.id for run in found[:10]])
    streams = forms.known_streams(reader)
    shown = chosen[asked.offset : asked.offset + asked.limit]
    rows = [forms.run(run, streams, older[run.id]) for run in shown]
    total = len(chosen) if status or id_ else known.get(component, 0) if component else sum(known.values())
    charts: dict[str, Chart] = {}
    ended = [run for run in reversed(found[:_DRAWN]) if run.duration is not None]
    if component and ended:
        charts["durations"] = durations(component, ended)
    return Page({"rows": rows, "total": total, "components": list(known), "component": component}, charts, rows)


def durations(component: str, ended: list[Run]) -> Chart:
    """How long runs took, in the order in which they started."""
    took = sorted(run.duration or 0.0 for run in ended)
    middle = took[len(took) // 2]
    values = [run.duration for run in ended]
    return Line(f"duration of {component}", [run.started for run in ended], [Curve("duration", values)], "seconds",
                limits=[Limit(middle, "median")])  # fmt: skip
