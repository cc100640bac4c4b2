"""What the channels over HTTP have in common: a URL from the settings or the environment."""

from __future__ import annotations

import dataclasses

from fourfold.watch.notify.http import Place, place_of
from fourfold.watch.notify.protocol import DeliveryError, Fields, Secret


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """A URL that is written in the settings, or, if who knows it may use it, named by an environment variable.

    ``hosts`` are those that it may have; none: any.
    """

    found: Place | Secret = dataclasses.field(repr=False)
    hosts: tuple[str, ...] = ()

    @staticmethod
    def of(fields: Fields, default: str | None = None, suffix: str = "") -> Address:
        """From ``url`` or ``url_env``, and ``hosts``.

        Raises:
            ConfigError: neither is there, or it is no URL.
        """
        hosts = tuple(host.lower() for host in fields.texts("hosts", []))
        if fields.has("url_env"):
            if fields.has("url"):
                raise fields.error("url and url_env are both there; write one")
            return Address(Secret(fields.text("url_env")), hosts)
        try:
            place = place_of(fields.text("url", default).rstrip("/" if suffix else "") + suffix)
        except ValueError as error:
            raise fields.error(f"url: {error}") from None
        if hosts and place.host not in hosts:
            raise fields.error(f"url: the host {place.host!r} is not among hosts = {list(hosts)}")
        fields.text("url_env", "")
        return Address(place, hosts)

    def place(self) -> Place:
        """Where to send to.

        Raises:
            DeliveryError: the environment has no URL, or one whose host is not allowed.
        """
        if isinstance(self.found, Place):
            return self.found
        try:
            place = place_of(self.found.value())
        except ValueError as error:
            raise DeliveryError(f"the environment variable {self.found.variable}: {error}") from None
        if self.hosts and place.host not in self.hosts:
            raise DeliveryError(f"{self.found.variable}: the host {place.host!r} is not among hosts")
        return place
