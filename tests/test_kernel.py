"""Law 3 (the kernel against a plain-Python oracle), and a defined answer for every kind of column."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold import counts
from fourfold.counts import KINDS
from fourfold.counts.binning import Binning
from fourfold.fold import Plan, choose_binning, fold, is_frame, plan_columns, to_arrow
from fourfold.fold.category import hash_texts
from fourfold.fold.numeric import needs_new_binning


def oracle_bin(x: float, centre: float, scale: float, bits: int = 6) -> int:
    """The design's definition, word for word."""
    t = (x - (centre or -0.0)) / scale
    u = 1 + abs(t)
    if math.isinf(u):
        u, e = 1.0, 1024
    else:
        mantissa, exponent = math.frexp(u)
        u, e = mantissa * 2, exponent - 1
    code = (e << bits) + math.floor((u - 1) * (1 << bits))
    return -code - 1 if math.copysign(1, t) < 0 else code


def rows(table: pa.Table) -> dict[tuple[str, str], dict[str, Any]]:
    """One-bucket counts by column and kind, with the tallies by name."""
    return {
        (row["column"], row["kind"]): {**row, **dict(zip(KINDS[row["kind"]].tallies, row["tallies"], strict=True))}
        for row in counts.add(table).to_pylist()
    }


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=100), st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_the_kernel_counts_what_a_plain_loop_counts(data: list[float | None], centre: float, scale: float) -> None:
    plan = Plan().adding({"x": Binning(centre, scale)})
    table = fold(pa.table({"x": pa.array(data, pa.float64())}), plan=plan)
    if not data:
        assert table.num_rows == 0
        return
    row = rows(table)["x", "numeric"]
    present = [x for x in data if x is not None]
    finite = [x for x in present if math.isfinite(x)]
    assert row["rows"] == len(data)
    assert row["null"] == len(data) - len(present)
    assert row["nan"] == sum(math.isnan(x) for x in present)
    assert row["positive_infinity"] == present.count(math.inf)
    assert row["negative_infinity"] == present.count(-math.inf)
    assert row["negative"] == sum(x < 0 for x in finite)
    assert row["zero"] == finite.count(0.0)
    expected = Counter(oracle_bin(x, centre, scale) for x in finite)
    assert dict(zip(row["bins"], row["counts"], strict=True)) == expected
    if finite:
        assert (row["low"], row["high"]) == (min(finite), max(finite))


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from("abc"), st.floats(-10, 10)), min_size=1, max_size=300),
    st.sampled_from(["1h", "1d"]),
)
def test_groups_are_counted_as_a_plain_loop_counts_them(data: list[tuple[int, str, float]], every: str) -> None:
    step = {"1h": 1, "1d": 24}[every]
    hours, sides, xs = zip(*data, strict=True)
    frame = pa.table(
        {"t": pa.array([h * 3_600_000_000 for h in hours], pa.timestamp("us")), "side": list(sides), "x": list(xs)}
    )
    plan = Plan().adding({"x": Binning(0.0, 1.0)})
    table = counts.add(fold(frame, time="t", every=every, by=["side"], plan=plan))
    found = {
        (row["slice"], row["bucket"] // 3600): dict(zip(row["bins"], row["counts"], strict=True))
        for row in table.to_pylist()
        if row["kind"] == "numeric"
    }
    expected: dict[tuple[str, int], Counter[int]] = {}
    for hour, side, x in data:
        for key in ("{}", f'{{"side": "{side}"}}'):
            expected.setdefault((key, hour // step * step), Counter())[oracle_bin(x, 0.0, 1.0)] += 1
    assert found == expected


def test_a_large_unsorted_frame_with_outliers_is_counted_exactly() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal(100_000)
    x[::5_000] = [1e308, -1e308, 1e-308, 1e12] * 5
    day = random.integers(0, 90, len(x))
    frame = pa.table({"t": pa.array(day * 86_400_000_000, pa.timestamp("us")), "x": x})
    plan = Plan().adding({"x": Binning(0.0, 1.0)})
    found = {row["bucket"] // 86_400: row for row in fold(frame, time="t", plan=plan).to_pylist()}
    for d in (0, 41, 89):
        expected = Counter(oracle_bin(v, 0.0, 1.0) for v in x[day == d])
        assert dict(zip(found[d]["bins"], found[d]["counts"], strict=True)) == expected


@pytest.mark.parametrize("far", [[], [1e12, -1e300], [math.nan, math.inf, -math.inf, 1e200]])
def test_values_further_off_than_a_sample_lets_expect_are_counted_exactly(far: list[float]) -> None:
    x = np.random.default_rng(0).standard_normal(200_000)
    x[1 : 1 + len(far)] = far  # which no even spread of 4,096 of them looks at
    day = np.arange(len(x)) // 90_000
    frame = pa.table({"t": pa.array(day * 86_400_000_000, pa.timestamp("us")), "x": x})
    found = {row["bucket"] // 86_400: row for row in fold(frame, time="t").to_pylist()}
    binning = choose_binning(x)
    for d in (0, 1, 2):
        values = x[(day == d) & np.isfinite(x)]
        expected = Counter(oracle_bin(v, binning.centre, binning.scale) for v in values)
        assert dict(zip(found[d]["bins"], found[d]["counts"], strict=True)) == expected
        assert (found[d]["low"], found[d]["high"]) == (values.min(), values.max())


def test_of_equally_heavy_values_the_first_in_the_alphabet_are_kept_in_each_bucket() -> None:
    texts = [f"é{i:04d}" for i in range(1_000)] + ["heavy", "zz"] * 3
    random = np.random.default_rng(0)
    rows_of_days = [(day, text) for day in range(3) for text in random.permutation(texts)]
    times = pa.array([day * 86_400_000_000 for day, _ in rows_of_days], pa.timestamp("us"))
    table = fold(pa.table({"t": times, "s": [text for _, text in rows_of_days]}), time="t", plan=Plan())
    expected = {"heavy": 3, "zz": 3, **{f"é{i:04d}": 1 for i in range(254)}}
    for row in table.to_pylist():
        assert dict(zip(row["labels"], row["counts"], strict=True)) == expected
        assert row["tallies"] == [1_006, 0, 1_000 - 254]


def test_the_hash_of_a_text_is_that_which_stores_hold() -> None:
    found = hash_texts(pa.array(["-", "", "a", "日本", "x" * 120]).slice(1))
    assert found.tolist() == [0, 1936283206776219975, 6645664869475726859, 4099755330341632316]


@pytest.mark.parametrize(
    ("column", "series", "kinds"),
    [
        (pa.array([], pa.float64()), "c", set()),
        (pa.array([1.5]), "c", {"numeric"}),
        (pa.array([None, None], pa.float64()), "c", {"numeric"}),
        (pa.array([None, None]), "c", {"category"}),
        (pa.array([7.0] * 50), "c", {"numeric"}),
        (pa.array([1e308, -1e308, 1.7e308]), "c", {"numeric"}),
        (pa.array([5e-324, 1e-310, 0.0]), "c", {"numeric"}),
        (pa.array([2**53 + 1, 2**62, -(2**63)]), "c", {"numeric", "category"}),
        (pa.array([2**64 - 1, 1], pa.uint64()), "c", {"numeric"}),
        (pa.array([decimal.Decimal("1.10"), None]), "c", {"numeric"}),
        (pa.array([1, 2, 2], pa.int8()), "c", {"numeric", "category"}),
        (pa.array([True, None, False]), "c", {"numeric", "category"}),
        (pa.array(["a", "", None, "\x00", "日本"]), "c", {"category"}),
        (pa.array(["a", "b"]).dictionary_encode(), "c", {"category"}),
        (pa.array([b"a", b"bc"]), "c", {"opaque"}),
        (pa.array([dt.datetime(2024, 1, 1), None]), "c", {"numeric"}),
        (pa.array([dt.date(2024, 1, 1)]), "c", {"numeric"}),
        (pa.array([dt.time(12, 30)]), "c", {"numeric", "category"}),
        (pa.array([dt.timedelta(seconds=90)]), "c", {"numeric"}),
        (pa.array([[1.0, 2.0], [3.0, 4.0], None]), "c", {"opaque"}),
        (pa.array([["a"], ["b", "c"], None]), "c", {"opaque"}),
        (pa.array([{"a": 1}, None]), "c", {"opaque"}),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), "c", {"opaque"}),
        (pa.array([1.0, 2.0], pa.float16()), "c", {"numeric"}),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)  # fmt: skip
def test_every_type_of_column_has_a_defined_answer(column: pa.Array, series: str, kinds: set[str]) -> None:
    found = rows(fold(pa.table({"c": column})))
    assert {kind for name, kind in found if name == series} == kinds
    for row in found.values():
        assert row["rows"] == len(column)
        if row["column"] == "c":
            assert row["null"] == column.null_count


def test_nested_columns_are_counted_by_length_and_vectors_by_norm_and_projections() -> None:
    lists = rows(fold(pa.table({"c": pa.array([["a"], ["b", "c"], None])})))
    assert lists["c.length", "numeric"]["high"] == 2
    vectors = rows(fold(pa.table({"v": pa.array([[3.0, 4.0], [0.0, 0.0], None, [1.0]])})))
    assert vectors["v.norm", "numeric"]["high"] == pytest.approx(5.0)
    assert vectors["v.norm", "numeric"]["null"] == 2  # null, and one of another length
    assert sum(name.startswith("v.projection_") for name, _ in vectors) == 16
    assert (
        rows(fold(pa.table({"v": pa.array([[3.0, 4.0]])})))["v.projection_03", "numeric"]
        == rows(fold(pa.table({"v": pa.array([[3.0, 4.0]])})))["v.projection_03", "numeric"]
    )


def test_a_timestamp_is_counted_in_seconds_behind_the_event_time() -> None:
    event = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    table = pa.table({"t": [event] * 2, "made": [event - dt.timedelta(hours=1), event - dt.timedelta(hours=3)]})
    row = rows(fold(table, time="t"))["made", "numeric"]
    assert (row["low"], row["high"]) == (3600.0, 10800.0)


def test_column_names_are_made_unique_whatever_they_are() -> None:
    frame = pd.DataFrame([[1, 2, 3, 4, 5]], columns=["a", "A", "", "a", "é ;DROP TABLE"])
    assert to_arrow(frame).column_names == ["a", "A_2", "unnamed", "a_3", "é ;DROP TABLE"]
    assert {name for name, kind in rows(fold(frame)) if kind == "numeric"} == set(to_arrow(frame).column_names)


def test_two_thousand_columns_are_counted() -> None:
    table = pa.table({f"c{i}": pa.array([float(i), None]) for i in range(2_000)})
    assert len(rows(fold(table))) == 2_000


@pytest.mark.parametrize("every", ["week", "", "2h"])
def test_a_bucket_that_does_not_exist_is_refused_by_name(every: str) -> None:
    with pytest.raises(ff.InputError, match="every="):
        fold(pa.table({"x": [1.0]}), every=every)


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(ff.InputError, match=r"no column 'tiem'.*'time'"):
        fold(pa.table({"time": [1.0]}), time="tiem")


FRAME = {"n": [1, 2, None], "x": [0.5, float("nan"), 2.0], "s": ["a", None, "é"], "b": [True, False, True]}


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame(FRAME),
        pl.DataFrame(FRAME, strict=False),
        pl.LazyFrame(FRAME, strict=False),
        pa.table({k: pa.array(v) for k, v in FRAME.items()}),
        pa.RecordBatch.from_pydict({k: pa.array(v) for k, v in FRAME.items()}),
        FRAME,
        [dict(zip(FRAME, row, strict=True)) for row in zip(*FRAME.values(), strict=True)],
    ],
    ids=["pandas", "polars", "lazy", "table", "batch", "dict", "records"],
)
def test_every_frame_gives_the_same_columns(data: Any) -> None:
    table = to_arrow(data)
    assert table.column_names == ["n", "x", "s", "b"]
    assert table["s"].to_pylist() == ["a", None, "é"]
    assert table.num_rows == 3


def test_a_duckdb_relation_is_a_frame() -> None:
    import duckdb

    with duckdb.connect() as connection:
        relation = connection.sql("SELECT 1 AS a UNION ALL SELECT 2")
        assert is_frame(relation)
        assert sorted(to_arrow(relation)["a"].to_pylist()) == [1, 2]


def test_arrow_and_polars_columns_are_not_copied() -> None:
    table = pa.table({"x": np.arange(10.0)})
    address = table["x"].chunk(0).buffers()[1].address
    assert to_arrow(table)["x"].chunk(0).buffers()[1].address == address
    frame = pl.DataFrame({"x": np.arange(10.0)})
    polars_address = frame.to_arrow()["x"].chunk(0).buffers()[1].address
    assert to_arrow(frame)["x"].chunk(0).buffers()[1].address == polars_address


@pytest.mark.parametrize("value", [1, "text", None, object(), pd.Series([1.0]), pl.Series([1.0]), [1, 2]])
def test_what_is_no_frame_is_not_taken_for_one(value: object) -> None:
    assert not is_frame(value)


@pytest.mark.parametrize(
    ("data", "centre", "scale"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], 3.0, 2 / 1.349),
        ([5.0] * 10 + [9.0], 5.0, float(np.std([5.0] * 10 + [9.0]))),
        ([5.0] * 10, 5.0, 5.0),
        ([0.0] * 3, 0.0, 1.0),
        ([float("nan")], 0.0, 1.0),
        ([], 0.0, 1.0),
    ],
)
def test_the_scale_falls_back_where_it_would_be_zero(data: list[float], centre: float, scale: float) -> None:
    binning = choose_binning(np.array(data))
    assert [binning.centre, binning.scale] == pytest.approx([centre, scale])


def test_a_binning_that_has_become_too_coarse_or_too_fine_is_replaced() -> None:
    random = np.random.default_rng(0)
    coarse = needs_new_binning(random.standard_normal(5_000), Binning(0.0, 1e6))
    assert coarse is not None
    assert coarse.version == 1
    assert coarse.scale == pytest.approx(1.0, rel=0.1)
    wide = random.standard_normal(200_000) * np.exp(random.standard_normal(200_000) * 30)
    assert needs_new_binning(random.standard_normal(5_000), Binning(0.0, 1.0)) is None
    assert needs_new_binning(np.repeat([1.0, 2.0], 1_000), Binning(0.0, 1e6)) is None, "two values need two bins"
    assert needs_new_binning(wide[:100], Binning(0.0, 1e-9)) is None, "too few values to judge by"


def test_small_integers_keep_both_forms_and_large_ones_only_their_bins() -> None:
    table = pa.table({"small": pa.array(range(200)), "large": pa.array(range(0, 60_000, 300))})
    assert plan_columns(table, Plan()).small == {"small", "large"}
    wide = pa.table({"ids": pa.array(range(1_000))})
    assert plan_columns(wide, Plan()).small == frozenset()
