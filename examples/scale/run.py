"""The flights demo through PostgreSQL, an S3 server and two processes, held against the same in one folder.

    pip install 'fourfold[demo,postgres]' 'moto[server]'
    python examples/scale/run.py

One process runs the pipeline and logs to the bucket, the other counts what has come into PostgreSQL. Both are told
where by FOURFOLD_STORE and FOURFOLD_STATE; the code is that of ``fourfold demo``. Everything is started in a folder of
its own, on this machine's loopback, and ends with the script. It needs PostgreSQL's programs (Debian: postgresql).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PIPELINE = """
import fourfold as ff
from fourfold.examples import flights
ff.init(project="flights")
flights.main()
ff.flush()
"""
FOURFOLD = [str(Path(sys.executable).parent / "fourfold")]
QUESTIONS = (
    ("late", "recall"),
    ("late", "roc_auc"),
    ("late", "accuracy", "--by", "carrier", "--every", "4w"),
    ("predict.score", "mean", "--every", "1w"),
    ("predict.score", "quantile(0.9)", "--every", "4w"),
    ("join_weather.output.temp", "null_rate", "--every", "4w"),
)
COMPARED = ("start", "end", "carrier", "value", "low", "high", "n", "coverage")  # not what depends on the hour


def main() -> int:
    """Run the demo in both ways and compare; 0 if all numbers are the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where this is root
        print("In one folder ...", flush=True)
        small = {"FOURFOLD_STORE": str(folder / "store")}
        run_pipeline(folder, small)
        print("Through PostgreSQL and a bucket, with two processes ...", flush=True)
        with postgres(folder) as state, bucket() as large:
            large["FOURFOLD_STATE"] = state
            with counting(folder, large):
                run_pipeline(folder, large)
            return compare(ask(folder, small), ask(folder, large))


def run_pipeline(folder: Path, settings: Mapping[str, str]) -> None:
    """The pipeline, in a process of its own."""
    subprocess.run([sys.executable, "-c", PIPELINE], env=os.environ | settings, cwd=folder, check=True)


@contextlib.contextmanager
def counting(folder: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """A process that counts what has come, every two seconds; a signal ends it."""
    command = [*FOURFOLD, "fold", "--project", "flights", "--every", "2s"]
    with (folder / "fold.log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | settings, cwd=folder, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def ask(folder: Path, settings: Mapping[str, str]) -> list[list[dict[str, Any]]]:
    """The answers to all questions, as rows."""
    answers = []
    for question in QUESTIONS:
        command = [*FOURFOLD, "metrics", *question, "--project", "flights", "--json"]
        done = subprocess.run(command, env=os.environ | settings, cwd=folder, check=True, stdout=subprocess.PIPE)
        answers.append(json.loads(done.stdout)["rows"])
    return answers


def compare(small: list[list[dict[str, Any]]], large: list[list[dict[str, Any]]]) -> int:
    """Print how many numbers there are, and those that differ."""
    pairs = [
        (question, mine.get(name), row.get(name))
        for question, before, after in zip(QUESTIONS, small, large, strict=True)
        for mine, row in zip(before, after, strict=True)
        for name in COMPARED
        if name in mine or name in row
    ]
    differing = [pair for pair in pairs if not same(*pair[1:])]
    for question, mine, other in differing[:10]:
        print(f"{' '.join(question)}: {mine} in the folder, {other} in the bucket")
    print(f"{len(pairs)} values of {sum(map(len, small))} rows; {len(differing)} differ")
    return 1 if differing or not pairs else 0


def same(mine: object, other: object) -> bool:
    """Equal; floats up to the rounding of sums that were added in another order."""
    if isinstance(mine, float) and isinstance(other, float):
        return abs(mine - other) <= 1e-9 * max(abs(mine), abs(other), 1.0)
    return mine == other


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server on a socket in the folder; gives the URL of a database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin")) + [
        Path(path).parent for path in filter(None, [shutil.which("initdb")])
    ]
    if not programs:
        raise SystemExit("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    data, sockets = folder / "postgres", folder / "sockets"
    user = "postgres" if os.geteuid() == 0 else None
    for place in (data, sockets):
        place.mkdir()
        if user is not None:
            shutil.chown(place, user)
    subprocess.run(
        [programs[-1] / "initdb", "-D", data, "-U", "fourfold", "-A", "trust", "-E", "UTF8", "--locale=C"],
        user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    server = subprocess.Popen(
        [programs[-1] / "postgres", "-D", data, "-k", sockets, "-c", "listen_addresses="],
        user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: (sockets / ".s.PGSQL.5432").exists())
        yield f"postgresql://fourfold@/postgres?host={sockets}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


@contextlib.contextmanager
def bucket() -> Iterator[dict[str, str]]:
    """An S3 server on loopback with one bucket; gives the settings to use it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:

        def made() -> bool:
            request = urllib.request.Request(f"{address}/fourfold", method="PUT")
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
            return False

        wait_for(made)
        yield {
            "FOURFOLD_STORE": "s3://fourfold/store",
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example",
        }
    finally:
        server.terminate()
        server.wait(60)


def wait_for(ready: Any, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise SystemExit("a server did not start within a minute")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
