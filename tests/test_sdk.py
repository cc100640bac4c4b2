"""Tracking and logging: every kind of function, lineage, buffers, forks; and law 8: the host is never disturbed."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pds
import pytest

import fourfold as ff
from fourfold.model import Run, RunStatus
from fourfold.reports.components import components, recent_runs
from fourfold.reports.problems import problems
from fourfold.sdk import Session, buffer
from fourfold.sdk.frames import fingerprint_of as of_frame
from tests.support import waiting


def recorded(session: Session, component: str | None = None) -> list[Run]:
    session.flush()
    return list(recent_runs(session.store.caught_up(), component, 100))


def frame(n: int = 50) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(n, dtype=float), "side": ["l", "r"] * (n // 2)})


class Model:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def predict(self, data: pd.DataFrame) -> pd.Series[float]:
        return data["x"] * self.weight


# tracking -----------------------------------------------------------------------------------------------------------


def test_a_call_is_recorded_with_its_parameters_inputs_outputs_and_code(session: Session) -> None:
    @ff.component
    def featurize(df: pd.DataFrame, factor: int = 3) -> pd.DataFrame:
        return df.assign(z=df.x * factor)

    assert list(featurize(frame()).z[:2]) == [0.0, 3.0]
    (run,) = recorded(session)
    assert (run.component, run.status, run.params) == ("featurize", RunStatus.SUCCEEDED, {"factor": 3})
    assert {(a.direction, a.name, a.rows) for a in run.artifacts} == {("input", "df", 50), ("output", "output", 50)}
    assert run.duration is not None
    assert run.duration >= 0
    assert "source_hash" in run.code
    assert ff.metric("featurize.z", "max").value.value == 147.0


def test_an_exception_is_recorded_and_goes_on(session: Session) -> None:
    @ff.component
    def broken() -> None:
        raise ValueError("no such plane")

    with pytest.raises(ValueError, match="no such plane"):
        broken()
    (run,) = recorded(session)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error.splitlines()[-1] == "ValueError: no such plane"
    assert "tracking.py" not in run.error


def test_a_call_with_wrong_arguments_raises_what_the_function_would(session: Session) -> None:
    @ff.component
    def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add(1)  # type: ignore[call-arg]
    assert recorded(session)[0].status is RunStatus.FAILED


def test_coroutines_generators_methods_and_named_components_are_tracked(session: Session) -> None:
    @ff.component
    async def coroutine(df: pd.DataFrame) -> pd.DataFrame:
        await asyncio.sleep(0)
        return df

    @ff.component
    def generator(n: int) -> Iterator[int]:
        yield from range(n)

    @ff.component
    async def async_generator(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    class Service:
        @ff.component("named")
        def method(self, n: int) -> int:
            return n + 1

        @staticmethod
        @ff.component
        def static(n: int) -> int:
            return n

    async def consume() -> list[int]:
        return [i async for i in async_generator(3)]

    assert asyncio.run(coroutine(frame())).shape == (50, 2)
    assert list(generator(3)) == asyncio.run(consume()) == [0, 1, 2]
    assert (Service().method(1), Service.static(2)) == (2, 2)
    assert {r.component: r.status for r in recorded(session)} == dict.fromkeys(
        ["coroutine", "generator", "async_generator", "named", "static"], RunStatus.SUCCEEDED
    )


def test_a_generator_that_is_left_early_has_succeeded(session: Session) -> None:
    @ff.component
    def numbers() -> Iterator[int]:
        yield from range(10)

    iterator = numbers()
    assert next(iterator) == 0
    iterator.close()  # type: ignore[attr-defined]
    assert recorded(session)[0].status is RunStatus.SUCCEEDED


def test_runs_nest_and_threads_and_tasks_do_not_mix_them_up(session: Session) -> None:
    @ff.component
    def inner(n: int) -> int:
        time.sleep(0.01)
        return n

    @ff.component
    def outer(n: int) -> int:
        return inner(n)

    threads = [threading.Thread(target=outer, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = recorded(session)
    outers = {run.id: run for run in runs if run.component == "outer"}
    inners = [run for run in runs if run.component == "inner"]
    assert len(outers) == len(inners) == 5
    for run in inners:
        assert run.parent is not None
        assert outers[run.parent].params == run.params
    with ff.run("alone"):
        pass
    assert recorded(session, "alone")[0].parent is None


def test_a_run_is_a_context_manager_with_inputs_outputs_metrics_and_a_logical_time(
    session: Session, tmp_path: Path
) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a\n1\n")
    with ff.run("train", params={"depth": 3}, at="2024-05-01") as run:
        run.input("features", pl.DataFrame({"x": [1.0, 2.0]}))
        run.input("raw", file)
        run.output("model", Model(2.0))
        run.metric("auc", 0.83)
    (found,) = recorded(session)
    assert (found.params, found.metrics, found.at) == ({"depth": 3}, {"auc": 0.83}, 1714521600.0)
    assert {a.name: a.kind for a in found.artifacts} == {"features": "frame", "raw": "file", "model": "model"}
    by_name = {a.name: a for a in found.artifacts}
    assert by_name["raw"].details["size"] == 4
    assert ff.metric("train.features.x", "mean", every="1d")[0].window.start == 1714521600


def test_an_output_that_is_later_an_input_connects_two_components(session: Session) -> None:
    @ff.component
    def clean(raw: pd.DataFrame) -> pd.DataFrame:
        return raw[raw.x > 5].reset_index(drop=True)

    @ff.component
    def train(features: pd.DataFrame) -> Model:
        return Model(float(features["x"].mean()))

    @ff.component
    def predict(model: Model, features: pd.DataFrame) -> Any:
        return model.predict(features)

    cleaned = clean(frame())
    model = train(pl.from_pandas(cleaned))  # type: ignore[arg-type]
    predict(pickle.loads(pickle.dumps(model)), frame())
    session.flush()
    feeds = {view.name: view.feeds for view in components(session.store.caught_up())}
    assert feeds == {"clean": ("train",), "train": ("predict",), "predict": ()}


def test_lineage_holds_across_processes_and_files(session: Session, tmp_path: Path) -> None:
    script = tmp_path / "maker.py"
    script.write_text(
        "import sys, fourfold as ff, polars as pl\n"
        "ff.init(sys.argv[1], 'test')\n"
        "@ff.component\n"
        "def make() -> pl.DataFrame:\n"
        "    frame = pl.DataFrame({'x': range(100), 's': ['a', None] * 50})\n"
        "    frame.write_parquet(sys.argv[2])\n"
        "    return frame\n"
        "make()\n"
    )
    subprocess.run([sys.executable, script, session.settings.store, tmp_path / "f.parquet"], check=True)

    @ff.component
    def use(df: pd.DataFrame) -> None: ...

    use(pd.read_parquet(tmp_path / "f.parquet"))
    session.flush()
    assert {view.name: view.feeds for view in components(session.store.caught_up())}["make"] == ("use",)


def test_equal_frames_have_equal_fingerprints_and_others_do_not() -> None:
    from fourfold.fold import to_arrow

    frames = [frame(), pl.from_pandas(frame()), pa.table(pl.from_pandas(frame()).to_arrow())]
    assert len({of_frame(to_arrow(f)) for f in frames}) == 1
    others = [frame(48), frame().rename(columns={"x": "y"}), frame().assign(x=1.0), frame(0)]
    assert len({of_frame(to_arrow(f)) for f in [frame(), *others]}) == 5


def test_frames_are_counted_by_their_own_times_and_slices(session: Session) -> None:
    @ff.component(time="t", by=["side"])
    def load() -> dict[str, Any]:
        times = pd.to_datetime(["2024-01-01", "2024-01-02"] * 25)
        return {"flights": frame().assign(t=times), "weather": pd.DataFrame({"y": [1, 2]}), "note": "text"}

    load()
    found = ff.metric("load.flights.x", "mean", by="side", every="1d")
    assert [(row.window.start_time.day, row.slice["side"], row.value.n) for row in found] == [
        (1, "l", 25), (1, "r", 0), (2, "l", 0), (2, "r", 25),
    ]  # fmt: skip
    assert ff.metric("load.weather.y", "max").value.value == 2.0


@pytest.mark.parametrize("times", [[1_709_337_600] * 3, ["2024-03-02T00:00:00Z", "1709337600", "2024-03-02"]])
def test_a_frames_times_are_read_as_those_of_records(
    session: Session, times: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    frame = pd.DataFrame({"at": times, "v": [1.0, 2.0, 3.0]})

    @ff.component(time="at")
    def clean(frame: pd.DataFrame) -> int:
        return len(frame)

    clean(frame)
    assert ff.metric("clean.frame", "rows", start="2024-03-02", end="2024-03-03").value.value == 3.0
    with caplog.at_level(logging.WARNING, "fourfold"):
        clean(frame.assign(at=["2024-03-02", "no time", "2024-03-02"]))
    assert ff.metric("clean.frame", "rows", start="2024-03-02", end="2024-03-03").value.value == 5.0
    assert "1 times in the column 'at' cannot be read" in caplog.text


def test_history_gives_earlier_runs_inside_this_one(session: Session) -> None:
    seen: list[Any] = []

    @ff.component
    def featurize(df: pd.DataFrame) -> pd.DataFrame:
        past = ff.history("featurize")
        seen.append((len(past), past.last(2).column("x").mean().value, [v.value for v in past.column("x").each("max")]))
        return df

    for i in range(4):
        featurize(pd.DataFrame({"x": [float(i), i + 1.0]}))
    assert seen == [(0, None, []), (1, 0.5, [1.0]), (2, 1.0, [1.0, 2.0]), (3, 2.0, [1.0, 2.0, 3.0])]
    past = ff.history("featurize").column("x")
    assert past.quantile(1.0).value == pytest.approx(4.0, rel=0.02)
    with pytest.raises(ff.UnknownNameError, match=r"'z'.*Known: x"):
        ff.history("featurize").column("z")


@pytest.mark.parametrize(
    "wrong", [lambda: ff.component("")(print), lambda: ff.run(""), lambda: ff.component(at="dya")(len)]
)
def test_misuse_at_set_up_raises(session: Session, wrong: Any) -> None:
    with pytest.raises(ff.ConfigError):
        wrong()


def test_a_logical_time_that_is_none_does_not_disturb_the_call(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    @ff.component(at="day")
    def daily(day: Any) -> Any:
        return day

    assert daily("not a day") == "not a day"
    assert daily("2024-05-01") == "2024-05-01"
    assert [run.at for run in recorded(session)] == [1714521600.0, None]
    assert "at='not a day' is not a moment" in caplog.text


# logging ------------------------------------------------------------------------------------------------------------


def rows(stream: str = "predict") -> float | None:
    return ff.metric(stream, "rows").value.value


def test_records_as_keywords_dicts_and_frames_end_in_one_stream(session: Session) -> None:
    ff.log("predict", key="a", score=0.1)
    ff.log("predict", {"id": "b", "score": 0.2}, key="id")
    ff.log("predict", [{"id": "c", "score": 0.3}], key="id")
    ff.log("predict", {"id": ["d", "e"], "score": [0.4, 0.5]}, key="id")
    ff.log("predict", pd.DataFrame({"id": ["f"], "score": [0.6]}), key="id")
    ff.log("predict", pl.DataFrame({"id": ["g"], "score": [0.7]}), key="id")
    ff.log("predict", pa.table({"id": ["h"], "score": [0.8]}), key="id")
    assert rows() == 8.0
    assert ff.metric("predict.score", "mean").value.value == pytest.approx(0.45)
    assert ff.metric("predict", "duplicate_keys").value.value == 0.0


def test_keys_are_compared_as_text_whatever_they_were(session: Session) -> None:
    ff.log("predict", pd.DataFrame({"id": [1.0, 2.0, np.nan], "score": [0.9, 0.1, 0.5]}), key="id")
    ff.log("arrivals", key=1, late=True)
    ff.log("arrivals", key="2", late=False)
    ff.task("late", prediction="predict.score", label="arrivals.late")
    assert ff.metric("late", "accuracy").value.n == 2
    assert ff.metric("predict", "null_keys").value.value == 1.0


@pytest.mark.parametrize(
    "moment",
    ["2024-01-02T03:04:05", "2024-01-02T03:04:05+00:00", pd.Timestamp("2024-01-02T03:04:05"), 1704164645,
     1704164645.5, np.datetime64("2024-01-02T03:04:05"), pd.Timestamp("2024-01-02T04:04:05+01:00")],
)  # fmt: skip
def test_moments_in_any_form_mean_the_same(session: Session, moment: Any) -> None:
    ff.log("one", key="a", time=moment, x=1.0)
    ff.log("frame", pd.DataFrame({"id": ["a"], "t": [moment], "x": [1.0]}), key="id", time="t")
    for stream in ("one", "frame"):
        assert ff.metric(stream, "rows", every="1h")[0].window.start_time.hour == 3, stream
        assert ff.metric(stream, "rows")[0].window.start_time.isoformat() == "2024-01-02T00:00:00+00:00"


def test_a_record_is_taken_as_it_was_when_it_was_logged(session: Session) -> None:
    record = {"id": "a", "score": 0.25}
    ff.log("predict", record, key="id")
    record["score"] = 0.75
    assert ff.metric("predict.score", "mean").value.value == 0.25
    assert record == {"id": "a", "score": 0.75}


def test_fields_may_be_named_like_the_arguments(session: Session) -> None:
    ff.log("predict", key="a", stream=1.0, data=2.0, _ff_key=3.0)
    assert ff.metric("predict.stream", "max").value.value == 1.0
    assert ff.metric("predict.column_ff_key", "max").value.value == 3.0


def test_records_carry_their_run(session: Session) -> None:
    with ff.run("predict", at="2024-01-01") as run:
        ff.log("scores", key="a", score=0.5)
    ff.flush()
    session.store.writer.catch_up()
    log = session.store.writer.logs.get("test", "scores")
    assert pds.dataset(list(log.whole().added)).to_table()["_ff_run"].to_pylist() == [run.id]


def test_a_buffer_is_sent_within_a_second_without_being_asked(session: Session) -> None:
    ff.log("predict", key="a", score=0.1)
    deadline = time.monotonic() + 5
    while session.sender.buffer.records and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not session.sender.buffer.records
    assert time.monotonic() < deadline


def test_a_full_buffer_drops_counts_and_warns_once(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(buffer, "LIMIT", 10)
    session.sender.stop()
    for i in range(25):
        ff.log("predict", key=i, score=0.5)
    assert session.sender.dropped == 15
    with caplog.at_level(logging.WARNING, "fourfold"):
        ff.flush()
        ff.flush()
    (told,) = (r.message for r in caplog.records)
    assert told.startswith("15 records were dropped: they came faster than they could be written (the buffer holds 10;")
    assert rows() == 10.0


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")


@pytest.mark.parametrize(
    "log",
    [
        lambda: ff.log("predict", pd.DataFrame({"a": [1]}), key="no such column"),
        lambda: ff.log("predict", 42),
        lambda: ff.log("predict", Unprintable()),
        lambda: ff.log("predict", key="a", value=object()),
        lambda: ff.log("predict", key="a", value={1: 2}),
        lambda: ff.log("predict", key=object(), value=1.0),
        lambda: ff.log("predict", {"id": "a", "value": object()}, key="id"),
    ],
)
def test_what_cannot_be_logged_is_warned_of_kept_and_never_raised(
    session: Session, log: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fourfold"):
        log()
        ff.log("predict", key="good", fine=1.0)
        ff.flush()
    assert (rows() or 0) >= 1.0
    kept = session.store.reader.quarantine.entries()
    assert bool(kept) == bool(caplog.records), (kept, caplog.records)


def test_a_value_of_another_type_is_kept_aside_and_the_rest_is_logged(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    ff.log("predict", key="a", score=0.5)
    ff.log("predict", key="b", score="high")
    ff.log("predict", key="c", score=0.7)
    assert rows() == 3.0
    assert ff.metric("predict.score", "null_rate").value.value == pytest.approx(1 / 3)
    assert [p.kind for p in problems(session.store.caught_up())] == ["quarantine"]
    assert caplog.records


def test_a_wrong_record_among_many_does_not_make_a_batch_of_each(session: Session) -> None:
    session.sender.stop()
    for i in range(500):
        ff.log("predict", key=i, score="high" if i % 50 == 7 else i / 500, note=None if i % 3 else "x")
    ff.flush()
    assert len(waiting(session)) < 10
    assert rows() == 500.0
    assert ff.metric("predict.score", "null_rate").value.value == pytest.approx(10 / 500)
    assert sum(entry.rows for entry in session.store.reader.quarantine.entries()) == 10


def test_a_store_that_cannot_be_written_does_not_disturb_the_host(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any, **kwargs: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session.sender.outbox.inbox, "put", full)

    @ff.component
    def double(df: pd.DataFrame) -> pd.DataFrame:
        return df * 2

    with caplog.at_level(logging.WARNING, "fourfold"):
        assert double(frame()[["x"]]).x.max() == 98.0
        ff.log("predict", pd.DataFrame({"id": ["a"]}), key="id")
    assert any("No space left" in record.message for record in caplog.records)


LASTING = """
import glob, os, sys, time, fourfold as ff
ff.init(sys.argv[1], "test")
with ff.run("train"):
    while not glob.glob(f"{sys.argv[1]}/inbox/*.arrow"): time.sleep(0.01)  # of which the sender writes one by itself
    os.kill(os.getpid(), 9)
