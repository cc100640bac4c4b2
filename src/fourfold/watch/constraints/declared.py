"""Constraints that users declare: ``expects=`` of a component, and ``[watch.expects."stream.column"]``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fourfold.config import is_finite, is_text
from fourfold.errors import ConfigError
from fourfold.watch.constraints.rule import Constraint, Rule, Status

FIELDS = ("min", "max", "null", "values", "unique", "mute", "version")


def expected(stream: str, column: str, fields: Any, what: str) -> list[Constraint]:
    """The constraints that a declaration makes, such as ``{"min": 0, "max": 120, "null": False}``.

    ``null = true`` and ``unique = false`` say that this is allowed, whatever was inferred. ``mute`` is true for all
    rules, or a list of them.

    Raises:
        ConfigError: a field is unknown or of another type; ``what`` names the declaration.
    """
    if not isinstance(fields, Mapping):
        raise ConfigError(f"{what}: {fields!r}: give fields, such as {{'min': 0, 'null': False}}")
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise ConfigError(f"{what}: unknown field {unknown[0]!r}; known are {', '.join(FIELDS)}")
    found = [_one(stream, column, Rule(name), fields[name], what) for name in fields if name not in ("mute", "version")]
    muted = _muted(fields.get("mute", False), what)
    kept = [c for c in found if c.rule not in muted]
    return kept + [Constraint(stream, column, rule, Status.MUTED) for rule in muted]


def merged(*sources: Iterable[Constraint]) -> list[Constraint]:
    """The constraints of several sources: of two by the same rule on the same column, that of the later source."""
    found: dict[tuple[str, Rule], Constraint] = {}
    for source in sources:
        for constraint in source:
            earlier = found.get((constraint.column, constraint.rule))
            if constraint.status is Status.MUTED and earlier is not None:
                constraint = dataclasses.replace(earlier, status=Status.MUTED)
            found[constraint.column, constraint.rule] = constraint
    return list(found.values())


def place(name: str, streams: Iterable[str]) -> tuple[str, str]:
    """The stream and the column that "stream.column" names; a stream's name may have dots, and may stand alone."""
    if name in (known := set(streams)):
        return name, ""
    parts = name.split(".")
    for i in range(len(parts) - 1, 0, -1):
        if (stream := ".".join(parts[:i])) in known:
            return stream, ".".join(parts[i:])
    return name.rpartition(".")[0] or name, name.rpartition(".")[2]


def _one(stream: str, column: str, rule: Rule, value: Any, what: str) -> Constraint:
    match rule:
        case Rule.MIN | Rule.MAX:
            if not is_finite(value):
                raise ConfigError(f"{what}: {rule}={value!r} is not a finite number")
            return Constraint(stream, column, rule, Status.DECLARED, float(value))
        case Rule.VALUES:
            if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) or not (listed := list(value)):
                raise ConfigError(f"{what}: values={value!r}: give a list of values")
            return Constraint(stream, column, rule, Status.DECLARED, values=tuple(_text(v, what) for v in listed))
        case _:
            if not isinstance(value, bool):
                raise ConfigError(f"{what}: {rule}={value!r}: give true or false")
            wanted = value is (rule is Rule.UNIQUE)
            return Constraint(stream, column, rule, Status.DECLARED if wanted else Status.MUTED)


def _muted(value: Any, what: str) -> Sequence[Rule]:
    if isinstance(value, bool):
        return list(Rule) if value else []
    names = [str(rule) for rule in Rule]
    if isinstance(value, (list, tuple)) and all(name in names for name in value):
        return [Rule(name) for name in value]
    raise ConfigError(f"{what}: mute={value!r}: give true, or a list of {', '.join(names)}")


def _text(value: Any, what: str) -> str:
    """A value as text, as values are counted: a boolean as "true", a whole number without a dot."""
    if is_text(value):
        return value
    if type(value).__name__ in ("bool", "bool_"):
        return "true" if value else "false"
    if is_finite(value):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    raise ConfigError(f"{what}: values: {value!r} is neither a text nor a number nor a boolean")
