"""The collector's door: what is too large, too slow or would harm a stream is refused, else set aside."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from fourfold import counts
from fourfold.config import make_task
from fourfold.log import messages
from fourfold.log.wire import _sealed
from fourfold.log.writers import sent_id
from fourfold.model import Run, RunStatus, limits
from fourfold.model.records import BATCH, EVENT_TIME, KEY, META, PLACE, ROW, SET_ASIDE
from fourfold.sdk.batch import prepare
from fourfold.serve.access import Refused
from fourfold.serve.limits import Limited, Limits
from fourfold.serve.routes import failure
from fourfold.serve.service import Reach
from fourfold.state import runs
from fourfold.store import Store
from tests.test_serve import Served, message, rows_of, serving

NAME = "writer-000000000001"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach())


def batch(rows: int = 3) -> pa.Table:
    """Records as a process sends them."""
    [(prepared, _)] = prepare(pa.table({"score": [0.25 * i for i in range(rows)]}), None, None, time.time_ns(), None)
    return prepared.table


def as_message(table: pa.Table, header: Mapping[str, Any] | None = None, *, compression: str | None = None) -> bytes:
    """A message's file, of whatever table."""
    said = messages.records("flights", "predict", None, None) if header is None else header
    sink = io.BytesIO()
    table = table.replace_schema_metadata({b"fourfold": json.dumps(said).encode()})
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as out:
        out.write_table(table)
    return sink.getvalue() + _sealed(zlib.crc32(sink.getvalue()))


def small(**allowed: Any) -> TestClient:
    """An application that answers how many bytes it was sent, behind limits."""

    async def count(request: Request) -> Response:
        try:
            return PlainTextResponse(str(len(await request.body())))
        except Refused as refused:
            return failure(refused.status, str(refused), refused.headers)

    app = Starlette(routes=[Route(path, count, methods=["POST"]) for path in ("/", "/v1/messages/")])
    return TestClient(Limited(app, Limits(**allowed)), base_url="http://127.0.0.1")


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() -> None:
    client = small(body=1_000)
    assert client.post("/", content=b"x" * 1_000).text == "1000"
    assert client.post("/", content=b"x" * 1_001).status_code == 413
    assert client.post("/", content=iter([b"x" * 600, b"x" * 600])).status_code == 413


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_a_body_is_decompressed_up_to_its_limit(encoding: str) -> None:
    client = small(unpacked=4 << 20)

    def packed(size: int) -> bytes:
        content = bytes(size)
        return gzip.compress(content) if encoding == "gzip" else bytes(pa.Codec("zstd").compress(content))

    headers = {"Content-Encoding": encoding}
    assert client.post("/", content=packed(4 << 20), headers=headers).text == str(4 << 20)
    bomb = packed(64 << 20)
    assert len(bomb) < 100_000
    assert client.post("/", content=bomb, headers=headers).status_code == 413
    assert client.post("/", content=packed(1_000)[:-5], headers=headers).status_code == 400
    assert client.post("/", content=b"nothing of the kind", headers=headers).status_code == 400
    assert client.post("/", content=b"", headers={"Content-Encoding": "br"}).status_code == 415


def test_a_body_that_stalls_is_cut_off() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(Refused, match="did not come") as refused:
            await receive()
        assert refused.value.status == 408 and refused.value.headers == {"Connection": "close"}
        sent.append("refused")

    async def stalls() -> Any:
        await asyncio.Event().wait()

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        await Limited(app, Limits(piece_within=0.01))(scope, stalls, lambda message: None)  # type: ignore[arg-type,return-value]

    asyncio.run(run())
    assert sent == ["refused"]


def test_bodies_that_are_here_at_once_are_bounded_and_room_is_given_back() -> None:
    client = small(held=1_600)
    for path, most in (("/v1/messages/", 1_600), ("/", 200)):  # what is read as JSON takes more as values
        for _ in range(3):
            assert client.post(path, content=b"x" * most).text == str(most)
        refused = client.post(path, content=b"x" * (most + 1))
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert client.post(path, content=b"x" * most).status_code == 200


def test_a_large_body_of_json_is_refused_for_its_size_and_not_for_the_room_it_needs(served: Served) -> None:
    answer = served.client.post("/v1/streams/s/records", content=b" " * 40_000_000)
    assert answer.status_code == 413 and "16,777,216" in answer.json()["error"]["message"]
    answer = served.client.post("/v1/streams/s/records", content=b"[" + b"{}," * limits.PARTS + b"{}]")
    assert answer.status_code == 413 and "2,000,002 objects and lists" in answer.json()["error"]["message"]


