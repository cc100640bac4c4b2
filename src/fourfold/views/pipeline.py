"""The pipeline as a graph, with three marks that are never mixed.

*Changed here*: a run failed, or had other code, parameters or packages than the one before. *Worse here*: an objective
of it is missed or at risk: an effect, and never shown as a cause. *Touched*: downstream of either.
"""

from __future__ import annotations

import itertools
import time

from fourfold.charts import Graph, Node
from fourfold.errors import FourfoldError
from fourfold.model import DAY, Incident, ObjectiveStatus, Run, RunStatus, Where
from fourfold.model.objective import OF_RUNS
from fourfold.query.reader import Reader
from fourfold.query.target import resolve
from fourfold.state import catalogue, runs
from fourfold.views import forms
from fourfold.views.asking import Asked, path
from fourfold.views.incident import lineage_of
from fourfold.views.page import Page, Plain
from fourfold.views.standings import standings
from fourfold.watch.incidents import incidents
from fourfold.watch.lineage import Lineage
from fourfold.watch.lineage import Node as Place
from fourfold.watch.rows import iso

_RUNS, _USUAL = 60, 5  # of a component, for what is usual; and the fewest that show it
_BACK = 7 * DAY  # before the newest run, or before the first open incident, in which changes are told
_STREAMS = 40  # that are shown; of more, only those that tasks join
_WRONG = (ObjectiveStatus.MISSED, ObjectiveStatus.AT_RISK)


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What the pipeline's page shows."""
    began = time.perf_counter()
    lineage = lineage_of(reader)
    with reader.database.read() as connection:
        newest = runs.newest(connection, reader.project, _RUNS)
        number = runs.components(connection, reader.project)
    active = list(incidents(reader, active=True))
    changed = _changed(newest, active)
    worse = _worse(reader, now)
    touched = _touched(lineage, {*changed, *worse})
    tasks = reader.recall(catalogue.tasks)
    joined = {stream for task in tasks.values() for stream in task.streams}
    known = forms.known_streams(reader)
    logged = sorted(known if len(known) <= _STREAMS else joined & known)
    logged = [name for name in logged if name in joined or reader.log(name).is_begun]
    every: list[Place] = [*(("component", name) for name in number), *(("stream", name) for name in logged),
                          *(("task", name) for name in tasks)]  # fmt: skip
    wrong = {*changed, *worse, *(p for each in active for f in each.findings for p in _places(f.where))}
    shown = _shown(every, wrong, lineage, asked.limit)
    places = [place for place in every if place in shown]
    edges = [(up, down) for up, downs in lineage.feeds.items() for down in downs if up in shown and down in shown]
    artifacts: dict[tuple[str, str], list[str]] = {}
    for up, down, name in reader.recall(runs.edges):
        artifacts.setdefault((up, down), []).append(name)
    graph = Graph(
        f"pipeline of {reader.project}",
        [
            Node(_id(place), place[1], place[0], _marks(place, changed, worse, touched), _state(place, newest))
            for place in places
        ],
        sorted((_id(up), _id(down)) for up, down in edges),
    )  # fmt: skip
    at = graph.places()
    nodes = []
    for place in places:
        x, y = at[_id(place)]
        own = [f for each in active for f in each.findings if place in _places(f.where)]
        nodes.append(
            {
                "id": _id(place), "type": place[0], "name": place[1], "href": _href(place), "x": x, "y": y,
                "marks": {"changed": changed.get(place, []), "worse": worse.get(place, []),
                          "touched": sorted(map(_id, touched.get(place, ())))},
                "findings": len(own), "incidents": sorted({each.id for each in active
                                                          if any(place in _places(f.where) for f in each.findings)}),
                **_of_runs(newest.get(place[1], []) if place[0] == "component" else [], number.get(place[1], 0), now),
            }
        )  # fmt: skip
    data = {
        "nodes": nodes, "total": len(every), "took": time.perf_counter() - began,
        "edges": [
            {"from": _id(up), "to": _id(down), "artifacts": artifacts.get((up[1], down[1]), [])}
            for up, down in sorted(edges)
        ],
    }  # fmt: skip
    return Page(data, {"pipeline": graph}, nodes)


