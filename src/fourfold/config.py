"""Settings: from arguments, the environment, and ``fourfold.toml`` in the working folder, in this order."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from fourfold.errors import ConfigError, InputError
from fourfold.model import DAY, HOUR, Dimension, Part, Plausible, StreamColumn, Sums, Task
from fourfold.model.time import Moment, seconds

DEFAULT_STORE, DEFAULT_PROJECT = ".fourfold", "default"
CUTOFFS = (1, 5, 10)
CELLS = {  # the names of a binary task's cells in values=: decided, actual
    "true_positive": ("1", "1"), "false_positive": ("1", "0"), "false_negative": ("0", "1"),
    "true_negative": ("0", "0"),
}  # fmt: skip
_ONLY = {  # declarations that apply to some kinds only
    "threshold": ("binary", "decision"), "probabilities": ("multiclass",), "classes": ("multiclass",),
    "query": ("ranking",), "cutoffs": ("ranking",), "outcome": ("decision",), "values": ("binary", "multiclass"),
    "version": ("binary", "multiclass", "multilabel", "regression"), "positive": ("binary",),
}  # fmt: skip
IN_PYTHON, ON_THE_COMMAND_LINE = "ff.init({}=...)", "--{}"  # how a setting is given
PLAUSIBLE = Plausible()
TASK_KINDS = ("binary", "multiclass", "multilabel", "regression", "ranking", "decision")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The place of a project's data, and the tasks that ``fourfold.toml`` declares.

    ``named_by`` says what named the project, such as "FOURFOLD_PROJECT"; it is empty for the default project.
    ``option`` is the way to give a setting here, for messages.
    """

    store: str
    project: str
    tasks: tuple[Task, ...] = ()
    retention: Mapping[str, int] = dataclasses.field(default_factory=dict)  # seconds by stream
    times: Plausible = PLAUSIBLE
    watch: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # the section [watch], for ``watch.settings``
    named_by: str = ""
    option: str = IN_PYTHON


