"""``fourfold serve`` as a process: it counts what it takes, whatever dies, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
from pathlib import Path

import httpx2 as httpx
import pytest

from fourfold.config import Settings
from fourfold.model import Address, Place
from fourfold.serve.children import COUNT, Children
from fourfold.store import Store
from tests.collectors import children, collector, is_gone, wait_until
from tests.services import postgres
from tests.support import START, Sender

pytestmark = pytest.mark.services


def counted(place: Address, project: str, stream: str) -> float:
    """How many records of a stream are counted already, without counting any."""
    from fourfold.query.metric import metric
    from fourfold.query.reader import Reader

    reader = Reader.open(place, project)
    try:
        return metric(reader, stream, "rows")[0].value.value or 0.0
    except Exception:  # not there yet
        return 0.0
    finally:
        reader.close()


def send(address: str, project: str, stream: str, n: int) -> None:
    rows = [{"n": i} for i in range(n)]
    answer = httpx.post(f"{address}/v1/streams/{stream}/records?project={project}", json=rows, timeout=60)
    assert answer.json() == {"taken": n, "rejected": []}


def test_what_is_taken_is_counted_for_each_project_and_what_dies_is_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with collector(folder) as (server, address):
        send(address, "flights", "predict", 10)
        send(address, "payments", "score", 5)
        wait_until(lambda: counted(str(folder), "flights", "predict") == 10)
        wait_until(lambda: counted(str(folder), "payments", "score") == 5)
        [counting] = children(server)
        os.kill(counting, signal.SIGKILL)
        wait_until(lambda: bool(children(server)) and counting not in children(server))
        send(address, "flights", "predict", 7)
        wait_until(lambda: counted(str(folder), "flights", "predict") == 17)
        [counting] = children(server)
    wait_until(lambda: not Path(f"/proc/{counting}").exists())


def test_one_that_stands_still_is_ended_and_another_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.serve.children.BEAT", 0.2)
    monkeypatch.setattr("fourfold.serve.children._SILENT", 50)
    store = Store(str(tmp_path / "store"), "flights")
    sender = Sender(store)
    with Children((COUNT,), Settings(str(tmp_path / "store"), "flights")) as beside:
        [child] = beside.all
        sender.records("predict", [{"key": "a", "time": START, "log_time": START}])
        wait_until(lambda: counted(str(tmp_path / "store"), "flights", "predict") == 1)
        first = child.process
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        sender.records("predict", [{"key": "b", "time": START, "log_time": START}])
        wait_until(lambda: counted(str(tmp_path / "store"), "flights", "predict") == 2)
        assert child.process not in (None, first) and is_gone(first)
    store.close()


def test_a_server_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    with collector(tmp_path / "store") as (server, address):
        send(address, "flights", "predict", 1)
        wait_until(lambda: bool(children(server)))
        [counting] = children(server)
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{counting}").exists() or "Z" in Path(f"/proc/{counting}/stat").read_text())


def test_counting_can_be_left_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with collector(folder, "--no-count") as (server, address):
        send(address, "flights", "predict", 3)
        assert not children(server)
        assert len(list((folder / "inbox").iterdir())) == 1
        with contextlib.closing(Store(str(folder), "flights")) as store:
            assert store.metric("predict", "rows")[0].value.value == 3


def test_a_store_is_watched_where_fourfold_toml_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fourfold.toml").write_text("[watch]\ndays = 30\n")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "store"
    with collector(folder) as (server, address):
        wait_until(lambda: len(children(server)) == 2)
        send(address, "flights", "predict", 3)
        wait_until(lambda: counted(str(folder), "flights", "predict") == 3)
    with collector(folder, "--no-watch") as (server, _):
        wait_until(lambda: len(children(server)) == 1)
    with collector(folder) as (server, _):  # now there is something to judge
        wait_until(lambda: _remembered(folder) > 0)


def _remembered(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "state.db")) as connection:
        found: int = connection.execute("select count(*) from memory").fetchone()[0]
        return found


def test_two_collectors_on_one_store_count_each_record_once(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with collector(folder) as (_, first), collector(folder) as (_, second):
        for n in range(1, 11):
            send(first if n % 2 else second, "flights", "predict", n)
        wait_until(lambda: counted(str(folder), "flights", "predict") == 55)
    with contextlib.closing(Store(str(folder), "flights")) as store:
        assert store.metric("predict", "rows")[0].value.value == 55


def test_several_collectors_on_one_state_in_postgresql_and_one_bucket_count_each_record_once(
    bucket: str, tmp_path: Path
) -> None:
    place = Place(bucket, postgres().address())
    shared = {"FOURFOLD_STATE": place.state}
    sent = 0

    def all_are_counted() -> bool:
        return counted(place, "flights", "predict") == sent

    with collector(bucket, environment=shared) as (_, stays):
        for round_ in range(3):
            with collector(bucket, environment=shared) as (server, other):
                for n in range(1, 6):
                    send(stays if n % 2 else other, "flights", "predict", n)
                    sent += n
                if round_ < 2:  # with what counts for it; the one that stays goes on
                    os.kill(server, signal.SIGKILL)
                wait_until(all_are_counted)
    assert sent == 45
    with contextlib.closing(Store(place, "flights")) as store:
        assert store.metric("predict", "rows")[0].value.value == sent
        assert store.writer.quarantined() == []


def test_a_wrong_setting_of_the_watch_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from fourfold.cli import app

    (tmp_path / "fourfold.toml").write_text("[watch]\ndays = 'soon'\n")
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, ["serve", "--port", "0", "--store", str(tmp_path / "store")])
    assert answer.exit_code != 0 and "days" in str(answer.exception)
    assert not (tmp_path / "store").exists()


def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "collector.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if block.startswith("curl")]
    assert len(blocks) == 2
    with collector(tmp_path / "store") as (_, address):
        for block in blocks:
            typed = block.replace("http://127.0.0.1:4404", address).replace("-H 'Authorization: Bearer TOKEN'", "")
            said = subprocess.run(["sh", "-ec", typed], capture_output=True, text=True, check=True).stdout
            assert '"taken":1' in said and "error" not in said
        wait_until(lambda: counted(tmp_path / "store", "flights", "predict") == 1)
    with contextlib.closing(Store(str(tmp_path / "store"), "flights")) as store:
        store.writer.catch_up()
        assert not store.writer.quarantined()
