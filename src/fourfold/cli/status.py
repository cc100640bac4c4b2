"""``fourfold status``: the pipeline and its tasks at a glance."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.rule import Rule

from fourfold.cli.grid import Grid, right, squeezed, wide
from fourfold.cli.incidents import moment_of, severity_of
from fourfold.cli.objectives import draw as draw_objectives
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, print_json, settings_of
from fourfold.cli.render import ago, duration, health, number, rate, sparkline
from fourfold.cli.screen import Words, console
from fourfold.ingest import from_file
from fourfold.metrics import parse
from fourfold.model import Finding, Incident, Status, percent
from fourfold.query.reader import Reader
from fourfold.reports.components import ComponentView
from fourfold.reports.drift import Drift
from fourfold.reports.joins import Join
from fourfold.reports.problem import Problem
from fourfold.reports.status import StatusReport, status
from fourfold.reports.tasks import TaskView
from fourfold.store import open_project
from fourfold.watch.incidents import incidents
from fourfold.watch.objectives import ObjectiveView, report
from fourfold.watch.rows import row

_FINDINGS = 4  # of an incident that are shown besides the first


def command(store: StoreOption = None, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Show incidents and objectives, the pipeline, its components' health, and each task's metrics over time."""
    settings = settings_of(store, project)
    reader = open_project(settings).caught_up()
    view = overview(reader, time.time(), from_file.unknown(settings, reader.project, reader.database))
    if json:
        print_json([view.to_row()])
    else:
        draw(view, console())


@dataclasses.dataclass(frozen=True)
class Overview:
    """All that the screen shows: what is wrong first, then how everything stands.

    ``undeclared`` are the sections of fourfold.toml that declare what the store does not know.
    """

    reader: Reader
    incidents: Sequence[Incident]
    objectives: Sequence[ObjectiveView]
    status: StatusReport
    undeclared: Sequence[str] = ()

    def to_row(self) -> dict[str, object]:
        """For programs."""
        parts = {field.name: getattr(self.status, field.name) for field in dataclasses.fields(self.status)}
        return {"incidents": [row(incident) for incident in self.incidents], "objectives": self.objectives, **parts}


def overview(reader: Reader, now: float, undeclared: Sequence[str] = ()) -> Overview:
    """What is wrong, by the newest check, and how everything stands."""
    return Overview(reader, incidents(reader, active=True), report(reader, now), status(reader), undeclared)


def draw(shown: Overview, out: Console) -> None:
    """The screen."""
    view = shown.status
    if shown.incidents:
        _section(out, "incidents", Group(*(part for i in shown.incidents for part in _incident(i))))
    if shown.objectives:
        draw_objectives(shown.objectives, out)
    if shown.undeclared:
        sections = ", ".join(f"[{section}]" for section in shown.undeclared)
        out.print(Words(f"fourfold.toml declares {sections}, which the store does not know yet."))
        out.print("[bold]fourfold serve[/], [bold]fold[/], [bold]check[/] and [bold]watch[/] declare what it says,")
        out.print("when they start in its folder; so does a Python process that logs there.\n")
    elif not view.components and not view.tasks:
        out.print("No component has run and no task is declared yet; [bold]fourfold streams[/] shows what is logged.")
        out.print("Put [bold]@ff.component[/] above a function and call it, declare an [bold]ff.task[/], or run")
        out.print("[bold]fourfold demo[/] to see a pipeline being monitored.\n")
    if view.components:
        _section(out, "pipeline", _pipeline(view.components))
    for task in view.tasks:
        _section(out, f"task {task.task.name}", _task(task, out.width))
    for join in view.joins:
        _section(out, f"joins of {join.component}: share of nulls", _join(join))
    for found in view.drift:
        _section(out, f"most drifted: {found.stream} against {found.reference}", _drift(found))
    if view.problems:
        _section(out, "to look at", Group(*map(_problem, view.problems)))


