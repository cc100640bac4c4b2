"""How fast the collector takes records, beside an endpoint that reads and drops them: ``python -m bench.serve``.

The server has one core and the load another, on loopback. What a machine's speed does to both is taken out by the
ratio: of requests in a second, and of the server's CPU time for one, which other processes disturb less.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import mmap
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from fourfold.log import messages, new_writer
from fourfold.log.wire import written
from fourfold.sdk.batch import prepare

CONNECTIONS = 256
ROUNDS = 3
OFFERED = 50_000  # records a second while pages are asked for
PAUSE = 0.05  # seconds between two pages
SETTLE = 5.0  # seconds in which what has come is counted
START_WITHIN = 300.0  # seconds
TOUCHED = 4 << 30  # bytes
_BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def drop(request):
    await request.body()
    return Response(status_code=204)
async def health(request):
    return Response("ok")
routes = [Route("/v1/messages/{id}", drop, methods=["PUT"]), Route("/healthz", health),
          Route("/v1/streams/{stream}/records", drop, methods=["POST"])]
uvicorn.run(Starlette(routes=routes), port=int(sys.argv[1]), log_level="warning", access_log=False,
            server_header=False, date_header=False)
"""
_SERVED = """
import sys
from fourfold.cli import main
sys.argv = ["fourfold", "serve", "--port", sys.argv[1], "--store", sys.argv[2], "--project", "bench", *sys.argv[3:]]
main()
"""
Request = tuple[bytes, bytes]  # the head without its length, and the body


def requests_of(rows: int, n: int) -> list[Request]:
    """Messages of so many records, each its own request."""
    writer, chance = new_writer(), np.random.default_rng(1)
    made = []
    for number in range(1, n + 1):
        name = f"{writer}-{number:012d}"
        table = pa.table(
            {
                "key": [f"k{i}" for i in range(rows)], "score": chance.random(rows),
                "carrier": chance.choice(["AA", "UA", "DL"], rows), "distance": chance.integers(100, 3_000, rows),
            }
        )  # fmt: skip
        [(prepared, _)] = prepare(table, "key", None, time.time_ns(), None)
        header = messages.records("bench", "predict", "key", None)
        made.append((f"PUT /v1/messages/{name}".encode(), written(header, prepared.table)))
    return made


def json_requests(n: int) -> list[Request]:
    """Single records as JSON."""
    body = '{"key": "k%d", "score": 0.25, "carrier": "AA", "distance": 300}'
    return [(b"POST /v1/streams/json/records?key=key", (body % i).encode()) for i in range(n)]


@contextlib.contextmanager
def server(code: str, port: int, *arguments: str, core: int | None = 0) -> Iterator[int]:
    """A server, on one core if that is told."""
    process = subprocess.Popen([sys.executable, "-c", code, str(port), *arguments], stdout=subprocess.DEVNULL)
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        until = time.monotonic() + START_WITHIN
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as found:
                found.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                if found.recv(100).startswith(b"HTTP/1.1 200"):
                    break
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the server has not started")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def load(port: int, requests: list[Request]) -> tuple[float, float]:
    """Send all, over several connections; returns the seconds that it took, and how many requests there were."""
    queue = iter(requests)
    lock, failed = threading.Lock(), list[bytes]()

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with lock:
                    request = next(queue, None)
                if request is None:
                    return
                head, body = request
                connection.sendall(
                    head + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )
                if not (answer := _answer(connection)).startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")):
                    failed.append(answer[:200])

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{len(failed)} requests failed: {failed[0]!r}")
    return time.perf_counter() - began, float(len(requests))


def _answer(connection: socket.socket) -> bytes:
    content = b""
    while b"\r\n\r\n" not in content:
        content += connection.recv(65_536)
    head, _, rest = content.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(fields.get(b"content-length", b"0")) - len(rest)
    while left > 0:
        left -= len(connection.recv(65_536))
    return head


