"""Whatever is logged: nothing is raised, no record costs another, and each is either counted or kept aside."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import subprocess
import sys
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold.config import PLAUSIBLE
from fourfold.errors import ConfigError, InputError, SchemaError
from fourfold.fold.arrays import values_of
from fourfold.log import Message, messages
from fourfold.log.batches import check_writable, fit
from fourfold.model import Plausible, limits
from fourfold.model.records import EVENT_TIME, KEY, LOG_TIME, META
from fourfold.reports.problems import problems
from fourfold.sdk import Session, batch
from fourfold.sdk.batch import Found, from_frame, from_records, key_text, prepare
from fourfold.sdk.columns import Columns
from fourfold.sdk.plain import Plain
from fourfold.sdk.record import Record
from fourfold.sdk.rows import records_in
from fourfold.sdk.times import micros_of

NOW = 1_710_037_800_000_000_000


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")

    __str__ = __repr__


class Colour(enum.Enum):
    RED = "red"


def cyclic() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def nested(levels: int) -> Any:
    found: Any = "x"
    for _ in range(levels):
        found = [found]
    return found


ODD = [
    "a\ud800", 2**63,  2**70, -(2**2000), 1e300, float("nan"), float("inf"), None, pd.NA, pd.NaT, np.float32(0.1),
    np.array([1, 2]), np.array([[1, 2]]), np.datetime64("2024-03-10"), np.datetime64("NaT"), Decimal("1.5"),
    Decimal("NaN"), b"\xff", b"abc", uuid.UUID(int=5), Colour.RED, Rude(), [Rude()], cyclic(), {"a": cyclic()}, {},
    nested(4), nested(30),
    [{}],
    {"a": {}}, {"a": 1, "A": 2}, {1: 2}, {"\ud800": 1}, (), [], set(), {1, "x"}, [1, "x"], object(), True, 1, 1.5, "x",
    dt.date(2024, 3, 10), dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31), dt.time(1), dt.timedelta(days=1), "tomorrow",
    1_710_037_800_000, lambda: None, complex(1, 2), range(3), type, bytearray(b"ab"), memoryview(b"ab"),
    pd.Period("2024-03", "M"), pd.Interval(0, 1), np.array(["2024-03-10"], "M8[ns]"), np.datetime64("10000-01-01"),
    np.timedelta64(5, "D"), np.int64(-5),
]  # fmt: skip
odd = st.sampled_from(ODD)


def good(found: Found) -> list[pa.Table]:
    return [prepared.table for prepared, error in found if error is None]


@given(st.lists(st.tuples(odd, odd, odd, odd), max_size=6))
def test_any_value_in_any_place_costs_no_other_record(several: list[tuple[Any, Any, Any, Any]]) -> None:
    records = [Record("s", None, {"v": 1.0}, f"good-{i}", None, NOW, None) for i in range(3)]
    for key, time, name, value in several:
        try:
            fields = {name: value}
        except TypeError:
            fields = {"v": value}
        records.append(Record("s", fields, {"w": value}, key, time, NOW, None))
    found = from_records(records)
    assert sum(prepared.table.num_rows for prepared, _ in found) == len(records)
    assert sorted(place for prepared, _ in found for place in prepared.places) == list(range(len(records)))
    for prepared, _ in found:
        assert list(prepared.places) == sorted(prepared.places) and len(prepared.places) == prepared.table.num_rows
    assert sum(error is not None for _, error in found) <= 1
    keys = [key for table in good(found) for key in table[KEY].to_pylist()]
    assert {"good-0", "good-1", "good-2"} <= set(keys)
    for table in good(found):
        table.validate(full=True)
        pa.table({"kept": [str(error) for _, error in found if error is not None]}).validate(full=True)


MANY = 2_000


@pytest.mark.parametrize(
    ("values", "batches", "aside"),
    [
        ([1] * MANY, 1, 0),
        ([[1, "a"], *[1] * (MANY - 1)], 1, 1),  # one odd value among good ones
        ([[1, "a"]] * MANY, 0, MANY),
        ([*[[1]] * (MANY // 2), *[["a"]] * (MANY // 2)], 2, 0),
        ([[1], ["a"]] * (MANY // 2), 2, 0),
        ([*[[2**70]] * (MANY // 2), *[[1]] * (MANY // 2)], 1, MANY // 2),
        ([{"a": 1}, {"b": "x"}] * (MANY // 2), 1, 0),
        ([{"a": 1}, {"a": "x"}] * (MANY // 2), 2, 0),
    ],
)
def test_odd_values_make_few_batches_and_are_found_in_few_steps(
    values: list[Any], batches: int, aside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, real = [], batch._batch

    def counted(rows: Sequence[Any], times: Plausible) -> batch.Prepared:
        tried.append(len(rows))
        return real(rows, times)

    monkeypatch.setattr(batch, "_batch", counted)
    records = [Record("s", {"v": value, "i": i}, {}, f"k{i}", None, NOW, None) for i, value in enumerate(values)]
    found = from_records(records)
    assert len(good(found)) == batches
    assert sum(prepared.table.num_rows for prepared, error in found if error is not None) == aside
    for prepared, error in found:
        if error is None:
            assert prepared.table["i"].to_pylist() == list(prepared.places)
    assert len(tried) < 20


def test_records_of_ever_other_names_come_in_parts_that_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CELLS", 100)
    records = [Record("s", {f"user{i}": 1, "i": i}, {}, "one", None, NOW, None) for i in range(60)]
    found = good(from_records([*records, Record("s", {f"v{i}": 1 for i in range(200)}, {}, "wide", None, NOW, None)]))
    assert [i for table in found[:-1] for i in table["i"].to_pylist()] == list(range(60))
    assert all(table.num_rows * (table.num_columns - 4) <= 100 for table in found[:-1]) and len(found) < 12
    assert found[-1].num_rows == 1 and found[-1].num_columns == 204
    alike = [Record("s", {"a": 1, "b": i}, {}, None, None, NOW, None) for i in range(50)]
    assert len(from_records(alike)) == 1, "as columns they are few values"


def test_wide_records_are_taken_and_counted_a_few_at_a_time(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CELLS", 2_000)
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(500, 20)), columns=[f"c{i}" for i in range(20)])
    for part in np.array_split(np.arange(500), 10):
        ff.log("wide", frame.iloc[part])
    assert ff.metric("wide", "rows").value.value == 500
    assert (session.store.reader.log("wide").version or 0) > 3, "several commits"
    for name in ("c0", "c19"):
        assert ff.metric(f"wide.{name}", "mean").value.value == pytest.approx(frame[name].mean(), abs=1e-9)
        assert ff.metric(f"wide.{name}", "null_rate").value.value == 0


@pytest.mark.parametrize(
    ("first", "then", "kind", "kept"),
    [
        ([], [0.1, 0.9], "list<element: double>", []), ([None], [0.5], "list<element: double>", [None]),
        ([], ["x"], "list<element: string>", []), ([], [], "list<element: date32[day]>", []),
        ([[]], [[1]], "list<element: list<element: int64>>", [[]]), ({"a": None}, {"a": 1}, "struct<a: int64>", None),
        ({"a": []}, {"a": ["x"]}, "struct<a: list<element: string>>", {"a": []}),
        ({"a": {"b": None}}, {"a": {"b": 2}}, "struct<a: struct<b: int64>>", None),
        ({"a": None, "b": 1}, {"a": 2, "b": 3}, "struct<b: int64, a: int64>", {"b": 1, "a": None}),
        ([{"a": None}], [{"a": 1}], "list<element: struct<a: int64>>", [None]),
        (["x"], [], "list<element: string>", ["x"]),
        ([1], [None], "list<element: int64>", [1]), ({"a": 1}, {"a": None}, "struct<a: int64>", {"a": 1}),
        ({"a": None}, "x", "string", None),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_empty_has_no_type_until_a_value_comes(
    session: Session, first: Any, then: Any, kind: str, kept: Any
) -> None:
    ff.log("p", key="first", v=first)
    assert ff.metric("p", "rows").value.value == 1.0
    ff.log("p", key="then", v=then)
    assert ff.metric("p", "rows").value.value == 2.0
    assert list(session.store.reader.quarantine.entries()) == []
    records = session.store.reader.log("p").whole().records(None)
    assert str(records.schema.field("v").type) == kind
    by_key = dict(zip(records[KEY].to_pylist(), records["v"].to_pylist(), strict=True))
    assert by_key["first"] == kept
    if then != {"b": []}:
        assert by_key["then"] == then


def test_a_column_is_one_whatever_the_case_of_its_name_and_two_of_a_record_stay_apart(session: Session) -> None:
    ff.task("t", prediction="p.score", label="l.y", slices=["city"])
    for i in range(40):
        ff.log("p", key=i, **{"Score" if i < 10 else "score": 0.9, "City" if i % 2 else "city": "Oslo"})
        ff.log("l", key=i, **{"Y" if i % 3 else "y": i % 2})
    assert ff.metric("t", "precision").value.value == 0.5 and ff.metric("t", "coverage").value.value == 1.0
    [oslo] = ff.metric("t", "precision", by="city")
    assert oslo.slice == {"city": "Oslo"} and oslo.value.n == 40
    for i in range(20):
        ff.log("two", {"A": 1, "a": 100} if i % 2 else {"a": 100, "A": 1})
    assert [ff.metric(f"two.{name}", "mean").value.value for name in ("A", "A_2")] == [1.0, 100.0]


def test_parts_of_records_keep_the_order_of_each_key_whatever_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CELLS", 60)
    values = [1, [1], "a"] * 20
    found = good(
        from_records([Record("s", None, {"v": v, "i": i}, "one", None, NOW, None) for i, v in enumerate(values)])
    )
    logged = [(at, number, i) for number, table in enumerate(found)
              for at, i in zip(table[LOG_TIME].to_pylist(), table["i"].to_pylist(), strict=True)]  # fmt: skip
    assert [i for *_, i in sorted(logged)] == list(range(60))


@pytest.mark.parametrize("odd", ["n/a", [1], {"p": 0.5}])
def test_of_what_comes_together_the_many_decide_a_new_columns_type(session: Session, odd: Any) -> None:
    ff.log("p", [{"id": i, "score": odd if i == 0 else 0.5, "i": i} for i in range(100)], key="id")
    assert ff.metric("p.score", "mean").value.value == pytest.approx(0.5)
    assert ff.metric("p", "rows").value.value == 100.0
    [aside] = session.store.reader.quarantine.entries()
    assert aside.rows == 1
    ff.log("p", [{"id": i, "score": 0.5, "more": odd if i == 100 else 2} for i in range(100, 200)], key="id")
    assert ff.metric("p.more", "mean").value.value == 2.0


def as_message(table: pa.Table, number: int) -> Message:
    return Message("w", number, messages.records("test", "s", None, None), table)


def of_values(values: pa.Array) -> pa.Table:
    moments = pa.array([NOW // 1_000] * len(values), META.field(EVENT_TIME).type)
    return pa.table({"v": values, EVENT_TIME: moments, LOG_TIME: moments})


def test_what_no_table_can_hold_costs_nothing_that_comes_with_it() -> None:
    odd, sound = of_values(pa.array([5], pa.duration("us"))), of_values(pa.array([5]))
    for several in ([odd], [odd, odd], [odd, sound]):
        with pytest.raises(SchemaError):
            fit([as_message(table, number) for number, table in enumerate(several)], None, "s")
    empty = of_values(pa.array([None] * 9, pa.string()))
    fitted = fit([as_message(empty, 1), as_message(sound, 2)], None, "s")
    assert fitted.schema.field("v").type == pa.int64() and not fitted.conflicts, "values decide, and not nulls"
    fitted = fit([as_message(sound, 1), as_message(odd, 2), as_message(sound, 3)], None, "s")
    assert fitted.records["v"].to_pylist() == [5, None, 5] and len(fitted.conflicts) == 1
    fitted = fit([as_message(of_values(values), number) for number, values in enumerate((
        pa.array([[]], pa.list_(pa.null())), pa.array([[1.5]]), pa.array([[None]], pa.list_(pa.null())),
    ))], None, "s")  # fmt: skip
    assert fitted.records["v"].to_pylist() == [[], [1.5], [None]] and not fitted.conflicts


def test_stored_dates_are_no_column_without_a_type() -> None:
    known = of_values(pa.array([dt.date(2024, 1, 2)])).schema
    for values in (pa.array([5]), pa.array(["x"]), pa.array([[1]])):
        fitted = fit([as_message(of_values(values), 1)], known, "s")
        assert fitted.schema.field("v").type == pa.date32() and len(fitted.conflicts) == 1


@pytest.mark.parametrize(
    ("known", "texts", "fit_in"),
    [(0.5, ["1", "-2.5", "1e3", "0", "0.25", None], True), (0.5, ["01234"], False), (0.5, ["-007.5"], False),
     (0.5, ["9007199254740993"], False), (0.5, ["nan"], False), (0.5, ["x"], False), (5, ["1", "-2"], True),
     (5, ["007"], False), (5, ["1.5"], False)],
)  # fmt: skip
def test_texts_are_numbers_where_they_lose_nothing(known: float, texts: list[str | None], fit_in: bool) -> None:
    schema = of_values(pa.array([known])).schema
    fitted = fit([as_message(of_values(pa.array(texts)), 1)], schema, "s")
    assert bool(fitted.conflicts) is not fit_in
    if fit_in:
        assert fitted.records["v"].to_pylist() == [None if text is None else float(text) for text in texts]


def test_what_is_always_empty_is_no_column(session: Session) -> None:
    empty: list[Any] = [None, {"a": None}, {}, {"a": {"b": None}}]
    for value in empty:
        ff.log("p", key="k", v=value, w=1)
    assert ff.metric("p", "rows").value.value == 4.0
    assert "v" not in session.store.reader.log("p").whole().records(None).column_names


def test_optional_fields_and_one_odd_value_make_two_batches() -> None:
    records = [
        Record("s", {"v": i, **{f"f{bit}": 1 for bit in range(12) if i >> bit & 1}}, {}, f"k{i}", None, NOW, None)
        for i in range(1_000)
    ]
    found = from_records([*records, Record("s", {"v": ["odd"]}, {}, "odd", None, NOW, None)])
    assert [prepared.table.num_rows for prepared, _ in found] == [1_000, 1]


def test_a_value_that_is_nested_deep_beside_another_is_parted_at_once() -> None:
    deep: Any = 1
    for _ in range(30):
        deep = [deep, {"a": deep}] if len(str(deep)) < 1_000 else [deep]
    found = from_records([Record("s", {"x": value}, {}, None, None, NOW, None) for value in (deep, ["a"], deep)])
    assert sum(prepared.table.num_rows for prepared, _ in found) == 3


@pytest.mark.parametrize(
    ("kinds", "batches"), [((1, [1]), 2), (([1], ["a"], [1], 1), 3), ((1, [1], ["a"], "a", {"b": 1}, {"b": "x"}), 6)]
)
def test_records_of_one_key_stay_in_order_in_few_batches_whatever_their_types(kinds: tuple[Any], batches: int) -> None:
    values = [kinds[i % len(kinds)] for i in range(600)]
    found = from_records([Record("s", None, {"v": v, "i": i}, "one", None, NOW, None) for i, v in enumerate(values)])
    assert len(found) == batches
    rows = [
        (moment, number, place, i)
        for number, (prepared, _) in enumerate(found)
        for place, (moment, i) in enumerate(
            zip(prepared.table[LOG_TIME].cast(pa.int64()).to_pylist(), prepared.table["i"].to_pylist(), strict=True)
        )
    ]
    assert [i for *_, i in sorted(rows)] == list(range(600))  # as the log orders them: by time, batch and place


MIXED = """
import itertools, numpy as np
from fourfold.errors import InputError
from fourfold.fold import to_arrow
time, times = np.datetime64("2024-03-10"), np.array(["2024-03-10"], "M8[ns]")
others = [np.float32(1), np.int8(1), np.uint64(1), np.bool_(True), np.complex64(1), np.void(b"ab")]
pairs = [(time, other) for other in others] + [(times, np.array([1.0], kind)) for kind in ("f4", "f8", "i8")]
refused = 0
for first, second in [pair[::way] for pair in pairs for way in (1, -1)]:
    nested = ({"x": first}, {"x": second}), ([{"x": [first]}], [{"x": [second]}])
    for a, b in ((first, second), ([first], [second]), *nested):
        for _ in range(100):
            try:
                to_arrow([{"v": a}, {"v": b}])
            except InputError:
                refused += 1
