"""Incidents in PagerDuty: Events API v2, one alert an incident, by its ``dedup_key``."""

from __future__ import annotations

import dataclasses
from typing import Any

from fourfold.model import Severity
from fourfold.watch.notify.http import post
from fourfold.watch.notify.message import Message, details, headline, plain
from fourfold.watch.notify.protocol import Fields, Secret
from fourfold.watch.notify.web import Address
from fourfold.watch.rows import iso

_URL = "https://events.pagerduty.com/v2/enqueue"
_SEVERITIES = {Severity.PAGE: "critical", Severity.TICKET: "warning", Severity.NOTICE: "info"}


@dataclasses.dataclass(frozen=True, slots=True)
class PagerDuty:
    """Triggers and resolves alerts. The routing key is in the variable that ``token_env`` names."""

    name: str
    severity: Severity
    address: Address
    token: Secret
    repeat: None = None

    @staticmethod
    def of(fields: Fields) -> PagerDuty:
        """From the settings of a section."""
        token = fields.secret("token")
        assert token is not None
        return PagerDuty(fields.name, fields.severity(), Address.of(fields, _URL), token)

    def send(self, message: Message, now: float) -> None:
        """See ``Channel``."""
        post(self.address.place(), {**event(message), "routing_key": self.token.value()}, {})


def event(message: Message) -> dict[str, Any]:
    """The message as an event, without the routing key."""
    incident = message.incident
    whole: dict[str, Any] = {"event_action": "trigger" if message.fires else "resolve", "dedup_key": _key(message)}
    told: dict[str, str] = {}
    for name, value in details(message):
        told[name] = f"{told[name]}\n{value}" if name in told else value
    payload = {
        "summary": plain(headline(message), 1_024), "source": plain(str(incident.where) or message.project),
        "severity": _SEVERITIES[incident.severity], "timestamp": iso(incident.began),
        "component": plain(incident.where.component), "group": plain(message.project), "class": plain(incident.kind),
        "custom_details": {**told, "identity": message.identity},
    }  # fmt: skip
    if incident.runbook.startswith(("https://", "http://")):
        whole["links"] = [{"href": incident.runbook, "text": "runbook"}]
    return {**whole, "payload": payload, "client": "fourfold"}


def _key(message: Message) -> str:
    """The same for all news of an incident; at most 255 characters."""
    return f"fourfold-{plain(message.project, 200)}-{message.incident.id}"
