"""Settings and declarations: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fourfold as ff
from fourfold import config
from fourfold.model import DAY


def test_arguments_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "fourfold.toml"
    file.write_text('store = "from-file"\nproject = "from-file"\n')
    environment = {"FOURFOLD_STORE": "from-environment"}
    assert config.load(environment={}, file=tmp_path / "none") == config.Settings(".fourfold", "default")
    assert config.load(environment={}, file=file).store == "from-file"
    assert config.load(environment=environment, file=file).store == "from-environment"
    found = config.load("given", environment=environment, file=file)
    assert (found.store, found.project) == ("given", "from-file")


def test_tasks_can_be_declared_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "fourfold.toml").write_text(
        '[task.late]\nprediction = "predict.score"\nlabel = "arrivals.late"\nslices = ["carrier"]\nhorizon = "12h"\n'
    )
    (task,) = config.load(environment={}).tasks
    assert (task.name, task.prediction.stream, task.label.column) == ("late", "predict", "late")
    assert [dimension.names for dimension in task.slices] == [("carrier",)]
    assert task.horizon == DAY // 2
    session = ff.init(tmp_path / "store")
    ff.log("predict", key="a", score=0.9, carrier="AA")
    ff.log("arrivals", key="a", late=True)
    assert ff.metric("late", "recall", by="carrier")[0].value.value == 1.0
    session.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("store = ", "not valid TOML"),
        ("stoer = 'x'", "unknown setting 'stoer'"),
        ("[task.late]\nprediction = 'a.b'", "needs prediction and label"),
        ("[task.late]\nprediction = 'a.b'\nlabel = 'a.c'\nkind = 'ternary'", "kind='ternary' is not known"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "fourfold.toml"
    file.write_text(text)
    with pytest.raises(ff.ConfigError, match=says):
        config.load(environment={}, file=file)


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("", {}, "give a name"),
        ("a.b", {}, "has no dot"),
        ("t", {"prediction": "score"}, "prediction='score' is not of the form 'stream.column'"),
        ("t", {"label": 3}, "label=3 is not of the form"),
        ("t", {"kind": "clustering"}, "kind='clustering' is not known"),
        ("t", {"threshold": "high"}, "threshold='high' is not a finite number"),
        ("t", {"threshold": float("nan")}, "threshold=nan"),
        ("t", {"slices": "carrier"}, r"give a list of columns, as in \['carrier'\]"),
        ("t", {"horizon": "a month"}, "horizon='a month' is not a length of time"),
        ("t", {"horizon": 30}, "horizon=30 is not a length of time"),
    ],
)
def test_a_wrong_task_is_refused_with_field_value_and_what_to_do(name: str, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ff.ConfigError, match=says):
        ff.task(name, **{"prediction": "predict.score", "label": "arrivals.late", **changed})
