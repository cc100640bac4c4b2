"""Channels: what each sends, where it refuses to send, and what the outbox guarantees."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import email
import email.policy
import hashlib
import hmac
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fourfold.errors import ConfigError
from fourfold.model import Finding, Group, Incident, IncidentState, Place, Severity, Where
from fourfold.state import Database, incidents, notices, open_state
from fourfold.watch.notify import KINDS, Channel, DeliveryError, channels, http
from fourfold.watch.notify.email import Email
from fourfold.watch.notify.message import Message, labels_of
from fourfold.watch.notify.outbox import CLAIM, MOST, deliver, enqueue, pause
from tests.receivers import Post, Web, running
from tests.services import empty, place

NOW = 1_700_000_000.0
DOCS = Path(__file__).parent.parent / "docs" / "notifications.md"
HOSTILE = "<!channel> & @here [x](http://evil)\r\nBcc: all@evil\x1b[31m\u202e`é"
S = IncidentState


@pytest.fixture
def web() -> Iterator[Web]:
    with running(Web()) as server:
        yield server


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_state(place(tmp_path).state, tmp_path)


def incident(state: IncidentState = S.OPEN, **changes: object) -> Incident:
    where = Where(component="score", stream="predict", column="age", slice='{"carrier": "AA"}')
    finding = Finding(
        "predict.age/null_rate", "null_rate", "37 % null", Group.STATEFUL_SINGLE, Severity.TICKET, where,
        NOW - 7200, NOW - 9000, NOW - 3600, NOW, 0.37, 0.01, 0.0, 0.02, 500, advice="see fourfold streams predict",
    )  # fmt: skip
    made = Incident(
        "3", state, Severity.TICKET, "predict.age is null", "null_rate", Group.STATEFUL_SINGLE,
        NOW - 7200, NOW - 9000, NOW - 3600, NOW, where, None if state.is_active else NOW + 60,
        ("late-recall",), (finding,), "team-a", "https://wiki/age",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


HOSTILE_INCIDENT = incident(
    title=HOSTILE, kind=HOSTILE, owner=HOSTILE, where=Where(stream=HOSTILE, column=HOSTILE), reason=HOSTILE
)


def message(event: str = "opened", about: Incident | None = None) -> Message:
    about = about or incident(S.RESOLVED if event == "resolved" else S.OPEN)
    return Message(f"flights-3-{event}-1", "flights", event, about, NOW, labels_of(about))


def channel(kind: str, **settings: Any) -> Channel:
    (made,) = channels({"ops": {"kind": kind, **settings}})
    return made


# what each sends ----------------------------------------------------------------------------------------------------


def test_alertmanager_gets_an_alert_that_keeps_its_labels_and_its_start(web: Web) -> None:
    alerts = channel("alertmanager", url=web.url + "/")
    alerts.send(message("firing"), NOW)
    later = incident(title="and 3 more", kind="rows", where=Where(stream="other"))
    alerts.send(dataclasses.replace(message("firing"), incident=later), NOW + 300)
    (first,), (second,) = (request.json for request in web.requests)
    assert web.requests[0].path == "/api/v2/alerts"
    assert first["labels"] == second["labels"] == {
        "alertname": "fourfold", "project": "flights", "incident": "3", "severity": "ticket", "kind": "null_rate",
        "component": "score", "stream": "predict", "column": "age", "owner": "team-a",
    }  # fmt: skip
    assert first["startsAt"] == second["startsAt"] == "2023-11-14T22:13:20Z"
    assert (first["endsAt"], second["endsAt"]) == ("2023-11-15T22:13:20Z", "2023-11-15T22:18:20Z")
    assert (first["annotations"]["summary"], second["annotations"]["summary"]) == ("predict.age is null", "and 3 more")


def test_alertmanager_learns_of_the_end_whatever_the_severity_was(web: Web) -> None:
    channel("alertmanager", url=web.url).send(message("resolved"), NOW)
    assert {alert["labels"]["severity"]: alert["endsAt"] for alert in web.requests[0].json} == dict.fromkeys(
        ("page", "ticket", "notice"), "2023-11-14T22:13:20Z"
    )


def test_an_escalation_ends_the_alert_of_the_former_severity(web: Web) -> None:
    worse = message("escalated", incident(severity=Severity.PAGE))
    channel("alertmanager", url=web.url).send(worse, NOW + 60)
    ends = {alert["labels"]["severity"]: alert["endsAt"] for alert in web.requests[0].json}
    assert ends["page"] > "2023-11-15"
    assert ends["ticket"] == ends["notice"] == "2023-11-14T22:14:20Z"


def test_alertmanager_gets_the_token_from_the_environment(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_TOKEN", "s3cret")
    channel("alertmanager", url=web.url, token_env="AM_TOKEN").send(message(), NOW)
    assert web.requests[0].headers["authorization"] == "Bearer s3cret"


def test_slack_shows_plain_text_that_alerts_no_channel(web: Web) -> None:
    chat = channel("slack", url=f"{web.url}/services/T1", allow_private=True)
    chat.send(message(), NOW)
    chat.send(message(about=HOSTILE_INCIDENT), NOW)
    usual, hostile = (request.json for request in web.requests)
    assert usual["text"].splitlines()[0] == "[ticket] flights #3 opened: predict.age is null"
    assert "began in: predict.age (carrier=AA)" in usual["text"]
    assert all(block["text"]["type"] == "plain_text" for block in hostile["blocks"])
    assert not set("<>`\x1b\r\u202e") & set(hostile["text"])
    assert not re.search(r"@\w|\]\(|&(?!amp;|lt;|gt;)", hostile["text"])


def test_slack_messages_are_not_longer_than_slack_takes(web: Web) -> None:
    long = incident(title="x" * 9_999, findings=tuple(incident().findings * 40), objectives=("o" * 99,) * 99)
    channel("slack", url=web.url, allow_private=True).send(message(about=long), NOW)
    head, body = (block["text"]["text"] for block in web.requests[0].json["blocks"])
    assert len(head) <= 150
    assert len(body) <= 3_000


def test_a_webhook_gets_a_cloud_event_with_a_row(web: Web) -> None:
    strange = dataclasses.replace(incident().findings[0], value=float("inf"), low=float("nan"))
    channel("webhook", url=f"{web.url}/in?x=1", allow_private=True).send(
        message(about=incident(findings=(strange,))), NOW
    )
    (request,) = web.requests
    event = json.loads(request.body, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert request.path == "/in?x=1"
    assert request.headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    data = event.pop("data")
    assert event == {
        "specversion": "1.0", "id": "flights-3-opened-1", "source": "/fourfold/flights",
        "type": "fourfold.incident.opened", "subject": "3", "time": "2023-11-14T22:13:20Z",
        "datacontenttype": "application/json",
    }  # fmt: skip
    assert data["findings"][0]["value"] is None
    assert data["where"]["slice"] == {"carrier": "AA"}
    assert data["began"] == "2023-11-14T20:13:20Z"


@pytest.mark.parametrize("secret", ["pässword", "whsec_" + base64.b64encode(b"\x00key").decode()])
def test_a_webhook_is_signed_as_standard_webhooks_are(web: Web, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("HOOK", secret)
    channel("webhook", url=web.url, allow_private=True, secret_env="HOOK").send(message(), NOW)
    (request,) = web.requests
    key = b"\x00key" if secret.startswith("whsec_") else secret.encode()
    signed = b".".join([b"flights-3-opened-1", request.headers["webhook-timestamp"].encode(), request.body])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-id"] == "flights-3-opened-1"
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_pagerduty_gets_one_alert_an_incident(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGERDUTY_KEY", "r0uting")
    pager = channel("pagerduty", url=web.url, token_env="PAGERDUTY_KEY")
    for event in ("opened", "escalated", "resolved", "reopened"):
        pager.send(message(event), NOW)
    sent = [request.json for request in web.requests]
    assert [event["event_action"] for event in sent] == ["trigger", "trigger", "resolve", "trigger"]
    assert {(event["routing_key"], event["dedup_key"]) for event in sent} == {("r0uting", "fourfold-flights-3")}
    assert {name: sent[0]["payload"][name] for name in ("severity", "source", "timestamp", "component", "class")} == {
        "severity": "warning", "source": "predict.age (carrier=AA)", "timestamp": "2023-11-14T20:13:20Z",
        "component": "score", "class": "null_rate",
    }  # fmt: skip


def test_stdout_prints_a_line_without_effects(capsys: pytest.CaptureFixture[str]) -> None:
    channel("stdout").send(message(about=HOSTILE_INCIDENT), NOW)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert not set("\x1b\r\u202e") & set(out)
    assert out.startswith("[ticket] flights #3 opened: <!channel>")


# e-mail ---------------------------------------------------------------------------------------------------------------

MAIL = {"host": "localhost", "from": "fourfold@example.com", "to": ["a@example.com", "b@example.com"]}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", str(file.with_suffix(".crt"))]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + file.with_suffix(".crt").read_bytes())
    return file


def test_an_email_has_one_thread_an_incident_and_one_id_a_message() -> None:
    with running(Post()) as post:
        mailer = channel("email", **MAIL, security="none", port=post.port)
        for event in ("opened", "opened", "resolved"):
            mailer.send(message(event), NOW)
    mails = [email.message_from_string(text, policy=email.policy.default) for _, _, text in post.mails]
    first, again, end = mails
    assert first["Subject"] == "[ticket] flights #3 opened: predict.age is null"
    assert first["Message-ID"] == again["Message-ID"] != end["Message-ID"]
    assert first["References"] == end["References"]
    assert (first["From"], first["To"]) == ("fourfold@example.com", "a@example.com, b@example.com")
    assert "began in: predict.age (carrier=AA)" in first.get_content()
    assert len(post.mails[0][1]) == 2


def test_no_text_of_an_incident_adds_a_header() -> None:
    with running(Post()) as post:
        hostile = dataclasses.replace(message(about=HOSTILE_INCIDENT), project=HOSTILE)
        channel("email", **MAIL, security="none", port=post.port).send(hostile, NOW)
    mail = email.message_from_string(post.mails[0][2], policy=email.policy.default)
    assert set(mail.keys()) == {
        "Subject", "From", "To", "Date", "Message-ID", "References", "Auto-Submitted", "Content-Type",
        "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert "\\r\\nBcc: all@evil" in mail["Subject"]
    assert len(post.mails[0][1]) == 2


def test_an_email_is_encrypted_and_the_password_with_it(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("SMTP_PASSWORD", "s3cret")
    with running(Post(certificate)) as post:
        channel("email", **MAIL, port=post.port, user="me", password_env="SMTP_PASSWORD").send(message(), NOW)
    assert post.encrypted == [True]
    assert base64.b64decode(post.logins[0]) == b"\x00me\x00s3cret"


def test_an_email_is_not_sent_to_a_server_that_cannot_prove_its_name(certificate: Path) -> None:
    with running(Post(certificate)) as post, pytest.raises(DeliveryError, match="localhost cannot be reached"):
        channel("email", **MAIL, port=post.port).send(message(), NOW)
    assert post.mails == []


def test_an_email_is_not_sent_in_the_open_where_encryption_is_asked_for() -> None:
    with running(Post()) as post, pytest.raises(DeliveryError, match="STARTTLS"):
        channel("email", **MAIL, port=post.port).send(message(), NOW)
    assert post.mails == []


def test_a_server_that_knows_no_recipient_refuses_the_message() -> None:
    with running(Post()) as post:
        post.refuses = {"a@", "b@"}
        with pytest.raises(DeliveryError, match="refuses all recipients") as caught:
            channel("email", **MAIL, security="none", port=post.port).send(message(), NOW)
    assert caught.value.refused


# where it refuses to send -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["webhook", "slack"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "[::ffff:127.0.0.1]",
     "[64:ff9b::7f00:1]", "[fe80::1]", "[fc00::1]", "100.64.0.1", "224.0.0.1", "2130706433", "0x7f.1"],
)  # fmt: skip
def test_nothing_is_sent_into_the_private_network(kind: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *args, **more: pytest.fail("it connected"))
    with pytest.raises(DeliveryError, match="allow_private"):
        channel(kind, url=f"http://{host}/x").send(message(), NOW)


def test_the_connection_goes_to_the_address_that_was_examined(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a public address when it is examined, and to this machine a moment later."""
    asked, connected = [], []

    def resolve(host: str, port: int, *args: Any, **more: Any) -> Any:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: tuple[str, int], timeout: float) -> Any:
        connected.append(address)
        found = socket.socket()
        found.connect(web.server_address)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    channel("webhook", url="http://rebind.example:8080/").send(message(), NOW)
    assert connected == [("93.184.216.34", 8080)]
    assert asked == ["rebind.example"]
    assert web.requests[0].headers["host"] == "rebind.example:8080"


