"""Streams and their columns."""

from __future__ import annotations

import dataclasses
import time

from fourfold.metrics import parse
from fourfold.model import DAY, EVERYTHING, HOUR, Owner, Value, percent
from fourfold.query.counts import CurrentCounts, totals
from fourfold.query.reader import Reader
from fourfold.query.table import Table, moment
from fourfold.state import bulk, catalogue, series

_COLUMN_METRICS = ("null_rate", "nan_rate", "mean", "quantile(0.5)", "min", "max", "distinct")


@dataclasses.dataclass(frozen=True, slots=True)
class StreamView:
    """A stream: its records, columns and days. ``logged`` is False if only counts are kept."""

    name: str
    key: str | None
    logged: bool
    rows: int
    first_day: int | None
    last_day: int | None
    columns: tuple[tuple[str, str], ...]  # name and kind
    forgotten_before: int | None = None  # a midnight, in seconds since 1970
    retention: int | None = None  # seconds, from this process's fourfold.toml


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnView:
    """A column: its main metrics over all records, and its most frequent values with their shares."""

    name: str
    kind: str
    values: dict[str, Value]
    frequent: tuple[tuple[str, float], ...]

    @property
    def missing(self) -> float:
        """The share of nulls and NaNs; pandas does not tell them apart."""
        return sum(self.values[name].value or 0.0 for name in ("null_rate", "nan_rate") if name in self.values)


def streams(reader: Reader) -> Table[StreamView]:
    """All streams, including those with counts only."""
    versions = reader.log_versions()
    out = []
    with reader.database.read() as connection:
        for name, (key, _) in catalogue.streams(connection, reader.project).items():
            owner = Owner.of_stream(name)
            found = [entry for entry in series.find(connection, reader.project, owner) if entry.slice == EVERYTHING]
            span = series.span(connection, reader.project, owner, DAY)
            columns: dict[str, list[str]] = {}
            for _, column, kind, _ in found:
                if column:
                    columns.setdefault(column, []).append(kind)
            probe = next((entry for entry in found if entry.kind == "stream"), found[0] if found else None)
            rows = int(series.panel(connection, [probe], DAY).tally("rows").sum()) if probe else 0
            first, last = span or (None, None)
            kinds = tuple((column, "+".join(kinds)) for column, kinds in columns.items())
            view = StreamView(name, key, versions[name] is not None, rows, first, last, kinds)
            closed = catalogue.closed_before(connection, reader.project, [name])
            out.append(dataclasses.replace(view, forgotten_before=closed, retention=reader.retention.get(name)))
    return Table(out, _columns_of_stream)


def spans(reader: Reader) -> dict[str, tuple[int, int]]:
    """From when to when each stream has records, in event time: to the hour, the start of what is kept by days only.

    The newest hour may go on: none ends after now, but one that begins there.
    """
    now = int(time.time())
    with reader.database.read() as connection:
        days, hours = (bulk.spans(connection, reader.project, level) for level in (DAY, HOUR))
    return {
        owner.name: (first, max(first, min(hours[owner][1] + HOUR if owner in hours else last + DAY, now)))
        for owner, (first, last) in days.items()
    }


def columns(reader: Reader, stream: str) -> Table[ColumnView]:
    """A summary of each column of a stream."""
    out = []
    source = CurrentCounts(reader, Owner.of_stream(stream))
    for column, kinds in totals(reader, stream).items():
        for kind, total in kinds.items():
            asked = [question for question in map(parse, _COLUMN_METRICS) if kind in question.metric.kinds]
            values = {q.text: q.of(total) for q in asked}
            heavy = (
                sorted(zip(total.labels, total.counts.tolist(), strict=True), key=lambda e: -e[1])
                if total.labels
                else []
            )
            shares = tuple((label, count / total.tally("rows")) for label, count in heavy[:3])
            if kind == "category" and source.is_identifier(column):
                kind, shares = "identifier", ()
            out.append(ColumnView(column, kind, values, shares))
    return Table(out, _columns_of_column)


def _columns_of_stream(view: StreamView) -> dict[str, object]:
    """A stream's row in the table."""
    return {
        "stream": view.name,
        "key": view.key,
        "logged": view.logged,
        "rows": view.rows,
        "first_day": moment(view.first_day),
        "last_day": moment(view.last_day),
        "columns": [name for name, _ in view.columns],
        "forgotten_before": moment(view.forgotten_before),
        "retention_days": None if view.retention is None else view.retention / DAY,
    }


def _columns_of_column(view: ColumnView) -> dict[str, object]:
    """A column's row in the table."""
    values = {name: value.value for name, value in view.values.items()}
    frequent = [f"{label} {percent(share)}" for label, share in view.frequent]
    return {"column": view.name, "kind": view.kind, **values, "frequent": frequent}
