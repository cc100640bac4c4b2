"""``fourfold demo``: a year of real flights through a real pipeline."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fourfold import config, sdk
from fourfold.cli import serve as serving
from fourfold.cli.options import JsonOption, StoreOption, print_json, settings_of
from fourfold.cli.screen import console
from fourfold.cli.status import draw, overview
from fourfold.errors import ConfigError
from fourfold.log import StorePath, store_folder
from fourfold.watch.check import check
from fourfold.watch.settings import WatchSettings

PROJECT = "flights"
MARKER = "demo"  # a file that marks the demo's own store


def command(
    store: StoreOption = None,
    keep: Annotated[bool, typer.Option("--keep", help="Add to the store instead of starting over.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the pages of it afterwards, and open them.")] = False,
    json: JsonOption = False,
) -> None:
    """Replay a year of flights from New York through a pipeline, and show what fourfold saw."""
    # a day's few flights are predicted in less time than it takes to wake several threads for each tree
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        from fourfold.examples import flights
    except ImportError as error:
        raise ConfigError(f"the demo needs more packages ({error.name}): pip install 'fourfold[demo]'") from error
    folder = store_folder(settings_of(store, None).store)
    if not keep:
        _clear(folder)
    out = console()
    session = sdk.init(folder, PROJECT)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=json) as progress:
        bar = progress.add_task("start", total=1.0)
        flights.main(lambda text, share: progress.update(bar, description=text, completed=share))
        progress.update(bar, description="fold", completed=0.75)
        reader = session.store.caught_up()
        progress.update(bar, description="check", completed=0.8)
        check(session.store, WatchSettings(), time.time())
        progress.update(bar, description="read", completed=0.95)
        view = overview(reader, time.time())
        progress.update(bar, description="done", completed=1.0)
    if json:
        print_json([view.to_row()])
        return
    draw(view, out)
    if serve:
        serving.command(store=store, project=PROJECT, browse=True)
        return
    program = "fourfold" if shutil.which("fourfold") else os.path.relpath(sys.argv[0])
    where = "" if folder == Path(config.DEFAULT_STORE).absolute() else f" --store {shlex.quote(str(folder))}"
    out.print("Try next:", style="bold")
    for line in (
        *(f"incidents {incident.id}" for incident in view.incidents[:1]),
        "check",
        "metrics late recall --by carrier --every 4w",
        "streams join_weather.output",
        "runs predict",
    ):
        out.print(f"  {program} {line}{where}", markup=False, soft_wrap=True)


def _clear(folder: StorePath) -> None:
    """Remove an earlier demo's store; nothing else is ever removed."""
    if not isinstance(folder, Path):
        raise ConfigError(f"{folder} is in a bucket, where nothing is removed; add to what is there with --keep")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MARKER).is_file():
        raise ConfigError(
            f"{folder} holds a store that is not the demo's; choose another with --store, or add to it with --keep"
        )
    shutil.rmtree(folder)
