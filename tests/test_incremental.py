"""Laws 2, 5 and 6: however records arrive, the counts are those of one fold, and of a plain-Python oracle."""

from __future__ import annotations

import collections
import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fourfold as ff
from fourfold import config
from fourfold.counts import KINDS
from fourfold.counts.binning import Binning
from fourfold.metrics.custom import REGISTERED
from fourfold.model import DAY, HOUR, Owner
from fourfold.state import catalogue
from fourfold.store import Store
from tests.services import empty
from tests.support import SLOW, START, Comparable, Sender, close, comparable, stored

HORIZON = 3 * DAY
TASK = config.make_task(
    "late", prediction="predict.score", label="arrivals.late", threshold=0.5, slices=["side"], horizon="3d"
)
BINNINGS = {
    Owner.of_task("late"): {"": Binning(0.5, 0.25, 10), "delay": Binning(3600.0, 3600.0)},
    Owner.of_stream("predict"): {"score": Binning(0.5, 0.25)},
    Owner.of_stream("arrivals"): {"late": Binning(0.0, 1.0)},
}

keys = st.sampled_from([f"k{i}" for i in range(6)] + ["'; DROP TABLE run; --"])
hours = st.integers(0, 100)
predictions = st.builds(
    lambda key, hour, score, side: ("predict", {"key": key, "time": START + hour * HOUR, "score": score, "side": side}),
    keys, hours, st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0, 1.7])),
    st.sampled_from(["a", "b", None]),
)  # fmt: skip
labels = st.builds(
    lambda key, hour, late: ("arrivals", {"key": key, "time": START + hour * HOUR, "late": late}),
    keys, hours, st.sampled_from([0, 1, 1, None, 7]),
)  # fmt: skip
steps = st.lists(
    st.one_of(predictions, labels, st.just(("fold", {})), st.just(("compact", {}))), min_size=1, max_size=14
)


@contextmanager
def a_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder, empty(Path(folder)) as place:
        store = Store(place, "test")
        with store.reader.database.write() as connection:
            for owner, binnings in BINNINGS.items():
                catalogue.add_binnings(connection, "test", owner, binnings, 0)
        yield store
        store.close()