def load(
    store: str | os.PathLike[str] | None = None,
    project: str | None = None,
    *,
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
    declared = _read(file if file is not None else Path("fourfold.toml"))
    tasks = tuple(_task_of(name, fields) for name, fields in declared.pop("task", {}).items())
    retention = _retention(declared.pop("stream", {}))
    watch = declared.pop("watch", {})
    if not isinstance(watch, dict):
        raise ConfigError(f"fourfold.toml: watch={watch!r} is not a section; write [watch]")
    unknown = declared.keys() - {"store", "project", "earliest", "ahead"}
    if unknown:
        raise ConfigError(
            f"fourfold.toml: unknown setting {sorted(unknown)[0]!r}; known are store, project, earliest, ahead, "
            "[task.NAME], [stream.NAME] and [watch]"
        )
    place, told_by = _chosen("store", store, option, environment, declared)
    chosen, named_by = _chosen("project", project, option, environment, declared)
    return Settings(
        DEFAULT_STORE if place is None else _path(place, told_by),
        DEFAULT_PROJECT if chosen is None else _name(chosen, named_by),
        tasks, retention,
        _plausible(
            _chosen("earliest", earliest, option, environment, declared),
            _chosen("ahead", ahead, option, environment, declared),
        ),
        watch, named_by, option,
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
    return declared.get(setting), "fourfold.toml" if setting in declared else ""


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
    return path


def _name(value: Any, named_by: str) -> str:
    if not isinstance(value, str) or not value.strip() or re.search("[\ud800-\udfff\0]", value):
        raise ConfigError(
            f"project {value!r} (from {named_by}) is no name; give a text that is not empty and that UTF-8 can hold, "
            "such as 'flights'"
        )
    return value


Slicing = str | Mapping[str, Any]


def make_task(
    name: str,
    *,
    prediction: str,
    label: str,
    kind: str = "binary",
    threshold: float | None = None,
    slices: Sequence[Slicing | Sequence[Slicing]] | Mapping[str, str] = (),
    horizon: str = "30d",
    version: str | None = None,
    probabilities: str | None = None,
    classes: Sequence[str] | None = None,
    query: str | None = None,
    cutoffs: Sequence[int] | None = None,
    outcome: str | None = None,
    values: Mapping[str, Any] | None = None,
    positive: str | float | None = None,
    sums: Sequence[Sums] = (),
) -> Task:
    """A task from its declaration; ``fourfold.sdk.task`` says what each field means.

    Raises:
        ConfigError: the message names the field, its value and what is expected.
    """
    given_texts = {
        "name": name, "prediction": prediction, "label": label, "version": version, "probabilities": probabilities,
        "query": query, "outcome": outcome, "positive": positive,
    }  # fmt: skip
    for field, text in given_texts.items():
        if isinstance(text, str) and not is_text(text):
            raise ConfigError(f"task {name!r}: {field}={text!r} has a lone surrogate, which no text in UTF-8 can hold")
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(f"task name {name!r}: give a name that is not empty and has no dot")
    what = f"task {name!r}"
    if kind not in TASK_KINDS:
        raise ConfigError(f"{what}: kind={kind!r} is unknown; give one of {', '.join(TASK_KINDS)}")
    given = {
        "threshold": threshold, "probabilities": probabilities, "classes": classes, "query": query,
        "cutoffs": cutoffs, "outcome": outcome, "values": values, "version": version, "positive": positive,
    }  # fmt: skip
    for field, value in given.items():
        if value is not None and kind not in _ONLY[field]:
            raise ConfigError(f"{what}: {field}={value!r} is for kind={' or '.join(_ONLY[field])}, not {kind}")
    if threshold is not None and not is_finite(threshold):
        raise ConfigError(f"{what}: threshold={threshold!r} is not a finite number")
    if isinstance(slices, (str, bytes)):
        raise ConfigError(f"{what}: slices={slices!r} is one text; give a list of columns, as in [{slices!r}]")
    if isinstance(slices, Mapping):
        slices = [{"name": part, "sql": sql} for part, sql in slices.items()]
    if kind == "ranking" and not query:
        raise ConfigError(f"{what}: kind='ranking' needs query=, the column of the item's query")
    for cutoff in cutoffs or ():
        if not _is_whole(cutoff, 1, 2**31):
            raise ConfigError(f"{what}: cutoffs={list(cutoffs or ())!r}: {cutoff!r} is not a rank from 1 up")
    predicted = _source(what, "prediction", prediction)
    columns = {
        field: _column(what, field, value, predicted.stream)
        for field, value in (("version", version), ("probabilities", probabilities), ("query", query))
    }
    return Task(
        name, predicted, _source(what, "label", label), kind,
        _threshold(kind, threshold), tuple(_dimension(what, entry) for entry in slices),
        seconds_of(horizon, f"{what}: horizon"), **columns,
        classes=_classes(what, classes or ()),
        cutoffs=tuple(sorted(set(map(int, cutoffs or CUTOFFS)))) if kind == "ranking" else (),
        outcome=_source(what, "outcome", outcome) if outcome is not None else None,
        values=_values(what, kind, values or {}), sums=tuple(sums), positive=_positive(what, positive),
    )  # fmt: skip


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a text that UTF-8 can hold: without lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_finite(value: object) -> bool:
    """Whether a value is a finite number, of Python or NumPy."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number that is larger than any float
        return False


def _positive(what: str, given: Any) -> str | None:
    """The positive label as text, written like labels: a boolean as "true", a whole number without a dot."""
    if given is None or (is_text(given) and "\0" not in given):
        return given
    if type(given).__name__ in ("bool", "bool_"):
        return "true" if given else "false"
    if is_finite(given):
        return str(int(given)) if float(given).is_integer() else repr(float(given))
    raise ConfigError(f"{what}: positive={given!r} is neither a text nor a number nor a boolean")


def _classes(what: str, classes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(classes, str) or not all(is_text(str(name)) for name in classes):
        raise ConfigError(f"{what}: classes={classes!r} is not a list of texts without lone surrogates")
    return tuple(map(str, classes))


def _threshold(kind: str, given: float | None) -> float | None:
    if given is None:
        return 0.5 if kind == "binary" else None
    return float(given)


def _source(what: str, field: str, value: Any) -> StreamColumn:
    stream, _, column = value.rpartition(".") if isinstance(value, str) else ("", "", "")
    if not stream or not column:
        raise ConfigError(f"{what}: {field}={value!r} is not of the form 'stream.column'")
    return StreamColumn(stream, column)


def _column(what: str, field: str, value: Any, stream: str) -> str:
    """A column of the prediction stream, with or without the stream's name before it."""
    if value is None:
        return ""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{what}: {field}={value!r} is not the name of a column of {stream!r}")
    return value.removeprefix(f"{stream}.")


def _dimension(what: str, entry: Any) -> Dimension:
    """A slice's declaration: a column, a mapping (buckets or SQL), or a list of these, crossed."""
    parts = tuple(_part(what, one) for one in (entry if isinstance(entry, (list, tuple)) else [entry]))
    names = [part.name for part in parts]
    if not parts or len(set(names)) < len(names):
        raise ConfigError(f"{what}: slices: {entry!r} names no column, or one twice")
    return Dimension(tuple(sorted(parts, key=lambda part: part.name)))


def _part(what: str, entry: Any) -> Part:
    if is_text(entry) and entry:
        return Part(entry)
    if isinstance(entry, Mapping):
        fields = dict(entry)
        texts = {name: value for name, value in fields.items() if is_text(value) and value}
        match sorted(map(str, fields)):
            case ["buckets", "column"] if "column" in texts and _is_whole(fields["buckets"], 2, 100):
                return Part(texts["column"], int(fields["buckets"]))
            case ["name", "sql"] if "name" in texts and "sql" in texts:
                return Part(texts["name"], sql=texts["sql"])
    raise ConfigError(
        f"{what}: slices: {entry!r} is neither a column's name, nor {{'column': 'distance', 'buckets': 4}} (2 to "
        "100), nor {'name': 'night', 'sql': 'hour < 6'}, nor a list of these; names are texts without lone surrogates"
    )


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and low <= int(value) <= high


def _values(what: str, kind: str, values: Mapping[str, Any]) -> tuple[tuple[str, str, float], ...]:
    """The worth of each cell of the confusion matrix: by name for a binary task, else predicted → actual."""
    found = []
    for key, value in values.items():
        if kind == "binary" and key not in CELLS:
            raise ConfigError(f"{what}: values: {key!r} is not a cell; the cells are {', '.join(CELLS)}")
        cells = {CELLS[key]: value} if kind == "binary" else {(key, a): v for a, v in dict(value).items()}
        for (predicted, actual), worth in cells.items():
            if not is_finite(worth):
                raise ConfigError(f"{what}: values: {worth!r} for {key!r} is not a finite number")
            if not (is_text(str(predicted)) and is_text(str(actual))):
                raise ConfigError(f"{what}: values: {predicted!r} or {actual!r} has a lone surrogate")
            found.append((str(predicted), str(actual), float(worth)))
    return tuple(sorted(found))


def seconds_of(length: str, what: str) -> int:
    """A duration, such as "30d" or "12h", in seconds."""
    return _seconds(length, what, {"h": HOUR, "d": DAY, "w": 7 * DAY}, "hours, days or weeks: '12h', '30d', '2w'")


def interval_of(length: str, what: str) -> int:
    """An interval of repetition, such as "5m" or "1h", in seconds."""
    return _seconds(length, what, {"s": 1, "m": 60, "h": HOUR}, "seconds, minutes or hours: '30s', '5m', '1h'")


def _seconds(length: str, what: str, units: Mapping[str, int], use: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([a-z])", length) if isinstance(length, str) else None
    if match is None or int(match[1]) == 0 or match[2] not in units:
        raise ConfigError(f"{what}={length!r} is not a length of time; use {use}")
    return int(match[1]) * units[match[2]]


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


def _task_of(name: str, fields: Any) -> Task:
    known = set(inspect.signature(make_task).parameters) - {"name", "sums"}
    if not isinstance(fields, dict) or not {"prediction", "label"} <= fields.keys() <= known:
        raise ConfigError(f"fourfold.toml, [task.{name}]: needs prediction and label; may have {sorted(known)}")
    return make_task(name, **fields)
