"""Logging to a collector: the host never waits for it, and what it does not take now is kept on this machine's disk."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import ipaddress
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import fourfold as ff
from fourfold import config
from fourfold.config import PLAUSIBLE
from fourfold.log import messages, store_folder
from fourfold.log.collector import CollectorInbox
from fourfold.log.writers import message_id
from fourfold.model import Endpoint
from fourfold.model.access import Role
from fourfold.sdk import Session, plans, sender, shipping
from fourfold.sdk import session as session_module
from fourfold.sdk.columns import Columns
from fourfold.sdk.form import Form
from fourfold.sdk.plain import Plain, Rows
from fourfold.sdk.record import Record
from fourfold.sdk.spool import Spool, SpoolFullError, spool_folder
from fourfold.state import tokens
from fourfold.store import Store
from tests.collectors import TAKEN, Asked, Says, Scripted, keys_in, real, scripted, wait_until

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
processes = pytest.mark.services  # one after the other, they take long
ELSEWHERE = "0.0.0.0"  # another name of this machine, which does not say so
NOW = 1_710_037_800_000_000_000  # nanoseconds since 1970
SECRET = "ff_a-secret-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A spool of the test's own, and little time between two tries."""
    monkeypatch.setenv("FOURFOLD_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(shipping, "SOONEST", 0.05)
    monkeypatch.setattr(shipping, "LATEST", 0.2)


@pytest.fixture
def collector() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def session(collector: Scripted) -> Iterator[Session]:
    started = ff.init(collector.address, "test")
    yield started
    collector.script = lambda _: TAKEN
    started.close()


def kept(address: str, project: str = "test", suffix: str = ".arrow") -> list[Path]:
    """The messages in the spool, of all processes, whose folders come and go, without those that were refused."""
    spool = spool_folder(address, project=project)
    of_writers = (each for each in os.walk(spool) if Path(each[0]) != spool and Path(each[0]).name != "refused")
    return sorted(Path(folder) / name for folder, _, names in of_writers for name in names if name.endswith(suffix))


def flush_soon(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.4) -> None:
    """Let a flush wait no longer than a test should."""
    monkeypatch.setattr(shipping, "FLUSH_WITHIN", seconds)
    monkeypatch.setattr(shipping, "AWAY_WITHIN", seconds)


def frame(key: str, rows: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"id": [key] * rows, "score": [0.5] * rows})


# with the real one --------------------------------------------------------------------------------------------------


def test_what_was_flushed_is_in_the_store_behind_the_collector_once(tmp_path: Path) -> None:
    with real(tmp_path / "store") as (address, _):
        session = ff.init(address, "test")
        ff.task("late", prediction="predict.score", label="arrivals.late")
        ff.log("predict", key="a", score=0.9)
        ff.log("predict", frame("b"), key="id")
        ff.log("predict", [{"id": "c", "score": 0.1}], key="id")
        ff.log("arrivals", key="a", late=True)
        with ff.run("train", params={"depth": 6}) as run:
            run.input("x", frame("d", 50))
            run.metric("auc", 0.8)
        ff.flush()
        assert keys_in(tmp_path / "store") == ["a", "a", "b", "c"]
        assert kept(address) == []
        session.close()
    store = Store(str(tmp_path / "store"), "test")
    assert store.metric("predict", "rows")[0].value.value == 3
    assert store.metric("late", "recall")[0].value.value == 1
    assert store.metric("train.x.score", "mean")[0].value.value == pytest.approx(0.5, abs=0.02)
    store.close()


