"""What people decide about incidents while a check goes on: nobody waits, and nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold.model import Incident, IncidentState
from fourfold.sdk import Session
from fourfold.state import Database, notices, open_state
from fourfold.state import incidents as kept
from fourfold.state.tables import incident, memory, notice
from fourfold.watch.check import check
from fourfold.watch.incidents import Action, decide
from fourfold.watch.settings import WatchSettings
from tests.services import place
from tests.support import SLOWER
from tests.test_watching import day, log, morning, nulls

S = IncidentState
OPS = WatchSettings(notify={"team": {"kind": "stdout"}})
_KEPT = (incident, memory, notice)


class Scene:
    """A store with one open incident, and new data in which more is wrong; what a check changes can be undone."""

    def __init__(self, session: Session) -> None:
        self.store = session.store
        log(0, 24)
        log(24, 26, nulls)
        ff.log("bills", _bills(0, 26), key="id", time="time")
        ff.flush()
        (self.first,) = check(self.store, OPS, morning(26)).incidents
        log(26, 27, nulls)
        ff.log("bills", _bills(26, 27).assign(sum=-5.0), key="id", time="time")
        ff.flush()
        self.database = self.store.caught_up().database
        with self.database.read() as connection:
            self._rows = {table: [row._asdict() for row in connection.execute(table.select())] for table in _KEPT}
        folder = Path(self.store.folder)
        self.other = open_state(place(folder).state, folder)

    def undo(self) -> None:
        """Bring the incidents, and what the watch remembers, back to how they were."""
        with self.database.write() as connection:
            for table, rows in self._rows.items():
                connection.execute(sa.delete(table))
                if rows:
                    connection.execute(sa.insert(table), rows)

    def decide(self, action: Action) -> Incident:
        """Decide about the incident as another process does."""
        now, until = morning(27) - 60, morning(40)
        return decide(self.other, "test", self.first.id, action, "because", now, until=until)

    def check(self, number: int = 27) -> None:
        """Check on the morning of a day."""
        check(self.store, OPS, morning(number))

    def incidents(self) -> dict[str, Incident]:
        """All incidents, by their numbers."""
        with self.other.read() as connection:
            return {found.id: found for found in kept.load(connection, "test")}

    def news(self) -> list[tuple[str, str]]:
        """What people are told."""
        with self.other.read() as connection:
            return sorted((found.incident, found.event) for found in notices.waiting(connection, "test"))


def _bills(first: int, last: int) -> Any:
    import pandas as pd

    days = [day(number).rename(columns={"age": "sum"})[["id", "time", "sum"]] for number in range(first, last)]
    return pd.concat(days)


@pytest.fixture
def scene(session: Session) -> Iterator[Scene]:
    made = Scene(session)
    yield made
    made.other.close()


@contextlib.contextmanager
def before_statement(database: Database, number: int, act: Callable[[], object]) -> Iterator[list[int]]:
    """Act once, before the statement of this number that is of no writing transaction; gives how many there were."""
    seen, writing = [0], threading.local()
    write = database.system.write

    @contextlib.contextmanager
    def noted() -> Iterator[sa.Connection]:
        if seen[0] < number:  # the last moment before it
            seen[0] = number
            act()
        with write() as connection:
            writing.now = True
            try:
                yield connection
            finally:
                writing.now = False

    def note(*_: Any) -> None:
        if not getattr(writing, "now", False):
            seen[0] += 1
            if seen[0] == number:
                act()

    sa.event.listen(database.engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database.system, "write", noted)
        try:
            yield seen
        finally:
            sa.event.remove(database.engine, "before_cursor_execute", note)


def test_a_decision_at_any_point_of_a_check_is_kept_and_so_is_what_the_check_found(scene: Scene) -> None:
    with before_statement(scene.database, 10_000, lambda: None):
        scene.check()
    found = scene.incidents()
    assert len(found) == 2, "the check has found more"
    everything = {finding.series for each in found.values() for finding in each.findings}

    expected: dict[Action, tuple[dict[str, Incident], list[tuple[str, str]]]] = {}
    for action in Action:
        scene.undo()
        scene.decide(action)
        scene.check()
        expected[action] = scene.incidents(), scene.news()

    @SLOWER
    @given(st.sampled_from(list(Action)), st.integers(1, 80))
    def at_any_point(action: Action, moment: int) -> None:
        scene.undo()
        decided: list[Incident] = []
        with before_statement(scene.database, moment, lambda: decided.append(scene.decide(action))):
            scene.check()
        (made,), now = decided, scene.incidents()
        assert {finding.series for each in now.values() for finding in each.findings} == everything
        if made.state.is_active:
            assert (now, scene.news()) == expected[action]
        else:  # the check knew no more than who ended it, and leaves it to the next one
            assert now in (expected[action][0], {**expected[action][0], made.id: made})
        scene.check(28)
        ended = scene.incidents()[made.id]
        assert ended.state is (S.OPEN if action in (Action.RESOLVE, Action.CONFIRM) else made.state)
        assert ended.confirmed is (action is Action.CONFIRM)

    at_any_point()


@pytest.mark.parametrize("action", Action)
def test_a_decision_in_the_middle_of_a_check_is_not_undone(
    scene: Scene, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Incident] = []
    looked = sys.modules["fourfold.watch.check"]._others

    def meanwhile(*arguments: Any) -> Any:
        made.append(scene.decide(action))
        return looked(*arguments)

    monkeypatch.setattr("fourfold.watch.check._others", meanwhile)
    scene.check()
    now = scene.incidents()
    fields = ("state", "confirmed", "reason", "until", "resolved")
    assert {name: getattr(now["1"], name) for name in fields} == {name: getattr(made[0], name) for name in fields}
    assert {finding.where.stream for finding in now["2"].findings} == {"bills"}
    assert ("1", "reopened") not in scene.news()


HOLDER = """
import sys
from pathlib import Path
from fourfold.state import open_state
with open_state(sys.argv[2], Path(sys.argv[1])).lock("watch"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_nobody_waits_for_a_check_that_stands_still(scene: Scene) -> None:
    folder = Path(scene.store.folder)
    command = [sys.executable, "-c", HOLDER, str(folder), place(folder).state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        deciding = threading.Thread(target=scene.decide, args=(Action.ACKNOWLEDGE,), daemon=True)
        deciding.start()
        deciding.join(20.0)
        assert not deciding.is_alive()
        assert scene.incidents()["1"].state is S.ACKNOWLEDGED
        assert holder.poll() is None


def test_two_who_decide_at_once_are_both_heard(scene: Scene) -> None:
    several = [
        threading.Thread(target=scene.decide, args=(action,)) for action in (Action.CONFIRM, Action.ACKNOWLEDGE) * 3
    ]
    for one in several:
        one.start()
    for one in several:
        one.join()
    now = scene.incidents()["1"]
    assert (now.state, now.confirmed) == (S.ACKNOWLEDGED, True)
    assert dataclasses.replace(now, state=S.OPEN, confirmed=False, reason="", until=None) == scene.first
