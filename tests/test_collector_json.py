"""Records, runs and events as JSON: stored as ``ff.log`` stores them, one by one judged, and each once."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold.config import PLAUSIBLE
from fourfold.errors import InputError
from fourfold.integrations.cloudevents import structured
from fourfold.log.wire import parsed
from fourfold.model import Run, RunStatus, limits
from fourfold.model.access import Role
from fourfold.model.records import BATCH, LOG_TIME, META
from fourfold.sdk.record import Record
from fourfold.serve.collector.gathering import Given, gather
from fourfold.serve.service import LOOPBACK, Reach
from fourfold.state import runs
from fourfold.store import Store
from tests.test_serve import Served, serving

RECORDS = "/v1/streams/predict/records"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach())


def stored(folder: Path, stream: str, project: str = "flights") -> list[dict[str, Any]]:
    """A stream's records, without what differs between any two that are logged."""
    store = Store(str(folder), project)
    try:
        store.writer.catch_up()
        rows = store.writer.log(stream).whole().records(None).to_pylist()
    finally:
        store.close()
    rows = [{name: value for name, value in row.items() if name not in (BATCH, LOG_TIME)} for row in rows]
    return sorted(rows, key=lambda row: json.dumps(row, default=str))


def quarantined(folder: Path) -> list[str]:
    store = Store(str(folder), "flights")
    try:
        store.writer.catch_up()
        return [entry.reason for entry in store.writer.quarantined()]
    finally:
        store.close()


MANY = [
    {"id": "AA1", "at": "2024-05-01T12:00:00+02:00", "score": 0.25, "carrier": "AA", "late": False, "tags": ["a"]},
    {"id": "AA2", "at": 1_714_557_600, "score": 1, "carrier": None, "late": True, "where": {"x": 1.5, "y": None}},
    {"id": 3, "at": "no moment at all", "score": None, "größe": "ß\u0000\u202e", "": 5, "a\0b": 1},
    {"id": None, "at": None, "score": 2**53, "carrier": "<script>"},
]  # fmt: skip


def test_records_as_json_are_stored_as_those_that_are_logged(served: Served, tmp_path: Path) -> None:
    session = ff.init(str(tmp_path / "logged"), "flights")
    for record in MANY:
        ff.log("predict", record, key="id", time="at")
    session.close()
    answer = served.client.post(f"{RECORDS}?key=id&time=at", json=MANY)
    assert answer.json() == {"taken": 4, "rejected": [], "times": {"unreadable": 1}}
    expected = [{k: v for k, v in row.items() if k != "_ff_time"} for row in stored(tmp_path / "logged", "predict")]
    found = stored(served.folder, "predict")
    assert [{k: v for k, v in row.items() if k != "_ff_time"} for row in found] == expected
    assert str(found[0]["_ff_time"]) == "2024-05-01 10:00:00+00:00"


def test_times_that_are_mistakes_are_told_to_who_sent_them(served: Served) -> None:
    wrong = ["yesterday", True, "1900-01-01", "2400-01-01", -1e300, "2024-05-01", None]
    alike = [{"id": n, "at": at} for n, at in enumerate(wrong)]
    answer = served.client.post(f"{RECORDS}?key=id&time=at", json=alike)
    assert answer.json() == {"taken": 7, "rejected": [], "times": {"unreadable": 2, "implausible": 3}}
    mixed = [*alike, {"id": "x", "at": "tomorrow", "score": "text"}, {"id": "y", "at": "later", "score": 1.5}]
    for key in ("", "k"):
        headers = {"Idempotency-Key": key} if key else {}
        answer = served.client.post(f"{RECORDS}?key=id&time=at", json=mixed, headers=headers)
        assert answer.json()["times"] == {"unreadable": 4, "implausible": 3}
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "time": "1800-01-01T00:00:00Z", "data": {}}
    headers = {"Content-Type": "application/cloudevents+json"}
    answer = served.client.post("/v1/events?project=flights", json=event, headers=headers)
    assert answer.json() == {"taken": 1, "rejected": [], "times": {"implausible": 1}}
    assert "times" not in served.client.post(f"{RECORDS}?key=id", json=alike).json()


