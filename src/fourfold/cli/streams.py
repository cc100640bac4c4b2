"""``fourfold streams``: what is logged or passed on, and what each column looks like."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import console, day, grid, number, shortened, some
from fourfold.errors import suggest
from fourfold.model import DAY, percent
from fourfold.store import overview


def command(
    stream: Annotated[str | None, typer.Argument(help="Show this stream's columns.")] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """List the streams; or, of one stream, what each column looks like."""
    opened = open_store(store, project)
    found = overview.streams(opened)
    if stream is not None:
        if stream not in {view.name for view in found}:
            raise suggest("stream", stream, [view.name for view in found])
        columns = overview.columns(opened, stream)
        print_json(columns) if json else console().print(_columns(columns))
        return
    if json:
        print_json(found)
    elif not found:
        console().print('No streams yet. Log records with [bold]ff.log("predict", frame, key=…, time=…)[/].')
    else:
        console().print(_streams(found))


def _streams(found: list[overview.StreamView]) -> Table:
    table = grid("stream", "kept", ">records", "from", "to", "~columns")
    for view in found:
        listed = some([name for name, _ in view.columns])
        table.add_row(
            Text(view.name, style="bold"), _kept(view), number(view.rows),
            day(view.first_day), day(view.last_day), Text(listed),
        )  # fmt: skip
    return table


def _kept(view: overview.StreamView) -> str:
    """What is kept of a stream: its records (since when, for how long) or counts only."""
    if not view.logged:
        return "counts"
    since = f" since {day(view.forgotten_before)}" if view.forgotten_before is not None else ""
    return f"records{since}" + (f", for {view.retention // DAY} days" if view.retention is not None else "")


def _columns(columns: list[overview.ColumnView]) -> Table:
    table = grid("column", ">null", ">mean", ">median", ">min", ">max", ">distinct", "mostly")
    for view in columns:
        values = view.values
        cells = [
            number(values[name].value) if name in values else "–" for name in ("mean", "quantile(0.5)", "min", "max")
        ]
        distinct = number(values["distinct"].value) if "distinct" in values else "–"
        mostly = [f"{shortened(label)} {percent(share)}" for label, share in view.frequent[:1]]
        mostly += ["identifier"] if view.kind == "identifier" else []
        table.add_row(Text(view.name, style="bold"), percent(view.missing), *cells, distinct, Text("".join(mostly)))
    return table
