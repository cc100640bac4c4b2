"""``fourfold status``: the pipeline and its tasks at a glance."""

from __future__ import annotations

import dataclasses

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import ago, console, duration, grid, health, number, rate, sparkline
from fourfold.model import Status, percent
from fourfold.store import Store, overview
from fourfold.store.problems import Problem, problems

_TITLES = {
    "roc_auc": "ROC AUC", "expected_calibration_error": "calibration", "coverage": "labelled", "f1": "F1", "r2": "R²",
    "balanced_accuracy": "balanced", "cohen_kappa": "kappa", "mean_absolute_error": "MAE",
    "root_mean_squared_error": "RMSE", "mean_average_precision": "MAP", "mean_reciprocal_rank": "MRR", "ndcg": "NDCG",
    "hit_rate": "hits", "override_rate": "overridden", "outcome_difference": "outcome Δ",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class View:
    """All that the screen shows, computed before anything is drawn."""

    components: list[overview.ComponentView]
    tasks: list[overview.TaskView]
    joins: list[overview.Join]
    drift: list[overview.Drift]
    problems: list[Problem]


def command(store: StoreOption = None, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Show the pipeline, its components' health, and each task's metrics over time and by slice."""
    view = compute(open_store(store, project))
    if json:
        print_json([view])
    else:
        draw(view, console())


def compute(store: Store) -> View:
    """What there is to show."""
    return View(
        overview.components(store), overview.tasks(store), overview.joins(store), overview.drift(store),
        problems(store),
    )  # fmt: skip


def draw(view: View, out: Console) -> None:
    """The screen."""
    if not view.components and not view.tasks:
        out.print("Nothing has been recorded yet. Put [bold]@ff.component[/] above a function and call it, or run")
        out.print("[bold]fourfold demo[/] to see a pipeline being monitored.")
        return
    if view.components:
        _section(out, "pipeline", _pipeline(view.components))
    for task in view.tasks:
        _section(out, f"task {task.task.name}", _task(task))
    for join in view.joins:
        _section(out, f"joins of {join.component}: share of nulls", _join(join))
    for found in view.drift:
        _section(out, f"most drifted: {found.stream} against {found.reference}", _drift(found))
    if view.problems:
        _section(out, "to look at", Group(*map(_problem, view.problems)))


def _section(out: Console, title: str, body: RenderableType) -> None:
    out.print(Rule(Text(f" {title} ", style="bold"), align="left", style="dim"))
    out.print(body)
    out.print()


def _problem(problem: Problem) -> Text:
    return Text.assemble(
        ("! ", "yellow"), (problem.subject, "bold"), f": {problem.message}. ", (problem.advice, "dim")
    )  # fmt: skip


def _pipeline(components: list[overview.ComponentView]) -> Table:
    table = grid("component", "health", "last run", ">took", ">runs", ">failed", "feeds")
    for entry in components:
        table.add_row(
            Text(entry.name, style="bold"), health(entry.last), ago(entry.last.started), duration(entry.last.duration),
            number(entry.runs), f"{entry.failed}/{min(entry.runs, 10)}", Text(", ".join(entry.feeds) or "–"),
        )  # fmt: skip
    return table


def _task(view: overview.TaskView) -> Group:
    task = view.task
    threshold = f", threshold {task.threshold:g}" if task.threshold is not None else ""
    about = Text(f"{task.kind}: {task.prediction} against {task.label}{threshold}", style="dim")
    if view.values["coverage"].value is None:
        return Group(about, Text(view.values["coverage"].reason, style="yellow"))
    over_time = grid("", "all time", f"each {view.every}, lowest to highest", "newest")
    for name in view.values:
        known = [value for value in view.history[name] if value.value is not None]
        over_time.add_row(
            _title(name), rate(view.values[name]), sparkline(view.history[name]),
            rate(known[-1]) if known else "–",
        )  # fmt: skip
    parts: list[RenderableType] = [about, over_time]
    for dimension, rows in view.by_slice.items():
        shown = [name for name in view.values if name != "coverage"]
        table = grid(dimension, ">records", ">labelled", *map(_title, shown))
        for name, values in rows:
            table.add_row(
                Text(name), number(values["coverage"].n), percent(values["coverage"].value),
                *(rate(values[metric]) for metric in shown),
            )  # fmt: skip
        parts += [Text(), table]
    if any(value.status is Status.PROVISIONAL for value in view.values.values()):
        parts.append(Text("± half of the 95 % interval; yellow: provisional, labels can still come", style="dim"))
    return Group(*parts)


def _title(metric: str) -> str:
    """A metric's name as it stands above a column: "ndcg(10)" as "NDCG@10"."""
    name, _, k = metric.rstrip(")").partition("(")
    return _TITLES.get(name, name) + (f"@{k}" if k else "")


def _join(join: overview.Join) -> Table:
    table = grid("column", "", ">null", ">records")
    for kind, columns in (("key", join.keys), ("joined", join.gained)):
        for name, value in columns:
            table.add_row(Text(name), Text(kind, style="dim"), percent(value.value), number(value.n))
    return table


def _drift(found: overview.Drift) -> Table:
    table = grid("column", ">stability index", ">by chance alone", ">records")
    for column, value in found.columns:
        style = "yellow" if (value.value or 0) > 0.2 else ""
        table.add_row(Text(column), Text(number(value.value), style=style), number(value.expected), number(value.n))
    return table
