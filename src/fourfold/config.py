"""Settings: from arguments, the environment, and ``fourfold.toml`` in the working folder, in this order."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fourfold.errors import ConfigError
from fourfold.model import DAY, HOUR, Task

DEFAULT_STORE, DEFAULT_PROJECT = ".fourfold", "default"
TASK_KINDS = ("binary",)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where a project's data are, and the tasks that ``fourfold.toml`` declares."""

    store: str
    project: str
    tasks: tuple[Task, ...] = ()


def load(
    store: str | os.PathLike[str] | None = None,
    project: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """The settings in force.

    Raises:
        ConfigError: where fourfold.toml cannot be read, or declares what is not known.
    """
    environment = os.environ if environment is None else environment
    declared = _read(file if file is not None else Path("fourfold.toml"))
    tasks = tuple(_task_of(name, fields) for name, fields in declared.pop("task", {}).items())
    unknown = declared.keys() - {"store", "project"}
    if unknown:
        raise ConfigError(
            f"fourfold.toml: unknown setting {sorted(unknown)[0]!r}; there are store, project and [task.NAME]"
        )
    chosen_store = store or environment.get("FOURFOLD_STORE") or declared.get("store") or DEFAULT_STORE
    chosen_project = project or environment.get("FOURFOLD_PROJECT") or declared.get("project") or DEFAULT_PROJECT
    return Settings(os.fspath(chosen_store), chosen_project, tasks)


def make_task(
    name: str,
    *,
    prediction: str,
    label: str,
    kind: str = "binary",
    threshold: float = 0.5,
    slices: Sequence[str] = (),
    horizon: str = "30d",
) -> Task:
    """A task from its declaration.

    Raises:
        ConfigError: names the field, its value and what is expected.
    """
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(f"task name {name!r}: give a name that is not empty and has no dot")
    if kind not in TASK_KINDS:
        raise ConfigError(f"task {name!r}: kind={kind!r} is not known; there is {', '.join(TASK_KINDS)}")
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or threshold != threshold:
        raise ConfigError(f"task {name!r}: threshold={threshold!r} is not a number")
    if isinstance(slices, str):
        raise ConfigError(f"task {name!r}: slices={slices!r} is one text; give a list of columns, as in [{slices!r}]")
    parts: list[tuple[str, str]] = []
    for field, value in (("prediction", prediction), ("label", label)):
        stream, _, column = value.rpartition(".") if isinstance(value, str) else ("", "", "")
        if not stream or not column:
            raise ConfigError(f"task {name!r}: {field}={value!r} is not of the form 'stream.column'")
        parts.append((stream, column))
    (predictions, score), (labels, truth) = parts
    return Task(
        name, predictions, score, labels, truth, kind, float(threshold), tuple(slices),
        seconds_of(horizon, f"task {name!r}: horizon"),
    )  # fmt: skip


def seconds_of(length: str, what: str) -> int:
    """A length of time, such as "30d" or "12h", in seconds."""
    match = re.fullmatch(r"(\d+)([hdw])", length) if isinstance(length, str) else None
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{what}={length!r} is not a length of time; use hours, days or weeks: '12h', '30d', '2w'")
    return int(match[1]) * {"h": HOUR, "d": DAY, "w": 7 * DAY}[match[2]]


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


def _task_of(name: str, fields: Any) -> Task:
    known = {"prediction", "label", "kind", "threshold", "slices", "horizon"}
    if not isinstance(fields, dict) or not {"prediction", "label"} <= fields.keys() <= known:
        raise ConfigError(f"fourfold.toml, [task.{name}]: needs prediction and label; may have {sorted(known)}")
    return make_task(name, **fields)
