"""``fourfold doctor``: what is not as it should be, and what to do about it."""

from __future__ import annotations

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.screen import Words, console
from fourfold.store.problems import problems


def command(store: StoreOption = None, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Look for batches in quarantine, labels that join nothing, failed runs and missing streams."""
    found = problems(open_store(store, project))
    if json:
        print_json(found)
        return
    out = console()
    if not found:
        out.print("[green]●[/] All is well: nothing in quarantine, all labels join, no component's newest run failed.")
    for problem in found:
        out.print(Words.assemble(("! ", "yellow"), (f"{problem.kind} ", "dim"), (problem.subject, "bold")))
        out.print(Words(f"  {problem.message}"))
        out.print(Words(f"  → {problem.advice}", style="cyan"))