@pytest.mark.parametrize("forms", [(Columns, Plain), (Plain, Columns)])
def test_what_fourfold_and_its_client_leave_in_one_spool_either_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forms: tuple[type[Form], type[Form]]
) -> None:
    with real(tmp_path / "store") as (address, _):
        folder = spool_folder(address, project="test")
        first, form = Spool(folder, forms[0]()), forms[0]()
        [batch] = form.of_records([Record("predict", None, {"v": 1.0}, "left", None, NOW, None)], PLAUSIBLE)
        first.put("writer", 1, messages.records("test", "predict", None, None), batch.payload)
        first.close()
        monkeypatch.setattr(session_module, "usual", forms[1])
        session = ff.init(address, "test")
        ff.log("predict", key="own", v=2.0)
        ff.flush()
        wait_until(lambda: keys_in(tmp_path / "store") == ["left", "own"])
        wait_until(lambda: kept(address, suffix="") == [])
        session.close()


@forks
def test_a_process_that_cannot_send_leaves_what_others_left_to_one_that_can(
    collector: Scripted, session: Session
) -> None:
    folder = spool_folder(collector.address, project="test")
    dead = Spool(folder, Columns())
    dead.put("dead", 1, messages.records("test", "predict", None, None), pa.table({"x": range(500)}))
    collector.script = lambda _: Says(401)
    ff.log("predict", key="a", v=1.0)  # this process begins to send; at its start it takes over what it finds
    dead.close()
    session.sender._shipper._look_at = 0.0  # type: ignore[union-attr]
    other = Spool(folder, Columns())

    def taken() -> bool:
        other.take_over()
        return bool(other._left)

    wait_until(taken)
    assert (found := other.take()) is not None and found.path.stem == message_id("dead", 1)
    other.close()
    collector.script = lambda _: TAKEN
    wait_until(lambda: len(collector.taken) >= 2)
    wait_until(lambda: kept(collector.address) == [])


def test_many_runs_travel_in_parts(collector: Scripted, session: Session) -> None:
    text = "x" * 90_000
    for number in range(100):
        with ff.run("train", params={"text": f"{number} {text}"}):
            pass
    ff.flush()
    sizes = [len(content) for content in collector.taken.values()]
    assert max(sizes) < 10_000_000 and sum(sizes) > 9_000_000
    runs = {json.loads(text)["id"] for m in collector.messages() for text in m.header.get("runs", ())}
    assert len(runs) == 100


def test_records_of_the_client_travel_in_parts_that_a_collector_takes() -> None:
    sizes = [1, 1, 90, 10, 200, 1, 99, 1]
    parts = Plain().parts(Rows(tuple("x" * size for size in sizes)), 100)
    assert [len(text) for part in parts for text in part.texts] == sizes
    assert [part.num_rows for part in parts] == [3, 1, 1, 2, 1]


@pytest.mark.parametrize(("form", "encoding"), [(Columns, "zstd"), (Plain, "gzip")])
def test_what_goes_to_another_machine_is_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: type[Form], encoding: str
) -> None:
    monkeypatch.setattr(session_module, "usual", form)
    sent = []
    exchange = CollectorInbox._exchange

    def noted(self: Any, connection: Any, method: str, path: str, content: bytes | None, headers: Any) -> Any:
        sent.append((headers.get("Content-Encoding"), len(content or b"")))
        return exchange(self, connection, method, path, content, headers)

    monkeypatch.setattr(CollectorInbox, "_exchange", noted)
    records = [{"id": f"k{n:03d}", "score": 0.5, "carrier": "AA"} for n in range(200)]
    for host in (ELSEWHERE, "127.0.0.1"):
        with real(tmp_path / host, host=host) as (address, _):
            session = ff.init(address, "test")
            for record in records:
                ff.log("predict", record, key="id")
            ff.flush()
            session.close()
        assert keys_in(tmp_path / host) == [record["id"] for record in records]
    (away, packed), *_ = sent
    (here, plain), *_ = sent[-1:]
    assert (away, here) == (encoding, None) and packed < plain / 2


