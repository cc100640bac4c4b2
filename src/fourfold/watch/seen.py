"""What a check saw, and what follows from it for the incidents, as they are when it is written down. Pure.

A check looks for minutes, and people decide meanwhile. So it first only notes what it sees, and then brings the
incidents up to date by it: those that it reads in the transaction in which it writes. What was decided is kept, and so
is what was seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fourfold.model import DAY, Finding, Incident, Severity
from fourfold.watch.grouping import SLACK, Book
from fourfold.watch.lineage import Lineage
from fourfold.watch.signals.steps import SOURCE

_RECENT = 90 * DAY  # how long an ended incident may still matter
_HARMLESS = 7 * DAY  # judged for so long without harm to any task, a drift is a notice
_DRIFTS = ("drift", "share", "new_rate")


class SeenStep(NamedTuple):
    """What fired as of a moment of event time; see ``Book.advance``."""

    firing: Sequence[Finding]
    at: float
    now: float
    settled: Collection[str]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a check saw, in order.

    Args:
        steps: what changed bucket by bucket.
        last: what fires after the newest bucket, and all else that is wrong now.
        held: the series of the findings of no bucket that the check before has left: they hold during the steps.
        unknown: the sources of such findings that could not be looked at, so that what they found holds on.
        judged: the newest bucket in which each task was judged.
        lineage: what feeds what.
        now: when it was seen.
    """

    steps: Sequence[SeenStep]
    last: SeenStep
    held: Collection[str]
    unknown: Collection[str]
    judged: dict[str, int]
    lineage: Lineage
    now: float

    def brought_up(self, known: Sequence[Incident], began_with: Sequence[Incident]) -> Book:
        """All incidents of the project up to date with what was seen.

        What somebody has ended since the check began, it does not reopen: it saw no more than who ended it.
        """
        recent = [i for i in known if i.state.is_active or max(i.resolved or 0, i.seen) >= self.now - _RECENT]
        active = {incident.id for incident in began_with if incident.state.is_active}
        ended = {incident.id for incident in known if not incident.state.is_active}
        book = Book(recent, self.lineage, max((int(i.id) for i in known), default=0) + 1, frozenset(active & ended))
        for step in self.steps:
            if step.firing or any(incident.state.is_active for incident in book.incidents):
                book.advance([*step.firing, *self.holding(book.incidents)], step.at, step.now, step.settled)
        last = self.last
        book.advance([*last.firing, *self.unlooked(book.incidents)], last.at, last.now, last.settled)
        for incident in book.incidents:
            if incident.state.is_active:
                book.decided(self._weighed(incident))
        return book

    def holding(self, incidents: Sequence[Incident]) -> list[Finding]:
        """The findings of no bucket that held at the newest check: they do until looked at again."""
        return [
            finding
            for incident in incidents
            if incident.state.is_active
            for finding in incident.findings
            if finding.source != SOURCE and finding.series in self.held
        ]

    def unlooked(self, incidents: Sequence[Incident]) -> list[Finding]:
        """Those of them whose source could not be looked at this time."""
        return [finding for finding in self.holding(incidents) if finding.source in self.unknown]

    def _weighed(self, incident: Incident) -> Incident:
        """One of drift alone is a notice once the tasks that it feeds have been judged after it without harm."""
        if any(finding.kind not in _DRIFTS for finding in incident.findings):
            return incident
        fed = {task for finding in incident.findings for task in self.lineage.tasks_of(finding.where)}
        judged = [self.judged.get(task, 0) for task in fed]
        if judged and min(judged) >= incident.began + max(_HARMLESS, SLACK):
            return dataclasses.replace(incident, severity=Severity.NOTICE)
        return incident
