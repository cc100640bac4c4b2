"""Who takes and counts is killed at any moment: who goes on takes each record once, and sets what is odd aside once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import fourfold as ff
from fourfold.ingest import collect
from fourfold.log import Inbox, messages
from fourfold.log.wire import written
from fourfold.model.records import KEY
from fourfold.sdk.batch import from_records, prepare
from fourfold.sdk.record import Record
from fourfold.state import runs
from fourfold.store import Store
from tests.killed import spread, victims

KEYS = [f"k{number}" for number in range(8)]
ODD = ["bad-000000000001", "odd-000000000001", "refused-000000000001"]


def taking(folder: str) -> Callable[[], object]:
    """Few files at a time, so that copies of one message come in several rounds."""
    collect._MESSAGES_AT_ONCE = 3
    return Store(folder, "test").writer.catch_up


def of_records(name: str, stream: str, key: str, **values: object) -> tuple[str, bytes]:
    ((prepared, _),) = from_records([Record(stream, None, values, key, None, 10**18, None)])
    return name, written(messages.records("test", stream, None, None), prepared.table)


def of_names(name: str, *names: str) -> tuple[str, bytes]:
    """Records of which each counts once under a name, as a collector writes them."""
    [(prepared, _)] = prepare(pa.table({"said": list(names)}), None, None, time.time_ns(), None)
    header = messages.records("test", "said", None, None, [(said, row, 1) for row, said in enumerate(names)])
    return name, written(header, prepared.table)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A store in which all that may wait in an inbox does: alone, in a file with others, and both."""
    folder = tmp_path / "template"
    session = ff.init(folder, "test")
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["side"])
    with ff.run("load") as run:
        run.output("frame", pa.table({"x": [1.0, 2.0]}))
    ff.flush()
    session.close()
    Store(folder, "test").close()
    inbox = Inbox(folder / "inbox")
    sent = [(path.stem, path.read_bytes()) for path in map(Path, map(str, inbox.files()))]
    for number, key in enumerate(KEYS):
        sent.append(of_records(f"a-{number + 1:012d}", "predict", key, score=number / 8, side="lr"[number % 2]))
        sent.append(of_records(f"b-{number + 1:012d}", "arrivals", key, late=number % 3 == 0))
    sent.append(of_names("collector-000000000001", "a", "b", "a"))
    sent.append(of_names("collector-000000000002", "b", "c"))
    sent.append(of_names("collector-000000000003", "c", "d", "a"))
    wrong = written(messages.records("test", "predict", None, None), pa.table({"score": [1.0]}))
    sent.append(("bad-000000000001", wrong))
    sent.append(("refused-000000000001", written(messages.rejected("test", "predict", "no"), pa.table({"r": ["x"]}))))
    sent.append(("odd-000000000001", wrong[: len(wrong) // 2]))
    for name, content in sent[::2]:
        inbox.deliver(name, content)
    for start in range(4):  # each message is in one of these, and those that are alone are so again
        inbox.deliver_together(f"{'0bpz'[start]}-{start + 1:012d}", sent[start::4])
    return folder


def holds(folder: Path) -> None:
    """Whether, once somebody has gone on, each record is there and counted once, and each odd message aside once."""
    store = Store(folder, "test")
    found = {
        (stream, column): sorted(
            pa.table(store.caught_up().log(stream).whole().records(None, [column]))[column].to_pylist()
        )
        for stream, column in (("predict", KEY), ("arrivals", KEY), ("said", "said"))
    }
    assert list(found.values()) == [KEYS, KEYS, ["a", "b", "c", "d"]]
    rows = {name: store.metric(name, "rows").value.value for name in ("predict", "arrivals", "said", "load.frame")}
    assert rows == {"predict": 8.0, "arrivals": 8.0, "said": 4.0, "load.frame": 2.0}
    assert [row.value.n for row in store.metric("late", "accuracy", by="side")] == [4, 4]
    with store.reader.database.read() as connection:
        assert len(runs.recent(connection, "test", limit=99)) == 1
    assert sorted(entry.batch for entry in store.reader.quarantine.entries()) == ODD
    assert not Inbox(folder / "inbox").files()
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_at_any_moment_each_record_is_taken_once_and_each_odd_message_put_aside_once(
    template: Path, tmp_path: Path
) -> None:
    with victims(taking) as die:
        whole = Path(shutil.copytree(template, tmp_path / "whole"))
        moments = die(0, whole)
        holds(whole)
        assert moments > 50
        for moment in spread(moments):
            folder = Path(shutil.copytree(template, tmp_path / f"{moment}"))
            die(moment, folder)
            holds(folder)
