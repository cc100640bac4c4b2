"""A state that stands still, as a database that is paused or behind a dead network: it neither answers nor fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from fourfold.log import state_at
from fourfold.model import Place
from fourfold.model.access import Role
from fourfold.serve import known
from fourfold.serve.api import settings
from fourfold.serve.known import AGAIN_AFTER
from fourfold.serve.service import LOOPBACK, Reach
from fourfold.state import catalogue, incidents, open_state, tokens
from fourfold.store import Store
from tests.collectors import collector, wait_until
from tests.services import postgres
from tests.test_incidents import an_incident
from tests.test_serve import Served, message, serving


class Gate:
    """Holds a state back while it is shut."""

    def __init__(self, served: Served) -> None:
        self._open = threading.Event()
        self._open.set()
        system, version = served.service.database.system, served.service.database.system.version

        def held() -> Any:
            self._open.wait(60)
            return version()

        system.version = held  # type: ignore[method-assign]

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Served]:
    for served in serving(tmp_path / "store", Reach(LOOPBACK, local=False)):
        served.service.lookups.within = 1.0
        yield served


def sent(served: Served, number: int, secret: str) -> httpx.Response:
    name, content = message(served.folder, number)
    return served.client.put(f"/v1/messages/{name}", content=content, headers=served.as_(secret))


def test_who_is_remembered_goes_on_sending_and_nobody_is_called_unknown(public: Served) -> None:
    sender, viewer, gate = public.token(Role.INGEST), public.token(Role.VIEWER), Gate(public)
    assert sent(public, 1, sender).status_code == 204
    with gate.shut():
        time.sleep(AGAIN_AFTER)
        assert sent(public, 2, sender).status_code == 204
        for answer in (sent(public, 3, "ff_unknown"), public.client.get("/api/home", headers=public.as_(viewer)),
                       public.client.get("/session", headers=public.as_(viewer))):  # fmt: skip
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
            assert "has not answered" in answer.json()["error"]["message"]
    wait_until(lambda: sent(public, 3, "ff_unknown").status_code == 401)
    assert public.client.get("/session", headers=public.as_(viewer)).json()["role"] == "viewer"
    assert len(list(public.service.inbox.pending())) == 2


def test_nobody_is_remembered_for_long(public: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    sender, gate = public.token(Role.INGEST), Gate(public)
    assert sent(public, 1, sender).status_code == 204
    monkeypatch.setattr(known, "LASTING", AGAIN_AFTER)
    with gate.shut():
        time.sleep(AGAIN_AFTER)
        assert sent(public, 2, sender).status_code == 503
    wait_until(lambda: sent(public, 2, sender).status_code == 204)


def test_how_the_server_is_is_answered_at_once_and_says_that_the_state_is_silent(public: Served) -> None:
    gate = Gate(public)
    with gate.shut():
        seen = []
        for _ in range(200):
            seen.append(public.client.get("/healthz").status_code)
            if seen[-1] == 503:
                break
            time.sleep(0.02)
        assert seen[0] == 200 and seen[-1] == 503
        assert public.client.get("/static/icon.svg").status_code == 200
    for _ in range(500):
        if public.client.get("/healthz").status_code == 200:
            return
        time.sleep(0.02)
    pytest.fail("it never was well again")


def test_those_who_ask_the_state_leave_threads_to_those_who_send(public: Served) -> None:
    sender, gate = public.token(Role.INGEST), Gate(public)
    assert sent(public, 1, sender).status_code == 204
    large = json.dumps([{"k": "x" * 1_000} for _ in range(100)])

    def plan(_: int) -> int:
        return public.client.get("/v1/streams/s/plan?project=flights", headers=public.as_(sender)).status_code

    with gate.shut(), ThreadPoolExecutor(60) as senders:
        asked = senders.map(plan, range(60))
        taken = public.client.post("/v1/streams/s/records?project=flights", content=large, headers=public.as_(sender))
        assert taken.json() == {"taken": 100, "rejected": []}
        assert set(asked) == {503}
    wait_until(lambda: plan(0) == 200)


def test_a_decision_waits_for_no_check_and_not_without_end_for_a_writer(
    public: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, database = public.token(Role.ADMIN), public.service.database
    with database.write() as connection:
        catalogue.add_stream(connection, "flights", "predict", None, None)
        incidents.save(connection, "flights", an_incident("1"))
    monkeypatch.setattr(settings, "WRITTEN_WITHIN", 1.0)

    def acknowledged() -> httpx.Response:
        path = "/api/incidents/1/acknowledge?project=flights"
        return public.client.post(path, json={}, headers=public.as_(admin))

    other = open_state(*state_at(public.service.settings.place))
    with other.lock("watch"):
        assert acknowledged().json()["data"]["incident"]["state"] == "acknowledged"
    with other.write():
        began = time.monotonic()
        answer = acknowledged()
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert "has not answered" in answer.json()["error"]["message"]
        assert time.monotonic() - began < 20
    wait_until(lambda: acknowledged().status_code == 200)
    other.close()


def backends(folder: Path) -> Sequence[int]:
    """All processes of a server of PostgreSQL."""
    postmaster = int((folder / "postmaster.pid").read_text().splitlines()[0])
    listed = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, listed)]


@pytest.mark.services
def test_a_paused_server_of_postgresql_keeps_nobody_waiting(tmp_path: Path) -> None:
    server = postgres()
    address = server.address()
    database = open_state(address, tmp_path)
    with database.write() as connection:
        secret = tokens.create(connection, "a sender", Role.ADMIN, (), time.time())[1]
    database.close()
    mine = {"Authorization": f"Bearer {secret}"}
    with collector(tmp_path / "store", "--project", "p", environment={"FOURFOLD_STATE": address}) as (_, home):

        def send(n: int, headers: dict[str, str] = mine) -> int:
            return httpx.post(
                f"{home}/v1/streams/s/records?key=k", json={"k": n}, headers=headers, timeout=30
            ).status_code

        assert send(0) == 200
        for process in backends(server.data):
            os.kill(process, signal.SIGSTOP)
        try:
            assert [send(n) for n in range(1, 20)] == [200] * 19
            assert send(20, {"Authorization": "Bearer ff_unknown"}) == 503
            assert httpx.get(f"{home}/api/home", headers=mine, timeout=30).status_code == 503
            assert httpx.get(f"{home}/static/icon.svg", timeout=30).status_code == 200
        finally:
            for process in backends(server.data):
                os.kill(process, signal.SIGCONT)
        wait_until(lambda: httpx.get(f"{home}/api/streams", headers=mine, timeout=60).status_code == 200)
    with contextlib.closing(Store(Place(str(tmp_path / "store"), address), "p")) as store:
        assert [row.value.value for row in store.metric("s", "rows")] == [20]
