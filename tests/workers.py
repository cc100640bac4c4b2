"""What processes do in tests of object storage: some log and some count, until they are killed.

Each prediction gets a label, wrong at first, one batch later, and a corrected one another batch later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import fourfold as ff
from fourfold.errors import StoreError
from fourfold.model import Place
from fourfold.store import Store
from tests.support import START

RECORDS = 6  # in a batch


def declare() -> None:
    """Declare the task that is counted."""
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["side"])


def log(writer: str, batch: int) -> None:
    """Log one batch of a writer, and labels of the two batches before it."""
    for number in range(RECORDS):
        day = START + 86_400 * (number % 3)
        ff.log("predict", key=f"{writer}-{batch}-{number}", score=number / RECORDS, side="lr"[number % 2], time=day)
        for earlier, late in ((batch - 2, number < 3), (batch - 1, number % 3 == 0)):
            if earlier >= 0:
                ff.log("arrivals", key=f"{writer}-{earlier}-{number}", late=late, time=day + 3_600)


def acknowledge(within: float = 60.0) -> None:
    """Return when all that was logged is acknowledged.

    Raises:
        StoreError: it is not within so many seconds.
    """
    until = time.monotonic() + within
    while True:
        try:
            return ff.flush()
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def count(store: Store) -> bool:
    """Take what was sent and count it, unless the store cannot be used just now; returns whether it could."""
    try:
        store.writer.catch_up()
    except StoreError:
        time.sleep(0.02)
        return False
    return True


# processes: each begins with the store's address and its state's as arguments -----------------------------------------


def write_when_told() -> None:
    """Log as many batches as each line of the input says, and say so when they are acknowledged."""
    address, state, name = sys.argv[1:]
    ff.init(address, "test", state=state)
    print("ready", flush=True)
    batch = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            log(name, batch)
            acknowledge()
            batch += 1
        print(batch, flush=True)


def count_until_told() -> None:
    """Count again and again, until there is a file of a name."""
    address, state, told = sys.argv[1:]
    store = Store(Place(address, state), "test")
    print("ready", flush=True)
    while not os.path.exists(told):
        count(store)
    store.close()


def fork_when_told() -> None:
    """For each line of the input, a name, a child that goes on until it is killed; writes the child's number.

    One whose name begins with "c" counts; another logs. Each notes in a file what is done: a line with its name, and
    for a batch that is acknowledged also its number.
    """
    address, state, done = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no child is waited for
    children = []
    print("ready", flush=True)
    for line in sys.stdin:
        if not (child := os.fork()):
            _go_on(line.strip(), address, state, done)
        children.append(child)
        print(child, flush=True)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _go_on(name: str, address: str, state: str, done: str) -> None:
    out = os.open(done, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if name.startswith("c"):
        store = Store(Place(address, state), "test")
        while True:
            if count(store):
                os.write(out, f"{name}\n".encode())
    ff.init(address, "test", state=state)
    for batch in range(1_000_000):
        log(name, batch)
        acknowledge()
        os.write(out, f"{name}-{batch}\n".encode())
