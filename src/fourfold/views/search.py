"""Search over everything that has a name: components, streams, columns, tasks, slices, objectives, incidents, keys."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.compute as pc

from fourfold.model import EVERYTHING
from fourfold.model.records import KEY
from fourfold.query.filtered import chosen
from fourfold.query.reader import Reader
from fourfold.state import bulk, catalogue, runs
from fourfold.state.objectives import listed
from fourfold.views import forms
from fourfold.views.asking import Asked, path
from fourfold.views.page import Page, Plain
from fourfold.watch.incidents import incidents

_ORDER = ("task", "component", "stream", "objective", "incident", "column", "slice", "key")
_NAMED = 3  # the rank from which on a name has the text itself
_LOGS = 20  # in which a key is looked for where names have the text, too
Entry = tuple[str, str, str, str]  # type, name, about, href


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What has the words of the question in its name, the best first: the name itself, its beginning, a word's."""
    text = asked.more.get("q", "").strip()
    found = sorted(
        (rank, _ORDER.index(entry[0]), len(entry[1]), entry) for entry in _entries(reader)
         if (rank := _rank(entry[1], entry[2], text)) is not None
    ) if text else []  # fmt: skip
    rows = [_row(entry) for *_, entry in found]
    named = bool(found) and found[0][0] <= _NAMED
    if text and (key := _key(reader, text, _LOGS if named else None)) is not None:
        rows.insert(0, key)
    return Page({"q": text, "rows": rows[asked.offset : asked.offset + asked.limit], "total": len(rows)}, rows=rows)


def _row(entry: Entry) -> Plain:
    return dict(zip(("type", "name", "about", "href"), entry, strict=True))


def _rank(name: str, about: str, text: str) -> int | None:
    """How well a name fits, 0 being best; all words must be in the name or in what is said about it."""
    low, wanted = name.casefold(), text.casefold()
    if low == wanted:
        return 0
    if low.startswith(wanted):
        return 1
    if f".{wanted}" in low or f" {wanted}" in low or f"_{wanted}" in low or f"={wanted}" in low:
        return 2
    if wanted in low:
        return 3
    whole = f"{low} {about.casefold()}"
    return 4 if all(word in whole for word in wanted.split()) else None


def _entries(reader: Reader) -> Iterator[Entry]:
    tasks = reader.recall(catalogue.tasks)
    for name, task in tasks.items():
        yield "task", name, f"{task.kind}: {task.prediction} against {task.label}", path("tasks", name)
    for name, number in reader.recall(runs.components).items():
        yield "component", name, f"{number:,} runs", path("runs", component=name)
    for name, objective in reader.recall(listed).items():
        yield "objective", name, objective.expression, path("")
    for each in incidents(reader, active=False):
        yield "incident", f"#{each.id} {each.title}", each.state.value, path("incidents", each.id)
    streams, columns = set(forms.known_streams(reader)), set[tuple[str, str]]()
    slices: dict[tuple[str, str], None] = {}
    for owner, entry in reader.recall(bulk.of_streams):
        streams.add(owner.name)
        if entry.column:
            columns.add((owner.name, entry.column))
        elif entry.slice != EVERYTHING:
            slices[owner.name, entry.slice] = None
    for stream in sorted(streams):
        yield "stream", stream, "", path("streams", stream)
    for stream, column in sorted(columns):
        yield "column", f"{stream}.{column}", "", path("columns", stream, column)
    of_stream = {task.prediction.stream: name for name, task in tasks.items()}
    for stream, key in slices:
        task_name = of_stream.get(stream)
        if task_name is not None:
            yield from _slice(task_name, key)


def _slice(task: str, key: str) -> Iterator[Entry]:
    values = forms.slice_values(key)
    name = ", ".join(f"{k}={'(none)' if v is None else v}" for k, v in values.items())
    only = [chosen(k, v) for k, v in values.items()]
    yield "slice", name, f"of {task}", path("tasks", task, only=only)


def _key(reader: Reader, text: str, most: int | None) -> Plain | None:
    """The key itself, if a task's predictions or labels have it; of ``most`` streams, as each log has to be opened."""
    streams = dict.fromkeys(s for task in reader.recall(catalogue.tasks).values() for s in task.streams)
    for stream in list(streams)[:most]:
        if reader.log(stream).is_begun:
            found = reader.log(stream).whole().records(pc.field(KEY) == text, [KEY])
            if found.num_rows:
                return _row(("key", text, f"logged in {stream}", path("trace", key=text)))
    return None
