"""What a channel is, what its settings are, and how a delivery fails."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Protocol

from fourfold.config import interval_of
from fourfold.errors import ConfigError, FourfoldError
from fourfold.model import Severity
from fourfold.watch.notify.message import Message


class DeliveryError(FourfoldError):
    """A message has not arrived. The text holds no secret.

    ``refused`` is whether the receiver answered that it does not take this message, as opposed to not answering;
    ``after`` is how many seconds it asks to wait.
    """

    def __init__(self, text: str, *, refused: bool = False, after: float | None = None) -> None:
        super().__init__(text)
        self.refused, self.after = refused, after


class Channel(Protocol):
    """A way to tell people, or their tools, of incidents."""

    @property
    def name(self) -> str:
        """As in ``[watch.notify.NAME]``."""

    @property
    def severity(self) -> Severity:
        """The least severity that it is told of."""

    @property
    def repeat(self) -> float | None:
        """After how many seconds a firing incident is sent again, for a receiver that forgets; else None."""

    def send(self, message: Message, now: float) -> None:
        """Deliver one message.

        Raises:
            DeliveryError: it has not arrived, or nobody knows.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Secret:
    """A value from the environment: only its name is kept, shown or stored."""

    variable: str

    def value(self) -> str:
        """The secret, read when it is needed, without the line break that files end with.

        Raises:
            DeliveryError: the variable is not set, or holds what no header can hold.
        """
        found = os.environ.get(self.variable, "").strip()
        if not found:
            raise DeliveryError(f"the environment variable {self.variable} is not set where this process runs")
        if not found.isprintable():
            raise DeliveryError(f"the environment variable {self.variable} holds characters that cannot be sent")
        return found


class Fields:
    """The settings of one channel: each is read once; what is left over is unknown.

    Raises:
        ConfigError: from each method, where a setting is missing or not what it should be.
    """

    def __init__(self, name: str, given: Mapping[str, Any]) -> None:
        self.where, self.name = f"fourfold.toml: [watch.notify.{name}]", name
        self._given, self._known = dict(given), {"kind"}

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without a default it must be there."""
        found = self._read(key, default, "a text")
        if not isinstance(found, str) or not found.isprintable():
            raise self.error(f"{key}={found!r} is not a text on one line")
        return found

    def flag(self, key: str) -> bool:
        """True or false; false if it is not there."""
        found = self._read(key, False, "true or false")
        if not isinstance(found, bool):
            raise self.error(f"{key}={found!r}: write true or false")
        return found

    def number(self, key: str, default: int) -> int:
        """A whole number above 0."""
        found = self._read(key, default, "a number")
        if isinstance(found, bool) or not isinstance(found, int) or found <= 0:
            raise self.error(f"{key}={found!r} is not a whole number above 0")
        return found

    def length(self, key: str, default: str) -> int:
        """A length of time such as "5m", in seconds."""
        return interval_of(self.text(key, default), f"{self.where}: {key}")

    def texts(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """A text or a list of texts, none of them empty."""
        found = self._read(key, default, "a list of texts")
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list) or not all(isinstance(t, str) and t and t.isprintable() for t in listed):
            raise self.error(f"{key}={found!r} is not a list of texts")
        return tuple(listed)

    def secret(self, key: str, *, needed: bool = True) -> Secret | None:
        """The environment variable that holds a secret, named by ``KEY_env``; the secret itself is refused."""
        if key in self._given:
            raise self.error(
                f"{key} is a secret, which does not belong into a file; put it into an environment variable "
                f'and write {key}_env = "NAME_OF_THE_VARIABLE"'
            )
        if f"{key}_env" not in self._given and not needed:
            self._known.add(f"{key}_env")
            return None
        return Secret(self.text(f"{key}_env"))

    def severity(self) -> Severity:
        """The least severity; everything if it is not there."""
        found = self.text("severity", Severity.NOTICE.value)
        try:
            return Severity(found)
        except ValueError:
            known = ", ".join(severity.value for severity in Severity)
            raise self.error(f"severity={found!r}; known are {known}") from None

    def has(self, key: str) -> bool:
        """Whether a setting is there."""
        return key in self._given

    def end(self) -> None:
        """After all settings were read: there is no other."""
        if unknown := sorted(self._given.keys() - self._known):
            raise self.error(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(self._known))}")

    def error(self, text: str) -> ConfigError:
        """An error of this section."""
        return ConfigError(f"{self.where}: {text}")

    def _read(self, key: str, default: Any, what: str) -> Any:
        self._known.add(key)  # after the last one is read, these are all that there are
        if key not in self._given and default is None:
            raise self.error(f"{key} is missing; give {what}")
        return self._given.get(key, default)
