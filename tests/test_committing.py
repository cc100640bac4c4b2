"""What arrives together is made durable together, and answered only then; a full disk and a full inbox are said."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fourfold.config import PLAUSIBLE
from fourfold.log import Inbox
from fourfold.sdk.record import Record
from fourfold.serve.access import Refused
from fourfold.serve.collector.committing import Committer
from fourfold.serve.collector.gathering import Given


class Slow(Inbox):
    """An inbox whose disk waits until it may go on, and fails as it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "disk")
        self.make()
        self.go, self.entered = threading.Event(), threading.Event()
        self.writes = 0
        self.fails: Exception | None = None
        self.left = float("inf")

    def room(self) -> float:
        return self.left

    def _deliver(self, name: str, parts: Sequence[bytes]) -> None:
        self.entered.set()
        assert self.go.wait(60)
        self.writes += 1
        if self.fails is not None:
            raise self.fails
        super()._deliver(name, parts)


def ids(inbox: Inbox) -> list[str]:
    return sorted(found.id for found in inbox.read_all(inbox.pending()))


def message(number: int) -> list[tuple[str, bytes]]:
    return [(f"writer-{number:012d}", b"x" * 100)]


def test_many_requests_become_few_writes_and_none_is_answered_before_its_bytes_are_there(tmp_path: Path) -> None:
    inbox = Slow(tmp_path / "inbox")
    committer = Committer(inbox, PLAUSIBLE)

    async def run() -> None:
        tasks = [asyncio.create_task(committer.commit(message(0)))]
        await asyncio.to_thread(inbox.entered.wait)
        tasks += [asyncio.create_task(committer.commit(message(number))) for number in range(1, 500)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks) and not inbox.files()
        inbox.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    committer.close()
    assert inbox.writes == 2
    assert ids(inbox) == [f"writer-{number:012d}" for number in range(500)]


def test_a_sender_that_is_gone_costs_no_other(tmp_path: Path) -> None:
    inbox = Slow(tmp_path / "inbox")
    committer = Committer(inbox, PLAUSIBLE)

    async def run() -> None:
        gone = asyncio.create_task(committer.commit(message(1)))
        await asyncio.to_thread(inbox.entered.wait)
        stays = asyncio.create_task(committer.commit(message(2)))
        await asyncio.sleep(0)
        gone.cancel()
        inbox.go.set()
        await stays

    asyncio.run(run())
    assert ids(inbox) == ["writer-000000000001", "writer-000000000002"]
    committer.close()


def test_a_loop_that_ends_before_it_has_woken_the_committer_costs_no_later_request(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    inbox.make()
    committer = Committer(inbox, PLAUSIBLE)
    ended = asyncio.new_event_loop()
    gone = ended.create_task(committer.commit(message(1)))
    ended.call_soon(ended.stop)
    ended.run_forever()  # it stops right after the request came
    asyncio.run(asyncio.wait_for(committer.commit(message(2)), 60))
    assert ids(inbox) == ["writer-000000000001", "writer-000000000002"]
    gone.cancel()
    ended.run_until_complete(asyncio.gather(gone, return_exceptions=True))
    ended.close()
    committer.close()


@pytest.mark.parametrize(("error", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507)])
def test_a_full_disk_is_said_and_forgotten_once_there_is_room(tmp_path: Path, error: int, status: int) -> None:
    inbox = Slow(tmp_path / "inbox")
    inbox.go.set()
    committer = Committer(inbox, PLAUSIBLE)

    async def run() -> None:
        inbox.fails = OSError(error, "full")
        with pytest.raises(Refused) as refused:
            await committer.commit(message(1))
        assert refused.value.status == status and "Retry-After" in refused.value.headers
        inbox.fails, inbox.left = None, 99
        with pytest.raises(Refused) as refused:
            await committer.commit(message(2))
        assert refused.value.status == 507
        inbox.left = 100
        await committer.commit(message(3))

    asyncio.run(run())
    assert ids(inbox) == ["writer-000000000003"]
    committer.close()


def test_an_inbox_that_nobody_empties_is_not_filled_for_ever(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    inbox.make()
    committer = Committer(inbox, PLAUSIBLE, most_waiting=250)

    async def run() -> None:
        await committer.commit(message(1))
        await committer.commit(message(2))
        with pytest.raises(Refused) as refused:
            await committer.commit(message(3))
        assert refused.value.status == 429 and "Retry-After" in refused.value.headers
        inbox.remove(inbox.files())
        await committer.commit(message(3))

    asyncio.run(run())
    assert ids(inbox) == ["writer-000000000003"]
    committer.close()


def test_records_of_several_requests_become_one_message(tmp_path: Path) -> None:
    inbox = Slow(tmp_path / "inbox")
    committer = Committer(inbox, PLAUSIBLE)

    def given(rows: Sequence[dict[str, Any]], stream: str = "predict") -> Given:
        records = [Record(stream, row, {}, None, None, time.time_ns(), None) for row in rows]
        return Given("flights", stream, records, 100, places=range(len(rows)))

    async def run() -> None:
        tasks = [asyncio.create_task(committer.commit(given([{"n": 0}])))]
        await asyncio.to_thread(inbox.entered.wait)
        tasks += [asyncio.create_task(committer.commit(given([{"n": n}]))) for n in range(1, 100)]
        tasks.append(asyncio.create_task(committer.commit(given([{"n": 100}], "other"))))
        await asyncio.sleep(0.01)
        inbox.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    committer.close()
    found = [each.message for each in inbox.read_all(inbox.pending())]
    assert sorted(message.table.num_rows for message in found if not isinstance(message, Exception)) == [1, 1, 99]
