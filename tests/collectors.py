"""Collectors for tests: the real one, served in a thread or a process; and one that answers as a test says."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2 as httpx
import uvicorn

from fourfold.config import Settings
from fourfold.log import Inbox, Message
from fourfold.log.wire import parsed
from fourfold.model.records import KEY
from fourfold.serve.app import application
from fourfold.serve.server import listening, run
from fourfold.serve.service import Reach, Service


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Says:
    """An answer: ``hangs``: none comes; ``closes``: the connection is closed after it, without a word of that."""

    status: int = 204
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    hangs: bool = False
    closes: bool = False


TAKEN = Says()


class Scripted:
    """A collector that answers each request as ``script`` says; ``taken`` is what it has acknowledged, by its id."""

    def __init__(self, port: int = 0) -> None:
        self.script: Callable[[Asked], Says] = lambda _: TAKEN
        self.asked: list[Asked] = []
        self.taken: dict[str, bytes] = {}
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, dict(self.headers), body)
                outer.asked.append(asked)
                says = outer.script(asked)
                if says.hangs:
                    outer.over.wait()
                    self.close_connection = True
                    return
                if asked.method == "PUT" and says.status == 204:
                    outer.taken[asked.path.rpartition("/")[2]] = body
                self.send_response(says.status)
                for name, value in says.headers.items():
                    self.send_header(name, value)
                if says.status != 204:
                    self.send_header("Content-Length", str(len(says.body)))
                self.end_headers()
                self.wfile.write(says.body)
                self.close_connection = self.close_connection or says.closes

            do_PUT = do_GET = answer  # noqa: N815 - the names that the class asks for

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def messages(self) -> list[Message]:
        """What was acknowledged."""
        return [parsed(name, content, name) for name, content in sorted(self.taken.items())]

    def keys(self) -> list[str]:
        """The keys of all records that were acknowledged, each as often as it was sent."""
        of_records = (message for message in self.messages() if message.header["kind"] == "records")
        return sorted(key for message in of_records for key in message.table[KEY].to_pylist())

    def close(self) -> None:
        """End it."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def scripted(port: int = 0) -> Iterator[Scripted]:
    """A collector that answers as a test says."""
    server = Scripted(port)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def real(
    folder: Path, project: str = "test", host: str = "127.0.0.1", certificate: Path | None = None
) -> Iterator[tuple[str, Service]]:
    """The collector of a store in a folder, in a thread: its address, by a name of this machine, and its service.

    ``certificate`` holds one with its key: then it is reached by https.
    """
    service = Service(Settings(str(folder), project), Reach(hosts=frozenset({host})))
    with listening("127.0.0.1", 0) as bound:
        bound.listen()
        told = uvicorn.Config(
            application(service), log_level="error", access_log=False, ssl_certfile=certificate, ssl_keyfile=certificate
        )  # fmt: skip
        server = uvicorn.Server(told)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield f"http{'s' if certificate else ''}://{host}:{bound.getsockname()[1]}", service
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def collector(
    store: Path | str,
    *options: str,
    environment: dict[str, str] | None = None,
    files: int = 0,
    said: Path | None = None,
) -> Iterator[tuple[int, str]]:
    """``fourfold serve`` in a process of its own: its number, and its address.

    Of the settings in the environment it has only those that are given. It is ended by a signal, as a service manager
    does. ``files`` are how many it may have open, where that is bounded, and ``said`` is where its errors go.
    """
    port = free_port()
    command = [
        sys.executable, "-c", "from fourfold.cli import main; main()", "serve", "--port", str(port), "--store",
        str(store), *options,
    ]  # fmt: skip
    others = {name: value for name, value in os.environ.items() if not name.startswith("FOURFOLD_")}
    bounded = functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, files)) if files else None
    with open(said, "wb") if said else contextlib.nullcontext() as errors:
        process = subprocess.Popen(
            command, env={**others, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=bounded
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_up(address))
        yield process.pid, address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def keys_in(folder: Path) -> list[str]:
    """The keys of all records in the inbox of a store that nothing has counted yet."""
    inbox = Inbox(folder / "inbox")
    found = [one.message for one in inbox.read_all(inbox.pending())]
    assert not [error for error in found if isinstance(error, Exception)]
    of_records = (m for m in found if isinstance(m, Message) and m.header["kind"] == "records")
    return sorted(key for message in of_records for key in message.table[KEY].to_pylist())


def free_port() -> int:
    """A port that nobody listens at, below those of outgoing connections: one of these may connect to itself."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port


def is_up(address: str) -> bool:
    """Whether a server answers."""
    try:
        return bool(httpx.get(f"{address}/healthz", timeout=5).is_success)
    except httpx.TransportError:
        return False


def is_gone(process: int) -> bool:
    """Whether there is no such process any more."""
    return not Path(f"/proc/{process}").exists()


def wait_until(holds: Callable[[], bool], within: float = 120.0) -> None:
    """Wait until something holds; it fails only if it never does."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)


def children(process: int) -> Sequence[int]:
    """The processes that a process has started and that live."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    found = [int(child) for child in listed]
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(set(found))


def serve_when_told() -> None:
    """For each line of the input, a collector that serves until it is killed; writes the process's number."""
    store, port = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no child is waited for
    started = []
    for _ in sys.stdin:
        if not (child := os.fork()):
            try:
                run(Service(Settings(store, "test")), "127.0.0.1", int(port), lambda _: None, ())
            finally:
                traceback.print_exc()
                os._exit(1)
        started.append(child)
        print(child, flush=True)
    for child in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