def _id(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def _href(place: Place) -> str:
    if place[0] == "component":
        return path("runs", component=place[1])
    return path("streams" if place[0] == "stream" else "tasks", place[1])


def _changed(newest: dict[str, list[Run]], active: list[Incident]) -> dict[Place, list[Plain]]:
    """What changed at each component of late, or since shortly before what is wrong began."""
    found: dict[Place, list[Plain]] = {}
    moments = [_at(several[-1]) for several in newest.values() if several]
    since = min([max(moments, default=0.0), *(each.began_low for each in active)]) - _BACK
    for component, several in newest.items():
        told: list[Plain] = []
        for before, run in itertools.pairwise(several):
            if _at(run) >= since:
                told += [
                    {"what": f"{what} changed", "at": iso(_at(run)), "run": run.id}
                    for what in forms.changes(before, run)
                ]
        last = several[-1]
        if last.status in (RunStatus.FAILED, RunStatus.LOST):
            told.append({"what": f"the newest run {last.outcome}", "at": iso(_at(last)), "run": last.id})
        if told:
            found["component", component] = told[-20:]
    return found


def _at(run: Run) -> float:
    return run.started if run.at is None else run.at


def _worse(reader: Reader, now: float) -> dict[Place, list[Plain]]:
    """The objectives that are missed or at risk, where they are measured."""
    found: dict[Place, list[Plain]] = {}
    for view in standings(reader, now):
        if view.status not in _WRONG:
            continue
        target = view.objective.target
        if view.objective.name_of_metric in OF_RUNS:
            place: Place = ("component", target)
        else:
            try:
                of = resolve(reader, target)
            except FourfoldError:  # a task that is not declared yet
                continue
            place = (of.owner.kind, of.owner.name)
        found.setdefault(place, []).append(
            {"objective": view.name, "what": f"{view.expression}: {view.status.value.replace('_', ' ')}",
             "slice": dict(view.slice), "value": forms.value(view.value)}
        )  # fmt: skip
    return found


def _touched(lineage: Lineage, marked: set[Place]) -> dict[Place, set[Place]]:
    found: dict[Place, set[Place]] = {}
    for place in marked:
        for down in lineage.downstream(place) - {place}:
            found.setdefault(down, set()).add(place)
    return found


def _marks(
    place: Place, changed: dict[Place, list[Plain]], worse: dict[Place, list[Plain]], touched: dict[Place, set[Place]]
) -> tuple[str, ...]:
    marks = (("changed", changed), ("worse", worse), ("touched", touched))
    return tuple(name for name, of in marks if place in of)


def _state(place: Place, newest: dict[str, list[Run]]) -> str:
    several = newest.get(place[1]) if place[0] == "component" else None
    return several[-1].status.value if several else ""


def _places(where: Where) -> list[Place]:
    """The parts that something is found at."""
    named = (("component", where.component), ("stream", where.stream), ("task", "" if where.stream else where.task))
    return [(kind, name) for kind, name in named if name]


def _shown(places: list[Place], wrong: set[Place], lineage: Lineage, most: int) -> set[Place]:
    """At most so many parts: those that something is wrong with first, each with what feeds it and what it feeds."""
    if len(places) <= most:
        return set(places)
    known, found = set(places), set[Place]()
    for place in sorted(places, key=lambda place: place not in wrong):
        for near in (place, *sorted(lineage.upstream(place) | lineage.downstream(place))):
            if len(found) >= most:
                return found
            if near in known:
                found.add(near)
    return found


def _of_runs(several: list[Run], number: int, now: float) -> Plain:
    if not several:
        return {"state": None, "last_run": None, "age": None, "duration": None, "usual": None, "runs": number,
                "failed_of_last_10": 0, "code": None}  # fmt: skip
    last = several[-1]
    good = [run for run in several[:-1] if run.status is RunStatus.SUCCEEDED]
    took = sorted(run.duration for run in good if run.duration is not None)
    usual = None
    if len(took) >= _USUAL:
        usual = {"low": took[len(took) // 20], "middle": took[len(took) // 2], "high": took[-1 - len(took) // 20]}
    failed = sum(run.status in (RunStatus.FAILED, RunStatus.LOST) for run in several[-10:])
    return {
        "state": last.status.value, "last_run": iso(last.started), "age": max(now - last.started, 0.0),
        "duration": last.duration, "usual": usual, "runs": number, "failed_of_last_10": failed,
        "code": str(last.code.get("commit") or last.code.get("source_hash") or "")[:12] or None,
    }  # fmt: skip
