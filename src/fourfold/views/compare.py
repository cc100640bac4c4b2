"""Two sides compared: windows, slices, versions, or streams; metrics with their difference, and what differs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

from fourfold.charts import Chart
from fourfold.errors import FourfoldError, InputError, suggest
from fourfold.metrics import parse
from fourfold.model import DAY, Owner, Task, Value, Window
from fourfold.query.counts import CurrentCounts
from fourfold.query.filtered import ALL_RECORDS, Filter, Meant, chosen
from fourfold.query.reader import Reader
from fourfold.query.together import Stretch, together
from fourfold.query.windows import windows
from fourfold.reports import box
from fourfold.reports.tasks import headlines
from fourfold.state import bulk, catalogue
from fourfold.views import curves, differing, forms
from fourfold.views.asking import Asked, Shown, path
from fourfold.views.incident import lineage_of
from fourfold.views.page import Page, Plain

_BACK = "-28d"
_EVER = Window(-(2**24) * DAY, 2**24 * DAY)
_TASKS = 5  # of which pairs are proposed
_STREAM, _VERSION = "stream:", "version:"


@dataclasses.dataclass(frozen=True)
class Side:
    """One side: records of a stream (or of all), in a window, in some slices."""

    text: str
    window: Window
    where: Filter
    stream: str = ""

    def overlaps(self, other: Side) -> bool:
        """Whether the same records are on both sides at some time."""
        start, end = max(self.window.start, other.window.start), min(self.window.end, other.window.end)
        return start < end and self.where == other.where and not self.stream


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """Two sides compared; without them, what can be chosen."""
    tasks = reader.recall(catalogue.tasks)
    name = asked.more.get("target", "")
    if name and name not in tasks:
        raise suggest("task", name, list(tasks))
    texts = [asked.more.get(field, "") for field in ("a", "b")]
    if not all(texts):
        return Page(_choices(reader, name, tasks, asked, now))
    streams = [text.removeprefix(_STREAM) for text in texts if text.startswith(_STREAM)]
    task = None if streams else tasks[name] if name else _declaring(list(tasks.values()), texts, asked)
    owners = _owners(reader, task, streams)
    shown = asked.window(reader, owners[0], now, default=_BACK)
    a, b = (
        _side(reader, owner, field, text, task, shown, asked)
        for owner, field, text in zip(owners, ("a", "b"), texts, strict=True)
    )
    if a.overlaps(b):
        raise InputError(f"a={a.text!r}, b={b.text!r}: they overlap, so that some records would be on both sides")
    found, sizes = _differences(reader, (a, b), task)
    charts: dict[str, Chart] = {}
    several = differing.gathered(found, lineage_of(reader))
    rows = differing.listed(several, asked, "compare", ("a", "b"), charts)
    data = {
        "target": "" if task is None else task.name, "window": forms.window(shown), **forms.where_of(asked.where),
        "a": _plain(task, a, sizes[0]), "b": _plain(task, b, sizes[1]),
        "metrics": [] if task is None else _metrics(reader, task, (a, b)), "rows": rows, "total": len(several),
    }  # fmt: skip
    return Page(data, charts, lambda: [differing.row(one) for one in found])


def _declaring(tasks: Collection[Task], texts: Collection[str], asked: Asked) -> Task | None:
    """The first task that declares all that is compared and filtered by as slices; of versions, one that has some."""
    versions = any(text.startswith(_VERSION) for text in texts)
    tasks = [task for task in tasks if task.version or not versions]
    for task in tasks:
        declared = {frozenset(dimension.names) for dimension in task.dimensions}
        if all((asked.where & _slice(text, task)).names in {frozenset(), *declared} for text in texts):
            return task
    return next(iter(tasks), None) if versions else None


def _owners(reader: Reader, task: Task | None, streams: Sequence[str]) -> list[Owner]:
    """Whose counts each side is of."""
    if task is not None:
        return [Owner.of_task(task.name)] * 2
    known = list(dict.fromkeys(owner.name for owner, _ in reader.recall(bulk.of_streams)))
    if not known:
        raise InputError("nothing was logged yet: there is nothing to compare")
    for stream in streams:
        if stream not in known:
            raise suggest("stream", stream, known)
    if len(streams) == 1:
        raise InputError(f"stream {streams[0]!r}: compare a stream with a stream")
    return [Owner.of_stream(stream) for stream in streams or known[:1] * 2]


def _choices(reader: Reader, name: str, tasks: Mapping[str, Task], asked: Asked, now: float) -> Plain:
    """What can be compared, of one task or of all, and pairs that are worth a look in most stores."""
    known: dict[str, dict[tuple[str, str], None]] = {}
    for owner, entry in reader.recall(bulk.of_streams):
        if entry.kind == "stream" and len(entry.names) == 1:
            pairs = [(name, value) for name, value in entry.values.items() if value is not None]
            known.setdefault(owner.name, {}).update(dict.fromkeys(pairs))
    slices, versions, suggested = set[str](), set[str](), list[Plain]()
    for i, task in enumerate([tasks[name]] if name else tasks.values()):
        declared = {dimension.names for dimension in task.dimensions}
        own = [pair for pair in known.get(task.prediction.stream, ()) if (pair[0],) in declared]
        own_slices = sorted(chosen(*pair) for pair in own)
        own_versions = sorted(value for name, value in own if name == task.version)
        slices.update(own_slices)
        versions.update(own_versions)
        if i < _TASKS:
            shown = asked.window(reader, Owner.of_task(task.name), now, default=_BACK)
            suggested += _suggested(task, shown, own_slices, [f"{_VERSION}{version}" for version in own_versions])
    return {
        "target": name, "tasks": list(tasks), "slices": sorted(slices), "versions": sorted(versions),
        "streams": sorted(forms.known_streams(reader)), "suggested": suggested,
    }  # fmt: skip


def _suggested(task: Task, shown: Shown, slices: Sequence[str], versions: Sequence[str]) -> list[Plain]:
    pairs = [(" and ".join(pair), pair) for pair in (slices[:2], versions[-2:]) if len(pair) == 2]
    end = shown.window.end // DAY * DAY
    if shown.data_start < end - 7 * DAY:
        recent = [f"{forms.time(end - a * DAY)}/{forms.time(end - b * DAY)}" for a, b in ((7, 0), (35, 7))]
        pairs = [("the last 7 days and the 28 before them", recent), *pairs]
    return [{"title": title, "target": task.name, "a": a, "b": b} for title, (a, b) in pairs]


def _slice(text: str, task: Task | None) -> Filter:
    """The records that a slice or a version means, and all for others."""
    if text.startswith(_VERSION):
        if task is None or not task.version:
            who = "no task declares a" if task is None else f"the task {task.name!r} declares no"
            raise InputError(f"{text!r}: {who} version=")
        return Filter.of([chosen(task.version, text.removeprefix(_VERSION))], [])
    return Filter.of([text], []) if "=" in text and not text.startswith(_STREAM) else ALL_RECORDS


def _side(reader: Reader, owner: Owner, field: str, text: str, task: Task | None, shown: Shown, asked: Asked) -> Side:
    """What a text means: START/END, "carrier=AA", "version:v1", "stream:NAME".

    Raises:
        InputError: it means nothing, or what the owner's counts cannot tell apart.
    """
    source, stream, of = CurrentCounts(reader, owner), text.startswith(_STREAM), _slice(text, task)
    start, slash, end = text.partition("/")
    if not (stream or of or slash):
        raise InputError(f"{field}={text!r}: give START/END, a slice as carrier=AA, version:NAME, or stream:NAME")
    where = asked.where & of
    if where.is_empty:
        raise InputError(f"{field}={text!r}: no record can be of this and {asked.where}")
    if where and (stream or task is not None):
        Meant(source.series(), where).check(str(owner), ())
    if stream and not (asked.start or asked.end):
        return Side(text, _EVER, where, owner.name)
    ends = (forms.time(shown.window.start), forms.time(shown.window.end)) if stream or of else (start, end)
    try:
        found, _ = windows(source, *ends, None)
    except InputError as error:
        raise InputError(f"{field}={text!r}: {error}") from error
    if not found:
        raise InputError(f"{field}={text!r}: {owner} has no records yet")
    return Side(text, found[0], where, owner.name if stream else "")


def _differences(
    reader: Reader, sides: tuple[Side, Side], task: Task | None
) -> tuple[list[box.Difference], tuple[int, int]]:
    known = list(dict.fromkeys(owner.name for owner, _ in reader.recall(bulk.of_streams)))
    found, sizes = [], []
    for side in sides:
        counted = together(reader, [side.stream] if side.stream else known, Stretch.of(side.window), side.where)
        if not counted:
            start, end = forms.time(side.window.start), forms.time(side.window.end)
            when = "" if side.window == _EVER else f" from {start} to {end}"
            names = " × ".join(sorted(side.where.names)) if task is None and not side.stream else ""
            undeclared = f"; no task declares {names}" if names else ""
            raise InputError(f"{side.text!r}: there are no such records{when}{undeclared}")
        of = task.prediction.stream if task is not None else side.stream
        sizes.append(max((c.tally("rows") for (name, _, _), c in counted.items() if name == of or not of), default=0))
        if side.stream:  # the same columns, in another stream
            counted = {(sides[0].stream, column, kind): c for (_, column, kind), c in counted.items()}
        found.append(counted)
    here, there = found
    differences = box.ranked_columns(reader, here, [there])
    if not sides[0].stream:  # which columns two streams have is as they are made
        differences += box.presences(here, [there])
    return box.ranked(differences), (sizes[0], sizes[1])


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
    """a − b, with the interval that follows from both intervals; it is too wide if some records are in both.

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


def _plain(task: Task | None, side: Side, n: int) -> Plain:
    window = {"start": forms.time(side.window.start) or "", "end": forms.time(side.window.end) or ""}
    filters = {
        kind: [chosen(name, value) for name, values in pairs for value in values]
        for kind, pairs in (("only", side.where.only), ("without", side.where.without))
    }
    of_task = None if task is None else path("tasks", task.name, **filters, **window)
    return {
        "text": side.text, "n": n, "window": None if side.window == _EVER else window,
        "href": path("streams", side.stream) if side.stream else of_task,
    }  # fmt: skip
