"""Findings that belong together, as incidents: they overlap in time and touch along the lineage. Pure.

A finding belongs to the incident that holds it already, or that held it, has just ended and flaps; else to an active
one that began at about the same time and touches it, or that fires at the same place; else it begins a new one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence

from fourfold.model import DAY, Finding, Group, Incident, IncidentState, Severity
from fourfold.watch import lifecycle
from fourfold.watch.lifecycle import Event, Rules
from fourfold.watch.lineage import Lineage

SLACK = 3 * DAY  # between the onsets of what is one incident
OBJECTIVE = "objective"
_CAUSES = ("failed_run", "overdue_run", "heartbeat_lost")  # what else is wrong with runs often follows from these
_AT_ONCE = Rules(clear=1)  # a run that succeeds again is no matter of chance
_STATELESS = (Group.STATELESS_SINGLE, Group.STATELESS_CROSS)


class Book:
    """The incidents of a project, while a check goes on.

    Args:
        incidents: all that may still matter: the active ones, and those that ended not long ago.
        lineage: what feeds what.
        next_number: of the next new incident.
        resting: the numbers of those that stay as they are, with their findings.
    """

    def __init__(
        self, incidents: Sequence[Incident], lineage: Lineage, next_number: int, resting: frozenset[str] = frozenset()
    ) -> None:
        self._before = {incident.id: incident for incident in incidents}
        self._now = dict(self._before)
        self._lineage, self._next, self._resting = lineage, next_number, resting

    @property
    def incidents(self) -> list[Incident]:
        """All incidents as they are now, the oldest first."""
        return sorted(self._now.values(), key=lambda incident: int(incident.id))

    def changed(self) -> list[tuple[Incident | None, Incident]]:
        """What differs from the beginning: before (None: new) and after."""
        pairs = [(self._before.get(incident.id), incident) for incident in self.incidents]
        return [(before, after) for before, after in pairs if before != after]

    def advance(self, firing: Iterable[Finding], at: float, now: float, settled: Collection[str] = ()) -> None:
        """Take in all that is wrong as of a moment of event time.

        Args:
            firing: every finding that holds then, of all sources.
            at: the moment.
            now: when fourfold learns of it.
            settled: the series of findings that hold no more because what they found is the new normal.
        """
        waiting = {finding.series: finding for finding in firing}
        for id_ in self._resting & self._now.keys():
            for finding in self._now[id_].findings:
                waiting.pop(finding.series, None)
        for incident in self.incidents:
            if incident.id in self._resting:
                continue
            if incident.state.is_active or incident.state is IncidentState.DISMISSED:
                members = {finding.series: finding for finding in incident.findings}
                here = {series: waiting.pop(series) for series in list(waiting) if series in members}
                self._now[incident.id] = self._updated(incident, here, at, now, settled)
        known = {finding.series for incident in self.incidents for finding in incident.findings}
        for finding in sorted(waiting.values(), key=lambda f: (f.series not in known, f.began, f.series)):
            self._place(finding, at, now)
        for incident in list(self._now.values()):
            if incident.state is IncidentState.SNOOZED and incident.until is not None and incident.until <= now:
                self._now[incident.id] = lifecycle.advance(incident, Event.UNSNOOZE, now)

    def decided(self, incident: Incident) -> None:
        """Take over an incident that something else has changed."""
        self._now[incident.id] = incident

    def _updated(
        self, incident: Incident, here: Mapping[str, Finding], at: float, now: float, settled: Collection[str]
    ) -> Incident:
        if here:
            if incident.state is IncidentState.DISMISSED:
                return self._described(incident, here)
            event = Event.ENOUGH if incident.state is IncidentState.PENDING else Event.SEEN
            incident = self._described(incident, here)
            enough = event is Event.ENOUGH and lifecycle.is_enough(incident)
            return lifecycle.advance(incident, event if enough else Event.SEEN, now)
        if not incident.state.is_active:
            return incident
        if any(finding.series in settled for finding in incident.findings):
            return lifecycle.advance(incident, Event.SETTLED, now)
        rules = _AT_ONCE if incident.group in _STATELESS else lifecycle.RULES
        return lifecycle.advance(incident, Event.CLEARED, now, at=at, rules=rules)

    def _place(self, finding: Finding, at: float, now: float) -> None:
        for incident in reversed(self.incidents):
            if not any(old.series == finding.series for old in incident.findings):
                continue
            if not incident.state.is_active:
                if not lifecycle.flaps(incident, finding.began):
                    continue
                incident = lifecycle.advance(incident, Event.REOPEN, now)
            self._now[incident.id] = self._described(incident, {finding.series: finding})
            return
        touched = [one for one in reversed(self.incidents) if one.state.is_active and self._belongs(finding, one, at)]
        if touched:  # first one that began before: what begins later is not why
            incident = min(touched, key=lambda one: one.began > finding.began + SLACK)
            self._now[incident.id] = self._described(incident, {finding.series: finding})
            return
        new = Incident(
            id=str(self._next), state=IncidentState.PENDING, severity=finding.severity, title="", kind=finding.kind,
            group=finding.group, began=finding.began, began_low=finding.began_low, began_high=finding.began_high,
            opened=now, where=finding.where,
        )  # fmt: skip
        self._next += 1
        new = self._described(new, {finding.series: finding})
        self._now[new.id] = lifecycle.advance(new, Event.ENOUGH, now) if lifecycle.is_enough(new) else new

    def _belongs(self, finding: Finding, incident: Incident, at: float) -> bool:
        if not any(self._lineage.touch(finding.where, old.where) for old in incident.findings):
            return False
        if finding.kind == OBJECTIVE:  # what it misses has begun earlier
            return True
        firing = [old for old in incident.findings if old.seen >= at - SLACK]
        same = any(_place_of(old) == _place_of(finding) for old in firing)
        apart = max(finding.began_low - incident.began_high, incident.began_low - finding.began_high)
        return same or apart <= SLACK

    def _described(self, incident: Incident, new: Mapping[str, Finding]) -> Incident:
        """An incident with the newest of its findings, and what follows from them."""
        kept = {finding.series: finding for finding in incident.findings}
        for series, finding in new.items():
            onset = kept.get(series)
            if onset is not None and onset.began < finding.began:  # the onset stays the first that was found
                finding = dataclasses.replace(
                    finding, began=onset.began, began_low=onset.began_low, began_high=onset.began_high
                )
            kept[series] = finding
        root = self._root(list(kept.values()))
        others = sorted(
            (f for f in kept.values() if f is not root), key=lambda f: (f.severity.rank, -f.weight, f.series)
        )
        severity = min((finding.severity for finding in kept.values()), key=lambda severity: severity.rank)
        if incident.findings and incident.severity.rank < severity.rank and incident.severity is not Severity.NOTICE:
            severity = incident.severity
        onset = _onset(root, others)
        owners = [f.owner for f in (root, *others) if f.owner]
        runbooks = [f.runbook for f in (root, *others) if f.runbook]
        return dataclasses.replace(
            incident, severity=severity, title=_title(root, onset.began, len(others)), kind=root.kind, group=root.group,
            began=onset.began, began_low=onset.began_low, began_high=onset.began_high, where=root.where,
            objectives=tuple(sorted({f.where.objective for f in kept.values() if f.where.objective})),
            findings=(root, *others), owner=next(iter(owners), incident.owner),
            runbook=next(iter(runbooks), incident.runbook),
        )  # fmt: skip

    def _root(self, findings: Sequence[Finding]) -> Finding:
        """Where it began: the most upstream place among the earliest; an objective detects, it locates nothing."""
        located = [finding for finding in findings if finding.kind != OBJECTIVE] or findings
        first = min(finding.began_low for finding in located)
        earliest = [finding for finding in located if finding.began_low <= first + SLACK] or located
        return min(
            earliest,
            key=lambda f: (
                f.kind not in _CAUSES,
                self._lineage.depth(f.where),
                f.group not in _STATELESS,
                -f.weight,
                f.began,
                f.series,
            ),
        )


def _place_of(finding: Finding) -> tuple[str, str, str]:
    where = finding.where
    return (where.stream, where.column, "") if where.column else (where.stream, where.task, where.component)


def _onset(root: Finding, others: Sequence[Finding]) -> Finding:
    """The finding at the root's place that tells the onset best: some know the hour, others only the day."""
    same = (f for f in others if _place_of(f) == _place_of(root) and root.began <= f.began < root.began + DAY)
    return max((root, *same), key=lambda finding: finding.began)


def _title(root: Finding, began: float, others: int) -> str:
    since = dt.datetime.fromtimestamp(began, dt.UTC)
    when = f"{since:%Y-%m-%d}" if began % DAY == 0 else f"{since:%Y-%m-%d %H:%M}"
    more = f" (and {others} more)" if others else ""
    place = "" if root.what.startswith(str(root.where)) else f"{root.where}: "
    return f"{place}{root.what} since {when}{more}"
