"""Options that all commands share, and the store that they choose."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fourfold import config
from fourfold.errors import StoreError
from fourfold.log import store_folder
from fourfold.store import Store

StoreOption = Annotated[
    str | None, typer.Option("--store", help="The store's folder; else FOURFOLD_STORE or .fourfold.")
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", help="The project; else FOURFOLD_PROJECT or 'default'.")
]
JsonOption = Annotated[bool, typer.Option("--json", help='Print {"rows": [...]} for programs.')]


def place(store: str | None, project: str | None) -> tuple[Path, str]:
    """The folder of the store to read, and the project.

    Raises:
        StoreError: there is no store at that place; nothing is made by asking.
    """
    settings = config.load(store, project)
    folder = store_folder(settings.store)
    if not any((folder / name).exists() for name in ("inbox", "state.db", "log")):
        raise StoreError(
            f"there is no store at {folder.resolve()}. Log something first, point --store or FOURFOLD_STORE at it, "
            "or run 'fourfold demo'."
        )
    return folder, settings.project


def open_store(store: str | None, project: str | None) -> Store:
    """The store to read.

    Raises:
        StoreError: there is none at that place, or it cannot be used.
    """
    return Store(*place(store, project))


def print_json(rows: Sequence[Any]) -> None:
    """``{"rows": [...]}``, with dataclasses as objects, times as ISO 8601, and no NaN."""
    print(json.dumps({"rows": [_plain(row) for row in rows]}, ensure_ascii=False, default=str))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
