"""A collector that is killed again and again, and one whose disk fills up, lose nothing and count nothing twice."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pyarrow as pa
import pytest

from fourfold.log import messages, new_writer
from fourfold.log.wire import written
from fourfold.sdk.batch import prepare
from fourfold.store import Store
from tests.collectors import children, collector, free_port, is_gone, is_up, wait_until
from tests.killed import KILLS

pytestmark = pytest.mark.services
SENDERS = 4


def content(writer: str, number: int, rows: int) -> tuple[str, bytes]:
    """A message of records that name themselves."""
    name = f"{writer}-{number:012d}"
    table = pa.table({"name": [f"{name}/{row}" for row in range(rows)]})
    [(prepared, _)] = prepare(table, None, None, time.time_ns(), None)
    return name, written(messages.records("test", "sent", None, None), prepared.table)


class Sender(threading.Thread):
    """Sends messages and records, each again until it is acknowledged, and remembers them."""

    def __init__(self, address: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.address, self.chance = address, random.Random(seed)
        self.ended = threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        writer = new_writer()
        numbers = itertools.count(1)
        with httpx.Client(base_url=self.address, timeout=20) as client:
            while not self.ended.is_set():
                rows = self.chance.randrange(1, 30)
                if self.chance.random() < 0.5:
                    name, body = content(writer, next(numbers), rows)
                    self._until_taken(lambda name=name, body=body: client.put(f"/v1/messages/{name}", content=body))
                else:
                    name = f"{writer}/json/{next(numbers)}"
                    listed = [{"name": f"{name}/{row}"} for row in range(rows)]
                    self._until_taken(
                        lambda name=name, listed=listed: client.post(
                            "/v1/streams/sent/records?project=test", json=listed, headers={"Idempotency-Key": name}
                        )
                    )
                self.acknowledged += [f"{name}/{row}" for row in range(rows)]

    def _until_taken(self, send) -> None:  # type: ignore[no-untyped-def]
        while True:
            with contextlib.suppress(httpx.TransportError):
                if send().is_success:
                    return
            time.sleep(0.005)


@contextlib.contextmanager
def forks(store: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """What starts a collector for each line, as quickly as a fork is, and says its process."""
    code = "from tests.collectors import serve_when_told; serve_when_told()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(store), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def test_whatever_is_killed_what_was_acknowledged_counts_once(tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("FOURFOLD_SEED", "1")))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    senders = [Sender(address, chance.randrange(1 << 30)) for _ in range(SENDERS)]
    with contextlib.closing(Store(str(tmp_path / "store"), "test")) as store, forks(tmp_path / "store", port) as maker:
        assert maker.stdin is not None and maker.stdout is not None
        for sender in senders:
            sender.start()
        for kill in range(KILLS):
            print("serve", file=maker.stdin, flush=True)
            process = int(maker.stdout.readline())
            wait_until(lambda: is_up(address))
            time.sleep(chance.uniform(0, 0.25))
            if kill % 5 == 0:
                store.writer.catch_up()
            os.kill(process, signal.SIGKILL)
            wait_until(functools.partial(is_gone, process))
        print("serve", file=maker.stdin, flush=True)
        process = int(maker.stdout.readline())
        for sender in senders:
            sender.ended.set()
        for sender in senders:
            sender.join()
        os.kill(process, signal.SIGKILL)
        store.writer.catch_up()
        taken = store.writer.log("sent").whole().records(None, ["name"])["name"].to_pylist()
        expected = sorted(name for sender in senders for name in sender.acknowledged)
        print(f"{KILLS} kills, {len(expected)} records acknowledged")
        assert sorted(taken) == expected
        assert store.metric("sent", "rows")[0].value.value == len(expected)
        assert not store.writer.quarantined()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only who may mount can have a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_is_said_and_recovers_by_itself(small_disk: Path) -> None:
    sent, numbers, writer = 0, itertools.count(1), new_writer()
    with collector(small_disk / "store") as (server, address), httpx.Client(base_url=address, timeout=60) as client:

        def send(rows: int = 2_000) -> int:
            nonlocal sent
            name, body = content(writer, next(numbers), rows)
            status = int(client.put(f"/v1/messages/{name}", content=body).status_code)
            sent += rows if status == 204 else 0
            return status

        assert [send() for _ in range(5)] == [204] * 5
        for _ in range(2):  # it fills up twice: by something else, and by what is sent
            filling = small_disk / "filling"
            with contextlib.suppress(OSError), filling.open("wb") as file:
                while True:
                    file.write(np.random.default_rng(1).bytes(1 << 14))
                    file.flush()
            for _ in range(5):
                assert send() == 507
                assert client.get("/healthz").is_success
                assert client.post("/v1/streams/other/records?project=test", json={"n": 1}).status_code == 507
            filling.unlink()
            wait_until(lambda: send(200) == 204)
        assert children(server)
    with contextlib.closing(Store(str(small_disk / "store"), "test")) as store:
        assert store.metric("sent", "rows")[0].value.value == sent
        assert not store.writer.quarantined()


def test_what_is_sent_faster_than_it_is_counted_fills_no_disk(small_disk: Path) -> None:
    sent, writer = 0, new_writer()
    with (
        collector(small_disk / "store", "--no-count") as (_, address),
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        for number in itertools.count(1):
            name, body = content(writer, number, 2_000)
            if client.put(f"/v1/messages/{name}", content=body).status_code == 507:
                break
            sent += 2_000
        with contextlib.closing(Store(str(small_disk / "store"), "test")) as store:
            assert store.metric("sent", "rows")[0].value.value == sent
        assert client.put(f"/v1/messages/{name}", content=body).status_code == 204
    with contextlib.closing(Store(str(small_disk / "store"), "test")) as store:
        assert store.metric("sent", "rows")[0].value.value == sent + 2_000
