"""``fourfold watch``: check again and again, tell people, and show Prometheus how things stand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any, Protocol

import typer

from fourfold.cli.incidents import severity_of
from fourfold.cli.listen import Board, listening
from fourfold.cli.loop import repeat
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, print_json, settings_of
from fourfold.cli.screen import Words, console
from fourfold.config import Settings, interval_of
from fourfold.errors import InputError, suggest
from fourfold.integrations.prometheus import ObjectiveState, Watched, families
from fourfold.model import Incident, StreamColumn
from fourfold.query.counts import totals
from fourfold.query.reader import Reader
from fourfold.reports.streams import spans
from fourfold.state import catalogue, notices
from fourfold.store import FileDeclared, Store, open_project
from fourfold.watch.lifecycle import News
from fourfold.watch.notify import Channel, channels
from fourfold.watch.notify.message import FIRING
from fourfold.watch.notify.outbox import Undelivered, deliver
from fourfold.watch.rows import row

_PATIENCE = 600.0  # seconds beyond the interval that a round may take before the watch counts as dead


class Checked(Protocol):
    """What a check found: the incidents that have not ended, and what people are to be told."""

    @property
    def incidents(self) -> Sequence[Incident]:
        """Those that have not ended."""

    @property
    def news(self) -> Sequence[tuple[Incident, News]]:
        """What has happened to which incident."""


Check = Callable[[Store, Settings, float], Checked]
Stand = Callable[[Reader, float], Sequence[ObjectiveState]]


def command(
    every: Annotated[str, typer.Option(help="How often: 30s, 5m, 1h; a signal ends it.")] = "5m",
    listen: Annotated[
        str | None, typer.Option(help="Serve /metrics and /healthz there, such as 127.0.0.1:9464.")
    ] = None,
    histogram: Annotated[
        list[str] | None, typer.Option(help="A numeric column (stream.column) to show as a histogram in /metrics.")
    ] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every so often, tell people of incidents by the channels of fourfold.toml, and print what is new.

    An error is told, and the next round tries again.
    """
    settings = settings_of(store, project)
    made = channels(settings.watch.get("notify", {}))  # a wrong setting is told at once
    declared = FileDeclared(settings)
    columns = [_column(text) for text in histogram or ()]
    seconds = interval_of(every, "--every")
    board = Board(seconds + _PATIENCE)

    def work(report: Callable[[float], None]) -> None:
        report(0.0)
        declared.once()
        watched = watch_once(_check, _stand, settings, made, columns, time.time(), quiet=as_json)
        board.show(families(watched))

    with listening(listen, board):
        if not as_json:
            served = f"; http://{listen}/metrics" if listen else ""
            console().print(Words(f"checking every {every}{served}; Ctrl-C ends it", style="dim"))
        repeat(seconds, work, board.failed)


def watch_once(
    judge: Check,
    stand: Stand,
    settings: Settings,
    made: Sequence[Channel],
    columns: Sequence[StreamColumn],
    now: float,
    *,
    quiet: bool = False,
) -> Watched:
    """One round: check, print what is new, deliver what waits; returns how things stand.

    Args:
        judge: the check.
        stand: how the objectives stand.
        settings: of which store and project.
        made: the channels.
        columns: those to show as histograms.
        now: seconds since 1970.
        quiet: whether to print for programs, and not for people.
    """
    with closing(open_project(settings)) as store:
        checked = judge(store, settings, now)
        _tell(checked.news, quiet)
        reader = store.reader
        for failure in deliver(reader.database, reader.project, made, now).failed:
            _tell_failure(failure, quiet)
        with reader.database.read() as connection:
            waiting = sum(notice.event != FIRING for notice in notices.waiting(connection, reader.project))
        found = _histograms(reader, columns)
        newest = {stream: float(end) for stream, (_, end) in spans(reader).items()}
        return Watched(
            reader.project, now, checked.incidents, stand(reader, now), newest, waiting, found,
        )  # fmt: skip


def _check(store: Store, settings: Settings, now: float) -> Checked:
    from fourfold.watch.check import check  # only rounds load what judges, not each command
    from fourfold.watch.settings import watch_settings

    return check(store, watch_settings(settings.watch), now)


def _stand(reader: Reader, now: float) -> Sequence[ObjectiveState]:
    from fourfold.watch.objectives import report

    return [
        ObjectiveState(
            view.name, json.dumps(view.slice, ensure_ascii=False) if view.slice else "", view.status.value,
            view.objective.bound, view.value.value, view.budget.remaining,
            max((min(burn.long, burn.short) for burn in view.burns), default=None),
        )
        for view in report(reader, now)
    ]  # fmt: skip


def _histograms(reader: Reader, columns: Sequence[StreamColumn]) -> Mapping[tuple[str, str], Any]:
    found = {}
    for column in columns:
        known = totals(reader, column.stream)
        if not known:
            raise suggest("stream", column.stream, list(reader.recall(catalogue.streams)))
        if column.column not in known:
            raise suggest("column", str(column), [f"{column.stream}.{name}" for name in known])
        if "numeric" not in known[column.column]:
            raise InputError(f"--histogram {column}: it is not numeric")
        found[column.stream, column.column] = known[column.column]["numeric"]
    return found


def _column(text: str) -> StreamColumn:
    stream, _, column = text.partition(".")
    if not stream or not column:
        raise InputError(f"--histogram {text!r}: write stream.column")
    return StreamColumn(stream, column)


def _tell(news: Sequence[tuple[Incident, News]], quiet: bool) -> None:
    if quiet:
        print_json([{"event": event.value, **row(incident)} for incident, event in news])
        return
    for incident, event in news:
        words = Words.assemble(severity_of(incident), f" {incident.id} {event.value}: ", Words(incident.title))
        console().print(words)


def _tell_failure(failure: Undelivered, quiet: bool) -> None:
    if not quiet:
        text = f"{failure.channel} has not been told of {failure.incident} yet: {failure.error}"
        console().print(Words(text, style="yellow"))
