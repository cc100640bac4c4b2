"""Servers in processes of their own, as tests need them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2 as httpx


@contextlib.contextmanager
def collector(store: Path | str, *options: str, environment: dict[str, str] | None = None) -> Iterator[tuple[int, str]]:
    """``fourfold serve``: its process, and its address. It is ended by a signal, as a service manager does."""
    port = free_port()
    command = [
        sys.executable, "-c", "from fourfold.cli import main; main()", "serve", "--port", str(port), "--store",
        str(store), *options,
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL)
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
        time.sleep(0.05)


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
    from fourfold.config import Settings
    from fourfold.serve.server import run
    from fourfold.serve.service import Service

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
