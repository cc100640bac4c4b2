"""``fourfold doctor``: problems, and what to do about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json, settings_of
from fourfold.cli.screen import Words, console
from fourfold.ingest.mending import mended
from fourfold.ingest.retry import Retried
from fourfold.ingest.retry import retry as retry_all
from fourfold.model import Place
from fourfold.reports.doctor import examine
from fourfold.reports.problem import Problem
from fourfold.reports.recount import recounted
from fourfold.store import Store, project_to_examine

DeepOption = Annotated[bool, typer.Option("--deep", help="Read every data file, count the logs again and compare.")]
MendOption = Annotated[
    bool,
    typer.Option(
        "--mend", help="Repair: move damaged files aside, and count again from the logs; with "
        "--deep, counts that differ from the logs too."
    ),
]  # fmt: skip
RetryOption = Annotated[bool, typer.Option("--retry", help="Take corrected records and messages back from quarantine.")]


def command(
    store: StoreOption = None,
    project: ProjectOption = None,
    deep: DeepOption = False,
    mend: MendOption = False,
    retry: RetryOption = False,
    json: JsonOption = False,
) -> None:
    """Check for damage, batches in quarantine, labels that join nothing, failed runs and missing streams."""
    place, chosen = project_to_examine(settings_of(store, project))
    steps = _mended(place, chosen, deep=deep) if mend else []
    retried = _retried(store, project) if retry else []
    with _progress(shown=deep and not json) as report:
        found = examine(place, chosen, deep=deep, report=report)
    if json:
        print_json([*({"mended": step} for step in steps), *retried, *found])
    else:
        _draw(steps, retried, found)


def _mended(place: Place, project: str, *, deep: bool) -> list[str]:
    steps = list(mended(place, project))
    if deep:
        with closing(Store(place, project)) as store:
            steps += recounted(store)
    return steps


def _retried(store: str | None, project: str | None) -> list[Retried]:
    opened = open_store(store, project)
    try:
        return list(retry_all(opened.writer))
    finally:
        opened.close()


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[float], None]]:
    columns = (TextColumn("recount"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=console(), disable=not shown) as progress:
        bar = progress.add_task("recount", total=1.0)
        yield lambda share: progress.update(bar, completed=share)


def _draw(steps: list[str], retried: list[Retried], found: list[Problem]) -> None:
    out = console()
    for step in steps:
        out.print(Words.assemble(("✓ ", "green"), f"mended: {step}"))
    for entry in retried:
        mark: Any = ("✓ ", "green") if entry.taken else ("! ", "yellow")
        told = f" {entry.batch} ({entry.rows:,} records): {entry.message}"
        out.print(Words.assemble(mark, (entry.stream, "bold"), told))
    if not found:
        out.print("[green]●[/] All is well: nothing damaged or in quarantine, all labels join, no newest run failed.")
    for problem in found:
        out.print(Words.assemble(("! ", "yellow"), (f"{problem.kind} ", "dim"), (problem.subject, "bold")))
        out.print(Words(f"  {problem.message}"))
        out.print(Words(f"  → {problem.advice}", style="cyan"))
