"""Components that join frames: keys and rows without a match."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from fourfold.model import Value, percent
from fourfold.query.counts import totals
from fourfold.query.reader import Reader
from fourfold.query.table import Table
from fourfold.reports.components import newest_runs


@dataclasses.dataclass(frozen=True, slots=True)
class Join:
    """A component that joins frames: the share of nulls in its keys, and in the columns it gained."""

    component: str
    keys: tuple[tuple[str, Value], ...]
    gained: tuple[tuple[str, Value], ...]


def joins(reader: Reader, limit: int = 6) -> Table[Join]:
    """The components that join frames, with the null rates of their join keys and of the columns gained.

    Keys are the columns that two inputs share; gained columns are in the output but not in its largest input. Only
    columns with nulls are listed, the worst first.
    """
    found = []
    for run in newest_runs(reader).values():
        inputs, outputs = (
            [_missing(reader, f"{run.component}.{a.name}") for a in run.artifacts
             if a.kind == "frame" and a.direction == direction]
            for direction in ("input", "output")
        )  # fmt: skip
        if len(inputs) < 2 or len(outputs) != 1:
            continue
        shared = {name for i, one in enumerate(inputs) for other in inputs[:i] for name in one.keys() & other.keys()}
        largest = max(inputs, key=lambda columns: max((share.n for share in columns.values()), default=0))
        keys = {name: share for name, share in outputs[0].items() if name in shared}
        gained = {name: share for name, share in outputs[0].items() if name not in largest}
        found.append(Join(run.component, _worst(keys, limit), _worst(gained, limit)))
    return Table(found, _columns)


def _missing(reader: Reader, stream: str) -> dict[str, Value]:
    """The share of each column's records without a value."""
    found = {}
    for column, kinds in totals(reader, stream, bins=False).items():
        counted = kinds.get("numeric") or next(iter(kinds.values()))
        rows = counted.tally("rows")
        found[column] = Value(counted.missing / rows, n=rows) if rows else Value.no_data("no records")
    return found


def _worst(shares: Mapping[str, Value], limit: int) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(((n, v) for n, v in shares.items() if v.value), key=lambda e: -(e[1].value or 0))[:limit])


def _columns(join: Join) -> dict[str, object]:
    """A join's row in the table: the columns with the share of their records that are null."""
    keys, gained = ([f"{name} {percent(value.value)}" for name, value in part] for part in (join.keys, join.gained))
    return {"component": join.component, "null_keys": keys, "null_gained": gained}
