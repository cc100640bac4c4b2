"""The report in one file, and what notebooks show: whole, without scripts, and with hostile text as text."""

from __future__ import annotations

import html.parser
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fourfold as ff
from fourfold.cli.commands import app
from fourfold.store import Store
from fourfold.views.asking import Asked
from fourfold.views.document import document

HOSTILE = "<script>alert(1)</script>\"' onload=x {a}\u202e"
_VOID = {"meta", "line", "circle", "polyline", "polygon"}


class Reading(html.parser.HTMLParser):
    """What a browser would see of a page: its tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reading:
    """A page that is whole, and in which nothing runs and nothing is fetched."""
    page = Reading(text)
    assert not page.open, page.open
    assert not {"script", "iframe", "img", "link", "a", "form", "object", "embed", "foreignobject"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on") and name not in ("style", "src", "href", "xlink:href"), (name, value)
    return page


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    session = ff.init(str(tmp_path / "store"), "shop")
    ff.task("buys", prediction="predict.score", label="orders.bought", slices=[HOSTILE], horizon="2d")
    ff.objective("right", "accuracy(buys) >= 0.9", window="7d", owner=HOSTILE, runbook="javascript:alert(1)")
    with pytest.raises(ValueError, match="script"), ff.run(HOSTILE):
        raise ValueError(HOSTILE)
    keys = [f"k{i}" for i in range(600)]
    times = [1_700_006_400 + 3_600 * i for i in range(600)]
    groups = [HOSTILE if i % 2 else "plain" for i in range(600)]
    scores = [0.9 if i % 3 else 0.2 for i in range(600)]
    ff.log("predict", {"id": keys, "at": times, "score": scores, HOSTILE: groups}, key="id", time="at")
    ff.log("orders", {"id": keys, "at": times, "bought": [i % 5 > 1 for i in range(600)]}, key="id", time="at")
    ff.flush()
    ff.check()
    session.close()
    return Store(str(tmp_path / "store"), "shop")


def test_a_report_is_one_file_without_scripts_whatever_the_names(filled: Store) -> None:
    text = document(filled.caught_up(), Asked(), time.time())
    page = read(text)
    assert "alert(1)" in page.text and "buys" in page.text and "accuracy(buys) >= 0.9" in page.text
    assert page.tags.count("svg") >= 5 and "default-src 'none'" in text
    filled.close()


def test_a_report_of_an_empty_store_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), "shop")
    assert "nothing has been logged yet" in read(document(store.reader, Asked(), time.time())).text
    store.close()


def test_the_command_writes_the_file(filled: Store, tmp_path: Path) -> None:
    arguments = ["report", "-o", str(tmp_path / "week.html"), "--store", str(filled.folder), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    [row] = json.loads(done.stdout)["rows"]
    assert Path(row["file"]).stat().st_size == row["bytes"]
    read(Path(row["file"]).read_text(encoding="utf-8"))
    wrong = CliRunner().invoke(app, ["report", "-o", str(tmp_path / "no" / "x.html"), "--store", str(filled.folder)])
    assert wrong.exit_code != 0


def test_a_notebook_shows_charts_without_scripts(filled: Store) -> None:
    reader = filled.caught_up()
    over_time = filled.metric("buys", "accuracy", every="1d")
    by_slice = filled.metric("buys", "accuracy", every="1d", by=HOSTILE)
    whole = filled.metric("buys", "accuracy")
    assert read(over_time._repr_html_()).tags.count("svg") == read(by_slice._repr_html_()).tags.count("svg") == 1
    assert "svg" not in read(whole._repr_html_()).tags
    session = ff.init(str(filled.folder), "shop")
    shown = read(ff.status()._repr_html_())
    assert "svg" in shown.tags and "buys" in shown.text
    incidents = [read(incident._repr_html_()) for incident in ff.incidents("all")]
    assert all("svg" in page.tags for page in incidents) and any("alert(1)" in page.text for page in incidents)
    session.close()
    assert reader is filled.reader
    filled.close()
