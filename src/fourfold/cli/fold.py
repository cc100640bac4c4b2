"""``fourfold fold``: count everything that was logged, now."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.screen import console
from fourfold.store.problems import uncountable


def command(store: StoreOption = None, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Count what is new, and what was declared after it was logged; interrupted, it goes on where it was."""
    opened = open_store(store, project)
    columns = (TextColumn("fold"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=console(), disable=json) as progress:
        bar = progress.add_task("fold", total=1.0)
        opened.fold(lambda share: progress.update(bar, completed=share))
    failed = uncountable(opened)
    if json:
        print_json([{"done": True, "failed": failed}])
        return
    for problem in failed:
        console().print(f"{problem.subject}: {problem.message}", markup=False, style="yellow")
