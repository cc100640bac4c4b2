"""Objectives (SLOs): a target for a metric over a window."""

from __future__ import annotations

import dataclasses
import json


@dataclasses.dataclass(frozen=True, slots=True)
class Objective:
    """A service level objective: ``metric`` of ``target`` compared with ``bound`` over ``window``.

    ``op`` is one of ``>=``, ``>``, ``<=``, ``<``. ``window`` is a length in seconds; or, if ``calendar`` is set, one
    of "day", "week", "month", "quarter", "year", in UTC. ``by`` splits it: each slice has a budget of its own.
    ``goal`` is the share of the events (of a rate), or of the time slices (of another metric), that must be good.
    ``estimates`` is whether an estimate alone may page.
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
        inner, _, rest = self.metric.partition("(")
        parameters = f", {rest.removesuffix(')')}" if rest else ""
        return f"{inner}({self.target}{parameters}) {self.op} {self.bound:g}"

    def to_json(self) -> str:
        """The definition as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Objective:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return Objective(**{**fields, "by": tuple(fields["by"])})
