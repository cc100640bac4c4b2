"""The documentation runs."""

from __future__ import annotations

import inspect
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import fourfold as ff
from fourfold.sdk import session as session_module

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
