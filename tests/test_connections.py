"""Connections that send nothing, half a request, or take no answer: they keep nobody else out, and not for long."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn

from fourfold.serve.connections import Connections
from fourfold.serve.server import listening
from tests.collectors import collector, is_up, wait_until

LARGE = 24 << 20  # bytes
HALF = b"PUT /v1/messages/a-000000000001 HTTP/1.1\r\nHost: 127.0.0.1\r\nX"


@contextlib.contextmanager
def served(connections: Connections) -> Iterator[int]:
    """A server whose answer to /never never comes: its port."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/never":
            await asyncio.Event().wait()
        body = bytes(LARGE) if scope["path"] == "/large" else b"ok"
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    with listening("127.0.0.1", 0) as bound:
        bound.listen()
        told = uvicorn.Config(app, log_level="error", http=connections, lifespan="off", timeout_graceful_shutdown=1)  # type: ignore[arg-type]
        server = uvicorn.Server(told)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


Opens = Callable[[int, bytes], socket.socket]


@pytest.fixture
def opened() -> Iterator[Opens]:
    """Opens a connection and sends something, until the test ends."""
    with contextlib.ExitStack() as open_ones:

        def opens(port: int, content: bytes) -> socket.socket:
            found = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            found.sendall(content)
            return found

        yield opens


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it; what it answered is read."""
    connection.settimeout(0.01)
    try:
        while connection.recv(1_000):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("content", [b"", b"GET / HT", HALF, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + HALF])
def test_the_head_of_a_request_has_its_time_and_no_more(content: bytes, opened: Opens) -> None:
    with served(Connections(head_within=0.4)) as port:
        waiting = {opened(port, content): time.monotonic() for _ in range(20)}
        for each, since in waiting.items():
            wait_until(functools.partial(is_closed, each), 20)
            assert time.monotonic() - since > 0.3


def test_a_head_that_comes_byte_by_byte_has_no_more_time(opened: Opens) -> None:
    with served(Connections(head_within=0.4)) as port:
        slow = opened(port, HALF)

        def drip() -> bool:
            with contextlib.suppress(OSError):
                slow.sendall(b"x")
            return is_closed(slow)

        wait_until(drip, 20)


def test_one_that_asks_again_and_again_is_kept() -> None:
    with served(Connections(head_within=2.0)) as port, httpx.Client() as client:
        until = time.monotonic() + 6.0
        first = None
        while time.monotonic() < until:
            answer = client.get(f"http://127.0.0.1:{port}/")
            own = answer.extensions["network_stream"].get_extra_info("client_addr")
            first = first or own
            assert answer.text == "ok" and own == first
            time.sleep(0.01)


def test_an_answer_that_is_read_slowly_comes_whole(opened: Opens) -> None:
    with served(Connections(head_within=0.4)) as port:
        slow = opened(port, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        size = 0
        while size < LARGE:
            if size < 20 << 16:
                time.sleep(0.1)
            size += len(content := slow.recv(1 << 16))
            assert content


def test_a_request_that_takes_for_ever_ends(opened: Opens) -> None:
    with served(Connections(whole_within=0.4)) as port:
        never, since = opened(port, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), time.monotonic()
        wait_until(lambda: is_closed(never), 20)
        assert time.monotonic() - since > 0.3


def test_one_more_than_there_is_room_for_takes_the_place_of_the_oldest_without_a_request(opened: Opens) -> None:
    with served(Connections(most=5)) as port:
        busy = opened(port, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        waiting = [opened(port, HALF) for _ in range(4)]
        assert is_up(f"http://127.0.0.1:{port}")
        wait_until(lambda: is_closed(waiting[0]), 20)
        assert not is_closed(busy) and not is_closed(waiting[-1])
        all_busy = [opened(port, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(4)]
        wait_until(lambda: is_closed(waiting[-1]), 20)
        assert not any(is_closed(each) for each in [busy, *all_busy])
        wait_until(lambda: is_closed(opened(port, HALF)), 20)


def test_more_connections_than_files_hang_no_collector(tmp_path: Path, opened: Opens) -> None:
    said = tmp_path / "said"
    with collector(tmp_path / "store", "--no-count", files=512, said=said) as (_, address):
        port = int(address.rpartition(":")[2])
        waiting = [opened(port, HALF) for _ in range(1_000)]
        assert is_up(address)
        for number in range(3):
            answer = httpx.post(f"{address}/v1/streams/predict/records", json={"x": number}, timeout=20)
            assert answer.json()["taken"] == 1
        for each in waiting:
            each.close()
    assert len(said.read_bytes()) < 10_000