def certificate(folder: Path) -> Path:
    """One for this machine that it has signed itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fourfold")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def test_https_is_used_with_a_certificate_that_is_trusted_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = certificate(tmp_path)
    flush_soon(monkeypatch)
    with real(tmp_path / "store", certificate=trusted) as (address, _):
        session = ff.init(address, "test")
        ff.log("predict", key="a", score=0.9)
        with pytest.raises(ff.StoreError, match="certificate"):
            ff.flush()
        assert keys_in(tmp_path / "store") == [] and len(kept(address)) == 1
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        ff.flush()
        assert keys_in(tmp_path / "store") == ["a"]
        session.close()


def test_a_token_opens_the_collector_and_is_read_anew_for_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with real(tmp_path / "store") as (address, service):

        def made(projects: list[str]) -> str:
            with service.database.write() as connection:
                return tokens.create(connection, "a service", Role.INGEST, projects, 0.0)[1]

        foreign, good = made(["payments"]), made(["test"])
        flush_soon(monkeypatch)
        session = ff.init(address, "test")
        ff.log("predict", key="a", score=0.9)
        with pytest.raises(ff.StoreError, match="401 Unauthorized: a token is needed"):
            ff.flush()
        file = tmp_path / "token"
        file.write_text(f"{foreign}\n")
        monkeypatch.setenv("FOURFOLD_TOKEN_FILE", str(file))
        with pytest.raises(ff.StoreError, match="403 Forbidden: this token is not good for the project 'test'"):
            ff.flush()
        assert len(kept(address)) == 1, "nothing is lost meanwhile"
        file.write_text(good)
        flush_soon(monkeypatch, 30.0)
        ff.flush()
        assert keys_in(tmp_path / "store") == ["a"]
        session.close()
    assert good not in caplog.text
    assert foreign not in caplog.text


def test_two_processes_count_a_component_by_the_same_bins(tmp_path: Path) -> None:
    with real(tmp_path / "store") as (address, _):
        for values in ([1.0, 2.0, 3.0, 4.0], [100.0, 200.0, 300.0, 400.0]):
            session = ff.init(address, "test")
            with ff.run("train/β") as run:  # a name that a path must not change
                run.input("x", pd.DataFrame({"age": values}))
            session.close()
            store = Store(str(tmp_path / "store"), "test")
            versions = store.caught_up().plan("train/β.x").binnings["age"]
            store.close()
            assert len(versions) == 1


# what a collector says ----------------------------------------------------------------------------------------------


def test_a_message_is_a_put_of_an_inboxs_file_beneath_the_path_of_the_address(
    collector: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOURFOLD_TOKEN", SECRET)
    session = ff.init(f"{collector.address}/monitoring/", "test")
    ff.log("predict", key="a", score=0.5)
    ff.flush()
    session.close()
    (asked,) = collector.asked
    assert (asked.method, asked.path.rpartition("/")[0]) == ("PUT", "/monitoring/v1/messages")
    assert asked.headers["Authorization"] == f"Bearer {SECRET}"
    assert collector.keys() == ["a"]


@pytest.mark.parametrize("status", [200, 201, 301, 400, 401, 403, 404, 409, 421, 500, 502, 503, 507])
def test_whatever_it_says_but_204_is_no_acknowledgement_and_all_is_kept_and_sent_later(
    status: int, collector: Scripted, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush_soon(monkeypatch, 0.2)
    collector.script = lambda _: Says(status, {"Location": "http://127.0.0.1:9/"}, b"<html>sign in</html>")
    ff.log("predict", key="a", score=0.5)
    with pytest.raises(ff.StoreError, match=f"it answers {status} .*1 messages are kept"):
        ff.flush()
    collector.script = lambda _: TAKEN
    flush_soon(monkeypatch, 30.0)
    ff.flush()
    assert collector.keys() == ["a"]
    assert kept(collector.address) == []


def test_why_it_takes_nothing_is_said_once_and_that_it_does_again_too(
    collector: Scripted, session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script = lambda _: Says(401, {}, b'{"error": {"status": 401, "message": "a token is needed"}}')
    flush_soon(monkeypatch)
    with caplog.at_level(logging.WARNING, "fourfold"):
        ff.log("predict", key="a", score=0.5)
        for _ in range(3):
            with pytest.raises(ff.StoreError):
                ff.flush()
        collector.script = lambda _: TAKEN
        flush_soon(monkeypatch, 30.0)
        ff.flush()
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "it answers 401 Unauthorized: a token is needed" in said[0]
    assert "is back" in said[1]


@pytest.mark.parametrize("status", [413, 422])
def test_a_message_that_it_will_never_take_is_kept_aside_and_counted_and_the_others_go_on(
    status: int, collector: Scripted, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"error": {"status": 422, "message": "more columns than 10000"}}'
    refused: set[str] = set()

    def script(asked: Asked) -> Says:
        if not refused or asked.path in refused:
            refused.add(asked.path)
            return Says(status, {}, body)
        return TAKEN

    ff.log("predict", frame("a", 7), key="id")
    collector.script = script
    with caplog.at_level(logging.WARNING, "fourfold"):
        ff.flush()
        for key in "bc":
            ff.log("predict", frame(key, 1), key="id")
        ff.flush()
        ff.flush()
    aside = list((spool_folder(collector.address, project="test") / "refused").iterdir())
    assert {path.stem for path in aside} == {path.rpartition("/")[2] for path in refused}
    assert sum("will not take a message" in record.message for record in caplog.records) == 1
    assert session.sender.dropped == 7 if collector.keys() == ["b", "c"] else session.sender.dropped == 1
    told = [message.header for message in collector.messages() if message.header.get("dropped")]
    assert told[-1]["dropped"]["records"] == session.sender.dropped
    assert "were refused: it answers" in told[-1]["reason"]
    assert "more columns than 10000" in told[-1]["reason"]
    assert told[-1]["dropped"]["why"].startswith("they were refused: it answers") and "kept in" in told[-1]["reason"]
    assert "faster" not in told[-1]["reason"], "what did not happen is not said"


def test_what_is_kept_aside_is_bounded(collector: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL_BYTES", "100_000")
    session = ff.init(collector.address, "test")
    collector.script = lambda _: Says(422)
    for i in range(30):
        ff.log("predict", frame(f"{i}", 10), key="id")
    ff.flush()
    aside = list((spool_folder(collector.address, project="test") / "refused").iterdir())
    assert 0 < sum(path.stat().st_size for path in aside) <= 100_000 / 8
    session.close()


def test_a_refused_message_that_is_too_large_to_be_kept_aside_costs_no_other_and_is_said_to_be_lost(
    collector: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL_BYTES", "100_000")
    session = ff.init(collector.address, "test")
    collector.script = lambda _: Says(422)
    aside = spool_folder(collector.address, project="test") / "refused"
    with caplog.at_level(logging.WARNING, "fourfold"):
        ff.log("predict", frame("a", 3), key="id")
        ff.flush()
        before = {path.name for path in aside.iterdir()}
        ff.log("predict", key="b", text="".join(map(chr, range(1_000, 21_000))))
        ff.flush()
        collector.script = lambda _: TAKEN
        ff.flush()
    assert before and {path.name for path in aside.iterdir()} >= before
    assert sum(path.stat().st_size for path in aside.iterdir()) <= 100_000 / 8
    said = [record.message for record in caplog.records if "will not take a message" in record.message]
    assert [f"It is kept in {aside}" in text for text in said] == [True, False]
    assert said[-1].endswith(f"It is not kept: alone it is larger than the 12 kB that {aside} may hold")
    session.close()
    why = [message.header for message in collector.messages() if message.header.get("dropped")][-1]["dropped"]["why"]
    assert why.startswith("3 were refused: it answers 422") and "; 1 were refused: it answers 422" in why
    assert f"(not kept: too large for {aside})" in why


def test_the_newest_of_what_is_refused_are_kept_however_old_their_messages_are(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Columns(), limit=8 * 10_000)
    header = messages.records("test", "predict", None, None)
    for i in range(6):
        spool.put("w", i, header, pa.table({"x": range(150 * (1 + i % 2))}))
    waiting = [spool.take() for _ in range(6)]
    became = [spool.refuse(message, "no") for message in reversed(waiting) if message is not None]
    kept_aside = sorted(path.stem for path in (tmp_path / "refused").iterdir())
    sizes = sum(path.stat().st_size for path in (tmp_path / "refused").iterdir())
    assert kept_aside == [message_id("w", i) for i in range(len(kept_aside))] and 1 < len(kept_aside) < 6
    assert sizes <= 10_000 and became[0].endswith("refused") and became[-1].endswith("older ones made room for it")
    spool.close()


@pytest.mark.parametrize("status", [429, 503])
def test_it_may_ask_for_a_pause_which_is_no_outage(
    status: int, collector: Scripted, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    def script(asked: Asked) -> Says:
        return Says(status, {"Retry-After": "0.2"}) if len(collector.asked) < 5 else TAKEN

    collector.script = script
    with caplog.at_level(logging.WARNING, "fourfold"):
        ff.log("predict", key="a", score=0.5)
        ff.flush()
    assert collector.keys() == ["a"]
    assert caplog.records == []


def test_a_connection_that_it_has_closed_meanwhile_is_opened_again(
    collector: Scripted, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script = lambda _: Says(closes=True)
    with caplog.at_level(logging.WARNING, "fourfold"):
        for i in range(20):
            ff.log("predict", frame(f"{i:02d}"), key="id")
            ff.flush()
    assert collector.keys() == [f"{i:02d}" for i in range(20)]
    assert caplog.records == []


def test_one_connection_carries_many_messages(collector: Scripted, session: Session) -> None:
    seen: collections.Counter[int] = collections.Counter()
    collector.script = lambda _: (seen.update([threading.get_ident()]), TAKEN)[1]
    for i in range(40):
        ff.log("predict", frame(f"{i:02d}"), key="id")
        ff.flush()
    assert len(collector.taken) == 40
    assert len(seen) <= shipping.THREADS, "each has its thread in the server"


def test_a_large_frame_travels_in_parts(collector: Scripted, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PART", 20_000)
    data = pd.DataFrame({"id": range(5_000), "score": [0.5] * 5_000})
    ff.log("predict", data, key="id")
    ff.flush()
    assert len(collector.taken) > 5
    assert max(len(content) for content in collector.taken.values()) < 100_000
    assert sorted(map(int, collector.keys())) == list(range(5_000))


def test_the_spool_holds_no_more_than_it_may(nobody: str, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL_BYTES", "200000")
    session = ff.init(nobody, "test")
    ff.log("predict", pd.DataFrame({"id": range(20_000), "score": [0.5] * 20_000}), key="id")
    wait_until(lambda: "is away" in caplog.text)
    held = sum(path.stat().st_size for path in kept(nobody))
    assert 100_000 < held < 250_000 and "(200 kB at most)" in caplog.text
    assert session.sender.dropped > 10_000
    session.close()


@forks
def test_processes_together_hold_no_more_than_the_spool_may(tmp_path: Path) -> None:
    several = [Spool(tmp_path, Columns(), limit=400_000) for _ in range(4)]
    header = messages.records("test", "predict", None, None)
    payload = pa.table({"x": range(500)})

    def fill() -> int:
        put = 0
        for number in range(1, 200):
            for writer, spool in enumerate(several):
                with contextlib.suppress(SpoolFullError):
                    spool.put(f"w{writer}", number, header, payload)
                    put += 1
        return put

    def held() -> int:
        return sum(path.stat().st_size for path in tmp_path.glob("*/*.arrow"))

    fill()
    assert 390_000 < held() < 440_000
    for message in iter(several[0].take, None):
        several[0].sent(message)
    before = held()
    assert before < 350_000
    for spool in several:
        spool._looked -= 5.0  # as after some seconds
    assert fill() > 0 and 390_000 < held() < 440_000, "what one has sent is room for all"
    for spool in several:
        spool.close()


# while it is away ---------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens, until somebody does."""
    with scripted() as server:
        return server.address


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