def test_many_records_of_many_columns_are_refused_however_few_bytes_their_nulls_take(served: Served) -> None:
    table = batch(1_000_000)
    for number in range(40):
        table = table.append_column(f"c{number}", pa.nulls(table.num_rows))
    answer = served.client.put(f"/v1/messages/{NAME}", content=as_message(table))
    assert answer.status_code == 422 and "33,554,432 at once" in answer.json()["error"]["message"]


def without(name: str) -> pa.Table:
    return batch().drop_columns([name])


def instead(name: str, values: Any) -> pa.Table:
    table = batch()
    return table.set_column(table.schema.get_field_index(name), name, values)


def deep(levels: int) -> pa.Table:
    kind = pa.int64()
    for _ in range(levels):
        kind = pa.list_(kind)
    return batch().append_column("deep", pa.nulls(3, kind))


LATE = pa.array([2**62] * 3, pa.int64()).cast(META.field(EVENT_TIME).type)
HARMFUL = {
    **{f"without {field.name}": without(field.name) for field in META if field.name not in PLACE},
    "times as numbers": instead(EVENT_TIME, pa.array([1, 2, 3])),
    "times beyond all calendars": instead(EVENT_TIME, LATE),
    "no times": instead(EVENT_TIME, pa.nulls(3, META.field(EVENT_TIME).type)),
    "keys as numbers": instead(KEY, pa.array([1, 2, 3])),
}
FOREIGN = {
    "a name of fourfold's": batch().append_column("_FF_time", pa.array([1, 2, 3])),
    "values set aside": batch().append_column(SET_ASIDE, pa.nulls(3, SET_ASIDE.type)),
    "nested too deep": deep(limits.NESTING + 1),
    "a name that ends early elsewhere": batch().append_column("score\0", pa.array([1, 2, 3])),
    "a name too long": batch().append_column("n" * (limits.NAME + 1), pa.array([1, 2, 3])),
    "a dictionary": batch().append_column("a", pa.array(["x"] * 3).dictionary_encode()),
    "runs": batch().append_column("a", pa.RunEndEncodedArray.from_arrays([3], ["x"])),
    "views": batch().append_column("a", pa.array(["x"] * 3, pa.string_view())),
}


@pytest.mark.parametrize("table", [*HARMFUL.values(), *FOREIGN.values()], ids=[*HARMFUL, *FOREIGN])
def test_what_would_harm_a_stream_is_refused(served: Served, table: pa.Table) -> None:
    answer = served.client.put(f"/v1/messages/{NAME}", content=as_message(table))
    assert answer.status_code == 422 and answer.json()["error"]["message"]
    assert not served.service.inbox.files()


@pytest.mark.parametrize("table", HARMFUL.values(), ids=HARMFUL)
def test_what_would_harm_a_stream_and_is_there_anyway_costs_no_other_record(served: Served, table: pa.Table) -> None:
    (served.folder / "inbox" / f"{NAME}.arrow").write_bytes(as_message(table))
    name, content = message(served.folder / "made", 2)
    assert served.client.put(f"/v1/messages/{name}", content=content).status_code == 204
    assert rows_of(served) == 3
    store = Store(str(served.folder), "flights")
    assert [entry.batch for entry in store.writer.quarantined()] == [NAME]
    store.close()


def test_what_a_message_says_of_its_records_places_is_not_trusted(served: Served) -> None:
    """A fourfold of before sent them, right ones."""
    places = {BATCH: pa.array(["another-000000000001"] * 3), ROW: pa.array([7, 7, 0])}
    sent = pa.table({**{name: batch()[name] for name in batch().column_names}, **places})
    assert served.client.put(f"/v1/messages/{NAME}", content=as_message(sent)).status_code == 204
    store = Store(str(served.folder), "flights")
    found = store.caught_up().log("predict").whole().records(None).sort_by(ROW)
    assert found[BATCH].to_pylist() == [sent_id(NAME, "flights")] * 3 and found[ROW].to_pylist() == [0, 1, 2]
    assert found["score"].to_pylist() == [0.0, 0.25, 0.5]
    store.close()


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_columns_that_are_compressed_one_by_one_are_never_read(served: Served, compression: str) -> None:
    bomb = as_message(batch().append_column("a", pa.array([b"\0" * (10 << 20)] * 3)), compression=compression)
    assert len(bomb) < 1 << 20
    answer = served.client.put(f"/v1/messages/{NAME}", content=bomb)
    assert answer.status_code == 422 and "Content-Encoding" in answer.json()["error"]["message"]
    (served.folder / "inbox" / f"{NAME}.arrow").write_bytes(bomb)
    name, content = message(served.folder / "made", 2)
    assert served.client.put(f"/v1/messages/{name}", content=content).status_code == 204
    assert rows_of(served) == 3