def _incident(incident: Incident) -> list[RenderableType]:
    """An incident in a few lines: what, since when, how bad, where it began, what to do."""
    began = f"between {moment_of(incident.began_low)} and {moment_of(incident.began_high)}"
    about = f"it began in {incident.where}, {began}; see fourfold incidents {incident.id}"
    lines: list[RenderableType] = [
        Words.assemble(severity_of(incident), " ", (incident.title, "bold")), Words(f"  {about}", style="dim"),
    ]  # fmt: skip
    others = [f"{finding.where}: {finding.what}" for finding in _telling(incident)]
    return [*lines, *(Words(f"  · {text}") for text in others[:_FINDINGS])]


def _telling(incident: Incident) -> list[Finding]:
    """The other findings that say most: one of each place's kind, the most urgent first."""
    first, *others = incident.findings
    told, found = {(first.kind, first.where.column)}, []
    for finding in sorted(others, key=lambda f: (f.severity.rank, -f.weight)):
        place = (finding.kind, finding.where.column)
        if place not in told:
            told.add(place)
            found.append(finding)
    return found


def _section(out: Console, title: str, body: RenderableType) -> None:
    words = Words(title).plain
    out.print(Rule(Words(f" {squeezed(words, out.width - 4)} ", style="bold"), align="left", style="dim"))
    out.print(body)
    out.print()


def _problem(problem: Problem) -> RenderableType:
    return Words.assemble(
        ("! ", "yellow"), (problem.subject, "bold"), f": {problem.message}. ", (problem.advice, "dim")
    )  # fmt: skip


def _pipeline(components: Sequence[ComponentView]) -> Grid:
    table = Grid("component", "health", "last run", right("took"), right("runs"), right("failed"), wide("feeds"))
    for entry in components:
        table.add_row(
            Words(entry.name, style="bold"), health(entry.last), ago(entry.last.started), duration(entry.last.duration),
            number(entry.runs), f"{entry.failed}/{min(entry.runs, 10)}", Words(", ".join(entry.feeds) or "–"),
        )  # fmt: skip
    return table


def _task(view: TaskView, width: int) -> Group:
    task = view.task
    threshold = f", threshold {task.threshold:g}" if task.threshold is not None else ""
    about = Words(f"{task.kind}: {task.prediction} against {task.label}{threshold}", style="dim")
    if view.values["coverage"].value is None:
        return Group(about, Words(view.values["coverage"].reason, style="yellow"))
    longest = max(Words(_title(name)).cell_len for name in view.values)
    room = max(width - longest - 2, 8)  # the width beside a name; a longer history shows its newest part
    over_time = Grid("", "all time", f"each {view.every}, lowest to highest", "newest")
    for name in view.values:
        known = [value for value in view.history[name] if value.value is not None]
        over_time.add_row(
            _title(name), rate(view.values[name]), sparkline(view.history[name][-room:]),
            rate(known[-1]) if known else "–",
        )  # fmt: skip
    parts: list[RenderableType] = [about, over_time]
    for dimension in view.by_slice:
        shown = [name for name in view.values if name != "coverage"]
        table = Grid(dimension.dimension, right("records"), right("labelled"), *map(_title, shown))
        for entry in dimension.slices:
            table.add_row(
                Words(entry.name), number(entry.values["coverage"].n), percent(entry.values["coverage"].value),
                *(rate(entry.values[metric]) for metric in shown),
            )  # fmt: skip
        parts += [Words(), table]
        if more := dimension.left_out:
            parts.append(Words(f"… and {more:,} more, none further from the whole", style="dim"))
    if any(value.status is Status.PROVISIONAL for value in view.values.values()):
        parts.append(Words("± half of the 95 % interval; yellow: provisional, labels can still come", style="dim"))
    return Group(*parts)


def _title(metric: str) -> str:
    """A metric's name as a column's title: "ndcg(10)" as "NDCG@10"."""
    return parse(metric, "task").title


def _join(join: Join) -> Grid:
    table = Grid("column", "", right("null"), right("records"))
    for kind, columns in (("key", join.keys), ("joined", join.gained)):
        for name, value in columns:
            table.add_row(Words(name), Words(kind, style="dim"), percent(value.value), number(value.n))
    return table


def _drift(found: Drift) -> Grid:
    table = Grid("column", right("stability index"), right("by chance alone"), right("records"))
    for column, value in found.columns:
        style = "yellow" if (value.value or 0) > 0.2 else ""
        table.add_row(Words(column), Words(number(value.value), style=style), number(value.expected), number(value.n))
    return table
