"""Constraints that users declare: ``expects=`` of a component, and ``[watch.expects."stream.column"]``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from fourfold.expectations import expectations
from fourfold.watch.constraints.rule import Constraint, Rule, Status


def expected(stream: str, column: str, fields: Any, what: str) -> list[Constraint]:
    """The constraints that a declaration makes, such as ``{"min": 0, "max": 120, "null": False}``.

    Raises:
        ConfigError: see ``fourfold.expectations``; ``what`` names the declaration.
    """
    plain = expectations(fields, what)
    muted = [Rule(name) for name in plain.get("mute", ())]
    found = [_one(stream, column, rule, plain[rule]) for rule in Rule if rule in plain and rule not in muted]
    return found + [Constraint(stream, column, rule, Status.MUTED) for rule in muted]


def merged(*sources: Iterable[Constraint]) -> list[Constraint]:
    """The constraints of several sources: of two by the same rule on the same column, that of the later source."""
    found: dict[tuple[str, Rule], Constraint] = {}
    for source in sources:
        for constraint in source:
            place = constraint.column, constraint.rule
            is_mute = constraint.status is Status.MUTED and place in found
            found[place] = dataclasses.replace(found[place], status=Status.MUTED) if is_mute else constraint
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


def _one(stream: str, column: str, rule: Rule, value: Any) -> Constraint:
    match rule:
        case Rule.MIN | Rule.MAX:
            return Constraint(stream, column, rule, Status.DECLARED, float(value))
        case Rule.VALUES:
            return Constraint(stream, column, rule, Status.DECLARED, values=tuple(value))
        case _:
            is_wanted = value is (rule is Rule.UNIQUE)
            return Constraint(stream, column, rule, Status.DECLARED if is_wanted else Status.MUTED)
