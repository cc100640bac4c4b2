"""Pages: their shell and files, and signing in. What they show is tested in a browser, in test_pages_browser.py."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fourfold.config import Settings
from fourfold.model.access import Role
from fourfold.serve.app import application
from fourfold.serve.pages.shell import PATHS
from fourfold.serve.pages.static import files
from fourfold.serve.service import LOOPBACK, Reach, Service
from fourfold.state import tokens
from tests.receivers import Web, running
from tests.test_serve import HOME, Served, serving

WEB = Path(__file__).parent.parent / "web"
LIMIT = 320 * 1024  # bytes, gzipped


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach(LOOPBACK | {"monitor.example"}, local=False, secure=True))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach())


def test_each_page_has_the_shell_and_the_shell_holds_no_data(public: Served) -> None:
    shown = {public.client.get(path.replace("{id}", "1").replace("{rest:path}", "a%2Fb/c")).text for path in PATHS}
    assert len(shown) == 1
    (html,) = shown
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", html)


@pytest.mark.parametrize("path", ["/nope", "/compare/x", "/incidents/1/2", "/healthz/x"])
def test_a_page_that_is_not_there_is_a_page_to_a_browser_and_json_to_programs(public: Served, path: str) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = public.client.get(path, headers=browser)
    assert answer.status_code == 404 and answer.text == public.client.get("/", headers=browser).text
    api = [public.client.get(place, headers=browser) for place in ("/api/nope", "/api", "/static/nope")]
    for found in (public.client.get(path), public.client.post("/nope", headers=browser), *api):
        assert found.status_code == 404 and found.json()["error"]["status"] == 404


def test_each_page_of_the_source_has_an_address() -> None:
    cases = set(re.findall(r'case "([a-z-]+)":', (WEB / "src" / "app.tsx").read_text()))
    assert cases | {"", "sign-in"} == {path.split("/")[1] for path in PATHS}


def test_what_is_shipped_is_small_and_holds_no_map_nor_code_from_text() -> None:
    shipped = files()
    assert {"app.js", "app.css", "theme.js", "icon.svg"} <= set(shipped)
    assert sum(len(file.compressed) for file in shipped.values()) <= LIMIT
    for name, file in shipped.items():
        text = file.content.decode()
        assert "sourceMappingURL" not in text and not re.search(r"\beval\(|new Function\(", text), name


def test_a_file_is_compressed_and_sent_again_only_if_it_changed(served: Served) -> None:
    first = served.client.get("/static/app.js")
    assert first.headers["content-encoding"] == "gzip" and first.headers["content-type"].startswith("text/javascript")
    again = served.client.get("/static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = served.client.get("/static/app.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == first.content == gzip.decompress(files()["app.js"].compressed)


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e%2fapp.py", "__init__.py", ".js"])
def test_nothing_else_is_a_file(served: Served, name: str) -> None:
    assert served.client.get(f"/static/{name}").status_code == 404


def test_who_signs_in_has_a_session_that_scripts_and_other_sites_cannot_use(public: Served) -> None:
    assert public.client.get("/session").json()["role"] is None
    secret = public.token(Role.VIEWER)
    answer = public.client.post("/session", json={"token": f" {secret}\n"})
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 204 and secret not in cookie
    for part in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"):
        assert part in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    who = public.client.get("/session", headers=session).json()
    assert (who["role"], who["name"], who["signed_in"]) == ("viewer", "a viewer", True)
    assert public.client.delete("/session", headers=session).status_code == 204
    assert public.client.get("/session", headers=session).json()["role"] is None


def test_a_session_ends_with_its_token(public: Served) -> None:
    answer = public.client.post("/session", json={"token": public.token(Role.ADMIN)})
    session = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert public.client.get("/session", headers=session).json()["role"] == "admin"
    with public.service.database.write() as connection:
        tokens.revoke(connection, tokens.listed(connection)[0].id, time.time())
    assert public.client.get("/session", headers=session).json()["role"] is None


def test_on_this_machine_without_tokens_nobody_needs_to_sign_in(served: Served) -> None:
    who = served.client.get("/session").json()
    assert (who["role"], who["signed_in"], who["project"]) == ("admin", False, "flights")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422), (b"{", 422), (b"[]", 422), (b'{"token": 3}', 422), (b'{"token": "ff_wrong"}', 401),
        (b'{"token": "' + b"x" * 5_000 + b'"}', 413), (b"[" * 4_000, 422), (b"\xff", 422),
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(public: Served, content: bytes, status: int) -> None:
    answer = public.client.post("/session", content=content)
    assert answer.status_code == status and "set-cookie" not in answer.headers
    assert answer.json()["error"]["message"]


def test_a_token_that_only_sends_opens_no_pages(public: Served) -> None:
    answer = public.client.post("/session", json={"token": public.token(Role.INGEST)})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_an_admin_makes_and_revokes_tokens_and_the_first_one_is_an_admins(served: Served) -> None:
    refused = served.client.post("/api/tokens", json={"name": "a service", "role": "ingest"})
    assert refused.status_code == 409 and "admin" in refused.json()["error"]["message"]
    made = served.client.post("/api/tokens", json={"name": "me", "role": "admin"}).json()["data"]
    admin = served.as_(made["secret"])
    assert served.client.post("/api/tokens", json={"name": "other"}).status_code == 401
    other = served.client.post("/api/tokens", json={"name": "other", "projects": ["flights"]}, headers=admin).json()
    ingest = served.as_(other["data"]["secret"])
    assert served.client.post("/api/tokens", json={"name": "more"}, headers=ingest).status_code == 403
    assert served.client.delete(f"/api/tokens/{other['data']['id']}", headers=admin).status_code == 204
    assert served.client.post("/api/tokens", json={"name": "more"}, headers=ingest).status_code == 401
    assert served.client.delete(f"/api/tokens/{other['data']['id']}", headers=admin).status_code == 404


@pytest.mark.parametrize(
    "given",
    [
        {}, {"name": ""}, {"name": "x" * 201}, {"name": 3}, {"name": "a", "role": "root"}, {"name": "a", "role": []},
        {"name": "a", "projects": "flights"}, {"name": "a", "projects": [""]}, {"name": "a", "projects": [3]},
    ],
)  # fmt: skip
def test_a_token_that_makes_no_sense_is_not_made(served: Served, given: dict[str, object]) -> None:
    answer = served.client.post("/api/tokens", json=given)
    assert answer.status_code == 422 and answer.json()["error"]["message"]
    assert not served.service.database.recall(tokens.listed)


def test_an_admin_of_one_project_makes_and_revokes_no_tokens_of_others(public: Served) -> None:
    mine = public.as_(public.token(Role.ADMIN, ["flights"]))
    public.token(Role.VIEWER)
    (foreign,) = [token for token in public.service.database.recall(tokens.listed) if token.role == Role.VIEWER]
    for projects in ([], ["payments"], ["flights", "payments"]):
        answer = public.client.post("/api/tokens", json={"name": "a", "projects": projects}, headers=mine)
        assert answer.status_code == 403, projects
    assert public.client.post("/api/tokens", json={"name": "a", "projects": ["flights"]}, headers=mine).is_success
    assert public.client.delete(f"/api/tokens/{foreign.id}", headers=mine).status_code == 404


def test_a_channel_is_tried(tmp_path: Path) -> None:
    with running(Web()) as web:
        declared = {"notify": {"hook": {"kind": "webhook", "url": web.url, "allow_private": True}}}
        service = Service(Settings(str(tmp_path / "store"), "flights", watch=declared))
        with TestClient(application(service), base_url=HOME) as client:
            assert client.post("/api/channels/hook/test").status_code == 204
            assert [request.json["type"].rpartition(".")[2] for request in web.requests] == ["opened", "resolved"]
            assert "nothing is wrong" in web.requests[0].json["data"]["title"]
            assert client.post("/api/channels/other/test").status_code == 404
            web.status = 500
            failed = client.post("/api/channels/hook/test")
            assert failed.status_code == 502 and "500" in failed.json()["error"]["message"]


def test_a_page_elsewhere_signs_nobody_in_or_out(public: Served) -> None:
    foreign = {"Origin": "https://evil.example"}
    secret = public.token(Role.VIEWER)
    assert public.client.post("/session", json={"token": secret}, headers=foreign).status_code == 403
    assert public.client.delete("/session", headers=foreign).status_code == 403
