"""Incidents as users see and judge them: the table, the command, and how good the alarms were."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fourfold.charts import Line
from fourfold.cli import main
from fourfold.errors import InputError, UnknownNameError
from fourfold.model import DAY, Artifact, Finding, Group, Incident, IncidentState, Run, RunStatus, Severity, Where
from fourfold.state import incidents as kept
from fourfold.state import notices, runs
from fourfold.store import Store
from fourfold.views.asking import Asked
from fourfold.views.incident import page
from fourfold.watch.incidents import Action, action_of, decide, feedback, incident, incidents, record
from fourfold.watch.lifecycle import PASSED, IllegalEventError
from fourfold.watch.notify.outbox import enqueue
from tests.support import START, Sender
from tests.test_notify import HOSTILE, Recorder

S = IncidentState
NOW = float(START)


def finding(series: str = "predict.age/null_rate", **changes: object) -> Finding:
    where = Where(component="score", stream="predict", column="age", slice='{"carrier": "AA"}')
    made = Finding(
        series, "null_rate", "37 % null", Group.STATEFUL_SINGLE, Severity.TICKET, where, NOW, NOW - DAY, NOW + DAY,
        NOW + DAY, 0.37, 0.01, 0.0, 0.02, 500, advice="see fourfold streams predict",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def an_incident(id_: str, state: IncidentState = S.OPEN, **changes: object) -> Incident:
    made = Incident(
        id_, state, Severity.TICKET, "predict.age is null", "null_rate", Group.STATEFUL_SINGLE, NOW, NOW - DAY,
        NOW + DAY, NOW + DAY, finding().where, None if state.is_active else NOW + 2 * DAY, ("late-recall",),
        (finding(),), "team-a", "https://wiki/age",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def save(store: Store, *found: Incident) -> None:
    with store.reader.database.write() as connection:
        for each in found:
            kept.save(connection, store.project, each)


def ran(store: Store, component: str, *artifacts: Artifact) -> None:
    with store.reader.database.write() as connection:
        runs.save(connection, store.project, Run(component, component, RunStatus.SUCCEEDED, NOW, artifacts=artifacts))


@pytest.fixture
def filled(store: Store) -> Store:
    Sender(store).records("predict", [{"key": "1", "time": NOW, "log_time": NOW, "age": 1.0}])
    store.caught_up()
    page = an_incident("3", severity=Severity.PAGE, title=HOSTILE)
    save(store, an_incident("1", S.RESOLVED), an_incident("2"), page)
    return store


def test_the_most_urgent_incident_comes_first(filled: Store) -> None:
    assert [each.id for each in incidents(filled.reader, active=True)] == ["3", "2"]
    assert [each.id for each in incidents(filled.reader, active=False)] == ["3", "2", "1"]


def test_incidents_are_a_table_with_the_columns_that_programs_rely_on(filled: Store) -> None:
    table = incidents(filled.reader, active=False)
    assert table.to_arrow().column_names == [
        "id", "state", "severity", "title", "kind", "group", "began", "began_low", "began_high", "opened", "resolved",
        "where", "objectives", "findings",
    ]  # fmt: skip
    row = table.to_dicts()[1]
    assert row["began"].timestamp() == NOW
    assert (row["where"], row["findings"], row["objectives"]) == (
        "predict.age (carrier=AA)",
        "37 % null",
        "late-recall",
    )
    assert "<!channel>" not in table._repr_html_()


@pytest.mark.parametrize("id_", ["2", "#2", " 2 "])
def test_an_incident_is_found_by_its_number(filled: Store, id_: str) -> None:
    assert incident(filled.reader, id_).id == "2"


@pytest.mark.parametrize("id_", ["9", "", "two", "2; drop table incident"])
def test_an_unknown_number_lists_the_known_ones(filled: Store, id_: str) -> None:
    with pytest.raises(UnknownNameError, match="Known: 1, 2, 3"):
        incident(filled.reader, id_)
    with pytest.raises(UnknownNameError, match="Known: 1, 2, 3"):
        decide(filled.reader.database, "test", id_, Action.CONFIRM, "", NOW)


def test_a_decision_is_kept_and_told(filled: Store) -> None:
    ops, database = Recorder(), filled.reader.database
    with database.write() as connection:
        enqueue(connection, "test", None, an_incident("2"), [ops], NOW)
    found = decide(database, "test", "2", Action.DISMISS, "a holiday", NOW + 1, channels=[ops])
    assert (found.state, found.reason, found.resolved) == (S.DISMISSED, "a holiday", NOW + 1)
    assert incident(filled.reader, "2") == found
    with database.read() as connection:
        assert [notice.event for notice in notices.of_incident(connection, "test", "2")] == ["opened", "resolved"]


def test_a_snooze_lasts_a_day_unless_told_otherwise(filled: Store) -> None:
    database = filled.reader.database
    assert decide(database, "test", "2", Action.SNOOZE, "", NOW).until == NOW + DAY
    assert decide(database, "test", "2", Action.SNOOZE, "", NOW, until=NOW + 60).until == NOW + 60


def test_a_decision_that_means_nothing_changes_nothing(filled: Store) -> None:
    with pytest.raises(IllegalEventError, match="incident 1 is resolved"):
        decide(filled.reader.database, "test", "1", Action.ACKNOWLEDGE, "", NOW)
    assert incident(filled.reader, "1") == an_incident("1", S.RESOLVED)


def test_what_users_dismiss_teaches_until_they_confirm(store: Store) -> None:
    other = (finding("predict.rows"),)
    save(
        store,
        an_incident("1", S.DISMISSED),
        an_incident("2", S.DISMISSED, opened=NOW + 2 * DAY, findings=(finding(), *other)),
        an_incident("3", S.RESOLVED, opened=NOW + 3 * DAY),
    )
    assert feedback(store.reader) == {"predict.age/null_rate": 2, "predict.rows": 1}
    save(store, an_incident("4", S.RESOLVED, opened=NOW + 4 * DAY, confirmed=True))
    assert feedback(store.reader) == {"predict.rows": 1}


def test_the_record_counts_what_people_were_told(store: Store) -> None:
    known = [
        an_incident("1", S.RESOLVED, confirmed=True),
        an_incident("2", S.DISMISSED, opened=NOW + 3 * DAY),
        an_incident("3", confirmed=True, opened=NOW + 2 * DAY),
        an_incident("4"),
        an_incident("5", S.PENDING),
        an_incident("6", S.RESOLVED, reason=PASSED),
    ]
    found = record(known, 14 * DAY)
    assert (found.told, found.confirmed, found.dismissed) == (4, 2, 1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.weekly == 2
    assert found.delay == 1.5 * DAY
    assert record([], 0.0) == dataclasses.replace(found, told=0, confirmed=0, dismissed=0, weekly=None, delay=None)
    assert record([], 0.0).precision is None


# the page -----------------------------------------------------------------------------------------------------------


def test_findings_are_in_the_order_in_which_they_began_then_along_the_lineage_the_strongest_first(
    filled: Store,
) -> None:
    ran(filled, "score", Artifact("output", "output", "frame", "f"))
    ran(filled, "report", Artifact("scores", "input", "frame", "f"))
    score, report = Where("score", "predict", "age"), Where("report", "report.output", "age")
    found = [
        finding("blurred", where=score, began_low=NOW - 2 * DAY, weight=2.0),
        finding("the next day", where=score, began=NOW + DAY, began_low=NOW - 3 * DAY, weight=90.0),
        finding("downstream", where=report, began_low=NOW - DAY, weight=50.0),
        finding("sure", where=score, began_low=NOW, weight=9.0),
    ]
    save(filled, an_incident("2", findings=tuple(found)))
    shown = page(filled.reader, Asked.of([("id", "2")]), NOW).data["findings"]
    assert [row["series"] for row in shown] == ["sure", "blurred", "downstream", "the next day"]


def test_where_it_began_is_always_drawn_and_what_is_not_drawn_says_why(filled: Store) -> None:
    where = Where(stream="predict", column="age")
    root = finding("constraint:predict.age:max", kind="out_of_range", where=where, began=NOW + DAY, high=0.5, low=None)
    others = [finding(f"gone {i}", weight=float(i)) for i in range(30)]
    late = finding("run:score:failed_run", kind="failed_run", where=Where("score"), began=NOW + DAY, weight=0.0)
    save(filled, an_incident("2", findings=(root, *others, late)))
    shown = page(filled.reader, Asked.of([("id", "2")]), NOW)
    first, *_, last, run = shown.data["findings"]
    assert (last["series"], last["undrawn"], run["series"]) == (root.series, None, late.series)
    line = shown.charts[last["chart"]]
    assert isinstance(line, Line)
    (limit,) = line.limits
    assert limit.value == 0.5 and 1.0 in line.curves[0].values
    assert first["chart"] is None and first["undrawn"] == "no series is kept of it"
    assert run["undrawn"] == "only the first 24 are drawn"
    save(filled, an_incident("2", findings=(late,)))
    (run,) = page(filled.reader, Asked.of([("id", "2")]), NOW).data["findings"]
    assert run["undrawn"] == "it is about runs"


@pytest.mark.parametrize(
    ("kind", "low", "metric"),
    [("negative_values", 0.0, "min"), ("out_of_range", 0.0, "min"), ("nulls", None, "null_rate"),
     ("wrong_type", None, "null_rate")],
)  # fmt: skip
def test_what_violates_a_constraint_is_drawn_with_its_limit(
    filled: Store, kind: str, low: float | None, metric: str
) -> None:
    where = Where(stream="predict", column="age")
    save(filled, an_incident("2", findings=(finding("constraint", kind=kind, where=where, low=low, high=None),)))
    (drawn,) = (each for name, each in page(filled.reader, Asked.of([("id", "2")]), NOW).charts.items() if ":" in name)
    assert isinstance(drawn, Line)
    assert (drawn.curves[0].name, [limit.value for limit in drawn.limits]) == (metric, [] if low is None else [low])


# the command --------------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], store: Store, *arguments: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fourfold", *arguments, "--store", str(store.folder), "--project", "test"])
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def rows(capsys: pytest.CaptureFixture[str], store: Store, *arguments: str) -> Any:
    code, out, err = run(capsys, store, *arguments, "--json")
    assert code == 0, err
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["rows"]


def test_the_command_gives_rows_for_programs(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = rows(capsys, filled, "incidents")
    assert second == {
        "id": "2", "state": "open", "severity": "ticket", "title": "predict.age is null", "kind": "null_rate",
        "group": "stateful, single-component", "began": "2023-11-15T00:00:00Z", "began_low": "2023-11-14T00:00:00Z",
        "began_high": "2023-11-16T00:00:00Z", "opened": "2023-11-16T00:00:00Z", "resolved": None,
        "where": {
            "component": "score", "stream": "predict", "column": "age", "task": "", "slice": {"carrier": "AA"},
            "objective": "",
        },
        "objectives": ["late-recall"],
        "findings": [
            {
                "series": "predict.age/null_rate", "what": "37 % null", "value": 0.37, "expected": 0.01, "low": 0.0,
                "high": 0.02, "n": 500, "began": "2023-11-15T00:00:00Z",
            },
        ],
    }  # fmt: skip
    assert first["title"] == HOSTILE
    assert [row["id"] for row in rows(capsys, filled, "incidents", "--all")] == ["3", "2", "1"]
    assert rows(capsys, filled, "incidents", "2") == [second]


def test_a_value_that_json_lacks_is_null(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    save(filled, an_incident("2", findings=(finding(value=float("inf"), low=float("nan")),)))
    (row,) = rows(capsys, filled, "incidents", "2")
    assert (row["findings"][0]["value"], row["findings"][0]["low"]) == (None, None)


def test_the_screen_shows_no_effects_of_hostile_names(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    save(filled, an_incident("3", title=HOSTILE, owner=HOSTILE, reason=HOSTILE, findings=(finding(what=HOSTILE),)))
    for arguments in (["incidents"], ["incidents", "3"]):
        code, out, _ = run(capsys, filled, *arguments)
        assert code == 0
        assert not set("\x1b\r\u202e") & set(out)
    assert "https://wiki/age" in out
    assert "see fourfold streams predict" in out


def test_users_judge_incidents_and_see_how_good_the_alarms_were(
    filled: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = rows(capsys, filled, "incidents", "dismiss", "2", "a", "holiday")
    assert row["state"] == "dismissed"
    assert incident(filled.reader, "2").reason == "a holiday"
    run(capsys, filled, "incidents", "confirm", "#3")
    assert incident(filled.reader, "3").confirmed
    _, out, _ = run(capsys, filled, "incidents", "--all")
    assert "1 of 2 judged were real (50.0 %)" in " ".join(out.split())
    before = time.time()
    run(capsys, filled, "incidents", "snooze", "3", "--for", "2d")
    assert (incident(filled.reader, "3").until or 0) >= before + 2 * DAY


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dismiss"], "dismiss which incident?"),
        (["sing", "2"], "none of confirm, dismiss, acknowledge, snooze"),
        (["acknowledge", "1"], "incident 1 is resolved"),
        (["snooze", "2", "--for", "long"], "--for='long' is not a length of time"),
        (["99"], "no incident '99'. Known: 1, 2, 3."),
    ],
)
def test_a_mistake_says_what_is_possible(
    filled: Store, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, _, err = run(capsys, filled, "incidents", *arguments)
    assert code == 2
    assert says in err


def test_without_incidents_the_command_says_so(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    Sender(store).records("predict", [{"key": "1", "time": NOW, "log_time": NOW, "age": 1.0}])
    store.caught_up()
    code, out, _ = run(capsys, store, "incidents")
    assert (code, out.strip()) == (0, "No incidents so far.")


def test_news_that_have_not_arrived_are_shown(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fourfold.toml").write_text('[watch.notify.ops]\nkind = "slack"\nurl_env = "NOT_SET"\n')
    with filled.reader.database.write() as connection:
        enqueue(connection, "test", None, an_incident("2"), [Recorder()], NOW)
    _, told, _ = run(capsys, filled, "incidents", "dismiss", "2")
    assert "the environment variable NOT_SET is not set" in " ".join(told.split())
    _, out, _ = run(capsys, filled, "incidents")
    assert "ops has not been told of 2 yet, after 1 try" in " ".join(out.split())


def test_an_action_has_a_name() -> None:
    with pytest.raises(InputError, match="'reopen' is no number"):
        action_of("reopen")
