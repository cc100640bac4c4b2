"""A failure of any call that fourfold makes in the host's process reaches neither the host nor what is logged later.

Each call that fourfold's own code makes, of Python or of C, while a program logs, is found by running the program once
under a profiler; then the program is run once for each of them, and this one raises an error instead.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fourfold as ff
from fourfold.sdk import Session, host, sender, shipping
from tests.collectors import Scripted, scripted

pytestmark = pytest.mark.services

OURS = str(Path(ff.__file__).parent)
PARTS = (f"{OURS}/sdk/", f"{OURS}/log/")  # what runs in the host's process; what it calls of the others fails there
Call = tuple[str, int, str]  # the file and the line that make it, and what is called


class InjectedError(Exception):
    """What is raised instead of a call."""


class Profiler:
    """Notes the calls of all threads, or fails one of them, once."""

    def __init__(self, fails: Call | None = None) -> None:
        self.fails, self.has_failed = fails, False
        self.seen: dict[Call, None] = {}

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if event == "c_call":
            caller, called = frame, getattr(argument, "__qualname__", str(argument))
        elif event == "call" and frame.f_back is not None and frame.f_code is not GUARD:
            caller, called = frame.f_back, frame.f_code.co_qualname
        else:
            return
        if called.endswith((".__exit__", ".release")):  # to give a lock back does not fail
            return
        if event == "call" and frame.f_code.co_filename == __file__:  # the host's own function
            return
        if not caller.f_code.co_filename.startswith(PARTS) or caller.f_code.co_name in ("<module>", *AT_THE_END):
            return
        call = (caller.f_code.co_filename.removeprefix(OURS), caller.f_lineno, called)
        self.seen[call] = None
        if call == self.fails and not self.has_failed:
            self.has_failed = True
            raise InjectedError(call)


GUARD = host.guarded(
    host.Host.warn
).__code__  # the guard around what the host calls: to enter it is the host's own call
AT_THE_END = ("_at_exit", "close", "_finish", "_end_shipping")  # not while it logs


@contextmanager
def profiling(profiler: Profiler) -> Iterator[None]:
    threading.setprofile(profiler)
    sys.setprofile(profiler)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@ff.component
def double(frame: pd.DataFrame, factor: float = 2.0) -> pd.DataFrame:
    return frame * factor


def program() -> None:
    """What a host does."""
    ff.log("predict", key="a", score=0.5, tags=["x"], when=None)
    ff.log("predict", {"id": "b", "score": 0.5}, key="id")
    ff.log("predict", pd.DataFrame({"id": ["c"], "score": [0.5]}), key="id")
    assert double(pd.DataFrame({"x": [1.0, 2.0]}))["x"].tolist() == [2.0, 4.0]
    with ff.run("train", params={"depth": 6}, at=1_700_000_000) as run:
        run.input("file", __file__)
        run.output("x", pd.DataFrame({"x": [1.0]}))
        run.metric("auc", 0.8)
    with pytest.raises(ZeroDivisionError), ff.run("train"):
        raise ZeroDivisionError


@contextmanager
def running(store: str, profiler: Profiler) -> Iterator[Session]:
    threading.setprofile(profiler)  # the threads are those of the session
    session = ff.init(store, "test")
    try:
        with profiling(profiler):
            program()
            session.sender.buffer.wake.set()
            wait_until_sent(session)
        yield session
    finally:
        session.close()


def wait_until_sent(session: Session) -> None:
    """Give the threads time for what was logged."""
    for _ in range(40):
        if not session.sender.buffer.records and not len(session.sender.runs):
            break
        threading.Event().wait(0.01)
    threading.Event().wait(0.03)


@pytest.fixture
def collector() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOURFOLD_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(sender, "SEND_EVERY", 0.02)
    monkeypatch.setattr(shipping, "SOONEST", 0.01)
    monkeypatch.setattr(shipping, "LATEST", 0.05)


@pytest.mark.parametrize("kind", ["folder"])
def test_no_failure_of_a_call_reaches_the_host_or_what_is_logged_later(
    kind: str, collector: Scripted, tmp_path: Path
) -> None:
    store = collector.address if kind == "collector" else str(tmp_path / "store")
    noting = Profiler()
    for _ in range(3):  # the first loads modules
        noting.seen.clear()
        with running(store, noting):
            pass
    assert len(noting.seen) > 100
    wrong: list[str] = []
    for i, call in enumerate(noting.seen):
        failing = Profiler(call)
        try:
            with running(store, failing) as session:
                ff.log("later", key=f"later {i}", score=0.5)
                ff.flush()
                assert session.sender.is_alive()
        except BaseException as error:
            wrong.append(f"{call}: {type(error).__name__}: {error}")
        if kind == "collector" and not wrong and collector.keys()[-1:] != [f"later {i}"]:
            wrong.append(f"{call}: what was logged later has not arrived")
        collector.taken.clear()
    assert not wrong, f"{len(wrong)} of {len(noting.seen)}:\n" + "\n".join(wrong)
