"""Whatever a store was given, of messages, values, names, expressions and damage: it answers for all else."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import fourfold as ff
from fourfold.errors import FourfoldError
from fourfold.log import Inbox
from fourfold.reports.doctor import examine
from fourfold.sdk import Session
from tests import damage
from tests.support import SLOWER
from tests.test_any_value import ODD

ALL = damage.BATCHES * damage.EACH
STREAMS = [5, None, "", "_delta_log", "a\ud800", ["a"], "..", "\x00", "x" * 500, "a/b", "good.v", "GOOD", "%2e"]
HEADERS: list[Any] = [
    [], {}, {"format": 1}, {"format": 1, "kind": "records"}, {"format": 9, "kind": "records"},
    {"format": 1, "kind": "incident", "project": "test"}, {"format": "x", "kind": "run", "project": "test", "run": {}},
    {"format": 1, "kind": "records", "project": 5, "stream": "good"},
    {"format": 1, "kind": "records", "project": "test", "stream": "hit\ud800", "key": None, "time": None},
    {"format": 1, "kind": "task", "project": "test", "task": '{"name": "late", "from_the_future": 1}'},
    {"format": 1, "kind": "run", "project": "test", "run": {"id": "x", "component": "c", "status": "odd"}},
    {"format": 1, "kind": "counts", "project": "test", "stream": "hit", "started": "then", "binnings": [], "small": 5},
    {"format": 1, "kind": "rejected", "project": "test", "stream": "hit", "reason": ""},
]  # fmt: skip
EXPRESSIONS = [
    "clicks // 0", "CAST(9e18 AS BIGINT) * clicks", "regexp_matches(name, '(')", "name::INTEGER", "error('x')",
    "nope(1)", "1) UNION SELECT (2", "(SELECT 1)", "x", "strptime(name, '%d')", "name[99999999]", "\ud800", "'",
    "1); DROP TABLE x; (1",
]  # fmt: skip
NAMES = ["\ud800", "a/b", "x" * 500, "'; DROP TABLE task; --", "t", "..", "\x00"]
# what strikes one stream only, or nothing but itself
DAMAGE = [
    kind for kind in damage.KINDS
    if kind.split()[-1] in ("bad", "file", "commit", "commits", "checkpoint", "hint", "message", "note", "declarations")
]  # fmt: skip

Assault = tuple[str, Any]
values, names = st.sampled_from(ODD), st.sampled_from(NAMES)
assaults: st.SearchStrategy[Assault] = st.one_of(
    *(st.tuples(st.just(place), values) for place in ("value", "key", "time", "name", "frame", "argument", "label")),
    st.tuples(st.just("stream"), st.sampled_from(STREAMS)),
    st.tuples(st.just("message"), st.sampled_from(HEADERS)),
    st.tuples(st.just("expression"), st.sampled_from(EXPRESSIONS)),
    st.tuples(st.just("task"), names),
    st.tuples(st.just("damage"), st.sampled_from(DAMAGE)),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the streams "bad", "good" and "labels", and a sound task on the latter two."""
    folder = tmp_path_factory.mktemp("anything") / "store"
    damage.build(folder)
    session = ff.init(folder, "test")
    ff.task("sound", prediction="good.v", label="labels.y", threshold=2.0)
    assert ff.metric("sound", "accuracy").value.n == ALL
    session.close()
    return folder


def _strike(session: Session, assault: Assault, number: int) -> None:
    """Do it as a user would; only set-up may raise, and only our own errors."""
    place, odd = assault
    hits: dict[str, Callable[[], object]] = {
        "value": lambda: ff.log("hit", key=str(number), v=odd),
        "key": lambda: ff.log("hit", key=odd, v=1.0),
        "time": lambda: ff.log("hit", key=str(number), time=odd, v=1.0),
        "name": lambda: ff.log("hit", {str(odd): 1.0} if isinstance(odd, str) else {odd: 1.0}),
        "frame": lambda: ff.log("hit", pd.DataFrame({"id": [number], "v": pd.Series([odd], dtype=object)}), key="id"),
        "label": lambda: ff.log("hits", key=str(number), y=odd),
        "stream": lambda: ff.log(odd, key=str(number), v=1.0),
        "argument": lambda: _component(odd),
        "message": lambda: _put(session, odd, number),
        "expression": lambda: _declare(f"e{number}", slices=[{"name": "s", "sql": odd}]),
        "task": lambda: _declare(odd),
        "damage": lambda: _damage(session, odd),
    }
    try:
        hits[place]()
    except TypeError:  # Python's own: a name that is no name of a field, a value that cannot be a dict's key
        assert place == "name"


@ff.component
def _component(value: Any) -> Any:
    return value


def _put(session: Session, header: Any, number: int) -> None:
    with mock.patch("fourfold.log.wire.json.dumps", return_value=json.dumps(header)):
        Inbox(Path(session.settings.store) / "inbox").put("odd", number + 1, {}, pa.table({"x": [1]}))


def _declare(name: str, **more: Any) -> None:
    with contextlib.suppress(FourfoldError):
        ff.task(name, prediction="hit.v", label="hits.y", **more)


def _damage(session: Session, kind: str) -> None:
    with contextlib.suppress(OSError, IndexError, ValueError, DeltaError):  # what it damages is gone already
        damage.KINDS[kind][0](Path(session.settings.store))


@settings(SLOWER, phases=[Phase.reuse, Phase.generate])  # a failure is shown as it was found: shrinking takes long
@given(st.lists(assaults, min_size=1, max_size=6))
def test_a_store_that_was_given_anything_answers_for_all_else(template: Path, several: list[Assault]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(template, Path(place) / "store"))
        session = ff.init(folder, "test")
        for number, assault in enumerate(several):
            _strike(session, assault, number)
            ff.log("good", key=f"new-{number}", v=3.0)
            ff.log("labels", key=f"new-{number}", y=1)
            if number % 2:
                assert ff.metric("good", "rows").value.value == ALL + number + 1
        more = len(several)
        for _ in range(2):
            assert ff.metric("good", "rows").value.value == ALL + more
            accuracy = ff.metric("sound", "accuracy").value
            assert (accuracy.n, accuracy.reason) == (ALL + more, "")
            assert accuracy.value == pytest.approx((6 + more) / (ALL + more))
        for target, name in (
            ("bad", "rows"),
            ("task", "recall"),
            ("hit", "rows"),
            ("e0", "predictions"),
            ("t", "recall"),
        ):
            with contextlib.suppress(FourfoldError):
                ff.metric(target, name)
        session.close()
        for problem in examine(folder, "test"):
            assert problem.message and problem.advice