"""


def test_a_run_that_lasts_and_whose_process_is_killed_is_said_to_be_lost(session: Session) -> None:
    subprocess.run([sys.executable, "-c", LASTING, session.settings.store], check=False)
    with ff.run("alive"):
        assert {r.component: r.status for r in recorded(session)} == {
            "train": RunStatus.LOST, "alive": RunStatus.RUNNING,
        }  # fmt: skip


def test_of_a_share_the_counts_are_those_of_a_sample_that_is_named_so(session: Session) -> None:
    @ff.component("load", share=0.25)
    def load() -> pd.DataFrame:
        return frame(10_000)

    load()
    with ff.run("train", share=1) as run:
        run.input("whole", frame())
    (recorded_run,) = recorded(session, "load")
    (artifact,) = recorded_run.artifacts
    assert (artifact.name, artifact.rows, artifact.details["share"]) == ("output.sample", 10_000, 0.25)
    counted = artifact.details["counted"]
    assert 2_000 < counted < 3_000
    assert ff.metric("load.output.sample", "rows").value.value == counted
    mean = ff.metric("load.output.sample.x", "mean").value
    assert mean.n == counted
    assert mean.value == pytest.approx(5_000, rel=0.1)
    assert ff.history("load").column("x").mean().n == counted
    assert ff.metric("train.whole", "rows").value.value == 50.0
    with pytest.raises(ff.UnknownNameError):
        ff.metric("load.output.x", "mean")


@pytest.mark.parametrize("share", [0, -0.1, 1.5, True, "0.1"])
def test_what_is_no_share_is_refused(session: Session, share: Any) -> None:
    with pytest.raises(ff.ConfigError, match="share="):
        ff.run("train", share=share)


def test_short_runs_travel_together_and_a_flush_tells_of_those_that_go_on(session: Session) -> None:
    session.sender.stop()

    @ff.component
    def short(n: int) -> int:
        return n

    with ff.run("long"):
        for i in range(20):
            short(i)
        assert waiting(session) == []
        session.flush()
        assert len(waiting(session)) == 2
        runs = recorded(session)
        assert [r.params["n"] for r in runs if r.component == "short"] == list(range(20))[::-1]
        assert {r.component: r.status for r in runs} == {"short": RunStatus.SUCCEEDED, "long": RunStatus.RUNNING}
        (long,) = (r for r in runs if r.component == "long")
        assert {r.parent for r in runs if r.component == "short"} == {long.id}
    (long,) = recorded(session, "long")
    assert long.status is RunStatus.SUCCEEDED


def test_more_runs_than_may_wait_are_sent_by_whoever_ends_one(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.sender.stop()
    monkeypatch.setattr("fourfold.sdk.runs.LIMIT", 10)
    for _ in range(25):
        with ff.run("short"):
            pass
    assert len(session.sender.runs) == 5
    assert len(recorded(session, "short")) == 25


def test_more_counts_than_may_wait_are_sent_by_whoever_counts(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.sender.stop()
    monkeypatch.setattr("fourfold.sdk.runs.COUNTED_LIMIT", 2)
    monkeypatch.setattr("fourfold.sdk.runs.LASTING", 3_600.0)  # on a busy machine the run lasts long enough to be sent
    with ff.run("load") as run:
        run.output("a", frame())
        assert waiting(session) == []
        run.output("b", frame())
        assert len(waiting(session)) == 2
    assert ff.metric("load.b", "rows").value.value == 50.0


def test_a_run_that_json_cannot_hold_costs_no_other(session: Session) -> None:
    session.sender.stop()
    with ff.run("good"):
        pass
    with ff.run("bad") as bad:
        bad._metrics[(1, 2)] = 0.5  # type: ignore[index]
    assert [r.component for r in recorded(session)] == ["good"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_runs_that_wait_at_a_fork_are_told_of_by_the_parent_alone(session: Session) -> None:
    session.sender.stop()
    with ff.run("done"):
        pass
    with ff.run("going on"):
        if (child := os.fork()) == 0:
            left = len(session.sender.runs) + len(session.sender.runs.begun(0.0))
            os._exit(left)
        assert os.waitpid(child, 0)[1] == 0
    assert {r.component: r.status for r in recorded(session)} == dict.fromkeys(
        ["done", "going on"], RunStatus.SUCCEEDED
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals of this kind")
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 15); time.sleep(30)", "sys.exit()"])
def test_a_run_in_which_its_process_ends_is_told_of(session: Session, end: str) -> None:
    code = "import os, sys, time, fourfold as ff; ff.init(sys.argv[1], 'test')\nwith ff.run('train'): " + end
    subprocess.run([sys.executable, "-c", code, session.settings.store], check=False)
    (run,) = recorded(session, "train")
    assert run.status is (RunStatus.LOST if "kill" in end else RunStatus.FAILED)


TAKEN = """
import os, signal, sys, time, fourfold as ff
ff.init(sys.argv[1], "test"); ff.log("p", key=1, v=1.0); ff.flush()
ours = signal.signal(signal.SIGTERM, lambda *_: None)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(1.2)
signal.signal(signal.SIGTERM, ours)
time.sleep(1.5)
print("alive")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals of this kind")
def test_a_signal_that_the_hosts_handler_has_taken_ends_nothing_later(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKEN, str(tmp_path / "store")]
    assert subprocess.run(command, check=False, capture_output=True, text=True).stdout == "alive\n"


