"""A component that checks its output before it hands it on."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold.watch.signals.columns import ColumnSignals


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> None:
    ff.init(tmp_path / "store", "p")


def frame(seed: int, nulls: float = 0.0, shift: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    age = random.normal(40 + shift, 10, 500)
    age[random.random(500) < nulls] = np.nan
    return pd.DataFrame({"age": age, "city": random.choice(["a", "b"], 500)})


def pipeline(check: Any) -> Any:
    @ff.component("load", check=check)
    def load(data: pd.DataFrame) -> pd.DataFrame:
        return data

    return load


def test_an_output_that_differs_from_earlier_runs_is_not_handed_on() -> None:
    load = pipeline("block")
    for seed in range(16):
        load(frame(seed))
    with pytest.raises(ff.CheckError) as caught:
        load(frame(99, nulls=0.4))
    assert any("null" in problem and "age" in problem for problem in caught.value.problems)
    assert not any("city" in problem for problem in caught.value.problems)
    (last,) = ff.runs("load", limit=1)
    assert last.status is ff.RunStatus.FAILED
    load(frame(100))  # what is as usual passes


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the pipeline has run some times, and all was well."""
    folder = tmp_path_factory.mktemp("checking") / "store"
    session = ff.init(folder, "p")
    load = pipeline("block")
    for seed in range(18):
        load(frame(seed))
    ff.flush()
    session.close()
    return folder


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda: frame(99)[:0], "no records"),
        (lambda: pd.DataFrame(), "missing"),
        (lambda: frame(99)[:20], "20 records"),
        (lambda: pd.concat([frame(99)] * 50), "25,000 records"),
        (lambda: frame(99).assign(age="old"), "texts instead of numbers"),
        (lambda: frame(99).rename(columns={"age": "years"}), "age: the column is missing"),
        (lambda: frame(99).assign(age=np.nan), "null"),
        (lambda: frame(99).assign(age=np.inf), "infinite"),
    ],
)
def test_what_is_bad_is_blocked_as_often_as_it_comes(bad: Any, words: str, runs: Path, tmp_path: Path) -> None:
    ff.init(shutil.copytree(runs, tmp_path / "runs"), "p")
    load = pipeline("block")
    for _ in range(2):
        with pytest.raises(ff.CheckError, match=words):
            load(bad())
    load(frame(100))


def test_only_the_columns_of_the_frame_at_hand_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    load = pipeline("warn")
    load(pd.DataFrame({f"c{i}": np.arange(20.0) for i in range(300)}))
    for seed in range(3):
        load(frame(seed))
    judged: list[set[str]] = []

    def signals(found: Any, *rest: Any) -> Any:
        judged.append({series.column for _, series in found})
        return ColumnSignals(found, *rest)

    monkeypatch.setattr("fourfold.watch.frames.ColumnSignals", signals)
    load(frame(4))
    assert judged == [{"", "age", "city"}]


@pytest.mark.parametrize("said", [None, True, np.True_, 1, "", [], [None]])
def test_a_users_check_may_say_in_many_ways_that_all_is_well(said: Any) -> None:
    assert len(pipeline(lambda result, history: said)(frame(0))) == 500


@pytest.mark.parametrize("said", [False, np.False_, 0, "wrong", ["wrong"], pd.Series([True, False])])
def test_a_users_check_may_say_in_many_ways_that_something_is_wrong(said: Any) -> None:
    with pytest.raises(ff.CheckError):
        pipeline(lambda result, history: said)(frame(0))


def test_what_yields_bit_by_bit_cannot_be_checked_before_it_is_handed_on() -> None:
    def parts() -> Any:
        yield frame(0)

    with pytest.raises(ff.ConfigError, match="whole"):
        ff.component(check="block")(parts)


def test_values_that_moved_are_found_too() -> None:
    load = pipeline("block")
    for seed in range(16):
        load(frame(seed))
    with pytest.raises(ff.CheckError, match="moved up"):
        load(frame(99, shift=10))


def test_a_warning_hands_on(caplog: pytest.LogCaptureFixture) -> None:
    load = pipeline("warn")
    for seed in range(16):
        load(frame(seed))
    with caplog.at_level(logging.WARNING, "fourfold"):
        assert len(load(frame(99, nulls=0.4))) == 500
    assert "null" in caplog.text


def test_the_first_runs_pass() -> None:
    load = pipeline("block")
    for seed in range(5):
        load(frame(seed, nulls=0.1 * seed, shift=seed))


def test_what_is_expected_of_columns_is_checked_from_the_first_run_on() -> None:
    @ff.component(check="block", expects={"age": {"min": 0}})
    def load(data: pd.DataFrame) -> pd.DataFrame:
        return data

    load(frame(0))
    with pytest.raises(ff.CheckError, match="age"):
        load(frame(1).assign(age=-1.0))


def test_numbers_are_none_of_the_texts_that_are_expected() -> None:
    @ff.component(check="block", expects={"age": {"values": ["young", "old"]}})
    def load(data: pd.DataFrame) -> pd.DataFrame:
        return data

    with pytest.raises(ff.CheckError, match="age"):
        load(frame(0))


def test_a_users_own_check_is_given_the_result_and_the_history() -> None:
    seen = []

    def enough(result: pd.DataFrame, history: ff.History) -> str | None:
        seen.append(len(history))
        return None if len(result) > 100 else f"only {len(result)} rows"

    load = pipeline(enough)
    load(frame(0))
    load(frame(1))
    with pytest.raises(ff.CheckError, match="only 50 rows"):
        load(frame(2)[:50])
    assert seen == [0, 1, 2]


def test_a_check_that_cannot_be_made_lets_all_pass(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load = pipeline("block")
    load(frame(0))

    def broken(*_: Any) -> Any:
        raise RuntimeError("the engine is gone")

    monkeypatch.setattr("fourfold.sdk.checking.judge_frame", broken)
    with caplog.at_level(logging.WARNING, "fourfold"):
        assert len(load(frame(1))) == 500
    assert "the engine is gone" in caplog.text


def test_an_unknown_check_is_refused_at_once() -> None:
    with pytest.raises(ff.ConfigError, match="blok"):
        ff.component(check="blok")  # type: ignore[call-overload]
