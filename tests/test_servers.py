"""Servers that start workers by a fork, recycle them, or switch between greenlets: each record arrives once."""

from __future__ import annotations

import collections
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.collectors import collector, keys_in, wait_until

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]
ROOT = Path(__file__).parent.parent
REQUESTS = 120


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with collector(folder, "--no-count", "--project", "test") as (_, found):
        yield found


@contextmanager
def running(command: Sequence[str], address: str, tmp_path: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that logs to a collector; a signal ends it, and it has to end by itself then."""
    environment = {
        **os.environ, "FOURFOLD_STORE": address, "FOURFOLD_PROJECT": "test", "FOURFOLD_SPOOL": str(tmp_path / "spool"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), **more,
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *command], env=environment, stdout=log, stderr=log, cwd=tmp_path
        )
        try:
            yield server
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
            server.wait(60)
        except BaseException:
            print((tmp_path / "log").read_text(errors="replace"))
            raise
        finally:
            server.kill()
            server.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def asked(port: int, key: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{key}", timeout=60) as answer:
        said: str = answer.read().decode()
    return said


def ask_all(port: int, processes: int) -> set[str]:
    """The keys of many requests: so many that so many processes have answered some."""
    keys: set[str] = set()
    seen: set[str] = set()

    def enough() -> bool:
        more = [f"key-{len(keys) + i}" for i in range(REQUESTS)]
        with ThreadPoolExecutor(8) as pool:
            seen.update(pool.map(lambda key: asked(port, key), more))
        keys.update(more)
        return len(seen) >= processes

    wait_until(enough)
    return keys


def has_arrived_once(folder: Path, tmp_path: Path, expected: set[str]) -> None:
    """What a process has left behind, another has sent: nothing is in the spool, and all is in the store."""
    found = collections.Counter(key for key in keys_in(folder) if not key.startswith("start-"))
    assert found == collections.Counter(expected)
    assert not list((tmp_path / "spool").glob("*/*/*.arrow"))


SERVERS: dict[str, Callable[[int], list[str]]] = {
    "gunicorn, preloaded, workers recycled": lambda port: [
        "gunicorn", "tests.hosts.web:wsgi", "--preload", "--workers", "3", "--max-requests", "20",
        "--max-requests-jitter", "10", "--bind", f"127.0.0.1:{port}", "--graceful-timeout", "20",
    ],
    "gunicorn with threads": lambda port: [
        "gunicorn", "tests.hosts.web:wsgi", "--workers", "2", "--threads", "4", "--bind", f"127.0.0.1:{port}",
    ],
    "gunicorn with gevent, workers recycled": lambda port: [
        "gunicorn", "tests.hosts.web:wsgi", "--worker-class", "gevent", "--workers", "2", "--max-requests", "60",
        "--bind", f"127.0.0.1:{port}",
    ],
    "gunicorn with gevent, preloaded": lambda port: [
        "gunicorn", "tests.hosts.web:wsgi", "--worker-class", "gevent", "--preload", "--workers", "2",
        "--bind", f"127.0.0.1:{port}",
    ],
    "uvicorn with workers": lambda port: [
        "uvicorn", "tests.hosts.web:asgi", "--workers", "2", "--port", str(port), "--no-access-log",
    ],
}  # fmt: skip


@pytest.mark.parametrize("server", SERVERS)
def test_each_request_is_one_record(server: str, address: str, folder: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(SERVERS[server](port), address, tmp_path):
        wait_until(lambda: answers(port))
        keys = ask_all(port, 5 if "recycled" in server else 2)
    has_arrived_once(folder, tmp_path, keys)


def test_each_task_of_celery_is_one_record(address: str, folder: Path, tmp_path: Path) -> None:
    for name in ("queue", "control", "done"):
        (tmp_path / name).mkdir()
    worker = [
        "celery", "-A", "tests.hosts.tasks", "worker", "--pool", "prefork", "--concurrency", "2",
        "--max-tasks-per-child", "20", "--loglevel", "warning", "--without-gossip", "--without-mingle",
    ]  # fmt: skip
    expected = {f"task-{i}" for i in range(100)}
    with running(worker, address, tmp_path, TASKS_FOLDER=str(tmp_path)):
        with running(["tests.hosts.asks", *sorted(expected)], address, tmp_path, TASKS_FOLDER=str(tmp_path)) as asks:
            assert asks.wait(60) == 0
        wait_until(lambda: len(list((tmp_path / "done").iterdir())) == len(expected))
    processes = {path.read_text() for path in (tmp_path / "done").iterdir()}
    assert len(processes) > 3, "children were recycled"
    has_arrived_once(folder, tmp_path, expected)


FORKS = """
import os, sys, fourfold as ff
ff.init()
ff.log("predict", key="before", score=0.5)
for i in range(4):
    if os.fork() == 0:
        for j in range(50):
            ff.log("predict", key=f"{i}-{j}", score=0.5)
        sys.exit(0)
for _ in range(4):
    assert os.wait()[1] == 0
"""


def test_parents_and_children_of_forks_send_their_own_once(address: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(FORKS)
    with running(["forks"], address, tmp_path) as parent:
        assert parent.wait(60) == 0
    has_arrived_once(folder, tmp_path, {"before", *(f"{i}-{j}" for i in range(4) for j in range(50))})
