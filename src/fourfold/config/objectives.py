"""Objectives, from their declarations: ``metric(target[, parameters]) op number``."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from fourfold.config.values import LONGEST, differing, is_finite, is_text, is_whole, length_of, seconds_of
from fourfold.errors import ConfigError
from fourfold.model import HOUR
from fourfold.model.objective import CALENDAR, DURATION, FRESHNESS, OF_RUNS, OPERATORS, Objective

_EXAMPLE = "write it as 'recall(late) >= 0.9': metric(target[, parameters]) op number, where op is >=, >, <= or <"
_WHOLE = re.compile(r"\s*([A-Za-z_]\w*)\s*\((.*)\)\s*([<>=!≤≥]+)\s*(.*?)\s*", re.DOTALL)
_SPELLED = {"≥": ">=", "≤": "<="}
_TEXTS = ("owner", "runbook", "description")


class Expression(NamedTuple):
    """The parts of an objective's expression; ``metric`` is with its parameters, but without the target."""

    metric: str
    target: str
    op: str
    bound: float


def make_objective(
    name: str,
    target: str,
    *,
    window: str = "30d",
    by: str | Sequence[str] = (),
    goal: float | str | None = None,
    owner: str = "",
    runbook: str = "",
    estimates: bool = False,
    description: str = "",
) -> Objective:
    """An objective from its declaration; ``fourfold.sdk.objective`` says what each field means.

    Raises:
        ConfigError: the message names the field, its value and what is expected.
    """
    if not is_text(name) or not name.strip() or "\0" in name:
        raise ConfigError(f"objective name {name!r}: give a text that is not empty and that UTF-8 can hold")
    what = f"objective {name!r}"
    for field, text in zip(_TEXTS, (owner, runbook, description), strict=True):
        if not is_text(text):
            raise ConfigError(f"{what}: {field}={text!r} is not a text without lone surrogates")
    if not isinstance(estimates, bool):
        raise ConfigError(f"{what}: estimates={estimates!r}: give True or False")
    found, share = parse(target, what), _goal(goal, what)
    if found.metric.startswith(f"{DURATION}("):
        q = _duration_share(found.metric, what)
        if share not in (None, q):
            raise ConfigError(f"{what}: goal={goal!r} and q={q:g} are the same thing; give one of them")
        found, share = found._replace(metric=DURATION), q
    length, calendar = _window(window, what)
    names = _names(by, what)
    metric = found.metric.partition("(")[0]
    if names and (metric in OF_RUNS or metric == FRESHNESS):
        raise ConfigError(f"{what}: by={list(names)!r}: {metric} has no slices")
    return Objective(
        name, found.target, found.metric, found.op, found.bound, length, calendar, names, share, owner,
        runbook, estimates, description,
    )  # fmt: skip


def check_objective(objective: Objective) -> None:
    """Check that an objective from elsewhere is one that ``make_objective`` could have made.

    Raises:
        ConfigError: a field is of another type, or not possible.
    """
    what = f"objective {objective.name!r}"
    if not is_finite(objective.bound):
        raise ConfigError(f"{what}: bound={objective.bound!r} is not a finite number")
    made = make_objective(
        objective.name, objective.expression, window=objective.calendar or "30d", by=objective.by, goal=objective.goal,
        owner=objective.owner, runbook=objective.runbook, estimates=objective.estimates,
        description=objective.description,
    )  # fmt: skip
    if not objective.calendar:
        if not is_whole(objective.window, HOUR, LONGEST) or objective.window % HOUR:
            raise ConfigError(f"{what}: window={objective.window!r} is no number of seconds, of whole hours")
        made = dataclasses.replace(made, window=objective.window)
    if wrong := differing(objective, dataclasses.replace(made, bound=objective.bound)):
        raise ConfigError(f"{what}: {wrong} is not as declarations have it")


