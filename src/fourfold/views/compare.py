"""Two sides compared: windows, slices, versions, or streams; metrics with their difference, and what differs."""

from __future__ import annotations

import dataclasses
import math

from fourfold.charts import Chart
from fourfold.errors import FourfoldError, InputError, suggest
from fourfold.metrics import parse
from fourfold.model import DAY, Owner, Task, Value, Window, seconds
from fourfold.query.filtered import ALL_RECORDS, Filter, chosen
from fourfold.query.reader import Reader
from fourfold.query.together import Stretch, together
from fourfold.reports import box
from fourfold.reports.tasks import headlines
from fourfold.state import bulk, catalogue
from fourfold.views import curves, differing, forms
from fourfold.views.asking import Asked, Shown, path
from fourfold.views.incident import lineage_of
from fourfold.views.page import Page, Plain

_BACK = "-28d"
_EVER = Window(-(2**24) * DAY, 2**24 * DAY)


@dataclasses.dataclass(frozen=True)
class Side:
    """One side: records of a stream (or of all), in a window, in some slices."""

    text: str
    window: Window
    where: Filter = ALL_RECORDS
    stream: str = ""


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """Two sides compared; without them, what can be chosen."""
    a, b = asked.more.get("a", ""), asked.more.get("b", "")
    tasks = reader.recall(catalogue.tasks)
    name = asked.more.get("target") or next(iter(tasks), "")
    if name and name not in tasks:
        raise suggest("task", name, list(tasks))
    task = tasks.get(name)
    if not a or not b:
        choices = _choices(reader, task)
        return Page({"target": name, **choices, "suggested": _suggested(reader, task, choices, asked, now)})
    owner = Owner.of_task(name) if task is not None else _first(reader)
    shown = asked.window(reader, owner, now, default=_BACK)
    sides = (_side(a, "a", task, shown, asked), _side(b, "b", task, shown, asked))
    if bool(sides[0].stream) != bool(sides[1].stream):
        raise InputError(f"a={a!r}, b={b!r}: compare a stream with a stream")
    found, sizes = _differences(reader, sides, task)
    charts: dict[str, Chart] = {}
    several = differing.gathered(found, lineage_of(reader))
    rows = differing.listed(several, asked, "compare", ("a", "b"), charts)
    metrics = [] if task is None or sides[0].stream else _metrics(reader, task, sides)
    data = {
        "target": name, "window": forms.window(shown),
        "a": {"text": sides[0].text, "n": sizes[0], "href": _href(name, sides[0])},
        "b": {"text": sides[1].text, "n": sizes[1], "href": _href(name, sides[1])},
        "metrics": metrics, "rows": rows, "total": len(several),
    }  # fmt: skip
    return Page(data, charts, lambda: [differing.row(one) for one in found])


def _first(reader: Reader) -> Owner:
    known = reader.recall(bulk.of_streams)
    if not known:
        raise InputError("nothing was logged yet: there is nothing to compare")
    return known[0][0]


def _choices(reader: Reader, task: Task | None) -> Plain:
    if task is None:
        return {"dimensions": [], "slices": [], "versions": [], "streams": sorted(forms.known_streams(reader))}
    known = {e.slice: e for e in forms.series_of(reader, task.prediction.stream) if e.kind == "stream" and e.names}
    slices = [
        ", ".join(chosen(name, value) for name, value in entry.values.items())
        for entry in known.values()
        if len(entry.names) == 1 and None not in entry.values.values()
    ]
    of = chosen(task.version, "")
    versions = [text.removeprefix(of) for text in slices if task.version and text.startswith(of)]
    return {
        "dimensions": [list(dimension.names) for dimension in task.dimensions], "slices": sorted(slices),
        "versions": sorted(versions), "streams": sorted(forms.known_streams(reader)),
    }  # fmt: skip


def _suggested(reader: Reader, task: Task | None, choices: Plain, asked: Asked, now: float) -> list[Plain]:
    """Pairs that are worth a look in most stores, as what ``a`` and ``b`` say."""
    if task is None:
        return []
    shown = asked.window(reader, Owner.of_task(task.name), now, default=_BACK)
    end, found = shown.window.end // DAY * DAY, []
    if shown.data_start < end - 7 * DAY:
        week, month = (f"{forms.time(end - a * DAY)}/{forms.time(end - b * DAY)}" for a, b in ((7, 0), (35, 7)))
        found.append({"title": "the last 7 days and the 28 before them", "a": week, "b": month})
    for pair in (choices["slices"][:2], [f"version:{name}" for name in choices["versions"][-2:]]):
        if len(pair) == 2:
            found.append({"title": f"{pair[0]} and {pair[1]}", "a": pair[0], "b": pair[1]})
    return found


