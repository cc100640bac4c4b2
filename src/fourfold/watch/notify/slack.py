"""Incidents in a chat: the incoming webhooks of Slack, and of Mattermost and others that follow it.

Slack shows the blocks, as plain text that it does not interpret. Others show the text, in which each character that
could begin a link, a mention or a channel alert is written so that it cannot.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from fourfold.model import Severity
from fourfold.watch.notify.http import post
from fourfold.watch.notify.message import Message, details, headline
from fourfold.watch.notify.protocol import Fields
from fourfold.watch.notify.web import Address

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\u200b", "](": "]\u200b(", "`": "'"}
_HEADER, _SECTION = 150, 3_000  # characters that a block may have


@dataclasses.dataclass(frozen=True, slots=True)
class Slack:
    """Posts to an incoming webhook. Its URL is a secret: ``url_env`` keeps it out of the file."""

    name: str
    severity: Severity
    address: Address
    allow_private: bool
    repeat: None = None

    @staticmethod
    def of(fields: Fields) -> Slack:
        """From the settings of a section."""
        return Slack(fields.name, fields.severity(), Address.of(fields), fields.flag("allow_private"))

    def send(self, message: Message, now: float) -> None:
        """See ``Channel``."""
        post(self.address.place(), payload(message), {}, guarded=not self.allow_private)


def payload(message: Message) -> dict[str, Any]:
    """The message as Slack takes it."""
    title = headline(message)
    lines = "\n".join(f"{name}: {value}" for name, value in details(message))
    head, body = _cut(title, _HEADER), _cut(lines, _SECTION)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": head, "emoji": False}},
        {"type": "section", "text": {"type": "plain_text", "text": body, "emoji": False}},
    ]
    return {"text": escaped(f"{title}\n{lines}"), "blocks": blocks}


def escaped(text: str) -> str:
    """A text without effects in a chat.

    >>> escaped("<!channel> & <http://evil|here>")
    '&lt;!channel&gt; &amp; &lt;http://evil|here&gt;'
    """
    for effect, harmless in _ESCAPES.items():
        text = text.replace(effect, harmless)
    return text


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
