"""What a ``fourfold.toml`` declared last, by section: it declares anew only what is new there, or was changed.

So the file and processes that declare something else under the same name do not fight: the last one wins, and a file
that stays as it is says nothing new, however often it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa

from fourfold.model import Objective, Task
from fourfold.state import memory

Sections = Mapping[str, str]  # the definitions' texts, by "task.NAME" and "objective.NAME"
_NAME = "fourfold.toml"  # under which they are remembered


def section(declared: Task | Objective) -> str:
    """What the section of a declaration is called."""
    return f"{'task' if isinstance(declared, Task) else 'objective'}.{declared.name}"


def sections(connection: sa.Connection, project: str) -> dict[str, str]:
    """What was declared last, by section; what cannot be read counts as nothing."""
    try:
        found = json.loads(memory.load(connection, project, _NAME) or b"{}")
    except ValueError:
        return {}
    return {name: text for name, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}


def is_new(known: Sections, declared: Task | Objective) -> bool:
    """Whether a section is new, or was changed since it was declared last."""
    try:
        return type(declared).from_json(known[section(declared)]) != declared
    except (KeyError, TypeError, ValueError, AttributeError):  # none, or one that cannot be read
        return True


def note(connection: sa.Connection, project: str, known: Sections) -> None:
    """Note what was declared last."""
    memory.save(connection, project, _NAME, json.dumps(known, sort_keys=True).encode())


def withdraw(connection: sa.Connection, project: str, objective: str) -> None:
    """An objective is withdrawn: a section that declares it from now on is a new one."""
    known = sections(connection, project)
    if known.pop(f"objective.{objective}", None) is not None:
        note(connection, project, known)
