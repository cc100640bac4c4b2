"""``fourfold compare``: two groups of records side by side at every component."""

from __future__ import annotations

from typing import Annotated

import typer

from fourfold.cli.grid import Grid, right, wide
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import number
from fourfold.cli.screen import Words, console
from fourfold.errors import InputError
from fourfold.reports.compare import compare


def command(
    a: Annotated[str, typer.Argument(help="A slice: carrier=AA, or carrier=AA,origin=JFK.")],
    b: Annotated[str, typer.Argument(help="The other slice, with the same columns.")],
    start: Annotated[str | None, typer.Option(help="From when: 2013-04-01, or -7d: so long before the end.")] = None,
    end: Annotated[str | None, typer.Option(help="The end, exclusive.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many differences.")] = 20,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Rank the differences between two groups: distributions, metrics, and the versions that made their records."""
    if (start is None) != (end is None):
        raise InputError("give both --start and --end, or neither")
    window = (start, end) if start is not None and end is not None else None
    found = compare(open_store(store, project).caught_up(), _slice(a), _slice(b), window)
    if json:
        print_json([found])
        return
    table = Grid(
        "where", "", wide(f"{a} ({number(found.n[0])})"), wide(f"{b} ({number(found.n[1])})"), right("difference"),
        keys=2,
    )  # fmt: skip
    for row in found.differences[:limit]:
        style = "yellow" if row.size > 0.1 else "" if row.size > 0 else "dim"
        table.add_row(Words(row.where, style="bold"), row.name, row.a, row.b, Words(number(row.size), style=style))
    console().print(table)


def _slice(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",")]
    if not all(name and equals for name, equals, _ in parts):
        raise InputError(f"{text!r} is not a slice; write carrier=AA, or carrier=AA,origin=JFK")
    return {name: value for name, _, value in parts}
