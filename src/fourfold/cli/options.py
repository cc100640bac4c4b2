"""Options that all commands share, and the store that they choose."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fourfold import config
from fourfold.cli.screen import visible
from fourfold.store import Store, open_project

StoreOption = Annotated[
    str | None, typer.Option("--store", help="The store's folder; else FOURFOLD_STORE or .fourfold.")
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", help="The project; else FOURFOLD_PROJECT, or the only one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help='Print {"rows": [...]} for programs.')]


def open_store(store: str | None, project: str | None) -> Store:
    """The store to read, for the chosen project or the only one.

    Raises:
        StoreError: there is no store at that place; a question creates none.
        UnknownNameError: the project does not exist, or there are several and none was chosen.
    """
    return open_project(settings_of(store, project))


def settings_of(store: str | None, project: str | None, engine: str | None = None) -> config.Settings:
    """The settings of a command."""
    return config.load(store, project, engine=engine, option=config.ON_THE_COMMAND_LINE)


def print_json(rows: Sequence[Any]) -> None:
    """``{"rows": [...]}``, with dataclasses as objects, times as ISO 8601, and no NaN.

    Control characters, and characters missing in the output's encoding, are escaped as in JSON.
    """
    text = json.dumps({"rows": [_plain(row) for row in rows]}, ensure_ascii=False, default=str)
    print("".join(map(_escaped, text)) if visible(text) != text else text, flush=True)


def _escaped(character: str) -> str:
    return character if visible(character) == character else json.dumps(character)[1:-1]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
