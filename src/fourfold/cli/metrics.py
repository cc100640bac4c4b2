"""``fourfold metrics``: a metric of a task, stream or column, by window and slice."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import console, grid, number, percent
from fourfold.errors import InputError
from fourfold.metrics import METRICS
from fourfold.store import Result, overview
from fourfold.store import metric as read_metric


def command(
    target: Annotated[str | None, typer.Argument(help="A task, a stream, or a column as stream.column.")] = None,
    metric: Annotated[str | None, typer.Argument(help='A metric, such as recall or "quantile(0.9)".')] = None,
    start: Annotated[str | None, typer.Option(help="The first moment, such as 2013-04-01.")] = None,
    end: Annotated[str | None, typer.Option(help="The end, exclusive.")] = None,
    by: Annotated[str | None, typer.Option(help="A slice column.")] = None,
    every: Annotated[str | None, typer.Option(help="The length of a window: 1h, 1d, 7d, 4w.")] = None,
    against: Annotated[str | None, typer.Option(help="For a distance: another column as the reference.")] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Compute a metric; without arguments, list what can be asked."""
    opened = open_store(store, project)
    if target is None:
        _list(overview.targets(opened), json)
        return
    if metric is None:
        raise InputError(f"which metric of {target!r}? There are {', '.join(METRICS)}")
    found = read_metric(opened, target, metric, start=start, end=end, by=by, every=every, against=against)
    if json:
        print_json(found.to_dicts())
    else:
        console().print(_table(found))


def _table(found: Result) -> Table:
    several = len({row.window for row in found}) > 1
    distance = any(row.value.expected is not None for row in found)
    table = grid(
        "from", *([] if several else ["to"]), *found.by, ">value", "95 % interval", ">n", ">labelled",
        *([">expected"] if distance else []), "~",
    )  # fmt: skip
    for row in found:
        value = row.value
        known = value.value is not None
        table.add_row(
            _moment(row.window.start), *([] if several else [_moment(row.window.end)]),
            *(Text(str(row.slice.get(name))) for name in found.by), number(value.value),
            f"{number(value.low)} – {number(value.high)}" if value.low is not None else "",
            number(value.n), percent(value.coverage), *([number(value.expected)] if distance else []),
            Text(value.status.value if known else value.reason, style="dim" if known else "yellow"),
        )  # fmt: skip
    return table


def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%d" if second % 86_400 == 0 else "%Y-%m-%d %H:%M", time.gmtime(second))


def _list(found: list[tuple[str, str]], json: bool) -> None:
    rows = [
        {"target": target, "kind": kind, "metrics": [m.name for m in METRICS.values() if m.target == kind]}
        for kind, target in found
    ]
    if json:
        print_json(rows)
        return
    if not rows:
        console().print("Nothing to ask yet: log records, or run [bold]fourfold demo[/].")
        return
    for kind in ("task", "stream", "column"):
        targets = [target for k, target in found if k == kind]
        if targets:
            console().print(Text.assemble((f"{kind}s ", "bold"), ", ".join(targets)))
            known = ", ".join(m.name for m in METRICS.values() if m.target == kind)
            console().print(Text(f"  {known}\n", style="dim"))
