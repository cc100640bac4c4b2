"""``fourfold check``: judge what is new, once; for cron, CI and orchestrators."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated

import typer

from fourfold.cli.incidents import draw_list
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, print_json, settings_of
from fourfold.cli.screen import Words, console
from fourfold.errors import InputError
from fourfold.model import Severity
from fourfold.store import FileDeclared, open_project
from fourfold.watch.check import Checked, check
from fourfold.watch.notify import channels
from fourfold.watch.notify.outbox import deliver
from fourfold.watch.rows import row
from fourfold.watch.settings import watch_settings

UNHEALTHY = 1


def command(
    severity: Annotated[
        str, typer.Option(help="The least severity that counts as unhealthy: page, ticket or notice.")
    ] = "ticket",
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Judge what is new, tell people, and exit with 0 if all is healthy, 1 if an incident is open.

    Misuse exits with 2, and a store that cannot be used with 3.
    """
    if severity not in list(Severity):
        raise InputError(f"--severity {severity!r}: give one of {', '.join(Severity)}")
    settings = settings_of(store, project)
    watched = watch_settings(settings.watch)
    made = channels(watched.notify)
    FileDeclared(settings).once()
    with closing(open_project(settings)) as opened:
        now = time.time()
        checked = check(opened, watched, now)
        deliver(opened.reader.database, opened.project, made, now)
        if json:
            print_json([row(incident) for incident in checked.incidents])
        else:
            draw_list(opened.reader, checked.incidents)
            _tell_learning(checked)
    if any(incident.severity.rank <= Severity(severity).rank for incident in checked.incidents):
        raise typer.Exit(UNHEALTHY)


def _tell_learning(checked: Checked) -> None:
    for name, (seen, needed) in checked.learning.items():
        console().print(Words(f"learning {name}: {seen} of {needed} days or hours", style="dim"))
