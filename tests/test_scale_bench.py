"""The simulation behind docs/scale.md: its arithmetic, held against sums that can be done by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from bench.scale.costs import Costs, Line
from bench.scale.year import Load, Setup, _arrived, _folds, year

from fourfold.model import DAY, HOUR

COSTS = Costs(
    send=Line(1e-6, 1e-8), inbox=Line(100, 8), collect=Line(1e-6, 1e-7), log=Line(10, 3), fold=Line(1e-6, 1e-7),
    sliced=Line(1e-6, 1e-7), label=4e-6, scan=2e-7, write=5e-4, probe=Line(1e-4, 5e-8), metadata=Line(1e-2, 2e-6),
    state=lambda records: 2_000.0, question=Line(1e-3, 2e-5),
)  # fmt: skip


def test_a_line_goes_through_its_points_and_costs_never_less_than_nothing() -> None:
    assert Line.through((20, 100), (3.0, 7.0)).at(60) == pytest.approx(5.0)
    assert Line.through((0, 10), (5.0, -5.0)).slope == 0.0


@pytest.mark.parametrize("days", [1, 7, 30])
def test_in_whole_days_as_many_records_arrive_as_a_day_has(days: int) -> None:
    assert _arrived(Load(1e6, 20), 0, days * DAY) == pytest.approx(days * 1e6)
    hours = [_arrived(Load(1e6, 20), h * HOUR, (h + 1) * HOUR) for h in range(24)]
    assert max(hours) / (1e6 / 24) == pytest.approx(1.6, abs=0.02)


def test_every_record_is_counted_by_one_fold() -> None:
    load, end = Load(1e8, 20), 20 * DAY
    folds = list(_folds(load, Setup("", every=HOUR), COSTS, end))
    assert sum(fold.records for fold in folds) == pytest.approx(_arrived(load, 0, folds[-1].at))
    assert all(before.at < after.at for before, after in itertools.pairwise(folds))


def test_what_is_beyond_one_core_falls_behind_and_more_cores_keep_up() -> None:
    load = Load(1e10, 100)
    alone = year(load, Setup("", is_bounded=False), COSTS)
    assert math.isinf(alone.cores)
    assert "counting (" in alone.gives_out(Setup("", is_bounded=False))
    together = Setup("", cores=64, is_bounded=False)
    found = year(load, together, COSTS)
    assert found.cores < 1
    assert found.gives_out(together) == ""


def test_a_folder_gives_out_by_its_disk_and_a_bucket_does_not() -> None:
    load = Load(1e8, 300)
    found = year(load, Setup("folder"), COSTS)
    assert found.log == pytest.approx(1e8 * 60 * (10 + 3 * 300 + 10))
    assert found.gives_out(Setup("folder")) == "disk"
    assert found.gives_out(Setup("bucket", is_bounded=False)) == ""


def test_the_state_grows_with_columns_and_slices_and_not_with_traffic() -> None:
    few, many = (year(Load(n, 20), Setup("", every=DAY), COSTS).state for n in (1e4, 1e6))
    assert few == many == 20 * 17 * (60 * 24 + 365) * 2_000
    assert year(dataclasses.replace(Load(1e4, 20), dimensions=0), Setup("", every=DAY), COSTS).state == few / 17
