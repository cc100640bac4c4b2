"""Where a store is: its log, its state, and what counts it; or the collector that takes what is sent to it."""

from __future__ import annotations

import dataclasses
import re
from typing import Protocol
from urllib.parse import urlsplit

from fourfold.errors import ConfigError

DUCKDB, SPARK = "duckdb", "spark"
ENGINES = (DUCKDB, SPARK)
_COLLECTOR = re.compile(r"https?://", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Place:
    """The addresses of a store's three parts.

    ``store`` is a folder or the URL of a bucket; ``state`` is a database's URL, or empty for SQLite in the folder;
    ``engine`` is the name of one of ``ENGINES``.
    """

    store: str
    state: str = dataclasses.field(default="", repr=False)  # it may hold a password
    engine: str = DUCKDB

    @classmethod
    def of(cls, address: Address) -> Place:
        """A place, or that of a store that is all in one folder."""
        return address if isinstance(address, Place) else cls(str(address))


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A collector's address: ``path`` stands before that of each request, and is empty or begins with a slash."""

    secure: bool
    host: str
    port: int
    path: str = ""

    @classmethod
    def of(cls, address: str) -> Endpoint:
        """The parts of an address such as "https://monitor.example/fourfold".

        Raises:
            ConfigError: it is none; the message repeats no password.
        """
        scheme, _, rest = address.partition("://")
        shown = f"store='{scheme}://…'"
        if "@" in rest:
            raise ConfigError(f"{shown}: the address holds credentials; give a token by FOURFOLD_TOKEN instead")
        if "?" in rest or "#" in rest:
            raise ConfigError(f"{shown}: the address has options; give only the host, the port and the path")
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not is_collector(address) or not host or not re.fullmatch(r"[!-~]+", rest):
            raise ConfigError(f"store={address!r}: give a collector's address, such as 'http://127.0.0.1:4404'")
        secure = scheme.lower() == "https"
        return cls(secure, host, port if port is not None else 443 if secure else 80, parts.path.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == (443 if self.secure else 80) else f":{self.port}"
        return f"http{'s' if self.secure else ''}://{host}{port}{self.path}"


def is_collector(store: str) -> bool:
    """Whether a store's address is that of a collector."""
    return _COLLECTOR.match(store) is not None


class PathLike(Protocol):
    """A path, such as that of ``pathlib``."""

    def __fspath__(self) -> str:
        """The path as text, which it is as a text too."""


Address = Place | str | PathLike
