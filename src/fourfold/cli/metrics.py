"""``fourfold metrics``: a metric of a task, stream or column, by window and slice."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from fourfold.cli.grid import Column, Grid, right, wide
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import number
from fourfold.cli.screen import Words, console
from fourfold.errors import InputError
from fourfold.metrics import known_metrics
from fourfold.model import Value, percent
from fourfold.query.result import Result
from fourfold.query.target import resolve
from fourfold.reports.tasks import targets


def command(
    target: Annotated[str | None, typer.Argument(help="A task, a stream, or a column as stream.column.")] = None,
    metric: Annotated[str | None, typer.Argument(help='A metric, such as recall or "quantile(0.9)".')] = None,
    start: Annotated[str | None, typer.Option(help="From when: 2013-04-01, or -7d: so long before the end.")] = None,
    end: Annotated[str | None, typer.Option(help="Until when, exclusive; likewise, before the data's end.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="A slice; for a crossed one, give each column.")] = None,
    every: Annotated[str | None, typer.Option(help="The length of a window: 1h, 1d, 7d, 4w.")] = None,
    against: Annotated[str | None, typer.Option(help="For a distance: another column as the reference.")] = None,
    as_of: Annotated[str | None, typer.Option(help="Answer with the records logged by this moment.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Estimate the missing labels.")] = False,
    versions: Annotated[str | None, typer.Option(help="Two model versions on the same keys: NEW,OLD.")] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Compute a metric; without arguments, list the targets and metrics."""
    opened = open_store(store, project)
    if target is None:
        _list(targets(opened.caught_up()), json)
        return
    if metric is None:
        kind = resolve(opened.caught_up(), target)
        known = known_metrics(kind.kind, kind.task.kind if kind.task is not None else None)
        raise InputError(f"which metric of {target!r}? Known: {', '.join(known)}")
    found = opened.metric(
        target, metric, start=start, end=end, by=by, every=every, against=against, as_of=as_of,
        estimate=estimate, versions=_two(versions),
    )  # fmt: skip
    if json:
        print_json(found.to_dicts())
    else:
        _draw(found)


def _two(versions: str | None) -> tuple[str, str] | None:
    if versions is None:
        return None
    first, comma, second = versions.partition(",")
    if not comma:
        raise InputError(f"--versions {versions}: give two, with a comma between: NEW,OLD")
    return first, second


def _draw(found: Result) -> None:
    several = len({row.window for row in found}) > 1
    if not several:
        window = found[0].window
        console().print(Words(f"{found.metric}, from {_moment(window.start)} to {_moment(window.end)}", "dim"))
    distance = any(row.value.expected is not None for row in found)
    awaited = any(row.value.expected_labels is not None for row in found)
    table = Grid(
        *(["from"] if several else []), *map(Column, found.by), right("value"), "95 % interval", right("n"),
        right("labelled"), *([right("expected labels")] if awaited else []), *([right("expected")] if distance else []),
        wide("status"), keys=several + len(found.by),
    )  # fmt: skip
    for row in found:
        value = row.value
        known = value.value is not None
        table.add_row(
            *([_moment(row.window.start)] if several else []),
            *(Words(str(row.slice.get(name))) for name in found.by), number(value.value),
            f"{number(value.low)} – {number(value.high)}" if value.low is not None else "",
            number(value.n), percent(value.coverage), *([percent(value.expected_labels)] if awaited else []),
            *([number(value.expected)] if distance else []),
            Words(_remark(value), style="dim" if known else "yellow"),
        )  # fmt: skip
    console().print(table)


def _remark(value: Value) -> str:
    if value.value is None:
        return value.reason
    return f"{value.status.value}: {value.reason}" if value.reason else value.status.value


def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%d" if second % 86_400 == 0 else "%Y-%m-%d %H:%M", time.gmtime(second))


def _list(found: list[tuple[str, str, str | None]], json: bool) -> None:
    rows = [{"target": target, "kind": kind, "metrics": known_metrics(kind, of)} for kind, target, of in found]
    if json:
        print_json(rows)
        return
    if not rows:
        console().print("Nothing to ask yet: log records, or run [bold]fourfold demo[/].")
        return
    for kind, of in dict.fromkeys((kind, of) for kind, _, of in found):
        targets = [target for k, target, o in found if (k, o) == (kind, of)]
        title = f"{of} {kind}s " if of else f"{kind}s "
        console().print(Words.assemble((title, "bold"), ", ".join(targets)))
        console().print(Words(f"  {', '.join(known_metrics(kind, of))}", style="dim"))
        console().print()
