"""Serving against training, column by column."""

from __future__ import annotations

import dataclasses

from fourfold.model import Owner, Value
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.query.table import Table
from fourfold.reports.components import newest_runs
from fourfold.state import runs, series


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """The columns of a stream whose distance from another stream's is largest beyond sampling noise."""

    stream: str
    reference: str
    columns: tuple[tuple[str, Value], ...]


def drift(reader: Reader) -> Table[Drift]:
    """Serving against training: frames of the same name before and after a model is passed on."""
    with reader.database.read() as connection:
        edges = runs.edges(connection, reader.project)
    newest = newest_runs(reader)
    found = []
    for maker, user, artifact in edges:
        if not any(a.kind == "model" and a.name == artifact for a in newest[user].artifacts):
            continue
        frames = [
            {a.name for a in newest[side].artifacts if a.kind == "frame" and a.direction == "input"}
            for side in (maker, user)
        ]
        for name in sorted(frames[0] & frames[1]):
            columns_ = drifted_columns(reader, f"{maker}.{name}", f"{user}.{name}")
            found.append(Drift(f"{user}.{name}", f"{maker}.{name}", tuple(columns_)))
    return Table(found, _columns)


def drifted_columns(reader: Reader, against: str, stream: str, limit: int = 6) -> list[tuple[str, Value]]:
    """The columns of a stream that are furthest from another's, by their distance beyond sampling noise."""
    here, there = (
        {(entry.column, entry.kind) for entry in reader.recall(series.find, Owner.of_stream(name))}
        for name in (stream, against)
    )
    found = []
    for column in sorted({c for c, kind in here & there if c and kind in ("numeric", "category")}):
        name = "population_stability_index"
        value = metric(reader, f"{stream}.{column}", name, against=f"{against}.{column}").value
        if value.value is not None:
            found.append((column, value))
    return sorted(found, key=lambda entry: -((entry[1].value or 0) - (entry[1].expected or 0)))[:limit]


def _columns(drift: Drift) -> dict[str, object]:
    """A stream's row in the table: the columns with their stability index."""
    shown = [f"{name} {value.value:.3g}" for name, value in drift.columns if value.value is not None]
    return {"stream": drift.stream, "reference": drift.reference, "population_stability_index": shown}
