"""The documentation runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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
def test_the_readmes_example_runs_and_answers() -> None:
    names: dict[str, object] = {}
    exec(compile(code("README.md"), "README.md", "exec"), names)
    assert "recall" in repr(names["answer"])
