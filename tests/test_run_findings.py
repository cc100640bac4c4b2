"""What is found wrong with runs, when it clears, and what is nothing to report."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import random
import sys
import time
import types
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

import fourfold as ff
from fourfold.config import make_task
from fourfold.errors import ConfigError
from fourfold.model import Artifact, Run, RunStatus
from fourfold.model.incident import Finding, Severity
from fourfold.sdk import Session
from fourfold.sdk.code import code_version
from fourfold.state import runs as state_runs
from fourfold.state import tables
from fourfold.state.statements import upsert
from fourfold.store import Store
from fourfold.watch import runs as watched
from fourfold.watch.runs.cadence import Start
from fourfold.watch.runs.failed import raised
from fourfold.watch.runs.history import History
from fourfold.watch.runs.version import wrong_version

MONDAY = 1_700_438_400.0  # 20 November 2023, midnight
DAY, HOUR = 86_400.0, 3_600.0
_NUMBERS = itertools.count()
TRACE = """Traceback (most recent call last):
  File "/srv/app/pipeline.py", line 12, in predict
    return score(frame)
           ^^^^^^^^^^^^
  File "/srv/app/scoring.py", line 40, in score
    raise ValueError("bad score\\nin row 7")
ValueError: bad score
in row 7"""


def run(component: str, started: float, took: float | None = 1.0, error: str | None = None, **more: Any) -> Run:
    status = RunStatus.RUNNING if took is None else RunStatus.FAILED if error else RunStatus.SUCCEEDED
    made = Run(f"r{next(_NUMBERS):06d}", component, status, started, None if took is None else started + took,
               error=error, host="a", process=1)  # fmt: skip
    return dataclasses.replace(made, **more)


def frame(direction: str, name: str, mark: str, rows: int | None = None, kind: str = "frame") -> Artifact:
    return Artifact(name, direction, kind, mark, rows)


def history(*runs: Iterable[Run], **more: Any) -> History:
    flat = sorted((each for several in runs for each in several), key=lambda each: each.started)
    names = dict.fromkeys(each.component for each in flat)
    by = {name: [each for each in flat if each.component == name] for name in names}
    return History(by, {name: [Start(r.started, r.at) for r in several] for name, several in by.items()}, **more)


def daily(component: str, days: int, first: float = MONDAY, **more: Any) -> list[Run]:
    return [run(component, first + DAY * i + 7_200, **more) for i in range(days)]


def found(of: History, now: float, *kinds: str) -> list[Finding]:
    return [finding for finding in watched.judge(of, now) if not kinds or finding.kind in kinds]


def soon(of: History) -> float:
    return (of.newest or 0.0) + 1


def kinds(of: History, now: float | None = None) -> list[str]:
    return sorted(finding.kind for finding in watched.judge(of, soon(of) if now is None else now))


# failed runs ---------------------------------------------------------------------------------------------------------


def test_a_failed_run_is_found_with_its_exception_and_the_place_where_it_was_raised() -> None:
    good = daily("predict", 10)
    bad = run("predict", MONDAY + 10 * DAY, error=TRACE)
    (finding,) = found(history(good, [bad]), bad.started + 60, "failed_run")
    assert "ValueError: bad score in row 7" in finding.what
    assert "in score, scoring.py:40" in finding.what
    assert (finding.began, finding.began_low, finding.severity) == (bad.started, good[-1].started, Severity.PAGE)


def test_a_run_of_the_past_that_fails_began_in_the_past() -> None:
    today = MONDAY + 4_000 * DAY
    good = [run("predict", today + 90 * i, at=MONDAY + DAY * i) for i in range(10)]
    bad = run("predict", today + 900, error=TRACE, at=MONDAY + 10 * DAY)
    (finding,) = found(history(good, [bad]), bad.started + 60, "failed_run")
    assert (finding.began_low, finding.began, finding.began_high) == tuple(MONDAY + day * DAY for day in (9, 10, 11))
    (first,) = found(history([bad]), bad.started + 60, "failed_run")
    assert first.began_low == first.began == first.began_high == MONDAY + 10 * DAY
    live = [run("predict", MONDAY + DAY * i + 1.1 * DAY, at=MONDAY + DAY * i) for i in range(10)]
    late = run("predict", MONDAY + 10.9 * DAY, error=TRACE, at=MONDAY + 10 * DAY)  # of the day, which is not over
    (finding,) = found(history(live, [late]), late.started + 60, "failed_run")
    assert finding.began_high == late.started


def test_a_failed_run_is_no_finding_once_a_later_one_has_succeeded() -> None:
    bad, good = run("predict", MONDAY + 20 * DAY, error=TRACE), run("predict", MONDAY + 20 * DAY + HOUR)
    of = history(daily("predict", 20), [bad], [good])
    assert kinds(of, bad.started + 23.9 * HOUR) == ["failed_run"]  # until its next run is due, a notice
    assert found(of, soon(of))[0].severity is Severity.NOTICE
    assert kinds(of, bad.started + 25 * HOUR) == []
    often = [run("predict", MONDAY + 60 * i) for i in range(10_000)]
    assert (
        kinds(history(often, [run("predict", MONDAY + 600_010, error=TRACE)], [run("predict", MONDAY + 600_020)])) == []
    )


def test_a_component_that_has_always_failed_says_so() -> None:
    of = history([run("predict", MONDAY + DAY * i, error=TRACE) for i in range(4)])
    (finding,) = found(of, soon(of))
    assert "each of its 4 runs" in finding.what
    assert finding.severity is Severity.TICKET


def test_a_run_that_lasts_does_not_clear_the_failure_before_it() -> None:
    of = history(daily("predict", 10), [run("predict", MONDAY + 10 * DAY, error=TRACE)],
                 [run("predict", MONDAY + 10 * DAY + 60, None)])  # fmt: skip
    assert kinds(of) == ["failed_run"]


def test_a_flaky_component_that_retries_at_once_is_no_finding_while_it_fails_as_it_always_has() -> None:
    seeded = random.Random(3)
    runs: list[Run] = []
    for i in range(200):
        if seeded.random() < 0.15:
            runs.append(run("fetch", MONDAY + HOUR * i, error=TRACE))
        runs.append(run("fetch", MONDAY + HOUR * i + 30))
    assert kinds(history(runs)) == []
    newest_fails = history(runs, [run("fetch", MONDAY + HOUR * 200, error=TRACE)])
    (finding,) = found(newest_fails, soon(newest_fails))
    assert finding.severity is Severity.NOTICE


def test_a_component_that_begins_to_fail_every_other_time_is_one_finding() -> None:
    runs = [run("fetch", MONDAY + HOUR * i) for i in range(100)]
    for i in range(100, 120):
        runs += [run("fetch", MONDAY + HOUR * i, error=TRACE), run("fetch", MONDAY + HOUR * i + 30)]
    (finding,) = found(history(runs), soon(history(runs)))
    assert (finding.kind, finding.value) == ("failed_run", 0.5)


def test_a_failure_inside_another_component_is_found_once_where_it_began() -> None:
    outer = [run("pipeline", MONDAY + DAY * i, 100) for i in range(9)]
    inner = [run("score", r.started + 1, 5, parent=r.id) for r in outer]
    outer += [run("pipeline", MONDAY + 9 * DAY, 100, TRACE)]
    inner += [run("score", MONDAY + 9 * DAY + 1, 5, TRACE, parent=outer[-1].id)]
    of = history(outer, inner)
    assert [(f.kind, f.where.component) for f in found(of, soon(of))] == [("failed_run", "score")]


@pytest.mark.parametrize("error", [None, "", "\n \n"])
def test_a_run_that_failed_without_a_message_says_that_there_is_none(error: str | None) -> None:
    bad: dict[str, Any] = {"status": RunStatus.FAILED, "error": error}
    of = history(daily("train", 30), [run("train", MONDAY + 30 * DAY, **bad)])
    (finding,) = found(of, soon(of), "failed_run")
    assert finding.what == "train failed: no error message was reported"
    assert run("train", MONDAY, **bad).outcome == "failed: no error message was reported"
    assert run("train", MONDAY, status=RunStatus.LOST).outcome == "was lost: its process ended without a word"
    assert run("train", MONDAY, error="Traceback\nValueError: no rows\n").outcome == "failed: ValueError: no rows"
    flaky = [run("load", MONDAY + i * DAY, **(bad if i > 80 and i % 2 else {})) for i in range(101)]
    (finding,) = found(history(flaky), MONDAY + 101 * DAY, "failed_run")
    assert finding.what.endswith(": no error message was reported")


def test_the_exception_is_read_from_any_traceback() -> None:
    assert str(raised(TRACE)) == "ValueError: bad score in row 7 (in score, scoring.py:40)"
    chained = (
        TRACE
        + "\n\nDuring handling of the above exception, another exception occurred:\n\n"
        + TRACE.replace("ValueError: bad score\nin row 7", "KeyError: 'x'")
    )
    assert raised(chained).text == "KeyError: 'x'"
    assert raised("plain words").text == "plain words"
    assert raised(None).text == raised("").text == ""


# durations -----------------------------------------------------------------------------------------------------------


def took(*seconds: float) -> History:
    return history([run("train", MONDAY + DAY * i, each) for i, each in enumerate(seconds)])


def test_a_run_that_takes_twice_as_long_is_slow_until_one_takes_as_long_as_before() -> None:
    usual = [600 + 5 * (i % 7) for i in range(12)]
    (finding,) = found(took(*usual, 1_300), soon(took(*usual, 1_300)), "slow_run")
    assert finding.value == 1_300
    assert finding.expected is not None
    assert 600 < finding.expected < 630
    assert kinds(took(*usual, 1_300, 610)) == []


def test_runs_that_stay_slow_are_one_finding_from_the_first_one_on() -> None:
    of = took(*[600.0] * 12, *[1_300.0] * 5)
    (finding,) = found(of, soon(of), "slow_run")
    assert (finding.n, finding.began) == (5, MONDAY + 12 * DAY)
    assert finding.began_low < finding.began <= finding.began_high


def test_a_duration_that_has_settled_is_the_new_normal() -> None:
    assert kinds(took(*[600.0] * 20, *[1_300.0] * 20)) == []


def test_milliseconds_are_never_slow_and_neither_is_a_small_excess() -> None:
    assert kinds(took(*[0.002] * 50, 0.9)) == []
    assert kinds(took(*[600.0] * 50, 700)) == []


def test_the_first_runs_are_never_slow() -> None:
    assert kinds(took(1, 2, 600, 30, 4_000)) == []


def test_a_component_with_two_modes_is_not_slow_in_the_longer_one() -> None:
    of = took(*([60.0] * 6 + [3_600.0]) * 6)
    assert kinds(of) == []


def test_noisy_durations_are_rarely_slow() -> None:
    seeded = random.Random(5)
    seconds = [60 * seeded.lognormvariate(0, 0.3) for _ in range(300)]
    slow = sum(bool(found(took(*seconds[:n]), soon(took(*seconds[:n])), "slow_run")) for n in range(20, 300, 12))
    assert slow <= 1


def test_durations_that_grow_step_by_step_are_found() -> None:
    grows = [600 * 1.01**i for i in range(120)]
    (finding,) = found(took(*grows), soon(took(*grows)))
    assert finding.kind == "slow_run"
    assert "step by step" in finding.what


def test_a_run_that_has_not_ended_in_time_is_overdue_while_it_lasts() -> None:
    usual = [run("train", MONDAY + DAY * i, 600) for i in range(8)]
    lasting = run("train", MONDAY + 8 * DAY, None)
    of = history(usual, [lasting])
    assert kinds(of, lasting.started + 620) == []
    assert "overdue_run" in kinds(of, lasting.started + 1_500)
    ended = history(usual, [dataclasses.replace(lasting, ended=lasting.started + 620, status=RunStatus.SUCCEEDED)])
    assert kinds(ended, lasting.started + 1_500) == []


def test_a_run_is_not_overdue_before_there_are_earlier_ones() -> None:
    of = history([run("train", MONDAY + DAY * i, 600) for i in range(4)], [run("train", MONDAY + 4 * DAY, None)])
    assert kinds(of, MONDAY + 4 * DAY + 9 * HOUR) == []


def test_a_clock_that_is_behind_makes_no_run_overdue() -> None:
    of = history([run("train", MONDAY + DAY * i, 600) for i in range(8)], [run("train", MONDAY + 8 * DAY, None)])
    assert found(of, MONDAY + 7 * DAY, "overdue_run") == []


# missing runs --------------------------------------------------------------------------------------------------------


def test_a_daily_run_is_missing_once_it_is_late_by_more_than_usual_and_until_it_comes() -> None:
    runs = daily("score", 20)
    due = runs[-1].started + DAY
    assert kinds(history(runs), due + HOUR) == []
    (finding,) = found(history(runs), due + 5 * HOUR)
    assert (finding.kind, finding.began) == ("missing_run", due)
    assert finding.began_low < due < finding.began_high
    assert kinds(history(runs, [run("score", due + 6 * HOUR)]), due + 7 * HOUR) == []


def test_a_run_on_working_days_is_not_missed_at_the_weekend_but_on_monday() -> None:
    runs = [r for r in daily("score", 33) if dt.datetime.fromtimestamp(r.started, dt.UTC).weekday() < 5]
    friday = runs[-1].started
    while dt.datetime.fromtimestamp(friday, dt.UTC).weekday() != 4:
        runs.pop()
        friday = runs[-1].started
    assert kinds(history(runs), friday + 2.9 * DAY) == []
    assert kinds(history(runs), friday + 3.5 * DAY) == ["missing_run"]


def test_an_hourly_run_is_missing_within_half_an_hour() -> None:
    runs = [run("sync", MONDAY + HOUR * i) for i in range(100)]
    due = runs[-1].started + HOUR
    assert kinds(history(runs), due + 60) == []
    assert kinds(history(runs), due + HOUR / 2) == ["missing_run"]


def test_an_hourly_run_that_rests_at_night_is_not_missed_then() -> None:
    runs = [run("sync", MONDAY + DAY * d + HOUR * h) for d in range(20) for h in range(8, 20)]
    assert kinds(history(runs), runs[-1].started + 12.5 * HOUR) == []
    assert kinds(history(runs), runs[-1].started + 16 * HOUR) == ["missing_run"]


def test_a_weekly_and_a_monthly_run_are_missed_by_their_own_cadence() -> None:
    weekly = [run("train", MONDAY + 7 * DAY * i) for i in range(12)]
    assert kinds(history(weekly), weekly[-1].started + 7.2 * DAY) == []
    assert kinds(history(weekly), weekly[-1].started + 9 * DAY) == ["missing_run"]
    monthly = [run("bill", dt.datetime(2022 + m // 12, 1 + m % 12, 1, tzinfo=dt.UTC).timestamp()) for m in range(24)]
    assert kinds(history(monthly), monthly[-1].started + 31.5 * DAY) == []


def test_irregular_runs_are_never_missed() -> None:
    seeded, at, runs = random.Random(1), MONDAY, []
    for _ in range(200):
        at += seeded.expovariate(1 / HOUR)
        runs.append(run("request", at))
    assert kinds(history(runs), at + 12 * HOUR) == []


def test_a_loop_that_has_ended_is_not_missed() -> None:
    of = history([run("step", MONDAY + 70 * i) for i in range(150)])
    assert kinds(of, soon(of) + 3 * HOUR) == []


def test_one_outage_does_not_make_the_next_one_usual() -> None:
    runs = daily("score", 20) + daily("score", 20, MONDAY + 25 * DAY)
    assert kinds(history(runs), runs[-1].started + 1.5 * DAY) == ["missing_run"]


def test_a_backfill_does_not_disturb_the_cadence() -> None:
    live = [run("score", MONDAY + DAY * i + 7_200, at=MONDAY + DAY * (i - 1)) for i in range(40)]
    again = [run("score", MONDAY + 39 * DAY + 20_000 + i * 90, at=MONDAY + DAY * i) for i in range(30)]
    of = history(live, again)
    assert kinds(of, live[-1].started + DAY) == []
    (finding,) = found(of, live[-1].started + 1.5 * DAY, "missing_run")
    assert finding.began_high >= live[-1].started + DAY  # a day's run is due the day after
    first = [run("score", MONDAY + i * 90, at=MONDAY + DAY * (i - 101)) for i in range(100)]
    assert kinds(history(first, live), live[-1].started + DAY) == []


def replayed(component: str, days: int, first: int = 0, today: float = MONDAY + 4_000 * DAY) -> list[Run]:
    offset = {"ingest": 0.0, "predict": 0.05, "arrivals": 0.1}[component]
    return [run(component, today + 0.2 * i + offset, 0.01, at=MONDAY + DAY * i) for i in range(first, days)]


def test_data_that_were_replayed_in_a_minute_are_not_missing_afterwards() -> None:
    of = history(replayed("predict", 270), replayed("arrivals", 274), labels={"arrivals": frozenset({"predict"})})
    for later in (1, 60, HOUR, 10 * DAY, 400 * DAY):
        assert kinds(of, soon(of) + later) == []


def test_a_component_that_stops_in_a_replay_while_others_go_on_is_missing() -> None:
    of = history(replayed("ingest", 270), replayed("predict", 260))
    (finding,) = found(of, soon(of) + 5, "missing_run")
    assert (finding.where.component, finding.began) == ("predict", MONDAY + 260 * DAY)


def test_a_check_after_each_day_of_a_replay_finds_the_day_that_is_missing() -> None:
    for days in range(20, 40):
        of = history(replayed("ingest", days), replayed("predict", min(days, 35)))
        missed = found(of, MONDAY + DAY * days, "missing_run", "pipeline_silent")
        assert [f.where.component for f in missed] == ([] if days <= 35 else ["predict"]), days


def test_a_pipeline_that_has_gone_silent_is_one_finding() -> None:
    of = history(daily("ingest", 30), daily("predict", 30), daily("report", 30))
    assert kinds(of, soon(of) + 1.5 * DAY) == ["pipeline_silent"]
    assert kinds(of, soon(of) + 90 * DAY) == []


def test_one_run_that_lasts_too_long_is_not_also_missing() -> None:
    of = history(daily("score", 20), [run("score", MONDAY + 20 * DAY + 7_200, None)])
    assert kinds(of, MONDAY + 21.5 * DAY) == ["overdue_run"]


def test_what_runs_within_a_missing_component_is_not_missing_too() -> None:
    outer = daily("pipeline", 20)
    inner = [run("score", r.started + 1, parent=r.id) for r in outer]
    other = daily("other", 22)
    of = history(outer, inner, other)
    assert [f.where.component for f in found(of, soon(of) + HOUR, "missing_run")] == ["pipeline"]


# incomplete pipelines ------------------------------------------------------------------------------------------------


def chain(days: int, without: Sequence[int] = (), delay: float = 600.0) -> History:
    up = [run("join", MONDAY + DAY * i, artifacts=(frame("output", "out", f"f{i}"),)) for i in range(days)]
    down = [
        run("featurize", MONDAY + DAY * i + delay, artifacts=(frame("input", "joined", f"f{i}"),))
        for i in range(days)
        if i not in without
    ]
    return history(up, down)


def test_a_component_that_usually_follows_and_did_not_leaves_the_pipeline_incomplete() -> None:
    of = chain(20, without=[19])
    at = MONDAY + 19 * DAY
    assert found(of, at + 700, "incomplete_pipeline") == []
    (finding,) = found(of, at + 2 * HOUR, "incomplete_pipeline")
    assert (finding.where.component, finding.began, finding.n) == ("featurize", at, 1)
    assert found(chain(21, without=[19]), MONDAY + 20 * DAY + 2 * HOUR, "incomplete_pipeline") == []


def test_the_first_runs_leave_no_pipeline_incomplete() -> None:
    assert found(chain(4, without=[3]), MONDAY + 5 * DAY, "incomplete_pipeline") == []


def test_a_component_that_follows_only_sometimes_is_not_awaited() -> None:
    of = chain(40, without=[i for i in range(40) if i % 3])
    assert found(of, MONDAY + 41 * DAY, "incomplete_pipeline") == []


def test_an_incomplete_pipeline_is_found_in_a_replay_without_a_clock() -> None:
    of = chain(20, without=[17, 18, 19])
    (finding,) = found(of, MONDAY - 4_000 * DAY, "incomplete_pipeline")
    assert finding.n == 3


def test_a_step_that_is_skipped_within_a_pipeline_is_found_but_not_a_weekly_one() -> None:
    outer = [run("pipeline", MONDAY + DAY * i, 100) for i in range(30)]
    score = [run("score", r.started + 1, 5, parent=r.id) for r in outer[:-1]]
    train = [run("train", r.started + 9, 5, parent=r.id) for r in outer[::7]]
    of = history(outer, score, train)
    assert [f.where.component for f in found(of, soon(of), "incomplete_pipeline")] == ["score"]


# inputs --------------------------------------------------------------------------------------------------------------


def served(versions: Sequence[int], trained: int = 10, every: int = 7) -> History:
    """Weekly training, and a daily prediction with the model of a number (None: an unknown one)."""
    train = [
        run("train", MONDAY + every * DAY * k, 600, artifacts=(frame("output", "model", f"m{k}", kind="model"),))
        for k in range(trained)
    ]
    predict = [
        run("predict", MONDAY + DAY * i + 7_200, artifacts=(frame("input", "model", f"m{v}", kind="model"),))
        for i, v in enumerate(versions)
    ]
    return history(train, predict)


def test_a_model_that_was_superseded_is_found_where_the_newest_is_usually_served() -> None:
    newest = [i // 7 for i in range(70)]
    assert found(served(newest), MONDAY + 69 * DAY + 8_000) == []
    back = served([*newest[:-2], 4, 4])
    (finding,) = found(back, soon(back), "superseded_input")
    assert (finding.where.component, finding.n, finding.value) == ("predict", 2, 5.0)
    assert found(served([*newest[:-3], 4, 4, 9]), MONDAY + 69 * DAY + 8_000, "superseded_input") == []


def test_a_model_that_is_taken_up_days_later_as_always_is_no_finding() -> None:
    late = [max(0, (i - 2) // 7) for i in range(65)]  # two days after the training
    assert found(served(late), MONDAY + 64 * DAY + 8_000, "superseded_input", "stale_input") == []


def test_two_models_that_are_served_side_by_side_are_no_finding() -> None:
    both = [max(0, i // 7 - i % 2) for i in range(70)]
    assert found(served(both), MONDAY + 69 * DAY + 8_000, "superseded_input") == []


def test_a_model_that_no_run_has_made_is_found() -> None:
    newest = [i // 7 for i in range(69)]
    of = served([*newest, 99])
    assert [f.kind for f in found(of, soon(of), "wrong_model", "superseded_input")] == ["wrong_model"]


def test_an_input_that_is_not_renewed_is_stale() -> None:
    newest = [i // 7 for i in range(70)]
    assert found(served([*newest, *[9] * 2]), MONDAY + 72 * DAY, "stale_input") == []
    of = served([*newest, *[9] * 6])
    (finding,) = found(of, soon(of), "stale_input")
    assert finding.where.component == "predict"
    assert finding.value is not None
    assert finding.value > 11 * DAY


def test_a_model_that_was_trained_once_is_never_stale() -> None:
    assert found(served([0] * 250, trained=1), MONDAY + 250 * DAY, "stale_input", "superseded_input") == []


# code ----------------------------------------------------------------------------------------------------------------


def coded(*marks: str, host: Sequence[str] = (), **more: Any) -> History:
    return history(
        [
            run("featurize", MONDAY + HOUR * i, code={"source_hash": mark}, host=host[i] if host else "a", **more)
            for i, mark in enumerate(marks)
        ]
    )


def test_code_that_differs_by_turns_is_a_discrepancy() -> None:
    of = coded(*["v1", "v1", "v2"] * 6)
    (finding,) = found(of, soon(of), "code_discrepancy")
    assert "source" in finding.what


def test_a_deployment_is_no_discrepancy_nor_one_that_was_rolled_back() -> None:
    assert found(coded(*["v1"] * 20, *["v2"] * 20), MONDAY + 40 * HOUR, "code_discrepancy") == []
    assert found(coded(*["v1"] * 20, *["v2"] * 9, *["v1"] * 9), MONDAY + 40 * HOUR, "code_discrepancy") == []
    assert found(coded(*[f"v{i}" for i in range(30)]), MONDAY + 40 * HOUR, "code_discrepancy") == []


def test_a_rolled_back_deployment_in_processes_and_on_hosts_of_its_own_is_no_discrepancy() -> None:
    marks = [*["v1"] * 12, *["v2"] * 6, *["v1"] * 12]
    hosts = [*["p1"] * 12, *["p2"] * 6, *["p3"] * 12]
    of = coded(*marks, host=hosts)
    processes = {mark: i for i, mark in enumerate(hosts)}
    runs = [dataclasses.replace(r, process=processes[r.host]) for r in of.runs["featurize"]]
    assert found(history(runs), soon(of), "code_discrepancy") == []
    same = [dataclasses.replace(r, host="a") for r in runs]
    assert found(history(same), soon(of), "code_discrepancy") == []


def test_a_service_that_is_deployed_host_by_host_is_no_discrepancy_for_some_minutes() -> None:
    runs = [
        run("serve", MONDAY + 10 * i, code={"source_hash": "v2" if i % 3 < i // 40 else "v1"}, host=f"h{i % 3}")
        for i in range(160)
    ]
    for n in range(20, 160, 5):
        assert found(history(runs[:n]), MONDAY + 10 * n, "code_discrepancy") == []


def test_two_hosts_with_different_code_are_named() -> None:
    of = coded(*["v1", "v2"] * 10, host=["online", "offline"] * 10)
    (finding,) = found(of, soon(of), "code_discrepancy")
    assert "offline and online" in finding.what


def test_a_rolling_deployment_that_has_ended_is_no_discrepancy() -> None:
    marks = ["v1"] * 10 + ["v2", "v1", "v2", "v1", "v1", "v2"] + ["v2"] * 12
    hosts = ["a", "b"] * 5 + ["a", "b", "a", "b", "b", "b"] + ["a", "b"] * 6
    assert found(coded(*marks, host=hosts), MONDAY + 40 * HOUR, "code_discrepancy") == []


def test_unequal_versions_of_a_package_are_a_discrepancy_and_are_named() -> None:
    runs = [
        run("featurize", MONDAY + HOUR * i, code={"source_hash": "s", "packages": {"numpy": f"2.{i % 2}.0"}})
        for i in range(12)
    ]
    (finding,) = found(history(runs), soon(history(runs)), "code_discrepancy")
    assert "numpy (2.0.0 and 2.1.0)" in finding.what


# partial runs --------------------------------------------------------------------------------------------------------


def wrote(*rows: int) -> History:
    return history(
        [
            run("load", MONDAY + DAY * i, artifacts=(frame("output", "table", f"f{i}", n),), at=MONDAY + DAY * i)
            for i, n in enumerate(rows)
        ]
    )


def weeks(n: int, seed: int = 0) -> list[int]:
    seeded = random.Random(seed)
    return [int(seeded.gauss(1, 0.02) * (10_000 if i % 7 < 5 else 4_000)) for i in range(7 * n)]


def test_a_run_that_wrote_a_quarter_less_than_usual_is_partial_until_one_is_whole() -> None:
    usual = [10_000 + (i % 5) * 20 for i in range(20)]
    of = wrote(*usual, 7_500)
    (finding,) = found(of, soon(of), "partial_run")
    assert (finding.value, round(finding.expected or 0)) == (7_500, 10_040)
    assert kinds(wrote(*usual, 7_500, 10_010)) == []


def test_weekends_are_compared_with_weekends() -> None:
    for n in range(29, 70):
        assert kinds(wrote(*weeks(10)[:n])) == [], n
    rows = weeks(8)
    assert kinds(wrote(*rows, 7_000)) == ["partial_run"]  # a Monday
    assert kinds(wrote(*rows, 4_100)) == []  # a holiday


def test_a_run_with_more_rows_and_a_volume_that_always_varies_are_no_finding() -> None:
    seeded = random.Random(2)
    assert kinds(wrote(*[10_000] * 20, 20_000)) == []
    assert kinds(wrote(*[int(1_000 * seeded.lognormvariate(0, 0.6)) for _ in range(80)])) == []


def test_fewer_tasks_than_usual_within_a_run_are_found() -> None:
    outer = [run("job", MONDAY + DAY * i, 100) for i in range(12)]
    tasks = [run("task", r.started + j, 5, parent=r.id) for r in outer for j in range(6 if r is outer[-1] else 8)]
    of = history(outer, tasks)
    (finding,) = found(of, soon(of), "partial_run")
    assert "6 runs of task instead of about 8" in finding.what


def test_where_replayed_data_end_neither_their_last_day_nor_the_labels_after_it_are_partial() -> None:
    predict = replayed("predict", 60)
    rows = [900] * 59 + [90, 400, 200, 60]
    arrivals = [
        dataclasses.replace(r, artifacts=(frame("input", "known", f"k{i}", rows[i]),))
        for i, r in enumerate(replayed("arrivals", 63))
    ]
    predict[-1] = dataclasses.replace(predict[-1], artifacts=(frame("input", "table", "p59", 88),))
    predict[:-1] = [dataclasses.replace(r, artifacts=(frame("input", "table", r.id, 950),)) for r in predict[:-1]]
    of = history(predict, arrivals, labels={"arrivals": frozenset({"predict"})})
    assert kinds(of) == []


# the version that is served ----------------------------------------------------------------------------------------

LATE = make_task("late", prediction="predict.score", label="arrivals.late", version="version")


def hours(*served: dict[str, int]) -> list[tuple[int, dict[str, int]]]:
    return [(int(MONDAY + HOUR * i), each) for i, each in enumerate(served)]


def test_a_version_other_than_the_declared_one_is_found_since_its_first_hour() -> None:
    finding = wrong_version(LATE, "7", hours({"7": 90}, {"7": 90}, {"7": 40, "6": 50}, {"6": 90}))
    assert finding is not None
    assert (finding.kind, finding.began, finding.value) == ("wrong_model", MONDAY + 2 * HOUR, 1.0)
    assert (finding.began_low, finding.began_high) == (MONDAY + 2 * HOUR, MONDAY + 3 * HOUR)
    assert "serves version '6' in 100% of its predictions, instead of '7'" in finding.what


def test_the_declared_version_a_trial_of_another_and_no_predictions_are_no_finding() -> None:
    assert wrong_version(LATE, "7", hours({"6": 90}, {"7": 90})) is None
    assert wrong_version(LATE, "7", hours({"7": 97, "8": 3})) is None
    assert wrong_version(LATE, "7", []) is None


def test_the_served_version_is_compared_with_the_declaration_and_the_newest_training(session: Session) -> None:
    ff.task("late", prediction="predict.score", label="arrivals.late", version="version")
    for version in (1, 2):
        with ff.run("train", params={"version": version}):
            pass
    for i in range(50):
        ff.log("predict", key=i, score=i / 50, version="1")
    session.flush()
    reader, now = session.store.caught_up(), time.time()

    def kinds_if(version: str) -> list[tuple[str, Severity]]:
        found = watched.findings(reader, now, expects={"late": {"version": version}})
        return [(finding.kind, finding.severity) for finding in found]

    assert watched.findings(reader, now) == []
    assert kinds_if("1") == []
    assert kinds_if("3") == kinds_if("run:train:version") == [("wrong_model", Severity.PAGE)]
    assert kinds_if("run:none:version") == [("wrong_model", Severity.NOTICE)]  # it cannot be looked up
    assert kinds_if("mlflow:models:/late@champion") == [("wrong_model", Severity.NOTICE)]
    with pytest.raises(ConfigError, match="champion"):
        kinds_if("mlflow:models:/late")


def test_an_alias_of_mlflow_names_the_version(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    class MlflowClient:  # stands in for a library that is not installed here: its one call, as its documentation says
        def get_model_version_by_alias(self, name: str, alias: str) -> types.SimpleNamespace:
            return types.SimpleNamespace(version={"late@champion": "2"}[f"{name}@{alias}"])

    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(MlflowClient=MlflowClient))
    ff.task("late", prediction="predict.score", label="arrivals.late", version="version")
    ff.log("predict", key="a", score=0.5, version="1")
    session.flush()
    expects = {"late": {"version": "mlflow:models:/late@champion"}}
    (finding,) = watched.findings(session.store.caught_up(), time.time(), expects=expects)
    assert "instead of '2'" in finding.what


# from a store --------------------------------------------------------------------------------------------------------


def test_a_failure_is_found_in_a_store_and_clears_there(session: Session) -> None:
    @ff.component
    def flaky(n: int) -> int:
        return 1 // n

    for n in (1, 1, 0):
        with contextlib.suppress(ZeroDivisionError):
            flaky(n)
    session.flush()
    (finding,) = watched.findings(session.store.caught_up(), time.time())
    assert "ZeroDivisionError" in finding.what
    assert "in flaky, test_run_findings.py" in finding.what
    flaky(1)
    session.flush()
    assert watched.findings(session.store.caught_up(), time.time()) == []


def test_only_the_newest_of_ten_thousand_runs_are_read_in_full(store: Store) -> None:
    rows = [
        {"id": f"{i}", "project": "test", "component": "often", "status": "succeeded", "started": MONDAY + 60 * i,
         "ended": MONDAY + 60 * i + 1, "at": None, "parent": None, "host": "a", "process": 1, "seen": None,
         "error": None, "code": "{}", "params": "{}", "metrics": "{}"}
        for i in range(10_000)
    ]  # fmt: skip
    with store.writer.database.write() as connection:
        upsert(connection, tables.run, rows)
    reader = store.caught_up()
    read = watched.read(reader)
    assert len(read.runs["often"]) == watched.RUNS
    assert read.runs["often"][-1].started == MONDAY + 60 * 9_999
    assert len(read.starts["often"]) == watched.STARTS


def test_the_versions_of_the_packages_that_a_component_uses_are_recorded(session: Session) -> None:
    @ff.component
    def uses() -> int:
        return 1

    uses()
    session.flush()
    ((run_,),) = session.store.caught_up().recall(state_runs.newest, 1).values()
    assert run_.code["packages"]["pytest"] == pytest.__version__
    assert not run_.code["packages"].keys() & {"sys", "time", "fourfold", "tests"}


def test_no_strange_global_makes_the_versions_fail() -> None:
    class Strange:
        def __getattribute__(self, name: str) -> Any:
            raise BaseException(name)

    module = types.ModuleType("unnamed")
    del module.__name__
    function = types.FunctionType((lambda: 1).__code__, {"a": Strange(), "b": module, "c": 7, "d": pytest.raises})
    assert code_version(function)["packages"] == {"_pytest": pytest.__version__}


def test_times_that_nothing_can_be_reckoned_with_are_left_out(store: Store) -> None:
    runs = [run("odd", MONDAY + DAY * i, at=at) for i, at in enumerate([1e300, -1e300, 0.0, 5e15, MONDAY] * 5)]
    with store.writer.database.write() as connection:
        for each in runs:
            state_runs.save(connection, "test", each)
    assert isinstance(watched.findings(store.caught_up(), MONDAY + 30 * DAY), list)
