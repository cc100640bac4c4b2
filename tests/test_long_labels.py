"""Values as labels: short whatever their length, the same wherever they are made."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourfold import config, counts
from fourfold.fold import Plan, fold, labels_of
from fourfold.metrics import parse
from fourfold.model import DAY, HOUR, LONGEST_LABEL, Owner, label_of, slice_key
from fourfold.reports.compare import compare
from fourfold.reports.trace import trace
from fourfold.store import Store
from tests.support import START, Sender, comparable, fold_joined, stored

LONG = ["x" * 100_000, "x" * 99_999 + "y", "é" * 121]


@given(st.text(max_size=300))
def test_a_label_is_bounded_and_a_label_of_itself(text: str) -> None:
    found = label_of(text)
    assert len(found) <= LONGEST_LABEL
    assert label_of(found) == found
    assert found == text or len(text) > LONGEST_LABEL


def test_values_that_differ_late_have_different_labels() -> None:
    assert len({label_of(text) for text in LONG}) == 3
    assert labels_of(pa.array([*LONG, None, "a"])).to_pylist() == [*map(label_of, LONG), None, "a"]


def test_a_column_of_long_values_is_counted_alike_in_one_go_and_in_parts() -> None:
    table = pa.table({"text": [*LONG, LONG[0], "short", None, label_of(LONG[1])]})
    whole = counts.add(fold(table))
    assert comparable(whole) == comparable(counts.add(*(fold(table.slice(i, 1), plan=Plan()) for i in range(7))))
    (row,) = whole.to_pylist()
    assert dict(zip(row["labels"], row["counts"], strict=True)) == {
        label_of(LONG[0]): 2, label_of(LONG[1]): 2, label_of(LONG[2]): 1, "short": 1,
    }  # fmt: skip


def test_the_slices_of_a_frame_have_labels() -> None:
    table = fold(pa.table({"text": LONG, "x": [1.0, 2.0, 3.0]}), by=["text"])
    assert set(table["slice"].to_pylist()) == {"{}", *(slice_key({"text": label_of(text)}) for text in LONG)}


@pytest.mark.sqlite
def test_five_hundred_values_of_100_kilobytes_leave_the_state_small(store: Store) -> None:
    sender = Sender(store)
    values = [f"{i:04d}" + "v" * 100_000 for i in range(300)]
    sender.records("s", [_record(i, text=text) for i, text in enumerate(values)])
    sender.records("s", [_record(300 + i, text=values[i]) for i in range(200)])
    assert store.metric("s", "rows").value.value == 500
    assert (store.folder / "state.db").stat().st_size < 1_000_000
    found = store.metric("s.text", "distinct").value
    assert found.low is not None and found.high is not None and found.low <= 300 <= found.high


def test_slices_of_long_values_are_asked_for_by_the_whole_value(store: Store) -> None:
    sender = Sender(store)
    sender.task(config.make_task("t", prediction="p.score", label="l.y", slices=["text", ["side", "text"]]))
    for i in range(4):
        sender.records("p", [_record(i, score=0.9, text=LONG[i % 2], side="a")])
        sender.records("l", [_record(i, y=1)])
        store.writer.catch_up()
    found = store.metric("t", "recall", by="text")
    assert {(row.slice["text"], row.value.n) for row in found} == {(label_of(text), 2) for text in LONG[:2]}
    for of in ({"text": LONG[0]}, {"text": label_of(LONG[0])}):
        assert compare(store.caught_up(), of, {"text": LONG[1]}).n == (2, 2)
    assert compare(store.caught_up(), {"text": LONG[0], "side": "a"}, {"text": LONG[1], "side": "a"}).n == (2, 2)
    values = [value for step in trace(store.caught_up(), "0").steps for value in step.values]
    assert next(value.position for value in values if value.column == "text") == 0.5
    sender.records("l", [{"key": "0", "time": START, "log_time": START + DAY, "y": 0}])  # corrected: taken back whole
    assert {row.slice["text"]: row.value.n for row in store.metric("t", "base_rate", by="text")} == {
        label_of(LONG[0]): 2, label_of(LONG[1]): 2,
    }  # fmt: skip


def test_more_long_slices_than_are_kept_are_counted_as_other(store: Store) -> None:
    sender = Sender(store)
    sender.task(config.make_task("t", prediction="p.score", label="l.y", slices=["text"]))
    sender.records("p", [_record(i, score=0.9, text=f"{i % 250}" + "x" * 200) for i in range(500)])
    found = {row.slice["text"]: row.value.value for row in store.metric("t", "predictions", by="text")}
    assert len(found) == 201 and found["(other)"] == 100
    assert max(len(str(text)) for text in found) <= LONGEST_LABEL


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "decision"])
def test_classes_of_long_names_have_labels(kind: str) -> None:
    values = [[text] for text in LONG[:2]] if kind == "multilabel" else LONG[:2]
    task = config.make_task("t", prediction="p.c", label="l.c", kind=kind)
    found = fold_joined(task, values, values[::-1])[""]
    assert max(len(name) for text in found.labels for name in json.loads(text)) <= LONGEST_LABEL
    if kind != "decision":
        question = parse(f"recall(label='{LONG[0]}')", "task", kind)
        assert question.of(found).value == 0.0


def test_a_record_dated_in_the_future_drops_no_hours(store: Store) -> None:
    sender = Sender(store)
    sender.records("s", [_record(i, x=1.0) for i in range(3)])
    store.writer.catch_up()
    sender.records("s", [_record(3, x=1.0), {"key": "far", "time": 4_000_000_000, "log_time": START, "x": 1.0}])
    store.writer.catch_up()
    sender.records("s", [_record(4, x=1.0)])
    store.writer.catch_up()
    buckets = set(stored(store, Owner.of_stream("s"), HOUR)["bucket"].to_pylist())
    assert {START + i * HOUR for i in range(5)} <= buckets


def _record(i: int, **columns: object) -> dict[str, object]:
    return {"key": str(i), "time": START + i % 24 * HOUR, "log_time": START + i, **columns}
