"""Settings: from arguments, the environment, and ``fourfold.toml`` in the working folder, in this order."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fourfold.config.objectives import make_objective
from fourfold.config.tasks import CELLS, CUTOFFS, TASK_KINDS, Slicing, make_task
from fourfold.config.values import interval_of, is_finite, is_text, seconds_of
from fourfold.errors import ConfigError, InputError
from fourfold.model import DAY, ENGINES, Endpoint, Objective, Place, Plausible, Task, is_collector, limits
from fourfold.model.time import Moment, seconds

__all__ = [
    "CELLS",
    "CUTOFFS",
    "DEFAULT_PROJECT",
    "DEFAULT_STORE",
    "FILE",
    "IN_PYTHON",
    "ON_THE_COMMAND_LINE",
    "PLAUSIBLE",
    "TASK_KINDS",
    "Settings",
    "Slicing",
    "interval_of",
    "is_finite",
    "is_text",
    "load",
    "make_objective",
    "make_task",
    "seconds_of",
    "section_of",
]
T = TypeVar("T")

DEFAULT_STORE, DEFAULT_PROJECT, FILE = ".fourfold", "default", "fourfold.toml"
_DATABASES = ("postgresql://", "postgresql+psycopg://")
IN_PYTHON, ON_THE_COMMAND_LINE = "ff.init({}=...)", "--{}"  # how a setting is given
PLAUSIBLE = Plausible()


@dataclasses.dataclass(frozen=True)
class Settings:
    """The place of a project's data (see ``Place``), and the tasks and objectives that ``fourfold.toml`` declares.

    ``named_by`` says what named the project, such as "FOURFOLD_PROJECT"; it is empty for the default project.
    ``option`` is the way to give a setting here, for messages.
    """

    store: str
    project: str
    tasks: tuple[Task, ...] = ()
    objectives: tuple[Objective, ...] = ()
    retention: Mapping[str, int] = dataclasses.field(default_factory=dict)  # seconds by stream
    times: Plausible = PLAUSIBLE
    watch: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # the section [watch], for ``watch.settings``
    named_by: str = ""
    option: str = IN_PYTHON
    state: str = dataclasses.field(default="", repr=False)  # it may hold a password
    engine: str = ENGINES[0]

    @property
    def place(self) -> Place:
        """The addresses of the store's parts."""
        return Place(self.store, self.state, self.engine)


