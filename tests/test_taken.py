"""Which messages were taken is noted by writer, in ranges; each is taken once, in whichever files it comes."""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fourfold.log import Inbox, messages
from fourfold.log.wire import written
from fourfold.model import Run, RunStatus
from fourfold.sdk.batch import prepare
from fourfold.state import runs, taken
from fourfold.state.tables import taken as notes
from fourfold.state.taken import Numbers
from fourfold.store import Store

ORDERS = st.lists(st.lists(st.integers(1, 30), max_size=8), max_size=12)


@given(ORDERS)
def test_numbers_hold_what_was_added_in_any_order(parts: list[list[int]]) -> None:
    numbers, expected = Numbers(), set[int]()
    for part in parts:
        numbers, expected = numbers.adding(part), expected | set(part)
        assert {number for number in range(40) if number in numbers} == expected
        flat = [end for both in numbers.ranges for end in both]
        assert flat == sorted(flat) and all(b - a > 1 for (_, a), (b, _) in itertools.pairwise(numbers.ranges))


@given(st.permutations(range(1, 200)))
def test_numbers_without_a_gap_are_one_range(order: list[int]) -> None:
    numbers = Numbers()
    for number in order:
        numbers = numbers.adding([number])
    assert numbers.ranges == ((1, 199),)


def content_of(number: int, writer: str = "writer") -> tuple[str, bytes]:
    """A writer's message: every third one is a run, the others are records."""
    name = f"{writer}-{number:012d}"
    if number % 3 == 0:
        run = Run(f"run {number}", "train", RunStatus.SUCCEEDED, 1_000.0 + number, 1_001.0 + number)
        return name, written(messages.runs("test", [messages.run_text(run)]))
    [(prepared, _)] = prepare(pa.table({"score": [0.5] * number}), None, None, time.time_ns(), None)
    header = messages.records("test", "predict", None, None)
    return name, written(header, prepared.table)


@pytest.mark.parametrize("seed", range(3))
def test_each_message_counts_once_however_it_is_sent(store: Store, seed: int) -> None:
    chance, inbox = random.Random(seed), Inbox(Path(store.folder) / "inbox")
    sent = [content_of(number) for number in range(1, 25)]
    for round_ in range(12):
        some = chance.choices(sent, k=6)
        if chance.random() < 0.5:
            inbox.deliver_together(f"server-{round_:012d}", some)
        else:
            for name, content in some:
                inbox.deliver(name, content)
        if chance.random() < 0.5:
            store.writer.catch_up()
    for at in range(0, len(sent), 5):
        inbox.deliver_together(f"server-{1_000 + at:012d}", sent[at : at + 5])
    assert store.metric("predict", "rows")[0].value.value == sum(n for n in range(1, 25) if n % 3)
    with store.writer.database.read() as connection:
        assert len(runs.recent(connection, "test", limit=99)) == 8
        assert taken.of(connection, ["writer"]) == {"writer": Numbers(((1, 24),))}
        assert connection.scalar(sa.select(sa.func.count()).select_from(notes)) == 1
    assert not inbox.files()


def test_notes_do_not_grow_with_what_is_sent(store: Store) -> None:
    inbox = Inbox(Path(store.folder) / "inbox")
    for first in range(1, 300, 50):
        inbox.deliver_together(f"server-{first:012d}", [content_of(number) for number in range(first, first + 50)])
        store.writer.collect()
    with store.writer.database.read() as connection:
        [row] = connection.execute(sa.select(notes))
    assert row.numbers == "[[1, 300]]"


def test_a_message_that_comes_again_after_days_keeps_its_note(store: Store) -> None:
    inbox, database = Inbox(Path(store.folder) / "inbox"), store.writer.database
    inbox.deliver(*content_of(3))
    store.writer.collect()
    with database.write() as connection:
        connection.execute(sa.update(notes).values(at=time.time() - taken.LASTING + 60))
    inbox.deliver(*content_of(3))
    store.writer.collect()
    with database.write() as connection:
        taken.forget(connection, time.time() + taken.LASTING - 60)
        assert taken.of(connection, ["writer"])
        taken.forget(connection, time.time() + taken.LASTING + 60)
        assert not taken.of(connection, ["writer"])


