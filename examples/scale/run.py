"""The flights demo through PostgreSQL, an S3 server and two processes, held against the same in one folder.

    pip install 'fourfold[demo,postgres]' 'moto[server]'
    python examples/scale/run.py                      # April to December of 2013
    python examples/scale/run.py --until 2013-04-30   # the first month of it

One process runs the pipeline and logs to the bucket, the other counts what has come into PostgreSQL; a third one asks.
Each is told where by FOURFOLD_STORE and FOURFOLD_STATE alone: its code is what it would be with a folder. Everything is
started in a folder of its own, on this machine's loopback, and ends with the script. It needs PostgreSQL's programs
(Debian: postgresql), and ends with 0 if all numbers are the same.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fourfold as ff
from fourfold.examples import flights

Environment = dict[str, str]

PROJECT = "flights"
TASK = (
    "predictions", "coverage", "recall", "precision", "accuracy", "f1", "roc_auc", "average_precision", "log_loss",
    "brier_score_loss",
)  # fmt: skip
NUMBER = ("null_rate", "nan_rate", "mean", "std", "min", "max", "quantile(0.5)", "quantile(0.9)")
TEXT = ("null_rate", "distinct")
QUESTIONS: list[tuple[str, tuple[str, ...], str | None]] = [
    ("late", TASK, None),
    ("late", TASK, "carrier"),
    ("late", TASK, "origin"),
    *((stream, ("rows", "duplicate_keys"), None) for stream in ("predict", "arrivals")),
    *((f"predict.{column}", NUMBER if column == "score" else TEXT, None) for column in ("score", "carrier", "origin")),
    *((f"join_weather.output.{column}", NUMBER, None) for column in ("hour", "arr_delay", "temp", "precip", "seats")),
    *((f"predict.features.{column}", NUMBER, None) for column in ("scheduled_hour", "wind_speed", "plane_age")),
    *((f"{stream}.carrier", TEXT, None) for stream in ("ingest.flights", "featurize.past", "train.features")),
]
OF_BINS = ("roc_auc", "average_precision", "quantile", "std")  # std: the ends of its interval
WIDTH = (
    5e-3  # how far what is read off bins may be apart: a column's bins are laid by the records that are counted first
)
WAIT = 60.0  # seconds for a server to start, or a process to end


# what each process does -----------------------------------------------------------------------------------------------


def pipeline(until: str) -> None:
    """Run the pipeline, up to a day."""
    ff.init(project=PROJECT)
    flights.main(end=until)
    ff.flush()


def ask() -> None:
    """Print the answers to all questions, every four weeks, as rows."""
    ff.init(project=PROJECT)
    rows = []
    for target, metrics, by in QUESTIONS:
        answer = ff.metric(target, metrics, by=by, every="4w")
        rows += [{"target": target} | row for row in answer.to_arrow().to_pylist()]
    print(json.dumps(rows, default=str))


# what starts them -----------------------------------------------------------------------------------------------------


def main() -> int:
    """Run the pipeline in both ways and compare; 0 if all numbers are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until", default=flights.END, help="the last day of the replay (default: %(default)s)")
    until = parser.parse_args().until
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where this is root
        said("In one folder: the pipeline")
        small = usual() | {"FOURFOLD_STORE": str(folder / "store")}
        run("pipeline", small, folder, until)
        said("  asking, which counts all of it first")
        expected = run("ask", small, folder)
        with postgres(folder) as state, bucket() as of_bucket:
            large = usual() | of_bucket | {"FOURFOLD_STATE": state, "FOURFOLD_SPOOL": str(folder / "spool")}
            said("Through PostgreSQL and a bucket: the pipeline, and another process that counts meanwhile")
            with counting(large, folder):
                run("pipeline", large, folder, until)
                said("  asking, once all is counted")
                found = run("ask", large, folder)
        return compare(json.loads(expected), json.loads(found))