def test_numbers_of_another_byte_order_are_refused_and_not_misread(served: Served) -> None:
    content = bytearray(as_message(batch()))
    root = content.index(b"\xff\xff\xff\xff") + 8  # of the first part's metadata: the table of a message
    at = root + struct.unpack_from("<I", content, root)[0]
    vtable = at - struct.unpack_from("<i", content, at)[0]
    header = at + struct.unpack_from("<H", content, vtable + 4 + 2 * 2)[0]
    schema = header + struct.unpack_from("<I", content, header)[0]
    fields = schema - struct.unpack_from("<i", content, schema)[0]
    assert struct.unpack_from("<H", content, fields + 4)[0] == 0  # the byte order is left out
    struct.pack_into("<H", content, fields + 4, struct.unpack_from("<H", content, fields + 6)[0])  # now it is not 0
    body = bytes(content[:-12])
    answer = served.client.put(f"/v1/messages/{NAME}", content=body + _sealed(zlib.crc32(body)))
    assert answer.status_code == 422 and "highest byte" in answer.json()["error"]["message"]


def test_records_that_take_no_room_are_counted_too(served: Served) -> None:
    claimed = pa.table({"nothing": pa.nulls(limits.RECORDS + 1)})
    answer = served.client.put(f"/v1/messages/{NAME}", content=as_message(claimed))
    assert answer.status_code == 422 and "records" in answer.json()["error"]["message"]
    nested = pa.ListArray.from_arrays([0, limits.VALUES + 1], pa.nulls(limits.VALUES + 1))
    answer = served.client.put(f"/v1/messages/{NAME}", content=as_message(batch(1).append_column("a", nested)))
    assert answer.status_code == 422 and "values" in answer.json()["error"]["message"]


def test_a_message_that_came_compressed_is_stored_as_it_was(served: Served) -> None:
    content = as_message(batch())
    packed = bytes(pa.Codec("zstd").compress(content))
    answer = served.client.put(f"/v1/messages/{NAME}", content=packed, headers={"Content-Encoding": "zstd"})
    assert answer.status_code == 204
    assert rows_of(served) == 3


def test_what_counts_once_is_named_by_collectors_alone(served: Served) -> None:
    header = messages.records("flights", "predict", None, None, [("a name", 0, 3)])
    answer = served.client.put(f"/v1/messages/{NAME}", content=as_message(batch(), header))
    assert answer.status_code == 422 and not served.service.inbox.files()


def test_more_json_than_memory_bears_is_refused(served: Served) -> None:
    for kind in ("application/json", "application/x-ndjson"):
        packed = gzip.compress(b'{"a": 1}' + b"\n" * limits.JSON)
        headers = {"Content-Encoding": "gzip", "Content-Type": kind}
        answer = served.client.post("/v1/streams/predict/records", content=packed, headers=headers)
        assert answer.status_code == 413


def run_counts(change: Any = None) -> tuple[pa.Table, Mapping[str, Any]]:
    """Counts of a run's frame, as a process sends them."""
    row = {
        "column": "", "kind": "stream", "slice": "{}", "bucket": 0, "binning": 0, "tallies": [3, 0, 0], "sums": [],
        "low": None, "high": None, "bins": [], "labels": [], "counts": [], "registers": [],
    }  # fmt: skip
    table = pa.Table.from_pylist([{**row, **(change or {})}], schema=counts.SCHEMA)
    header = {
        "format": 1, "kind": "counts", "project": "flights", "stream": "train.data", "started": 0.0, "binnings": {},
        "small": [], "identifiers": {},
    }  # fmt: skip
    return table, header


