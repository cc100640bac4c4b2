"""``fourfold move``: take a store's state to PostgreSQL, or back."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fourfold.cli.options import JsonOption, StoreOption, print_json, settings_of
from fourfold.cli.render import number
from fourfold.cli.screen import Words, console
from fourfold.engine import make_engine
from fourfold.errors import InputError
from fourfold.log import Logs, state_at, store_folder
from fourfold.model import Place
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.state import Database, StateError, catalogue, open_state
from fourfold.state.moving import Contents, move
from fourfold.store import place_to_ask

_ASKED = 20  # streams and tasks of a project whose answers are compared
_STOP = "Processes that still use the old state must end first: what they take into it is not in the new one."


@dataclasses.dataclass(frozen=True)
class Moved:
    """What was copied, and how many answers were compared."""

    state: str
    tables: dict[str, int]
    answers: int


def command(
    to: Annotated[str, typer.Option("--to", help="postgresql://user@host/database?schema=NAME, or a folder.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the state of all projects to another database, and compare; the old one stays as it is.

    After an interrupt, run it again.
    """
    place = place_to_ask(settings_of(store, None))
    target_place = _target(place, to)
    columns = (TextColumn("move"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with (
        closing(open_state(*state_at(place))) as source,
        closing(open_state(*state_at(target_place))) as target,
        Progress(*columns, console=console(), disable=json) as progress,
    ):
        bar = progress.add_task("move", total=1.0)
        copied = move(source, target, lambda share: progress.update(bar, completed=share))
        moved = _compared(place, source, target, copied)
    if json:
        print_json([moved])
    else:
        _show(moved)


def _target(place: Place, to: str) -> Place:
    """The store with its state where it is to go.

    Raises:
        InputError: it is there already.
    """
    target = dataclasses.replace(place, state=to)
    if state_at(target) == state_at(place):
        raise InputError("--to: the state is there already; FOURFOLD_STATE or fourfold.toml says where it is")
    return target


def _compared(place: Place, source: Database, target: Database, copied: dict[str, Contents]) -> Moved:
    """Ask both the same."""
    asked = 0
    for project in source.recall(catalogue.projects):
        old, new = (_answers(place, project, database) for database in (source, target))
        if old != new:
            different = next(name for name in old if old[name] != new.get(name))
            raise StateError(
                f"{target.name}: {different!r} of project {project!r} has another answer; stay with the old"
            )
        asked += len(old)
    return Moved(target.name, {name: table.rows for name, table in copied.items()}, asked)


def _answers(place: Place, project: str, database: Database) -> dict[str, Any]:
    """What some streams and tasks come to, from the counts alone."""
    folder = store_folder(place.store)
    reader = Reader(folder, project, database, Logs(folder / "log"), make_engine(place.engine))
    streams = list(reader.recall(catalogue.streams))[:_ASKED]
    tasks = list(reader.recall(catalogue.tasks))[:_ASKED]
    wanted = [*((name, "rows") for name in streams), *((name, "predictions") for name in tasks)]
    return {target: repr([*metric(reader, target, name)]) for target, name in wanted}


def _show(moved: Moved) -> None:
    out = console()
    rows = sum(moved.tables.values())
    out.print(
        Words(f"{number(rows)} rows of {len(moved.tables)} tables are in {moved.state}; their checksums, and ")
        .append(f"{number(moved.answers)} answers, are the same.")
    )  # fmt: skip
    out.print("Now set FOURFOLD_STATE, or state in fourfold.toml, to what --to was, wherever the store is used;")
    out.print("for a folder that is the store's own, leave them out.")
    out.print(Words(_STOP, style="yellow"))
