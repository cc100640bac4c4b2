"""Limits that set themselves: what is usual of a series, and what is a change."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourfold.counts.binning import Floats
from fourfold.watch.detect import Detector, Status, Verdicts

DAY, HOUR = 86_400, 3_600
START = 1_577_836_800  # 2020-01-01, a Wednesday


def judged(
    values: Floats,
    *,
    noise: float = 1e-4,
    least: float = 0.02,
    side: int = 0,
    level: int = DAY,
    detector: Detector | None = None,
    family: Sequence[str] | None = None,
    first: int = 0,
) -> list[Verdicts]:
    """The verdicts on each column of ``values``, a row per series, in a detector of its own."""
    detector = detector or Detector(level)
    n = len(values)
    keys = [f"s{i}" for i in range(n)]
    return [
        detector.judge(
            START + (first + place) * level,
            keys,
            column,
            np.full(n, noise),
            np.full(n, least),
            np.full(n, side),
            family or ["all"] * n,
        )
        for place, column in enumerate(values.T)
    ]


def statuses(verdicts: list[Verdicts]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.stack([verdict.status for verdict in verdicts], axis=1)


def usual(n: int, days: int, *, seed: int = 0, deviation: float = 0.02) -> Floats:
    return 0.5 + np.random.default_rng(seed).normal(0, deviation, (n, days))


def test_a_large_step_is_found_in_its_bucket_and_its_beginning_is_named() -> None:
    values = usual(20, 80)
    values[:, 70:] += 0.4
    verdicts = judged(values)
    assert (statuses(verdicts)[:, :70] <= Status.NORMAL).all()
    assert (verdicts[70].status == Status.CHANGED).all()
    assert (verdicts[70].evidence >= 0).all()
    assert (verdicts[70].began == START + 70 * DAY).all()
    assert (verdicts[70].began_low <= verdicts[70].began).all()
    assert (verdicts[70].began <= verdicts[70].began_high).all()


def test_a_series_of_zeros_that_is_suddenly_half_a_per_cent_has_changed() -> None:
    n = 100_000
    values = np.zeros((1, 60))
    values[0, 59] = np.arcsin(np.sqrt(0.005))
    found = statuses(judged(values, noise=1 / (4 * n)))
    assert (found[0, :59] <= Status.NORMAL).all()
    assert found[0, 59] == Status.CHANGED


def test_a_sensor_that_is_always_mainly_null_does_not_fire() -> None:
    n = 1_000
    rng = np.random.default_rng(1)
    values = np.arcsin(np.sqrt(rng.binomial(n, 0.95, (30, 200)) / n))
    assert (statuses(judged(values, noise=1 / (4 * n))) <= Status.NORMAL).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-12, 1e-4), st.floats(-0.999, 0.999))
def test_a_shift_within_the_least_that_matters_never_fires_however_certain(
    seed: int, noise: float, part: float
) -> None:
    rng = np.random.default_rng(seed)
    values = 0.5 + rng.normal(0, noise**0.5, (5, 50))
    values[:, 40:] += 0.05 * part
    found = judged(values, noise=noise, least=0.05 + 4 * noise**0.5)
    assert (statuses(found) <= Status.NORMAL).all()


def test_what_it_remembers_survives_as_bytes() -> None:
    values = usual(10, 60)
    values[:3, 45:] += 0.3
    whole = judged(values)
    detector = Detector(DAY)
    judged(values[:, :50], detector=detector)
    again = judged(values[:, 50:], detector=Detector.from_bytes(detector.to_bytes()), first=50)
    for one, other in zip(whole[50:], again, strict=True):
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_are_told(data: st.DataObject) -> None:
    detector = Detector(DAY)
    judged(usual(3, 20), detector=detector)
    good = detector.to_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    if data.draw(st.booleans()):
        bad = good[:place]
    else:
        bad = good[:place] + bytes([good[place] ^ data.draw(st.integers(1, 255))]) + good[place + 1 :]
    with pytest.raises(ValueError, match="not the bytes of a detector"):
        Detector.from_bytes(bad)


def test_a_change_is_over_after_two_normal_buckets_and_not_after_one() -> None:
    values = usual(10, 90)
    values[:, 70:75] += 0.4
    values[:, 76:80] += 0.4
    found = statuses(judged(values))
    assert (found[:, 70:81] == Status.CHANGED).all()
    assert (found[:, 81:] == Status.NORMAL).all()


def test_a_lasting_change_is_reported_as_settled_once_and_is_then_normal() -> None:
    values = usual(10, 130)
    values[:, 70:] += 0.4
    verdicts = judged(values)
    found = statuses(verdicts)
    assert (found[:, 70:83] == Status.CHANGED).all()
    assert (found[:, 83] == Status.SETTLED).all()
    assert (found[:, 84:] == Status.NORMAL).all()
    assert np.abs(verdicts[90].expected - 0.9).max() < 0.05


def test_what_is_accepted_is_normal_at_once_and_the_old_level_is_not() -> None:
    values = usual(2, 80)
    values[:, 70:75] += 0.4
    detector = Detector(DAY)
    judged(values[:, :73], detector=detector)
    detector.accept("s0")
    detector.accept("no such series")
    found = statuses(judged(values[:, 73:77], detector=detector, first=73))
    assert found[0].tolist()[:2] == [Status.NORMAL, Status.NORMAL]
    assert found[1].tolist()[:2] == [Status.CHANGED, Status.CHANGED]
    assert found[0, 2] == Status.CHANGED


def test_a_slow_drift_is_found_and_begins_before_it_is_found() -> None:
    values = usual(30, 160)
    values[:, 100:] += 0.004 * np.arange(60)
    verdicts = judged(values)
    found = statuses(verdicts)
    assert (found[:, :100] <= Status.NORMAL).all()
    first = np.argmax(found == Status.CHANGED, axis=1)
    assert (first > 100).all()
    began = np.array([verdicts[day].began[row] for row, day in enumerate(first)])
    assert (began <= START + first * DAY).all()
    assert (began >= START + 97 * DAY).mean() > 0.9


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.9])
def test_variation_that_lasts_does_not_add_up_to_a_change(phi: float) -> None:
    opened = []
    for seed in range(8):
        values = np.random.default_rng(seed).normal(0, 0.04, (20, 150))
        for day in range(1, 150):
            values[:, day] = phi * values[:, day - 1] + np.sqrt(1 - phi**2) * values[:, day]
        found = statuses(judged(0.5 + values))
        opened.append(((found[:, 1:] == Status.CHANGED) & (found[:, :-1] != Status.CHANGED)).sum())
    assert np.mean(opened) <= 5  # one in 30 days is promised, and these are 150; by chance, some have more


def test_rates_that_vary_a_little_more_than_by_chance_hardly_raise_an_alarm() -> None:
    rng, n, size = np.random.default_rng(3), 5_000, 1 / 0.005 - 1
    p = rng.beta(0.2 * size, 0.8 * size, (100, 300))
    values = np.arcsin(np.sqrt(rng.binomial(n, p) / n))
    found = statuses(judged(values, noise=1 / (4 * n)))
    assert np.abs((values[:, 60:] - values.mean()) * np.sqrt(4 * n)).max() > 5  # of a binomial, these would be
    opened = (found[:, 1:] == Status.CHANGED) & (found[:, :-1] != Status.CHANGED)
    assert opened.sum() <= 1  # one in 30 days is promised, and these are 300


def test_heavy_tails_keep_the_promise_and_a_step_in_them_is_found() -> None:
    values = 0.5 + 0.02 * np.random.default_rng(5).standard_t(4, (60, 300))
    values[:10, 280:] += 0.2
    found = statuses(judged(values))
    opened = (found[:, 1:] == Status.CHANGED) & (found[:, :-1] != Status.CHANGED)
    assert opened[:, :270].sum() <= 5  # one in 30 days is promised, and these are 270; a normal tail gives dozens
    assert (found[:10, 280:285] == Status.CHANGED).any(axis=1).all()


@pytest.mark.parametrize("size", [3.0, 6.0, 12.0])
def test_the_interval_of_an_onset_holds_it_wherever_in_a_bucket_it_lies(size: float) -> None:
    rng, values = np.random.default_rng(11), usual(200, 110, seed=12)
    part = rng.random(len(values))
    values[:, 90] += (1 - part) * size * 0.02
    values[:, 91:] += size * 0.02
    verdicts, onset = judged(values), START + (90 + part) * DAY
    first = np.argmax(statuses(verdicts)[:, 90:] == Status.CHANGED, axis=1) + 90
    low = np.array([verdicts[day].began_low[row] for row, day in enumerate(first)])
    high = np.array([verdicts[day].began_high[row] for row, day in enumerate(first)])
    assert ((low <= onset) & (onset <= high)).mean() >= 0.9
    assert np.median(high - low) <= 5 * DAY


def test_a_weekly_season_is_learned_and_only_a_day_that_is_unlike_its_weekday_is_a_change() -> None:
    values = usual(10, 100, deviation=0.01)
    week = np.where(np.arange(100) % 7 < 2, 0.3, 0.0)
    verdicts = judged(values + week)
    assert (statuses(verdicts) <= Status.NORMAL).all()
    assert np.abs(verdicts[99].expected - (0.5 + week[99])).max() < 0.03
    assert np.abs(verdicts[98].expected - (0.5 + week[98])).max() < 0.03
    odd = values + week
    odd[:, 99] = values[:, 99] + 0.3 - week[99]
    assert (judged(odd)[99].status == Status.CHANGED).all()


def test_a_steady_trend_is_normal_and_a_step_away_from_it_is_not() -> None:
    values = usual(20, 230, deviation=0.01) + 0.002 * np.arange(230)
    values[:10, 220:] += 0.1
    found = statuses(judged(values))
    assert (found[:, 60:220] <= Status.NORMAL).all()
    assert (found[10:, 220:] <= Status.NORMAL).all()
    assert (found[:10, 220] == Status.CHANGED).all()


def test_the_newest_bucket_says_nothing_of_what_was_expected_of_it() -> None:
    values = usual(5, 60)
    other = values.copy()
    other[:, 59] += 3
    one, two = judged(values)[59], judged(other)[59]
    for field in ("expected", "low", "high"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))


def test_an_earlier_incident_does_not_hide_a_later_one() -> None:
    values = usual(10, 120)
    values[:, 60:68] += 1.0
    values[:, 110:] += 0.3
    found = statuses(judged(values))
    assert (found[:, 60] == Status.CHANGED).all()
    assert (found[:, 75:110] == Status.NORMAL).all()
    assert (found[:, 110] == Status.CHANGED).all()


def test_missing_buckets_and_series_change_nothing() -> None:
    values = usual(4, 90)
    values[:2, 40:60] = np.nan
    verdicts = judged(values)
    found = statuses(verdicts)
    assert (found <= Status.NORMAL).all()
    assert verdicts[5].seen.tolist() == [5] * 4
    detector = Detector(DAY)
    judged(values[:, :60], detector=detector)
    later = judged(values[:, 60:], detector=detector, first=300)  # a gap of eight months
    assert (statuses(later) <= Status.NORMAL).all()


def test_it_learns_until_there_is_enough_history_and_says_how_far_it_is() -> None:
    verdicts = judged(usual(3, 20))
    assert (statuses(verdicts)[:, :14] == Status.LEARNING).all()
    assert (statuses(verdicts)[:, 14:] == Status.NORMAL).all()
    assert [int(v.seen[0]) for v in verdicts[:16]] == [*range(15), 14]
    assert {int(v.needed[0]) for v in verdicts} == {14}


def test_a_new_series_is_judged_by_its_siblings_variation() -> None:
    """Alone it has shown little of its own; that its siblings are as steady tells how surprising a shift is."""
    values = usual(40, 120)
    values[0, :104] = np.nan
    values[0, 119] += 0.25
    assert judged(values)[119].status[0] == Status.CHANGED
    alone = judged(values, family=["alone", *["others"] * 39])[119]
    together = judged(values)[119]
    assert alone.evidence[0] < together.evidence[0]


@pytest.mark.parametrize(
    ("side", "shift", "fires"), [(1, 0.4, True), (1, -0.4, False), (-1, -0.4, True), (-1, 0.4, False)]
)
def test_only_the_direction_that_counts_fires(side: int, shift: float, fires: bool) -> None:
    values = usual(5, 75)
    values[:, 70:] += shift
    found = statuses(judged(values, side=side))
    assert (found[:, 70:] == Status.CHANGED).all() if fires else (found <= Status.NORMAL).all()


def test_a_very_stable_series_does_not_alarm_on_trifles() -> None:
    values = np.full((5, 100), 0.3)
    values[:, 60:] = 0.31
    assert (statuses(judged(values, noise=0.0, least=0.02)) <= Status.NORMAL).all()
    values[:, 90:] = 0.4
    assert (statuses(judged(values, noise=0.0, least=0.02))[:, 90] == Status.CHANGED).all()


def test_the_first_month_ends_that_are_seen_are_too_early_to_tell() -> None:
    values = usual(5, 200)
    ends = [30, 59, 90, 120, 151, 181]  # of January to June 2020
    values[:, ends] += 0.5
    found = statuses(judged(values))
    assert (found[:, ends[:2]] == Status.RARE).all()
    assert (found[:, ends[3:]] == Status.NORMAL).all()


def test_buckets_out_of_order_are_refused() -> None:
    detector = Detector(DAY)
    judged(usual(2, 10), detector=detector)
    with pytest.raises(ValueError, match="in order"):
        judged(usual(2, 1), detector=detector, first=5)


def test_a_daily_rhythm_of_hours_is_learned_and_a_step_in_it_is_found() -> None:
    hours = 24 * 14
    values = usual(5, hours, deviation=0.01) + 0.2 * np.sin(np.arange(hours) * np.pi / 12)
    values[:, -3:] += 0.2
    found = statuses(judged(values, level=HOUR))
    assert (found[:, :-3] <= Status.NORMAL).all()
    assert (found[:, -3] == Status.CHANGED).all()


def test_series_that_have_long_been_gone_are_forgotten_and_the_others_are_not() -> None:
    detector, steady = Detector(DAY), usual(2, 260)
    steady[:, 250:] += 0.4
    found = []
    for day in range(260):
        keys = ["a", *(f"gone {day // 20} {i}" for i in range(5)), "b"]
        values = np.array([steady[0, day], *[0.5] * 5, steady[1, day]])
        noise, least, side = np.full(7, 1e-4), np.full(7, 0.02), np.zeros(7, dtype=int)
        found.append(detector.judge(START + day * DAY, keys, values, noise, least, side).status[[0, 6]])
    assert len(detector.history.index) < 60
    assert (np.array(found)[14:250] == Status.NORMAL).all()
    assert (np.array(found)[250:] == Status.CHANGED).all()
