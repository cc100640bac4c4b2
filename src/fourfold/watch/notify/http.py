"""One HTTP request to a receiver: with an end in time, no redirect followed, and no way into the private network.

A URL that could lead anywhere is *guarded*: its host is resolved once, every address that it has must be public, and
the connection goes to an address that was examined, whatever the name leads to a moment later (DNS rebinding).
"""

from __future__ import annotations

import dataclasses
import http.client
import ipaddress
import json
import re
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from fourfold.watch.notify.message import plain
from fourfold.watch.notify.protocol import DeliveryError

STEP = 10.0  # seconds for one step: to connect, to get the next bytes of an answer
WHOLE = 30.0  # seconds for all steps
_CODE = 40  # characters of a receiver's code for what is wrong
_READ = 2_048  # bytes of an answer that are read
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads."""

    secure: bool
    host: str
    port: int
    path: str  # with the query


def place_of(url: str) -> Place:
    """The parts of a URL.

    Raises:
        ValueError: it is not one that a request can be sent to. The text does not show it, as it may be secret.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
        raise ValueError("it must begin with https:// or http://, and name a host, in ASCII without spaces")
    if " " in url or parts.username is not None or parts.password is not None:
        raise ValueError("it must have no spaces and no password in it; use a token")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(secure, parts.hostname, port or (443 if secure else 80), path)


def post(place: Place, body: Any, headers: Mapping[str, str], *, guarded: bool = False) -> None:
    """Send a body (bytes, or what becomes JSON) and expect an answer of 200 to 299.

    Raises:
        DeliveryError: no connection, no answer in time, another answer; or a guarded host that is not public.
    """
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=True).encode()
    sent = {"Content-Type": "application/json", "User-Agent": "fourfold", **headers}
    with _failures(place.host):
        # a guarded request takes no proxy, which would resolve the name by itself
        connection, path = _guarded(place) if guarded else _open(place)
        try:
            connection.connect()
            connected = connection.sock  # which the connection forgets where the receiver is to close it
            with ending(lambda: _cut(connected)):
                connection.request("POST", path, content, sent)
                answer = connection.getresponse()
                text = answer.read(_READ)
        finally:
            connection.close()
    if not 200 <= answer.status < 300:
        raise _refusal(place.host, place.path, answer, text)


@contextmanager
def ending(cut: Callable[[], object]) -> Iterator[None]:
    """Cut a connection that is still busy after ``WHOLE`` seconds: a receiver may answer a byte at a time for ever."""
    timer = threading.Timer(WHOLE, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _open(place: Place) -> tuple[http.client.HTTPConnection, str]:
    """A connection by way of the proxy that the environment names, if any."""
    scheme = "https" if place.secure else "http"
    proxy = None if urllib.request.proxy_bypass(place.host) else urllib.request.getproxies().get(scheme)
    if not proxy:
        return _direct(place, place.host, place.port), place.path
    via = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    between = _direct(place, via.hostname or "", via.port or 8080)
    if place.secure:
        between.set_tunnel(place.host, place.port)
        return between, place.path
    return between, f"http://{_authority(place)}{place.path}"


def _direct(place: Place, host: str, port: int) -> http.client.HTTPConnection:
    if place.secure:
        return http.client.HTTPSConnection(host, port, timeout=STEP, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=STEP)


def _guarded(place: Place) -> tuple[http.client.HTTPConnection, str]:
    addresses = public_addresses(place)
    if place.secure:
        return _PinnedTLS(place, addresses), place.path
    return _Pinned(place, addresses), place.path


def public_addresses(place: Place) -> list[str]:
    """The addresses of a host.

    Raises:
        DeliveryError: one of them is not public: private, of this machine, or of this network link.
    """
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not is_public(address):
            raise DeliveryError(
                f"{place.host} leads to {address}, which is not a public address; if that is meant, write "
                "allow_private = true"
            )
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address is reached by way of the internet; one inside another (IPv4 in IPv6) counts too.

    >>> [is_public(a) for a in ("93.184.216.34", "127.0.0.1", "::ffff:10.0.0.1", "169.254.169.254", "fe80::1%eth0")]
    [True, False, False, False, False]
    """
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if found in _NAT64 or int(found) < 2**32:
            inner.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        if not all(each.is_global and not each.is_multicast for each in inner if each is not None):
            return False
    return found.is_global and not found.is_multicast


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the given addresses, never to what the name leads to now."""

    def __init__(self, place: Place, addresses: list[str]) -> None:
        super().__init__(place.host, place.port, timeout=STEP)
        self._addresses = addresses

    def connect(self) -> None:
        """See ``HTTPConnection``."""
        self.sock = _connected(self._addresses, self.port)


class _PinnedTLS(_Pinned):
    """The same; the certificate must be of the host's name."""

    default_port = 443

    def connect(self) -> None:
        """See ``HTTPConnection``."""
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _connected(addresses: list[str], port: int) -> socket.socket:
    failure: OSError = OSError("it has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=STEP)
        except OSError as error:
            failure = error
    raise failure


def _refusal(host: str, path: str, answer: http.client.HTTPResponse, text: bytes) -> DeliveryError:
    """An answer other than success. Busy receivers (408, 429, 5xx) are not refusing the message.

    Of what it says only a code such as "invalid_payload" is kept: many repeat the path, which may be secret.
    """
    said = text.decode(errors="replace").strip()
    said = said if re.fullmatch(r"[a-z]+(_[a-z]+)*", said) and len(said) <= _CODE and said not in path else ""
    redirects = "; redirects are not followed" if 300 <= answer.status < 400 else ""
    after = answer.headers.get("Retry-After", "")
    return DeliveryError(
        f"{host} answered {answer.status}{redirects}{': ' + said if said else ''}",
        refused=answer.status < 500 and answer.status not in (408, 425, 429),
        after=float(after) if after.isascii() and after.isdigit() and len(after) < 8 else None,
    )


@contextmanager
def _failures(host: str) -> Iterator[None]:
    """What goes wrong on the way, as a delivery that failed; without the URL, which may be secret."""
    try:
        yield
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise DeliveryError(f"{host} cannot be reached: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """What an error of a connection says, as far as it is about the connection."""
    if isinstance(error, OSError):
        return plain(error.strerror or str(error) or type(error).__name__)
    return type(error).__name__


def _authority(place: Place) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"{host}:{place.port}"


def _cut(connected: socket.socket | None) -> None:
    if connected is not None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)
