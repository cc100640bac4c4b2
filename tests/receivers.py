"""Receivers of notices that run in a thread: an HTTP server and an SMTP server that record what they get."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Web(http.server.ThreadingHTTPServer):
    """Records each request, and answers with ``status`` and ``headers``; port 0 is a free one."""

    def __init__(self, port: int = 0, certificate: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.status, self.headers, self.said = 200, {"X": "y"}, b"ok"
        super().__init__(("127.0.0.1", port), _Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *arguments: Any) -> None:
        """A client that turns away is no failure of a test."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(self.path, headers, body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.said)))
        self.end_headers()
        self.wfile.write(self.server.said)

    def log_message(self, *arguments: Any) -> None:
        pass


class Post(socketserver.ThreadingTCPServer):
    """A small SMTP server, with STARTTLS where it has a certificate; ``refuses`` are recipients it does not know."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, certificate: Path | None = None) -> None:
        self.mails: list[tuple[str, list[str], str]] = []
        self.logins: list[str] = []
        self.encrypted: list[bool] = []
        self.refuses: set[str] = set()
        self.certificate = certificate
        super().__init__(("127.0.0.1", 0), _Conversation)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Conversation(socketserver.StreamRequestHandler):
    server: Post

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def handle(self) -> None:
        encrypted, sender, recipients = False, "", list[str]()
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(":")[0].split()[0].upper()
            if verb == "EHLO":
                self.say("250-here", "250-AUTH PLAIN", "250 STARTTLS" if self.server.certificate else "250 SIZE")
            elif verb == "STARTTLS":
                self.say("220 go")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.server.certificate or "")
                try:
                    self.connection = context.wrap_socket(self.connection, server_side=True)
                except (ssl.SSLError, OSError):
                    return
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                encrypted = True
            elif verb == "AUTH":
                self.server.logins.append(line.split()[-1])
                self.say("235 yes")
            elif verb == "MAIL":
                sender, recipients = line, []
                self.say("250 yes")
            elif verb == "RCPT":
                known = not any(name in line for name in self.server.refuses)
                recipients += [line] if known else []
                self.say("250 yes" if known else "550 unknown")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text)
                self.server.mails.append((sender, recipients, b"".join(lines).decode()))
                self.server.encrypted.append(encrypted)
                self.say("250 taken")
            else:
                self.say("221 bye" if verb == "QUIT" else "250 yes")
                if verb == "QUIT":
                    return

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextlib.contextmanager
def running(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