def test_of_a_file_with_several_messages_one_that_is_unusable_costs_no_other(store: Store) -> None:
    inbox = Inbox(Path(store.folder) / "inbox")
    wrong = written(messages.records("test", "predict", None, None), pa.table({"score": [1.0]}))
    inbox.deliver_together("server-000000000001", [content_of(1), ("bad-000000000001", wrong), content_of(2)])
    assert store.metric("predict", "rows")[0].value.value == 3
    assert [entry.batch for entry in store.writer.quarantined()] == ["bad-000000000001"]
    assert (store.folder / "quarantine" / "bad-000000000001.arrow").read_bytes() == wrong
    assert not inbox.files()


def test_a_message_of_a_newer_version_stays_and_the_others_of_its_file_are_taken_once(store: Store) -> None:
    inbox = Inbox(Path(store.folder) / "inbox")
    newer = written({"format": 99, "kind": "records"})
    inbox.deliver_together("server-000000000001", [content_of(1), ("new-000000000001", newer), content_of(2)])
    for _ in range(2):
        assert store.metric("predict", "rows")[0].value.value == 3
    assert [path.name for path in inbox.files()] == ["server-000000000001.pack"]
    again = Store(store.place, "test")
    assert again.metric("predict", "rows")[0].value.value == 3
    again.close()


@pytest.mark.parametrize("heads", [True, False])
def test_of_a_file_with_several_messages_whose_bytes_changed_what_is_sound_is_taken(store: Store, heads: bool) -> None:
    inbox = Inbox(Path(store.folder) / "inbox")
    inbox.deliver_together("server-000000000001", [content_of(1), content_of(2)])
    [path] = inbox.files()
    changed = bytearray(Path(str(path)).read_bytes())
    changed[20 if heads else len(changed) // 4] ^= 0xFF
    Path(str(path)).write_bytes(changed)
    name, content = content_of(2)
    if heads:  # nobody knows which messages they are: the file is kept whole
        inbox.deliver(name, content)
    assert store.metric("predict", "rows")[0].value.value == 2
    quarantine = Path(str(store.folder)) / "quarantine"
    if heads:
        assert (quarantine / "server-000000000001.pack").read_bytes() == changed
    else:
        name, content = content_of(1)
        kept = (quarantine / f"{name}.arrow").read_bytes()
        assert kept in changed and len(kept) == len(content)
    assert not inbox.files()


def test_of_two_copies_of_a_message_a_sound_one_is_taken(store: Store) -> None:
    inbox = Inbox(Path(store.folder) / "inbox")
    name, content = content_of(2)
    for pack in ("a", "z"):  # whichever is read first
        inbox.deliver(name, content[: len(content) // 2])
        inbox.deliver_together(f"{pack}-000000000001", [(name, content)])
        store.writer.collect()
    assert store.metric("predict", "rows")[0].value.value == 2
    assert not inbox.files()


def test_records_under_one_name_count_once_in_whichever_message(store: Store) -> None:
    inbox = Inbox(Path(store.folder) / "inbox")

    def send(number: int, *names: str) -> None:
        name = f"server-{number:012d}"
        [(prepared, _)] = prepare(pa.table({"said": list(names)}), None, None, time.time_ns(), None)
        header = messages.records("test", "said", None, None, [(said, row, 1) for row, said in enumerate(names)])
        inbox.deliver(name, written(header, prepared.table))

    send(1, "a", "b", "a")
    send(2, "b", "c")
    store.writer.collect()
    send(3, "c", "a", "d")
    assert store.metric("said", "rows")[0].value.value == 4
    said = store.writer.log("said").whole().records(None, ["said"])["said"].to_pylist()
    assert sorted(said) == ["a", "b", "c", "d"]
