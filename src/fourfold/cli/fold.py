"""``fourfold fold``: count everything that was logged, once or repeatedly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fourfold.cli.loop import repeat
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, print_json, settings_of
from fourfold.cli.screen import Words, console
from fourfold.config import Settings, interval_of
from fourfold.engine import MASTER
from fourfold.errors import ConfigError
from fourfold.model import SPARK
from fourfold.reports.problems import Problem, uncountable
from fourfold.store import FileDeclared, Store, projects_to_fold


def command(
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
    every: Annotated[
        str | None, typer.Option(help="Count repeatedly, this often: 30s, 5m, 1h; a signal ends it.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="What counts: duckdb, in this process, or spark; else FOURFOLD_ENGINE.")
    ] = None,
    master: Annotated[
        str | None, typer.Option(help="Where Spark runs, if no session is given: local[4], spark://HOST:7077, yarn.")
    ] = None,
) -> None:
    """Count new records, and newly declared tasks; after an interrupt, the next run continues from there.

    Without a project, it counts all projects of the store.
    """
    settings = settings_of(store, project, engine)
    if master is not None:
        if settings.engine != SPARK:
            raise ConfigError(f"--master={master!r} is for Spark: give --engine spark too")
        os.environ[MASTER] = master
    declared = FileDeclared(settings)
    if every is None:
        declared.once()
        projects_to_fold(settings)  # reports errors before a progress bar appears
        with _progress(json) as report:
            failed = _count(settings, report)
        _tell(failed, json)
    else:
        _count_for_ever(settings, declared, interval_of(every, "--every"), json)


def _count(settings: Settings, report: Callable[[float], None]) -> list[Problem]:
    """Count each project; return what cannot be counted. Declarations about streams belong to one project."""
    place, projects = projects_to_fold(settings)
    retention = settings.retention if len(projects) == 1 else {}
    failed = []
    for project in projects:
        with closing(Store(place, project, retention=retention)) as store:
            store.writer.fold(report)
            failed += uncountable(store.reader)
    return failed


def _count_for_ever(settings: Settings, declared: FileDeclared, seconds: int, json: bool) -> None:
    """Count every so many seconds until a signal comes; say what cannot be counted when that changes."""
    told = ""

    def count(report: Callable[[float], None]) -> None:
        nonlocal told
        declared.once()
        failed = _count(settings, report)
        news = "\n".join(problem.message for problem in failed)
        if json or news != told:
            _tell(failed, json)
        told = news

    repeat(seconds, count)


@contextmanager
def _progress(hidden: bool) -> Iterator[Callable[[float], None]]:
    columns = (TextColumn("fold"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=console(), disable=hidden) as progress:
        bar = progress.add_task("fold", total=1.0)
        yield lambda share: progress.update(bar, completed=share)


def _tell(failed: list[Problem], json: bool) -> None:
    if json:
        print_json([{"done": True, "failed": failed}])
        return
    for problem in failed:
        console().print(Words(f"{problem.subject}: {problem.message}", style="yellow"))