def test_one_private_address_among_several_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, 1, 6, "", (address, 80)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    with pytest.raises(DeliveryError, match=r"10\.0\.0\.1"):
        channel("webhook", url="http://two.example/").send(message(), NOW)


def test_a_redirect_is_not_followed(web: Web) -> None:
    web.status, web.headers = 302, {"Location": f"{web.url}/elsewhere"}
    with pytest.raises(DeliveryError, match="redirects are not followed"):
        channel("alertmanager", url=web.url).send(message(), NOW)
    assert len(web.requests) == 1


def test_only_allowed_hosts_are_sent_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not among hosts"):
        channel("webhook", url="https://evil.example/", hosts=["hooks.example"])
    monkeypatch.setenv("HOOK_URL", "https://evil.example/secret")
    with pytest.raises(DeliveryError, match="not among hosts") as caught:
        channel("webhook", url_env="HOOK_URL", hosts=["hooks.example"]).send(message(), NOW)
    assert "secret" not in str(caught.value)


def test_a_proxy_of_the_environment_is_used_unless_the_address_is_guarded(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    channel("alertmanager", url="http://alerts.invalid:9093").send(message(), NOW)
    assert web.requests[0].path == "http://alerts.invalid:9093/api/v2/alerts"
    with pytest.raises(DeliveryError, match=r"hooks\.invalid cannot be reached"):
        channel("webhook", url="http://hooks.invalid").send(message(), NOW)


@pytest.mark.parametrize("allow", [True, False])
def test_a_receiver_over_tls_must_prove_its_name(
    allow: bool, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(http, "is_public", lambda address: True)
    with running(Web(certificate=certificate)) as web:
        port = web.server_address[1]
        channel("webhook", url=f"https://localhost:{port}", allow_private=allow).send(message(), NOW)
        assert len(web.requests) == 1
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1 cannot be reached: .*certificate"):
            channel("webhook", url=f"https://127.0.0.1:{port}", allow_private=allow).send(message(), NOW)
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(DeliveryError, match=r"localhost cannot be reached: .*certificate"):
            channel("webhook", url=f"https://localhost:{port}", allow_private=allow).send(message(), NOW)
    assert len(web.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_refusal_is_told_with_the_receivers_code(web: Web, status: int) -> None:
    web.status, web.said = status, b"invalid_payload"
    with pytest.raises(DeliveryError, match=f"answered {status}: invalid_payload") as caught:
        channel("alertmanager", url=web.url).send(message(), NOW)
    assert caught.value.refused


@pytest.mark.parametrize(
    "said", [b"Cannot POST /services/T0/sekret", b"/services/sekret", b"sekret", b"\x1b[31m sekret"]
)
def test_a_receiver_that_repeats_a_secret_path_is_not_quoted(web: Web, said: bytes) -> None:
    web.status, web.said = 404, said
    with pytest.raises(DeliveryError) as caught:
        channel("slack", url=f"{web.url}/services/T0/sekret", allow_private=True).send(message(), NOW)
    assert "sekret" not in str(caught.value)


def test_a_receiver_that_answers_a_byte_at_a_time_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WHOLE", 0.3)
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connected, _ = listening.accept()
        with connected:
            connected.recv(65_536)
            connected.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n")
            with contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    connected.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        with contextlib.suppress(DeliveryError):  # what has come may count as an answer; that it ends is what matters
            channel("alertmanager", url=f"http://127.0.0.1:{listening.getsockname()[1]}").send(message(), NOW)
        ended.set()
        thread.join()


def test_a_busy_receiver_says_when_to_come_again(web: Web) -> None:
    web.status, web.headers = 429, {"Retry-After": "90"}
    with pytest.raises(DeliveryError) as caught:
        channel("alertmanager", url=web.url).send(message(), NOW)
    assert (caught.value.refused, caught.value.after) == (False, 90.0)


def test_a_receiver_that_answers_for_ever_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WHOLE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DeliveryError, match="cannot be reached"):
        channel("alertmanager", url=f"http://127.0.0.1:{silent.getsockname()[1]}").send(message(), NOW)


# settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "kind is missing; known are stdout, alertmanager"),
        ({"kind": "pigeon"}, "unknown kind 'pigeon'"),
        ({"kind": ["slack"]}, "unknown kind"),
        ({"kind": "stdout", "colour": 1}, "unknown setting 'colour'; known are kind, severity"),
        ({"kind": "stdout", "severity": "loud"}, "severity='loud'; known are page, ticket, notice"),
        ({"kind": "slack"}, "url is missing"),
        ({"kind": "slack", "url": 3}, "url=3 is not a text"),
        ({"kind": "slack", "url": "file:///etc/passwd"}, "must begin with https://"),
        ({"kind": "slack", "url": "https://u:p@host/"}, "no password"),
        ({"kind": "slack", "url": "https://h:port/"}, "not a valid URL"),
        ({"kind": "slack", "url": "https://h/", "url_env": "X"}, "url and url_env"),
        ({"kind": "slack", "url": "https://h/", "allow_private": "yes"}, "write true or false"),
        ({"kind": "webhook", "url": "https://h/", "secret": "s"}, 'secret_env = "NAME_OF_THE_VARIABLE"'),
        ({"kind": "alertmanager", "url": "http://h/", "repeat": "often"}, "repeat='often' is not a length"),
        ({"kind": "pagerduty"}, "token_env is missing"),
        ({"kind": "pagerduty", "token": "t0ken", "token_env": "X"}, "is a secret"),
        ({"kind": "email", **MAIL, "to": ["a\nBcc: b"]}, "is not a list of texts"),
        ({"kind": "email", **MAIL, "to": "nobody"}, "'nobody' is not an e-mail address"),
        ({"kind": "email", **MAIL, "from": "a@b, c@d"}, "is not an e-mail address"),
        ({"kind": "email", **MAIL, "user": "me"}, "user and password_env go together"),
        ({"kind": "email", **MAIL, "security": "none", "user": "me", "password_env": "X"}, "in the open"),
        ({"kind": "email", **MAIL, "port": -1}, "port=-1"),
        ("slack", "is not a section"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_is_possible(settings: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        channels({"ops": settings})
    assert "[watch.notify.ops]" in str(caught.value)
    assert "t0ken" not in str(caught.value)


@pytest.mark.parametrize("sections", ["x", ["x"], {"a/b": {"kind": "stdout"}}, {"": {"kind": "stdout"}}])
def test_sections_must_be_named(sections: Any) -> None:
    with pytest.raises(ConfigError, match=r"watch\.notify"):
        channels(sections)


def test_a_secret_is_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_URL", "https://h.invalid/s3cret path")
    made = channels(
        {"a": {"kind": "slack", "url": "https://hooks.invalid/s3cret"}, "b": {"kind": "slack", "url_env": "HOOK_URL"}}
    )
    assert "s3cret" not in repr(made)
    for each in made:
        with pytest.raises(DeliveryError) as caught:
            each.send(message(), NOW)
        assert "s3cret" not in str(caught.value)


def test_a_secret_that_no_header_can_hold_is_told_without_it(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_TOKEN", "s3cret\n")
    made = channel("alertmanager", url=web.url, token_env="AM_TOKEN")
    made.send(message(), NOW)
    assert web.requests[0].headers["authorization"] == "Bearer s3cret"
    monkeypatch.setenv("AM_TOKEN", "s3cret\r\nX: y")
    with pytest.raises(DeliveryError, match="AM_TOKEN holds characters that cannot be sent"):
        made.send(message(), NOW)


def test_a_variable_that_is_missing_is_named() -> None:
    with pytest.raises(DeliveryError, match="PAGERDUTY_KEY is not set"):
        channel("pagerduty", token_env="PAGERDUTY_KEY").send(message(), NOW)


def test_each_kind_is_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8").partition("## What is guaranteed")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(KINDS)


def test_the_documented_receiver_takes_what_is_signed_and_nothing_else(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)), found)
    monkeypatch.setenv("HOOK", "s3cret")
    channel("webhook", url=web.url, allow_private=True, secret_env="HOOK").send(message(), NOW)
    (request,) = web.requests
    is_genuine = found["is_genuine"]
    assert is_genuine(request.headers, request.body, b"s3cret")
    assert not is_genuine(request.headers, request.body + b" ", b"s3cret")
    assert not is_genuine({**request.headers, "webhook-timestamp": "1"}, request.body, b"s3cret")


def test_each_channel_names_itself_in_its_repr() -> None:
    assert isinstance(channel("email", **MAIL), Email)
    assert channel("stdout", severity="page").severity is Severity.PAGE


# the outbox -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Recorder:
    """A channel that records what it gets, and fails where it is told to."""

    name: str = "ops"
    severity: Severity = Severity.NOTICE
    repeat: float | None = None
    fails: Exception | None = None
    got: list[str] = dataclasses.field(default_factory=list)

    def send(self, message: Message, now: float) -> None:
        if self.fails is not None:
            raise self.fails
        self.got.append(message.identity)


def change(
    database: Database, before: Incident | None, after: Incident, *channels: Channel, now: float = NOW
) -> Incident:
    """What a check does: save and enqueue in one transaction."""
    with database.write() as connection:
        incidents.save(connection, "flights", after)
        enqueue(connection, "flights", before, after, channels, now)
    return after


OPEN, RESOLVED = incident(), incident(S.RESOLVED)
PAGE = incident(severity=Severity.PAGE)


def test_news_are_sent_once(database: Database) -> None:
    ops = Recorder()
    change(database, None, OPEN, ops)
    assert deliver(database, "flights", [ops], NOW).sent == 1
    assert deliver(database, "flights", [ops], NOW + 1e6).sent == 0
    change(database, OPEN, OPEN, ops)
    change(database, OPEN, RESOLVED, ops)
    deliver(database, "flights", [ops], NOW + 1e6)
    assert ops.got == ["flights-3-opened-1", "flights-3-resolved-1"]


def test_a_transaction_that_fails_tells_nobody(database: Database) -> None:
    ops = Recorder()

    def half() -> None:
        with database.write() as connection:
            enqueue(connection, "flights", None, OPEN, [ops], NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert deliver(database, "flights", [ops], NOW).sent == 0


def test_a_channel_that_is_down_loses_nothing_and_gets_nothing_twice(database: Database) -> None:
    down, up = Recorder("down", fails=DeliveryError("no route")), Recorder("up")
    change(database, None, OPEN, down, up)
    failed = deliver(database, "flights", [down, up], NOW, chance=1.0).failed
    assert [(each.channel, each.incident, each.error) for each in failed] == [("down", "3", "no route")]
    change(database, OPEN, PAGE, down, up, now=NOW + 1)
    change(database, PAGE, RESOLVED, down, up, now=NOW + 2)
    for minute in range(1, 60):
        deliver(database, "flights", [down, up], NOW + 60 * minute)
    down.fails = None
    for minute in range(60, 180):
        deliver(database, "flights", [down, up], NOW + 60 * minute)
    assert down.got == up.got == ["flights-3-opened-1", "flights-3-escalated-1", "flights-3-resolved-1"]


def test_tries_are_further_and_further_apart(database: Database) -> None:
    ops = Recorder(fails=DeliveryError("no route"))
    change(database, None, OPEN, ops)
    now, waits = NOW, []
    for _ in range(9):
        deliver(database, "flights", [ops], now, chance=1.0)
        with database.read() as connection:
            (notice,) = notices.waiting(connection, "flights")
        waits.append(round(notice.again - now))
        now = notice.again
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert pause(4, 0.0) == pause(4, 1.0) / 2


def test_a_receiver_that_asks_to_wait_is_waited_for(database: Database) -> None:
    ops = Recorder(fails=DeliveryError("busy", after=900.0))
    change(database, None, OPEN, ops)
    deliver(database, "flights", [ops], NOW)
    with database.read() as connection:
        assert notices.due(connection, "flights", NOW + 899) == []
        assert len(notices.due(connection, "flights", NOW + 901)) == 1


def test_a_mistake_in_one_notice_costs_no_other_anything(database: Database) -> None:
    ops, other = Recorder(fails=ValueError("s3cret")), Recorder("other")
    change(database, None, OPEN, ops, other)
    found = deliver(database, "flights", [ops, other], NOW)
    assert (found.sent, [each.error for each in found.failed]) == (1, ["ValueError"])


def test_a_damaged_notice_costs_no_other_anything(database: Database) -> None:
    ops = Recorder()
    with database.write() as connection:
        notices.add(connection, "flights", [notices.Notice("x-1-opened-1/ops", "ops", "1", "opened", "{", NOW - 1)])
    change(database, None, OPEN, ops)
    found = deliver(database, "flights", [ops], NOW)
    assert ops.got == ["flights-3-opened-1"]
    assert "x-1-opened-1/ops cannot be read" in found.failed[0].error


def test_a_notice_waits_for_a_channel_that_is_not_declared(database: Database) -> None:
    ops = Recorder()
    change(database, None, OPEN, ops)
    assert deliver(database, "flights", [], NOW).sent == 0
    assert deliver(database, "flights", [ops], NOW + 1e7).sent == 1


def test_a_channel_is_told_of_what_is_severe_enough_and_of_its_end(database: Database) -> None:
    ops = Recorder(severity=Severity.PAGE)
    change(database, None, OPEN, ops)
    assert deliver(database, "flights", [ops], NOW).sent == 0
    change(database, OPEN, PAGE, ops)
    change(database, PAGE, RESOLVED, ops)  # as a ticket, by then
    deliver(database, "flights", [ops], NOW)
    assert ops.got == ["flights-3-escalated-1", "flights-3-resolved-1"]


def test_nobody_is_told_of_the_end_of_what_they_never_heard_of(database: Database) -> None:
    ops = Recorder()
    change(database, OPEN, RESOLVED, ops)
    assert deliver(database, "flights", [ops], NOW).sent == 0


def test_an_incident_that_flaps_for_a_day_is_told_of_a_few_times_and_its_end_is_right(database: Database) -> None:
    ops = Recorder()
    current = change(database, None, OPEN, ops)
    for minute in range(1, 24 * 60, 5):
        then = incident(S.RESOLVED if current.state is S.OPEN else S.OPEN)
        current = change(database, current, then, ops, now=NOW + 60 * minute)
        deliver(database, "flights", [ops], NOW + 60 * minute)
    limit = MOST[1][0]
    assert len(ops.got) <= 2 * limit
    assert ops.got[0] == "flights-3-opened-1"
    if current.state is S.OPEN:
        change(database, current, incident(S.RESOLVED), ops, now=NOW + 90_000)
    deliver(database, "flights", [ops], NOW + 1e7)
    assert "resolved" in ops.got[-1]
    with database.read() as connection:
        assert notices.waiting(connection, "flights") == []


def test_what_was_held_back_is_told_later_if_it_still_holds(database: Database) -> None:
    ops = Recorder()
    current = change(database, None, OPEN, ops)
    for minute, state in enumerate((S.RESOLVED, S.OPEN, S.RESOLVED, S.OPEN), 1):
        current = change(database, current, incident(state), ops, now=NOW + 60 * minute)
        deliver(database, "flights", [ops], NOW + 60 * minute)
    assert ops.got[-1] == "flights-3-resolved-2"
    deliver(database, "flights", [ops], NOW + 7200)
    assert ops.got[-1] == "flights-3-reopened-2"


def test_a_receiver_that_forgets_is_told_again_while_it_fires(database: Database) -> None:
    ops = Recorder(repeat=300.0)
    change(database, None, OPEN, ops)
    for minute in range(12):
        deliver(database, "flights", [ops], NOW + 60 * minute)
    assert ops.got == ["flights-3-opened-1", "flights-3-firing", "flights-3-firing"]
    change(database, OPEN, RESOLVED, ops, now=NOW + 720)
    for minute in range(12, 30):
        deliver(database, "flights", [ops], NOW + 60 * minute)
    assert ops.got[3:] == ["flights-3-resolved-1"]


def test_a_new_receiver_that_shows_what_fires_is_told_of_what_fires_already(database: Database) -> None:
    change(database, None, OPEN)
    change(database, None, incident(id="4", severity=Severity.PAGE))
    change(database, None, incident(S.SNOOZED, id="5", until=NOW + 1e4))
    shows, chat, pager = Recorder("am", repeat=300.0), Recorder("chat"), Recorder("p", Severity.PAGE, repeat=300.0)
    for _ in range(2):
        deliver(database, "flights", [shows, chat, pager], NOW)
    assert sorted(shows.got) == ["flights-3-opened-1", "flights-4-opened-1"]
    assert pager.got == ["flights-4-opened-1"]
    assert chat.got == []


def test_nothing_is_repeated_while_it_is_snoozed(database: Database) -> None:
    ops = Recorder(repeat=300.0)
    change(database, None, OPEN, ops)
    deliver(database, "flights", [ops], NOW)
    snoozed = change(database, OPEN, incident(S.SNOOZED, until=NOW + 1e4), ops)
    deliver(database, "flights", [ops], NOW + 1000)
    assert ops.got == ["flights-3-opened-1"]
    change(database, snoozed, OPEN, ops, now=NOW + 1e4)
    deliver(database, "flights", [ops], NOW + 1e4)
    deliver(database, "flights", [ops], NOW + 1e4 + 301)
    assert ops.got[1:] == ["flights-3-reopened-1", "flights-3-firing"]


def test_an_end_does_not_overtake_a_repetition_that_another_process_sends(database: Database) -> None:
    ops = Recorder(repeat=300.0)
    change(database, None, OPEN, ops)
    deliver(database, "flights", [ops], NOW)
    with database.write() as connection:
        assert notices.claim(connection, "flights-3-firing/ops", NOW + 300, NOW + 300 + CLAIM)
    change(database, OPEN, RESOLVED, ops, now=NOW + 301)
    deliver(database, "flights", [ops], NOW + 301)
    assert ops.got == ["flights-3-opened-1"]
    deliver(database, "flights", [ops], NOW + 301 + CLAIM)
    assert ops.got[-1] == "flights-3-resolved-1"


def test_two_projects_do_not_share_notices(database: Database) -> None:
    ops = Recorder()
    change(database, None, OPEN, ops)
    assert deliver(database, "other", [ops], NOW).sent == 0


def _deliver_to(at: Place, url: str, start: Any) -> None:
    database = open_state(at.state, Path(at.store))
    made = channels({"ops": {"kind": "webhook", "url": url, "allow_private": True}})
    start.wait()
    deliver(database, "flights", made, NOW)


def test_two_processes_that_deliver_at_once_send_each_notice_once(database: Database, tmp_path: Path, web: Web) -> None:
    hook = Recorder()
    for number in range(1, 21):
        change(database, None, incident(id=str(number)), hook)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    workers = [context.Process(target=_deliver_to, args=(place(tmp_path), web.url, start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    ids = [request.json["id"] for request in web.requests]
    assert sorted(ids) == sorted(f"flights-{number}-opened-1" for number in range(1, 21))


class Killed(BaseException):
    """The end of a process, between any two statements."""


@dataclasses.dataclass
class Fuse:
    """Ends the process at one of the steps that it is told of."""

    left: int

    def step(self, *arguments: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class Fused(Recorder):
    fuse = Fuse(0)

    def send(self, message: Message, now: float) -> None:
        self.fuse.step()
        super().send(message, now)
        self.fuse.step()


@pytest.mark.parametrize("repeat", [None, 300.0])
def test_a_watch_that_is_killed_between_any_two_statements_tells_of_everything(
    tmp_path: Path, repeat: float | None
) -> None:
    """Three checks with their deliveries; the process dies at each step in turn, and another one goes on later."""
    states = [(None, OPEN), (OPEN, PAGE), (PAGE, RESOLVED)]
    expected = ["flights-3-opened-1", "flights-3-escalated-1", "flights-3-resolved-1"]
    for step in range(1, 10_000):
        with empty(tmp_path / f"{step}") as at:
            database, ops = open_state(at.state, Path(at.store)), Fused(repeat=repeat)
            ops.fuse = fuse = Fuse(step)
            sa.event.listen(database.engine, "before_cursor_execute", fuse.step)
            sa.event.listen(database.engine, "commit", fuse.step)
            now, died = NOW, 0
            for before, after in states:
                while True:
                    try:
                        with database.read() as connection:
                            done = incidents.one(connection, "flights", "3") == after
                        if not done:
                            change(database, before, after, ops, now=now)
                        deliver(database, "flights", [ops], now)
                        break
                    except Killed:
                        died += 1
                        now += CLAIM + 1
                now += 1
            fuse.left = -1
            deliver(database, "flights", [ops], now + CLAIM)
            news = [identity for identity in ops.got if "firing" not in identity]
            assert list(dict.fromkeys(news)) == expected, step
            assert len(news) <= len(expected) + died
            with database.read() as connection:
                assert notices.waiting(connection, "flights") == []
            database.close()
            if not died:
                assert news == expected
                assert step > 30
                return


DIES = """
import os, signal, sys
from pathlib import Path
from fourfold.state import open_state
from fourfold.watch.notify import channels, outbox
outbox._arrived = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
made = channels({"ops": {"kind": "webhook", "url": sys.argv[2], "allow_private": True}})
outbox.deliver(open_state(sys.argv[4], Path(sys.argv[1])), "flights", made, float(sys.argv[3]))
"""


def test_a_process_killed_between_sending_and_marking_is_followed_by_the_same_identity(
    database: Database, tmp_path: Path, web: Web
) -> None:
    hook = channel("webhook", url=web.url, allow_private=True)
    change(database, None, OPEN, hook)
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path), web.url, str(NOW), place(tmp_path).state], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert deliver(database, "flights", [hook], NOW + CLAIM - 1).sent == 0
    assert deliver(database, "flights", [hook], NOW + CLAIM + 1).sent == 1
    assert deliver(database, "flights", [hook], NOW + 1e7).sent == 0
    assert [request.json["id"] for request in web.requests] == ["flights-3-opened-1"] * 2
    assert [request.headers["webhook-id"] for request in web.requests if "webhook-id" in request.headers] == []


def test_a_server_that_comes_back_gets_what_it_missed(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    hook = channel("webhook", url=f"http://127.0.0.1:{port}", allow_private=True)
    change(database, None, OPEN, hook)
    (failure,) = deliver(database, "flights", [hook], NOW).failed
    assert "cannot be reached: Connection refused" in failure.error
    with running(Web(port)) as web:
        web.status = 503
        deliver(database, "flights", [hook], NOW + 100)
        web.status = 204
        deliver(database, "flights", [hook], NOW + 1000)
        deliver(database, "flights", [hook], NOW + 2000)
    assert [request.json["id"] for request in web.requests] == ["flights-3-opened-1"] * 2  # refused once, taken once


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert not urllib.request.getproxies()
