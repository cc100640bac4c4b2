"""A proxy before an S3 server: it counts requests, and does damage by a plan.

A client talks to the proxy as it would to S3. Without a plan everything passes unchanged. With one, the n-th request of
a kind meets what the plan's seed decides, so that the same requests in the same order meet the same faults again.

It runs in a process of its own (``main``), with the server: a client that keeps this process's threads from running
while it waits for an answer must get one.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import html
import pickle
import random
import re
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

BUCKET = "fourfold-tests"
KINDS = ("PUT", "COPY", "POST", "LIST", "GET", "HEAD", "DELETE")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How probable each fault is for a request that it can befall; a request meets one at most.

    A key that is written a second time is so after ``later`` seconds, or when the plan ends, whichever comes first.
    """

    drop_before: float = 0.0  # the connection ends; the server never sees the request
    drop_after: float = 0.0  # the connection ends after the server did what was asked
    refuse: float = 0.0  # 503 SlowDown; the server never sees the request
    refuse_after: float = 0.0  # 503 SlowDown after the server did what was asked
    cut_request: float = 0.0  # the connection is reset when the server has half of the request's body
    cut_answer: float = 0.0  # the connection is reset when the client has half of the answer's body
    replay: float = 0.0  # a PUT arrives a second time, perhaps when its object is gone
    stale_listing: float = 0.0  # the answer to the same question as it was before
    short_listing: float = 0.0  # without the newest one to three objects
    shuffled_listing: float = 0.0
    delay: float = 0.0  # as much as ``seconds`` later
    seed: int = 0
    paths: str = ""  # a pattern; only requests are concerned in whose path and query it is found
    kinds: tuple[str, ...] = KINDS
    most: int = 1 << 31  # how many faults there are in all
    lacking: tuple[int, int] = (1, 3)  # how many of the newest objects a short listing lacks: so many to so many
    seconds: float = 0.05
    later: float = 3.0

    def fault(self, kind: str, number: int, *, has_body: bool) -> tuple[str, random.Random]:
        """What the request of a number among its kind meets, "" for nothing, and the chance that decides the rest."""
        chance = random.Random(f"{self.seed} {kind} {number}")
        drawn = chance.random()
        for name in _befalling(kind, has_body):
            drawn -= getattr(self, name)
            if drawn < 0:
                return name, chance
        return "", chance


NOTHING = Plan()
FAULTS = tuple(field.name for field in dataclasses.fields(Plan) if field.type == "float" and field.default == 0.0)


def _befalling(kind: str, has_body: bool) -> Iterator[str]:
    for name in FAULTS:
        if name.endswith("listing"):
            fits = kind == "LIST"
        elif name == "replay":
            fits = kind == "PUT"
        elif name == "cut_request":
            fits = has_body
        elif name == "cut_answer":
            fits = kind in ("GET", "LIST")
        else:
            fits = True
        if fits:
            yield name


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What passed: requests by kind, faults by name, and the bytes of bodies to the server and from it."""

    requests: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    faults: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    uploaded: int = 0
    downloaded: int = 0

    def __sub__(self, earlier: Traffic) -> Traffic:
        return Traffic(
            self.requests - earlier.requests,
            self.faults - earlier.faults,
            self.uploaded - earlier.uploaded,
            self.downloaded - earlier.downloaded,
        )


@dataclasses.dataclass(frozen=True)
class _Message:
    """A request or an answer: its head with the empty line and its body, both as they were sent."""

    head: bytes
    body: bytes = b""

    @functools.cached_property
    def first(self) -> list[str]:
        """The parts of the first line."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @functools.cached_property
    def headers(self) -> dict[str, str]:
        """By names in lower case."""
        lines = (line.decode("latin-1").partition(":") for line in self.head.split(b"\r\n")[1:] if line)
        return {name.strip().lower(): value.strip() for name, _, value in lines}

    @functools.cached_property
    def kind(self) -> str:
        """A request's kind: its verb, but for those with a price of their own."""
        verb, target = self.first[:2]
        if verb == "PUT" and "x-amz-copy-source" in self.headers:
            return "COPY"
        is_listing = verb == "GET" and not urlsplit(target).path.strip("/").count("/")
        return "LIST" if is_listing else verb

    @property
    def succeeded(self) -> bool:
        """Whether an answer says that what was asked was done."""
        return self.first[1].startswith("2")

    @property
    def ends_connection(self) -> bool:
        """Whether a request's sender makes no further use of the connection."""
        return self.headers.get("connection", "").lower() == "close"

    def kept_alive(self) -> _Message:
        """An answer that does not end the connection: the server makes a new one for each, the proxy does not."""
        return _Message(re.sub(rb"(?i)\r\nconnection: *close", b"", self.head), self.body)


