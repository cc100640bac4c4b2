"""A collector, to which messages are sent over HTTP: the inbox of a store that is behind one.

A message is one PUT under its name, so that it may be sent again: the collector takes it once. Each thread keeps its
connection; one that the other side has closed meanwhile is opened again. The token comes from the environment, or from
a file that the environment names, and is read for each request, so that it can be exchanged while a process runs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import ssl
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from fourfold.errors import ConfigError, StoreError
from fourfold.model.place import Endpoint

TOKEN, TOKEN_FILE = "FOURFOLD_TOKEN", "FOURFOLD_TOKEN_FILE"
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 10.0  # how long a connection, and each part of an answer, may take
LONGEST_PAUSE = 60.0  # seconds that a collector may ask to be left alone
_LONGEST_ANSWER = 16 << 20  # bytes
_PUT = {  # where a message goes, and as what, by how its file's name ends
    ".arrow": ("/v1/messages", "application/vnd.apache.arrow.file"), ".json": ("/v1/plain", "application/json"),
}  # fmt: skip
_SMALL = 1_400  # bytes of a message that goes in one packet as it is
_NEVER = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

Answer = tuple[int, http.client.HTTPMessage, bytes]


class NotTakenError(StoreError):
    """A collector did not take a message now; it may later."""


class BusyError(NotTakenError):
    """A collector asks to be left alone for so many ``seconds``."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class NeverTakenError(StoreError):
    """A collector will never take this message."""


class CollectorInbox:
    """What takes messages at an address. To another machine they go ``compressed``, as HTTP calls ``encoding``.

    Raises:
        ConfigError: the token cannot be read, or cannot be one.
    """

    def __init__(self, endpoint: Endpoint, encoding: str, compressed: Callable[[bytes], bytes]) -> None:
        self.endpoint, self.folder = endpoint, str(endpoint)
        self._encoding, self._compressed = encoding, compressed
        self._resolving = threading.Lock()  # held while names are looked up, when a fork would break that
        self._is_held = False
        self._kept = threading.local()
        self.sends_openly = bool(token()) and not endpoint.secure and not endpoint.is_local

    def deliver(self, message: str, content: bytes, suffix: str) -> None:
        """Send a message's file, whose name ends with ``suffix``; when this returns, it is stored.

        It may be one that another process has left, of fourfold or of its client: each goes where its kind is taken.

        Raises:
            NeverTakenError: it will never be taken.
            NotTakenError: it was not taken now, or it is not known whether it was; to try again does no harm.
        """
        if suffix not in _PUT:
            raise NeverTakenError(f"a file whose name ends with {suffix!r} is none that this version sends")
        path, content_type = _PUT[suffix]
        headers = {"Content-Type": content_type}
        if len(content) >= _SMALL and not self.endpoint.is_local:
            content, headers["Content-Encoding"] = self._compressed(content), self._encoding
        status, answered, body = self._ask("PUT", f"{path}/{quote(message, safe='')}", content, headers)
        if status == HTTPStatus.NO_CONTENT:
            return
        said = _said(status, body)
        if status in _NEVER:
            raise NeverTakenError(said)
        if status in _BUSY and (pause := _seconds(answered.get("Retry-After"))) is not None:
            raise BusyError(said, pause)
        raise NotTakenError(said)

    def get(self, path: str) -> bytes:
        """What the collector answers to a question.

        Raises:
            NotTakenError: it does not, or says no.
        """
        status, _, body = self._ask("GET", path, None, {})
        if status != HTTPStatus.OK:
            raise NotTakenError(_said(status, body))
        return body

    def leave(self) -> None:
        """Close this thread's connection."""
        kept: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        if kept is not None:
            kept.close()

    def hold(self, within: float = 1.0) -> None:
        """Before a fork: wait until no name is looked up; what is on its way goes on."""
        self._is_held = self._resolving.acquire(timeout=within)

    def release(self) -> None:
        """After a fork, in the parent."""
        if self._is_held:
            self._is_held = False
            self._resolving.release()

    def forked(self) -> None:
        """In the child of a fork: the connections are the parent's."""
        self._resolving, self._is_held, self._kept = threading.Lock(), False, threading.local()

    def _ask(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> Answer:
        try:
            if secret := token():
                headers = {**headers, "Authorization": f"Bearer {secret}"}
        except ConfigError as error:
            raise NotTakenError(str(error)) from error
        while True:
            connection, is_new = self._connection()
            try:
                return self._exchange(connection, method, f"{self.endpoint.path}{path}", content, headers)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._kept.connection = None
                if is_new or isinstance(error, TimeoutError):
                    raise NotTakenError(_why(error)) from error

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, content: bytes | None,
        headers: dict[str, str],
    ) -> Answer:  # fmt: skip
        try:
            connection.request(method, path, content, headers)
        except (BrokenPipeError, ConnectionResetError):  # who refuses a body need not read it
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self._answer(connection)
            raise
        return self._answer(connection)

    def _answer(self, connection: http.client.HTTPConnection) -> Answer:
        answer = connection.getresponse()
        body = answer.read(_LONGEST_ANSWER)
        if not answer.isclosed() and answer.read(1):
            raise http.client.HTTPException("its answer is too long")
        return answer.status, answer.headers, body

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """This thread's connection, and whether it is new."""
        kept: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        if kept is not None and kept.sock is not None and not _is_closed(kept):
            return kept, False
        if kept is not None:
            kept.close()
        made = self._kept.connection = self._connected()
        return made, True

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self.endpoint.host, self.endpoint.port
        try:
            if self.endpoint.secure:
                secured = ssl.create_default_context()
                made: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, port, timeout=CONNECT_SECONDS, context=secured
                )
            else:
                made = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
            with self._resolving:
                made.connect()
            made.sock.settimeout(ANSWER_SECONDS)
        except (OSError, UnicodeError) as error:
            raise NotTakenError(_why(error)) from error
        return made


def token(environment: Mapping[str, str] = os.environ) -> str:
    """The token for a collector; empty if none is set. No message repeats it.

    Raises:
        ConfigError: its file cannot be read, or it cannot be a token.
    """
    found, source = environment.get(TOKEN, ""), TOKEN
    if not found and (file := environment.get(TOKEN_FILE)):
        source = f"{TOKEN_FILE}={file!r}"
        try:
            found = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source}: the token cannot be read: {error}") from error
    if found and not re.fullmatch(r"[!-~]+", found):
        raise ConfigError(f"{source}: a token has visible ASCII characters only, without spaces")
    return found


def _is_closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the other side has closed an idle connection, or has said something unasked."""
    try:
        return bool(select.select([connection.sock], [], [], 0)[0])
    except (OSError, ValueError):  # no descriptor, or one above what select takes: it is found out by asking
        return False


def _said(status: int, body: bytes) -> str:
    """An answer's status, and the reason that the collector gives."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    try:
        found = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        found = ""
    reason = f": {found[:500]}" if isinstance(found, str) and found else ""
    return f"it answers {status} {phrase}".rstrip() + reason


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return f"it cannot be reached: {str(error) or type(error).__name__}"


def _seconds(retry_after: str | None) -> float | None:
    """How long a collector asks to be left alone; None if it does not say."""
    try:
        return min(max(float(retry_after or ""), 0.1), LONGEST_PAUSE)
    except ValueError:
        return None
