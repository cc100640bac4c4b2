"""What users expect of the values of columns, as plain data: ``expects=`` of a component, and ``[watch.expects]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fourfold.config import is_finite, is_text
from fourfold.errors import ConfigError

RULES = ("min", "max", "null", "values", "unique", "type")
FIELDS = ("min", "max", "null", "values", "unique", "mute", "version")


def expectations(fields: Any, what: str) -> dict[str, Any]:
    """A column's declaration with its values as they are counted, such as ``{"min": 0.0, "values": ["1", "true"]}``.

    ``null = true`` and ``unique = false`` say that this is allowed, whatever was inferred. ``mute`` becomes a list of
    rules: true is all of them.

    Raises:
        ConfigError: a field is unknown or of another type; ``what`` names the declaration.
    """
    if not isinstance(fields, Mapping):
        raise ConfigError(f"{what}: {fields!r}: give fields, such as {{'min': 0, 'null': False}}")
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise ConfigError(f"{what}: unknown field {unknown[0]!r}; known are {', '.join(FIELDS)}")
    return {name: _field(name, value, what) for name, value in fields.items()}


def of_columns(columns: Any, what: str) -> dict[str, dict[str, Any]]:
    """The declarations of several columns.

    Raises:
        ConfigError: see ``expectations``.
    """
    if not isinstance(columns, Mapping) or not all(is_text(name) and name for name in columns):
        raise ConfigError(f"{what}={columns!r}: give a dict of columns, such as {{'age': {{'min': 0}}}}")
    return {name: expectations(fields, f"{what}, column {name!r}") for name, fields in columns.items()}


def _field(name: str, value: Any, what: str) -> Any:
    match name:
        case "min" | "max":
            if not is_finite(value):
                raise ConfigError(f"{what}: {name}={value!r} is not a finite number")
            return float(value)
        case "values":
            if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) or not (listed := list(value)):
                raise ConfigError(f"{what}: values={value!r}: give a list of values")
            return [_text(each, what) for each in listed]
        case "mute":
            return _muted(value, what)
        case "version":
            return _text(value, what)
        case _:
            if not isinstance(value, bool):
                raise ConfigError(f"{what}: {name}={value!r}: give true or false")
            return value


def _muted(value: Any, what: str) -> list[str]:
    if isinstance(value, bool):
        return list(RULES) if value else []
    if isinstance(value, (list, tuple)) and all(name in RULES for name in value):
        return list(value)
    raise ConfigError(f"{what}: mute={value!r}: give true, or a list of {', '.join(RULES)}")


def _text(value: Any, what: str) -> str:
    """A value as text, as values are counted: a boolean as "true", a whole number without a dot."""
    if is_text(value):
        return value
    if type(value).__name__ in ("bool", "bool_"):
        return "true" if value else "false"
    if is_finite(value):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    raise ConfigError(f"{what}: {value!r} is neither a text nor a number nor a boolean")
