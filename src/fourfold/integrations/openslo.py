"""Objectives as OpenSLO v1 YAML, and back (needs the extra ``fourfold[openslo]``).

Source: the OpenSLO specification, https://github.com/OpenSLO/OpenSLO. A rate is a ``ratioMetric`` whose events are
budgeted (``Occurrences``); another metric a ``thresholdMetric`` whose time slices are (``Timeslices``); a duration one
whose runs are. What fourfold evaluates stands in a metric source of the type "fourfold": its ``metric`` and ``target``.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from fourfold.config import make_objective
from fourfold.errors import ConfigError, FourfoldError
from fourfold.model import Objective
from fourfold.model.objective import DURATION, RUNS_GOAL, SLICES_GOAL, length_text

VERSION, SOURCE = "openslo/v1", "fourfold"
_OPERATORS = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}
_CALENDAR = {"day": "1d", "week": "1w", "month": "1M", "quarter": "1Q", "year": "1Y"}
_START, _ZONE, _ZONES = "2024-01-01 00:00:00", "Etc/UTC", ("Etc/UTC", "UTC", "Etc/GMT")  # a Monday
_MOST = 1 - 1e-9  # the format's targets are below 1
_NAME, _TEXT = 63, 1050  # the longest name and description
Document = dict[str, Any]


def documents(objectives: Iterable[tuple[Objective, bool]]) -> list[Document]:
    """Objectives as OpenSLO documents; with each, whether it is a rate judged by its events."""
    taken: set[str] = set()
    return [_document(objective, taken, events=events) for objective, events in objectives]


def dumps(objectives: Iterable[tuple[Objective, bool]]) -> str:
    """Objectives as YAML, a document for each."""
    found: str = _yaml().safe_dump_all(documents(objectives), sort_keys=False, allow_unicode=True)
    return found


def loads(text: str) -> list[Objective]:
    """The objectives of a YAML text: its documents of the kind SLO; the indicators they refer to may stand beside them.

    Raises:
        ConfigError: it is no YAML, no OpenSLO v1, or its indicators are not fourfold's; the message says where.
    """
    yaml = _yaml()
    try:
        found = [document for document in yaml.safe_load_all(text) if document is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"this is no YAML: {error}") from error
    named = {}
    for i, document in enumerate(found):
        if _of(document, "apiVersion", f"document {i + 1}") != VERSION:
            raise ConfigError(f"document {i + 1}: apiVersion={document['apiVersion']!r}; only {VERSION} is read")
        if document.get("kind") == "SLI":
            named[str(_of(_mapping(document, "metadata", "SLI"), "name", "SLI: metadata"))] = document
    return [_objective(document, named) for document in found if document.get("kind") == "SLO"]


def _yaml() -> ModuleType:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("OpenSLO needs one more package: pip install 'fourfold[openslo]'") from error
    return yaml


# out --------------------------------------------------------------------------------------------------------------


def _document(objective: Objective, taken: set[str], *, events: bool) -> Document:
    name = _slug(objective.name, taken)
    source: dict[str, Any] = {"metric": objective.metric, "target": objective.target}
    for field in ("by", "owner", "runbook", "estimates"):
        if value := getattr(objective, field):
            source[field] = list(value) if field == "by" else value
    if events and objective.name_of_metric != DURATION:
        strict = {"strict": True} if objective.op in (">", "<") else {}
        good = "good" if objective.at_least else "bad"
        metric = {"ratioMetric": {
            "counter": False, good: _source({**source, **strict}),
            "total": _source({"metric": objective.metric, "target": objective.target}),
        }}  # fmt: skip
        share = objective.bound if objective.at_least else _complement(objective.bound)
        budgeting: dict[str, Any] = {"target": _target(share)}
    else:
        metric = {"thresholdMetric": _source(source)}
        default = RUNS_GOAL if objective.name_of_metric == DURATION else SLICES_GOAL
        goal = default if objective.goal is None else objective.goal
        budgeting = {"op": _OPERATORS[objective.op], "value": objective.bound, "target": _target(goal)}
        if objective.name_of_metric != DURATION:
            budgeting |= {"timeSliceTarget": 1.0, "timeSliceWindow": "1d"}
    slices = "timeSliceWindow" in budgeting
    spec: dict[str, Any] = {"description": objective.description[:_TEXT]} if objective.description else {}
    spec |= {
        "service": _slug(objective.target.partition(".")[0], set()),
        "indicator": {"metadata": {"name": f"{name}-indicator"}, "spec": metric},
        "timeWindow": [_time_window(objective)],
        "budgetingMethod": "Timeslices" if slices else "Occurrences",
        "objectives": [{"displayName": objective.expression, **budgeting}],
    }
    return {
        "apiVersion": VERSION, "kind": "SLO",
        "metadata": {"name": name, "displayName": objective.name}, "spec": spec,
    }  # fmt: skip


def _source(spec: Mapping[str, Any]) -> Document:
    return {"metricSource": {"type": SOURCE, "spec": dict(spec)}}


def _target(share: float) -> float:
    return min(max(share, 0.0), _MOST)


def _complement(share: float) -> float:
    return round(1 - share, 15)


def _time_window(objective: Objective) -> Document:
    if objective.calendar:
        aligned = {"startTime": _START, "timeZone": _ZONE}
        return {"duration": _CALENDAR[objective.calendar], "isRolling": False, "calendar": aligned}
    return {"duration": length_text(objective.window), "isRolling": True}


def _slug(name: str, taken: set[str]) -> str:
    """A name as the format wants it: small letters, digits and dashes; another one if it is taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: _NAME - 5].strip("-") or "objective"
    found = next(slug for i in range(1, 10**4) if (slug := plain if i == 1 else f"{plain}-{i}") not in taken)
    taken.add(found)
    return found


