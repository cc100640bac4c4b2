"""A metric of the counts, by window and slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fourfold.counts import Counts, Panel
from fourfold.errors import InputError
from fourfold.metrics import drift
from fourfold.metrics.tasks import covered, noted
from fourfold.model import Value, Window
from fourfold.query.counts import EVER, CurrentCounts, OwnerCounts, Place, by_window, pooled
from fourfold.query.result import Moment, Result, seconds
from fourfold.query.target import Target, resolve
from fourfold.query.ways.query import Query
from fourfold.query.ways.rows import rows


def counted(query: Query, against: str | tuple[Moment, Moment] | None) -> Result:
    """The metric of the counts in each window and slice."""
    question, found = query.question, query.target
    by_place, slices = by_window(
        query.source, query.column, query.kinds, query.names, query.windows, query.level, bins=question.needs_bins
    )  # fmt: skip
    if found.kind == "column" and not slices:
        kinds = sorted({entry.kind for entry in query.source.series() if entry.column == found.column})
        raise InputError(
            f"{question.text}: column {found.column!r} is counted as {' and '.join(kinds)}, not as "
            f"{' or '.join(question.metric.kinds)}"
        )
    references = _references(query, against)
    # each row's counts are evaluated as they are read and then freed, so that a long answer holds values only
    answers = _of_panel(query, by_place) if isinstance(by_place, Panel) else None
    if answers is None:
        answers = {key: _answer(query, entry, references, key[0]) for key, entry in by_place}
    if found.task is not None and question.metric.series:  # a series has no counts of unlabelled predictions
        tallies, slices = by_window(
            query.source, "", (found.task.kind,), query.names, query.windows, query.level, bins=False
        )
        for key, entry in tallies:
            answer = answers.get(key) or Value.no_data(f"no labels yet for {entry.tally('predicted')} predictions")
            answers[key] = noted(dataclasses.replace(answer, coverage=covered(entry)), entry)
    return rows(query, answers, slices)


def _of_panel(query: Query, panel: Panel) -> dict[Place, Any] | None:
    """The metric of all rows, if it answers for many rows at once; else None."""
    answers = query.question.of_panel(panel)
    if answers is None:
        return None
    for i in np.flatnonzero(panel.tally("invalid_label") + panel.tally("unscored") > 0).tolist():
        answers[i] = _noted(query, answers[i], panel.row(i))
    return dict(zip(panel.places, answers, strict=True))


def _answer(query: Query, found: Counts, references: Sequence[Counts | None], window: int) -> Any:
    """The metric of one window and slice; for a curve, its values by name."""
    if not query.question.metric.distance:
        return _noted(query, query.of(found), found)
    if found.kind == "category" and query.source.is_identifier(found.column):  # some of its past may be labelled
        return Value.no_data(drift.IDENTIFIER, found.tally("rows") - found.missing)
    reference = references[window]
    if reference is None:
        return Value.no_data("the reference has no data", int(found.counts.sum()))
    return query.of(found, reference)


def _noted(query: Query, answer: Any, found: Counts) -> Any:
    """The answer from a task's counts, with the number of records that it leaves out."""
    if query.target.task is None or query.question.metric.series:
        return answer
    if isinstance(answer, list):
        return [(names, noted(value, found)) for names, value in answer]
    return noted(answer, found)


def _references(query: Query, against: str | tuple[Moment, Moment] | None) -> list[Counts | None]:
    """Each window's reference, for a distance; None for other metrics."""
    if not query.question.metric.distance:
        if against is not None:
            raise InputError(f"against= is for distances between distributions, not for {query.question.metric.name}")
        return []

    def total(of: Target, source: OwnerCounts, window: Window) -> Counts | None:
        found, _ = by_window(source, of.column, query.question.metric.kinds, (), [window], query.level)
        return pooled(entry for _, entry in found)

    if against is None:  # everything before
        return [total(query.target, query.source, Window(EVER.start, window.start)) for window in query.windows]
    if isinstance(against, str):
        other = resolve(query.reader, against)
        return [total(other, CurrentCounts(query.reader, other.owner), EVER)] * len(query.windows)
    span = Window(seconds(against[0], "against"), seconds(against[1], "against"))
    return [total(query.target, query.source, span)] * len(query.windows)
