"""A bucket whose listings lack what was just written, while answers are lost and questions refused: what was
acknowledged is in the log once, nothing is erased that nobody knew of, and nothing is taken for damage.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from fourfold.engine.duckdb.files import SMALL
from fourfold.errors import StoreError
from fourfold.ingest.mending import mended
from fourfold.log import BucketError, BucketPath, Message, StreamLog, commits, opened
from fourfold.log.opened import Opened
from fourfold.log.recent import RECENT
from fourfold.model import Place
from fourfold.model.records import BATCH, KEY, META
from fourfold.reports.doctor import examine
from fourfold.store import Store
from tests.faultproxy import Plan
from tests.objects import Proxy
from tests.support import START, Sender

pytestmark = pytest.mark.services

ALWAYS = 1 << 31


@pytest.fixture
def folder(bucket: str) -> BucketPath:
    return BucketPath.of(bucket) / "log"


@pytest.fixture
def place(bucket: str, tmp_path: Path) -> Place:
    return Place(bucket, str(tmp_path / "state"))


def lagging(lacking: int, most: int = ALWAYS) -> Plan:
    """Commits' listings without the newest so many objects."""
    return Plan(short_listing=1.0, lacking=(lacking, lacking), paths="prefix=.*_delta_log", kinds=("LIST",), most=most)


def of_commit(version: int) -> str:
    return rf"_delta_log/{version:020d}\.json"


def message(number: int) -> Message:
    row = {KEY: [f"k{number}"], BATCH: [f"w-{number:012d}"], "score": [0.5]}
    return Message("w", number, {}, pa.table({**{field.name: pa.nulls(1, field.type) for field in META}, **row}))


def filled(folder: BucketPath, commits: int) -> StreamLog:
    log = StreamLog(folder, "predict", "test")
    for number in range(1, commits + 1):
        log.append([message(number)])
    return log


def keys(log: StreamLog) -> list[str]:
    return sorted(StreamLog(log.folder, log.stream, log.project).whole().records(None, [KEY])[KEY].to_pylist())


def send(sender: Sender, key: str) -> None:
    sender.records("predict", [{"key": key, "time": START, "log_time": START, "score": 0.5}])


@pytest.mark.parametrize("who", ["the same process", "another"])
@pytest.mark.parametrize("lost", ["drop_after", "refuse_after"])
def test_a_commit_whose_answer_was_lost_is_made_once(proxy: Proxy, place: Place, lost: str, who: str) -> None:
    """From the first commit on: what follows it is listed one, two or three objects late, and a question for the commit
    that would follow what is listed is answered, refused once, or refused for as long as the listing lags.
    """
    store = Store(place, "test")
    sender, sent = Sender(store), list[str]()
    for refused, lacking in (*itertools.product((0, 1), (1, 2, 3)), (ALWAYS, 2)):
        version = store.reader.log("predict").version
        following = 0 if version is None else version + 1
        send(sender, f"{len(sent)}")
        with proxy.counting() as passed, proxy.faults(Plan(**{lost: 1.0}, kinds=("PUT",), paths=of_commit(following))):  # type: ignore[arg-type]
            store.writer.catch_up()
        assert passed().faults[lost], "the answer was lost"
        if who == "another":
            store.close()
            store = Store(place, "test")
            RECENT.drop(store.reader.log("predict").folder)
            following = max(following + 1 - lacking, 0)
        send(sender, f"{len(sent) + 1}")
        sent += [f"{len(sent)}", f"{len(sent) + 1}"]
        with proxy.faults(
            Plan(refuse=1.0, kinds=("HEAD",), paths=of_commit(following), most=refused), lagging(lacking)
        ):  # fmt: skip
            for _ in range(2):
                try:
                    store.writer.catch_up()
                except BucketError:
                    continue
        store.writer.catch_up()
        assert keys(store.reader.log("predict")) == sorted(sent)
        assert store.metric("predict", "rows").value.value == len(sent)
        assert store.metric("predict", "duplicate_keys").value.value == 0
        assert store.writer.waiting() == []
    store.close()