@pytest.mark.parametrize(
    "change",
    [
        {"tallies": [3]}, {"kind": "unheard of"}, {"slice": "[1]"}, {"slice": "{"}, {"counts": [5]},
        {"bins": [1], "labels": ["a"], "counts": [1]}, {"labels": ["a"], "counts": [1]}, {"bucket": None},
        {"kind": None},
    ],
)  # fmt: skip
def test_counts_that_do_not_add_up_are_refused(served: Served, change: Mapping[str, Any]) -> None:
    whole = as_message(*run_counts())
    assert served.client.put(f"/v1/messages/{NAME}", content=whole).status_code == 204
    answer = served.client.put("/v1/messages/writer-000000000002", content=as_message(*run_counts(change)))
    assert (answer.status_code == 422 and "counts" in answer.json()["error"]["message"]) or "slice" in answer.text


def of_run(**changed: Any) -> Mapping[str, Any]:
    """The header of a message of one run with other fields."""
    return of_runs({**json.loads(messages.run_text(Run("r1", "train", RunStatus.RUNNING, 1.0))), **changed})


def of_runs(*several: Any, kind: str = "runs") -> Mapping[str, Any]:
    return {"format": 1, "kind": kind, "project": "flights", "runs": [json.dumps(each) for each in several]}


def of_dropped(**changed: Any) -> Mapping[str, Any]:
    fields = {"host": "h", "process": 1, "records": 5, "at": 1.0, **changed}
    return {
        "format": 1, "kind": "rejected", "project": "flights", "stream": "dropped", "reason": "why", "dropped": fields,
    }  # fmt: skip


INFINITE, NAN = float("inf"), float("nan")
IMPOSSIBLE: dict[str, tuple[Mapping[str, Any], str]] = {
    **{
        f"dropped {name}={value!r}": (of_dropped(**{name: value}), f"{name}={value!r}")
        for name, value in (
            ("process", INFINITE), ("process", True), ("records", INFINITE), ("records", -5), ("records", 1.5),
            ("records", "5"), ("at", NAN), ("at", INFINITE), ("at", None), ("host", ""), ("host", 5),
        )
    },
    **{
        f"run {name}={value!r}": (of_run(**{name: value}), f"{name}={value!r}")
        for name, value in (
            ("started", "abc"), ("started", NAN), ("started", None), ("started", True), ("ended", INFINITE),
            ("at", "yesterday"), ("seen", [1]), ("id", ""), ("id", 5), ("component", None), ("host", None),
            ("process", -1), ("process", 2**31), ("error", 5), ("parent", 5), ("code", []), ("params", "x"),
            ("metrics", 5),
        )
    },
    "run started=a number without end": (of_run(started=10**400), "started=1000"),
    "run of a status": (of_run(status="paused"), "'paused'"),
    "run without a start": ({**of_run(), "runs": ['{"id": "r1", "component": "c", "status": "running"}']}, "started"),
    "metric": (of_run(metrics={"auc": "high"}), "'auc'='high'"),
    "artifact": (of_run(artifacts=[{"name": "x", "fingerprint": 5}]), "fingerprint=5"),
    "rows": (of_run(artifacts=[{"name": "x", "direction": "input", "kind": "frame", "fingerprint": "f", "rows": -1}]),
             "rows=-1"),
    "report": (of_runs({"id": "r1", "component": "c", "status": "running", "started": INFINITE}, kind="reported"),
               "started=inf"),
    "one of several": (of_runs({"id": "r1", "component": "c", "status": "running", "started": 1.0},
                               {"id": "r2", "component": "c", "status": "running", "started": NAN}), "started=nan"),
    "nested": (of_run(params=json.loads("[" * 300 + "]" * 300)), "params=[["),
    "text nested": ({**of_run(), "runs": ["[" * 100_000]}, "Recursion"),
    "counts": ({**run_counts()[1], "started": NAN}, "started=nan"),
    "identifiers": ({**run_counts()[1], "identifiers": {"x": INFINITE}}, "infinity"),
}  # fmt: skip


