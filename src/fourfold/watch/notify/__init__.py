"""Channels to people and their tools: one file each, and one list.

A channel is a class with ``of(fields)``, which reads its settings, and ``send(message, now)``; see ``protocol``. To
add one: its file, its name in ``KINDS``, a row in ``docs/notifications.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fourfold.errors import ConfigError
from fourfold.watch.notify.alertmanager import Alertmanager
from fourfold.watch.notify.email import Email
from fourfold.watch.notify.pagerduty import PagerDuty
from fourfold.watch.notify.protocol import Channel, DeliveryError, Fields
from fourfold.watch.notify.slack import Slack
from fourfold.watch.notify.stdout import Stdout
from fourfold.watch.notify.webhook import Webhook

KINDS: Mapping[str, Callable[[Fields], Channel]] = {
    "stdout": Stdout.of,
    "alertmanager": Alertmanager.of,
    "slack": Slack.of,
    "webhook": Webhook.of,
    "email": Email.of,
    "pagerduty": PagerDuty.of,
}

__all__ = ["KINDS", "Channel", "DeliveryError", "channels"]


def channels(sections: Mapping[str, Any]) -> tuple[Channel, ...]:
    """The channels that ``[watch.notify.NAME]`` declares.

    Raises:
        ConfigError: an unknown kind or setting, or one that is missing; the message says where, and what is known.
    """
    if not isinstance(sections, Mapping):
        raise ConfigError(f"fourfold.toml: watch.notify={sections!r} is not a section; write [watch.notify.NAME]")
    return tuple(_channel(str(name), given) for name, given in sections.items())


def _channel(name: str, given: Any) -> Channel:
    where = f"fourfold.toml: [watch.notify.{name}]"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name):
        raise ConfigError(f"{where}: name a channel by letters, digits, - and _")
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is not a section; write the settings of the channel below [watch.notify.{name}]")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        found = "kind is missing" if kind is None else f"unknown kind {kind!r}"
        raise ConfigError(f"{where}: {found}; known are {', '.join(KINDS)}")
    fields = Fields(name, given)
    channel = KINDS[kind](fields)
    fields.end()
    return channel