def oracle(records: list[tuple[str, dict[str, Any]]]) -> dict[tuple[str, int], dict[str, int]]:
    """The task's tallies by slice and day, from the records in the order of their log times."""
    copies = collections.Counter((stream, record["key"]) for stream, record in records)
    first: dict[str, dict[str, Any]] = {}
    last: dict[str, dict[str, Any]] = {}
    for stream, record in records:
        if stream == "predict":
            first.setdefault(record["key"], record)
        elif stream == "arrivals":
            last[record["key"]] = record
    out: dict[tuple[str, int], dict[str, int]] = {}

    def count(slices: list[str], time: int, *names: str) -> None:
        for key in slices:
            entry = out.setdefault((key, time // DAY * DAY), dict.fromkeys(KINDS["binary"].tallies, 0))
            for name in names:
                entry[name] += 1

    for key in first.keys() | last.keys():
        prediction, label = first.get(key), last.get(key)
        truth = label["late"] if label is not None else None
        matched = label is not None and prediction is not None
        if prediction is None:
            if truth is not None:
                count(["{}"], label["time"], "orphan")  # type: ignore[index]
            continue
        side = prediction["side"]
        slices = ["{}", '{"side": ' + ("null" if side is None else f'"{side}"') + "}"]
        names = ["predicted"]
        score = prediction["score"]
        if score is None:
            names.append("unscored")
        if matched:
            names += ["matched"] + ["pairs"] * (copies["predict", key] * copies["arrivals", key])
        if label is not None and truth is None:
            names.append("withdrawn")
        if truth is not None and label is not None:
            if label["time"] - prediction["time"] > HORIZON:
                names.append("expired")
            elif truth not in (0, 1):
                names.append("invalid_label")
            elif score is not None:
                names.append("labelled")
                names.append(
                    f"{'true' if (score >= 0.5) == truth else 'false'}_{'positive' if score >= 0.5 else 'negative'}"
                )
                if not 0 <= score <= 1:
                    names.append("not_probability")
        count(slices, prediction["time"], *names)
    return out


def tallies(store: Store) -> dict[tuple[str, int], dict[str, int]]:
    return {
        (row["slice"], row["bucket"]): dict(zip(KINDS["binary"].tallies, row["tallies"], strict=True))
        for row in stored(store, Owner.of_task("late")).to_pylist()
        if row["kind"] == "binary"
    }


def everything(store: Store) -> list[Comparable]:
    return [
        comparable(stored(store, owner, level), extremes=False) for owner in BINNINGS for level in (DAY, HOUR)
    ]  # fmt: skip


@SLOW
@given(steps, st.randoms(use_true_random=False), st.booleans())
def test_any_order_and_any_batches_give_the_counts_of_one_fold_and_of_a_plain_loop(
    plan: list[tuple[str, dict[str, Any]]], random: Any, declared_last: bool
) -> None:
    logged = [
        (kind, {**fields, "log_time": START + 1_000 + i}) for i, (kind, fields) in enumerate(plan) if fields
    ]  # fmt: skip
    with a_store() as incremental, a_store() as scratch:
        sender = Sender(incremental)
        if not declared_last:
            sender.task(TASK)
        arriving = iter(random.sample(logged, len(logged)))  # what is logged first may arrive last
        for kind, _ in plan:
            if kind == "fold":
                incremental.writer.catch_up()
            elif kind == "compact":
                for log in ("predict", "arrivals"):
                    incremental.writer.logs.get("test", log).compact(at_least=2)
            else:
                stream, record = next(arriving)
                sender.records(stream, [record])
        if declared_last:
            sender.task(TASK)
        incremental.writer.catch_up()

        sender = Sender(scratch)
        sender.task(TASK)
        for stream in ("arrivals", "predict"):
            rows = [record for name, record in logged if name == stream]
            if rows:
                sender.records(stream, rows)
        scratch.writer.catch_up()

        assert tallies(incremental) == oracle(logged)
        for one, other in zip(everything(incremental), everything(scratch), strict=True):
            assert close(one, other)


@settings(max_examples=6)
@given(st.lists(st.one_of(predictions, labels), min_size=1, max_size=12), st.sets(keys, min_size=1, max_size=3))
def test_deleted_keys_are_taken_out_of_all_counts(plan: list[tuple[str, dict[str, Any]]], gone: set[str]) -> None:
    logged = [(kind, {**fields, "log_time": START + i}) for i, (kind, fields) in enumerate(plan)]
    with a_store() as store:
        sender = Sender(store)
        sender.task(TASK)
        for stream, record in logged:
            sender.records(stream, [record])
        store.writer.catch_up()
        for stream in sorted({kind for kind, _ in logged}):
            store.writer.delete(stream, gone)
        left = [(kind, record) for kind, record in logged if record["key"] not in gone]
        assert tallies(store) == oracle(left)


def prediction(key: str, day: int, score: float, log_time: int) -> dict[str, Any]:
    return {"key": key, "time": START + day * DAY, "log_time": START + log_time, "score": score, "side": "a"}


def label(key: str, day: int, late: int | None, log_time: int) -> dict[str, Any]:
    return {"key": key, "time": START + day * DAY, "log_time": START + log_time, "late": late}


def test_a_late_label_lands_in_the_bucket_of_its_prediction(store: Store) -> None:
    sender = Sender(store)
    sender.task(TASK)
    sender.records("predict", [prediction("k", 0, 0.9, 0)])
    store.writer.catch_up()
    sender.records("arrivals", [label("k", 2, 1, 5)])
    found = store.metric("late", "recall", every="1d")
    assert [row.value.value for row in found] == [1.0]
    assert found[0].window.start == START


def test_a_corrected_label_takes_the_place_of_the_earlier_one_and_a_withdrawn_one_leaves_nothing(store: Store) -> None:
    sender = Sender(store)
    sender.task(TASK)
    sender.records("predict", [prediction("k", 0, 0.9, 0)])
    for i, (late, expected) in enumerate([(1, 1.0), (0, 0.0), (1, 1.0)]):
        sender.records("arrivals", [label("k", 1, late, 10 + i)])
        assert store.metric("late", "accuracy").value.value == expected
    sender.records("arrivals", [label("k", 1, None, 20)])
    value = store.metric("late", "accuracy").value
    assert (value.value, value.coverage) == (None, 0.0)
    assert "no labels yet for 1 predictions" in value.reason


def test_the_first_prediction_of_a_key_stands_and_the_second_is_counted_as_a_duplicate(store: Store) -> None:
    sender = Sender(store)
    sender.task(TASK)
    sender.records("predict", [prediction("k", 1, 0.1, 50)])
    sender.records("arrivals", [label("k", 1, 1, 60)])
    assert store.metric("late", "accuracy").value.value == 0.0
    sender.records("predict", [prediction("k", 0, 0.9, 40)])  # logged earlier, arrives later
    assert store.metric("late", "accuracy").value.value == 1.0
    assert store.metric("late", "predictions").value.value == 1.0
    duplicates = store.metric("predict", "duplicate_keys", every="1d")
    assert [row.value.value for row in duplicates] == [0.0, 1.0], "the later one is the duplicate"


def test_labels_beyond_the_horizon_are_expired_and_labels_of_unknown_keys_orphans(store: Store) -> None:
    sender = Sender(store)
    sender.task(TASK)
    sender.records("predict", [prediction("k", 0, 0.9, 0)])
    sender.records("arrivals", [label("k", 4, 1, 1), label("unknown", 4, 1, 2)])
    assert store.metric("late", "expired_labels").value.value == 1.0
    assert store.metric("late", "orphan_labels").value.value == 1.0
    assert "later than the horizon" in store.metric("late", "recall", end=START + DAY).value.reason


def test_a_task_declared_after_the_records_counts_them_from_the_start(store: Store) -> None:
    sender = Sender(store)
    sender.records("predict", [prediction("k", 0, 0.9, 0)])
    sender.records("arrivals", [label("k", 1, 1, 1)])
    store.writer.catch_up()
    sender.task(TASK)
    assert store.metric("late", "recall", by="side")[0].value.value == 1.0
    assert store.metric("predict.score", "mean", by="side")[0].value.value == pytest.approx(0.9)


def test_a_task_declared_anew_is_counted_anew(store: Store) -> None:
    sender = Sender(store)
    sender.task(TASK)
    sender.records("predict", [prediction("k", 0, 0.4, 0)])
    sender.records("arrivals", [label("k", 1, 1, 1)])
    assert store.metric("late", "recall").value.value == 0.0
    sender.task(dataclasses.replace(TASK, threshold=0.3))
    assert store.metric("late", "recall").value.value == 1.0


def test_a_batch_sent_twice_counts_once(store: Store) -> None:
    sender = Sender(store)
    sender.records("predict", [prediction("k", 0, 0.4, 0)])
    store.writer.catch_up()
    sender.sequence -= 1  # the same writer sends the same number again
    sender.records("predict", [prediction("k", 0, 0.4, 0)])
    assert store.metric("predict", "rows").value.value == 1.0


def test_hours_are_kept_for_sixty_days_and_days_for_ever(store: Store) -> None:
    sender = Sender(store)
    sender.records("predict", [prediction(f"k{day}", day, 0.5, day) for day in (0, 30, 100)])
    store.writer.catch_up()
    assert sorted(set(stored(store, Owner.of_stream("predict"), HOUR)["bucket"].to_pylist())) == [START + 100 * DAY]
    assert store.metric("predict", "rows").value.value == 3.0
    sender.records("predict", [prediction("more", 0, 0.5, 200)])
    assert store.metric("predict", "rows").value.value == 4.0


def test_counts_survive_that_the_log_between_two_folds_is_gone(store: Store) -> None:
    sender = Sender(store)
    sender.task(TASK)
    for i in range(3):
        sender.records("predict", [prediction(f"k{i}", i, 0.9, i)])
        sender.records("arrivals", [label(f"k{i}", i, 1, i)])
        if i == 0:
            store.writer.catch_up()
        else:
            store.writer.collect()
    log = store.writer.logs.get("test", "predict")
    (Path(log.folder) / "_delta_log" / f"{log.version:020d}.json").write_bytes(
        (Path(log.folder) / "_delta_log" / f"{log.version:020d}.json").read_bytes()
    )
    assert log.compact(at_least=2, keep_hours=0)
    assert store.metric("predict", "rows").value.value == 3.0
    assert store.metric("late", "recall").value.n == 3


@pytest.mark.usefixtures("session")
def test_sums_follow_labels_that_are_corrected_within_their_bins_withdrawn_and_deleted() -> None:
    ff.task("t", prediction="p.x", label="l.z", kind="regression")
    ff.metrics.register("total", sums={"z": "actual"}, value=lambda sums: sums["z"])
    try:
        for i in range(3):
            ff.log("p", key=f"k{i}", x=10.0 * i)
            ff.log("l", key=f"k{i}", z=1.0)
        answers = [ff.metric("t", "total").value.value]
        for label in ({"key": "k0", "z": 5.0}, {"key": "k1", "z": None}, {"key": "k2", "z": 1.0001}):
            ff.log("l", **label)
            answers.append(ff.metric("t", "total").value.value)
        ff.delete("l", ["k0"])
        answers.append(ff.metric("t", "total").value.value)
        assert answers == pytest.approx([3.0, 7.0, 6.0, 6.0001, 1.0001], abs=1e-12)
        assert ff.metric("t", "bias").value.value == pytest.approx(1.0001 - 20.0, abs=1e-9)
    finally:
        REGISTERED.pop("total")