def test_requests_that_come_together_are_told_of_their_own_times() -> None:
    def given(*times: Any) -> Given:
        records = [Record("s", {"at": at, "x": 1}, {}, None, "at", time.time_ns(), None) for at in times]
        return Given("p", "s", records, 0, places=range(len(records)))

    several = [given("2024-05-01", "no time"), given("2024-05-01"), given("1850-01-01", "no time", "2024-05-01")]
    assert len(list(gather(several, PLAUSIBLE, lambda: "w-000000000001"))) == 1
    assert [dict(one.mistakes) for one in several] == [{"unreadable": 1}, {}, {"implausible": 1, "unreadable": 1}]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), min_size=1, max_size=6)


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_whatever_is_sent_each_record_is_taken_or_named(requests: list[list[dict[str, Any]]]) -> None:
    several = [
        Given("p", "s", [Record("s", row, {}, None, None, 10**18, None) for row in rows], 0, places=range(len(rows)))
        for rows in requests
    ]
    numbers = iter(range(1, 1_000))
    made = [parsed(id_, content, id_) for id_, content in gather(several, PLAUSIBLE, lambda: f"w-{next(numbers):012d}")]
    taken = sum(m.table.num_rows for m in made if m.header["kind"] == "records")
    assert taken == sum(given.rows - len(given.rejected) for given in several)
    aside = [m for m in made if m.header["kind"] == "rejected"]
    assert sum(m.table.num_rows for m in aside) == sum(len(given.rejected) for given in several)
    assert len(aside) == sum(bool(given.rejected) for given in several)
    assert all(set(META.names) <= set(m.placed().table.column_names) for m in made if m.header["kind"] == "records")


def test_one_record_an_array_and_lines_are_taken(served: Served) -> None:
    assert served.client.post(RECORDS, json={"score": 0.5}).json()["taken"] == 1
    assert served.client.post(RECORDS, json=[]).json()["taken"] == 0
    lines = b'{"score": 0.5}\n\n{"score": 1}\r\n{"score": \n[1]\n{"score": 0.25}'
    headers = {"Content-Type": "application/x-ndjson"}
    answer = served.client.post(RECORDS, content=lines, headers=headers).json()
    assert answer["taken"] == 3 and [bad["record"] for bad in answer["rejected"]] == [2, 3]
    assert len(stored(served.folder, "predict")) == 4
    [why] = quarantined(served.folder)
    assert why.startswith("the line is no JSON") and "other reasons" in why


def test_a_record_that_cannot_be_logged_costs_no_other(served: Served) -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    answer = served.client.post(RECORDS, json=[{"score": 1}, {"score": deep}, 7, {"score": 2}])
    assert answer.status_code == 200
    assert answer.json()["taken"] == 2
    assert [bad["record"] for bad in answer.json()["rejected"]] == [1, 2]
    assert "nested" in answer.json()["rejected"][0]["reason"]
    assert [row["score"] for row in stored(served.folder, "predict")] == [1, 2]
    assert len(quarantined(served.folder)) == 1


def test_a_key_that_is_nested_deep_costs_no_memory_and_no_other_record(served: Served) -> None:
    deep = b"[" * 30 + b"1" + b"]" * 30  # as a key, a text of gigabytes
    content = b'[{"id": "a", "v": 1}, {"id": ' + deep + b', "v": 2}, {"id": "b", "v": 3}]'
    answer = served.client.post(f"{RECORDS}?key=id", content=content).json()
    assert answer["taken"] == 2 and [bad["record"] for bad in answer["rejected"]] == [1]
    assert "a key is nested more than 4 deep" in answer["rejected"][0]["reason"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (RECORDS, b"{"),
        (RECORDS, b"7"),
        (RECORDS, b"[" * 100_000),
        (RECORDS, b'{"a": ' + b"9" * 5_000 + b"}"),
        (RECORDS, b"\xff\xfe"),
        (f"{RECORDS}?key=id", b'[{"score": 1}]'),
        (f"{RECORDS}?time=at", b'[{"score": 1}]'),
        ("/v1/streams//records", b'{"score": 1}'),
        ("/v1/streams/" + "s" * 20_000 + "/records", b'{"score": 1}'),
        (RECORDS, json.dumps([{f"c{i}": 1 for i in range(10_001)}]).encode()),
        (RECORDS, json.dumps([{"n" * 20_000: 1}]).encode()),
        ("/v1/runs", b'{"component": "train"}'),
        ("/v1/runs", b'{"id": "1", "component": "train", "colour": "red"}'),
        ("/v1/runs", b'{"id": "1", "component": "train", "status": "lost"}'),
        ("/v1/runs", b'{"id": "1", "component": "train", "started": "yesterday"}'),
        ("/v1/runs", b'{"id": "1", "component": "train", "started": 1e300}'),
        ("/v1/runs", b'{"id": "1", "component": "train", "metrics": {"auc": NaN}}'),
        ("/v1/runs", b'{"id": "1", "component": "train", "started": 20, "ended": 10, "status": "failed"}'),
        ("/v1/runs", b'{"id": "1", "component": "train", "artifacts": [{"name": "x"}]}'),
        ("/api/v1/lineage", b'{"eventType": "START"}'),
        ("/api/v1/lineage/batch", b'{"eventType": "START"}'),
    ],
    ids=range(21),
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_the_reason(served: Served, path: str, content: bytes) -> None:
    answer = served.client.post(path, content=content)
    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["error"]["message"]
    assert not served.service.inbox.files()


