"""Incidents as CloudEvents 1.0 (structured, JSON) to any receiver, signed if there is a secret.

The signature is that of Standard Webhooks: the headers ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature``, which is "v1," and the HMAC-SHA256, in base64, of the id, the timestamp and the body with dots
between. A receiver that refuses old timestamps cannot be fooled by a message that someone sends again.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import json
import urllib.parse
from typing import Any

from fourfold.model import Severity
from fourfold.watch.notify.http import post
from fourfold.watch.notify.message import Message
from fourfold.watch.notify.protocol import DeliveryError, Fields, Secret
from fourfold.watch.notify.web import Address
from fourfold.watch.rows import iso, row

_PREFIX = "whsec_"  # of secrets that are bytes in base64


@dataclasses.dataclass(frozen=True, slots=True)
class Webhook:
    """Posts to a public address; to a private one only with ``allow_private``."""

    name: str
    severity: Severity
    address: Address
    secret: Secret | None
    allow_private: bool
    repeat: None = None

    @staticmethod
    def of(fields: Fields) -> Webhook:
        """From the settings of a section."""
        return Webhook(
            fields.name, fields.severity(), Address.of(fields), fields.secret("secret", needed=False),
            fields.flag("allow_private"),
        )  # fmt: skip

    def send(self, message: Message, now: float) -> None:
        """See ``Channel``."""
        body = json.dumps(event(message)).encode()
        headers = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
        if self.secret is not None:
            headers |= signed(self.secret.value(), message.identity, int(now), body)
        post(self.address.place(), body, headers, guarded=not self.allow_private)


def event(message: Message) -> dict[str, Any]:
    """The message as a CloudEvent; its data are a row of ``fourfold incidents --json``."""
    incident = message.incident
    more = {name: getattr(incident, name) for name in ("owner", "runbook", "reason", "confirmed", "reopened")}
    return {
        "specversion": "1.0", "id": message.identity, "source": f"/fourfold/{urllib.parse.quote(message.project, '')}",
        "type": f"fourfold.incident.{message.event}", "subject": incident.id, "time": iso(message.created),
        "datacontenttype": "application/json", "data": finite({**row(incident), **more}),
    }  # fmt: skip


def signed(secret: str, identity: str, now: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a body.

    Raises:
        DeliveryError: the secret says that it is base64, and is not.
    """
    try:
        key = base64.b64decode(secret[len(_PREFIX) :], validate=True) if secret.startswith(_PREFIX) else secret.encode()
    except (binascii.Error, ValueError):
        raise DeliveryError(f"the secret of the webhook begins with {_PREFIX!r}, but the rest is not base64") from None
    name = urllib.parse.quote(identity, "/")  # a header takes ASCII only
    digest = hmac.new(key, f"{name}.{now}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": name, "webhook-timestamp": str(now), "webhook-signature": signature}


def finite(value: Any) -> Any:
    """A value as JSON has it: no infinity and no NaN."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, (list, tuple)) else value
