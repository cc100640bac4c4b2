"""Incidents as alerts in Prometheus's Alertmanager (API v2), sent again while they fire.

An alert is known by its labels: the project, the incident's number, its severity, and what it was about when it
opened; these stay, whatever is found later. With another severity it is another alert, and the former one ends.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from fourfold.model import Incident, Severity
from fourfold.watch.lifecycle import News
from fourfold.watch.notify.http import post
from fourfold.watch.notify.message import FIRING, Message, details, plain
from fourfold.watch.notify.protocol import Fields, Secret
from fourfold.watch.notify.web import Address
from fourfold.watch.rows import iso


@dataclasses.dataclass(frozen=True, slots=True)
class Alertmanager:
    """Posts to ``/api/v2/alerts``. Without news for ``expires`` seconds, Alertmanager takes an alert for resolved."""

    name: str
    severity: Severity
    repeat: float
    expires: float
    address: Address
    token: Secret | None

    @staticmethod
    def of(fields: Fields) -> Alertmanager:
        """From the settings of a section."""
        return Alertmanager(
            fields.name, fields.severity(), fields.length("repeat", "5m"), fields.length("expires", "24h"),
            Address.of(fields, suffix="/api/v2/alerts"), fields.secret("token", needed=False),
        )  # fmt: skip

    def send(self, message: Message, now: float) -> None:
        """See ``Channel``."""
        headers = {"Authorization": f"Bearer {self.token.value()}"} if self.token is not None else {}
        post(self.address.place(), self.alerts(message, now), headers)

    def alerts(self, message: Message, now: float) -> list[dict[str, Any]]:
        """The alert, and the ends of those with other severities, where these can have changed."""
        incident = message.incident
        current = _alert(message, incident.severity, now + self.expires if message.fires else now)
        if message.event in (FIRING, News.OPENED):
            return [current]
        others = [severity for severity in Severity if severity is not incident.severity]
        return [current, *(_alert(message, severity, now) for severity in others)]


def _alert(message: Message, severity: Severity, ends: float) -> dict[str, Any]:
    incident: Incident = message.incident
    labels = {
        **message.labels, "alertname": "fourfold", "project": plain(message.project), "incident": incident.id,
        "severity": severity.value,
    }  # fmt: skip
    annotations = {"summary": plain(incident.title)}
    for name, value in details(message):
        key = name.replace(" ", "_")
        annotations[key] = f"{annotations[key]}\n{value}" if key in annotations else value
    # an alert must not end before it starts, also where clocks differ
    return {
        "labels": labels, "annotations": annotations, "startsAt": iso(min(incident.opened, ends)), "endsAt": iso(ends),
    }  # fmt: skip