def test_events_of_one_request_are_of_so_many_streams_and_columns(served: Served) -> None:
    kind = {"Content-Type": "application/cloudevents-batch+json"}
    event = {"specversion": "1.0", "source": "shop", "datacontenttype": "application/json"}
    events = [{**event, "id": str(n), "type": f"order.{n}", "data": {"v": 1}} for n in range(limits.STREAMS + 1)]
    answer = served.client.post("/v1/events", json=events, headers=kind)
    assert answer.status_code == 422 and "?stream=" in answer.json()["error"]["message"]
    assert served.client.post("/v1/events?stream=orders", json=events, headers=kind).json()["taken"] == len(events)
    events = [{**event, "id": str(n), "type": "wide", "data": {f"v{n}": 1}} for n in range(limits.COLUMNS + 1)]
    answer = served.client.post("/v1/events", json=events, headers=kind)
    assert answer.status_code == 422 and "10,001 columns" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [RECORDS, "/v1/runs", "/v1/events", "/api/v1/lineage"])
def test_a_project_may_have_any_name_that_is_no_longer_than_others(served: Served, path: str) -> None:
    run = {"id": "1", "component": "train"}
    event = {"run": {"runId": "1"}, "job": {"namespace": "a", "name": "b"}, "eventTime": "2024-05-01T12:00:00Z"}
    cloud = {"specversion": "1.0", "id": "1", "source": "x", "type": "t", "data": {"n": 1}}
    body = {RECORDS: {"n": 1}, "/v1/runs": run, "/v1/events": cloud, "/api/v1/lineage": event}[path]
    kind = {"Content-Type": "application/cloudevents+json" if path == "/v1/events" else "application/json"}
    for length, taken in ((limits.NAME, True), (limits.NAME + 1, False)):
        answer = served.client.post(f"{path}?project={'p' * length}", content=json.dumps(body), headers=kind)
        assert answer.is_success if taken else answer.status_code == 422, answer.text
    assert "16,384 are possible" in answer.json()["error"]["message"]
    assert len(served.service.inbox.files()) == 1


def test_a_stream_may_have_any_name(served: Served) -> None:
    for name in ("a/b", "ü ß", "100 %", "records", "a/records/b", "a\nb", "a\n"):
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        assert served.client.post(f"/v1/streams/{quoted}/records", json={"n": 1}).json()["taken"] == 1
        assert [row["n"] for row in stored(served.folder, name)] == [1]


def test_a_request_that_is_repeated_with_its_key_counts_once(served: Served) -> None:
    for key in ("one", "one", "two", None):
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = served.client.post(RECORDS, json=[{"n": 1}, {"n": 2}], headers=headers)
        assert answer.json()["taken"] == 2
    assert len(stored(served.folder, "predict")) == 6
    served.client.post(RECORDS, json=[{"n": 1}, {"n": 2}], headers={"Idempotency-Key": "two"})
    assert len(stored(served.folder, "predict")) == 6
    served.client.post("/v1/streams/other/records", json={"n": 1}, headers={"Idempotency-Key": "two"})
    assert len(stored(served.folder, "other")) == 1


