"""Which project a question is put to, in Python and on the command line, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fourfold as ff
from fourfold import config
from fourfold.model import limits
from fourfold.sdk import session as sdk_session
from fourfold.store import Store
from tests.support import START, Sender
from tests.test_cli import run

ASKS: list[Callable[[], object]] = [
    lambda: ff.metric("p", "rows"), lambda: ff.trace("a"), lambda: ff.skew("p", "p"),
    lambda: ff.discrepancies("p", "p"), lambda: ff.compare({"c": "x"}, {"c": "y"}),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test as a process that has not called ``ff.init`` yet."""
    monkeypatch.setattr(sdk_session, "_session", None)
    yield
    if sdk_session._session is not None:
        sdk_session._session.close()


def fill(*projects: str, folder: str = ".fourfold") -> None:
    for project in projects:
        store = Store(folder, project)
        Sender(store).records("p", [{"key": "a", "time": START, "log_time": START, "v": 1.0}])
        store.close()


def test_the_only_project_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    fill("flights")
    assert ff.metric("p", "rows").value.value == 1.0
    assert len(ff.history("train")) == 0
    code, out, err = run(capsys, None, "metrics", "p", "rows")
    assert (code, err) == (0, "")
    assert "rows, from" in out


def test_of_several_projects_one_must_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    fill("flights", "trains", "default")
    with pytest.raises(ff.UnknownNameError, match=r"default, flights, trains.*ff\.init\(project=\.\.\.\)"):
        ff.metric("p", "rows")
    with pytest.raises(ff.UnknownNameError, match="several projects"):
        ff.history("train")
    code, out, err = run(capsys, None, "status")
    assert (code, out) == (2, "")
    assert "default, flights, trains" in err
    assert "--project" in err
    assert run(capsys, None, "status", "--project", "trains")[0] == 0


def test_what_a_process_logs_without_a_project_is_what_it_then_asks() -> None:
    fill("flights")
    ff.log("q", key="a", v=1)
    assert ff.metric("q", "rows").value.value == 1.0
    assert Path(".fourfold/log/default/q").is_dir()


@pytest.mark.parametrize("command", ["status", "runs", "streams", "metrics", "doctor", "fold"])
def test_a_misspelt_project_is_told_with_the_nearest_and_where_its_name_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    fill("flights")
    code, out, err = run(capsys, None, command, "--project", "flihgts")
    assert (code, out) == (2, "")
    assert "'flihgts' (from --project)" in err
    assert "Did you mean 'flights'?" in err
    monkeypatch.setenv("FOURFOLD_PROJECT", "nope")
    assert "'nope' (from FOURFOLD_PROJECT)" in run(capsys, None, command)[2]
    monkeypatch.delenv("FOURFOLD_PROJECT")
    Path("fourfold.toml").write_text('project = "nope"')
    assert "'nope' (from fourfold.toml)" in run(capsys, None, command)[2]


@pytest.mark.parametrize("ask", ASKS)
def test_a_misspelt_project_is_told_in_python_too(ask: Callable[[], object]) -> None:
    fill("flights")
    ff.init(project="flihgts")
    with pytest.raises(ff.UnknownNameError, match=r"'flihgts' \(from ff\.init\(project=\.\.\.\)\).*mean 'flights'"):
        ask()


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("begin", [lambda: None, ff.init, lambda: ff.init(project="flights")])
def test_asking_where_there_is_no_store_makes_none_and_says_where_it_was_looked_for(
    tmp_path: Path, ask: Callable[[], object], begin: Callable[[], object]
) -> None:
    begin()
    with pytest.raises(
        ff.StoreError, match=r"there is no store at .*ff\.init\(store=\.\.\.\) or FOURFOLD_STORE"
    ) as told:
        ask()
    assert str(tmp_path / ".fourfold") in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_history_before_the_first_run_is_empty_and_makes_no_store(tmp_path: Path) -> None:
    assert len(ff.history("train").last(3)) == 0
    assert ff.history("train").column("age").mean().value is None
    assert list(tmp_path.iterdir()) == []
    fill("flights")
    ff.init(project="new")
    assert len(ff.history("train")) == 0


def test_a_store_in_which_nothing_was_logged_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Store(".fourfold", "any").close()
    for arguments in (["status"], ["doctor", "--project", "flights"]):
        code, _, err = run(capsys, None, *arguments)
        assert code == 2
        assert "nothing has been logged in the store at" in err


def test_a_store_whose_first_records_were_all_put_aside_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    ff.log("p", 5)
    ff.flush()
    code, out, _ = run(capsys, None, "doctor")
    assert code == 0
    assert "quarantine" in out


def test_fold_counts_every_project_where_none_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    fill("flights", "trains")
    assert run(capsys, None, "fold")[0] == 0
    for project in ("flights", "trains"):
        store = Store(config.load(".fourfold").place, project)
        assert not store.writer.pending()
        store.close()


@pytest.mark.parametrize("value", [5, "", " ", "\ud800", b"x", ["a"], "a\0b"])
def test_what_is_no_name_of_a_project_is_refused_by_its_value(tmp_path: Path, value: object) -> None:
    with pytest.raises(ff.ConfigError, match=r"project .*from ff\.init\(project=") as told:
        ff.init(tmp_path / "store", value)  # type: ignore[arg-type]
    assert repr(value) in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [5, "", b"x"])
def test_what_is_no_path_is_refused_by_its_value(value: object) -> None:
    with pytest.raises(ff.ConfigError, match=r"store .*from ff\.init\(store="):
        ff.init(value)  # type: ignore[arg-type]


def test_a_name_of_a_project_has_an_end(tmp_path: Path) -> None:
    assert config.load(tmp_path / "store", "p" * limits.NAME, environment={}).project == "p" * limits.NAME
    with pytest.raises(ff.ConfigError, match="16,385 characters; 16,384 are possible"):
        config.load(tmp_path / "store", "p" * (limits.NAME + 1), environment={})


def test_settings_say_what_named_the_project(tmp_path: Path) -> None:
    file = tmp_path / "fourfold.toml"
    assert config.load(environment={}, file=file).named_by == ""
    file.write_text('project = "a"')
    assert config.load(environment={}, file=file).named_by == "fourfold.toml"
    environment = {"FOURFOLD_PROJECT": "b"}
    assert config.load(environment=environment, file=file).named_by == "FOURFOLD_PROJECT"
    found = config.load(None, "c", option=config.ON_THE_COMMAND_LINE, environment=environment, file=file)
    assert (found.project, found.named_by) == ("c", "--project")


def test_a_store_that_cannot_be_made_is_told_at_set_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ff.StoreError, match="is not a folder"):
        ff.init(tmp_path / "file" / "store")
