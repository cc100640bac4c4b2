"""``fourfold status``: the pipeline and its tasks at a glance."""

from __future__ import annotations

import dataclasses

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import ago, console, duration, health, number, percent, sparkline, with_interval
from fourfold.model import Value
from fourfold.store import Store, overview

_TITLES = {
    "recall": "recall", "precision": "precision", "roc_auc": "ROC AUC",
    "expected_calibration_error": "calibration error", "coverage": "labelled",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class View:
    """All that the screen shows, computed before anything is drawn."""

    components: list[overview.ComponentView]
    tasks: list[overview.TaskView]
    nulls: list[tuple[str, Value]]
    drift: list[overview.Drift]
    problems: list[overview.Problem]


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
        overview.components(store), overview.tasks(store), overview.null_rates(store), overview.drift(store),
        overview.problems(store),
    )  # fmt: skip


def draw(view: View, out: Console) -> None:
    """The screen."""
    if not view.components and not view.tasks:
        out.print("Nothing has been recorded yet. Put [bold]@ff.component[/] above a function and call it, or run")
        out.print("[bold]fourfold demo[/] to see a pipeline being monitored.")
        return
    if view.components:
        out.print(Panel(_pipeline(view.components), title="pipeline", title_align="left"))
    for task in view.tasks:
        out.print(Panel(_task(task), title=Text(f"task {task.task.name}"), title_align="left"))
    if view.nulls:
        out.print(Panel(_nulls(view.nulls), title="null rate of the joined columns", title_align="left"))
    for found in view.drift:
        title = Text(f"most drifted: {found.stream} against {found.reference}")
        out.print(Panel(_drift(found), title=title, title_align="left"))
    for problem in view.problems:
        out.print(Text.assemble(("! ", "yellow"), (problem.subject, "bold"), f": {problem.message}. ", (problem.advice, "dim")))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for name in columns:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=name.startswith(">"))
    return table


def _pipeline(components: list[overview.ComponentView]) -> Table:
    table = _table("component", "health", "last run", ">duration", ">runs", ">failed", "feeds")
    for entry in components:
        table.add_row(
            Text(entry.name, style="bold"), health(entry.last), ago(entry.last.started), duration(entry.last.duration),
            number(entry.runs), f"{entry.failed} of the last {min(entry.runs, 10)}", Text(", ".join(entry.feeds) or "–"),
        )  # fmt: skip
    return table


def _task(view: overview.TaskView) -> Group:
    task = view.task
    about = Text(
        f"{task.prediction_stream}.{task.prediction_column} against {task.label_stream}.{task.label_column}, "
        f"threshold {task.threshold:g}", style="dim",
    )  # fmt: skip
    over_time = _table("metric", "all, with 95 % interval", f"every {view.every}, lowest to highest", "newest")
    for name, title in _TITLES.items():
        history = view.history[name]
        newest = next((v for v in reversed(history) if v.value is not None), None)
        over_time.add_row(title, with_interval(view.values[name]), sparkline(history), with_interval(newest) if newest else "–")
    parts: list[Text | Table] = [about, over_time]
    for dimension, rows in view.by_slice.items():
        table = _table(dimension, ">predicted", ">labelled", "recall", "precision", "ROC AUC", "calibration error")
        for name, values in rows:
            table.add_row(
                Text(name), number(values["coverage"].n), percent(values["coverage"].value),
                *(with_interval(values[metric]) for metric in list(_TITLES)[:4]),
            )  # fmt: skip
        parts += [Text(), table]
    return Group(*parts)


def _nulls(nulls: list[tuple[str, Value]]) -> Table:
    table = _table("column", ">null", ">records")
    for name, value in nulls:
        table.add_row(Text(name), percent(value.value), number(value.n))
    return table


def _drift(found: overview.Drift) -> Table:
    table = _table("column", ">stability index", ">by chance", ">records")
    for column, value in found.columns:
        style = "yellow" if (value.value or 0) > 0.2 else ""
        table.add_row(Text(column), Text(number(value.value), style=style), number(value.expected), number(value.n))
    return table