@pytest.mark.parametrize(("header", "told"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_is_refused_with_its_field_and_value_and_stops_nothing_where_it_waits(
    served: Served, header: Mapping[str, Any], told: str
) -> None:
    content = as_message(run_counts()[0] if header["kind"] == "counts" else pa.table({}), header)
    answer = served.client.put(f"/v1/messages/{NAME}", content=content)
    assert answer.status_code == 422 and told in answer.json()["error"]["message"]
    assert len(answer.json()["error"]["message"]) < 1_000
    assert not served.service.inbox.files()
    (served.folder / "inbox" / f"{NAME}.arrow").write_bytes(content)
    name, sound = message(served.folder / "made", 2)
    assert served.client.put(f"/v1/messages/{name}", content=sound).status_code == 204
    assert rows_of(served) == 3
    with contextlib.closing(Store(str(served.folder), "flights")) as store:
        (entry,) = store.writer.quarantined()
        assert told in entry.reason and store.reader.quarantine.dropped() == []


def test_what_may_be_said_of_runs_and_dropped_records_is_taken(served: Served) -> None:
    for number, header in enumerate((
        of_run(), of_run(started=0, ended=1e300, at=-1, seen=2**40, parent="", error="", process=0, host=""),
        of_run(metrics={"auc": NAN, "loss": INFINITE, "n": 2**70}, params={"x": {"y": [None, NAN]}}),
        of_runs({"id": "r9", "component": "c", "status": "lost", "started": 1}, kind="reported"),
        {"format": 0, "kind": "run", "project": "flights", "run": json.loads(of_run()["runs"][0])},
        of_dropped(records=2**62, at=0), of_dropped(records=0),
    ), 1):  # fmt: skip
        answer = served.client.put(f"/v1/messages/writer-{number:012d}", content=as_message(pa.table({}), header))
        assert answer.status_code == 204, answer.text
    with contextlib.closing(Store(str(served.folder), "flights")) as store:
        store.writer.catch_up()
        assert store.writer.quarantined() == []
        assert sorted(run.id for run in store.reader.recall(runs.recent)) == ["r1", "r9"]


def test_a_large_message_is_read_beside_the_others(served: Served) -> None:
    content = as_message(batch(200_000))
    assert served.client.put(f"/v1/messages/{NAME}", content=content).status_code == 204
    assert rows_of(served) == 200_000


def test_what_comes_after_the_end_of_the_committer_is_stored_too(served: Served) -> None:
    served.service.committer.close()
    name, content = message(served.folder / "made")
    assert served.client.put(f"/v1/messages/{name}", content=content).status_code == 204
    assert rows_of(served) == 3


def test_a_message_belongs_to_its_project_whatever_id_another_sends_it_under(served: Served) -> None:
    """An id that is known, as of a file in quarantine, cannot be claimed for what another project will send."""
    own = served.service.committer.new_id().rpartition("-")[0]
    for writer in (own, f"{own}_", "writer"):
        for number in range(1, 30):
            content = as_message(pa.table({}), {**of_run(), "project": "trains"})
            assert served.client.put(f"/v1/messages/{writer}-{number:012d}", content=content).status_code == 204
    for _ in range(10):
        assert served.client.post("/v1/streams/predict/records?project=flights", json={"x": 1.0}).status_code == 200
    name, content = message(served.folder / "made", 5)
    for _ in range(2):
        assert served.client.put(f"/v1/messages/{name}", content=content).status_code == 204
        assert rows_of(served) == 13


def test_a_message_of_the_client_has_the_limit_of_json_however_small_it_is_compressed(served: Served) -> None:
    bomb = gzip.compress(b'{"header":{"kind":"records"},"records":[' + b"{}," * (limits.JSON // 3) + b"{}]}")
    assert len(bomb) < 100_000
    answer = served.client.put(f"/v1/plain/{NAME}", content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413 and "16,777,216" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"name": "c", "buckets": 10**9, "sql": ""}, "2 to 100"),
        ({"name": "c", "buckets": 0, "sql": "(SELECT count(*) FROM read_csv('/etc/passwd'))"}, "subquery"),
        ({"name": "c", "buckets": 0, "sql": "1) FROM log; DROP TABLE log; SELECT (1"}, "SQL expression"),
        ({"name": "c", "buckets": 0, "sql": "repeat('x', 1000000000)"}, "any size"),
    ],
    ids=["buckets", "query", "statements", "size"],
)
def test_a_declaration_that_no_process_could_make_is_refused(served: Served, part: dict[str, Any], told: str) -> None:
    header = messages.task("flights", make_task("t", prediction="predict.score", label="arrivals.late"))
    header["task"] = json.dumps({**json.loads(header["task"]), "slices": [{"parts": [part]}]})
    plain = json.dumps({"header": header}).encode()
    for path, content in (("messages", as_message(pa.table({}), header)), ("plain", plain)):
        answer = served.client.put(f"/v1/{path}/{NAME}", content=content)
        assert answer.status_code == 422 and told in answer.json()["error"]["message"]
    assert not served.service.inbox.files()
