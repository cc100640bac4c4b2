"""Tasks, from their declarations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fourfold.config.values import LONGEST, differing, is_finite, is_text, is_whole, seconds_of
from fourfold.errors import ConfigError
from fourfold.model import HOUR, Dimension, Part, StreamColumn, Sums, Task

CUTOFFS = (1, 5, 10)
MOST_DIMENSIONS, MOST_CROSSED, MOST_SQL = 1_000, 8, 100  # ways to split a task, parts of one, SQL expressions in all
CELLS = {  # the names of a binary task's cells in values=: decided, actual
    "true_positive": ("1", "1"), "false_positive": ("1", "0"), "false_negative": ("0", "1"),
    "true_negative": ("0", "0"),
}  # fmt: skip
_ONLY = {  # declarations that apply to some kinds only
    "threshold": ("binary", "decision"), "probabilities": ("multiclass",), "classes": ("multiclass",),
    "query": ("ranking",), "cutoffs": ("ranking",), "outcome": ("decision",), "values": ("binary", "multiclass"),
    "version": ("binary", "multiclass", "multilabel", "regression"), "positive": ("binary",),
}  # fmt: skip
TASK_KINDS = ("binary", "multiclass", "multilabel", "regression", "ranking", "decision")
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
    for field, several in (("slices", slices), ("classes", classes), ("cutoffs", cutoffs)):
        if several is not None and not isinstance(several, Iterable):
            raise ConfigError(f"{what}: {field}={several!r} is not a list; write {field}=[{several!r}]")
    if kind == "ranking" and not query:
        raise ConfigError(f"{what}: kind='ranking' needs query=, the column of the item's query")
    for cutoff in cutoffs or ():
        if not is_whole(cutoff, 1, 2**31):
            raise ConfigError(f"{what}: cutoffs={list(cutoffs or ())!r}: {cutoff!r} is not a rank from 1 up")
    dimensions = tuple(_dimension(what, entry) for entry in slices)
    if len(dimensions) > MOST_DIMENSIONS:
        raise ConfigError(f"{what}: slices: {len(dimensions):,} ways to split it; {MOST_DIMENSIONS:,} are possible")
    if (number := sum(bool(part.sql) for dimension in dimensions for part in dimension.parts)) > MOST_SQL:
        raise ConfigError(f"{what}: slices: {number:,} SQL expressions; {MOST_SQL} are possible")
    predicted = _source(what, "prediction", prediction)
    columns = {
        field: _column(what, field, value, predicted.stream)
        for field, value in (("version", version), ("probabilities", probabilities), ("query", query))
    }
    return Task(
        name, predicted, _source(what, "label", label), kind,
        _threshold(kind, threshold), dimensions,
        seconds_of(horizon, f"{what}: horizon"), **columns,
        classes=_classes(what, classes or ()),
        cutoffs=tuple(sorted(set(map(int, cutoffs or CUTOFFS)))) if kind == "ranking" else (),
        outcome=_source(what, "outcome", outcome) if outcome is not None else None,
        values=_values(what, kind, values or {}), sums=tuple(sums), positive=_positive(what, positive),
    )  # fmt: skip


def check_task(task: Task) -> None:
    """Check that a task from elsewhere is one that ``make_task`` could have made, but for its custom metrics.

    Raises:
        ConfigError: a field is of another type, or not possible.
    """
    named = {pair: name for name, pair in CELLS.items()} if task.kind == "binary" else {}
    values: dict[Any, Any] = {}
    for predicted, actual, worth in task.values:
        if name := named.get((predicted, actual)):
            values[name] = worth
        else:
            values.setdefault(predicted, {})[actual] = worth

    def own(column: str) -> str | None:
        return f"{task.prediction.stream}.{column}" if column else None

    made = make_task(
        task.name, prediction=str(task.prediction), label=str(task.label), kind=task.kind, threshold=task.threshold,
        slices=[[_declared(part) for part in dimension.parts] for dimension in task.slices],
        version=own(task.version), probabilities=own(task.probabilities), classes=task.classes or None,
        query=own(task.query), cutoffs=task.cutoffs or None, values=values or None, positive=task.positive,
        outcome=None if task.outcome is None else str(task.outcome),
    )  # fmt: skip
    if not is_whole(task.horizon, HOUR, LONGEST) or task.horizon % HOUR:
        raise ConfigError(f"task {task.name!r}: horizon={task.horizon!r} is no number of seconds, of whole hours")
    if wrong := differing(task, dataclasses.replace(made, horizon=task.horizon, sums=task.sums)):
        raise ConfigError(f"task {task.name!r}: {wrong} is not as declarations have it")


def _declared(part: Part) -> Slicing:
    if part.sql:
        return {"name": part.name, "sql": part.sql}
    return {"column": part.name, "buckets": part.buckets} if part.buckets else part.name


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
    if len(parts) > MOST_CROSSED:
        raise ConfigError(f"{what}: slices: {len(parts):,} parts are crossed; {MOST_CROSSED} are possible")
    return Dimension(tuple(sorted(parts, key=lambda part: part.name)))


def _part(what: str, entry: Any) -> Part:
    if is_text(entry) and entry:
        return Part(entry)
    if isinstance(entry, Mapping):
        fields = dict(entry)
        texts = {name: value for name, value in fields.items() if is_text(value) and value}
        match sorted(map(str, fields)):
            case ["buckets", "column"] if "column" in texts and is_whole(fields["buckets"], 2, 100):
                return Part(texts["column"], int(fields["buckets"]))
            case ["name", "sql"] if "name" in texts and "sql" in texts:
                return Part(texts["name"], sql=texts["sql"])
    raise ConfigError(
        f"{what}: slices: {entry!r} is neither a column's name, nor {{'column': 'distance', 'buckets': 4}} (2 to "
        "100), nor {'name': 'night', 'sql': 'hour < 6'}, nor a list of these; names are texts without lone surrogates"
    )


def _values(what: str, kind: str, values: Mapping[str, Any]) -> tuple[tuple[str, str, float], ...]:
    """The worth of each cell of the confusion matrix: by name for a binary task, else predicted → actual."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what}: values={values!r} is not a mapping of cells to what they are worth")
    found = []
    for key, value in values.items():
        if kind == "binary" and key not in CELLS:
            raise ConfigError(f"{what}: values: {key!r} is not a cell; the cells are {', '.join(CELLS)}")
        if kind != "binary" and not isinstance(value, Mapping):
            raise ConfigError(f"{what}: values: {value!r} for {key!r} is not a mapping of actual classes to numbers")
        cells = {CELLS[key]: value} if kind == "binary" else {(key, a): v for a, v in dict(value).items()}
        for (predicted, actual), worth in cells.items():
            if not is_finite(worth):
                raise ConfigError(f"{what}: values: {worth!r} for {key!r} is not a finite number")
            if not (is_text(str(predicted)) and is_text(str(actual))):
                raise ConfigError(f"{what}: values: {predicted!r} or {actual!r} has a lone surrogate")
            found.append((str(predicted), str(actual), float(worth)))
    if len({cell[:2] for cell in found}) < len(found):
        raise ConfigError(f"{what}: values={values!r} has a cell twice, as texts")
    return tuple(sorted(found))
