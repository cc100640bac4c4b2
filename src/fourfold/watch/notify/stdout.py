"""Incidents on the standard output: a line each, for logs of containers and for trying out."""

from __future__ import annotations

import dataclasses
import sys

from fourfold.model import Severity
from fourfold.watch.notify.http import reason_of
from fourfold.watch.notify.message import Message, details, headline
from fourfold.watch.notify.protocol import DeliveryError, Fields


@dataclasses.dataclass(frozen=True, slots=True)
class Stdout:
    """Prints one line a message."""

    name: str
    severity: Severity
    repeat: None = None

    @staticmethod
    def of(fields: Fields) -> Stdout:
        """From the settings of a section."""
        return Stdout(fields.name, fields.severity())

    def send(self, message: Message, now: float) -> None:
        """See ``Channel``."""
        rest = ", ".join(f"{name}: {value}" for name, value in details(message) if name in ("since", "began in"))
        line = f"{headline(message)} ({rest})"
        encoding = sys.stdout.encoding or "utf-8"
        try:
            print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
        except (OSError, ValueError) as error:
            raise DeliveryError(f"the standard output cannot be written: {reason_of(error)}") from None