class FaultProxy:
    """The proxy before a server; it listens at ``address`` until the process ends."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server, self._lock = server, threading.RLock()
        self._serving = threading.Lock()  # the server's handlers check and write in two steps, S3's in one
        self._plans, self._numbers = tuple[Plan, ...](), collections.Counter[tuple[Plan, str]]()
        self._left = dict[Plan, int]()  # how many faults there may still be
        self._requests, self._faults = collections.Counter[str](), collections.Counter[str]()
        self._uploaded = self._downloaded = 0
        self._writes, self._written = 0, dict[str, int]()  # which write of all was a key's last
        self._listings: dict[str, _Message] = {}  # as they were answered last, under this plan
        self._ending, self._replays = threading.Event(), list[threading.Thread]()  # of this plan
        listener = _Listener(("127.0.0.1", 0), functools.partial(_Connection, answer=self._answer))
        self.address = "http://{}:{}".format(*listener.server_address)
        threading.Thread(target=listener.serve_forever, name="proxy", daemon=True).start()

    def traffic(self) -> Traffic:
        """What has passed since the proxy was started."""
        with self._lock:
            return Traffic(self._requests.copy(), self._faults.copy(), self._uploaded, self._downloaded)

    def begin(self, *plans: Plan) -> None:
        """Do damage by plans from now on, and have arrived what was to arrive a second time by those before.

        A request is concerned by the first plan that is about such requests.
        """
        with self._lock:
            self._plans, self._numbers = plans, collections.Counter()
            self._left = {plan: plan.most for plan in plans}
            self._listings = {}
            ending, self._ending = self._ending, threading.Event()
            replays, self._replays = self._replays, []
        ending.set()
        for replay in replays:
            replay.join()

    # one request ----------------------------------------------------------------------------------------------------

    def _answer(self, request: _Message, client: _Connection) -> None:
        """Answer a request, with the fault that befalls it.

        Raises:
            ConnectionError: the connection is to end, with the request unanswered.
        """
        kind = request.kind
        with self._lock:
            self._requests[kind] += 1
            self._uploaded += int(request.headers.get("x-amz-decoded-content-length", len(request.body)))
            plan, fault, chance = self._fault(request)
        if fault == "delay":
            self._note(fault)
            time.sleep(plan.seconds)
        elif fault == "drop_before":
            raise self._ended(fault)
        elif fault == "cut_request":
            self._forward(request, len(request.body) // 2)
            ended = self._ended(fault)  # noted before the client can know
            client.reset()
            raise ended
        elif fault == "refuse":
            self._note(fault)
            client.send(_slow_down(kind))
            return
        answer = self._forward(request)
        if fault == "drop_after":
            raise self._ended(fault)
        if fault == "refuse_after":
            self._note(fault)
            answer = _slow_down(kind)
        elif fault == "replay" and answer.succeeded:
            self._note(fault)
            self._replay(request, plan.later)
        elif fault == "cut_answer" and len(answer.body) > 1:
            ended = self._ended(fault)
            client.send(_Message(answer.head, answer.body[: len(answer.body) // 2]))
            client.reset()
            raise ended
        elif kind == "LIST" and answer.succeeded:
            answer = self._listing(request, answer, plan, fault, chance)
        with self._lock:
            self._downloaded += len(answer.body)
        client.send(answer)

    def _fault(self, request: _Message) -> tuple[Plan, str, random.Random]:
        kind, target = request.kind, unquote(request.first[1])
        for plan in self._plans:
            if kind in plan.kinds and re.search(plan.paths, target):
                self._numbers[plan, kind] += 1
                fault, chance = plan.fault(kind, self._numbers[plan, kind], has_body=len(request.body) > 1)
                self._left[plan] -= bool(fault)
                return plan, fault if self._left[plan] >= 0 else "", chance
        return NOTHING, "", random.Random(0)

    def _note(self, fault: str) -> None:
        with self._lock:
            self._faults[fault] += 1

    def _ended(self, fault: str) -> ConnectionError:
        self._note(fault)
        return ConnectionAbortedError(fault)

    def _forward(self, request: _Message, bytes_of_body: int | None = None) -> _Message:
        """The server's answer; to a request that is cut, none."""
        with self._serving, socket.create_connection(self._server) as server:
            server.sendall(request.head + request.body[:bytes_of_body])
            if bytes_of_body is not None:
                _end_by_reset(server)
                return _Message(b"")
            with server.makefile("rb") as file:
                answer = _read(file, request.first[0])
                while answer is not None and answer.first[1].startswith("1"):
                    answer = _read(file, request.first[0])
        if answer is None:
            raise ConnectionAbortedError("the server does not answer")
        if request.first[0] == "PUT" and answer.succeeded:
            with self._lock:
                self._writes += 1
                self._written[unquote(urlsplit(request.first[1]).path)] = self._writes
        return answer

    def _replay(self, request: _Message, later: float) -> None:
        with self._lock:
            ending = self._ending

            def again() -> None:
                ending.wait(later)
                self._forward(request)

            self._replays.append(threading.Thread(target=again, name="replay", daemon=True))
            self._replays[-1].start()

    def _listing(self, request: _Message, answer: _Message, plan: Plan, fault: str, chance: random.Random) -> _Message:
        question = request.first[1]
        with self._lock:
            before = self._listings.get(question)
            if self._plans:
                self._listings[question] = answer
        if fault == "stale_listing" and before is not None:
            self._note(fault)
            return before
        if fault not in ("short_listing", "shuffled_listing"):
            return answer
        start, *entries, end = _entries(answer.body)
        if fault == "shuffled_listing":
            changed = chance.sample(entries, len(entries))
        else:
            bucket = "/" + urlsplit(question).path.strip("/") + "/"
            newest = sorted(entries, key=lambda entry: self._written.get(bucket + _key(entry), -1))
            left_out = newest[-chance.randint(*plan.lacking) :]
            changed = [entry for entry in entries if entry not in left_out]
        if changed == entries:
            return answer
        self._note(fault)
        count = b"<KeyCount>%d</KeyCount>" % len(changed)
        body = re.sub(rb"<KeyCount>\d+</KeyCount>", count, b"".join([start, *changed, end]))
        return _Message(re.sub(rb"(?i)(content-length: *)\d+", rb"\g<1>%d" % len(body), answer.head), body)


