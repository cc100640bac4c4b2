"""An incident as a row: the columns of ``ff.incidents()`` and ``fourfold incidents --json``, fixed for programs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

from fourfold.model import Finding, Incident


def row(incident: Incident) -> dict[str, Any]:
    """The columns; times in ISO 8601."""
    where = dataclasses.asdict(incident.where)
    where["slice"] = json.loads(incident.where.slice) if incident.where.slice else {}
    return {
        "id": incident.id, "state": incident.state.value, "severity": incident.severity.value,
        "title": incident.title, "kind": incident.kind, "group": incident.group.value,
        "began": iso(incident.began), "began_low": iso(incident.began_low), "began_high": iso(incident.began_high),
        "opened": iso(incident.opened), "resolved": None if incident.resolved is None else iso(incident.resolved),
        "where": where, "objectives": list(incident.objectives), "findings": list(map(_finding, incident.findings)),
    }  # fmt: skip


def iso(moment: float) -> str:
    """A moment (seconds since 1970) in ISO 8601, UTC, to the second.

    >>> iso(0.5)
    '1970-01-01T00:00:00Z'
    """
    try:
        return dt.datetime.fromtimestamp(int(moment), dt.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a time that no calendar has
        return str(moment)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "series": finding.series, "what": finding.what, "value": finding.value, "expected": finding.expected,
        "low": finding.low, "high": finding.high, "n": finding.n, "began": iso(finding.began),
    }  # fmt: skip
