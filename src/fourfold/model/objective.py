"""Objectives (SLOs): a target for a metric over a window."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum

OPERATORS = (">=", ">", "<=", "<")
CALENDAR = ("day", "week", "month", "quarter", "year")
SUCCESS_RATE, DURATION, FRESHNESS = "success_rate", "duration", "freshness"
OF_RUNS = (SUCCESS_RATE, DURATION)  # whose target is a component
SLICES_GOAL = 0.9  # of the time slices, for a metric that is no rate
RUNS_GOAL = 0.95  # of the runs, as quick as a duration's bound
_LENGTHS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


class ObjectiveStatus(StrEnum):
    """How an objective stands in its window."""

    MET = "met"
    MISSED = "missed"
    AT_RISK = "at_risk"
    TOO_EARLY = "too_early_to_tell"
    NO_DATA = "no_data"


@dataclasses.dataclass(frozen=True, slots=True)
class Objective:
    """A service level objective: ``metric`` of ``target`` compared with ``bound`` over ``window``.

    ``op`` is one of ``>=``, ``>``, ``<=``, ``<``. ``window`` is a length in seconds; or, if ``calendar`` is set, one
    of "day", "week", "month", "quarter", "year", in UTC. ``by`` splits it: each slice has a budget of its own.
    ``goal`` is the share of the time slices (days or hours) that must meet the bound; without it, a rate is judged by
    its events, and another metric has the goal of 90 % of the time slices. For a duration it is the share of the runs
    that must be as quick, without it 95 %. ``estimates`` is whether an estimate alone may page.
    """

    name: str
    target: str
    metric: str
    op: str
    bound: float
    window: int = 0
    calendar: str = ""
    by: tuple[str, ...] = ()
    goal: float | None = None
    owner: str = ""
    runbook: str = ""
    estimates: bool = False
    description: str = ""

    @property
    def expression(self) -> str:
        """As users write it.

        >>> Objective("o", "late", "recall", ">=", 0.9, window=86400).expression
        'recall(late) >= 0.9'
        """
        name, _, rest = self.metric.partition("(")
        target = json.dumps(self.target, ensure_ascii=False) if _needs_quotes(self.target) else self.target
        parameters = f", {rest.removesuffix(')')}" if rest else ""
        bound = f"'{length_text(int(self.bound))}'" if self.is_length else f"{self.bound:.15g}"
        return f"{name}({target}{parameters}) {self.op} {bound}"

    @property
    def name_of_metric(self) -> str:
        """The metric without its parameters."""
        return self.metric.partition("(")[0]

    @property
    def is_length(self) -> bool:
        """Whether its bound is a length of time in whole seconds, fewer than a million of them."""
        return self.name_of_metric in (DURATION, FRESHNESS) and self.bound == int(self.bound) and self.bound < 1e6

    @property
    def at_least(self) -> bool:
        """Whether the metric is to be at least its bound, not at most."""
        return self.op[0] == ">"

    @property
    def window_text(self) -> str:
        """The window as users write it: "30d" or "month"."""
        return self.calendar or length_text(self.window)

    def is_met_by(self, value: float) -> bool:
        """Whether a value of the metric meets the bound."""
        match self.op:
            case ">=":
                return value >= self.bound
            case ">":
                return value > self.bound
            case "<=":
                return value <= self.bound
        return value < self.bound

    def to_json(self) -> str:
        """The definition as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Objective:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return Objective(**{**fields, "by": tuple(fields["by"])})


def length_text(seconds: int) -> str:
    """A length of time in its largest whole unit.

    >>> length_text(2_592_000), length_text(7_200), length_text(90)
    ('30d', '2h', '90s')
    """
    unit, of = next((unit, of) for unit, of in _LENGTHS if seconds % of == 0)
    return f"{seconds // of}{unit}"


def _needs_quotes(target: str) -> bool:
    return target != target.strip() or any(character in target for character in ",'\"")
