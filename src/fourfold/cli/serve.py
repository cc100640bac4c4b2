"""``fourfold serve``: take records over HTTP, and show people what is wrong."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Annotated

import typer

from fourfold.cli.options import ProjectOption, StoreOption, settings_of
from fourfold.cli.screen import Words, console
from fourfold.errors import ConfigError, InputError
from fourfold.ingest import from_file
from fourfold.serve.service import LOOPBACK, Reach, Service
from fourfold.state import tokens

PORT = 4404


def command(
    host: Annotated[str, typer.Option(help="The address to listen at; another than this machine's needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="The port to listen at.", min=0, max=65_535)] = PORT,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name by which people and services reach it, such as monitor.example.")
    ] = None,
    secure: Annotated[bool, typer.Option("--secure", help="People come by https, through a proxy.")] = False,
    no_count: Annotated[
        bool, typer.Option("--no-count", help="Count nothing: another process does (fourfold fold --every 1m).")
    ] = False,
    no_watch: Annotated[
        bool, typer.Option("--no-watch", help="Judge nothing, though fourfold.toml has a section [watch].")
    ] = False,
    browse: Annotated[bool, typer.Option("--open", help="Open the pages in a browser.")] = False,
    store: StoreOption = None,
    project: ProjectOption = None,
) -> None:
    """Serve the collector, which services log to, and the pages, on this machine unless told otherwise.

    On another address it starts only if a token was made (fourfold tokens --add NAME). What arrives is counted within
    two seconds by a process beside it, and, with a section [watch] in fourfold.toml, checked every five minutes.
    """
    local = host in ("127.0.0.1", "localhost", "::1")
    named = f"[{host}]" if ":" in host else host
    names = frozenset(name.lower() for name in (*(allow_host or ()), *((named,) if not local else ())))
    settings = settings_of(store, project)
    if settings.watch and not no_watch:
        from fourfold.watch.settings import watch_settings

        watch_settings(settings.watch)  # a wrong setting is told at once
    from_file.check(settings)
    service = Service(settings, Reach(LOOPBACK | names, local, secure))
    if not local and not service.database.recall(tokens.listed):
        service.close()
        raise ConfigError(
            f"--host {host}: others could reach it, and no token was made yet; make one first, with 'fourfold tokens "
            "--add NAME --role admin'"
        )
    service.declare()
    from fourfold.serve.children import COUNT, WATCH
    from fourfold.serve.server import run  # only this command loads the server

    beside = [*(() if no_count else (COUNT,)), *((WATCH,) if settings.watch and not no_watch else ())]

    def tell(bound: int) -> None:
        console().print(Words(f"serving {service.folder} at http://{named}:{bound}; Ctrl-C ends it"))
        if browse and _has_screen():
            webbrowser.open(f"http://{named}:{bound}")

    try:
        run(service, host, port, tell, beside)
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror or error}; choose another") from error


def _has_screen() -> bool:
    """Whether a browser has a window to open: none that takes the terminal is started."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
