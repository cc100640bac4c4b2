"""What logging costs a service while its collector is up, down, slow, or hangs: ratios to up, and memory.

    python -m bench.sender

CPU time of the host's thread for ``ff.log`` with 20 features, the best of several rounds; how much the process grows
in an hour's worth of records (100 a second, as fast as the sender takes them).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WAYS = ("up", "slow", "hanging", "down")
ROUNDS, CALLS, HOUR = 9, 5_000, 360_000

PROGRAM = f"""
import os, sys, time
import fourfold as ff

def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024

session = ff.init(sys.argv[1], "bench")
features = {{f"feature{{i}}": i / 7 for i in range(20)}}

def settled():
    while session.sender.buffer.records:
        time.sleep(0.01)

best = float("inf")
for _ in range({ROUNDS}):
    start = time.thread_time()
    for i in range({CALLS}):
        ff.log("predict", key=i, **features)
    best = min(best, (time.thread_time() - start) / {CALLS})
    settled()
before, most = resident(), 0.0
for at in range(0, {HOUR}, 10_000):
    for i in range(at, at + 10_000):
        ff.log("predict", key=i, **features)
    settled()
    most = max(most, resident())
print(best * 1e6, most - before, session.sender.dropped)
sys.stdout.flush()
os._exit(0)
"""


class Collector(BaseHTTPRequestHandler):
    """Takes everything; how is told by the server's ``way``."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Take a message, at once, after two seconds, or never."""
        self.rfile.read(int(self.headers["Content-Length"]))
        way = getattr(self.server, "way", "up")
        time.sleep({"up": 0, "slow": 2, "hanging": 3_600}[way])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def measured(way: str) -> tuple[float, float, int]:
    """Microseconds of a call, megabytes of growth, and records dropped."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.daemon_threads = True
    server.way = way  # type: ignore[attr-defined]
    address = f"http://127.0.0.1:{server.server_address[1]}"
    if way == "down":
        server.server_close()
    else:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"
        program.write_text(PROGRAM)
        environment = {"FOURFOLD_SPOOL": folder, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, program, address], env=environment, check=True, capture_output=True, text=True, cwd=folder
        )
    micros, grown, dropped = done.stdout.split()
    return float(micros), float(grown), int(dropped)


def main() -> None:
    """Print a line for each way."""
    up = 0.0
    for way in WAYS:
        micros, grown, dropped = measured(way)
        up = up or micros
        print(f"{way:8} {micros / up:5.2f} times up   {grown:6.1f} MB more   {dropped} records dropped", flush=True)


if __name__ == "__main__":
    main()
