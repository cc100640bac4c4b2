"""Questions and answers: windows, slices, references; law 7: no data is said to be no data."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from pathlib import Path

import pytest

import fourfold as ff
from fourfold import config
from fourfold.model import DAY, HOUR, Status
from fourfold.query.target import resolve
from fourfold.reports.streams import spans
from fourfold.store import Store
from fourfold.views.asking import Asked
from tests.support import START, Sender

TASK = config.make_task("late", prediction="predict.score", label="arrivals.late", slices=["side"], horizon="3d")


@pytest.fixture
def filled(store: Store) -> Store:
    """Ten days of 20 predictions; labels for the first eight days, a day later."""
    sender = Sender(store)
    sender.task(TASK)
    predictions, labels = [], []
    for day in range(10):
        for i in range(20):
            key, time = f"{day}-{i}", START + day * DAY + i * HOUR
            predictions.append(
                {
                    "key": key,
                    "time": time,
                    "log_time": time,
                    "score": i / 20 + 0.01,
                    "side": "lr"[i % 2],
                    "x": float(day),
                }
            )
            if day < 8:
                labels.append({"key": key, "time": time + DAY, "log_time": time + DAY, "late": int(i >= 10)})
    sender.records("predict", predictions)
    sender.records("arrivals", labels)
    return store


def test_without_start_and_end_all_there_is_is_one_window(filled: Store) -> None:
    (row,) = filled.metric("late", "accuracy")
    assert (row.window.start, row.window.end) == (START, START + 10 * DAY)
    assert row.value.n == 160
    assert row.value.coverage == 0.8


def test_one_record_ahead_of_now_moves_no_window_that_ends_with_the_data(filled: Store) -> None:
    filled.writer.catch_up()
    owner, now, ends = resolve(filled.reader, "predict").owner, time.time(), {}
    for ahead in (False, True):
        if ahead:
            later = int(now) + 300 * DAY
            Sender(filled).records("predict", [{"key": "ahead", "time": later, "log_time": int(now), "score": 0.5}])
            filled.writer.catch_up()
        shown = Asked().window(filled.reader, owner, now, default="-7d")
        ends[ahead] = shown.window, filled.metric("predict", "rows", start="-7d")[0].window
        assert (shown.data_end > now) is ahead
    assert ends[True] == ends[False]
    assert filled.metric("predict", "rows").value.value == 201
    assert Asked(end=str(int(now) + 400 * DAY)).window(filled.reader, owner, now).window.end > now


def test_what_has_come_in_this_hour_or_is_ahead_of_now_does_not_end_after_now(store: Store) -> None:
    now = time.time()
    for stream, at in (("live", now - 1), ("ahead", now + DAY), ("over", now - 2 * DAY), ("ahead", now - DAY)):
        Sender(store).records(stream, [{"key": "1", "time": at, "log_time": now, "score": 0.5}])
    store.writer.catch_up()
    ends = {stream: end for stream, (_, end) in spans(store.reader).items()}
    assert now - 1 < ends["live"] <= time.time() and ends["ahead"] <= time.time()
    assert ends["over"] == (now - 2 * DAY) // HOUR * HOUR + HOUR


@pytest.mark.parametrize(("target", "name"), [("late", "recall"), ("predict", "rows"), ("predict.score", "mean")])
def test_a_length_before_the_end_of_the_data_is_what_reports_and_pages_take_it_for(
    filled: Store, target: str, name: str
) -> None:
    filled.writer.catch_up()
    owner = resolve(filled.reader, target).owner
    for start, end, every in (("-1d", "", "1d"), ("-36h", "-12h", "1h"), ("-2d", "-1d", "1d"), ("-1w", "", "1d")):
        shown = Asked(start=start, end=end, every=every).window(filled.reader, owner, time.time())
        found = filled.metric(target, name, start=start, end=end or None, every=every)
        assert (found[0].window.start, found[-1].window.end) == (shown.window.start, shown.window.end), (start, end)


def test_windows_cover_the_span_without_gaps_and_their_counts_add_up(filled: Store) -> None:
    for every, number in (("1d", 10), ("3d", 4), ("2w", 1)):
        found = filled.metric("predict", "rows", every=every)
        assert len(found) == number
        assert sum(row.value.n for row in found) == 200
        assert all(a.window.end == b.window.start for a, b in itertools.pairwise(found))


def test_slices_add_up_to_the_whole_and_carry_their_name(filled: Store) -> None:
    found = filled.metric("late", "predictions", by="side", every="1d")
    assert sorted({row.slice["side"] for row in found}, key=str) == ["l", "r"]
    assert sum(row.value.n for row in found) == 200
    table = found.to_arrow()
    assert table.column_names == [
        "start",
        "end",
        "side",
        "metric",
        "value",
        "low",
        "high",
        "n",
        "coverage",
        "status",
        "reason",
        "expected_labels",
    ]


def test_a_result_becomes_a_frame_of_any_library(filled: Store) -> None:
    found = filled.metric("late", "recall", every="1d")
    assert list(found.to_pandas()["n"]) == found.to_polars()["n"].to_list() == found.to_arrow()["n"].to_pylist()
    assert str(found.to_pandas()["start"].dtype) == "datetime64[s, UTC]"
    assert "recall" in repr(found)
    with pytest.raises(ValueError, match="10 rows"):
        _ = found.value


def test_hours_are_read_where_whole_days_will_not_do(filled: Store) -> None:
    value = filled.metric("predict", "rows", start=START + 6 * HOUR, end=START + 9 * HOUR).value
    assert value.n == 3
    found = filled.metric("predict", "rows", start=START, end=START + DAY, every="6h")
    assert [row.value.n for row in found] == [6, 6, 6, 2]


def test_moments_can_be_given_in_any_form(filled: Store) -> None:
    day = dt.datetime.fromtimestamp(START, dt.UTC)
    for start in (START, float(START), day, day.replace(tzinfo=None), day.date(), day.date().isoformat()):
        assert filled.metric("predict", "rows", start=start, end=START + DAY).value.n == 20


def test_a_window_without_records_is_no_data_with_a_reason(filled: Store) -> None:
    for target, name in (
        ("predict", "rows"),
        ("late", "recall"),
        ("predict.score", "mean"),
        ("predict.side", "distinct"),
    ):
        value = filled.metric(target, name, start=START + 50 * DAY, end=START + 51 * DAY).value
        assert (value.value, value.low, value.n, value.status) == (None, None, 0, Status.NO_DATA)
        assert value.reason.endswith("in this window")


def test_windows_are_settled_when_no_label_can_come_any_more(filled: Store) -> None:
    found = filled.metric("late", "coverage", every="1d")
    assert [row.value.coverage for row in found] == [1.0] * 8 + [0.0] * 2
    assert {row.value.status for row in found[8:]} == {Status.PROVISIONAL}
    assert {row.value.status for row in found[:8]} == {Status.SETTLED}, "all labels are in"
    assert "no labels yet for 20 predictions" in filled.metric("late", "recall", every="1d")[9].value.reason


def test_a_distance_is_against_all_before_another_column_or_another_window(filled: Store) -> None:
    name = "total_variation"
    before = filled.metric("predict.x", name, start=START + 5 * DAY).value
    assert before.value == pytest.approx(1.0)
    assert before.expected is not None
    assert before.expected < 0.5
    window = (START, START + 2 * DAY)
    assert filled.metric("predict.x", name, start=START, end=START + 2 * DAY, against=window).value.value == 0.0
    assert filled.metric("predict.score", name, against="predict.score").value.value == 0.0
    assert "reference has no data" in filled.metric("predict.x", name).value.reason
    assert "expected" in filled.metric("predict.score", name, against="predict.score").to_arrow().column_names


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("lat", "recall"), {}, r"No task, stream or column named 'lat'. Did you mean 'late'\?"),
        (("predict.scor", "mean"), {}, r"No column of stream 'predict' named 'scor'. Did you mean 'score'\?"),
        (("late", "recal"), {}, r"No metric of a binary task named 'recal'. Did you mean 'recall'\?"),
        (("late", "null_rate"), {}, "No metric of a binary task named 'null_rate'"),
        (("late", "recall"), {"by": "sidde"}, r"No slice of late named 'sidde'. Did you mean 'side'\?"),
        (("late", "recall"), {"by": ["side", "x"]}, "No slice of late named 'side × x'"),
        (("late", "recall"), {"every": "monthly"}, "every='monthly' is not a length of time"),
        (("late", "recall"), {"every": "0d"}, "every='0d'"),
        (("late", "recall"), {"start": "-7x"}, "start='-7x' is not a length of time before the end of the data"),
        (("late", "recall"), {"start": "-0d"}, "start='-0d' is not a length"),
        (("late", "recall"), {"end": "last week"}, "end='last week' is not a moment; .* or '-7d'"),
        (("late", "recall"), {"start": START + DAY, "end": START}, "the window is empty"),
        (("late", "recall"), {"against": "predict.x"}, "against= is for distances"),
        (("late", "recall"), {"estimate": "eror"}, "estimate='eror': give True or False"),
        (("late", "recall"), {"estimate": True, "versions": ("a", "b")}, "estimate= and versions= are different"),
        (("predict", "rows"), {"start": START + 30 * 60, "end": START + DAY}, "whole hours"),
        (("predict.side", "mean"), {}, "counted as category, not as numeric"),
    ],
)
def test_wrong_questions_are_answered_with_what_to_do(
    filled: Store, arguments: tuple[str, str], options: dict[str, object], says: str
) -> None:
    with pytest.raises((ff.InputError, ff.UnknownNameError), match=says):
        filled.metric(*arguments, **options)  # type: ignore[arg-type]


def test_a_task_without_any_records_has_no_data(store: Store) -> None:
    Sender(store).task(TASK)
    value = store.metric("late", "recall").value
    assert (value.status, value.reason) == (Status.NO_DATA, "nothing was logged for 'late' yet")


def test_a_binning_that_has_become_too_coarse_is_replaced_from_the_next_day_on(store: Store) -> None:
    sender = Sender(store)
    rows = [{"key": "first", "time": START, "log_time": START, "x": 1e6}]
    sender.records("s", rows)
    store.writer.catch_up()
    for day in (1, 2):
        sender.records(
            "s",
            [
                {"key": f"{day}-{i}", "time": START + day * DAY, "log_time": START + day, "x": 1.0 + i / 1000}
                for i in range(1000)
            ],
        )
        store.writer.catch_up()
    versions = store.reader.plan("s").binnings["x"]
    assert [start for start, _ in versions] == [0, START + 2 * DAY]
    assert store.metric("s.x", "quantile(0.5)", start=START + 2 * DAY).value.value == pytest.approx(1.5, rel=0.01)
    whole = store.metric("s.x", "mean").value
    assert whole.n == 2001
    assert whole.value == pytest.approx((1e6 + 2 * 1499.5) / 2001, rel=1e-6)


@pytest.mark.parametrize("address", ["http://collector:8080", "", "a%20b"])
def test_a_store_that_this_version_cannot_use_is_refused(address: str) -> None:
    with pytest.raises(ff.ConfigError, match=r"[gG]ive a (path|folder)|choose a folder|Ask where the store is"):
        Store(address, "p")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ff.StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "store", "p")
    with pytest.raises(ff.StoreError, match="cannot be made"):
        ff.init(tmp_path / "file" / "store")
