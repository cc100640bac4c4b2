"""The commands: what they compute, their JSON, their empty states and their errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fourfold as ff
from fourfold.cli import main
from fourfold.sdk import Session


@pytest.fixture
def filled(session: Session) -> Session:
    @ff.component
    def featurize(df: pd.DataFrame) -> pd.DataFrame:
        return df.assign(z=df.x * 2)

    @ff.component
    def broken() -> None:
        raise ValueError("[red]no such plane[/]")

    featurize(pd.DataFrame({"x": [1.0, None, 3.0], "[bold]name": ["a", "b", "c"]}))
    with pytest.raises(ValueError, match="no such plane"):
        broken()
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["side"])
    for i in range(40):
        ff.log("predict", key=i, score=i / 40, side="[l]" if i % 2 else "r")
        ff.log("arrivals", key=i, late=i > 15)
    ff.log("arrivals", key="unknown", late=True)
    ff.flush()
    return session


def run(capsys: pytest.CaptureFixture[str], session: Session | None, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    where = ["--store", session.settings.store, "--project", "test"] if session is not None else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fourfold", *arguments, *where])
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def rows(capsys: pytest.CaptureFixture[str], session: Session, *arguments: str) -> Any:
    code, out, err = run(capsys, session, *arguments, "--json")
    assert code == 0, err
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["rows"]


def test_status_has_components_tasks_and_problems(filled: Session, capsys: pytest.CaptureFixture[str]) -> None:
    (view,) = rows(capsys, filled, "status")
    assert [c["name"] for c in view["components"]] == ["featurize", "broken"]
    assert view["components"][1]["last"]["status"] == "failed"
    task = view["tasks"][0]
    assert task["values"]["recall"]["n"] == 24
    assert [view["name"] for view in task["by_slice"][0]["slices"]] == ["[l]", "r"]
    assert {p["kind"] for p in view["problems"]} == {"failed_run", "orphan_labels"}


def test_runs_lists_the_newest_first_with_what_they_read_and_wrote(
    filled: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(capsys, filled, "runs")
    assert [r["component"] for r in found] == ["broken", "featurize"]
    assert {a["name"] for a in found[1]["artifacts"]} == {"df", "output"}
    assert [r["component"] for r in rows(capsys, filled, "runs", "featurize")] == ["featurize"]


def test_streams_shows_all_and_one_streams_columns(filled: Session, capsys: pytest.CaptureFixture[str]) -> None:
    found = {r["name"]: r for r in rows(capsys, filled, "streams")}
    assert found["predict"]["rows"] == 40
    assert found["predict"]["logged"]
    assert not found["featurize.output"]["logged"]
    columns = {r["name"]: r for r in rows(capsys, filled, "streams", "featurize.output")}
    assert columns["z"]["values"]["mean"]["value"] == pytest.approx(4.0)
    assert columns["x"]["values"]["nan_rate"]["value"] == pytest.approx(1 / 3)


def test_metrics_answers_what_the_library_answers(filled: Session, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, filled, "metrics", "late", "recall", "--by", "side")
    expected = ff.metric("late", "recall", by="side")
    assert [(r["side"], r["value"], r["status"]) for r in found] == [
        (row.slice["side"], row.value.value, row.value.status.value) for row in expected
    ]
    assert {r["target"] for r in rows(capsys, filled, "metrics")} >= {
        "late",
        "predict",
        "predict.score",
        "featurize.output.z",
    }


def test_doctor_says_what_to_do(filled: Session, capsys: pytest.CaptureFixture[str]) -> None:
    found = {r["kind"]: r for r in rows(capsys, filled, "doctor")}
    assert found["orphan_labels"]["message"] == "1 orphan labels, whose keys were never predicted: 'unknown'"
    assert found["failed_run"]["advice"] == "see fourfold runs broken"


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["runs"], ["streams"], ["streams", "featurize.output"], ["metrics", "late", "recall"],
     ["metrics", "late", "recall", "--by", "side", "--every", "1d"], ["metrics", "late", "calibration_curve"],
     ["metrics", "featurize.z", "wasserstein", "--against", "featurize.output.x"], ["metrics"], ["doctor"],
     ["trace", "7"], ["fold"], ["skew", "predict", "predict"], ["skew", "predict", "predict", "--by-key"]],
    ids=" ".join,
)  # fmt: skip
def test_each_command_is_rendered_and_takes_hostile_text_as_text(
    filled: Session, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    code, out, err = run(capsys, filled, *arguments)
    assert (code, err) == (0, "")
    assert out.strip()
    if "side" in arguments or arguments == ["status"]:
        assert "[l]" in out


@pytest.mark.parametrize("command", ["status", "runs", "metrics", "doctor"])
def test_a_project_with_nothing_but_records_says_how_to_go_on(
    session: Session, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    ff.log("predict", key="a", score=0.5)
    ff.flush()
    code, out, _ = run(capsys, session, command)
    assert code == 0
    assert "fourfold demo" in out or "ff." in out or "All is well" in out or "predict.score" in out


@pytest.mark.parametrize("command", ["status", "runs", "streams", "metrics", "doctor"])
def test_a_store_that_is_not_there_is_not_made_by_asking(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    code, _, err = run(capsys, None, command, "--store", str(tmp_path / "nowhere"))
    assert code == 3
    assert "there is no store at" in err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["metrics", "late", "recal"], "Did you mean 'recall'?"),
        (["metrics", "late"], "which metric of 'late'?"),
        (["metrics", "late", "recall", "--every", "often"], "every='often' is not a length of time"),
        (["metrics", "late", "recall", "--start", "yesterday"], "start='yesterday' is not a moment"),
        (["streams", "predcit"], "Did you mean 'predict'?"),
        (["runs", "featurise"], "Did you mean 'featurize'?"),
    ],
)
def test_misuse_exits_with_2_and_one_line_that_helps(
    filled: Session, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, out, err = run(capsys, filled, *arguments)
    assert (code, out) == (2, "")
    assert says in err.replace("\n", " ")
    assert "Traceback" not in err


def test_an_unknown_command_or_option_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, None, "statsu")[0] == 2
    assert run(capsys, None, "status", "--jsn")[0] == 2


def test_the_demo_does_not_touch_a_store_of_others(filled: Session, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fourfold", "demo", "--store", filled.settings.store])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    assert "not the demo's" in capsys.readouterr().err.replace("\n", " ")
    assert ff.metric("predict", "rows").value.value == 40.0


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "fourfold", "--help"], capture_output=True, text=True, check=True
    )
    assert "Monitor machine-learning pipelines" in done.stdout
