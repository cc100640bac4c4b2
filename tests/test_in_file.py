"""What fourfold.toml declares: by whom, when, for which project, and what happens where a process says otherwise."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

import fourfold as ff
from fourfold import config
from fourfold.cli import watch
from fourfold.errors import ConfigError
from fourfold.ingest import from_file
from fourfold.log import Inbox
from fourfold.model import Objective, Task
from fourfold.sdk import session as sdk_session
from fourfold.serve.service import Service
from fourfold.state import catalogue, in_file, memory, objectives
from fourfold.store import FileDeclared, Store
from tests.collectors import collector, wait_until
from tests.services import place
from tests.support import START, Sender
from tests.test_cli import run

APPROVED = '[task.approved]\nprediction = "decide.score"\nlabel = "outcomes.repaid"\n'
GOOD = '[objective.good]\ntarget = "accuracy(approved) >= 50 %"\n'
LOANS = 'project = "loans"\n'
GIVEN: dict[str, Any] = {"prediction": "decide.score", "label": "outcomes.repaid"}


@pytest.fixture(autouse=True)
def _no_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test as a process that has not called ``ff.init`` yet, with a store beside fourfold.toml."""
    monkeypatch.setattr(sdk_session, "_session", None)
    monkeypatch.setenv("FOURFOLD_STORE", place(tmp_path / "store").store)
    yield
    if sdk_session._session is not None:
        sdk_session._session.close()


def write(*parts: str) -> None:
    Path("fourfold.toml").write_text("\n".join(parts))


def fill(*projects: str) -> None:
    """Records of projects, in a store that has counted them."""
    for project in projects:
        with opened(project) as store:
            Sender(store).records("p", [{"key": "a", "time": START, "log_time": START, "v": 1.0}])
            store.writer.catch_up()


@contextlib.contextmanager
def opened(project: str = "loans") -> Iterator[Store]:
    with contextlib.closing(Store(config.load().place, project)) as store:
        yield store


def declared(project: str = "loans") -> tuple[dict[str, Task], dict[str, Objective]]:
    """What a project has, once all that was sent is taken."""
    with opened(project) as store:
        reader = store.caught_up()
        return reader.recall(catalogue.tasks), reader.recall(objectives.listed)


def serve() -> int:
    """What a server does before it serves: how many messages wait in the inbox then, that it or others have sent."""
    service = Service(config.load())
    service.declare()
    waiting = len(service.inbox.pending())
    service.close()
    return waiting


def command(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A command that ends well; of one that works again and again, one round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "repeat", lambda seconds, work, failed: work(lambda share: None))
        code, _, err = run(capsys, None, name)
    assert (code, err) == (0, "")


def test_a_server_declares_what_is_in_the_file_once() -> None:
    write(LOANS, APPROVED, GOOD)
    assert serve() == 2
    tasks, aims = declared()
    assert (list(tasks), list(aims)) == (["approved"], ["good"])
    assert serve() == 0
    write(LOANS, APPROVED, GOOD, "[objective.quick]\ntarget = \"freshness(decide) <= '2h'\"\n")
    assert serve() == 1
    assert list(declared()[1]) == ["good", "quick"]


def test_whatever_the_file_declares_is_the_same_when_it_is_read_again() -> None:
    write(
        LOANS,
        f"{APPROVED}threshold = 0.25\npositive = 'yes'\nversion = 'model'\nhorizon = '2w'\n"
        "slices = ['region', ['region', 'kind'], {column = 'amount', buckets = 4}, {name = 'big', sql = 'amount>5'}]\n"
        "values = {true_positive = 10, false_positive = -1.5}",
        "[task.class]\nprediction = 'a.b'\nlabel = 'c.d'\nkind = 'multiclass'\nclasses = ['x', 'y']\n"
        "probabilities = 'p'\nvalues = {x = {y = 2}}",
        "[task.rank]\nprediction = 'a.b'\nlabel = 'c.d'\nkind = 'ranking'\nquery = 'q'\ncutoffs = [10, 3]",
        "[task.act]\nprediction = 'a.b'\nlabel = 'c.d'\nkind = 'decision'\noutcome = 'e.f'",
        f"{GOOD}window = 'month'\nby = ['region']\ngoal = '99 %'\nestimates = true\nowner = 'ñ'",
        "[objective.'a.b [c] ]']\ntarget = \"duration(train, q=0.9) <= '1h'\"",
    )
    assert serve() == 6
    found = config.load()
    tasks, aims = declared()
    assert tasks == {task.name: task for task in found.tasks}
    assert aims == {objective.name: objective for objective in found.objectives}
    assert serve() == 0


