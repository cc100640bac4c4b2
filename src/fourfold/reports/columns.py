"""All columns of a stream at a glance, however many there are: from their counts in one stretch of time."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np

from fourfold.counts import KINDS, Counts
from fourfold.metrics import quality
from fourfold.model import EVERYTHING, Owner, Value, Window
from fourfold.query.counts import CurrentCounts
from fourfold.query.reader import Reader
from fourfold.query.together import Stretch, together
from fourfold.state import series


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A column in a window; None for what its kind does not have."""

    name: str
    kind: str
    rows: int
    missing: float | None
    mean: float | None = None
    median: float | None = None
    low: float | None = None
    high: float | None = None
    distinct: float | None = None
    frequent: tuple[tuple[str, float], ...] = ()


def overview(reader: Reader, stream: str, window: Window) -> list[ColumnSummary]:
    """The columns of a stream, by name, with their records, missing values and extremes alone: quick, however many."""
    stretch, owner = Stretch.of(window), Owner.of_stream(stream)
    known = [entry for entry in reader.recall(series.find, owner) if entry.column and entry.slice == EVERYTHING]
    by_id = {entry.id: entry for entry in known}
    with reader.database.read() as connection:
        stored = series.summaries(connection, known, stretch.level, stretch.start, stretch.end)
    tallies: dict[int, list[bytes]] = {}
    ends: dict[int, list[float]] = {}
    for row in stored:
        id_, _, packed, low, high, _ = tuple(row)
        tallies.setdefault(id_, []).append(packed)
        if low is not None and high is not None:
            ends.setdefault(id_, []).extend((low, high))
    parts: dict[str, dict[str, int]] = {}
    for id_ in tallies:
        parts.setdefault(by_id[id_].column, {})[by_id[id_].kind] = id_
    plan = reader.plan(stream)
    found = []
    for name, kinds in sorted(parts.items()):
        kind = next((kind for kind in ("numeric", "category") if kind in kinds), next(iter(kinds)))
        names = KINDS[kind].tallies
        sums = np.frombuffer(b"".join(tallies[kinds[kind]]), "<i8").reshape(-1, len(names)).sum(axis=0).tolist()
        counted = dict(zip(names, sums, strict=True))
        rows, gone = counted["rows"], counted.get("null", 0) + counted.get("nan", 0)
        values = ends.get(kinds[kind], []) if kind == "numeric" else []
        found.append(
            ColumnSummary(
                name, "identifier" if plan.identifier(name) else "+".join(kinds), rows, gone / rows if rows else None,
                low=min(values, default=None), high=max(values, default=None),
            )
        )  # fmt: skip
    return found


def summaries(reader: Reader, stream: str, window: Window, names: Collection[str] | None = None) -> list[ColumnSummary]:
    """The columns of a stream, or some of them, by name."""
    found = together(reader, [stream], Stretch.of(window), columns=names)
    by_column: dict[str, dict[str, Counts]] = {}
    for (_, column, kind), counted in found.items():
        if column:
            by_column.setdefault(column, {})[kind] = counted
    source = CurrentCounts(reader, Owner.of_stream(stream))
    return [_summary(name, kinds, source.is_identifier(name)) for name, kinds in sorted(by_column.items())]


def _summary(name: str, kinds: Mapping[str, Counts], identifier: bool) -> ColumnSummary:
    number, category = kinds.get("numeric"), kinds.get("category")
    first = number or category or next(iter(kinds.values()))
    rows = first.tally("rows")
    found = ColumnSummary(
        name, "identifier" if identifier else "+".join(kinds), rows, first.missing / rows if rows else None
    )
    if number is not None:
        middle = quality.quantile(number, 0.5)
        low, high = quality.minimum(number), quality.maximum(number)
        found = dataclasses.replace(
            found, mean=quality.mean(number).value, median=middle.value, low=low.value, high=high.value
        )  # fmt: skip
    if category is not None and not identifier:
        heavy = sorted(zip(category.labels, category.counts.tolist(), strict=True), key=lambda e: (-e[1], e[0]))[:3]
        exact = category.tally("other") == 0
        distinct = Value(float(len(category.labels))) if exact else quality.distinct(category)
        found = dataclasses.replace(
            found, distinct=distinct.value if exact or len(category.registers) else None,
            frequent=tuple((label, n / rows) for label, n in heavy) if rows else (),
        )  # fmt: skip
    return found