# in ---------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Source:
    """fourfold's metric source, and which part of the indicator it is: "good", "bad" or "thresholdMetric"."""

    part: str
    spec: Mapping[str, Any]

    def text(self, field: str) -> str:
        """A field that is a text."""
        value = self.spec.get(field, "")
        if not isinstance(value, str):
            raise ConfigError(f"{field}={value!r} is not a text")
        return value


def _objective(document: Document, named: Mapping[str, Document]) -> Objective:
    metadata = _mapping(document, "metadata", "SLO")
    name = metadata.get("displayName") or _of(metadata, "name", "SLO: metadata")
    where = f"SLO {name!r}"
    spec = _mapping(document, "spec", where)
    source = _indicator(spec, named, where)
    goals = _of(spec, "objectives", where)
    if not isinstance(goals, list) or len(goals) != 1 or not isinstance(goals[0], dict):
        raise ConfigError(f"{where}: objectives: give exactly one, with its target")
    target = _share(goals[0], where)
    ratio = source.part != "thresholdMetric"
    if ratio:
        op = (">" if source.part == "good" else "<") + ("" if source.spec.get("strict") else "=")
        bound = target if source.part == "good" else _complement(target)
    else:
        written = goals[0].get("op")
        op = next((ours for ours, theirs in _OPERATORS.items() if theirs == written), "")
        value = goals[0].get("value")
        if not op or isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(
                f"{where}: objectives: a thresholdMetric needs op (lte, gte, lt, gt) and a number as value"
            )
        bound = float(value)
    metric, of = source.text("metric"), source.text("target")
    default = RUNS_GOAL if metric.startswith(DURATION) else SLICES_GOAL
    given = Objective(str(name), of, metric, op, bound)
    try:
        return make_objective(
            given.name, given.expression, window=_window(spec, where), by=source.spec.get("by", ()),
            goal=None if ratio or math.isclose(target, default) else target,
            owner=source.text("owner"), runbook=source.text("runbook"), estimates=source.spec.get("estimates", False),
            description=spec.get("description") or "",
        )  # fmt: skip
    except FourfoldError as error:
        raise ConfigError(f"{where}: {error}") from error


def _indicator(spec: Mapping[str, Any], named: Mapping[str, Document], where: str) -> _Source:
    if "indicatorRef" in spec:
        reference = spec["indicatorRef"]
        if not isinstance(reference, str) or reference not in named:
            raise ConfigError(f"{where}: indicatorRef={reference!r} is no SLI of this file")
        indicator = named[reference]
    else:
        indicator = _mapping(spec, "indicator", where)
    metrics = _mapping(indicator, "spec", f"{where}: indicator")
    for place, parts in (("ratioMetric", ("good", "bad")), ("", ("thresholdMetric",))):
        holder = metrics.get(place) if place else metrics
        for part in parts:
            if isinstance(holder, dict) and part in holder:
                return _fourfold(_mapping(holder, part, where), part, where)
    raise ConfigError(f"{where}: indicator: needs a ratioMetric with good or bad, or a thresholdMetric")


def _fourfold(holder: Any, part: str, where: str) -> _Source:
    source = _mapping(holder, "metricSource", f"{where}: {part}")
    if (kind := source.get("type")) != SOURCE:
        raise ConfigError(
            f"{where}: {part}: metricSource is of type {kind!r}, which fourfold cannot read; write type: {SOURCE} and "
            "spec: {metric: recall, target: late}"
        )
    spec = _mapping(source, "spec", f"{where}: {part}: metricSource")
    for field in ("metric", "target"):
        if not spec.get(field):
            raise ConfigError(
                f"{where}: {part}: metricSource.spec has no {field}; write {{metric: recall, target: late}}"
            )
    return _Source(part, spec)


def _share(goal: Mapping[str, Any], where: str) -> float:
    percent = goal.get("targetPercent")
    target = goal.get("target") if percent is None else percent
    if (
        isinstance(target, bool)
        or not isinstance(target, (int, float))
        or not 0 <= target < (1 if percent is None else 100)
    ):
        raise ConfigError(f"{where}: objectives: target={target!r} is not a share from 0 to below 1")
    share = float(target) if percent is None else round(float(target) / 100, 12)
    return 1.0 if share >= _MOST else share


def _window(spec: Mapping[str, Any], where: str) -> str:
    windows = spec.get("timeWindow", [{"duration": "30d", "isRolling": True}])
    window = windows[0] if isinstance(windows, Sequence) and len(windows) == 1 else None
    if not isinstance(window, dict) or not isinstance(window.get("duration"), str):
        raise ConfigError(f"{where}: timeWindow: give exactly one, with its duration")
    duration = str(window["duration"])
    calendar = window.get("calendar")
    if window.get("isRolling", calendar is None):
        return duration
    found = next((name for name, length in _CALENDAR.items() if length == duration), None)
    zone = calendar.get("timeZone") if isinstance(calendar, dict) else None
    if found is None or zone not in _ZONES:
        raise ConfigError(
            f"{where}: timeWindow: {duration!r} in {zone!r}; fourfold's calendar windows are "
            f"{', '.join(_CALENDAR.values())} in {_ZONE}"
        )
    return found


def _of(holder: Any, field: str, where: str) -> Any:
    if not isinstance(holder, dict) or holder.get(field) is None:
        raise ConfigError(f"{where}: {field} is missing")
    return holder[field]


def _mapping(holder: Any, field: str, where: str) -> dict[str, Any]:
    found = _of(holder, field, where)
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {field}={found!r} is no mapping of fields")
    return found
