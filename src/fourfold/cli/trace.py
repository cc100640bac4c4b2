"""``fourfold trace``: the path of one record through the components."""

from __future__ import annotations

from typing import Annotated

import typer

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import health, span
from fourfold.cli.screen import Words, console
from fourfold.reports.trace import Step, trace
from fourfold.sdk.batch import key_text


def command(
    key: Annotated[list[str], typer.Argument(help="The key; for a multi-part key, each part.")],
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Show what was logged for a key: features, prediction, decision, label, each with the run that made it."""

    found = trace(open_store(store, project).caught_up(), key_text(tuple(key) if len(key) > 1 else key[0]) or "")
    if json:
        print_json([found])
        return
    out = console()
    out.print(Words.assemble("the path of ", (found.key, "bold")))
    for step in found.steps:
        out.print()
        _draw(step)


def _draw(step: Step) -> None:
    out = console()
    head = Words.assemble((f"{step.time:%Y-%m-%d %H:%M:%S}  ", "dim"), (step.stream, "bold"))
    for task, role in step.roles:
        head.append(f"  {role} of {task}", style="cyan")
    if step.version is not None:
        head.append(f", version {step.version}", style="cyan")
    if step.delay is not None:
        head.append(f", {span(step.delay)}", style="cyan")
    out.print(head)
    if step.run is not None:
        commit = str(step.run.code.get("commit", ""))[:8]
        models = [f"{a.name} {a.fingerprint.rpartition(':')[2][:8]}" for a in step.run.artifacts if a.kind == "model"]
        by = " · ".join(filter(None, (step.run.component, commit and f"code {commit}", *models)))
        out.print(Words.assemble("  by ", (by, ""), " ", health(step.run), (f"  run {step.run.id[:12]}", "dim")))
    for note in step.notes:
        out.print(Words(f"  ! {note}", style="yellow"))
    for value in step.values:
        place = (f"   {value.place}" if value.place else "", "yellow" if value.unusual else "dim")
        out.print(Words.assemble("  ", (value.column, "dim"), f" = {value.value}", place))