def _side(text: str, field: str, task: Task | None, shown: Shown, asked: Asked) -> Side:
    """What a text means: START/END, "carrier=AA", "version:v1", "stream:NAME"."""
    kind, colon, rest = text.partition(":")
    if colon and kind == "stream":
        return Side(rest, shown.window if asked.start or asked.end else _EVER, stream=rest)
    if colon and kind == "version":
        if task is None or not task.version:
            raise InputError(f"{field}={text!r}: the task declares no version=")
        return Side(rest, shown.window, Filter.of([chosen(task.version, rest)], []))
    if "=" in text:
        return Side(text, shown.window, Filter.of([text], []))
    start, slash, end = text.partition("/")
    if not slash:
        raise InputError(f"{field}={text!r}: give START/END, a slice as carrier=AA, version:NAME, or stream:NAME")
    first, last = seconds(start, field), seconds(end, field)
    window = Window(first // DAY * DAY, -(-last // DAY) * DAY)
    if window.start >= window.end:
        raise InputError(f"{field}={text!r}: the start is not before the end")
    return Side(text, window, asked.where)


def _differences(
    reader: Reader, sides: tuple[Side, Side], task: Task | None
) -> tuple[list[box.Difference], tuple[int, int]]:
    known = list(dict.fromkeys(owner.name for owner, _ in reader.recall(bulk.of_streams)))
    found = []
    for side in sides:
        if side.stream and side.stream not in known:
            raise suggest("stream", side.stream, known)
        streams = [side.stream] if side.stream else known
        counted = together(reader, streams, Stretch.of(side.window), side.where)
        if side.stream:  # the same columns, in another stream
            counted = {(sides[0].stream, column, kind): c for (_, column, kind), c in counted.items()}
        found.append(counted)
    sizes = []
    for counted, side in zip(found, sides, strict=True):
        stream = sides[0].stream if side.stream else task.prediction.stream if task is not None else ""
        own = [c.tally("rows") for (name, _, _), c in counted.items() if name == stream]
        sizes.append(max(own, default=max((c.tally("rows") for c in counted.values()), default=0)))
    if not found[0] or not found[1]:
        empty = sides[0] if not found[0] else sides[1]
        raise InputError(f"{empty.text!r}: no records are counted by this; declare it as one of the task's slices")
    return box.ranked(box.ranked_columns(reader, found[0], [found[1]])), (sizes[0], sizes[1])


def _metrics(reader: Reader, task: Task, sides: tuple[Side, Side]) -> list[Plain]:
    rows = []
    for name in headlines(task):
        values = [_value(reader, task, name, side) for side in sides]
        rows.append(
            {
                "metric": name, "title": parse(name, "task", task.kind).title, "unit": curves.unit_of(name),
                "a": forms.value(values[0]), "b": forms.value(values[1]),
                "difference": forms.value(difference(*values)),
            }
        )  # fmt: skip
    return rows


def _value(reader: Reader, task: Task, name: str, side: Side) -> Value:
    shown = Shown(side.window, "1d", side.window.start, side.window.end, relative=False)
    try:
        return shown.metric(reader, task.name, name, whole=True, where=side.where)[0].value
    except FourfoldError as error:
        return Value.no_data(str(error))


def difference(a: Value, b: Value) -> Value:
    """a − b, for two sets of records that do not overlap, with the interval that follows from both intervals.

    Source: MOVER, Newcombe, Statistics in Medicine 17 (1998), 873–890: the squares of the distances from each value to
    the end of its interval add up.
    """
    if a.value is None or b.value is None:
        return Value.no_data(a.reason or b.reason)
    n = min(a.n, b.n)
    if None in (a.low, a.high, b.low, b.high):
        return Value(a.value - b.value, n=n)
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    gap = a.value - b.value
    low = gap - math.hypot(a.value - a.low, b.high - b.value)
    return Value(gap, low, gap + math.hypot(a.high - a.value, b.value - b.low), n)


def _href(task: str, side: Side) -> str:
    if side.stream:
        return path("streams", side.stream)
    only = [chosen(name, value) for name, values in side.where.only for value in values]
    if not task:
        return path("")
    start, end = forms.time(side.window.start) or "", forms.time(side.window.end) or ""
    return path("tasks", task, only=only, start=start, end=end)
