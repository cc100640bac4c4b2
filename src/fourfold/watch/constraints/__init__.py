"""Constraints on the values of columns: inferred and confirmed on later data before they count, or declared."""

from __future__ import annotations

import bisect
import dataclasses
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from fourfold.model import DAY, Series
from fourfold.model.incident import Finding
from fourfold.query.reader import Reader
from fourfold.state import catalogue, runs
from fourfold.watch.constraints.declared import expected, merged, place
from fourfold.watch.constraints.learning import Learned
from fourfold.watch.constraints.newest import Newest, Window, newest_days
from fourfold.watch.constraints.reading import counted_by_day, days_of_streams, with_other_values
from fourfold.watch.constraints.rule import Constraint, Rule, Status, breach, told, violations

__all__ = ["Constraint", "Learned", "Rule", "Status", "active", "all_of", "expected", "findings", "violations"]

_HOLD = 2  # days: the newest, and the one before, since the newest may have only begun
_BACK = 30  # days that are looked back for the onset
_SETTLED = 20  # of them with a violation are the new normal
_LEARNED: weakref.WeakKeyDictionary[Any, dict[str, Learned]] = weakref.WeakKeyDictionary()  # by database and project
Expects = Mapping[str, Any]


def findings(
    reader: Reader,
    now: float,
    since: float | None = None,
    expects: Expects | None = None,
    learned: Learned | None = None,
) -> list[Finding]:
    """The constraints that the newest days of some stream violate, as of ``now``, in seconds since 1970.

    Args:
        reader: the project's reader.
        now: later days are left out.
        since: the time of the check before; unused, since a violation is given as long as it holds.
        expects: the section ``[watch.expects]`` of fourfold.toml.
        learned: what was inferred earlier, which is brought up to date; by default what this process has inferred.

    Raises:
        ConfigError: ``expects`` is invalid.
    """
    known = learned if learned is not None else _of_process(reader)
    days, windows = days_of_streams(reader), {}
    for stream, buckets in days.items():
        if held := buckets[: bisect.bisect_left(buckets, now)][-_HOLD:]:
            windows[stream] = held[0], held[-1] + 1
    suspects = []
    for newest in newest_days(reader, windows):
        own = _all(reader, newest.stream, days[newest.stream], expects or {}, known)
        suspects.append((newest, [c for c in own if c.counts and newest.may_violate(c)]))
    return [
        finding
        for newest, suspected in _without_known_sets(reader, suspects)
        if suspected
        for finding in _violated(reader, newest, suspected)
    ]


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
    buckets = days_of_streams(reader).get(stream, [])
    return list(_all(reader, stream, buckets, expects or {}, _of_process(reader)))


def _of_process(reader: Reader) -> Learned:
    return _LEARNED.setdefault(reader.database, {}).setdefault(reader.project, Learned())


def _all(
    reader: Reader, stream: str, buckets: Sequence[int], expects: Expects, learned: Learned
) -> Sequence[Constraint]:
    inferred = learned.constraints(reader, stream, buckets)
    declared = _in_code(reader, stream), _in_settings(reader, stream, expects)
    return merged(inferred, *declared) if any(declared) else inferred


def _in_code(reader: Reader, stream: str) -> list[Constraint]:
    """What components declare by ``expects=``, on what they write and log."""
    found: list[Constraint] = []
    for component, declared in reader.recall(runs.expectations).items():
        if stream == component or stream.startswith(f"{component}."):
            for column, fields in declared.items():
                found += expected(stream, column, fields, f"component {component!r}: expects")
    return found


def _in_settings(reader: Reader, stream: str, expects: Expects) -> list[Constraint]:
    streams = reader.recall(catalogue.streams)
    found: list[Constraint] = []
    for name, fields in expects.items():
        named, column = place(name, streams)
        if named == stream:
            found += expected(stream, column, fields, f'fourfold.toml, [watch.expects."{name}"]')
    return found


def _without_known_sets(
    reader: Reader, suspects: Sequence[tuple[Newest, Sequence[Constraint]]]
) -> list[tuple[Newest, list[Constraint]]]:
    """Without the sets of values that hold all that there was, looked up for all streams at once."""
    of_window: dict[Window, dict[Series, Sequence[str]]] = {}
    for newest, suspected in suspects:
        sets = {c.column: c.values for c in suspected if c.rule is Rule.VALUES}
        own = {entry: sets[entry.column] for entry in newest.of(sets) if entry.kind == "category"}
        of_window.setdefault(newest.window, {}).update(own)
    ids = {entry.id for window, sets in of_window.items() if sets for entry in with_other_values(reader, sets, *window)}
    return [
        (newest, [c for c in suspected if c.rule is not Rule.VALUES or c.column in others])
        for newest, suspected in suspects
        for others in [{entry.column for entry in newest.series if entry.id in ids}]
    ]


def _violated(reader: Reader, newest: Newest, suspect: Sequence[Constraint]) -> list[Finding]:
    days = counted_by_day(reader, newest.stream, newest.of({c.column for c in suspect}), *newest.window)
    found = []
    for constraint in suspect:
        held = [
            day
            for day in sorted(days)
            if day >= constraint.since and breach(constraint, days[day].get(constraint.column, ())) is not None
        ]
        if held and (finding := _since_when(reader, newest, constraint, held[-1])) is not None:
            found.append(finding)
    return found


def _since_when(reader: Reader, known: Newest, constraint: Constraint, last: int) -> Finding | None:
    """The finding, from the first day of the violation on; None if it is the new normal by now."""
    wanted = known.of({constraint.column})
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
    begun = breaches[first]
    assert begun is not None
    # had it begun earlier, the day before would have shown it: but for a time in which no more than three were due
    early = float(days[first]) - min(3 / max(begun.records, 1), 1.0) * DAY
    low = max(early, float(days[first - 1])) if first else float(days[first])
    told_of = told(constraint, newest, float(days[first]), low, float(last + DAY))
    return dataclasses.replace(told_of, began_high=float(days[first] + DAY))
