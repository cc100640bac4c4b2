"""The documentation runs."""

from __future__ import annotations

import inspect
import os
import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import fourfold as ff
from fourfold.sdk import session as session_module
from tests.collectors import collector
from tests.test_cli import run

ROOT = Path(__file__).parent.parent


@pytest.fixture
def _closed() -> Iterator[None]:
    yield
    if session_module._session is not None:
        session_module._session.close()


def code(page: str) -> str:
    """All Python of a page, as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL))


@pytest.mark.usefixtures("_closed")
def test_how_it_works_is_as_it_says() -> None:
    exec(compile(code("docs/how-it-works.md"), "how-it-works.md", "exec"), {})


@pytest.mark.usefixtures("_closed")
def test_across_components_is_as_it_says() -> None:
    exec(compile(code("docs/across-components.md"), "across-components.md", "exec"), {})


@pytest.mark.usefixtures("_closed")
def test_objectives_are_as_they_say() -> None:
    exec(compile(code("docs/objectives.md"), "objectives.md", "exec"), {})


@pytest.mark.usefixtures("_closed")
def test_watching_is_as_it_says() -> None:
    exec(compile(code("docs/watching.md"), "watching.md", "exec"), {})


@pytest.mark.usefixtures("_closed")
def test_the_readmes_example_runs_and_answers() -> None:
    names: dict[str, object] = {}
    exec(compile(code("README.md"), "README.md", "exec"), names)
    assert "recall" in repr(names["answer"])


@pytest.mark.services
def test_a_service_of_another_language_gets_a_task_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = (ROOT / "docs" / "collector.md").read_text(encoding="utf-8").partition("## Tasks and objectives")[2]
    declared, typed = re.findall(r"```(?:toml|sh)\n(.*?)```", part, re.DOTALL)[:2]
    (tmp_path / "fourfold.toml").write_text(declared, encoding="utf-8")
    state = {name: os.environ[name] for name in ("FOURFOLD_STATE",) if name in os.environ}
    with collector(tmp_path / ".fourfold", environment=state) as (_, address):
        sent = [line for line in typed.splitlines() if line.startswith("curl ")]
        for line in sent:
            asked = ["sh", "-ec", line.replace("http://127.0.0.1:4404", address)]
            said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            assert said == '{"taken":1,"rejected":[]}'
        assert len(sent) == 2
    command = re.search(r"^fourfold (metrics [^#]*)", typed, re.MULTILINE)
    assert command is not None
    code, out, err = run(capsys, None, *command[1].split())
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[1:]] == [
        line.removeprefix("#").split() for line in typed.splitlines()[-2:]
    ]


def test_the_reference_is_written_from_the_docstrings() -> None:
    reference = runpy.run_path(str(ROOT / "docs" / "reference.py"))
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == reference["text"](), "run: python docs/reference.py"


@pytest.mark.parametrize("name", [name for name in ff.__all__ if inspect.isfunction(getattr(ff, name))])
def test_each_parameter_of_the_api_is_described(name: str) -> None:
    function = getattr(ff, name)
    described = re.findall(r"^    \*{0,2}(\w+): ", inspect.getdoc(function) or "", re.MULTILINE)
    parameters = list(inspect.signature(function).parameters)
    assert [parameter for parameter in parameters if parameter not in described] == []


def test_the_package_shows_its_api_and_no_more() -> None:
    assert dir(ff) == sorted(ff.__all__)