def test_other_records_under_a_used_key_are_another_request_and_none_is_lost(served: Served) -> None:
    first: list[Any] = [{"n": 1, "m": "x"}, 7]
    written_otherwise: list[Any] = [{"m": "x", "n": 1}, 7]
    other: list[Any] = [{"n": 2, "m": "x"}, {"n": 3, "m": "x"}]
    headers = {"Idempotency-Key": "one"}
    for together in ([first, written_otherwise], [other], [first, other]):
        for rows in together:
            answer = served.client.post(RECORDS, json=rows, headers=headers)
            assert answer.json()["taken"] == sum(isinstance(row, dict) for row in rows)
        assert stored(served.folder, "predict")  # takes what is there
    assert sorted(row["n"] for row in stored(served.folder, "predict")) == [1, 2, 3]
    for query in ("", "?key=n"):  # another meaning
        assert served.client.post(f"{RECORDS}{query}", json=first[0], headers=headers).json()["taken"] == 1
    assert len(stored(served.folder, "predict")) == 5


def test_what_came_first_is_taken_first_whatever_came_with_it(served: Served) -> None:
    numbers: list[Any] = [{"id": i, "salary": 1_000 + i} for i in range(50)]
    for rows in ([*numbers, "no record"], [{"id": 99, "salary": "oops"}], [*numbers, "no record"]):
        assert served.client.post(RECORDS, json=rows).json()["taken"] == sum(isinstance(row, dict) for row in rows)
    found = stored(served.folder, "predict")
    assert [row["salary"] for row in found if row["id"] == 99] == [None]  # its value is set aside
    assert sorted(row["salary"] for row in found if row["id"] != 99) == sorted(2 * [1_000 + i for i in range(50)])


def test_a_repeated_request_counts_once_whatever_comes_with_it() -> None:
    rows: list[dict[str, Any]] = [{"a": 1}, {"a": "text"}, {"a": [1, {"b": 2}]}]

    def names(*requests: Sequence[Mapping[str, Any]]) -> set[str]:
        several = [
            Given("p", "s", [Record("s", dict(r), {}, None, None, 10**18, None) for r in some], 0,
                  [(f"key{i}", 0, len(some))], range(len(some)))
            for i, some in enumerate(requests)
        ]  # fmt: skip
        numbers = iter(range(1, 1_000))
        made = [parsed(i, c, i) for i, c in gather(several, PLAUSIBLE, lambda: f"w-{next(numbers):012d}")]
        return {name for m in made for name, _, _ in m.header.get("once", ()) if name.startswith("key0")}

    alone = names(rows)
    assert names(rows, [{"a": {"c": 1}}]) == alone and names(rows, rows[:1]) == alone


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([1, "x", [1]])), min_size=1, max_size=8), st.booleans())
def test_what_counts_once_is_named_in_whichever_message_it_is(runs: list[tuple[int, Any]], torn: bool) -> None:
    """Several records under one name, in parts: each record is named once, by its name and the first that is there."""
    records, named = list[Record](), list[tuple[str, int, int]]()
    for number, (rows, value) in enumerate(runs):
        named.append((f"n{number}", len(records), rows))
        for row in range(rows):
            at = value if row != 1 else [value]
            records.append(Record("s", None, {"v": at, "i": len(records)}, "k" if torn else None, None, 10**18, None))
    given_ = Given("p", "s", records, 0, once=named, places=range(len(records)))
    numbers = iter(range(1, 1_000))
    covered = list[int]()
    for id_, content in gather([given_], PLAUSIBLE, lambda: f"w-{next(numbers):012d}"):
        message = parsed(id_, content, id_)
        own = message.table["i"].to_pylist() if "i" in message.table.column_names else []
        for name, first, rows in message.header.get("once", ()):
            here = own[first : first + rows]
            of, _, offset = name.partition("/")
            start, whole = next((start, rows_) for each, start, rows_ in named if each == of)
            assert here[0] == start + int(offset or 0) and set(here) <= set(range(start, start + whole))
            assert offset or len(here) == whole
            covered += here
    assert sorted(covered) == list(range(len(records))) and next(numbers) <= 8


def event(**changed: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": "1", "source": "/app", "type": "predict", "subject": "AA1",
        "time": "2024-05-01T12:00:00Z", "data": {"score": 0.5}, **changed,
    }  # fmt: skip


