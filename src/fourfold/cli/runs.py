"""``fourfold runs``: the newest runs, their duration and outcome."""

from __future__ import annotations

from typing import Annotated

import typer

from fourfold.cli.grid import Grid, right, spare, wide
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import ago, day, duration, health, number
from fourfold.cli.screen import Words, console
from fourfold.errors import suggest
from fourfold.model import Run
from fourfold.reports.components import components, recent_runs


def command(
    component: Annotated[str | None, typer.Argument(help="Only this component's runs.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs.")] = 20,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """List the newest runs, with their duration, error, inputs and outputs."""
    reader = open_store(store, project).caught_up()
    found = recent_runs(reader, component, limit)
    if component is not None and not found:
        raise suggest("component", component, [view.name for view in components(reader)])
    if json:
        print_json([{**_fields(run), "duration": run.duration} for run in found])
        return
    if not found:
        console().print("No runs yet. Put [bold]@ff.component[/] above a function, or use [bold]with ff.run(…)[/].")
        return
    table = Grid(
        "component", "status", "started", spare("about"), right("took"), spare("code"), wide("read"), wide("wrote")
    )
    errors = []
    for run in found:
        table.add_row(
            Words(run.component, style="bold"), health(run), ago(run.started), day(int(run.at)) if run.at else "–",
            duration(run.duration), _code(run), _artifacts(run, "input"), _artifacts(run, "output"),
        )  # fmt: skip
        if run.error:
            errors.append(Words.assemble((run.component, "bold"), " ", (run.error.splitlines()[-1], "red")))
    console().print(table)
    for error in errors:
        console().print(error)


def _fields(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in run.__dataclass_fields__}


def _code(run: Run) -> Words:
    commit = str(run.code.get("commit", ""))[:8]
    return Words(commit + ("+" if run.code.get("dirty") else "") or "–", style="dim")


def _artifacts(run: Run, direction: str) -> Words:
    found = [a for a in run.artifacts if a.direction == direction]
    return Words(", ".join(f"{a.name} ({number(a.rows)})" if a.rows is not None else a.name for a in found) or "–")