print(refused)
"""


def test_times_of_numpy_beside_other_values_end_no_process() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", MIXED], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) == 2 * 9 * 4 * 100


def test_times_of_numpy_in_one_field_and_numbers_in_another_are_logged() -> None:
    value = {"at": np.datetime64("2024-03-10", "s"), "x": np.float32(0.5)}
    records = [Record("s", {"v": value}, {}, f"k{i}", None, NOW, None) for i in range(2)]
    ((prepared, error),) = from_records(records)
    assert error is None and prepared.table.num_rows == 2


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_an_odd_value_reaches_the_log_or_quarantine_and_stops_nothing(session: Session, value: Any) -> None:
    ff.log("good", key="first", v=1.0)
    assert ff.metric("good", "rows").value.value == 1.0
    ff.log("good", key="second", v=2.0)
    ff.log("good", key="odd", n=value)
    ff.log("good", key=value, v=3.0)
    ff.log("good", key="timed", time=value, v=3.0)
    ff.log("good", [{"id": "row", "v": 1.0}, {"id": "odd row", "n": value}], key="id")
    ff.log("odd", key="first of its stream", n=value)
    ff.log("later", key="a", v=1.0)
    assert ff.metric("later", "rows").value.value == 1.0
    counted = ff.metric("good", "rows").value.value or 0.0
    assert counted >= 3.0
    aside = sum(entry.rows for entry in session.store.reader.quarantine.entries() if entry.stream == "good")
    assert counted + aside >= 7.0
    assert session.store.reader.standing.stuck == {}


def test_whatever_a_run_is_told_it_is_recorded(session: Session) -> None:
    value: Any
    for value in ODD:
        with ff.run("told", params={"v": value}) as run:
            run.metric("m", value)
            run.metric(value, 1.0)
            run.output(value, {"a": 1})
            run.input(value, pd.DataFrame({"a": [1]}))
    assert len(ff.runs("told", limit=1_000)) == len(ODD)
    assert [entry.reason for entry in session.store.reader.quarantine.entries() if "run" in entry.reason] == []


@pytest.mark.parametrize("odd", ["a\0b", "a\0", "\0a", "\0"])
def test_a_name_with_the_character_that_ends_names_elsewhere_is_a_column_of_its_own(session: Session, odd: str) -> None:
    ff.log("p", {"a": 1})
    ff.log("p", {odd: "text"})  # an engine that ends the name there would find the column a twice
    ff.log("p", {"a": 2, odd: "more", "nested": {odd: 1, "a": 2}})
    ff.log("p", pd.DataFrame({"a": [3], odd: ["frame"]}))
    nested = pa.array([{odd: 5}], pa.struct([(odd, pa.int64())]))
    ff.log("p", pa.table({"a": pa.array([4]), "whole": nested}))  # it cannot be kept: it goes aside
    assert ff.metric("p", "rows").value.value == 4.0 and session.store.reader.standing.stuck == {}
    assert ff.metric("p.a", "mean").value.value == 2.0
    shown = odd.replace("\0", "\\x00")
    assert ff.metric(f"p.{shown}", "null_rate").value.value == 0.25
    [aside] = session.store.reader.quarantine.entries()
    assert aside.rows == 1 and "character 0" in aside.reason


def test_a_key_has_the_same_text_in_a_record_and_in_a_frame() -> None:
    values: list[list[Any]] = [
        ["a"], [5], [5.0], [0.5], [True], [np.float32(0.1)], [dt.date(2020, 1, 2)], [dt.datetime(2020, 1, 2, 3, 4, 5)],
        [dt.timedelta(days=1)], [b"abc"], [b"\xff"], [Decimal("1.50")], [uuid.UUID(int=5)],
    ]  # fmt: skip
    for (value,) in values:
        column = pa.array([value], pa.float32()) if isinstance(value, np.float32) else pa.array([value])
        framed = from_frame(pa.table({"id": column}), "id", None, NOW, None).table[KEY].to_pylist()
        assert framed == [key_text(value)], value


@pytest.mark.parametrize("key", [cyclic(), nested(6), nested(900), (1, nested(5))], ids=["itself", "6", "900", "part"])
def test_a_key_that_is_nested_deep_is_refused_before_it_grows(key: Any) -> None:
    """Each level writes the one inside as a text, twice as long; and what else runs at the end of a stack fails."""
    for form in (Columns(), Plain()):
        [odd, good] = sorted(
            form.of_records([Record("s", None, {"v": 1}, each, None, NOW, None) for each in (key, "good")], PLAUSIBLE),
            key=lambda batch: batch.error is None,
        )
        assert good.error is None and "a key is nested more than 4 deep" in str(odd.error)
    with pytest.raises(InputError, match="a key is nested"):
        from_frame(pa.table({"id": pa.array([nested(6)])}), "id", None, NOW, None)


def test_a_key_of_keys_is_their_texts() -> None:
    assert key_text((("a", 1), 2.0)) == '["[\\"a\\", \\"1\\"]", "2"]'
    assert key_text(nested(5)) is not None


def test_unsigned_keys_of_64_bits_stay_apart_and_join() -> None:
    keys = np.arange(2**63, 2**63 + 1000, dtype="uint64")
    found = from_frame(pd.DataFrame({"id": keys, "score": 0.5}), "id", None, NOW, None).table[KEY].to_pylist()
    assert found == [str(int(key)) for key in keys] == [key_text(key) for key in keys]


@pytest.mark.parametrize("time", [1_710_037_800, 1_710_037_800_000, 1_710_037_800_000_000, NOW, "1710037800"])
def test_a_number_is_a_time_in_the_unit_of_its_magnitude(time: Any) -> None:
    ((single, _),) = from_records([Record("s", None, {"v": 1}, "a", time, NOW, None)])
    moments = [single.table[EVENT_TIME][0].as_py()]
    if not isinstance(time, str):
        moments.append(from_frame({"id": ["a"], "t": [time]}, "id", "t", NOW, None).table[EVENT_TIME][0].as_py())
    assert set(moments) == {dt.datetime(2024, 3, 10, 2, 30, tzinfo=dt.UTC)}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1712051012345", dt.datetime(2024, 4, 2, 9, 43, 32, 345_000)),  # not the year 1712
        ("1710037800.5", dt.datetime(2024, 3, 10, 2, 30, 0, 500_000)),
        ("20240310", dt.datetime(2024, 3, 10)),
        ("20240310T023000Z", dt.datetime(2024, 3, 10, 2, 30)),
    ],
)
def test_a_text_of_digits_is_a_number_unless_it_is_a_date(text: str, moment: dt.datetime) -> None:
    assert micros_of(text) == int(moment.replace(tzinfo=dt.UTC).timestamp() * 1_000_000)


def test_whatever_number_is_written_as_text_is_the_same_moment() -> None:
    for number in range(1_700_000_000_000, 1_760_000_000_000, 7_777_777_777):
        assert micros_of(str(number)) == micros_of(number)


@pytest.mark.parametrize("time", ["yesterday", "9999-12-31", dt.datetime(1, 1, 1), -5, 1e30, True, [1]])
def test_a_time_that_is_none_is_kept_in_the_record_and_counted(time: Any) -> None:
    ((single, error),) = from_records([Record("s", None, {"v": 1}, "a", time, NOW, None)])
    assert (error, single.unreadable) == (None, 1)
    shown = "0001-01-01T00:00:00Z" if isinstance(time, dt.datetime) else repr(time)
    assert single.table["unreadable_time"].to_pylist() == [shown]
    assert single.table[EVENT_TIME].cast(pa.int64()).to_pylist() == [NOW // 1_000]


def test_which_times_are_plausible_can_be_set(tmp_path: Path) -> None:
    session = ff.init(tmp_path / "store", "test", earliest="1850-01-01", ahead="5000d")
    times = ["1900-06-01", "1849-12-31", dt.datetime.now(dt.UTC) + dt.timedelta(days=4_000), "9999-12-31"]
    for i, time in enumerate(times):
        ff.log("p", key=i, time=time, v=1)
    ff.log("p", pd.DataFrame({"id": ["a", "b"], "t": pd.to_datetime(["1900-06-01", "1800-01-01"])}), key="id", time="t")
    assert ff.metric("p", "rows", start="1900-06-01", end="1900-06-02").value.value == 2.0
    assert ff.metric("p", "rows").value.value == 6.0
    unreadable = ff.metric("p.unreadable_time", "null_rate").value
    assert (unreadable.value, unreadable.n) == (0.5, 6)
    [told] = problems(session.store.reader)
    assert (told.kind, told.subject) == ("unreadable_times", "p") and "3 of its 6 records" in told.message
    session.close()


@pytest.mark.parametrize("setting", [{"earliest": "long ago"}, {"ahead": "soon"}, {"ahead": 5}, {"ahead": "0d"}])
def test_bounds_of_times_that_are_none_are_refused_where_they_are_set(tmp_path: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ff.init(tmp_path / "store", "test", **setting)


def test_a_list_of_dicts_loses_only_the_record_that_cannot_be_kept() -> None:
    found = prepare([{"id": "a", "v": 1}, {"id": "b", "v": cyclic()}, {"id": "c", "v": 2}], "id", None, NOW, None)
    assert [table[KEY].to_pylist() for table in good(found)] == [["a", "c"]]
    assert sum(prepared.table.num_rows for prepared, error in found if error is not None) == 1


TIMES: dict[str, list[Any]] = {
    "texts": [
        "2024-03-10T02:30:00Z", "2024-03-10T02:30:00", "2024-03-10 02:30", "2024-03-10T02:30:00.123456789Z",
        "20240310T023000Z", "20240310", "2024-03-10T02:30:00+0100", "1710037800", "1712051012345", "2024-03-10T02",
        "not a time", "", "1800-01-01", "9999-12-31", "inf", "nan", "2024-W10-7", "-5", None,
    ],
    "zoned": [dt.datetime(2024, 3, 10, tzinfo=dt.timezone(dt.timedelta(hours=h))) for h in (-5, 0, 9)],
    "moments": [
        dt.datetime(2024, 3, 10), dt.datetime(1, 1, 1), dt.datetime(1969, 12, 31, 23), None,
        dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5))),
    ],
    "stamps": [pd.Timestamp("2024-03-10T02:30:00.123456789"), pd.Timestamp("1960-01-01T00:00:00.000000001"), pd.NaT],
    "dates": [dt.date(2024, 3, 10), dt.date(1, 1, 1), None],
    "numbers": [1_710_037_800, 1_710_037_800_000, 1_710_037_800_000_000, NOW, -5, 0, 2**62],
    "fractions": [1_710_037_800.25, float("inf"), -float("inf"), float("nan"), 1e30, -1e300],
    "big": [1_710_037_800, 2**70, -(2**70), None],
    "decimals": [Decimal("1710037800.25"), Decimal("-5.00"), Decimal("NaN"), None],
    "flags": [True, False, None],
    "days": [dt.timedelta(days=1), dt.timedelta(seconds=1_710_037_800)],
    "clock": [dt.time(1), dt.time(23, 59), None],
    "bytes": [b"2024", b"1710037800"],
    "months": [pd.Period("2024-03", "M"), pd.Period("1950-01", "M")],
    "quarters": [pd.Period("2024Q1", "Q"), pd.Period("2023Q4", "Q")],
    "lists": [[1], [], None],
    "mixed": ["2024-03-10", dt.datetime(2024, 3, 10), 1_710_037_800, True, [1], pd.Period("2024-03", "M"), None],
}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "whole": [1, 2, 2**70, -(2**70), None],
    "mixed": [1, 2.5, "x", [1], ["a"], {"a": 1}, None, b"ab", dt.date(2024, 3, 10), 2**70, True],
    "texts": ["a", "b", None],
    "lists": [[1], ["a"], [], [[1]], [None]],
    "nested": [{"a": 1}, {"a": "x"}, {"b": [1]}, {"a": 2**70}],
    "months": [pd.Period("2024-03", "M"), pd.Period("2024-04", "M")],
    "spans": [pd.Interval(0, 1), pd.Interval(1, 2)],
    "colours": [Colour.RED],
    "moments": [dt.datetime(2024, 3, 10), dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5)))],
    "itself": [1, cyclic()],
}


def columns(kinds: dict[str, list[Any]], rows: int) -> st.SearchStrategy[list[Any]]:
    """A column of values of one of the kinds."""
    return st.sampled_from(sorted(kinds)).flatmap(
        lambda kind: st.lists(st.sampled_from(kinds[kind]), min_size=rows, max_size=rows)
    )


def kept(found: Found) -> tuple[list[str], list[str]]:
    """What comes of data: the records that are logged, with the types of their columns, and those aside."""
    logged, aside = [], []
    for prepared, error in found:
        if error is None:
            rows = zip(*(values_of(column) for column in prepared.table.columns), strict=True)
            types = [(field.name, str(field.type)) for field in prepared.table.schema]
            logged += [repr([(name, kind, v) for (name, kind), v in zip(types, row, strict=True)]) for row in rows]
        else:
            aside += prepared.table["reason"].to_pylist()
    return sorted(logged), sorted(aside)


ODD_TEXTS = ["a", "a\ud800", None]  # of which pandas itself makes no column of texts


def of_objects(data: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in data.items()})


def of_polars(data: dict[str, list[Any]]) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(name, values, pl.Object) for name, values in data.items()})


FRAMES = [pd.DataFrame, of_objects, of_polars, dict]


@pytest.mark.parametrize("frame", FRAMES, ids=["pandas", "pandas objects", "Polars objects", "columns"])
@given(data=st.data(), rows=st.integers(1, 6))
def test_a_frame_and_its_records_one_by_one_are_kept_the_same(frame: Any, data: st.DataObject, rows: int) -> None:
    values = VALUES if frame is pd.DataFrame else VALUES | {"odd texts": ODD_TEXTS}
    given_as = {"at": data.draw(columns(TIMES, rows)), "v": data.draw(columns(values, rows))}
    whole = frame({"id": [f"k{i}" for i in range(rows)], **given_as})
    records = records_in(whole)
    assert records is not None
    assert kept(prepare(whole, "id", "at", NOW, None)) == kept(prepare(records, "id", "at", NOW, None))


def test_a_frame_that_lacks_the_column_of_its_key_is_not_read_record_by_record(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr(batch, "records_in", read.append)
    with pytest.raises(InputError, match="key='no' is not a column"):
        prepare(pd.DataFrame({"id": [1]}), "no", None, NOW, None)
    assert read == []


def test_one_odd_time_or_number_of_a_frame_costs_no_other_record(session: Session) -> None:
    times = ["2024-03-10T02:30:00Z"] * 100
    for odd in ("not a time", "2024-03-10T02:30:00", "1710037800", "20240310T023000Z"):
        frame = pd.DataFrame({"id": range(100), "at": [*times, odd][1:], "v": [*range(99), 2**70]})
        ff.log("p", frame, key="id", time="at")
    assert ff.metric("p", "rows").value.value == 400.0
    assert ff.metric("p", "rows", start="2024-03-10", end="2024-03-11").value.value == 399.0
    assert ff.metric("p.unreadable_time", "null_rate").value.value == pytest.approx(399 / 400)
    assert session.store.reader.quarantine.entries() == []


@pytest.mark.parametrize("make", [lambda data: data, pa.Table.from_pandas])
def test_a_period_is_the_moment_of_its_start_or_its_text(make: Any) -> None:
    """Its number of months since 1970, as pandas stores it, would be read as seconds."""
    for categories in (False, True):
        months = pd.period_range("2024-01", periods=3, freq="M")
        data = pd.DataFrame({"at": months, "month": months, "span": pd.interval_range(0, 3)})
        prepared = from_frame(make(data.astype("category") if categories else data), None, "at", NOW, None)
        moments = [dt.datetime(2024, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3)]
        assert prepared.table[EVENT_TIME].to_pylist() == moments
        assert prepared.table["month"].to_pylist() == ["2024-01", "2024-02", "2024-03"]
        assert prepared.table["span"].to_pylist() == ["(0, 1]", "(1, 2]", "(2, 3]"]


def test_values_are_what_they_mean_and_not_how_they_are_stored() -> None:
    sparse = pd.DataFrame({"n": pd.arrays.SparseArray([0, 0, 1]), "x": pd.arrays.SparseArray([float("nan"), 1.5, 2])})
    table = from_frame(sparse, None, None, NOW, None).table
    assert table["n"].to_pylist() == [0, 0, 1] and table["x"].to_pylist()[1:] == [1.5, 2.0]
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], [1.5, 2.5])
    table = from_frame(pa.table({"flag": flags, "run": runs}), None, None, NOW, None).table
    assert table["flag"].to_pylist() == [True, False, None] and table["run"].to_pylist() == [1.5, 1.5, 2.5]


TO_THE_DEATH = """
import sys
import numpy as np, pandas as pd
import fourfold as ff

