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
from fourfold.query.read import EVER, Place, Target, load, pooled, resolve
from fourfold.query.result import Moment, Result, seconds
from fourfold.query.source import Source, Stored
from fourfold.query.ways.asked import Asked
from fourfold.query.ways.rows import rows


def counted(asked: Asked, against: str | tuple[Moment, Moment] | None) -> Result:
    """The metric of the counts in each window and slice."""
    question, found = asked.question, asked.target
    by_place, slices = load(
        asked.source, asked.column, asked.kinds, asked.names, asked.windows, asked.level, bins=question.needs_bins
    )  # fmt: skip
    if found.kind == "column" and not slices:
        kinds = sorted({row[2] for row in asked.source.series() if row[1] == found.column})
        raise InputError(
            f"{question.text}: column {found.column!r} is counted as {' and '.join(kinds)}, not as "
            f"{' or '.join(question.metric.kinds)}"
        )
    references = _references(asked, against)
    # each row's counts are evaluated as they are read and then freed, so that a long answer holds values only
    answers = _of_panel(asked, by_place) if isinstance(by_place, Panel) else None
    if answers is None:
        answers = {key: _answer(asked, entry, references, key[0]) for key, entry in by_place}
    if found.task is not None and question.metric.series:  # a series has no counts of unlabelled predictions
        tallies, slices = load(
            asked.source, "", (found.task.kind,), asked.names, asked.windows, asked.level, bins=False
        )
        for key, entry in tallies:
            answer = answers.get(key) or Value.no_data(f"no labels yet for {entry.tally('predicted')} predictions")
            answers[key] = noted(dataclasses.replace(answer, coverage=covered(entry)), entry)
    return rows(asked, answers, slices)


def _of_panel(asked: Asked, panel: Panel) -> dict[Place, Any] | None:
    """The metric of all rows, if it answers for many rows at once; else None."""
    answers = asked.question.of_panel(panel)
    if answers is None:
        return None
    for i in np.flatnonzero(panel.tally("invalid_label") + panel.tally("unscored") > 0).tolist():
        answers[i] = _noted(asked, answers[i], panel.row(i))
    return dict(zip(panel.places, answers, strict=True))


def _answer(asked: Asked, found: Counts, references: Sequence[Counts | None], window: int) -> Any:
    """The metric of one window and slice; for a curve, its values by name."""
    if not asked.question.metric.distance:
        return _noted(asked, asked.of(found), found)
    if found.kind == "category" and asked.source.is_identifier(found.column):  # some of its past may be labelled
        return Value.no_data(drift.IDENTIFIER, found.tally("rows") - found.missing)
    reference = references[window]
    if reference is None:
        return Value.no_data("the reference has no data", int(found.counts.sum()))
    return asked.of(found, reference)


def _noted(asked: Asked, answer: Any, found: Counts) -> Any:
    """The answer from a task's counts, with the number of records that it leaves out."""
    if asked.target.task is None or asked.question.metric.series:
        return answer
    if isinstance(answer, list):
        return [(names, noted(value, found)) for names, value in answer]
    return noted(answer, found)


def _references(asked: Asked, against: str | tuple[Moment, Moment] | None) -> list[Counts | None]:
    """Each window's reference, for a distance; None for other metrics."""
    if not asked.question.metric.distance:
        if against is not None:
            raise InputError(f"against= is for distances between distributions, not for {asked.question.metric.name}")
        return []

    def total(of: Target, source: Source, window: Window) -> Counts | None:
        found, _ = load(source, of.column, asked.question.metric.kinds, (), [window], asked.level)
        return pooled(entry for _, entry in found)

    if against is None:  # everything before
        return [total(asked.target, asked.source, Window(EVER.start, window.start)) for window in asked.windows]
    if isinstance(against, str):
        other = resolve(asked.reader, against)
        return [total(other, Stored(asked.reader, other.owner), EVER)] * len(asked.windows)
    span = Window(seconds(against[0], "against"), seconds(against[1], "against"))
    return [total(asked.target, asked.source, span)] * len(asked.windows)