def test_a_commit_that_arrives_late_is_made_once(folder: BucketPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it was asked for, and before it is repeated: the engine refuses what names the same messages."""
    log, other = filled(folder, 3), StreamLog(folder, "predict", "test")
    newest = Opened.newest

    def asked(opened: Opened) -> object:
        found = newest(opened)
        if opened is other.opened:
            log.append([message(4)])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Opened, "newest", asked)
        with pytest.raises(StoreError, match="oncurrent"):
            other.append([message(4), message(5)])
    other.append([message(4), message(5)])
    assert keys(log) == ["k1", "k2", "k3", "k4", "k5"]


@pytest.mark.parametrize("lacking", [1, 2, 3])
@pytest.mark.parametrize("most", [1, ALWAYS], ids=["once", "always"])
@pytest.mark.parametrize("action", ["append", "delete", "delete_before", "seal", "cut_past", "present"])
def test_nothing_is_done_to_a_version_that_is_not_the_newest(
    proxy: Proxy, folder: BucketPath, action: str, lacking: int, most: int
) -> None:
    before = keys(filled(folder, 3))
    log = StreamLog(folder, "predict", "test")
    actions: dict[str, Callable[[], object]] = {
        "append": lambda: log.append([message(3), message(4)]),
        "delete": lambda: log.delete(["k1"]),
        "delete_before": lambda: log.delete_before(START),
        "seal": log.seal,
        "cut_past": log.cut_past,
        "present": lambda: log.whole(exact=True),
    }
    with proxy.faults(lagging(lacking, most)), pytest.raises(BucketError, match="not listed yet"):
        actions[action]()
    assert keys(log) == before
    actions[action]()


@pytest.mark.parametrize("lacking", [1, 2])
@pytest.mark.parametrize("most", [1, ALWAYS], ids=["once", "always"])
def test_compacting_removes_no_file_that_it_did_not_see(
    proxy: Proxy, folder: BucketPath, lacking: int, most: int
) -> None:
    before, log = keys(filled(folder, 3)), StreamLog(folder, "predict", "test")
    with proxy.faults(lagging(lacking, most)), contextlib.suppress(BucketError):
        log.compact(1, 0)
    assert keys(log) == before


@pytest.mark.parametrize("lacking", [1, 2, 3])
def test_an_erasure_that_sees_only_a_part_of_a_log_erases_nothing(proxy: Proxy, place: Place, lacking: int) -> None:
    store = Store(place, "test")
    sender = Sender(store)
    for key in ("a", "b"):
        send(sender, key)
        store.writer.catch_up()
    other = Store(place, "test")
    for forget in (lambda: other.writer.forgettable(keys=["b"]), lambda: other.writer.forget_keys(["b"])):
        with proxy.faults(lagging(lacking)), pytest.raises(BucketError, match="not listed yet"):
            forget()
    assert dict(other.writer.forget_keys(["b"]).records) == {"predict": 1}
    assert keys(store.reader.log("predict")) == ["a"]
    for each in (store, other):
        assert each.metric("predict", "rows").value.value == 1
        each.close()


@pytest.mark.parametrize("what", ["cut", "a gap", "all of it"])
def test_a_listing_that_lags_is_not_taken_for_damage(proxy: Proxy, place: Place, what: str) -> None:
    store = Store(place, "test")
    sender = Sender(store)
    for key in "abcde":
        send(sender, key)
        store.writer.catch_up()
    log = store.reader.log("predict")
    if what == "cut":  # all that is left is the last commit, its checkpoint, and what names it
        store.writer.forget_keys(["a"])
    if what == "a gap":  # an old one is the last that was written
        path = BucketPath.of(f"{log.folder}/_delta_log/{2:020d}.json")
        path.write_bytes(path.read_bytes())
    before, found = keys(log), {path.key for path in (BucketPath.of(f"{log.folder}/_delta_log")).iterdir()}
    send(sender, "f")
    store.close()
    for lacking in {"cut": (2, 3), "a gap": (1,), "all of it": (5,)}[what]:
        other = Store(place, "test")
        with proxy.faults(lagging(lacking)):
            with pytest.raises(BucketError, match="not listed yet"):
                other.reader.log("predict").whole()
            other.writer.catch_up()
            assert "not listed yet" in other.writer.standing.stuck["predict"]
            problems = examine(place, "test")
            assert {problem.kind for problem in problems if "not listed yet" not in problem.message} <= {"waiting"}
            with pytest.raises(BucketError, match="not listed yet"):
                list(mended(place, "test"))
        other.close()
        assert {path.key for path in (BucketPath.of(f"{log.folder}/_delta_log")).iterdir()} == found
        assert keys(log) == before
    again = Store(place, "test")
    assert again.metric("predict", "rows").value.value == len(before) + 1
    again.close()


@pytest.mark.parametrize("kind", ["GET", "HEAD"])
@pytest.mark.parametrize("most", [0, SMALL], ids=["in pieces", "at once"])
def test_what_a_bucket_did_not_give_is_counted_as_soon_as_it_does(
    proxy: Proxy, place: Place, kind: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.engine.duckdb.files.SMALL", most)
    store = Store(place, "test")
    send(Sender(store), "a")
    store.writer.collect()
    log = store.reader.log("predict")
    if most:  # in pieces, it is the engine to which the bucket says no
        RECENT.drop(log.folder)
    with proxy.counting() as passed, proxy.faults(Plan(refuse=1.0, kinds=(kind,), paths="part-.*parquet")):
        store.writer.catch_up()
        with pytest.raises(BucketError, match="try again"):
            log.whole().records(None, [KEY])
    assert passed().faults["refuse"]
    assert store.metric("predict", "rows").value.value == 1
    store.close()


def test_an_append_asks_once_whether_another_commit_has_come(
    folder: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, asked = filled(folder, 3), list[int]()

    def exists(folder: BucketPath, version: int) -> bool:
        asked.append(version)
        return commits.exists(folder, version)

    monkeypatch.setattr(opened, "exists", exists)
    log.append([message(4)])
    assert asked == [2, 3]  # the version that is open, and the one that would follow