class Rude:
    __class__ = property(lambda self: 1 / 0)

cycle, twice, mapping = [], [], {}
cycle.append(cycle)
twice += [twice, twice]
mapping["a"] = mapping
session = ff.init(sys.argv[1], "test")
odd = [cycle, twice, mapping, Rude(), [Rude()], {"a": Rude()}, {"a": {"b": [cycle]}}]
odd.append(np.array([cycle, 1], dtype=object))
for i, value in enumerate(odd):
    frame = pd.DataFrame({"id": [1, 2], "v": pd.Series([value, 1], dtype=object)})
    ff.log("odd", {"id": [1, 2], "v": [value, 1]}, key="id")
    ff.log("odd", frame, key="id")
    ff.log("odd", [{"id": 1, "v": value}], key="id")
    ff.log("odd", key=value, v=1)
    ff.log("odd", {"id": 5, "v": 1}, key=value)
    ff.log("odd", key=9, time=value)
    ff.log(value, key=1, v=1)
    ff.component(lambda argument: argument)(frame)
    ff.component(lambda argument: argument)(value)
    ff.log("good", key=i, v=1.0)
ff.flush()
print(ff.metric("good", "rows").value.value, len(session.store.reader.quarantine.entries()) >= 2 * len(odd))
"""


def test_no_object_in_a_frame_ends_the_process_or_costs_a_record(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TO_THE_DEATH, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "8.0 True\n"), done.stderr


class Stream(str):
    def encode(self, *_: Any) -> bytes:
        raise RuntimeError("no bytes")


class Cancelled:
    def __repr__(self) -> str:
        raise asyncio.CancelledError

    __eq__ = __float__ = __hash__ = None  # type: ignore[assignment]


def test_what_is_no_exception_costs_neither_the_thread_nor_a_record(session: Session) -> None:
    odd: Any
    for odd in (Cancelled(), [Cancelled()]):
        ff.log("odd", key="1", v=odd)
        ff.log("odd", key=odd, v=1)
        ff.log("odd", {"id": 1, "v": 1}, key=odd)
        ff.log("odd", {"id": [1, 2], "v": [odd, 1]}, key="id")
        ff.log(odd, key="1", v=1)
        ff.log(odd, pd.DataFrame({"id": [1], "v": [1]}), key="id")
    ff.log(Stream("named"), key="1", v=1)
    for i in range(100):
        ff.log("good", key=i, v=1)
    session.sender.buffer.wake.set()
    assert ff.metric("good", "rows").value.value == 100.0
    assert ff.metric("named", "rows").value.value == 1.0
    assert session.sender.is_alive()


def test_records_of_one_key_stay_in_their_order_whatever_their_types(session: Session) -> None:
    ff.task("t", prediction="p.score", label="l.y")
    ff.log("p", key="1", score=0.9)
    ff.log("l", [{"id": 1, "y": 0, "n": 1}, {"id": 1, "y": 1, "n": "a"}, {"id": 1, "y": 0, "n": 2}], key="id")
    assert ff.metric("t", "base_rate").value.value == 0.0
    for y, n in ((0, 1), (0, "a"), (1, 2)):
        ff.log("l", key=1, y=y, n=n)
    assert ff.metric("t", "base_rate").value.value == 1.0


def test_columns_and_single_records_count_in_the_order_in_which_they_were_logged(session: Session) -> None:
    ff.task("t", prediction="p.score", label="l.y")
    ff.log("p", key="a", score=0.9)
    with ff.run("labels"):
        ff.log("l", {"id": ["a"], "y": [0]}, key="id")
        ff.log("l", key="a", y=1)
        ff.log("l", {"id": ["b"], "y": [0]}, key="id")
    assert ff.metric("t", "base_rate").value.value == 1.0
    (step,) = ff.trace("b").steps
    assert step.run is not None and step.run.component == "labels"


def test_a_frame_of_uuids_is_text() -> None:
    ids = [uuid.UUID(int=i) for i in range(3)]
    table = from_frame(pa.table({"id": pa.array(ids), "other": pa.array(ids)}), "id", None, NOW, None).table
    assert table[KEY].to_pylist() == table["other"].to_pylist() == list(map(str, ids))
    check_writable(table, "s")


def test_a_number_beside_a_moment_is_no_moment() -> None:
    for first, second in (
        (dt.datetime(2024, 3, 10), 5),
        (5, dt.datetime(2024, 3, 10)),
        ("a", b"b"),
        ([5], [dt.time(1)]),
    ):
        found = prepare([{"v": first}, {"v": second}, {"v": [first, second]}], None, None, NOW, None)
        assert sorted(str(table["v"].type) for table in good(found)) == sorted(
            str(table["v"].type)
            for value in (first, second)
            for table in good(prepare([{"v": value}], None, None, NOW, None))
        )
        assert [error is None for _, error in found] == [True, True, False]


@pytest.mark.parametrize("frame", [of_objects, of_polars])
def test_a_column_of_objects_that_no_record_may_have_is_texts(frame: Any) -> None:
    [(prepared, error)] = prepare(frame({"id": [1, 2, 3], "v": [1 + 2j, Path("a"), None]}), "id", None, NOW, None)
    assert error is None and prepared.table["v"].to_pylist() == ["(1+2j)", "a", None]
    logged = prepare(frame({"v": [dt.date(2024, 3, 10), dt.datetime(2024, 3, 10), dt.time(1)]}), None, None, NOW, None)
    assert sorted(str(table["v"].type) for table in good(logged)) == ["int64", *["timestamp[us, tz=UTC]"] * 2]


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.date32()])
def test_a_moment_of_a_frame_that_microseconds_cannot_hold_is_none(kind: pa.DataType) -> None:
    stored = pa.array([2**30, 0]) if pa.types.is_date(kind) else pa.array([2**60, 0])
    column = stored.cast(pa.int32()).cast(kind) if pa.types.is_date(kind) else stored.cast(kind)
    prepared = from_frame(pa.table({"at": column}), None, "at", NOW, None)
    assert prepared.unreadable == 1 and prepared.table[EVENT_TIME].cast(pa.int64()).to_pylist() == [NOW // 1_000, 0]
