"""What pages show is worked out in processes of their own, which end with the server, and whose end costs no page."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

import fourfold as ff
from fourfold.config import Settings, load
from fourfold.errors import FourfoldError, InputError, StoreError, UnknownNameError
from fourfold.log import state_at
from fourfold.query.reader import Reader
from fourfold.serve.answering import Answering, Question, View, answer
from fourfold.state import catalogue, open_state
from fourfold.views import column, home, incident, pipeline, run, search, stream, streams, tasks
from fourfold.views.asking import Asked
from fourfold.views.page import Page
from tests.collectors import is_gone, wait_until

NOW = 1_700_006_400.0
PARENT = """
import os, sys, time
from fourfold.config import load
from fourfold.serve.answering import Answering, Question
from tests.test_answering import process_of

if __name__ == "__main__":
    answering = Answering(load(sys.argv[1], "flights"))
    print(answering.answer("flights", Question(process_of, [], "", 0.0)).decode(), flush=True)
    time.sleep(600)
"""


class OddError(FourfoldError):
    """An error that cannot be made again from what it says."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} is odd, and {other} too")


def process_of(reader: Reader, asked: Asked, now: float) -> Page:
    """The process that answers."""
    return Page({"process": os.getpid()})


def ended(reader: Reader, asked: Asked, now: float) -> Page:
    """It dies over the question."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def slowly(reader: Reader, asked: Asked, now: float) -> Page:
    """It takes long."""
    time.sleep(6.0)
    return Page({})


def odd(reader: Reader, asked: Asked, now: float) -> Page:
    """It raises what does not travel."""
    raise OddError(1, 3)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = str(tmp_path_factory.mktemp("answering") / "store")
    ff.init(store=folder, project="flights")
    ff.log("predict", [{"id": n, "score": n / 10, "carrier": "AA"} for n in range(10)], key="id")
    ff.flush()
    ff.streams()
    return load(folder, "flights")


@pytest.fixture(scope="module")
def answering(settings: Settings) -> Iterator[Answering]:
    made = Answering(settings)
    yield made
    made.close()


def test_an_answer_is_the_same_wherever_it_is_worked_out(settings: Settings, answering: Answering) -> None:
    reader = Reader.open(settings.place, "flights")
    for form in ("", "json", "csv"):
        for view, asked in ((stream.page, [("stream", "predict")]), (search.page, [("q", "p")]), (home.page, [])):
            question = Question(view, asked, form, NOW)
            assert answering.answer("flights", question) == answer(reader, question)
    reader.close()


@pytest.mark.parametrize(
    ("view", "asked"),
    [
        (stream.page, {"stream": "predict"}), (column.page, {"stream": "predict", "column": "score"}), (home.page, {}),
        (streams.page, {}), (tasks.page, {}), (incident.list_page, {}), (pipeline.page, {}), (run.page, {}),
    ],
)  # fmt: skip
def test_a_page_just_after_a_write_reads_with_statements_that_are_there(
    settings: Settings, view: View, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, other = Reader.open(settings.place, "flights"), open_state(*state_at(settings.place))
    question = Question(view, list(asked.items()), "", NOW)
    answer(reader, question)
    with other.write() as connection:
        catalogue.set_cursors(connection, "another project", ["job"], {"stream": 1})
    read, built = list[str](), list[object]()
    sa.event.listen(reader.database.engine, "before_cursor_execute", lambda *given: read.append(given[2]))
    select = sa.select
    monkeypatch.setattr(sa, "select", lambda *columns: built.append(columns) or select(*columns))  # type: ignore[func-returns-value]
    answer(reader, question)
    assert read and not built
    reader.close()
    other.close()


def formulas(reader: Reader, asked: Asked, now: float) -> Page:
    """Names as a hostile sender may choose them."""
    names = [
        "=cmd|' /C calc'!A0", "+1+1", "@sum", "-2+3", "\t=1", "\n=1", "\r=1", "＝1", "＋1+1", "－1", "＠sum",
        "-2.5", "+1e5", "a=b", None,
    ]  # fmt: skip
    return Page({}, rows=[{"name": name, "value": -1.5, "most": [["=x", 1.0], [name, None]]} for name in names])


def test_no_cell_of_a_file_is_a_formula_to_a_spreadsheet(settings: Settings) -> None:
    reader = Reader.open(settings.place, "flights")
    content = answer(reader, Question(formulas, [], "csv", NOW)).decode()
    reader.close()
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [row["name"] for row in rows] == [
        "'=cmd|' /C calc'!A0", "'+1+1", "'@sum", "'-2+3", "'\t=1", "'\n=1", "'\r=1", "'＝1", "'＋1+1", "'－1", "'＠sum",
        "-2.5", "+1e5", "a=b", "",
    ]  # fmt: skip
    assert {row["value"] for row in rows} == {"-1.5"}
    assert json.loads(rows[0]["most"]) == [["=x", 1.0], ["=cmd|' /C calc'!A0", None]]


def test_errors_of_a_page_come_as_they_are(answering: Answering) -> None:
    with pytest.raises(UnknownNameError, match="predict"):
        answering.answer("flights", Question(stream.page, [("stream", "predicted")], "", NOW))
    with pytest.raises(InputError, match="limit"):
        answering.answer("flights", Question(home.page, [("limit", "many")], "", NOW))
    with pytest.raises(StoreError, match="1 is odd, and 3 too"):
        answering.answer("flights", Question(odd, [], "", NOW))


def test_a_process_that_has_died_costs_no_later_page(answering: Answering) -> None:
    first = json.loads(answering.answer("flights", Question(process_of, [], "", NOW)))["data"]["process"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: ") Z " in Path(f"/proc/{first}/stat").read_text())
    again = json.loads(answering.answer("flights", Question(process_of, [], "", NOW)))["data"]["process"]
    assert again != first
    with pytest.raises(StoreError, match="died twice"):
        answering.answer("flights", Question(ended, [], "", NOW))
    assert json.loads(answering.answer("flights", Question(process_of, [], "", NOW)))["data"]["process"] != again
    answering.close()
    wait_until(lambda: is_gone(again))


def test_a_process_that_stands_still_or_takes_too_long_is_ended_and_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = Answering(settings)

    def process() -> int:
        return int(json.loads(answering.answer("flights", Question(process_of, [], "", NOW)))["data"]["process"])

    def slow() -> bytes:
        return answering.answer("flights", Question(slowly, [], "", NOW))

    with contextlib.closing(answering), ThreadPoolExecutor(2) as asking:
        others = {child.pid for child in multiprocessing.active_children()}
        for asked in [asking.submit(slow) for _ in range(2)]:
            asked.result()  # both processes are there
        workers = {child.pid or 0 for child in multiprocessing.active_children() if child.pid not in others}
        assert len(workers) == 2
        monkeypatch.setattr("fourfold.serve.answering._WITHIN", 2.0)
        asked, answered = asking.submit(slow), set[int]()
        while not asked.done():
            answered.add(process())
        with pytest.raises(StoreError, match="not worked out within 2 seconds"):
            asked.result()
        [quick] = workers & answered
        [ended_one] = workers - {quick}
        wait_until(lambda: is_gone(ended_one))
        assert not is_gone(quick)
        os.kill(quick, signal.SIGSTOP)
        while not is_gone(quick):  # it is asked sooner or later
            with contextlib.suppress(StoreError):
                for asked_for in [asking.submit(process) for _ in range(2)]:
                    asked_for.result()
        monkeypatch.setattr("fourfold.serve.answering._WITHIN", 60.0)
        assert process() not in workers


def test_the_processes_end_with_a_server_that_is_killed(settings: Settings) -> None:
    command = [sys.executable, "-c", PARENT, settings.store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as parent:
        assert parent.stdout is not None
        worker = json.loads(parent.stdout.readline())["data"]["process"]
        assert not is_gone(worker)
        parent.kill()
    wait_until(lambda: is_gone(worker))
