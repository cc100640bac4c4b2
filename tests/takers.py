"""Collectors for tests: the real one, served in a thread or a process; and one that answers as a test says."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import uvicorn

from fourfold.config import Settings
from fourfold.log import Inbox, Message
from fourfold.log.wire import parsed
from fourfold.model.records import KEY
from fourfold.serve.app import application
from fourfold.serve.server import listening
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
def process(folder: Path, project: str = "test", port: int = 0) -> Iterator[str]:
    """``fourfold serve`` of a store in a folder, in a process of its own: its address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOURFOLD_")}
    served = subprocess.Popen(
        [sys.executable, "-c", "from fourfold.cli import main; main()", "serve", "--no-count", "--port", str(port),
         "--store", str(folder), "--project", project],
        stdout=subprocess.PIPE, text=True, env={**environment, "COLUMNS": "500"},
    )  # fmt: skip
    try:
        assert served.stdout is not None
        said = ""
        while " at http://" not in said:
            said = served.stdout.readline()
            assert said, "the server ended"
        yield said.split(" at ")[1].split(";")[0]
    finally:
        served.terminate()
        served.communicate()


def keys_in(folder: Path) -> list[str]:
    """The keys of all records in the inbox of a store that nothing has counted yet."""
    inbox = Inbox(folder / "inbox")
    found = [one.message for one in inbox.read_all(inbox.pending())]
    assert not [error for error in found if isinstance(error, Exception)]
    of_records = (m for m in found if isinstance(m, Message) and m.header["kind"] == "records")
    return sorted(key for message in of_records for key in message.table[KEY].to_pylist())


def wait_for(done: Callable[[], bool]) -> None:
    """Wait until something is so; a minute is never enough where it will not be."""
    until = time.monotonic() + 60
    while not done() and time.monotonic() < until:
        time.sleep(0.02)
    assert done()
