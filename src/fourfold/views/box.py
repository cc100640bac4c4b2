"""A stretch of time, boxed on a chart: what is different inside, of every column, slice, version and parameter."""

from __future__ import annotations

import time

from fourfold.charts import Chart
from fourfold.errors import InputError
from fourfold.model import DAY, HOUR, Owner, Window, seconds
from fourfold.query.reader import Reader
from fourfold.query.target import Target, resolve
from fourfold.query.together import kept_hours
from fourfold.reports import box
from fourfold.state import bulk, catalogue
from fourfold.views import differing, forms
from fourfold.views.asking import Asked, Shown
from fourfold.views.incident import lineage_of
from fourfold.views.page import Page

_AROUND = 28 * DAY  # before and after what is boxed


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What differs inside a stretch of time."""
    began = time.perf_counter()
    name = asked.more.get("target") or next(iter(reader.recall(catalogue.tasks)), "")
    target = resolve(reader, name)
    shown = asked.window(reader, target.owner, now, default="-7d")
    inside = _whole(shown.window)
    streams = _streams(reader, target, asked.more.get("stream", ""))
    baseline = baseline_of(asked.against, inside, shown)
    chosen = box.sides(inside, baseline, asked.where, kept_hours(reader, streams))
    found = box.differences(reader, chosen, streams)
    charts: dict[str, Chart] = {}
    several = differing.gathered(found, lineage_of(reader))
    rows = differing.listed(several, asked, "box", ("inside", "baseline"), charts)
    n, compared_with = box.records(reader, chosen, target.stream)
    data = {
        "target": name, "n": {"inside": n, "baseline": compared_with},
        "reason": _reason(reader, target.stream, chosen, shown, n, compared_with),
        "window": {"inside": _plain(inside), "baseline": _plain(chosen.compared_with)},
        "against": asked.against or "before", **forms.where_of(asked.where), "rows": rows, "total": len(several),
        "took": time.perf_counter() - began,
    }  # fmt: skip
    return Page(data, charts, lambda: [differing.row(one) for one in found])


def _reason(reader: Reader, stream: str, chosen: box.Sides, shown: Shown, n: int, compared_with: int) -> str:
    """Why there is nothing to compare; "" if there is."""
    if n and compared_with:
        return ""
    names = sorted(chosen.where.names)
    if names and all(sorted(entry.names) != names for entry in forms.series_of(reader, stream)):
        return f"the records of {stream} are not counted by {' × '.join(names)}; declare it as a slice"
    if n:
        start, end = _plain(chosen.compared_with).values()
        return f"{stream} has no such records from {start} to {end}, to compare with"
    if chosen.inside.start >= shown.data_end:
        return f"{stream} has no records inside: the newest are of before {forms.time(shown.data_end)}"
    if chosen.inside.end <= shown.data_start:
        return f"{stream} has no records inside: the first are of {forms.time(shown.data_start)} or later"
    return f"{stream} has no such records inside"


def baseline_of(against: str, inside: Window, shown: Shown) -> Window:
    """What is compared with: the four weeks before, or before and after (the rest), all, or a stretch that is named.

    It is before unless something else is asked for: what follows a fault that lasts is no example of what is usual.

    Raises:
        InputError: it is none of these, or empty.
    """
    first, last = shown.data_start // DAY * DAY, -(-shown.data_end // DAY) * DAY
    before = Window(max(first, (inside.start - _AROUND) // DAY * DAY), inside.start)
    if against == "rest" or (not against and before.start >= before.end):
        after = -(-(inside.end + _AROUND) // DAY) * DAY
        return Window(min(before.start, inside.start), max(min(last, after), inside.end))
    if against in ("", "before"):
        if before.start >= before.end:
            raise InputError("against='before': there is nothing before what is boxed")
        return before
    if against == "all":
        return Window(first, last)
    start, slash, end = against.partition("/")
    if not slash:
        raise InputError(f"against={against!r}: give rest, before, all, or START/END")
    found = _whole(Window(seconds(start, "against"), seconds(end, "against")))
    if found.start >= found.end:
        raise InputError(f"against={against!r}: the start is not before the end")
    return found


def _streams(reader: Reader, target: Target, named: str) -> list[str]:
    """Where to look: the streams with event times and counts, the target's first."""
    known = list(dict.fromkeys(owner.name for owner, _ in reader.recall(bulk.of_streams)))
    if named:
        return [resolve(reader, named).owner.name]
    return sorted(known, key=lambda name: (Owner.of_stream(name) != target.owner and name != target.stream, name))


def _whole(window: Window) -> Window:
    unit = DAY if window.start % DAY == 0 and window.end % DAY == 0 else HOUR
    return Window(window.start // unit * unit, -(-window.end // unit) * unit)


def _plain(window: Window) -> dict[str, str | None]:
    return {"start": forms.time(window.start), "end": forms.time(window.end)}
