"""``fourfold skew``: the differences between two streams that should be alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from fourfold.cli.grid import Grid, right, wide
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import number, some
from fourfold.cli.screen import Words, console
from fourfold.engine import Discrepancy
from fourfold.metrics.skew import ColumnSkew
from fourfold.reports.skew import discrepancies, skew


def command(
    reference: Annotated[str, typer.Argument(help="The baseline stream, such as train.features.")],
    current: Annotated[str, typer.Argument(help="The stream to check, such as predict.")],
    by_key: Annotated[bool, typer.Option("--by-key", help="Compare the values of each key, from the log.")] = False,
    relative: Annotated[float, typer.Option(help="By key: numbers match within this share, and")] = 1e-6,
    absolute: Annotated[float, typer.Option(help="by key: this in addition.")] = 0.0,
    start: Annotated[str | None, typer.Option(help="The first day of the current stream: 2013-04-01, or -7d.")] = None,
    end: Annotated[str | None, typer.Option(help="Its end, exclusive.")] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Show what differs per column: schema, type, unit, categories, missing values or distribution."""
    reader = open_store(store, project).caught_up()
    if by_key:
        matched = discrepancies(reader, reference, current, relative=relative, absolute=absolute)
        if json:
            print_json(matched)
        else:
            _draw_matched(matched, current, reference)
        return
    found = skew(reader, reference, current, start=start, end=end)
    if json:
        print_json(found)
    else:
        _draw(found)


def _draw(found: Sequence[ColumnSkew]) -> None:
    table = Grid("column", wide("what differs"), right("stability index"), right("Jensen–Shannon"), right("by chance"))
    for entry in found:
        psi, js = (entry.distances.get(name) for name in ("population_stability_index", "jensen_shannon"))
        table.add_row(
            Words(entry.column, style="bold"), Words(entry.words, style="yellow" if entry.findings else "dim"),
            number(psi.value if psi else None), number(js.value if js else None), number(js.expected if js else None),
        )  # fmt: skip
    console().print(table)


def _draw_matched(found: Sequence[Discrepancy], here: str, there: str) -> None:
    table = Grid(
        "column", right("matched"), right("mismatched"), right(f"only in {here}"), right(f"only in {there}"),
        wide("such as"),
    )  # fmt: skip
    for entry in found:
        keys = [key for examples in entry.examples.values() for key in examples]
        table.add_row(
            Words(entry.column or "(the keys)", style="bold" if entry.wrong else ""), number(entry.matched),
            number(entry.mismatched), number(entry.only_current), number(entry.only_reference), Words(some(keys)),
        )  # fmt: skip
    console().print(table)
