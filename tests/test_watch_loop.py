"""``fourfold watch``: rounds that go on after errors, and what it serves."""

from __future__ import annotations

import dataclasses
import http.client
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fourfold import config
from fourfold.cli.listen import Board, listening, place_of
from fourfold.cli.loop import repeat
from fourfold.cli.watch import watch_once
from fourfold.errors import InputError, StoreError
from fourfold.integrations.prometheus import Family, ObjectiveState, Sample, families
from fourfold.model import HOUR, Incident, StreamColumn
from fourfold.state import incidents as kept
from fourfold.store import Store
from fourfold.watch.lifecycle import News
from fourfold.watch.notify.outbox import enqueue
from tests.support import START, Sender
from tests.test_incidents import NOW, an_incident
from tests.test_notify import HOSTILE, Recorder


@dataclasses.dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def get(port: int, path: str, accept: str = "", method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def arrives(number: int) -> None:
    """As if a signal came: to this process, others listen too."""
    handler = signal.getsignal(number)
    assert callable(handler)
    handler(number, None)


# the loop -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_signals")
def test_rounds_go_on_after_errors_which_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes: list[Exception | None] = [StoreError("full"), StoreError("full"), None, StoreError("full"), OSError("x")]
    seen: list[str] = []

    def work(report: object) -> None:
        if not outcomes:
            arrives(signal.SIGTERM)
            return
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    repeat(0, work, lambda error: seen.append(str(error)))
    assert seen == ["full", "full", "full", "x"]
    assert capsys.readouterr().err.splitlines() == ["fourfold: full", "fourfold: full", "fourfold: x"]


@pytest.mark.usefixtures("_signals")
def test_a_signal_ends_a_round_in_its_middle() -> None:
    steps = []

    def work(report: object) -> None:
        assert callable(report)
        arrives(signal.SIGINT)
        steps.append("before")
        report(0.5)
        steps.append("after")

    repeat(1_000, work)
    assert steps == ["before"]


# a round ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Found:
    incidents: Sequence[Incident]
    news: Sequence[tuple[Incident, News]]


def no_objectives(reader: object, now: float) -> list[ObjectiveState]:
    return []


def test_a_round_checks_prints_and_delivers(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    sent = [{"key": str(i), "time": START + 60 * i, "log_time": START, "score": i / 10} for i in range(100)]
    Sender(store).records("predict", sent)
    ops, opened = Recorder(), an_incident("1", title=HOSTILE)

    def check(checked: Store, settings: config.Settings, now: float) -> Found:
        reader = checked.caught_up()
        with reader.database.write() as connection:
            kept.save(connection, reader.project, opened)
            enqueue(connection, reader.project, None, opened, [ops], now)
        return Found([opened], [(opened, News.OPENED)])

    settings = config.load(store.folder, "test")
    watched = watch_once(check, no_objectives, settings, [ops], [StreamColumn("predict", "score")], NOW + HOUR)
    assert ops.got == ["test-1-opened-1"]
    out = capsys.readouterr().out
    assert out.startswith("ticket 1 opened: <!channel>")
    assert not set("\x1b\r\u202e") & set(out)
    assert (watched.project, watched.checked, watched.waiting) == ("test", NOW + HOUR, 0)
    assert watched.newest == {"predict": START + 2 * HOUR}
    assert watched.histograms["predict", "score"].finite == 100
    assert "fourfold_column_value" in [family.name for family in families(watched)]


def test_a_histogram_of_what_is_no_number_is_a_mistake(store: Store) -> None:
    Sender(store).records("predict", [{"key": "1", "time": START, "log_time": START, "name": "a"}])
    settings = config.load(store.folder, "test")

    def check(checked: Store, settings: config.Settings, now: float) -> Found:
        checked.caught_up()
        return Found([], [])

    with pytest.raises(InputError, match=r"predict\.name: it is not numeric"):
        watch_once(check, no_objectives, settings, [], [StreamColumn("predict", "name")], NOW)


# what it serves -------------------------------------------------------------------------------------------------------


def test_metrics_are_served_in_the_format_that_is_asked_for(port: int) -> None:
    board = Board(60.0)
    board.show([Family("a", "gauge", "b", [Sample({"c": HOSTILE}, 1.5)])])
    with listening(f"127.0.0.1:{port}", board):
        status, kind, text = get(port, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        (family,) = parse_text(text)
        assert family.samples[0].labels == {"c": HOSTILE}
        status, kind, text = get(port, "/metrics?x=1", "application/openmetrics-text;version=1.0.0,*/*;q=0.1")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        parse: Any = parser.text_string_to_metric_families
        (family,) = parse(text)
        assert family.samples[0].value == 1.5
        assert get(port, "/metrics", method="HEAD")[2] == ""
        assert get(port, "/../../etc/passwd")[0] == 404
        assert get(port, "/metrics", method="POST")[0] == 501


def test_health_tells_of_failed_and_of_missing_rounds(port: int) -> None:
    clock = Clock()
    board = Board(60.0, clock)
    with listening(f"127.0.0.1:{port}", board):
        assert get(port, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
        board.failed(StoreError("the disk\r\nis full"))
        assert get(port, "/healthz")[0::2] == (503, "the disk\\r\\nis full\n")
        board.show([])
        clock.now = 61.0
        assert get(port, "/healthz")[0::2] == (503, "no round has ended for 61 s\n")
        board.show([])
        assert get(port, "/healthz")[0] == 200


def test_what_was_found_stays_while_rounds_fail() -> None:
    board = Board(60.0)
    board.show([Family("a", "gauge", "b", [Sample({}, 1)])])
    board.failed(StoreError("gone"))
    assert "a{} 1" in board.metrics(openmetrics=False)


@pytest.mark.parametrize(
    ("address", "place"), [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:80", ("::1", 80)), ("host:0", ("host", 0))]
)
def test_an_address_is_a_host_and_a_port(address: str, place: tuple[str, int]) -> None:
    assert place_of(address) == place


def test_an_address_that_is_taken_is_a_mistake(port: int) -> None:
    with listening(f"127.0.0.1:{port}", Board(60.0)):
        with pytest.raises(InputError, match="choose another one"), listening(f"127.0.0.1:{port}", Board(60.0)):
            pass
        assert get(port, "/healthz")[0] == 200


@pytest.mark.parametrize("address", ["9464", ":9464", "host", "host:", "host:x", "host:99999", "host:-1", ""])
def test_what_is_no_address_is_a_mistake(address: str) -> None:
    with pytest.raises(InputError, match="such as 127"):
        place_of(address)


def test_a_wrong_channel_ends_the_command_before_the_first_round(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.test_incidents import run

    Path("fourfold.toml").write_text('[watch.notify.ops]\nkind = "pigeon"\n')
    code, _, err = run(capsys, store, "watch")
    assert code == 2
    assert "unknown kind 'pigeon'" in err
