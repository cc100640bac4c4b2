"""Law 1: folding the parts and adding gives the fold of the whole, in any order, with a tested identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourfold import counts
from fourfold.counts import Counts
from fourfold.counts.binning import Binning, bins_of
from fourfold.fold import Plan, fold
from fourfold.metrics import parse
from fourfold.query.counts import pooled
from tests.support import close, comparable

floats = st.one_of(
    st.floats(-1e3, 1e3), st.floats(), st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf")])
)
values = st.one_of(st.none(), floats)
texts = st.one_of(st.none(), st.sampled_from(["", "a", "b", "é", "\x00", "a,b", "null"]), st.text(max_size=3))
hours = st.integers(0, 50)
rest = (texts, st.booleans(), hours, st.sampled_from(["x", "y", None]))
records = st.lists(st.tuples(values, *rest), max_size=60)
tame = st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e3, 1e3)), *rest), max_size=60)  # sums do not cancel out


def frame(rows: list[tuple[Any, ...]]) -> pa.Table:
    x, text, flag, hour, side = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return pa.table(
        {
            "x": pa.array(x, pa.float64()),
            "text": pa.array(text, pa.string()),
            "flag": pa.array(flag, pa.bool_()),
            "side": pa.array(side, pa.string()),
            "t": pa.array([h * 3_600_000_000 for h in hour], pa.timestamp("us", "UTC")),
        }
    )


PLAN = Plan().adding({"x": Binning(1.5, 2.0), "flag": Binning(0.0, 1.0)})


def folded(rows: list[tuple[Any, ...]]) -> pa.Table:
    return fold(frame(rows), time="t", every="1h", by=["side"], plan=PLAN)


@given(records, records)
def test_the_fold_of_a_union_is_the_sum_of_the_folds(a: list[Any], b: list[Any]) -> None:
    assert close(comparable(counts.add(folded(a + b))), comparable(counts.add(folded(a), folded(b))))


@given(records, st.randoms(use_true_random=False))
def test_the_order_of_records_and_of_additions_never_matters(a: list[Any], random: Any) -> None:
    shuffled = random.sample(a, len(a))
    cut = len(a) // 3
    parts = [folded(shuffled[:cut]), folded(shuffled[cut:])]
    assert close(comparable(counts.add(*parts)), comparable(counts.add(folded(a))))
    assert close(comparable(counts.add(*parts[::-1])), comparable(counts.add(*parts)))


@given(tame, st.integers(1, 60))
def test_a_panel_adds_up_to_the_same_counts_with_bins_and_without(a: list[Any], hours: int) -> None:
    table = counts.add(folded(a))
    for column, kind in (("", "stream"), ("x", "numeric"), ("side", "category")):
        one = table.filter((pc.field("column") == column) & (pc.field("kind") == kind))
        window = one["bucket"].to_numpy() // (3600 * hours)
        whole = counts.rebucket(one, window)
        places = zip(whole["bucket"].to_pylist(), whole["slice"].to_pylist(), strict=True)
        expected = dict(zip(places, counts.rows(whole, {}), strict=True))
        bare = dict(counts.of_table(one, column, kind, bins=False).rebucket(window))
        found = bare if kind == "category" else dict(counts.of_table(one, column, kind, bins=True).rebucket(window))
        assert found.keys() == bare.keys() == expected.keys()
        for place, entry in found.items():
            same = expected[place]
            assert kind == "category" or (entry.bins.tolist(), entry.counts.tolist()) == (
                same.bins.tolist(),
                same.counts.tolist(),
            )
            assert bare[place].tallies == entry.tallies
            assert entry.tallies == same.tallies
            assert entry.sums == pytest.approx(same.sums, abs=1e-6)
            assert (entry.low, entry.high) == pytest.approx((same.low, same.high), nan_ok=True)


@given(records)
def test_the_empty_fold_is_the_identity(a: list[Any]) -> None:
    once = counts.add(folded(a))
    assert close(comparable(counts.add(once, counts.empty(), folded([]))), comparable(once))


@given(records, records)
def test_negated_counts_take_exactly_their_records_away(a: list[Any], b: list[Any]) -> None:
    left = counts.drop_zero(counts.add(folded(a), folded(b), counts.negate(counts.add(folded(b)))))
    expected = counts.drop_zero(counts.add(folded(a)))
    pick = ("tallies", "counts")
    assert {k: [v[p] for p in pick] for k, v in comparable(left).items()} == {
        k: [v[p] for p in pick] for k, v in comparable(expected).items()
    }


def test_beyond_256_categories_the_heaviest_are_kept_and_the_rest_is_other() -> None:
    labels = [f"v{i}" for i in range(400) for _ in range(1 + (i < 100))]
    table = pa.table({"c": labels})
    row = counts.add(fold(table)).to_pylist()[0]
    assert len(row["labels"]) == counts.MAX_CATEGORIES
    assert {f"v{i}" for i in range(100)} <= set(row["labels"])
    assert sum(row["counts"]) + row["tallies"][counts.KINDS["category"].tallies.index("other")] == len(labels)


def test_labels_in_two_batches_add_up_to_the_total_even_beyond_256() -> None:
    parts = [pa.table({"c": [f"v{i}" for i in range(lo, lo + 300)]}) for lo in (0, 150)]
    row = counts.add(*(fold(part) for part in parts)).to_pylist()[0]
    assert sum(row["counts"]) + row["tallies"][2] == 600


@pytest.mark.parametrize("n", [10, 1_000, 50_000])
def test_hyperloglog_counts_distinct_values_within_its_error(n: int) -> None:
    table = pa.table({"c": [f"key-{i}" for i in range(n)] * 2})
    parts = [table.slice(0, n + n // 2), table.slice(n + n // 2)]
    whole = counts.add(*(fold(part) for part in parts))
    value = parse("distinct").of(next(counts.rows(whole, {})))
    assert value.value == pytest.approx(n, rel=0.1)
    assert value.low <= n <= value.high or n <= counts.MAX_CATEGORIES


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(-100, 100), st.floats(0.01, 100))
def test_counts_on_another_binning_keep_their_number_and_mean(data: list[float], centre: float, scale: float) -> None:
    plan = Plan().adding({"x": Binning(0.0, 1.0)})
    entry = next(counts.rows(fold(pa.table({"x": data}), plan=plan), plan.by_version()))
    moved = counts.reproject(entry, Binning(centre, scale, version=1))
    assert moved.counts.sum() == len(data)
    mean = parse("mean").of
    spread = np.std(data) + scale + abs(centre) + 1
    assert mean(moved).value == pytest.approx(np.mean(data), abs=float(1e-6 * spread))


def test_a_sum_over_versions_of_a_binning_is_on_the_newest() -> None:
    parts: list[Counts] = []
    for version, binning in enumerate((Binning(0.0, 1.0), Binning(5.0, 2.0, version=1))):
        plan = Plan({"x": [(0, binning)]})
        parts += counts.rows(fold(pa.table({"x": np.arange(100.0) + version}), plan=plan), plan.by_version())
    total = pooled(parts)
    assert total is not None
    assert total.binning is not None
    assert (total.binning.version, total.tally("rows")) == (1, 200)
    assert parse("mean").of(total).value == pytest.approx(50.0)


@settings(max_examples=300)
@given(st.floats(-1e12, 1e12), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_a_value_lies_in_its_bin_and_within_the_stated_bound_of_its_middle(x: float, c: float, s: float) -> None:
    binning = Binning(c, s)
    code = bins_of(np.array([x]), binning)
    lower, upper = binning.edges(code)
    slack = 1e-12 * (abs(x) + abs(c) + s)
    assert lower[0] - slack <= x <= upper[0] + slack
    assert abs(binning.middles(code)[0] - x) <= 0.008 * (abs(x - c) + s) + slack


def test_bins_rise_with_the_values() -> None:
    x = np.sort(
        np.concatenate([np.linspace(-50, 50, 4001), np.geomspace(1e-9, 1e9, 999), -np.geomspace(1e-9, 1e9, 999)])
    )
    assert (np.diff(bins_of(x, Binning(3.0, 0.7))) >= 0).all()


def test_more_values_than_a_list_column_can_hold_are_refused() -> None:
    with pytest.raises(OverflowError, match="2,147,483,648 values"):
        counts.ragged(np.zeros(0, np.int64), np.array([0, 1 << 31]), pa.int64())


def test_columns_of_unlike_kinds_are_one_table_that_says_what_each_alone_does() -> None:
    table = pa.table(
        {
            "x": pa.array([1.5, None, float("nan"), -2.0]),
            "carrier": pa.array(["AA", None, "BB", "AA"]),
            "items": pa.array([[1], [], None, [1, 2]]),
            "nothing": pa.nulls(4),
        }
    )
    together = fold(table, by=["carrier"])
    alone = [fold(table.select([*{name, "carrier"}]), by=["carrier"]) for name in table.column_names]
    for name, part in zip(table.column_names, alone, strict=True):
        mine = [pc.equal(pc.list_element(pc.split_pattern(t["column"], "."), 0), name) for t in (together, part)]
        assert comparable(together.filter(mine[0])) == comparable(part.filter(mine[1])) != comparable(counts.empty())
