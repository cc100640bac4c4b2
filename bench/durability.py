"""What ``durability="disk"`` costs against ``"process"``: messages of one record, and of a thousand."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.measure import Report, in_turn, milliseconds
from fourfold.log import DURABILITIES, Inbox, messages, new_writer

MESSAGES = 50


def send(inbox: Inbox, table: pa.Table) -> None:
    """Write messages, each acknowledged before the next."""
    writer = new_writer()
    for sequence in range(MESSAGES):
        inbox.put(writer, sequence, messages.records("bench", "predict", "id", None), table)


def run(report: Report) -> None:
    """Measure and report."""
    rows = []
    with tempfile.TemporaryDirectory(dir=".") as folder:  # a temporary folder elsewhere may be no disk
        inboxes = {durability: Inbox(Path(folder) / durability, durability) for durability in DURABILITIES}
        for records in (1, 1_000):
            table = pa.table({f"feature_{i}": np.random.default_rng(i).normal(size=records) for i in range(20)})
            work = {name: functools.partial(send, inbox, table) for name, inbox in inboxes.items()}
            found = in_turn(work)
            least = found["process"].wall
            for name, timing in found.items():
                rows.append(
                    [
                        f"{records:,}", name, milliseconds(timing.wall / MESSAGES), f"{MESSAGES / timing.wall:,.0f}",
                        f"{MESSAGES * records / timing.wall:,.0f}", f"{timing.wall / least:.1f}",
                    ]
                )  # fmt: skip
    report.table(
        "Durability: acknowledged by the disk against by the process",
        ["records a message", "durability", "each", "messages/s", "records/s", "/ process"],
        rows,
        "Wall time: `disk` synchronises the file and its folder with the disk before a message is acknowledged. One "
        "writer, one message after the other; a process sends what has gathered in half a second as one message.",
    )
