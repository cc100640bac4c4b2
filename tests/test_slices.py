"""Which of many slices are shown."""

from __future__ import annotations

import json
import random

import numpy as np
import pyarrow as pa
import pytest

import fourfold as ff
from fourfold.config import make_task
from fourfold.counts import heaviest
from fourfold.counts import rows as counts_rows
from fourfold.errors import InputError
from fourfold.fold import Plan, fold_columns, group_records
from fourfold.metrics.intervals import wilson
from fourfold.model import Value
from fourfold.query.filtered import Filter
from fourfold.query.metric import metric
from fourfold.reports.compare import compare
from fourfold.reports.shapes import MISSING, REST, _labels
from fourfold.reports.slices import SliceView, evidence, strongest
from fourfold.sdk import Session
from fourfold.store import Store
from tests.support import START, Sender
from tests.test_cli import run


def share(hits: int, n: int) -> Value:
    low, high = wilson(hits, n)
    return Value(hits / n, low, high, n)


def test_few_slices_are_shown_whole_and_in_their_order() -> None:
    slices = [SliceView(name, {"recall": share(hits, 100)}) for name, hits in (("b", 80), ("a", 10), ("c", 81))]
    assert strongest(slices, {"recall": share(800, 1000)}) == slices


def test_the_slice_that_really_differs_goes_before_those_that_differ_by_chance() -> None:
    whole = {"recall": share(8_000, 10_000)}
    slices = [SliceView(f"u{i}", {"recall": share(1 if i % 3 else 2, 2)}) for i in range(100)]
    slices.insert(50, SliceView("worse", {"recall": share(30, 60)}))
    slices.insert(70, SliceView("better", {"recall": share(100, 100)}))
    assert {view.name for view in strongest(slices, whole)[:2]} == {"worse", "better"}
    assert len(strongest(slices, whole)) == 8


def test_the_evidence_grows_with_the_distance_and_with_the_records() -> None:
    whole = {"recall": share(8_000, 10_000)}
    by_distance = [evidence({"recall": share(hits, 100)}, whole) for hits in (80, 70, 60, 20)]
    assert by_distance[0] == 0.0
    assert by_distance == sorted(by_distance)
    by_records = [evidence({"recall": share(n // 2, n)}, whole) for n in (2, 10, 100, 1_000)]
    assert by_records == sorted(by_records)
    assert by_records[0] < 1.0 < by_records[2]


@pytest.mark.parametrize(
    "value", [Value.no_data("no labels"), Value(0.0, n=50), Value(0.0, 0.0, 0.0, 50), Value(0.0, 0.0, 0.9, 1)]
)
def test_what_has_no_interval_is_no_evidence(value: Value) -> None:
    assert evidence({"recall": value}, {"recall": share(8, 10)}) == 0.0


@pytest.mark.parametrize("name", ["(other)", '"(other)"', '""(other)""'])
def test_a_value_that_reads_like_the_others_together_is_none_of_them(store: Store, name: str) -> None:
    sender = Sender(store)
    sender.task(make_task("t", prediction="p.score", label="l.y", slices=["text", ["side", "text"]]))
    values = [name] * 30 + ['"(other)'] * 20 + [f"v{i % 300}" for i in range(600)]
    for first, last in ((0, 500), (500, len(values))):  # those of the first count, and what is added later
        times = {"time": START, "log_time": START}
        part = [{"key": str(i), "score": 0.9, "text": values[i], "side": "a", **times} for i in range(first, last)]
        sender.records("p", part)
        store.writer.catch_up()
    label = f'"{name}"'
    found = {row.slice["text"]: row.value.value for row in store.metric("t", "predictions", by="text")}
    assert (len(found), found[label], found['""(other)"']) == (201, 30, 20)
    assert found["(other)"] == len(values) - sum(n or 0 for text, n in found.items() if text != "(other)")
    for only, n in ((f"text={label}", 30), ("text=v1", 2), ("text=(other)", found["(other)"])):
        assert metric(store.caught_up(), "t", "predictions", where=Filter.of([only], [])).value.value == n
    assert compare(store.caught_up(), {"text": label}, {"text": "v1"}).n == (30, 2)
    assert compare(store.caught_up(), {"text": label, "side": "a"}, {"text": "v1", "side": "a"}).n == (30, 2)
    with pytest.raises(InputError, match="no record"):
        compare(store.caught_up(), {"text": "(other)"}, {"text": "v1"})
    assert store.writer.delete("p", [str(i) for i in range(30)]) is not None
    left = {row.slice["text"]: row.value.value for row in store.metric("t", "predictions", by="text")}
    assert (left.get(label) or 0, left["(other)"]) == (0, found["(other)"])


def test_a_value_that_reads_like_what_is_none_has_a_bar_of_its_own() -> None:
    rows = [*("(other)",) * 5, *("(missing)",) * 3, None, None, *(f"v{i}" for i in range(300))]
    table = pa.table({"text": pa.array(rows, pa.string())})
    at = np.zeros(len(rows), np.int64)
    folded = heaviest(fold_columns(table, at, group_records(at), Plan()))
    [total] = [entry for entry in counts_rows(folded, {}) if entry.kind == "category"]
    found = _labels(total)
    assert (found['"(other)"'], found['"(missing)"'], found[MISSING], found[REST]) == (5, 3, 2, 300 - 254)


def test_of_three_hundred_slices_status_shows_the_one_that_is_worse_and_how_many_more_there_are(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(7)
    ff.task("good", prediction="p.score", label="l.y", slices=["user", "site"])
    for i in range(3_060):
        user = f"u{i % 300}" if i < 3_000 else "u123"
        y = chance.random() < 0.5
        right = chance.random() < (0.3 if user == "u123" else 0.85)
        ff.log("p", key=i, score=0.9 if y == right else 0.1, user=user, site=f"s{i % 3}")
        ff.log("l", key=i, y=y)
    ff.flush()
    code, out, _ = run(capsys, session, "status", "--json")
    assert code == 0
    (task,) = json.loads(out)["rows"][0]["tasks"]
    user, site = task["by_slice"]
    assert (user["dimension"], site["dimension"]) == ("user", "site")
    assert user["slices"][0]["name"] == "u123"
    assert len(user["slices"]) == 8
    assert (user["left_out"], site["left_out"]) == (201 - 8, 0), "of 200 values, and the others together"
    assert [view["name"] for view in site["slices"]] == ["s0", "s1", "s2"]
    assert "… and 193 more, none further from the whole" in run(capsys, session, "status")[1]