def latencies(port: int, paths: Iterator[bytes], stop: Callable[[], bool]) -> list[float]:
    """How long pages take, one after the other, in milliseconds."""
    found = []
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        while not stop():
            began = time.perf_counter()
            connection.sendall(b"GET " + next(paths) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            if not (answer := _answer(connection)).startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"a page failed: {answer[:200]!r}")
            found.append((time.perf_counter() - began) * 1e3)
            time.sleep(PAUSE)
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long each load lasts")
    told = parser.parse_args()
    touch_memory()
    os.sched_setaffinity(0, {1} if (os.cpu_count() or 1) > 1 else {0})
    loads: dict[str, tuple[int, Callable[[int], list[Request]]]] = {
        "batches of 1,000": (1_000, lambda n: requests_of(1_000, n)),
        "single records": (1, lambda n: requests_of(1, n)),
        "single records, JSON": (1, json_requests),
    }
    print(f"{'load':<24}{'requests/s':>12}{'records/s':>12}{'bare':>10}{'ratio':>8}{'CPU':>10}{'bare':>8}{'ratio':>8}")
    for name, (rows, make) in loads.items():
        rates, used = _compared(make, told.seconds)
        rate, bare = rates["fourfold"], rates["bare"]
        cpu, bare_cpu = used["fourfold"], used["bare"]
        print(
            f"{name:<24}{rate:>12,.0f}{rate * rows:>12,.0f}{bare:>10,.0f}{rate / bare:>8.2f}"
            f"{cpu * 1e6:>7,.0f} µs{bare_cpu * 1e6:>5,.0f} µs{bare_cpu / cpu:>8.2f}",
            flush=True,
        )
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    _reads(4 * told.seconds)


def touch_memory() -> None:
    """Have the machine's memory there, as it is where a server runs for longer.

    A virtual machine gets it from its host page by page, when first used: files are then written seven times slower.
    """
    with mmap.mmap(-1, TOUCHED) as memory:
        for at in range(0, TOUCHED, mmap.PAGESIZE):
            memory[at] = 1


def _compared(make: Callable[[int], list[Request]], seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """Requests a second, and the server's seconds of CPU for one, of both servers: medians of rounds in turn."""
    rates: dict[str, list[float]] = {"bare": [], "fourfold": []}
    used: dict[str, list[float]] = {"bare": [], "fourfold": []}
    for _ in range(ROUNDS):
        for kind in rates:
            with tempfile.TemporaryDirectory() as folder:
                port = 23_000 + os.getpid() % 1_000
                arguments = () if kind == "bare" else (str(Path(folder) / "store"), "--no-count")
                with server(_BARE if kind == "bare" else _SERVED, port, *arguments) as process:
                    took, n = load(port, make(4 * CONNECTIONS))
                    requests = make(max(4 * CONNECTIONS, min(20_000, int(seconds * n / took))))
                    before = cpu_seconds(process)
                    took, n = load(port, requests)
                    rates[kind].append(n / took)
                    used[kind].append((cpu_seconds(process) - before) / n)
    return (
        {kind: statistics.median(found) for kind, found in rates.items()},
        {kind: statistics.median(found) for kind, found in used.items()},
    )


def cpu_seconds(process: int) -> float:
    """The CPU time of a process with all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _reads(seconds: float) -> None:
    """How long pages take at rest, and while so many records a second come in and are counted.

    The server and its processes have all cores here, and no question is asked twice, so that each is worked out.
    """
    numbers = itertools.count(1)
    paths = (b"/api/streams/predict?start=-%dh" % next(numbers) for _ in itertools.count())
    with tempfile.TemporaryDirectory() as folder:
        port = 24_000 + os.getpid() % 1_000
        with server(_SERVED, port, str(Path(folder) / "store"), core=None):
            load(port, requests_of(1_000, 20))
            time.sleep(SETTLE)
            latencies(port, paths, _after(2.0))
            rest = latencies(port, paths, _after(seconds))
            with _offered(port, seconds):
                loaded = latencies(port, paths, _after(seconds))
            time.sleep(SETTLE)
    print(f"\npages while {OFFERED:,} records/s come in and are counted ({len(rest)} and {len(loaded)} questions), ms")
    print(f"{'':<12}{'p50':>8}{'p99':>8}")
    for name, found in (("at rest", rest), ("under load", loaded)):
        print(f"{name:<12}{np.percentile(found, 50):>8.1f}{np.percentile(found, 99):>8.1f}")
    print(f"{'ratio':<12}{_ratio(loaded, rest, 50):>8.2f}{_ratio(loaded, rest, 99):>8.2f}")


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def _ratio(loaded: list[float], rest: list[float], percentile: int) -> float:
    return float(np.percentile(loaded, percentile) / np.percentile(rest, percentile))


@contextlib.contextmanager
def _offered(port: int, seconds: float) -> Iterator[None]:
    """While a process of its own sends batches at an even rate, which it has made before."""
    command = [sys.executable, "-c", f"from bench.serve import offer; offer({port}, {seconds})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.terminate()


def offer(port: int, seconds: float) -> None:
    """Send batches at an even rate for a little longer than so many seconds, once they are made."""
    every = 1_000 / OFFERED
    requests = requests_of(1_000, int((seconds + SETTLE) / every))
    print("made", flush=True)
    due = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        for head, body in requests:
            connection.sendall(head + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            if not (answer := _answer(connection)).startswith(b"HTTP/1.1 204"):
                raise SystemExit(f"a batch failed: {answer[:200]!r}")
            due += every
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
