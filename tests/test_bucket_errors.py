"""A bucket that cannot be asked: what is told, how long it takes, and that it is never taken for damage or absence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import fourfold as ff
from fourfold.errors import StoreError
from fourfold.ingest.mending import mended
from fourfold.ingest.retry import retry
from fourfold.log import BucketError, BucketPath, Message, StreamLog
from fourfold.model import Place
from fourfold.model.records import BATCH, KEY, META
from fourfold.reports.doctor import examine
from fourfold.store import Store
from tests.faultproxy import Plan
from tests.objects import Proxy
from tests.support import START, Sender

pytestmark = pytest.mark.services

AWAY = Plan(refuse=1.0)
LOG = Plan(refuse=1.0, paths="_delta_log/0")
DATA = Plan(refuse=1.0, paths=r"part-\d+.*parquet")


@pytest.fixture
def place(bucket: str, tmp_path: Path) -> Place:
    return Place(bucket, str(tmp_path / "state"))


@pytest.fixture
def kept(place: Place) -> Iterator[Store]:
    """A store in the bucket with two commits of a stream, all counted."""
    store = Store(place, "test")
    sender = Sender(store)
    for i in range(2):
        row = {"key": f"k{i}", "time": START + i, "log_time": START + i, "score": 0.5}
        sender.records("predict", [row])
        store.writer.catch_up()
    yield store
    store.close()


def rows(place: Place) -> float:
    """How many records a process sees that opens the store now."""
    store = Store(place, "test")
    found = store.metric("predict", "rows").value.value
    store.close()
    assert found is not None
    return found


def names(bucket: str, *below: str) -> set[str]:
    folder = BucketPath.of(bucket)
    for part in below:
        folder /= part
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("plan", [AWAY, LOG, DATA], ids=["all", "commits", "data"])
def test_mending_moves_nothing_while_the_bucket_does_not_answer(
    kept: Store, place: Place, proxy: Proxy, bucket: str, plan: Plan
) -> None:
    kept.close()
    before = names(bucket, "log", "test", "predict", "_delta_log"), names(bucket, "log", "test", "predict")
    with proxy.faults(plan), pytest.raises(BucketError, match="try again"):
        list(mended(place, "test"))
    after = names(bucket, "log", "test", "predict", "_delta_log"), names(bucket, "log", "test", "predict")
    assert before == after
    assert "quarantine" not in names(bucket)
    assert rows(place) == 2.0


def test_doctor_says_that_the_bucket_does_not_answer_and_not_that_the_log_is_damaged(
    kept: Store, place: Place, proxy: Proxy
) -> None:
    kept.close()
    with proxy.faults(LOG):
        (problem,) = examine(place, "test")
    assert problem.kind == "unusable_store"
    assert "overloaded" in problem.message
    assert "mend" not in problem.advice
    assert examine(place, "test") == []


def test_a_log_is_not_counted_from_the_start_because_a_commit_could_not_be_asked_for(
    kept: Store, place: Place, proxy: Proxy
) -> None:
    Sender(kept).records("predict", [{"key": "new", "time": START, "log_time": START + 9, "score": 0.5}])
    kept.writer.collect()
    log = kept.writer.log("predict")
    with proxy.faults(Plan(refuse=1.0, paths="_delta_log/0+1.json")), pytest.raises(BucketError):
        log.changes(-1)
    assert rows(place) == 3.0


def test_a_message_that_could_not_be_read_once_is_taken_by_the_same_process_later(kept: Store, proxy: Proxy) -> None:
    Sender(kept).records("predict", [{"key": "new", "time": START, "log_time": START + 9, "score": 0.5}])
    with proxy.faults(Plan(refuse=1.0, paths="inbox/.*arrow")):
        kept.writer.catch_up()
    assert kept.writer.standing.behind
    assert kept.metric("predict", "rows").value.value == 3.0
    assert not kept.writer.standing.left


def test_a_quarantine_that_could_not_be_read_keeps_what_is_in_it(kept: Store, proxy: Proxy, bucket: str) -> None:
    Sender(kept).records("predict", [{"key": "odd", "time": START, "log_time": START + 9, "score": "no number"}])
    kept.writer.catch_up()
    assert len(kept.writer.quarantined()) == 1
    with proxy.faults(Plan(refuse=1.0, paths="quarantine/.*parquet")), pytest.raises(BucketError):
        kept.writer.forget_keys(["k0"], force=True)
    assert len(names(bucket, "quarantine")) == 2
    forgotten = kept.writer.forget_keys(["odd"], force=True)
    assert forgotten.quarantined == 1
    assert names(bucket, "quarantine") == set()


def test_a_log_whose_checkpoint_hint_is_gone_is_still_there(kept: Store, place: Place, bucket: str) -> None:
    kept.writer.forget_keys(["k0"])  # which leaves a checkpoint and no older commits
    kept.close()
    log = BucketPath.of(bucket) / "log" / "test" / "predict" / "_delta_log"
    assert "00000000000000000000.json" not in names(bucket, "log", "test", "predict", "_delta_log")
    (log / "_last_checkpoint").unlink()
    store = Store(place, "test")
    assert store.writer.log("predict").rows == 1
    store.close()


def test_a_damaged_log_in_a_bucket_is_mended_as_one_on_a_disk(kept: Store, place: Place, bucket: str) -> None:
    kept.close()
    folder = BucketPath.of(bucket) / "log" / "test" / "predict" / "_delta_log"
    (folder / f"{1:020d}.json").write_bytes(b"{not a commit")
    assert any("commit 1 is damaged" in problem.message for problem in examine(place, "test"))
    assert any("moved aside" in step for step in mended(place, "test"))
    assert rows(place) == 2.0


def test_all_commits_of_a_log_may_be_moved_aside_and_rebuilt(kept: Store, place: Place, bucket: str) -> None:
    kept.close()
    folder = BucketPath.of(bucket) / "log" / "test" / "predict" / "_delta_log"
    (folder / f"{0:020d}.json").unlink()
    list(mended(place, "test"))
    assert rows(place) == 2.0


def test_an_entry_of_the_quarantine_is_taken_again(kept: Store, bucket: str) -> None:
    Sender(kept).records("predict", [{"key": "odd", "time": START, "log_time": START + 9, "score": "high"}])
    kept.writer.catch_up()
    (entry,) = kept.writer.quarantined()
    (again,) = retry(kept.writer)
    assert not again.taken
    assert entry.path.startswith(bucket)
    message = BucketPath.of(bucket) / "inbox" / "w-1-000000000001.arrow"
    message.write_bytes(b"no message")
    kept.writer.catch_up()
    assert next(found.message for found in retry(kept.writer) if found.batch == message.stem).endswith("(checksum)")


@pytest.mark.parametrize("plan", [AWAY, Plan(drop_before=1.0), Plan(drop_after=1.0)], ids=["503", "ends", "ends-after"])
def test_a_question_to_a_bucket_that_is_away_is_an_error_of_ours(
    kept: Store, place: Place, proxy: Proxy, plan: Plan
) -> None:
    with proxy.faults(plan), pytest.raises(BucketError):
        kept.metric("predict", "rows")
    with proxy.faults(plan), pytest.raises(BucketError):
        Store(place, "test").metric("predict", "rows")
    assert kept.metric("predict", "rows").value.value == 2.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_a_process_that_has_used_the_bucket_logs(proxy: Proxy, bucket: str, tmp_path: Path) -> None:
    script = (
        f"import os, multiprocessing, fourfold as ff\n"
        f"ff.init({bucket!r}, 'test', state={str(tmp_path / 'state')!r})\n"
        f"ff.log('predict', key='parent', score=0.5)\nff.flush()\n"
        f"child = os.fork()\n"
        f"if child == 0:\n    ff.log('predict', key='fork', score=0.5)\n    ff.flush()\n    os._exit(0)\n"
        f"assert os.waitpid(child, 0)[1] == 0\n"
        f"def work():\n    ff.log('predict', key='worker', score=0.5)\n"
        f"process = multiprocessing.get_context('fork').Process(target=work)\n"
        f"process.start()\nprocess.join()\nassert process.exitcode == 0\n"
    )
    environment = {**os.environ, "FOURFOLD_SPOOL": str(tmp_path / "spool")}
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120, env=environment)
    assert rows(Place(bucket, str(tmp_path / "state"))) == 3.0


def test_of_several_writers_of_one_table_at_once_no_commit_is_lost(proxy: Proxy, bucket: str) -> None:
    folder = BucketPath.of(bucket) / "log" / "test" / "predict"

    def append(writer: int) -> int:
        log, done = StreamLog(folder, "predict", "test"), 0
        for number in range(1, 5):
            row = {KEY: [f"{writer}-{number}"], BATCH: [f"w{writer}-{number:012d}"], "score": [0.5]}
            table = pa.table({**{f.name: pa.nulls(1, f.type) for f in META}, **row})
            for _ in range(20):
                try:
                    log.append([Message(f"w{writer}", number, {}, table)])
                    done += 1
                    break
                except StoreError:  # another was quicker, and it is unknown what was appended
                    log.opened.close()
        return done

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(append, range(3))) == [4, 4, 4]
    log = StreamLog(folder, "predict", "test")
    keys = log.whole().records(pc.scalar(True), [KEY])[KEY].to_pylist()
    assert sorted(keys) == sorted(f"{writer}-{number}" for writer in range(3) for number in range(1, 5))


def test_a_flush_to_no_bucket_says_so(proxy: Proxy, tmp_path: Path) -> None:
    session = ff.init("s3://there-is-none/store", "test", state=str(tmp_path))
    ff.log("predict", key="a", score=0.5)
    with pytest.raises(StoreError, match="there is no such bucket"):
        ff.flush()
    with pytest.raises(StoreError, match="there is no such bucket"):
        Store(session.settings.place, "test").metric("predict", "rows")
    session.close()


def test_one_odd_value_among_good_ones_costs_no_other_record(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL", str(tmp_path / "spool"))
    session = ff.init(place.store, "test", state=place.state)
    for i, score in enumerate([0.25, "odd", 0.75]):
        ff.log("predict", key=f"k{i}", score=score, time=START)
    ff.flush()
    assert rows(place) == 3.0
    store = session.store
    assert store.metric("predict.score", "mean").value.value == 0.5
    assert store.metric("predict.score", "null_rate").value.value == pytest.approx(1 / 3)
    (kept_aside,) = store.writer.quarantined()
    assert (kept_aside.column, kept_aside.rows) == ("score", 1)
    session.close()


def test_the_server_that_is_named_for_s3_alone_is_that_of_all_clients(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    store = Store(place, "test")
    Sender(store).records("predict", [{"key": "k", "time": START, "log_time": START, "score": 0.5}])
    store.writer.catch_up()
    assert store.metric("predict", "rows").value.value == 1.0
    store.close()
