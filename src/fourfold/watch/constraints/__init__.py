"""Constraints on the values of columns: inferred and confirmed on later data before they count, or declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fourfold.model import DAY
from fourfold.model.incident import Finding
from fourfold.query.reader import Reader
from fourfold.state import catalogue, runs
from fourfold.watch.constraints import inference
from fourfold.watch.constraints.declared import expected, merged, place
from fourfold.watch.constraints.inference import Days
from fourfold.watch.constraints.reading import Columns, columns, counted_by_day, labels
from fourfold.watch.constraints.rule import Constraint, Rule, Status, breach, told, violations

__all__ = ["Constraint", "Rule", "Status", "active", "all_of", "expected", "findings", "violations"]

_HOLD = 2  # days: the newest, and the one before, since the newest may have only begun
_BACK = 30  # days that are looked back for the onset
_SETTLED = 20  # of them with a violation are the new normal
Expects = Mapping[str, Any]
Breaches = Mapping[int, Any]


def findings(reader: Reader, now: float, since: float | None = None, expects: Expects | None = None) -> list[Finding]:
    """The constraints that the newest days of some stream violate, as of ``now``, in seconds since 1970.

    Args:
        reader: the project's reader.
        now: later days are left out.
        since: the time of the check before; unused, since a violation is given as long as it holds.
        expects: the section ``[watch.expects]`` of fourfold.toml.

    Raises:
        ConfigError: ``expects`` is invalid.
    """
    found = []
    for stream in reader.recall(catalogue.streams):
        known = columns(reader, stream)
        days = [day for day in known.newest if day < now]
        if days:
            found += _violated(reader, known, [c for c in _all(reader, known, expects or {}) if c.counts], days)
    return found


def active(reader: Reader, stream: str, expects: Expects | None = None) -> list[Constraint]:
    """The constraints on a stream's columns that count: declared, or inferred and confirmed.

    Raises:
        ConfigError: ``expects``, the section ``[watch.expects]``, is invalid.
    """
    return [constraint for constraint in all_of(reader, stream, expects) if constraint.counts]


def all_of(reader: Reader, stream: str, expects: Expects | None = None) -> list[Constraint]:
    """All constraints on a stream's columns: also those that are still learned, and those that were muted.

    Raises:
        ConfigError: ``expects``, the section ``[watch.expects]``, is invalid.
    """
    return _all(reader, columns(reader, stream), expects or {})


def _all(reader: Reader, known: Columns, expects: Expects) -> list[Constraint]:
    stream = known.stream
    inferred = reader.database.remember(("constraints", reader.project, stream), lambda: _inferred(reader, known))
    return merged(inferred, _in_code(reader, known), _in_settings(reader, known, expects))


def _inferred(reader: Reader, known: Columns) -> list[Constraint]:
    stream, found = known.stream, []
    numbers = {column for column, kind in known.days if kind == "numeric"}
    for (column, kind), days in known.days.items():
        match kind:
            case "stream":
                found += inference.unique_keys(stream, days)
            case "numeric":
                found += inference.numeric(stream, column, days)
            case "category" if known.most[column, kind] <= inference.MOST_VALUES:
                days_of_labels = labels(reader, stream, known.series[column, kind])
                found += inference.categories(stream, column, days_of_labels)
        if kind in ("category", "opaque") and column not in numbers:
            found += inference.missing(stream, column, days)
    return found + _types(known)


def _types(known: Columns) -> list[Constraint]:
    """The kinds of values that columns had from the start."""
    found = []
    for column in {column for column, kind in known.days if kind != "stream"}:
        several = {kind: days for (name, kind), days in known.days.items() if name == column}
        buckets = sorted({bucket for days in several.values() for bucket in days.buckets.tolist()})
        first = buckets[: 2 * inference.FEW_DAYS]
        kinds = tuple(sorted(kind for kind, days in several.items() if _has_values(days, first[-1])))
        n = sum(int(days.rows[days.buckets <= first[-1]].sum()) for days in several.values())
        if len(first) == 2 * inference.FEW_DAYS and kinds and n >= 2 * inference.RECORDS:
            found.append(Constraint(known.stream, column, Rule.TYPE, Status.ACTIVE, values=kinds, n=n,
                                    buckets=len(first), needed=len(first), since=float(first[-1] + DAY)))  # fmt: skip
    return found


def _has_values(days: Days, last: int) -> bool:
    return bool((days.rows > days.missing)[days.buckets <= last].any())


def _in_code(reader: Reader, known: Columns) -> list[Constraint]:
    """What components declare by ``expects=``, on what they write and log."""
    present = {column for column, _ in known.days}
    found: list[Constraint] = []
    for component, declared in reader.recall(runs.expectations).items():
        if known.stream == component or known.stream.startswith(f"{component}."):
            for column in declared.keys() & present:
                found += expected(known.stream, column, declared[column], f"component {component!r}: expects")
    return found


def _in_settings(reader: Reader, known: Columns, expects: Expects) -> list[Constraint]:
    streams = reader.recall(catalogue.streams)
    found: list[Constraint] = []
    for name, fields in expects.items():
        stream, column = place(name, streams)
        if stream == known.stream:
            found += expected(stream, column, fields, f'fourfold.toml, [watch.expects."{name}"]')
    return found


def _violated(reader: Reader, known: Columns, constraints: Sequence[Constraint], days: Sequence[int]) -> list[Finding]:
    newest = counted_by_day(reader, known.stream, list(known.series.values()), days[-_HOLD:][0], days[-1] + 1)
    found = []
    for constraint in constraints:
        held = [
            day
            for day in sorted(newest)
            if day >= constraint.since and breach(constraint, newest[day].get(constraint.column, ())) is not None
        ]
        if held and (finding := _since_when(reader, known, constraint, held[-1])) is not None:
            found.append(finding)
    return found


def _since_when(reader: Reader, known: Columns, constraint: Constraint, last: int) -> Finding | None:
    """The finding, from the first day of the violation on; None if it is the new normal by now."""
    wanted = [entry for (column, _), entry in known.series.items() if column == constraint.column]
    start = max(last - _BACK * DAY, int(constraint.since))
    counted = counted_by_day(reader, known.stream, wanted, start, last + 1)
    days = sorted(counted)
    breaches = [breach(constraint, counted[day].get(constraint.column, ())) for day in days]
    if constraint.status is Status.ACTIVE and sum(found is not None for found in breaches) >= _SETTLED:
        return None
    first = len(days) - 1
    while first > 0 and any(found is not None for found in breaches[max(first - 2, 0) : first]):
        first -= 1
    while breaches[first] is None:
        first += 1
    newest = breaches[-1]
    assert newest is not None
    before = float(days[first - 1]) if first else float(days[first])
    return dataclasses.replace(told(constraint, newest, float(days[first]), before, float(last + DAY)))