def usual() -> Environment:
    """The environment without what leads to other stores and buckets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FOURFOLD_"))}


def run(what: str, environment: Environment, folder: Path, *arguments: str) -> bytes:
    """Do one of the above in a process of its own; returns what it prints."""
    command = [sys.executable, str(Path(__file__).resolve()), what, *arguments]
    return subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.PIPE).stdout


@contextlib.contextmanager
def counting(environment: Environment, folder: Path) -> Iterator[None]:
    """A process that counts what has come, two seconds after it last did; a signal ends it."""
    command = [fourfold(), "fold", "--project", PROJECT, "--every", "2s"]
    with (folder / "fold.log").open("w") as log:  # until the first record has come, it says that there is no store
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        with ended(process, signal.SIGTERM):
            yield
            if process.poll() is not None:
                raise SystemExit(f"the process that counts has ended: {(folder / 'fold.log').read_text()}")


def fourfold() -> str:
    """The command line of this installation."""
    return str(Path(sys.executable).parent / "fourfold")


def compare(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> int:
    """Print how many numbers there are, and those that differ."""
    if len(expected) != len(found) or not expected:
        said(f"{len(expected)} rows in the folder, {len(found)} in the bucket")
        return 1
    numbers = [
        (row, name, value, other.get(name))
        for row, other in zip(expected, found, strict=True)
        for name, value in row.items()
    ]
    differing = [number for number in numbers if not same(*number[2:], of_bins=is_of_bins(number[0]["metric"]))]
    for row, name, value, other in differing[:20]:
        where = " ".join(str(row[part]) for part in ("target", "metric", "start", "carrier", "origin") if row.get(part))
        said(f"{where}: {name} is {value} in the folder, {other} in the bucket")
    said(f"{len(numbers)} values of {len(expected)} rows; {len(differing)} differ")
    return 1 if differing else 0


def is_of_bins(metric: str) -> bool:
    """Whether it is read off bins."""
    return metric.partition("(")[0] in OF_BINS


def same(one: object, other: object, *, of_bins: bool = False) -> bool:
    """Equal; floats up to the rounding of sums that were added in another order, or up to the width of bins."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or abs(one - other) <= (WIDTH if of_bins else 1e-9) * max(abs(one), abs(other), 1.0)
    return one == other


# the servers ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server on a socket in the folder; gives the address of a database."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda programs: float(programs.parent.name))
    elsewhere = [Path(program).parent for program in [shutil.which("initdb")] if program is not None]
    if not (found := elsewhere + debian):
        raise SystemExit("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    data, sockets = folder / "postgres", folder / "sockets"
    user = "postgres" if os.geteuid() == 0 else None  # for root, the server does not start
    for place in (data, sockets):
        place.mkdir()
        if user is not None:
            shutil.chown(place, user)
    making = [str(found[-1] / "initdb"), "-D", str(data), "-U", "fourfold", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run(making, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with (folder / "postgres.log").open("w") as log:
        serving = [str(found[-1] / "postgres"), "-D", str(data), "-k", str(sockets), "-c", "listen_addresses="]
        server = subprocess.Popen(serving, user=user, cwd=folder, stdout=log, stderr=log)
        with ended(server, signal.SIGINT):
            wait_for((sockets / ".s.PGSQL.5432").exists, folder / "postgres.log")
            yield f"postgresql://fourfold@/postgres?host={sockets}"


@contextlib.contextmanager
def bucket() -> Iterator[Environment]:
    """An S3 server on loopback with one bucket; gives the settings to use it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.NamedTemporaryFile() as log:
        serving = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(serving, stdout=log, stderr=log)

        def is_made() -> bool:
            request = urllib.request.Request(f"{address}/fourfold", method="PUT")
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with contextlib.suppress(OSError), direct.open(request, timeout=5) as answer:
                return bool(answer.status == 200)
            return False

        with ended(server, signal.SIGTERM):
            wait_for(is_made, Path(log.name))
            yield {
                "FOURFOLD_STORE": "s3://fourfold/store",
                "AWS_ENDPOINT_URL": address,
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "example",
                "AWS_SECRET_ACCESS_KEY": "example",
                "NO_PROXY": "127.0.0.1",
            }


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes], by: signal.Signals) -> Iterator[None]:
    """A process that a signal ends afterwards; one that does not obey is killed."""
    try:
        yield
    finally:
        process.send_signal(by)
        try:
            process.wait(WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(ready: Callable[[], bool], log: Path) -> None:
    """Wait until a server is ready."""
    until = time.monotonic() + WAIT
    while not ready():
        if time.monotonic() > until:
            raise SystemExit(f"a server did not start within {WAIT:.0f} seconds: {log.read_text()}")
        time.sleep(0.1)


def said(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["pipeline", day]:
            pipeline(day)
        case ["ask"]:
            ask()
        case _:
            sys.exit(main())
