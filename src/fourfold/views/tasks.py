"""The tasks in short: their main metrics, and the first of these over time. Of many, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.charts import Chart
from fourfold.errors import FourfoldError
from fourfold.metrics import parse
from fourfold.model import DAY, Incident, Owner
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.reports.tasks import headlines
from fourfold.state import catalogue, series
from fourfold.views import curves, forms
from fourfold.views.asking import Asked, path
from fourfold.views.ordering import part
from fourfold.views.page import Page, Plain
from fourfold.watch.incidents import incidents

_BACK = "-90d"


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """The tasks that are asked for: those with open incidents first, or in the order of a field of the declaration."""
    declared, total = part(in_order(reader, list(incidents(reader, active=True))), asked)
    charts: dict[str, Chart] = {}
    rows = [row(reader, one, charts, now) for one in declared]
    return Page({"tasks": rows, "total": total}, charts, rows)


def in_order(reader: Reader, active: Sequence[Incident]) -> list[Plain]:
    """The tasks as they are declared, those with open incidents first."""
    wrong = {finding.where.task for each in active for finding in each.findings}
    known = reader.recall(catalogue.tasks).values()
    return [
        {
            "name": task.name, "kind": task.kind, "prediction": str(task.prediction), "label": str(task.label),
            "href": path("tasks", task.name),
        }
        for task in sorted(known, key=lambda task: task.name not in wrong)
    ]  # fmt: skip


def row(reader: Reader, declared: Plain, charts: dict[str, Chart], now: float) -> Plain:
    """A task with its main metrics, and a chart of the first."""
    name = declared["name"]
    shown: list[Plain] = []
    drawn, reason = None, ""
    try:
        task = reader.recall(catalogue.tasks)[name]
        names = headlines(task)
        shown = [
            {
                "metric": m, "title": parse(m, "task", task.kind).title,
                "value": forms.value(metric(reader, name, m)[0].value),
            }
            for m in names
        ]  # fmt: skip
        if reader.database.recall(series.span, reader.project, Owner.of_task(name), DAY):
            window = Asked().window(reader, Owner.of_task(name), now, default=_BACK)
            drawn = f"task:{name}"
            charts[drawn] = curves.line(f"{names[0]} of {name}", window.metric(reader, name, names[0]), names[0])
    except FourfoldError as error:
        reason = str(error)
    return {**declared, "metrics": shown, "chart": drawn, "reason": reason}