def parse(expression: str, what: str = "objective") -> Expression:
    """An expression's parts.

    >>> parse("recall(late, threshold=0.3) >= 90 %")
    Expression(metric='recall(threshold=0.3)', target='late', op='>=', bound=0.9)
    >>> parse("freshness(predict) <= '2h'").bound
    7200.0

    Raises:
        ConfigError: it is not of this form.
    """
    match = _WHOLE.fullmatch(expression) if is_text(expression) and "\0" not in expression else None
    if match is None:
        raise ConfigError(f"{what}: {expression!r} is no objective; {_EXAMPLE}")
    metric, inner, op, number = match.groups()
    op = _SPELLED.get(op, op)
    if op not in OPERATORS:
        raise ConfigError(f"{what}: {expression!r} compares with {op!r}; use one of {', '.join(OPERATORS)}")
    target, parameters = _target(inner)
    if not target:
        raise ConfigError(f"{what}: {expression!r} names no target; {_EXAMPLE}")
    bound = _bound(number, metric, f"{what}: {expression!r}")
    _check(metric, parameters, op, bound, f"{what}: {expression!r}")
    return Expression(f"{metric}({parameters})" if parameters else metric, target, op, bound)


def _check(metric: str, parameters: str, op: str, bound: float, what: str) -> None:
    """Reject what a metric of runs or the freshness cannot be compared with."""
    if metric in (DURATION, FRESHNESS) and (op not in ("<=", "<") or bound <= 0):
        raise ConfigError(f"{what}: compare {metric} with <= and a length of time, such as '2h', or seconds")
    if metric == DURATION:
        if parameters:
            _duration_share(f"{metric}({parameters})", what)
    elif parameters and (metric in OF_RUNS or metric == FRESHNESS):
        raise ConfigError(f"{what}: {metric} has no parameters")


def _duration_share(metric: str, what: str = "objective") -> float:
    """The q of ``duration(q=0.95)``: the share of the runs that must be as quick.

    Raises:
        ConfigError: it is no share.
    """
    text = metric.partition("(")[2].removesuffix(")").strip()
    match = re.fullmatch(r"(?:q\s*=\s*)?([0-9.]+)", text)
    share = _number(match[1]) if match else None
    if share is None or not 0 < share < 1:
        raise ConfigError(f"{what}: duration's parameter {text!r} is no share of the runs; write q=0.95")
    return share


def _target(inner: str) -> tuple[str, str]:
    """The target and the parameters: the target stands first, in quotes if it holds a comma."""
    inner = inner.strip()
    quoted = re.match(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*(?:,(.*))?$""", inner, re.DOTALL)
    if quoted:
        return str(ast.literal_eval(quoted[1])), (quoted[2] or "").strip()
    target, _, parameters = inner.partition(",")
    return target.strip(), parameters.strip()


def _bound(text: str, metric: str, what: str) -> float:
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    share = re.fullmatch(r"(.*?)\s*%", bare)
    number = _number(share[1] if share else bare)
    if number is not None:
        return float(f"{number / 100:.15g}") if share else number
    if metric in (DURATION, FRESHNESS):
        return float(length_of(bare, f"{what}: the bound"))
    raise ConfigError(f"{what}: {text!r} is not a number; write 0.9 or '90 %'")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if is_finite(number) and "_" not in text else None


def _window(window: Any, what: str) -> tuple[int, str]:
    """A rolling window's seconds, or a calendar's name."""
    if window in CALENDAR:
        return 0, str(window)
    try:
        return seconds_of(window, f"{what}: window"), ""
    except ConfigError as error:
        raise ConfigError(f"{error}; or of the calendar: {', '.join(map(repr, CALENDAR))}") from None


def _names(by: Any, what: str) -> tuple[str, ...]:
    names = (by,) if isinstance(by, str) else tuple(by) if isinstance(by, (list, tuple)) else (None,)
    if not all(is_text(name) and name for name in names) or len(set(names)) < len(names):
        raise ConfigError(f"{what}: by={by!r} is not a list of the names of slices, such as ['carrier']")
    return tuple(sorted(map(str, names)))


def _goal(goal: Any, what: str) -> float | None:
    if isinstance(goal, str) and goal.strip().endswith("%"):
        goal = _number(goal.strip().removesuffix("%"))
        goal = None if goal is None else goal / 100
        if goal is None:
            goal = ""
    if goal is None:
        return None
    if not is_finite(goal) or not 0 < goal < 1:
        raise ConfigError(f"{what}: goal={goal!r} is not a share between 0 and 1, such as 0.95")
    return float(goal)
