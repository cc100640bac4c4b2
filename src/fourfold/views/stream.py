"""A stream: its records over time, and what each of its columns looks like."""

from __future__ import annotations

from fourfold.charts import Bars, Chart, Series
from fourfold.errors import FourfoldError, suggest
from fourfold.model import Owner, Value
from fourfold.query.reader import Reader
from fourfold.query.target import Target
from fourfold.reports.columns import ColumnSummary, overview, summaries
from fourfold.state import catalogue, runs
from fourfold.views import forms
from fourfold.views.asking import Asked, Shown, path
from fourfold.views.ordering import part
from fourfold.views.page import Page, Plain
from fourfold.watch.incidents import incidents
from fourfold.watch.lineage import component_of

_BACK = "-90d"
_IN_FULL = ("mean", "median", "distinct", "frequent")  # what takes the distributions of all columns to order by


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What a stream's page shows."""
    name = asked.more.get("stream", "")
    known = reader.recall(catalogue.streams)
    if name not in known:
        raise suggest("stream", name, list(known))
    shown = asked.window(reader, Owner.of_stream(name), now, default=_BACK)
    about = [each for each in incidents(reader, active=True) if any(f.where.stream == name for f in each.findings)]
    rows, total = _columns(reader, name, asked, shown)
    charts: dict[str, Chart] = {}
    volume = _volume(reader, name, asked, now)
    if volume is not None:
        charts["rows"] = volume
    closed = reader.database.recall(catalogue.closed_before, reader.project, (name,))
    number = Value.no_data("")
    if _counted(reader, name):
        number = shown.metric(reader, Target.of_stream(name), "rows", whole=True)[0].value
    data = {
        "stream": {
            "name": name, "key": known[name][0], "time": known[name][1], "logged": reader.log(name).is_begun,
            "rows": number.value, "first_day": forms.time(shown.data_start), "last_day": forms.time(shown.data_end),
            "component": component_of(name, reader.recall(runs.components)), "forgotten_before": forms.time(closed),
            "retention": reader.retention.get(name),
        },
        "window": forms.window(shown), "columns_total": total, "columns": rows,
        "incidents": [forms.incident(each) for each in about[:20]],
        "slices": sorted({names for entry in forms.series_of(reader, name) if (names := entry.names)}),
    }  # fmt: skip
    return Page(data, charts, rows)


def _columns(reader: Reader, name: str, asked: Asked, shown: Shown) -> tuple[list[Plain], int]:
    """The columns that are asked for, in full; what orders them is read of all."""
    if asked.order.removeprefix("-") in _IN_FULL:
        return part([_row(name, found) for found in summaries(reader, name, shown.window)], asked)
    rows, total = part([_plain(found) for found in overview(reader, name, shown.window)], asked)
    full = {found.name: found for found in summaries(reader, name, shown.window, {row["name"] for row in rows})}
    return [_row(name, full[row["name"]]) for row in rows if row["name"] in full], total


def _counted(reader: Reader, name: str) -> bool:
    return any(entry.kind == "stream" for entry in forms.series_of(reader, name))


def _volume(reader: Reader, name: str, asked: Asked, now: float) -> Chart | None:
    try:
        target = Target.of_stream(name)
        shown = asked.window(reader, target.owner, now, default=_BACK)
        result = shown.metric(reader, target, "rows")
    except FourfoldError:
        return None
    times = [float(row.window.start) for row in result]
    return Bars(f"records of {name}", [Series("records", [row.value.value or 0.0 for row in result])], times)


def _row(stream: str, found: ColumnSummary) -> Plain:
    return {**_plain(found), "href": path("columns", stream, found.name)}


def _plain(found: ColumnSummary) -> Plain:
    return {
        "name": found.name, "kind": found.kind, "rows": found.rows, "missing": found.missing, "mean": found.mean,
        "median": found.median, "min": found.low, "max": found.high, "distinct": found.distinct,
        "frequent": [[label, share] for label, share in found.frequent],
    }  # fmt: skip
