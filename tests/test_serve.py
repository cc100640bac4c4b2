"""The server: who may do what, which requests are refused, and that what it acknowledges is stored once."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from fourfold.config import Settings
from fourfold.errors import StoreError
from fourfold.log import Inbox, Quarantine, messages
from fourfold.log.quarantine import Unnamed
from fourfold.model.access import Role
from fourfold.reports.problems import Problem, problems
from fourfold.sdk.batch import prepare
from fourfold.serve import background, routes
from fourfold.serve.app import ENDPOINTS, application
from fourfold.serve.known import AGAIN_AFTER
from fourfold.serve.service import LOOPBACK, Reach, Service
from fourfold.state import tokens
from fourfold.store import Store
from tests.collectors import wait_until
from tests.support import START, Sender

HOME = "http://127.0.0.1:4404"


@dataclasses.dataclass
class Served:
    service: Service
    client: TestClient
    folder: Path

    def token(self, role: Role, projects: Sequence[str] = ()) -> str:
        with self.service.database.write() as connection:
            return tokens.create(connection, f"a {role}", role, projects, time.time())[1]

    def as_(self, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach())


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach(LOOPBACK | {"monitor.example"}, local=False))


def serving(folder: Path, reach: Reach) -> Iterator[Served]:
    service = Service(Settings(str(folder), "flights"), reach)
    with TestClient(application(service), base_url=HOME, raise_server_exceptions=False) as client:
        yield Served(service, client, folder)


def message(folder: Path, number: int = 1, project: str = "flights", rows: int = 3) -> tuple[str, bytes]:
    """A message of a process, as its bytes."""
    inbox = Inbox(folder)
    [(prepared, _)] = prepare(pa.table({"score": [0.25 * i for i in range(rows)]}), None, None, time.time_ns(), None)
    name = inbox.put("writer", number, messages.records(project, "predict", None, None), prepared.table)
    path = folder / f"{name}.arrow"
    content = path.read_bytes()
    path.unlink()
    return name, content


def rows_of(served: Served) -> float | None:
    store = Store(str(served.folder), "flights")
    try:
        return store.metric("predict", "rows")[0].value.value
    finally:
        store.close()


def test_who_names_no_project_where_there_are_several_is_refused_and_shown_where_people_look(served: Served) -> None:
    event = {
        "eventTime": "2024-05-01T12:00:00Z", "eventType": "START", "run": {"runId": "r1"},
        "job": {"namespace": "etl", "name": "load"}, "producer": "x", "schemaURL": "x",
    }  # fmt: skip
    agent = {"User-Agent": "python-requests/2.32"}
    assert served.client.post("/api/v1/lineage", json=event, headers=agent).status_code == 200

    def told() -> list[Problem]:
        with contextlib.closing(Store(str(served.folder), "flights")) as store:
            return [p for p in problems(store.caught_up()) if p.kind == "unnamed_project"]

    assert told() == [], "there is one project"
    with contextlib.closing(Store(str(served.folder), "trains")) as other:
        Sender(other).records("predict", [{"key": "a", "time": START, "log_time": START, "v": 1.0}])
        other.caught_up()
    wait_until(lambda: served.client.post("/api/v1/lineage", json=event, headers=agent).status_code == 422)
    assert served.client.post("/v1/runs?project=trains", json={"id": "1", "component": "x"}).status_code == 200
    assert served.client.get("/api/home").status_code == 422
    wait_until(lambda: bool(told()))
    (problem,) = told()
    assert "python-requests/2.32" in problem.subject and "POST /api/v1/lineage" in problem.message
    assert "UTC: 1, the last at" in problem.message and "OPENLINEAGE_ENDPOINT" in problem.advice
    shown = served.client.get("/api/settings?project=trains").json()["data"]["problems"]
    assert [p["subject"] for p in shown if p["kind"] == "unnamed_project"] == [problem.subject]
    quarantine = Quarantine(served.folder / "quarantine")
    quarantine.note_unnamed("another", [Unnamed(problem.subject, "POST /v1/runs", 4, 5.0, time.time())])
    quarantine.note_unnamed("older", [Unnamed("nobody", "POST /v1/runs", 4, 5.0, 6.0)])
    (noted,) = quarantine.unnamed()
    assert (noted.requests, noted.first, noted.asked) == (5, 5.0, "POST /v1/runs"), "what is a day old is not told"
    assert not quarantine.entries()


def test_each_endpoint_asks_for_its_role_and_nothing_else_is_served(public: Served) -> None:
    secrets = {role: public.token(role) for role in Role}
    served = {(m, r.path) for r in public.client.app.routes if isinstance(r, Route) for m in (r.methods or ())}  # type: ignore[attr-defined]
    assert {pair for pair in served if pair[0] != "HEAD"} == {(e.method, e.path) for e in ENDPOINTS}
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{id}", "x")
        for role, secret in [(None, None), (None, "ff_wrong"), *secrets.items()]:
            headers = public.as_(secret) if secret else {}
            status = public.client.request(endpoint.method, path, headers=headers).status_code
            if endpoint.role is None or (role is not None and role.includes(endpoint.role)):
                assert status not in (401, 403), (endpoint, role)
            else:
                assert status == (401 if role is None else 403), (endpoint, role)


def test_a_store_without_tokens_is_open_on_this_machine_until_the_first_one_is_made(served: Served) -> None:
    name, content = message(served.folder / "made")
    assert served.client.put(f"/v1/messages/{name}", content=content).status_code == 204
    secret = served.token(Role.INGEST)
    time.sleep(AGAIN_AFTER)
    refused = served.client.put(f"/v1/messages/{name}", content=content)
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
    assert "fourfold tokens" in refused.json()["error"]["message"]
    assert served.client.put(f"/v1/messages/{name}", content=content, headers=served.as_(secret)).status_code == 204


def test_a_store_without_tokens_is_shut_elsewhere(public: Served) -> None:
    name, content = message(public.folder / "made")
    assert public.client.put(f"/v1/messages/{name}", content=content).status_code == 401


def test_a_revoked_token_is_refused_within_a_moment(public: Served) -> None:
    secret = public.token(Role.INGEST)
    name, content = message(public.folder / "made")
    assert public.client.put(f"/v1/messages/{name}", content=content, headers=public.as_(secret)).status_code == 204
    with public.service.database.write() as connection:
        assert tokens.revoke(connection, tokens.listed(connection)[0].id, time.time())
    time.sleep(AGAIN_AFTER)
    assert public.client.put(f"/v1/messages/{name}", content=content, headers=public.as_(secret)).status_code == 401


def test_a_project_that_cannot_be_counted_or_checked_costs_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_PAUSE", 0.05)
    each, done = background._Each("checking"), list[str]()

    def work(project: str) -> None:
        if project != "good":
            raise {"odd": TypeError("'>' not supported"), "full": StoreError("no room")}[project]
        done.append(project)

    for _ in range(3):
        each.of(["odd", "full", "good"], work)
    assert done == ["good"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "checking, project 'odd': TypeError: '>' not supported", "checking, project 'full': StoreError: no room",
    ]  # fmt: skip
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]

    def tried_again() -> bool:
        each.of(["odd"], done.append)
        return "odd" in done

    wait_until(tried_again)
    each.of(["odd", "good"], done.append)
    assert done[3:] == ["odd", "odd", "good"], "it is tried again, and then as the others"


def test_a_token_that_is_revoked_while_a_body_comes_is_refused(public: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_SLOW", 0.1)
    headers = public.as_(public.token(Role.INGEST))

    def slowly(revoked: bool) -> Iterator[bytes]:
        yield b'{"x":'
        if revoked:
            with public.service.database.write() as connection:
                assert tokens.revoke(connection, tokens.listed(connection)[0].id, time.time())
        time.sleep(2 * AGAIN_AFTER)
        yield b" 1}"

    for revoked, status in ((False, 200), (True, 401)):
        answer = public.client.post("/v1/streams/s/records", content=slowly(revoked), headers=headers)
        assert answer.status_code == status


def test_a_token_is_good_for_its_projects_only(public: Served) -> None:
    secret = public.token(Role.INGEST, ["flights"])
    for project, status in (("flights", 204), ("payments", 403)):
        name, content = message(public.folder / "made", project=project)
        answer = public.client.put(f"/v1/messages/{name}", content=content, headers=public.as_(secret))
        assert answer.status_code == status
    assert len(public.service.inbox.pending()) == 1


def test_what_is_in_quarantine_is_told_to_its_own_project_alone(public: Served) -> None:
    some, whole = public.token(Role.VIEWER, ["payments"]), public.token(Role.VIEWER)
    for number, project in enumerate(("flights", "payments"), 1):
        name, content = message(public.folder / "made", number, project)
        answer = public.client.put(
            f"/v1/messages/{name}", content=content, headers=public.as_(public.token(Role.INGEST))
        )
        assert answer.status_code == 204
        kept = Quarantine(public.folder / "quarantine")
        kept.keep(f"of {project}", project, pa.table({"a": [1]}), f"a value of {project}", project=project)
    kept.keep("inbox", "unread", pa.table({}), "a message of nobody's")
    with contextlib.closing(Store(str(public.folder), "flights")) as store:
        store.writer.catch_up()

    def told(secret: str, project: str) -> set[str]:
        answer = public.client.get(f"/api/settings?project={project}", headers=public.as_(secret))
        return {problem["message"] for problem in answer.json()["data"]["problems"]}

    assert told(some, "payments") == {"a value of payments"}
    assert told(whole, "payments") == {"a value of payments", "a message of nobody's"}
    assert told(whole, "flights") == {"a value of flights", "a message of nobody's"}


def test_the_state_holds_no_secret(public: Served) -> None:
    secret = public.token(Role.ADMIN)
    kept = b"".join(path.read_bytes() for path in public.folder.glob("state.db*"))
    assert tokens.hashed(secret).encode() in kept and secret.encode() not in kept


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "monitor.example:80:80"])
def test_a_host_that_is_none_of_ours_is_refused(served: Served, host: str) -> None:
    assert served.client.get("/healthz", headers={"Host": host}).status_code == 421


def test_a_page_elsewhere_changes_nothing(served: Served) -> None:
    name, content = message(served.folder / "made")
    for origin, status in (
        ("http://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
        ("http://127.0.0.1:4404", 204),
    ):
        answer = served.client.put(f"/v1/messages/{name}", content=content, headers={"Origin": origin})
        assert answer.status_code == status


def test_each_answer_tells_browsers_to_be_strict(served: Served) -> None:
    for path in ("/healthz", "/nothing", "/", "/static/app.js", "/v1/messages/x"):
        headers = served.client.get(path).headers
        if not path.startswith("/v1/"):  # of which no browser shows anything
            policy = headers["content-security-policy"]
            assert "unsafe" not in policy and "default-src 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"]


def test_a_message_sent_again_counts_once_even_after_it_was_taken(served: Served) -> None:
    name, content = message(served.folder / "made")
    for _ in range(2):
        assert served.client.put(f"/v1/messages/{name}", content=content).status_code == 204
    assert rows_of(served) == 3
    assert served.client.put(f"/v1/messages/{name}", content=content).status_code == 204
    assert rows_of(served) == 3


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("writer-000000000001", b""),
        ("writer-000000000001", b"no message of fourfold, but quite some bytes"),
        ("writer", None),
        ("..%2f..%2fwriter-000000000001", None),
    ],
)
def test_what_is_no_message_is_refused_and_nothing_is_written(served: Served, path: str, content: bytes | None) -> None:
    whole = message(served.folder / "made")[1]
    answer = served.client.put(f"/v1/messages/{path}", content=whole if content is None else content)
    assert answer.status_code in (404, 422) and answer.json()["error"]["message"]
    assert not served.service.inbox.files()


def test_bytes_that_were_changed_on_the_way_are_refused(served: Served) -> None:
    name, content = message(served.folder / "made")
    broken = io.BytesIO(content)
    broken.seek(len(content) // 2)
    broken.write(b"\xff\x00\xff")
    answer = served.client.put(f"/v1/messages/{name}", content=broken.getvalue())
    assert answer.status_code == 422 and "checksum" in answer.json()["error"]["message"]
