"""Findings and incidents: what is wrong, since when, how bad, and where."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fourfold.charts import Timeline


class Severity(StrEnum):
    """How urgent: wake someone up, look at it this week, or know of it."""

    PAGE = "page"
    TICKET = "ticket"
    NOTICE = "notice"

    @property
    def rank(self) -> int:
        """0 is the most urgent."""
        return list(Severity).index(self)


class Group(StrEnum):
    """The four groups of post-deployment problems: does finding it need a history, and does it span components?"""

    STATELESS_SINGLE = "stateless, single-component"
    STATELESS_CROSS = "stateless, cross-component"
    STATEFUL_SINGLE = "stateful, single-component"
    STATEFUL_CROSS = "stateful, cross-component"


class IncidentState(StrEnum):
    """The life of an incident; ``watch.lifecycle`` says which event leads from which to which."""

    PENDING = "pending"
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self not in (IncidentState.RESOLVED, IncidentState.DISMISSED)


_COLOURS = {Severity.PAGE: "broken", Severity.TICKET: "warning", Severity.NOTICE: "muted"}


@dataclasses.dataclass(frozen=True, slots=True)
class Where:
    """A place in the pipeline; what does not apply is empty. ``slice`` is JSON, such as ``{"carrier": "AA"}``."""

    component: str = ""
    stream: str = ""
    column: str = ""
    task: str = ""
    slice: str = ""
    objective: str = ""

    def __str__(self) -> str:
        place = f"{self.stream}.{self.column}" if self.column else self.stream
        found = place or self.task or self.component or self.objective
        values = json.loads(self.slice) if self.slice else {}
        inside = ", ".join(f"{name}={value}" for name, value in values.items())
        return f"{found} ({inside})" if inside else found


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One violation, as of one check. Times are seconds since 1970, in event time.

    ``series`` identifies what was judged, and is the same at each check; ``kind`` is what sort of violation it is
    ("failed_run", "missing_rate", "recall"); ``value`` is the newest, ``expected`` with ``low`` and ``high`` what was
    expected of it. ``seen`` is the end of the newest bucket in which it held. ``weight`` orders findings: how far
    beyond its limit it is, 1 being just there.
    """

    series: str
    kind: str
    what: str
    group: Group
    severity: Severity
    where: Where
    began: float
    began_low: float
    began_high: float
    seen: float
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    weight: float = 1.0
    advice: str = ""
    owner: str = ""
    runbook: str = ""
    source: str = ""  # which part of the watch found it


@dataclasses.dataclass(frozen=True, slots=True)
class Incident:
    """Findings that belong together: they overlap in time and touch along the lineage.

    ``began`` with its interval is the onset in event time, ``opened`` and ``resolved`` are when fourfold said so, all
    in seconds since 1970. ``where`` is where it began: the most upstream place among the earliest findings.
    """

    id: str
    state: IncidentState
    severity: Severity
    title: str
    kind: str
    group: Group
    began: float
    began_low: float
    began_high: float
    opened: float
    where: Where
    resolved: float | None = None
    objectives: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    owner: str = ""
    runbook: str = ""
    reason: str = ""  # why it was dismissed, confirmed or resolved
    confirmed: bool = False  # by a user
    until: float | None = None  # snoozed
    reopened: int = 0  # how often
    clear: int = 0  # in how many buckets in a row nothing has fired
    clear_at: float | None = None  # the end of the newest of them, in event time

    @property
    def seen(self) -> float:
        """The newest event time at which something was wrong."""
        return max((finding.seen for finding in self.findings), default=self.began)

    @property
    def chart(self) -> Timeline:
        """When each of its findings began, and how long it was seen."""
        rows = sorted(self.findings, key=lambda finding: (finding.began, -finding.weight, finding.series))
        from fourfold.charts import Stretch, Timeline  # who only sends does without

        return Timeline(
            "since when",
            [Stretch(f"{f.where}: {f.kind}", f.began_low, f.began_high, f.seen, _COLOURS[f.severity]) for f in rows],
        )

    def _repr_html_(self) -> str:
        """The incident for a notebook: no scripts, all text escaped."""
        head = f"<h4>{html.escape(self.title)}</h4><p>{self.severity.value}, {self.state.value}; {self.group.value}</p>"
        rows = "".join(
            f"<tr><td>{html.escape(str(f.where))}</td><td>{html.escape(f.what)}</td><td>{_range(f)}</td></tr>"
            for f in self.findings
        )
        names = "<th>where</th><th>what</th><th>expected</th>"
        return f"{head}{self.chart.svg()}<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"

    def to_json(self) -> str:
        """As text, for the state."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Incident:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return Incident(
            **{
                **fields,
                "state": IncidentState(fields["state"]),
                "severity": Severity(fields["severity"]),
                "group": Group(fields["group"]),
                "where": Where(**fields["where"]),
                "objectives": tuple(fields["objectives"]),
                "findings": tuple(map(finding_from_plain, fields["findings"])),
            }
        )


def finding_from_plain(fields: Mapping[str, Any]) -> Finding:
    """A finding from its fields as JSON holds them."""
    enums = {"group": Group(fields["group"]), "severity": Severity(fields["severity"])}
    return Finding(**{**fields, **enums, "where": Where(**fields["where"])})


def _range(found: Finding) -> str:
    if found.low is None or found.high is None:
        return "–" if found.expected is None else f"{found.expected:.4g}"
    return f"{found.low:.4g} to {found.high:.4g}"
