"""Signs of life of runs that last: how they are sent and kept, and what is found when they stop."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest

import fourfold as ff
from fourfold.log import messages
from fourfold.model import Run, RunStatus
from fourfold.sdk import Session, runs
from fourfold.sdk.runs import RunQueue
from fourfold.state import runs as state_runs
from fourfold.store import Store
from fourfold.watch import runs as watched
from fourfold.watch.runs import heartbeat
from fourfold.watch.runs.history import History

NOW = 1_700_000_000.0


def lasting(id_: str, seen: float | None, *, host: str = "a", started: float = NOW - 9_000) -> Run:
    return Run(id_, "serve", RunStatus.RUNNING, started, host=host, process=1, seen=seen)


def kinds(*several: Run) -> list[str]:
    history = History({"serve": sorted(several, key=lambda run: run.started)})
    return [finding.what for finding in watched.judge(history, NOW) if finding.kind == "heartbeat_lost"]


# what is found -------------------------------------------------------------------------------------------------------


def test_a_run_that_is_not_seen_for_several_beats_is_found_and_one_that_is_seen_is_not() -> None:
    assert kinds(lasting("1", NOW - 40)) == []
    (said,) = kinds(lasting("1", NOW - 600))
    assert "no sign of life for 10 min" in said


def test_a_run_without_any_beat_is_not_missed() -> None:
    assert kinds(lasting("1", None)) == []


def test_one_worker_of_four_is_named_with_its_host() -> None:
    several = [lasting(str(i), NOW - 10, host=f"host{i}") for i in range(3)]
    (said,) = kinds(*several, lasting("4", NOW - 900, host="host9"))
    assert said.startswith("1 of 4 workers of serve have given no sign of life for 15 min (on host9)")


def test_a_worker_in_whose_place_another_one_has_started_is_not_missed() -> None:
    assert kinds(lasting("1", NOW - 900), lasting("2", NOW - 10, started=NOW - 800)) == []
    assert len(kinds(lasting("1", NOW - 900), lasting("3", NOW - 900), lasting("2", NOW - 10, started=NOW - 800))) == 1


def test_a_clock_that_is_ahead_or_a_run_of_long_ago_is_no_finding() -> None:
    assert kinds(lasting("1", NOW + 500)) == []
    assert kinds(lasting("1", NOW - 40 * 86_400)) == []


def test_the_sender_and_the_judge_agree_on_how_often_a_run_is_seen() -> None:
    assert heartbeat.EVERY == runs.BEAT_EVERY


# how they are sent ---------------------------------------------------------------------------------------------------


def test_a_run_that_lasts_beats_until_it_ends() -> None:
    queue = RunQueue()
    run = lasting("1", None, started=time.time() - 5)
    queue.begin(run)
    assert queue.beats(every=0) == []
    (sent,) = queue.begun(0.2)
    assert sent.seen is not None
    (beat,) = queue.beats(every=0)
    assert (beat.id, beat.status) == ("1", RunStatus.RUNNING)
    assert beat.seen is not None
    assert beat.seen >= sent.seen
    assert queue.beats(every=60) == []
    queue.end(dataclasses.replace(run, status=RunStatus.SUCCEEDED, ended=time.time()))
    assert queue.beats(every=0) == []


def test_very_many_lasting_runs_beat_in_one_message_at_most() -> None:
    queue = RunQueue()
    for i in range(3 * runs.WAKE_AT):
        queue.begin(lasting(str(i), None, started=0.0))
    assert len(queue.begun(0.2)) == 3 * runs.WAKE_AT
    assert len(queue.beats(every=0)) == runs.WAKE_AT


def test_a_child_of_a_fork_does_not_beat_for_its_parent() -> None:
    queue = RunQueue()
    queue.begin(lasting("1", None, started=0.0))
    queue.begun(0.0)
    queue.forked()
    assert queue.beats(every=0) == []


def test_beats_reach_the_store(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen() -> float | None:
        session.flush()
        ((run,),) = session.store.caught_up().recall(state_runs.newest, 10).values()
        return run.seen

    with ff.run("serve"):
        first = seen()
        assert first is not None
        assert seen() == first
        monkeypatch.setattr(session.sender.runs, "_beat", time.monotonic() - 2 * runs.BEAT_EVERY)
        second = seen()
        assert second is not None
        assert second > first
    assert seen() == second


# how they are kept ---------------------------------------------------------------------------------------------------


def kept(store: Store, *several: Run) -> Run:
    with store.writer.database.write() as connection:
        for run in several:
            state_runs.save(connection, "test", run)
    return store.reader.recall(state_runs.newest, 1)["serve"][0]


def test_an_older_message_overwrites_nothing(store: Store) -> None:
    new, old = lasting("1", NOW), lasting("1", NOW - 30)
    assert kept(store, new, old).seen == NOW
    ended = dataclasses.replace(old, seen=None, ended=NOW + 1, status=RunStatus.SUCCEEDED)
    found = kept(store, ended, lasting("1", NOW + 30))
    assert (found.status, found.seen) == (RunStatus.SUCCEEDED, NOW)


def test_a_lost_run_comes_back_only_with_a_newer_sign_of_life(store: Store) -> None:
    kept(store, lasting("1", NOW))
    with store.writer.database.write() as connection:
        state_runs.mark_lost(connection, [("test", "1")])
    assert kept(store, lasting("1", NOW - 30)).status is RunStatus.LOST
    assert kept(store, lasting("1", None)).status is RunStatus.LOST
    assert kept(store, lasting("1", NOW + 30)).status is RunStatus.RUNNING


def test_a_message_of_an_older_version_without_beats_is_understood() -> None:
    written = json.loads(messages.run_text(lasting("1", None)))
    del written["seen"]
    header = {**messages.runs("test", [json.dumps(written)])}
    found = messages.decode(header)
    assert isinstance(found, messages.Runs)
    assert found.runs[0].seen is None


def test_a_run_killed_on_this_host_is_lost_and_not_also_silent(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", "test")
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    host = os.uname().nodename
    run = dataclasses.replace(lasting("1", NOW - 900), host=host, process=child)
    kept(store, run)
    found = {finding.kind for finding in watched.findings(store.caught_up(), NOW)}
    assert found == {"failed_run"}
    store.close()
