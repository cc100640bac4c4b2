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
