"""The record log: appends, schema changes, quarantine, compaction, several writers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from fourfold.errors import StoreError
from fourfold.log import Inbox, Message, Quarantine, StreamLog
from fourfold.log.recent import RecentRecords
from fourfold.log.schema import conform
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW, RUN
from fourfold.store import Store
from tests.support import START, Sender


def batch(columns: dict[str, pa.Array], first: int = 0) -> pa.Table:
    rows = len(next(iter(columns.values())))
    meta = {
        KEY: pa.array([f"k{first + i}" for i in range(rows)]),
        EVENT_TIME: pa.array([START * 1_000_000] * rows, META.field(EVENT_TIME).type),
        LOG_TIME: pa.array([START * 1_000_000] * rows, META.field(LOG_TIME).type),
        RUN: pa.nulls(rows, pa.string()),
        BATCH: pa.array(["b"] * rows),
        ROW: pa.array(range(rows), pa.int64()),
    }
    return pa.table({**columns, **meta})


def message(sequence: int, table: pa.Table, writer: str = "w") -> Message:
    names = pa.array([f"{writer}-{sequence:012d}"] * len(table))
    named = table.set_column(table.schema.get_field_index(BATCH), BATCH, names)
    return Message(writer, sequence, {"kind": "records"}, named)


def keys(files: Sequence[str]) -> list[str]:
    return sorted(read(files)[KEY].to_pylist()) if files else []


def read(files: Sequence[str]) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in files], promote_options="default")


def test_what_is_new_since_a_version_is_read_and_nothing_else(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    assert log.version is None
    log.append([message(1, batch({"x": pa.array([1.0, 2.0])}))])
    first = log.whole()
    assert (first.version, keys(first.added)) == (0, ["k0", "k1"])
    log.append([message(2, batch({"x": pa.array([3.0])}, 2))])
    second = log.changes(0)
    assert (keys(second.before), keys(second.added), keys(second.removed)) == (["k0", "k1"], ["k2"], [])


def test_a_batch_of_the_same_writer_and_number_is_appended_once(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    for _ in range(3):
        log.append([message(1, batch({"x": pa.array([1.0])}))])
    log.append([message(1, batch({"x": pa.array([1.0])}, 1), writer="another")])
    assert keys(log.whole().added) == ["k0", "k1"]


def test_records_are_read_by_a_condition_of_a_log_that_is_not_there_too(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    assert log.whole().records(pc.field(KEY) == "k1", [KEY]).num_rows == 0
    log.append([message(1, batch({"x": pa.array([1.0, 2.0, 3.0])}))])
    assert log.whole().records(pc.field(KEY) == "k1", [KEY]).to_pylist() == [{KEY: "k1"}]


def test_records_are_found_by_key_and_batch_in_files_that_a_deletion_rewrote(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    log.append([message(1, batch({"x": pa.array([1.0, 2.0, 3.0])}))])
    log.delete(["k1"])
    assert log.whole().records(pc.field(KEY).isin(["k0", "k1", "k2"]), [KEY]).num_rows == 2
    log.append([message(1, batch({"x": pa.array([1.0, 2.0, 3.0])}))])  # sent again
    assert keys(log.whole().added) == ["k0", "k2"]


def test_compaction_changes_no_records_and_hides_nothing_that_is_new(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    for i in range(6):
        log.append([message(i + 1, batch({"x": pa.array([float(i)])}, i))])
        if i == 3:
            seen = log.whole().version
    assert log.compact(at_least=2)
    found = log.changes(seen)
    assert (keys(found.before), keys(found.added)) == ([f"k{i}" for i in range(4)], ["k4", "k5"])
    assert len(keys(log.whole().added)) == 6


def test_deletion_by_key_removes_exactly_these_keys_whatever_they_hold(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    table = batch({"x": pa.array([1.0, 2.0, 3.0])})
    hostile = "k' OR '1'='1"
    log.append([message(1, table.set_column(table.schema.get_field_index(KEY), KEY, pa.array(["a", hostile, "c"])))])
    log.delete([hostile])
    assert keys(log.whole().added) == ["a", "c"]
    log.delete([])
    assert keys(log.whole().added) == ["a", "c"]


@pytest.mark.parametrize("name", ["a b", "50%", "é", "#1", "a+b"])
def test_a_store_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name / "store", "test")
    sender = Sender(store)
    for i in range(2):
        sender.records("predict", [{"key": str(i), "score": 0.5, "time": START, "log_time": START}])
        assert store.metric("predict", "rows").value.value == i + 1
    store.writer.delete("predict", ["0"])
    assert store.metric("predict", "rows").value.value == 1.0


def test_new_columns_widen_the_schema(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    log.append([message(1, batch({"x": pa.array([1.0])}))])
    log.append([message(2, batch({"x": pa.array([2.0]), "new": pa.array(["a"])}, 1))])
    assert sorted(read(log.whole().added)["new"].to_pylist(), key=str) == [None, "a"]


@pytest.mark.parametrize("name", ["", "a b,;{}()=", "é", "a'b\"c", "x" * 300])
def test_any_column_name_can_be_logged_and_read(tmp_path: Path, name: str) -> None:
    log = StreamLog(tmp_path / "s", "s")
    log.append([message(1, batch({name or "unnamed": pa.array([1.0])}))])
    assert read(log.whole().added)[name or "unnamed"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("known", "values", "expected"),
    [
        (pa.int64(), pa.array([1.0, None, float("nan")]), [1, None, None]),  # pandas' integers with nulls
        (pa.float64(), pa.array([1, 2]), [1.0, 2.0]),
        (pa.int64(), pa.array([True, False]), [1, 0]),
        (pa.bool_(), pa.array([1, 0, None]), [True, False, None]),
        (pa.string(), pa.nulls(2), [None, None]),
        (pa.float64(), pa.array([None, None], pa.string()), [None, None]),
        (pa.int64(), pa.array(["1", None, "-5"]), [1, None, -5]),  # as a form or a CSV file gives numbers
        (pa.float64(), pa.array(["0.5", "1.0", None]), [0.5, 1.0, None]),
        (pa.bool_(), pa.array(["true", "false"]), [True, False]),
    ],
)
def test_a_change_of_type_that_loses_nothing_is_cast(
    known: pa.DataType, values: pa.Array, expected: list[object]
) -> None:
    table, conflicts = conform(pa.table({"c": values}), pa.schema([("c", known)]), "s")
    assert conflicts == []
    assert (table["c"].type, table["c"].to_pylist()) == (known, expected)


@pytest.mark.parametrize(
    ("known", "values", "kind", "expected"),
    [
        (pa.int64(), pa.array([1.5]), pa.float64(), [1.5]),
        (pa.bool_(), pa.array([2]), pa.int64(), [2]),
        (pa.int64(), pa.array([Decimal("1.5")]), pa.float64(), [1.5]),
        (pa.list_(pa.int64()), pa.array([[1.5], None, []]), pa.list_(pa.float64()), [[1.5], None, []]),
        (
            pa.struct([("a", pa.int64()), ("b", pa.int64())]),
            pa.array([{"b": 1.5, "c": "x"}, None]),
            pa.struct([("a", pa.int64()), ("b", pa.float64()), ("c", pa.string())]),
            [{"a": None, "b": 1.5, "c": "x"}, None],
        ),
    ],
)
def test_a_change_of_type_that_a_wider_type_holds_is_taken(
    known: pa.DataType, values: pa.Array, kind: pa.DataType, expected: list[object]
) -> None:
    table, conflicts = conform(pa.table({"c": values}), pa.schema([("c", known)]), "s")
    assert (conflicts, table["c"].type, table["c"].to_pylist()) == ([], kind, expected)


@pytest.mark.parametrize(
    ("known", "values"),
    [
        (pa.int64(), pa.array(["x"])),
        (pa.int64(), pa.array(["007"])),  # of which no number says how it was written
        (pa.float64(), pa.array(["nan"])),
        (pa.string(), pa.array([1])),
        (pa.float64(), pa.array([[1.0]])),
    ],
)
def test_a_contradiction_sets_the_column_aside_with_its_name_and_both_types(
    known: pa.DataType, values: pa.Array
) -> None:
    table, (conflict,) = conform(pa.table({"c": values}), pa.schema([("c", known)]), "s")
    assert (conflict.column, conflict.values.to_pylist()) == ("c", values.to_pylist())
    assert (table["c"].type, table["c"].null_count) == (known, 1)
    for part in ("'s'", "'c'", str(known), str(values.type)):
        assert part in conflict.reason


def test_values_that_contradict_their_column_are_kept_aside_and_the_record_is_counted(store: Store) -> None:
    sender = Sender(store)
    row = {"time": START, "log_time": START}
    sender.records("predict", [{"key": "a", "score": 0.5, **row}])
    store.writer.catch_up()
    sender.records("predict", [{"key": "b", "score": "high", **row}])
    sender.records("predict", [{"key": "c", "score": 0.7, **row}])
    assert store.metric("predict", "rows").value.value == 3.0
    assert store.metric("predict.score", "null_rate").value.value == pytest.approx(1 / 3)
    (kept,) = store.reader.quarantine.entries()
    assert (kept.stream, kept.rows) == ("predict", 1)
    assert "column 'score': the batch has type string, the stream double" in kept.reason
    aside = pq.read_table(kept.path)
    assert (aside[KEY].to_pylist(), aside["score"].to_pylist()) == (["b"], ["high"])


def test_a_damaged_message_is_put_aside_and_stops_nothing(store: Store) -> None:
    sender = Sender(store)
    (store.folder / "inbox" / "w-000000000001.arrow").write_bytes(b"not arrow")
    sender.records("predict", [{"key": "a", "score": 0.5, "time": START, "log_time": START}])
    assert store.metric("predict", "rows").value.value == 1.0
    assert "not a message of fourfold" in store.reader.quarantine.entries()[0].reason
    assert (store.folder / "quarantine" / "w-000000000001.arrow").read_bytes() == b"not arrow"


def test_streams_of_hostile_names_stay_in_the_logs_folder(store: Store) -> None:
    sender = Sender(store)
    names = ["..", ".", "../../etc", "a/b", "C:\\x", "é", "a.b", "%2E%2E", "~", "x" * 300]
    for name in names:
        sender.records(name, [{"key": "a", "x": 0.5, "time": START, "log_time": START}])
    store.writer.catch_up()
    for name in names:
        assert store.metric(name, "rows").value.value == 1.0
    folders = [path for path in (store.folder / "log" / "test").iterdir() if path.is_dir()]
    assert len(folders) == len(names)
    assert all(DeltaTable.is_deltatable(str(p)) for p in folders)


def test_an_inbox_holds_whole_messages_only(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    (tmp_path / ".w-000000000001.arrow").write_bytes(b"half")
    name = inbox.put("w", 2, {"kind": "run"}, pa.table({"x": [1]}))
    (path,) = inbox.pending()
    found = inbox.read(path)
    assert (found.id, found.writer, found.sequence, found.header) == (name, "w", 2, {"kind": "run"})
    assert found.table.to_pydict() == {"x": [1]}


def test_quarantine_keeps_a_batch_once(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q")
    assert quarantine.entries() == []
    for _ in range(2):
        quarantine.keep("s", "w-1", pa.table({"x": [1]}), "why")
    assert [entry.batch for entry in quarantine.entries()] == ["w-1"]


def test_a_log_that_is_no_delta_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "s" / "_delta_log").mkdir(parents=True)
    (tmp_path / "s" / "_delta_log" / f"{0:020d}.json").write_text("nonsense")
    with pytest.raises(StoreError, match=str(tmp_path)):
        StreamLog(tmp_path / "s", "s").whole()


def test_what_another_process_has_appended_meanwhile_is_not_appended_again(tmp_path: Path) -> None:
    here, there = StreamLog(tmp_path / "s", "s"), StreamLog(tmp_path / "s", "s")
    first, second, third = (message(i, batch({"x": pa.array([1.0])}, i)) for i in (1, 2, 3))
    here.append([first])
    there.append([second])
    here.append([second, third])
    there.append([first, second, third])
    assert keys(here.whole().added) == ["k1", "k2", "k3"]


def test_a_log_that_was_replaced_by_another_is_asked_anew_what_it_holds(tmp_path: Path) -> None:
    log, other = StreamLog(tmp_path / "s", "s"), StreamLog(tmp_path / "t", "s")
    first, second = (message(i, batch({"x": pa.array([1.0])}, i)) for i in (1, 2))
    for sent in (first, second):
        log.append([sent])
        other.append([message(9, batch({"x": pa.array([2.0])}, 9 + sent.sequence), writer=f"v{sent.sequence}")])
    (tmp_path / "s").rename(tmp_path / "gone")
    (tmp_path / "t").rename(tmp_path / "s")
    log.append([first])
    assert keys(log.whole().added) == ["k1", "k10", "k11"]


def test_a_commit_holds_statistics_of_the_key_and_the_time_only(tmp_path: Path) -> None:
    log = StreamLog(tmp_path / "s", "s")
    log.append([message(1, batch({"x": pa.array([1.0, 2.0])}))])
    statistics = pa.table(DeltaTable(tmp_path / "s").get_add_actions(flatten=True)).to_pylist()[0]
    assert {name for name, value in statistics.items() if name.startswith("min.") and value is not None} == {
        f"min.{KEY}", f"min.{EVENT_TIME}",
    }  # fmt: skip
    assert statistics["num_records"] == 2


def test_recent_records_are_kept_as_far_as_there_is_room_and_given_in_their_own_types_only(tmp_path: Path) -> None:
    records = pa.table({"x": [1.0, 2.0], "y": ["a", "b"]})
    recent = RecentRecords(most_bytes=2 * records.nbytes)
    for name in ("a", "b", "c"):
        recent.keep(str(tmp_path / name), records)
    wanted = pa.schema([("y", pa.string())])
    assert recent.get(str(tmp_path / "a"), wanted) is None
    assert recent.get(str(tmp_path / "c"), wanted) == records.select(["y"])
    assert recent.get(str(tmp_path / "c"), pa.schema([("x", pa.int64())])) is None
    assert recent.get(str(tmp_path / "c"), pa.schema([("z", pa.int64())])) is None
    recent.drop(tmp_path, but=[str(tmp_path / "b")])
    assert recent.get(str(tmp_path / "c"), wanted) is None
    assert recent.get(str(tmp_path / "b"), wanted) == records.select(["y"])


def test_values_that_hardly_repeat_are_written_without_a_dictionary(store: Store) -> None:
    rows = [{"key": f"k{i}", "time": START, "log_time": START, "x": i / 7, "s": f"s{i % 3}"} for i in range(200)]
    Sender(store).records("predict", rows)
    store.writer.catch_up()
    (file,) = store.writer.log("predict").whole().added
    group = pq.ParquetFile(file).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    plain = {c.path_in_schema for c in columns if not any("DICTIONARY" in encoding for encoding in c.encodings)}
    assert {"x", KEY} <= plain
    assert "s" not in plain
