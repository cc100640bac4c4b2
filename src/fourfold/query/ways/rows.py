"""Answers as rows of a result, each with its maturity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fourfold.metrics.tasks import noted
from fourfold.model import EVERYTHING, Value, Window
from fourfold.query.counts import Place, by_window
from fourfold.query.result import Result, Slice
from fourfold.query.ways.maturity import Maturity
from fourfold.query.ways.query import Query


def noting(query: Query, answers: dict[Place, Value]) -> dict[Place, Value]:
    """Answers not from the task's own counts, each with the number of records that it leaves out."""
    task = query.target.task
    assert task is not None
    found, _ = by_window(query.source, "", (task.kind,), query.names, query.windows, query.level, bins=False)
    return {**answers, **{place: noted(answers[place], entry) for place, entry in found if place in answers}}


def rows(query: Query, answers: dict[Place, Any], slices: Sequence[str], *, text: str = "") -> Result:
    """The rows, each with its maturity."""
    curve = query.question.metric.curve
    empty: Any = Value.no_data(f"no {'predictions' if query.target.kind == 'task' else 'records'} in this window")
    if curve:
        empty = [(("",) * len(curve), empty)]
    mature = Maturity(query)
    at: list[Window] = []
    places: list[Slice] = []
    values: list[Value] = []
    known = [(key, json.loads(key)) for key in slices or [EVERYTHING]]
    for i, window in enumerate(query.windows):
        for key, place in known:
            answer = answers.get((i, key), empty)
            for names, value in answer if isinstance(answer, list) else (((), answer),):
                at.append(window)
                places.append({**place, **dict(zip(curve, names, strict=True))} if curve else place)
                values.append(mature.of(value, window, (i, key)))
    by = [*query.names, *curve]
    return Result(text or query.question.text, by, at, places, values)
