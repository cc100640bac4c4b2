"""``fourfold streams``: the streams, and a summary of each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from fourfold.cli.grid import Grid, right, wide
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import day, number, shortened, some
from fourfold.cli.screen import Words, console
from fourfold.errors import suggest
from fourfold.model import DAY, percent
from fourfold.reports.streams import ColumnView, StreamView, streams
from fourfold.reports.streams import columns as columns_of


def command(
    stream: Annotated[str | None, typer.Argument(help="Show this stream's columns.")] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """List the streams, or show a summary of each column of one stream."""
    reader = open_store(store, project).caught_up()
    found = streams(reader)
    if stream is not None:
        if stream not in {view.name for view in found}:
            raise suggest("stream", stream, [view.name for view in found])
        columns = columns_of(reader, stream)
        print_json(columns) if json else console().print(_columns(columns))
        return
    if json:
        print_json(found)
    elif not found:
        console().print('No streams yet. Log records with [bold]ff.log("predict", frame, key=…, time=…)[/].')
    else:
        console().print(_streams(found))


def _streams(found: Sequence[StreamView]) -> Grid:
    table = Grid("stream", "kept", right("records"), "from", "to", wide("columns"))
    for view in found:
        listed = some([name for name, _ in view.columns])
        table.add_row(
            Words(view.name, style="bold"), _kept(view), number(view.rows),
            day(view.first_day), day(view.last_day), Words(listed),
        )  # fmt: skip
    return table


def _kept(view: StreamView) -> str:
    """What a stream keeps: its records (since when, for how long) or counts only."""
    if not view.logged:
        return "counts"
    since = f" since {day(view.forgotten_before)}" if view.forgotten_before is not None else ""
    return f"records{since}" + (f", for {view.retention // DAY} days" if view.retention is not None else "")


def _columns(columns: Sequence[ColumnView]) -> Grid:
    table = Grid("column", *map(right, ("null", "mean", "median", "min", "max", "distinct")), "mostly")
    by_name: dict[str, list[ColumnView]] = {}
    for view in columns:
        by_name.setdefault(view.name, []).append(view)
    for name, views in by_name.items():  # small integers are counted both as numbers and as categories
        values = {metric: value for view in views for metric, value in view.values.items()}
        cells = [
            number(values[name].value) if name in values else "–" for name in ("mean", "quantile(0.5)", "min", "max")
        ]
        distinct = number(values["distinct"].value) if "distinct" in values else "–"
        mostly = [f"{shortened(label)} {percent(share)}" for view in views for label, share in view.frequent[:1]]
        mostly += ["identifier"] if any(view.kind == "identifier" for view in views) else []
        missing = percent(max(view.missing for view in views))
        table.add_row(Words(name, style="bold"), missing, *cells, distinct, "".join(mostly[:1]))
    return table