@pytest.mark.parametrize("name", ["fold", "check", "watch"])
def test_who_counts_or_judges_declares_it_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill("loans")
    write(LOANS, APPROVED, GOOD)
    for _ in range(2):
        command(capsys, name)
        tasks, aims = declared()
        assert (list(tasks), list(aims)) == (["approved"], ["good"])
    assert serve() == 0


def test_who_only_asks_declares_nothing_but_says_what_does(capsys: pytest.CaptureFixture[str]) -> None:
    fill("loans")
    write(LOANS, APPROVED, GOOD)
    code, out, err = run(capsys, None, "status")
    assert (code, err, declared()) == (0, "", ({}, {}))
    said = " ".join(out.split())
    assert "fourfold.toml declares [task.approved], [objective.good], which the store does not know yet" in said
    assert "fourfold serve, fold, check and watch declare" in said
    assert "no task is declared yet" not in said
    command(capsys, "fold")
    assert "which the store does not know yet" not in run(capsys, None, "status")[1]


def test_a_file_that_stays_as_it_is_does_not_undo_what_a_process_declares(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write(LOANS, APPROVED, "threshold = 0.3")
    serve()
    assert declared()[0]["approved"].threshold == 0.3
    for _ in range(2):  # a process that is restarted reads the file, too
        session = ff.init()
        ff.task("approved", **GIVEN, threshold=0.7)
        session.flush()
        assert declared()[0]["approved"].threshold == 0.7
        session.close()
    ff.init().flush()
    command(capsys, "check")
    with caplog.at_level(logging.WARNING, "fourfold"):
        assert serve() == 0
    assert "[task.approved]: a process has declared it otherwise since" in caplog.text
    assert declared()[0]["approved"].threshold == 0.7
    write(LOANS, APPROVED, "threshold = 0.4")  # the last one wins
    assert serve() == 1
    assert declared()[0]["approved"].threshold == 0.4


def test_a_process_that_has_read_an_older_file_does_not_bring_it_back() -> None:
    fill("loans")
    write(LOANS, APPROVED, "threshold = 0.3")
    old = FileDeclared(config.load())
    old.once()
    assert declared()[0]["approved"].threshold == 0.3
    write(LOANS, APPROVED, "threshold = 0.4")
    serve()
    assert declared()[0]["approved"].threshold == 0.4
    old.once()  # its next round
    assert declared()[0]["approved"].threshold == 0.4


def test_a_redeclaration_that_changes_nothing_counts_nothing_again() -> None:
    write(LOANS, APPROVED)
    for _ in range(2):
        session = ff.init()
        for i in range(4):
            ff.log("decide", key=i, score=0.9)
            ff.log("outcomes", key=i, repaid=i % 2 == 0)
        assert ff.metric("approved", "accuracy").value.value == 0.5
        session.close()
    with opened() as store:
        before = store.reader.recall(catalogue.cursors)
        assert before
        ff.init().flush()
        store.writer.collect()
        assert store.reader.recall(catalogue.cursors) == before


def test_a_section_that_is_removed_withdraws_nothing_and_a_withdrawn_objective_comes_back_with_its_section(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill("loans")
    write(LOANS, APPROVED, GOOD)
    serve()
    declared()
    write(LOANS)
    serve()
    assert [list(found) for found in declared()] == [["approved"], ["good"]]
    code, out, _ = run(capsys, None, "objectives", "--remove", "good")
    assert (code, "fourfold.toml" in out, declared()[1]) == (0, False, {})
    write(LOANS, APPROVED, GOOD)
    assert serve() == 1
    assert list(declared()[1]) == ["good"]
    code, out, _ = run(capsys, None, "objectives", "--remove", "good")
    assert code == 0 and "remove [objective.good] there" in " ".join(out.split())


@pytest.mark.sqlite
def test_a_state_that_is_lost_does_not_let_the_file_undo_what_a_process_declared(tmp_path: Path) -> None:
    write(LOANS, APPROVED, "threshold = 0.3")
    session = ff.init()
    ff.task("approved", **GIVEN, threshold=0.7)
    ff.log("decide", key=1, score=0.9)
    session.flush()
    session.close()
    assert declared()[0]["approved"].threshold == 0.7
    for path in (tmp_path / "store").glob("state.db*"):
        path.unlink()
    assert declared()[0]["approved"].threshold == 0.7
    assert serve() == 0
    assert declared()[0]["approved"].threshold == 0.7


@pytest.mark.parametrize(
    ("chosen", "in_the_file", "known", "for_a_server", "for_others"),
    [
        ("", "", [], "default", None),
        ("", "", ["loans"], "loans", "loans"),
        ("", "", ["default", "loans"], "default", "default"),
        ("", "", ["cards", "loans"], None, None),
        ("", "loans", [], "loans", "loans"),
        ("", "loans", ["cards"], "loans", "loans"),
        ("cards", "loans", ["cards", "loans"], "cards", "cards"),
        ("crads", "loans", ["cards", "loans"], "crads", None),  # a slip of the pen makes no project
    ],
)
def test_what_is_in_the_file_is_for_the_project_that_is_chosen(
    chosen: str, in_the_file: str, known: list[str], for_a_server: str | None, for_others: str | None
) -> None:
    write(f'project = "{in_the_file}"\n' if in_the_file else "", APPROVED)
    settings = config.load(project=chosen or None)
    assert from_file.project_of(settings, known, may_be_new=True) == for_a_server
    assert from_file.project_of(settings, known) == for_others


def test_a_command_without_a_project_declares_for_the_only_one(capsys: pytest.CaptureFixture[str]) -> None:
    fill("loans")
    write(APPROVED)
    command(capsys, "check")
    serve()
    assert list(declared()[0]) == ["approved"]
    with opened() as store:
        assert store.reader.database.recall(catalogue.projects) == ["loans"]


def test_of_several_projects_a_server_says_that_one_must_be_named(caplog: pytest.LogCaptureFixture) -> None:
    fill("cards", "loans")
    write(APPROVED)
    with caplog.at_level(logging.WARNING, "fourfold"):
        assert serve() == 0
    assert "the store holds several: cards, loans" in caplog.text
    assert declared("cards")[0] == declared("loans")[0] == {}


def test_a_misspelt_project_is_still_an_error_and_makes_none(capsys: pytest.CaptureFixture[str]) -> None:
    fill("loans")
    write(APPROVED)
    for name in ("check", "fold"):
        code, _, err = run(capsys, None, name, "--project", "lonas")
        assert code == 2 and "loans" in err
    with opened() as store:
        assert store.reader.database.recall(catalogue.projects) == ["loans"]


@pytest.mark.parametrize("name", ["serve", "fold", "check", "watch", "status"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{APPROVED}kind = 'ternary'", "[task.approved]: kind='ternary' is unknown; give one of binary"),
        (f"{APPROVED}slices = 3", "[task.approved]: slices=3 is not a list"),
        (f"{APPROVED}treshold = 0.3", "[task.approved]: treshold=0.3 is unknown; known are"),
        ("[task.approved]\nprediction = 'score'\nlabel = 'a.b'", "[task.approved]: prediction='score' is not of"),
        ("[objective.good]\ntarget = 'accuracy approved'", "[objective.good]: 'accuracy approved' is no objective"),
        (f"{GOOD}window = 'soon'", "[objective.good]: window='soon' is not a length of time"),
    ],
)
def test_a_wrong_declaration_is_told_at_the_start(
    name: str, text: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(text)
    code, out, err = run(capsys, None, name)
    assert (code, out) == (2, "")
    assert f"fourfold.toml, {says}" in " ".join(err.split())
    assert not (tmp_path / "store").exists()
    with pytest.raises(ConfigError) as same:
        ff.init()
    assert f"fourfold.toml, {says}" in str(same.value)


@pytest.mark.parametrize("name", ["serve", "fold", "check", "watch"])
def test_a_wrong_expression_is_told_at_the_start(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(APPROVED, "slices = [{name = 'many', sql = 'sum(amount)'}]")
    code, out, err = run(capsys, None, name)
    assert (code, out) == (2, "")
    says = "fourfold.toml, [task.approved]: slices: SQL expression 'sum(amount)': sum is an aggregate"
    assert says in " ".join(err.split())
    assert not (tmp_path / "store").exists()
    with pytest.raises(ConfigError) as same:
        ff.init()
    assert says in str(same.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("slices", 3), ("classes", 3), ("cutoffs", 3), ("values", 3), ("values", {"a": 3})],
)
def test_what_is_no_list_and_no_mapping_is_said_to_be_none(field: str, value: object) -> None:
    kind = {"cutoffs": "ranking"}.get(field, "multiclass")
    more = {"query": "q"} if kind == "ranking" else {}
    with pytest.raises(ConfigError, match=field):
        config.make_task("t", **GIVEN, kind=kind, **more, **{field: value})  # type: ignore[arg-type]


def test_a_server_comes_up_where_nothing_can_be_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(LOANS, APPROVED)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "fourfold"):
        patch.setattr(Inbox, "_put", full)
        assert serve() == 0
    assert "No space left on device" in caplog.text
    assert serve() == 1


@pytest.mark.parametrize("kept", [b"", b"\xff", b"3", b'{"task.approved": 3}', b'{"task.approved": "{}"}'])
def test_what_is_kept_of_the_file_and_cannot_be_read_counts_as_nothing(kept: bytes) -> None:
    write(LOANS, APPROVED)
    with opened() as store, store.reader.database.write() as connection:
        memory.save(connection, "loans", "fourfold.toml", kept)
    assert serve() == 1
    assert list(declared()[0]) == ["approved"]
    with opened() as store, store.reader.database.read() as connection:
        assert list(in_file.sections(connection, "loans")) == ["task.approved"]


@pytest.mark.services
def test_a_service_that_sends_json_gets_its_task_from_the_file_beside_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(LOANS, APPROVED, GOOD)
    where = place(tmp_path / "store")
    given = {"FOURFOLD_STATE": where.state} if where.state else {}
    with collector(where.store, environment=given) as (_, address):
        sent = [{"id": i, "score": 0.8 if i % 4 else 0.2} for i in range(8)]
        known = [{"id": i, "repaid": True} for i in range(8)]
        for stream, records in (("decide", sent), ("outcomes", known)):
            answer = httpx.post(f"{address}/v1/streams/{stream}/records?key=id", json=records)
            assert answer.json()["taken"] == 8

        def accuracy() -> float | None:
            asked = {"project": "loans", "metric": "accuracy"}
            shown = httpx.get(f"{address}/api/tasks/approved", params=asked).json()
            found: float | None = shown["data"]["value"]["value"] if "data" in shown else None
            return found

        wait_until(lambda: accuracy() == 0.75)
        home = httpx.get(f"{address}/api/home", params={"project": "loans"}).json()["data"]
        assert [(view["name"], view["status"]) for view in home["objectives"]] == [("good", "met")]
    code, out, _ = run(capsys, None, "metrics", "approved", "accuracy", "--json")
    assert code == 0 and '"value": 0.75' in out
    with collector(where.store, "--no-count", environment=given), opened() as store:
        assert store.writer.waiting() == []  # it has declared nothing anew


@pytest.mark.services
def test_a_server_with_a_wrong_file_does_not_start(tmp_path: Path) -> None:
    write(LOANS, APPROVED, "slices = [{name = 'many', sql = 'sum(amount)'}]")
    command = [sys.executable, "-c", "from fourfold.cli import main; main()", "serve", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert ended.returncode == 2
    assert "fourfold.toml, [task.approved]: slices" in " ".join(ended.stderr.split())