def load(
    store: str | os.PathLike[str] | None = None,
    project: str | None = None,
    *,
    state: str | None = None,
    engine: str | None = None,
    earliest: Moment | None = None,
    ahead: str | None = None,
    option: str = IN_PYTHON,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """The settings in force.

    Raises:
        ConfigError: fourfold.toml cannot be read, or has unknown settings; or the store is no path, or the project no
            name.
    """
    environment = os.environ if environment is None else environment
    declared = _read(file if file is not None else Path(FILE))
    tasks = _declared(declared, "task", make_task, ("prediction", "label"))
    objectives = _declared(declared, "objective", make_objective, ("target",))
    retention = _retention(declared.pop("stream", {}))
    watch = declared.pop("watch", {})
    if not isinstance(watch, dict):
        raise ConfigError(f"fourfold.toml: watch={watch!r} is not a section; write [watch]")
    unknown = declared.keys() - {"store", "state", "engine", "project", "earliest", "ahead"}
    if unknown:
        raise ConfigError(
            f"fourfold.toml: unknown setting {sorted(unknown)[0]!r}; known are store, state, engine, project, "
            "earliest, ahead, [task.NAME], [objective.NAME], [stream.NAME] and [watch]"
        )
    place, told_by = _chosen("store", store, option, environment, declared)
    chosen, named_by = _chosen("project", project, option, environment, declared)
    return Settings(
        DEFAULT_STORE if place is None else _path(place, told_by),
        DEFAULT_PROJECT if chosen is None else _name(chosen, named_by),
        tasks, objectives, retention,
        _plausible(
            _chosen("earliest", earliest, option, environment, declared),
            _chosen("ahead", ahead, option, environment, declared),
        ),
        watch, named_by, option,
        _state(*_chosen("state", state, option, environment, declared)),
        _engine(*_chosen("engine", engine, option, environment, declared)),
    )  # fmt: skip


def _chosen(
    setting: str, given: Any, option: str, environment: Mapping[str, str], declared: Mapping[str, Any]
) -> tuple[Any, str]:
    """A setting's value and its source: an argument, else the environment, else the file, else none."""
    variable = f"FOURFOLD_{setting.upper()}"
    if given is not None:
        return given, option.format(setting)
    if environment.get(variable):
        return environment[variable], variable
    return declared.get(setting), FILE if setting in declared else ""


def _plausible(earliest: tuple[Any, str], ahead: tuple[Any, str]) -> Plausible:
    """The range of plausible event times; each setting comes with its source."""
    bounds = {}
    if earliest[0] is not None:
        try:
            bounds["earliest"] = seconds(earliest[0], "earliest")
        except InputError as error:
            raise ConfigError(f"{error} (from {earliest[1]})") from error
    if ahead[0] is not None:
        bounds["ahead"] = seconds_of(ahead[0], f"{ahead[1]}: ahead")
    return Plausible(**bounds)


def _path(value: Any, told_by: str) -> str:
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path:
        raise ConfigError(f"store {value!r} (from {told_by}) is no path; give a folder, such as '.fourfold'")
    return str(Endpoint.of(path)) if is_collector(path) else path


def _state(value: Any, told_by: str) -> str:
    if value is None:
        return ""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    is_known = isinstance(value, str) and ("://" not in value or value.startswith(_DATABASES))
    if not is_known or not value:
        shown = "a text that is not shown, as it may hold a password" if isinstance(value, str) else repr(value)
        raise ConfigError(
            f"state (from {told_by}) is {shown}: give a database's URL, such as 'postgresql://host/fourfold', a "
            "folder for SQLite, or nothing: then it is in the store's folder"
        )
    return str(value)


def _engine(value: Any, told_by: str) -> str:
    if value is None:
        return ENGINES[0]
    if value not in ENGINES:
        raise ConfigError(
            f"engine {value!r} (from {told_by}) is not known; give one of {', '.join(map(repr, ENGINES))}"
        )
    return str(value)


def _name(value: Any, named_by: str) -> str:
    if not isinstance(value, str) or not value.strip() or re.search("[\ud800-\udfff\0]", value):
        raise ConfigError(
            f"project {value!r} (from {named_by}) is no name; give a text that is not empty and that UTF-8 can hold, "
            "such as 'flights'"
        )
    if len(value) > limits.NAME:
        raise ConfigError(
            f"project {value[:100]!r}… (from {named_by}) has {len(value):,} characters; {limits.NAME:,} are possible"
        )
    return value


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


def _retention(streams: Any) -> dict[str, int]:
    """The declared retentions: for how many seconds each stream keeps its records."""
    found = {}
    for name, fields in streams.items() if isinstance(streams, dict) else [("NAME", streams)]:
        if not isinstance(fields, dict) or fields.keys() - {"retention"}:
            said = f"{sorted(fields)}" if isinstance(fields, dict) else f"{fields!r}"
            raise ConfigError(f"fourfold.toml, [stream.{name}]: {said}; known is retention")
        if "retention" in fields:
            found[name] = seconds_of(fields["retention"], f"fourfold.toml, [stream.{name}]: retention")
            if found[name] < DAY:
                raise ConfigError(f"fourfold.toml, [stream.{name}]: retention={fields['retention']!r} is below a day")
    return found


def _declared(declared: dict[str, Any], section: str, make: Callable[..., T], needed: tuple[str, ...]) -> tuple[T, ...]:
    """What the sections [SECTION.NAME] declare."""
    known = set(inspect.signature(make).parameters) - {"name", "sums"}
    sections = declared.pop(section, {})
    found = []
    for name, fields in sections.items() if isinstance(sections, dict) else [("NAME", sections)]:
        where = section_of(section, name)
        if not isinstance(fields, dict) or not set(needed) <= fields.keys():
            said = sorted(fields) if isinstance(fields, dict) else repr(fields)
            raise ConfigError(f"{where}: {said}: needs {' and '.join(needed)}; may have {', '.join(sorted(known))}")
        if unknown := sorted(fields.keys() - known):
            said = f"{unknown[0]}={fields[unknown[0]]!r}"
            raise ConfigError(f"{where}: {said} is unknown; known are {', '.join(sorted(known))}")
        try:
            found.append(make(name, **fields))
        except ConfigError as error:
            raise ConfigError(f"{where}: {str(error).removeprefix(f'{section} {name!r}: ')}") from error
    return tuple(found)


def section_of(section: str, name: str) -> str:
    """Where fourfold.toml declares something, for messages."""
    return f"{FILE}, [{section}.{name}]"
