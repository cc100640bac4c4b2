"""Values, places, findings, incidents and runs as pages get them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fourfold.model import HOUR, Artifact, Finding, Incident, Owner, Run, Series, Value, Where
from fourfold.model.run import CLOCK
from fourfold.query.counts import CurrentCounts
from fourfold.query.filtered import Filter, chosen
from fourfold.query.reader import Reader
from fourfold.state import catalogue
from fourfold.views.asking import Shown, path
from fourfold.views.page import Plain
from fourfold.watch.rows import iso


def time(at: float | None) -> str | None:
    """A moment in ISO 8601, UTC."""
    return None if at is None else iso(at)


def value(found: Value) -> Plain:
    """A metric's answer."""
    return {
        "value": found.value, "low": found.low, "high": found.high, "n": found.n, "coverage": found.coverage,
        "status": found.status.value, "reason": found.reason, "expected": found.expected,
        "expected_labels": found.expected_labels,
    }  # fmt: skip


def where(place: Where) -> Plain:
    """A place in the pipeline, with the page that is about it."""
    return {
        "component": place.component, "stream": place.stream, "column": place.column, "task": place.task,
        "slice": json.loads(place.slice) if place.slice else {}, "objective": place.objective, "label": str(place),
        "href": place_path(place),
    }  # fmt: skip


def place_path(place: Where) -> str:
    """The page about a place."""
    only = [chosen(name, text) for name, text in json.loads(place.slice or "{}").items()]
    if place.column:
        return path("columns", place.stream, place.column, only=only)
    if place.task:
        return path("tasks", place.task, only=only)
    if place.stream:
        return path("streams", place.stream)
    if place.component:
        return path("runs", component=place.component)
    return path("")


def finding(found: Finding, chart: str | None = None) -> Plain:
    """A violation."""
    return {
        "series": found.series, "kind": found.kind, "what": found.what, "group": found.group.value,
        "severity": found.severity.value, "where": where(found.where), "value": found.value,
        "expected": found.expected, "low": found.low, "high": found.high, "n": found.n, "began": iso(found.began),
        "began_low": iso(found.began_low), "began_high": iso(found.began_high), "seen": iso(found.seen),
        "weight": found.weight, "advice": found.advice, "owner": found.owner, "runbook": found.runbook, "chart": chart,
    }  # fmt: skip


def incident(found: Incident) -> Plain:
    """An incident in a list."""
    return {
        "id": found.id, "state": found.state.value, "severity": found.severity.value, "title": found.title,
        "kind": found.kind, "group": found.group.value, "began": iso(found.began),
        "began_low": iso(found.began_low), "began_high": iso(found.began_high), "opened": iso(found.opened),
        "resolved": time(found.resolved), "where": where(found.where), "objectives": list(found.objectives),
        "owner": found.owner, "runbook": found.runbook, "reason": found.reason, "until": time(found.until),
        "reopened": found.reopened, "confirmed": found.confirmed, "findings": len(found.findings),
        "href": path("incidents", found.id),
    }  # fmt: skip


def run(found: Run, streams: frozenset[str], before: Run | None = None) -> Plain:
    """A run; ``streams`` are those there are, ``before`` the component's run before it, for what has changed."""
    sides = {
        side: [_artifact(a, found.component, streams) for a in found.artifacts if a.direction == side]
        for side in ("input", "output")
    }
    return {
        "id": found.id, "component": found.component, "status": found.status.value, "started": iso(found.started),
        "ended": time(found.ended), "duration": found.duration, "at": time(found.at), "parent": found.parent,
        "host": found.host, "process": found.process, "error": found.error, "code": _code(found),
        "params": dict(found.params), "metrics": dict(found.metrics), "inputs": sides["input"],
        "outputs": sides["output"], "changed": changes(before, found) if before is not None else [],
        "href": path("runs", component=found.component, run=found.id),
    }  # fmt: skip


def _code(found: Run) -> Plain:
    """Which code ran; and whether the clock of its host is ahead, so that its times are not what it said."""
    if not found.ahead:
        return dict(found.code)
    return {**found.code, CLOCK: f"{found.ahead / HOUR:,.1f} hours ahead: it said {iso(found.counted_at)}"}


def changes(before: Run, after: Run) -> list[str]:
    """What a run has that the one before it had not: "code", "params: depth", "versions: numpy"; but for clocks."""
    found = []
    own = next((n for n in ("source_hash", "commit") if n in before.code and n in after.code), "commit")
    if before.code.get(own) != after.code.get(own):
        found.append("code")
    found += [
        f"params: {name}"
        for name in sorted({*before.params, *after.params})
        if before.params.get(name) != after.params.get(name) and not _is_clock(before, after, name)
    ]
    versions = [of.code.get("packages") or {} for of in (before, after)]
    if all(isinstance(of, dict) for of in versions):
        known = sorted({*versions[0], *versions[1]})
        found += [f"versions: {name}" for name in known if versions[0].get(name) != versions[1].get(name)]
    return found


def _is_clock(before: Run, after: Run, name: str) -> bool:
    """Whether a parameter says only which time the run is about, and so differs in each run."""
    if before.at is None or after.at is None or before.at == after.at:
        return False
    known = str(after.params.get(name))
    return iso(after.at)[:10] in known or known == str(after.at)


def known_streams(reader: Reader) -> frozenset[str]:
    """The streams of the project."""
    return frozenset(reader.recall(catalogue.streams))


def _artifact(found: Artifact, component: str, streams: frozenset[str]) -> dict[str, Any]:
    stream = f"{component}.{found.name}"
    return {
        "name": found.name, "kind": found.kind, "fingerprint": found.fingerprint, "rows": found.rows,
        "stream": stream if stream in streams else "",
    }  # fmt: skip


def slice_name(found: Mapping[str, str | None]) -> str:
    """A slice by its values: "AA × JFK"."""
    return " × ".join("(none)" if text is None else str(text) for text in found.values())


def slice_values(key: str) -> dict[str, str | None]:
    """A slice's names and values, from its text."""
    found: dict[str, str | None] = json.loads(key)
    return found


def window(shown: Shown) -> Plain:
    """The window of a page."""
    return {
        "start": iso(shown.window.start), "end": iso(shown.window.end), "every": shown.every,
        "data_start": iso(shown.data_start), "data_end": iso(shown.data_end), "relative": shown.relative,
    }  # fmt: skip


def where_of(meant: Filter) -> Plain:
    """The records that are meant."""
    only, without = ({name: sorted(values, key=str) for name, values in pairs} for pairs in (meant.only, meant.without))
    return {"only": only, "without": without}


def series_of(reader: Reader, stream: str) -> list[Series]:
    """The series of a stream."""
    return CurrentCounts(reader, Owner.of_stream(stream)).series()
