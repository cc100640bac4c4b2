"""The small HTTP server of ``fourfold watch --listen``: what the last round found, and whether rounds go on."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fourfold.cli.screen import visible
from fourfold.errors import InputError
from fourfold.integrations.prometheus import OPENMETRICS, TEXT, Family, exposition, wants_openmetrics

_WAIT = 10.0  # seconds for a client to say what it wants


class Board:
    """What the server shows; the loop puts it there.

    Args:
        patience: the seconds after which a loop that has not finished a round is taken for dead.
        clock: seconds that only go forward.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._families: list[Family] = []
        self._failure, self._at = "", clock()

    def show(self, families: list[Family]) -> None:
        """A round has gone well."""
        self._families, self._failure, self._at = families, "", self._clock()

    def failed(self, error: Exception) -> None:
        """A round has not; what the last one found stays."""
        self._failure, self._at = str(error) or type(error).__name__, self._clock()

    def metrics(self, *, openmetrics: bool) -> str:
        """What the last round that went well found."""
        return exposition(self._families, openmetrics=openmetrics)

    def trouble(self) -> str:
        """Why the watch is not healthy; empty if it is."""
        if self._failure:
            return self._failure
        passed = self._clock() - self._at
        return f"no round has ended for {passed:.0f} s" if passed > self._patience else ""


@contextmanager
def listening(address: str | None, board: Board) -> Iterator[None]:
    """Serve a board at "HOST:PORT", in the background, as long as the context lasts.

    Raises:
        InputError: it is no address, or one that cannot be had.
    """
    if address is None:
        yield
        return
    try:
        server = _Server(*place_of(address), board)
    except OSError as error:
        raise InputError(f"--listen {address}: {error.strerror or error}; choose another one") from error
    thread = threading.Thread(target=server.serve_forever, name="fourfold-listen", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def place_of(address: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9464" or "[::1]:9464".

    Raises:
        InputError: it is something else.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InputError(f"--listen {address!r}: give a host and a port, such as 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, host: str, port: int, board: Board) -> None:
        self.board = board
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _WAIT
    server_version, sys_version = "fourfold", ""

    def do_GET(self) -> None:
        """Answer a request."""
        board, path = self.server.board, self.path.partition("?")[0]
        if path == "/metrics":
            openmetrics = wants_openmetrics(self.headers.get("Accept", ""))
            self._answer(200, board.metrics(openmetrics=openmetrics), OPENMETRICS if openmetrics else TEXT)
        elif path == "/healthz":
            trouble = visible(board.trouble(), "utf-8")
            self._answer(503 if trouble else 200, f"{trouble or 'ok'}\n", "text/plain; charset=utf-8")
        else:
            self._answer(404, "here are /metrics and /healthz\n", "text/plain; charset=utf-8")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Requests are not worth a line."""

    def _answer(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