def _entries(listing: bytes) -> list[bytes]:
    """The part of a listing before its objects, each object, and the part after them."""
    parts = re.split(rb"(<Contents>.*?</Contents>)", listing, flags=re.DOTALL)
    inside = [part for part in parts[1:-1] if part.strip()]
    return [parts[0], *inside, parts[-1]] if len(parts) > 1 else [listing, b""]


def _key(entry: bytes) -> str:
    found = re.search(rb"<Key>(.*?)</Key>", entry, flags=re.DOTALL)
    return unquote(html.unescape(found[1].decode())) if found else ""


def _slow_down(kind: str) -> _Message:
    body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    head = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
    return _Message(head, b"" if kind == "HEAD" else body)


# connections ----------------------------------------------------------------------------------------------------------


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def __init__(self, *arguments: Any, answer: Callable[[_Message, _Connection], None]) -> None:
        self._answer = answer
        super().__init__(*arguments)

    def handle(self) -> None:
        """Answer one request after the other, until either side ends the connection."""
        while (request := _read(self.rfile, continued=self.wfile)) is not None:
            self._answer(request, self)
            if request.ends_connection:
                return

    def send(self, answer: _Message) -> None:
        """Send an answer."""
        self.wfile.write(answer.kept_alive().head + answer.body)

    def reset(self) -> None:
        """End the connection by a reset."""
        _end_by_reset(self.connection)
        self.rfile.close()
        self.connection.close()


def _end_by_reset(connection: socket.socket) -> None:
    """Make closing a connection a reset, at which what is on its way is thrown away."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read(file: Any, answers: str = "", continued: Any = None) -> _Message | None:
    """The next message, None at the end.

    Args:
        file: where it comes from.
        answers: the verb of the request that it answers.
        continued: where to ask for a request's body, if its sender waits to be asked.
    """
    lines = [file.readline()]
    while lines[-1] not in (b"\r\n", b""):
        lines.append(file.readline())
    if not lines[-1]:
        return None
    message = _Message(b"".join(lines))
    if continued is not None and "expect" in message.headers:
        continued.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if answers == "HEAD" or (answers and message.first[1] in ("100", "204", "304")):
        return message
    return _Message(message.head, _body(file, message.headers))


def _body(file: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return _exactly(file, int(headers.get("content-length", 0)))
    parts = []
    while True:
        parts.append(_line(file))
        length = int(parts[-1].partition(b";")[0], 16)
        if not length:
            break
        parts.append(_exactly(file, length + 2))
    while parts[-1] != b"\r\n":  # trailers
        parts.append(_line(file))
    return b"".join(parts)


def _line(file: Any) -> bytes:
    line: bytes = file.readline()
    if not line.endswith(b"\n"):
        raise ConnectionAbortedError("the other side ended within a body")
    return line


def _exactly(file: Any, length: int) -> bytes:
    content: bytes = file.read(length)
    if len(content) < length:
        raise ConnectionAbortedError("the other side ended within a body")
    return content


# the process ----------------------------------------------------------------------------------------------------------


def main() -> None:
    """Serve, and do what the standard input says, until it ends: names of the proxy's methods with arguments."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    out, sys.stdout = sys.stdout.buffer, sys.stderr  # the server prints
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = server.get_host_and_port()
    with socket.create_connection(address) as connection:
        connection.sendall(f"PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode())
        connection.recv(1 << 16)
    proxy = FaultProxy(address)
    answer: object = proxy.address
    with contextlib.suppress(EOFError):
        while True:
            pickle.dump(answer, out)
            out.flush()
            name, arguments = pickle.load(sys.stdin.buffer)
            answer = getattr(proxy, name)(*arguments)
