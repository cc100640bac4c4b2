"""Settings and declarations: where they come from, and what is said of wrong ones."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold import config
from fourfold.config.tasks import check_task
from fourfold.errors import ConfigError, StoreError
from fourfold.log import messages, store_folder
from fourfold.metrics import parse, register
from fourfold.model import DAY, Place, Task


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
        ("[task.late]\nprediction = 'a.b'\nlabel = 'a.c'\nkind = 'ternary'", "kind='ternary' is unknown"),
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
        ("t", {"kind": "clustering"}, "kind='clustering' is unknown"),
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


LONE = "a\ud800"
GIVEN: dict[str, Any] = {"prediction": "predict.score", "label": "arrivals.late"}


@pytest.mark.parametrize(
    "changed",
    [
        {"prediction": f"{LONE}.x"}, {"label": f"l.{LONE}"}, {"slices": [LONE]},
        {"slices": [{"name": LONE, "sql": "1"}]},
        {"slices": {LONE: "1"}}, {"slices": {"s": LONE}}, {"slices": [{"column": LONE, "buckets": 2}]}, {"slices": [5]},
        {"slices": {5: "1"}}, {"slices": [[b"x"]]}, {"slices": b"x"}, {"version": LONE}, {"version": 5},
        {"kind": "ranking", "query": LONE}, {"kind": "multiclass", "classes": [LONE]},
        {"kind": "multiclass", "values": {LONE: {"a": 1.0}}}, {"kind": "decision", "outcome": f"o.{LONE}"},
        {"kind": "multiclass", "values": {"a": {1: 1.0, "1": 2.0}}},
        {"positive": LONE}, {"positive": "a\0"}, {"positive": ["yes"]}, {"positive": float("nan")},
        {"kind": "regression", "positive": "yes"}, {"values": {"true_positive": float("inf")}},
        {"threshold": float("inf")}, {"threshold": 10**400}, {"threshold": np.bool_(True)},
        {"kind": "ranking", "query": "q", "cutoffs": [0]}, {"kind": "ranking", "query": "q", "cutoffs": [2.5]},
    ],
    ids=ascii,
)  # fmt: skip
def test_what_no_store_can_keep_is_refused_where_it_is_declared(changed: dict[str, Any]) -> None:
    with pytest.raises(ff.ConfigError, match="task 't'"):
        config.make_task("t", **{**GIVEN, **changed})


PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1)
COLUMN = PLAIN | PLAIN.map("a.b.a.b.{}".format)  # of the stream a.b
PART = st.one_of(
    COLUMN,
    st.fixed_dictionaries({"column": COLUMN, "buckets": st.integers(2, 100)}),
    st.fixed_dictionaries({"name": COLUMN, "sql": COLUMN}),
)
OF_KIND: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "binary": {
        "threshold": st.floats(-9, 9), "version": COLUMN, "positive": st.sampled_from(["yes", 1, 2.5, True]),
        "values": st.dictionaries(st.sampled_from(sorted(config.CELLS)), st.floats(-9, 9)),
    },
    "multiclass": {
        "probabilities": COLUMN, "classes": st.lists(COLUMN), "version": COLUMN,
        "values": st.dictionaries(COLUMN, st.dictionaries(COLUMN, st.floats(-9, 9))),
    },
    "multilabel": {"version": COLUMN}, "regression": {"version": COLUMN},
    "ranking": {"cutoffs": st.lists(st.integers(1, 100), min_size=1)},
    "decision": {"threshold": st.floats(-9, 9), "outcome": st.builds("{}.{}".format, PLAIN, PLAIN)},
}  # fmt: skip


@given(st.data(), st.sampled_from(sorted(OF_KIND)))
def test_every_task_that_is_declared_may_also_be_sent(data: st.DataObject, kind: str) -> None:
    distinct = st.lists(
        PART, min_size=1, max_size=3, unique_by=lambda p: p if isinstance(p, str) else min(p.items())[1]
    )
    given_ = {
        "slices": data.draw(st.lists(st.one_of(PART, distinct), max_size=3)),
        "horizon": data.draw(st.sampled_from(["1h", "30d", "999999w"])),
        **data.draw(st.fixed_dictionaries({}, optional=OF_KIND[kind])),
        **({"query": data.draw(COLUMN)} if kind == "ranking" else {}),
    }
    try:
        made = config.make_task(data.draw(PLAIN), prediction="a.b.score", label="l.y", kind=kind, **given_)
    except ff.ConfigError:
        return
    check_task(Task.from_json(made.to_json()))
    assert messages.decode(messages.task("p", made)) == messages.Declared("p", made)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": 5}, "name 5"), ({"name": "a.b"}, "no dot"), ({"kind": "nope"}, "kind='nope'"), ({"kind": []}, "kind=[]"),
    ({"horizon": 10**20}, "horizon=1"), ({"horizon": "30d"}, "horizon='30d'"), ({"horizon": 5}, "horizon=5"),
    ({"horizon": -3600}, "horizon=-3600"), ({"version": 5}, "version=5"), ({"threshold": "0.5"}, "threshold='0.5'"),
    ({"threshold": None}, "threshold=None"), ({"cutoffs": [1]}, "cutoffs="), ({"query": "q"}, "query='predict.q'"),
    ({"prediction": {"stream": 5, "column": "x"}}, "prediction="), ({"label": {"stream": "a", "column": ""}}, "label="),
    ({"slices": [{"parts": [{"name": "c", "buckets": 10**9, "sql": ""}]}]}, "buckets"),
    ({"slices": [{"parts": [{"name": "c", "buckets": 1, "sql": ""}]}]}, "buckets"),
    ({"slices": [{"parts": [{"name": "c", "buckets": 4, "sql": "x"}]}]}, "slices="),
    ({"slices": [{"parts": [{"name": "c"}, {"name": "c"}]}]}, "one twice"), ({"slices": [{"parts": []}]}, "no column"),
    ({"slices": [{"parts": [{"name": f"c{i}"}]} for i in range(1_001)]}, "1,000 are possible"),
    ({"slices": [{"parts": [{"name": f"c{i}"} for i in range(9)]}]}, "8 are possible"),
    ({"slices": [{"parts": [{"name": f"c{i}", "sql": "x"}]} for i in range(101)]}, "100 are possible"),
    ({"values": [["1", "1", "much"]]}, "'much'"), ({"positive": 5}, "positive=5"), ({"classes": ["a"]}, "classes="),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "told"), WRONG, ids=[str(changed)[:40] for changed, _ in WRONG])
def test_a_task_from_elsewhere_is_one_that_can_be_declared(changed: dict[str, Any], told: str) -> None:
    header = messages.task("p", config.make_task("t", **GIVEN))
    header["task"] = json.dumps({**json.loads(header["task"]), **changed})
    with pytest.raises(messages.UnreadableMessageError) as error:
        messages.decode(header)
    assert told in str(error.value)


@pytest.mark.parametrize("name", [LONE, "\ud800", 5, None, b"t", ""], ids=ascii)
def test_a_task_has_a_name_that_can_be_kept(name: Any) -> None:
    with pytest.raises(ff.ConfigError, match="task"):
        config.make_task(name, **GIVEN)


def test_numbers_of_numpy_are_numbers() -> None:
    assert config.make_task("t", **GIVEN, threshold=np.float32(0.25)).threshold == 0.25  # type: ignore[arg-type]
    ranking = config.make_task("t", **GIVEN, kind="ranking", query="q", cutoffs=[np.int64(3)])  # type: ignore[list-item]
    assert ranking.cutoffs == (3,) and Task.from_json(ranking.to_json()) == ranking
    buckets = config.make_task("t", **GIVEN, slices=[{"column": "x", "buckets": np.int64(4)}])
    assert buckets == config.make_task("t", **GIVEN, slices=[{"column": "x", "buckets": 4}])
    assert config.make_task("t", **GIVEN, positive=np.float64(2)).positive == "2"


@pytest.mark.parametrize("threshold", ["1e400", "-1e400", f"1{'0' * 400}", "inf"])
def test_a_metric_has_finite_parameters(threshold: str) -> None:
    with pytest.raises(ff.InputError, match="threshold must be a"):
        parse(f"recall(threshold={threshold})", "task", "binary")


def test_a_mapping_of_names_to_expressions_declares_slices(tmp_path: Path) -> None:
    listed = config.make_task("late", **GIVEN, slices=[{"name": "night", "sql": "hour < 6"}, {"name": "s", "sql": "a"}])
    assert config.make_task("late", **GIVEN, slices={"night": "hour < 6", "s": "a"}) == listed
    (tmp_path / "fourfold.toml").write_text(
        '[task.late]\nprediction = "predict.score"\nlabel = "arrivals.late"\npositive = "yes"\n'
        '[task.late.slices]\nnight = "hour < 6"\ns = "a"\n'
        '[task.second]\nprediction = "predict.score"\nlabel = "arrivals.late"\npositive = 2\nthreshold = 1\n'
    )
    first, second = config.load(environment={}).tasks
    assert first == dataclasses.replace(listed, positive="yes")
    assert (second.positive, second.threshold) == ("2", 1.0)
    session = ff.init(tmp_path / "store")
    for i, (hour, late) in enumerate([(3, "yes"), (9, "no")]):
        ff.log("predict", key=i, score=0.9, hour=hour, a=i)
        ff.log("arrivals", key=i, late=late)
    found = {row.slice["night"]: row.value.value for row in ff.metric("late", "precision", by="night")}
    assert found == {"true": 1.0, "false": 0.0}
    session.close()


def test_a_custom_metric_has_names_that_can_be_kept() -> None:
    for sums in ({LONE: "score"}, {"a": f"score || '{LONE}'"}):
        with pytest.raises(ff.ConfigError, match="metric 'odd'"):
            register("odd", sums=sums, value=lambda sums: 0.0)


def columns_of(session: Any) -> set[str]:
    ff.flush()
    session.store.writer.catch_up()
    return {name for name in session.store.reader.log("s").schema.names if not name.startswith("_ff_")}


def test_names_of_columns_that_are_no_texts_are_taken_by_their_text(tmp_path: Path) -> None:
    several = pd.MultiIndex.from_tuples([("a", "b"), ("a", 0)])
    frames: list[tuple[Any, set[str]]] = [
        (pd.DataFrame({0: [1.0], 1: ["a"], "x": [True]}), {"0", "1", "x"}),
        (pd.DataFrame([[1.0, 2.0]], columns=several), {"('a', 'b')", "('a', 0)"}),
        (pd.DataFrame({b"x": [1.0], None: [2.0], 1.5: [3.0]}), {"x", "None", "1.5"}),
        ({0: [1.0], b"y": [2.0]}, {"0", "y"}),
        ({0: 1.0, b"y": 2.0}, {"0", "y"}),
        ([{0: 1.0, b"y": 2.0}], {"0", "y"}),
        ({"a\ud800": 1.0}, {"a\\ud800"}),
    ]  # fmt: skip
    for i, (data, names) in enumerate(frames):
        session = ff.init(tmp_path / str(i), "test")
        ff.log("s", data)
        assert columns_of(session) == names, (i, session.store.reader.quarantine.entries())
        assert ff.metric("s", "rows").value.value == 1.0
        session.close()


def test_keys_of_bytes_are_the_text_they_hold_in_records_and_frames(tmp_path: Path) -> None:
    session = ff.init(tmp_path / "store", "test")
    ff.log("s", key=b"k1", x=1.0)
    ff.log("s", pd.DataFrame({"id": [b"k2", b"\xff"], "x": [1.0, 2.0]}), key="id")
    ff.log("l", key="k1", y=1)
    for key in ("k1", "k2", "ff"):
        assert ff.trace(key).steps, key
    session.close()


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"engine": "flink"}, "engine 'flink'.*give one of 'duckdb', 'spark'"),
        ({"state": "mysql://me:secret@host/x"}, "state .from .*postgresql://"),
        ({"state": 7}, "state .from .* is 7"),
    ],
)
def test_a_state_or_an_engine_that_is_not_known_is_refused(settings: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ff.ConfigError, match=wrong) as caught:
        config.load(**settings)
    assert "secret" not in str(caught.value)


def test_the_places_of_state_and_engine_come_from_where_the_store_comes_from(tmp_path: Path) -> None:
    (tmp_path / "fourfold.toml").write_text('state = "postgresql://host/a"\nengine = "spark"')
    found = config.load(environment={"FOURFOLD_STATE": "postgresql://host/b"}, file=tmp_path / "fourfold.toml")
    assert found.place == Place(".fourfold", "postgresql://host/b", "spark")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("s3://", "name a bucket, such as 's3://bucket/fourfold'"),
        ("gs:///fourfold", "name a bucket"),
        ("gs://user:sesame@bucket/fourfold", "holds credentials; give them by the environment"),
        ("az://user:sesame@container/fourfold", "holds credentials"),
        (
            "abfss://container@sesame.dfs.core.windows.net/fourfold",
            "its account is given by AZURE_STORAGE_ACCOUNT_NAME",
        ),
        ("s3://bucket/fourfold?secret=sesame", "has options"),
        ("gcs://bucket/fourfold", "a bucket by one of s3://, gs://, abfss://, az://"),
        ("s3://bucket/../other", "without dots alone"),
    ],
)
def test_an_address_of_a_bucket_that_makes_no_sense_is_refused_and_not_repeated(address: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)) as told:
        store_folder(address)
    assert "sesame" not in str(told.value)


@pytest.mark.parametrize("address", ["abfss://container/fourfold", "az://container/fourfold"])
def test_a_container_needs_an_account_and_the_variable_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigError, match="set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or a login"):
        (store_folder(address) / "inbox").exists()


def test_credentials_of_google_that_are_not_there_are_named_with_their_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(StoreError, match="credentials are missing or wrong: check GOOGLE_APPLICATION_CREDENTIALS"):
        (store_folder("gs://bucket/fourfold") / "inbox").exists()