def test_records_survive_a_moment_in_which_the_store_cannot_be_written(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.sender.stop()
    put = session.sender.outbox.inbox.put
    monkeypatch.setattr(session.sender.outbox.inbox, "put", lambda *a, **k: (_ for _ in ()).throw(OSError("no space")))
    for i in range(5):
        ff.log("predict", key=i, score=0.5)
    session.never_raise("sending", session.flush)
    monkeypatch.setattr(session.sender.outbox.inbox, "put", put)
    assert rows() == 5.0


# processes ----------------------------------------------------------------------------------------------------------


def test_what_is_in_the_buffer_at_exit_is_sent(session: Session) -> None:
    code = "import sys, fourfold as ff; ff.init(sys.argv[1], 'test'); ff.log('predict', key='a', score=0.5)"
    subprocess.run([sys.executable, "-c", code, session.settings.store], check=True)
    assert rows() == 1.0


def log_some(worker: int) -> None:
    for i in range(100):
        ff.log("predict", key=f"{worker}-{i}", score=i / 100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_parent_and_children_each_send_their_own_once(session: Session) -> None:
    ff.log("predict", key="before", score=0.5)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=log_some, args=(i,)) for i in range(3)]
    for worker in workers:
        worker.start()
    ff.log("predict", key="after", score=0.5)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert rows() == 302.0
    assert ff.metric("predict", "duplicate_keys").value.value == 0.0


