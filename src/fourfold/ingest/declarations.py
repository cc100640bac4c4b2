"""A copy of the declarations beside the logs, in case the state is lost; and notes that it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from fourfold.log import StorePath
from fourfold.log.paths import write_whole
from fourfold.model import Objective, Task
from fourfold.state import catalogue, in_file, objectives

LOST = (
    "The logs are counted again, with the tasks, objectives and custom metrics declared beside them; runs, incidents "
    "and the counts of frames that components passed on were only in the state, and are lost."
)
_FILE = "_declarations.json"  # no stream's folder has a name that begins so
_NOTES = "state.notes.json"
Declared = dict[str, Any]


def of(connection: sa.Connection, project: str) -> Declared:
    """What is declared in a project: tasks with their custom metrics, objectives, the streams' keys and times; and what
    fourfold.toml declared last.
    """
    return {
        "format": 1,
        "project": project,
        "tasks": [task.to_json() for task in catalogue.tasks(connection, project).values()],
        "objectives": [objective.to_json() for objective in objectives.listed(connection, project).values()],
        "streams": {name: list(named) for name, named in catalogue.streams(connection, project).items()},
        "in_file": in_file.sections(connection, project),
    }


def keep(folder: StorePath, declared: Declared) -> None:
    """Copy what is declared into the folder of a project's logs, where the copy there is another one.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(declared, indent=1)
    if _read(folder / _FILE) != text:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _FILE, text)


def restore(connection: sa.Connection, project: str, folder: StorePath, is_logged: Callable[[str], bool]) -> None:
    """Declare again what was declared, and the streams that have a log; what cannot be read is left out."""
    declared = _decoded(_read(folder / _FILE))
    if not isinstance(declared, dict):
        return
    for text in declared.get("tasks", ()):
        try:
            task = Task.from_json(text)
        except (TypeError, ValueError, KeyError, AttributeError):
            continue
        catalogue.set_task(connection, project, task.without_sums)
        for sums in task.sums:
            catalogue.set_custom(connection, project, task.name, sums)
    for text in declared.get("objectives", ()):
        try:
            objective = Objective.from_json(text)
        except (TypeError, ValueError, KeyError, AttributeError):
            continue
        objectives.set_one(connection, project, objective.name, objective)
    if isinstance(noted := declared.get("in_file"), dict) and noted:
        in_file.note(connection, project, noted)
    streams = declared.get("streams")
    for name, named in streams.items() if isinstance(streams, dict) else ():
        sound = isinstance(named, list) and len(named) == 2 and all(isinstance(n, (str, type(None))) for n in named)
        if sound and is_logged(name):
            catalogue.add_stream(connection, project, name, *named)


def projects(folder: StorePath) -> set[str]:
    """The projects that have declarations beside their logs."""
    found = [_decoded(_read(path)) for path in folder.glob(f"*/{_FILE}")]
    named = [declared.get("project") for declared in found if isinstance(declared, dict)]
    return {project for project in named if isinstance(project, str) and project}


def note_made_anew(folder: StorePath) -> None:
    """Note in the store's folder that the state was lost, and is now rebuilt."""
    _write(folder / _NOTES, json.dumps({"made_anew": [*made_anew(folder), time.time()]}))


def made_anew(folder: StorePath) -> list[float]:
    """When the state was rebuilt, in seconds since 1970."""
    found = _decoded(_read(folder / _NOTES))
    moments = found.get("made_anew") if isinstance(found, dict) else None
    return [float(at) for at in moments if isinstance(at, (int, float))] if isinstance(moments, list) else []


def notes(folder: StorePath) -> StorePath:
    """The file of the notes."""
    return folder / _NOTES


def _read(path: StorePath) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _write(path: StorePath, text: str) -> None:
    """Write a file whole or not at all, and onto the disk."""
    write_whole(path, text.encode(), synchronise=True)