HANGS = Says(hangs=True)


def test_while_it_is_down_the_host_goes_on_and_all_arrives_when_it_is_there(
    nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush_soon(monkeypatch)
    session = ff.init(nobody, "test")
    ff.task("late", prediction="predict.score", label="arrivals.late")
    ff.log("predict", key="a", score=0.5)
    with pytest.raises(ff.StoreError, match=r"cannot be reached: .*2 messages are kept in .*spool"):
        ff.flush()
    session.close()
    assert len(kept(nobody)) == 2
    with scripted(port_of(nobody)) as server:
        session = ff.init(nobody, "test")  # the next process
        ff.log("predict", key="b", score=0.5)
        wait_until(lambda: not kept(nobody))
        session.close()
        assert server.keys() == ["a", "b"]


def test_while_it_hangs_the_host_goes_on_and_all_arrives_when_it_answers(
    collector: Scripted, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.script = lambda _: HANGS
    flush_soon(monkeypatch)
    for key in "abc":
        ff.log("predict", frame(key), key="id")
        ff.log("predict", key=f"{key}1", score=0.5)
    with pytest.raises(ff.StoreError, match="messages are kept"):
        ff.flush()
    collector.script = lambda _: TAKEN
    collector.over.set()
    flush_soon(monkeypatch, 30.0)
    ff.flush()
    assert sorted(set(collector.keys())) == ["a", "a1", "b", "b1", "c", "c1"]
    assert len(collector.keys()) == 6, "a message has one name, however often it is sent"


def test_beyond_the_spools_bytes_new_records_are_dropped_and_counted(
    collector: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL_BYTES", "20_000")
    collector.script = lambda _: Says(507)
    session = ff.init(collector.address, "test")
    for i in range(40):
        ff.log("predict", frame(f"{i:02d}", 10), key="id")
    dropped = session.sender.dropped
    assert 0 < dropped < 400
    assert sum(path.stat().st_size for path in kept(collector.address)) < 25_000
    collector.script = lambda _: TAKEN
    ff.flush()
    ff.flush()
    session.close()
    assert collector.keys() == [f"{i:02d}" for i in range(40 - dropped // 10) for _ in range(10)], "the oldest are kept"
    (told,) = [message.header for message in collector.messages() if message.header.get("dropped")]
    assert told["dropped"]["records"] == dropped
    assert told["dropped"]["why"].startswith("they found the spool full (FOURFOLD_SPOOL_BYTES")


# processes ----------------------------------------------------------------------------------------------------------

HOST = """
import os, sys, time, fourfold as ff
ff.init(sys.argv[1], "test")
ff.log("predict", {"id": ["a", "b"], "score": [0.5, 0.5]}, key="id")
ff.log("predict", key="c", score=0.5)
"""
ENDS = {
    "its end": ("", 0),
    "an error": ("raise SystemExit(7)", 7),
    "SIGTERM": ("os.kill(os.getpid(), 15); time.sleep(60)", -15),
    "SIGKILL": ("ff.sdk.session.session().sender.flush(); os.kill(os.getpid(), 9)", -9),
}


def host(address: str, code: str) -> subprocess.CompletedProcess[str]:
    """A process that logs and does something then; where it does not end, the test fails."""
    command = [sys.executable, "-W", "ignore", "-c", HOST + code, address]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@processes
@forks
@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_while_it_hangs_and_the_next_sends_what_was_left(end: str, collector: Scripted) -> None:
    code, status = ENDS[end]
    collector.script = lambda _: HANGS
    ended = host(collector.address, code)
    assert ended.returncode == status, ended.stderr
    assert len(kept(collector.address)) == 2
    collector.script = lambda _: TAKEN
    session = ff.init(collector.address, "test")
    wait_until(lambda: not kept(collector.address))
    session.close()
    assert collector.keys() == ["a", "b", "c"]
    assert list(spool_folder(collector.address, project="test").iterdir()) == [], "nothing is left of either"


@processes
def test_a_process_that_ends_sends_what_it_has(collector: Scripted) -> None:
    assert host(collector.address, "").returncode == 0
    assert collector.keys() == ["a", "b", "c"]
    assert kept(collector.address) == []


@processes
@forks
def test_a_process_killed_loses_the_last_second_at_most(collector: Scripted) -> None:
    ended = host(
        collector.address, "time.sleep(2.5)\nff.log('predict', key='too late', score=0.5)\nos.kill(os.getpid(), 9)"
    )
    assert ended.returncode == -9
    assert collector.keys() == ["a", "b", "c"]


FORKS = """
for i in range(4):
    ff.log("predict", {"id": [f"parent {i}"], "score": [0.5]}, key="id")
    if os.fork() == 0:
        ff.log("predict", key=f"child {i}", score=0.5)
        sys.exit(0)
assert [os.wait()[1] for _ in range(4)] == [0] * 4
"""


@processes
@forks
@pytest.mark.parametrize("hangs", [False, True])
def test_parents_and_children_each_send_their_own_once(hangs: bool, collector: Scripted) -> None:
    collector.script = lambda _: HANGS if hangs else TAKEN
    ended = host(collector.address, FORKS)
    assert ended.returncode == 0, ended.stderr
    if hangs:
        collector.script = lambda _: TAKEN
        session = ff.init(collector.address, "test")
        wait_until(lambda: not kept(collector.address))
        session.close()
    assert collector.keys() == sorted(["a", "b", "c", *(f"{who} {i}" for who in ("parent", "child") for i in range(4))])


# questions ----------------------------------------------------------------------------------------------------------

QUESTIONS: dict[str, Callable[[], Any]] = {
    "metric": lambda: ff.metric("predict", "rows"),
    "status": ff.status,
    "history": lambda: ff.history("train"),
    "incidents": ff.incidents,
    "check": ff.check,
    "runs": ff.runs,
    "trace": lambda: ff.trace("a"),
    "objectives": ff.objectives,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_says_where_to_ask_and_asks_nobody(question: str, collector: Scripted, session: Session) -> None:
    ff.log("predict", key="a", score=0.5)
    with pytest.raises(ff.ConfigError, match=r"is a collector: .* Ask where the store is: its pages are at"):
        QUESTIONS[question]()
    assert {asked.method for asked in collector.asked} <= {"PUT"}


@pytest.mark.parametrize("check", ["warn", "block", lambda result, history: "always wrong"])
def test_a_check_is_not_made_and_that_is_said_once(
    check: Any, collector: Scripted, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    @ff.component("train", check=check, expects={"age": {"min": 0}})
    def train() -> pd.DataFrame:
        return pd.DataFrame({"age": [-1.0]})

    with caplog.at_level(logging.WARNING, "fourfold"):
        for _ in range(3):
            assert len(train()) == 1
    assert sum("check= is not made" in record.message for record in caplog.records) == 1
    ff.flush()
    kinds = [message.header["kind"] for message in collector.messages()]
    assert kinds.count("counts") >= 1


@pytest.mark.parametrize(
    "says",
    [HANGS, Says(404), Says(200, {}, b"{}"), Says(200, {}, b"<html>"), Says(200, {}, b'{"binnings": {"x": [[1]]}}')],
    ids=["hangs", "not known", "nothing", "a page", "broken"],
)
def test_a_frame_is_counted_whatever_is_answered_to_how(
    says: Says, collector: Scripted, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "WAIT", 0.1)
    collector.script = lambda asked: says if asked.method == "GET" else TAKEN
    for _ in range(3):
        with ff.run("train") as run:
            run.input("x", pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0]}))
    ff.flush()
    counted = [message.header for message in collector.messages() if message.header["kind"] == "counts"]
    assert len(counted) == 3
    assert len({str(header["binnings"]) for header in counted}) == 1, "what was fixed here is kept to"
    assert sum(asked.method == "GET" for asked in collector.asked) == 1, "one that does not answer is left alone"


def test_a_store_in_a_bucket_is_not_asked_in_the_hosts_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from fourfold.query.reader import Reader

    asking, answer = threading.Event(), threading.Event()

    def opened(*_: Any, **__: Any) -> Reader:
        asking.set()
        answer.wait()
        raise ff.StoreError("it does not answer")

    monkeypatch.setattr(Reader, "open", opened)
    monkeypatch.setattr(plans, "WAIT", 0.1)
    monkeypatch.setattr(sender, "END_SHIPPING", 0.1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    session = ff.init("s3://bucket/path", "test", state="postgresql://127.0.0.1:9/none")
    found = session.plans.get("train.x")
    assert asking.is_set()
    assert not found.binnings, "it goes on without an answer"
    answer.set()
    session.close()


# addresses and secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("http://host", (False, "host", 80, "")),
        ("https://host/", (True, "host", 443, "")),
        ("HTTPS://Host:8443/a/b/", (True, "host", 8443, "/a/b")),
        ("http://[::1]:4404", (False, "::1", 4404, "")),
    ],
)
def test_an_address_is_read_and_said_as_it_is(address: str, parts: tuple[bool, str, int, str]) -> None:
    endpoint = Endpoint.of(address)
    assert endpoint == Endpoint(*parts)
    assert Endpoint.of(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "address",
    ["http://", "http://:80", "http://host:port", "http://host:70000", "http://ho st", "http://host/a\nb", "https://[::1",
     "http://ünïcode", "http://host?project=a", "http://host#a"],
)  # fmt: skip
def test_what_is_no_address_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ff.ConfigError, match="store="):
        ff.init(address, "test")


@pytest.mark.parametrize(
    "address", ["http://user:hidden@host", "https://hidden@host/path", "http://a:hidden@host:99999"]
)
@pytest.mark.parametrize("how", ["argument", "environment", "file"])
def test_an_address_with_a_password_is_refused_and_not_repeated(
    address: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "environment":
        monkeypatch.setenv("FOURFOLD_STORE", address)
    elif how == "file":
        Path("fourfold.toml").write_text(f'store = "{address}"')
    with pytest.raises(ff.ConfigError, match="holds credentials; give a token by FOURFOLD_TOKEN") as told:
        ff.init(address if how == "argument" else None, "test")
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize("secret", ["two words", "a\nnew line", "nöt ascii"])
def test_what_can_be_no_token_is_refused_at_the_start_and_not_repeated(
    secret: str, nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOURFOLD_TOKEN", secret)
    with pytest.raises(ff.ConfigError, match="FOURFOLD_TOKEN: a token has visible ASCII") as told:
        ff.init(nobody, "test")
    assert secret not in str(told.value)
    monkeypatch.delenv("FOURFOLD_TOKEN")
    monkeypatch.setenv("FOURFOLD_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(ff.ConfigError, match=r"FOURFOLD_TOKEN_FILE=.*cannot be read"):
        ff.init(nobody, "test")


def test_the_token_is_in_nothing_but_the_header(
    collector: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FOURFOLD_TOKEN", SECRET)
    flush_soon(monkeypatch)
    collector.script = lambda _: Says(403)
    session = ff.init(collector.address, "test")
    ff.log("predict", key="a", score=0.5)
    with pytest.raises(ff.StoreError) as told:
        ff.flush()
    session.close()
    spooled = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
    assert spooled
    for text in (repr(told.value), caplog.text, repr(vars(session)), repr(vars(session.collector)), repr(spooled)):
        assert SECRET not in text


def test_a_token_that_goes_over_a_network_in_the_open_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FOURFOLD_TOKEN", SECRET)
    with caplog.at_level(logging.WARNING, "fourfold"):
        ff.init("http://collector.invalid", "test").close()
    assert "goes over http, which others can read; use https" in caplog.text


def test_no_command_opens_a_collector_as_a_store() -> None:
    with pytest.raises(ff.ConfigError, match="is a collector"):
        store_folder(config.load("http://host", "test").store)