def read_and_log(answers: Any) -> None:
    ff.log("predict", key="child", score=0.5)
    try:
        answers.put(str(rows()))
    except Exception as error:
        answers.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_of_a_process_that_has_read_can_log_and_is_told_that_it_cannot_read(session: Session) -> None:
    ff.log("predict", key="parent", score=0.5)
    assert rows() == 1.0
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=read_and_log, args=(answers,))
    child.start()
    assert "spawn or forkserver" in answers.get()
    child.join()
    answers.close()
    assert rows() == 2.0


def test_without_init_the_environment_says_where_to_log(tmp_path: Path) -> None:
    environment = {**os.environ, "FOURFOLD_STORE": str(tmp_path / "elsewhere"), "FOURFOLD_PROJECT": "p"}
    code = (
        "import fourfold as ff; ff.log('predict', key='a', score=0.5); ff.flush();"
        "print(ff.metric('predict', 'rows').value.value)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "1.0"
    assert (tmp_path / "elsewhere" / "log" / "p" / "predict").is_dir()


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Ruder:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no class")


class Rudest:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


ODD = [Rude, lambda: [Rude()], lambda: {"a": Rude()}, Ruder, lambda: [Ruder()], Rudest]


@pytest.mark.parametrize("make", ODD)
def test_no_argument_result_or_parameter_makes_a_component_raise(session: Session, make: Callable[[], Any]) -> None:
    odd = make()
    params: dict[Any, Any] = {"odd": odd, "depth": 3, 1: [1, {"a": 2}]}

    @ff.component
    def same(value: Any) -> Any:
        return value

    assert same(odd) is odd
    with ff.run("train", params=params) as run:
        run.input("in", odd)
        run.output("out", odd)
        run.metric("auc", odd)
        run.metric("rmse", 0.5)
    statuses = {run.component: run.status for run in recorded(session)}
    assert statuses == {"same": RunStatus.SUCCEEDED, "train": RunStatus.SUCCEEDED}
    (train,) = recent_runs(session.store.caught_up(), "train")
    assert (train.params["depth"], train.params["1"]) == (3, [1, {"a": 2}])
    assert train.metrics == {"rmse": 0.5}
