"""The events of a metric by hour and day: hours only where an alert looks at them, as they are many."""

from __future__ import annotations

from collections.abc import Callable

from fourfold.model import DAY, HOUR, Objective, slice_key
from fourfold.query.result import Result
from fourfold.watch.objectives.budget import Bucket
from fourfold.watch.objectives.reading import of_value

Ask = Callable[..., Result]  # (start=, end=, every=) -> the metric by window and slice
Buckets = dict[str, list[Bucket]]  # by slice, in order
_EVERY = {HOUR: "1h", DAY: "1d"}


def in_units(ask: Ask, objective: Objective, first: int, end: int, unit: int, *, events: bool, slices: int) -> Buckets:
    """The events in [first, end) by hour, or by day."""
    found: Buckets = {}
    if first >= end:
        return found
    for row in ask(start=first, end=end, every=_EVERY[unit]):
        tally, mature = of_value(objective, row.value, events=events, slices=slices)
        bucket = Bucket(row.window.start, row.window.end, tally, mature)
        found.setdefault(slice_key(row.slice), []).append(bucket)
    return found


def in_hours_and_days(ask: Ask, objective: Objective, first: int, end: int, alerts: int, *, slices: int) -> Buckets:
    """The events of records in [first, end): in hours at its ends, and where alerts of this length look; else in days.

    Alerts look back from the newest day with (nearly) all labels, or from the day after it.
    """

    def read(start: int, stop: int, unit: int) -> Buckets:
        return in_units(ask, objective, start, stop, unit, events=True, slices=slices)

    inner, outer = -(-first // DAY) * DAY, end // DAY * DAY
    if outer - inner <= alerts + 2 * DAY:
        return read(first, end, HOUR)
    days = read(inner, outer, DAY)
    mature = newest_mature(days, inner)
    low, high = max((mature - alerts) // DAY * DAY, inner), min(mature + DAY, outer)
    coarse = {key: [b for b in several if not low <= b.start < high] for key, several in days.items()}
    parts = [coarse, read(first, inner, HOUR), read(low, high, HOUR), read(outer, end, HOUR)]
    return {
        key: sorted((b for part in parts for b in part.get(key, ())), key=lambda b: b.start)
        for key in dict.fromkeys(key for part in parts for key in part)
    }


def newest_mature(buckets: Buckets, otherwise: int) -> int:
    """The end of the newest bucket with (nearly) all labels, in any slice."""
    return max(
        (b.end for several in buckets.values() for b in several if b.mature and b.tally.total), default=otherwise
    )
