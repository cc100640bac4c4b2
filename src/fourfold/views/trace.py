"""The path of one record, by its key."""

from __future__ import annotations

import dataclasses

import pyarrow.compute as pc

from fourfold.model.records import KEY
from fourfold.query.reader import Reader
from fourfold.reports.trace import Step, TracedValue, trace
from fourfold.state import catalogue
from fourfold.views import forms
from fourfold.views.asking import Asked, path
from fourfold.views.page import Page, Plain

_EXAMPLES = 10
_LONGEST = 2_000  # characters of a value


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """The record's path; without a key, some keys to begin with."""
    key = asked.more.get("key", "")
    if not key:
        return Page({"key": None, "steps": [], "examples": examples(reader)})
    steps = trace(reader, key).steps
    streams = forms.known_streams(reader)
    rows = [_step(step, streams) for step in steps]
    flat = [{"stream": r["stream"], "time": r["time"], **value} for r in rows for value in r["values"]]
    return Page({"key": key, "steps": rows, "examples": []}, rows=flat)


def examples(reader: Reader) -> list[str]:
    """Keys of the newest predictions."""
    tasks = reader.recall(catalogue.tasks).values()
    logged = [*(task.prediction.stream for task in tasks), *reader.recall(catalogue.streams)]
    for stream in dict.fromkeys(logged):
        log = reader.log(stream)
        if not log.is_begun:
            continue
        changes = log.whole()
        newest = dataclasses.replace(changes, added=changes.added[-1:])
        found = newest.records(pc.field(KEY).is_valid(), [KEY])[KEY].to_pylist() if newest.added else []
        if found:
            return [str(key) for key in found[-_EXAMPLES:]]
    return []


def _step(step: Step, streams: frozenset[str]) -> Plain:
    return {
        "stream": step.stream, "time": forms.time(step.time.timestamp()), "logged": forms.time(step.logged.timestamp()),
        "roles": [{"task": task, "role": role} for task, role in step.roles],
        "values": [_value(step.stream, value) for value in step.values],
        "run": None if step.run is None else forms.run(step.run, streams), "version": step.version,
        "delay": step.delay, "notes": list(step.notes), "href": path("streams", step.stream),
    }  # fmt: skip


def _value(stream: str, found: TracedValue) -> Plain:
    shown = found.value
    if not isinstance(shown, (bool, int, float)) and shown is not None:
        shown = str(shown)[:_LONGEST]
    return {
        "column": found.column, "value": shown, "kind": found.kind, "position": found.position,
        "unusual": found.unusual, "words": found.place, "href": path("columns", stream, found.column),
    }  # fmt: skip