def test_cloudevents_in_each_mode_are_the_same_record(served: Served) -> None:
    encoded = base64.b64encode(b'{"score": 0.5}').decode()
    text = event(id="3", data_base64=encoded, datacontenttype="application/json")
    del text["data"]
    for body, kind in (
        (event(), "application/cloudevents+json"),
        ([event(id="2"), text], "application/cloudevents-batch+json; charset=utf-8"),
    ):
        answer = served.client.post("/v1/events", content=json.dumps(body), headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
    attributes = {f"ce-{name}": value for name, value in event(id="4").items() if name != "data"}
    headers = {**attributes, "Content-Type": "application/json"}
    assert served.client.post("/v1/events", content=b'{"score": 0.5}', headers=headers).json()["taken"] == 1
    rows = stored(served.folder, "predict")
    assert len(rows) == 4
    for row in rows:
        assert (row["_ff_key"], row["score"], str(row["_ff_time"])) == ("AA1", 0.5, "2024-05-01 12:00:00+00:00")


def test_an_event_counts_once_by_its_source_and_id(served: Served) -> None:
    kind = {"Content-Type": "application/cloudevents-batch+json"}
    for _ in range(2):
        both = [event(), event(), event(source="/other"), event(id="2", type="arrivals")]
        assert served.client.post("/v1/events", content=json.dumps(both), headers=kind).json()["taken"] == 4
    assert (len(stored(served.folder, "predict")), len(stored(served.folder, "arrivals"))) == (2, 1)


def test_data_that_is_no_object_is_a_column(served: Served) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "a%20b",
        "ce-type": "notes",
        "Content-Type": "text/x",
    }
    assert served.client.post("/v1/events?stream=said", content=b"hello", headers=headers).json()["taken"] == 1
    assert [row["data"] for row in stored(served.folder, "said")] == ["hello"]


@pytest.mark.parametrize(
    "changed", [{"id": ""}, {"source": None}, {"type": 7}, {"specversion": "0.3"}, {"time": 5}, {"data_base64": "x"}]
)
def test_what_is_no_event_is_refused(changed: Mapping[str, Any]) -> None:
    with pytest.raises(InputError):
        structured(event(**changed))


def runs_of(folder: Path, project: str = "flights") -> list[Run]:
    store = Store(str(folder), project)
    try:
        store.writer.catch_up()
        with store.writer.database.read() as connection:
            return runs.recent(connection, project, limit=100)
    finally:
        store.close()


def test_a_run_is_reported_at_its_begin_and_at_its_end_in_any_order(served: Served) -> None:
    begin = {"id": "1", "component": "train", "started": "2024-05-01T12:00:00Z", "params": {"depth": 6}}
    end = {
        "id": "1", "component": "train", "status": "succeeded", "ended": "2024-05-01T12:05:00Z",
        "metrics": {"auc": 0.83}, "artifacts": [{"name": "model", "direction": "output", "rows": 3}],
    }  # fmt: skip
    other = [{**entry, "id": "2"} for entry in (end, begin, end, begin)]
    for entry in (begin, begin, end, *other):
        assert served.client.post("/v1/runs", json=entry).json() == {"taken": 1}
    found = runs_of(served.folder)
    assert sorted(run.id for run in found) == ["1", "2"]
    for run in found:
        assert run.status is RunStatus.SUCCEEDED and run.duration == 300.0
        assert run.params == {"depth": 6} and run.metrics == {"auc": 0.83}
        assert [(a.name, a.direction, a.rows) for a in run.artifacts] == [("model", "output", 3)]


def test_a_token_changes_no_run_of_another_project(tmp_path: Path) -> None:
    for public in serving(tmp_path / "store", Reach(LOOPBACK, local=False)):
        secrets = {name: public.token(Role.INGEST, [name]) for name in ("flights", "payments")}
        for name, status in (("flights", "succeeded"), ("payments", "failed")):
            entry = {"id": "1", "component": "train", "status": status}
            answer = public.client.post("/v1/runs", json=entry, headers=public.as_(secrets[name]))
            assert answer.status_code == 200
        assert [run.status for run in runs_of(public.folder)] == [RunStatus.SUCCEEDED]
        assert [run.status for run in runs_of(public.folder, "payments")] == [RunStatus.FAILED]
        refused = public.client.post("/v1/runs?project=flights", json={}, headers=public.as_(secrets["payments"]))
        assert refused.status_code == 403
