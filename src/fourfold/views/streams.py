"""The streams in short: whose they are, how many columns they have, from when to when. Of many, a part at a time."""

from __future__ import annotations

import collections

from fourfold.query.reader import Reader
from fourfold.reports.streams import spans
from fourfold.state import bulk, catalogue, runs
from fourfold.views import forms
from fourfold.views.asking import Asked, path
from fourfold.views.ordering import part
from fourfold.views.page import Page, Plain
from fourfold.watch.incidents import incidents
from fourfold.watch.lineage import component_of
from fourfold.watch.memory import remembered


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """The streams that are asked for: by name, or in the order of a field."""
    known = spans(reader)
    columns = collections.Counter(
        name for name, _ in {(o.name, entry.column) for o, entry in reader.recall(bulk.of_streams) if entry.column}
    )
    active = incidents(reader, active=True)
    found = collections.Counter(f.where.stream for each in active for f in each.findings)
    components, loggers = list(reader.recall(runs.components)), remembered(reader).loggers
    rows: list[Plain] = []
    for name, (key, _) in sorted(reader.recall(catalogue.streams).items()):
        first, last = known.get(name, (None, None))
        rows.append(
            {
                "name": name, "component": loggers.get(name) or component_of(name, components) or "", "key": key,
                "columns": columns[name], "first": forms.time(first), "last": forms.time(last),
                "findings": found[name], "href": path("streams", name),
            }
        )  # fmt: skip
    shown, total = part(rows, asked)
    return Page({"streams": shown, "total": total}, rows=shown)
