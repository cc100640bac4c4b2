"""Objectives as OpenSLO v1 documents: what is written is valid, and reads back as it was."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fourfold import config
from fourfold.errors import ConfigError
from fourfold.integrations import openslo
from fourfold.model import Objective

# The published JSON schema of OpenSLO v1 (https://github.com/OpenSLO/OpenSLO, folder schemas/v1 up to the commit
# 525dc60^, Apache-2.0): point this at a folder with its files, and all that is written here is validated against it.
SCHEMAS = os.environ.get("OPENSLO_SCHEMAS", "")
NAME = r"^[a-z0-9][a-z0-9.|\/\\-]*[a-z0-9]*$"
DURATION = r"^[1-9][0-9]*[mhdwMQY]$"
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(str.strip)
RATES = st.tuples(st.sampled_from(["recall", "null_rate", "success_rate"]), st.sampled_from([">=", "<=", ">", "<"]))
WINDOWS = st.sampled_from(["30d", "12h", "36h", "2w", "day", "week", "month", "quarter", "year"])


@st.composite
def objectives(draw: st.DrawFn) -> tuple[Objective, bool]:
    """An objective, and whether it is a rate judged by its events."""
    events = draw(st.booleans())
    if events:
        metric, op = draw(RATES)
        bound, goal = draw(st.integers(0, 1000)) / 1000, None
    else:
        metric, op, bound, goal = draw(
            st.sampled_from([
                ("roc_auc", ">=", 0.7, None), ("mean_absolute_error", "<", 12.5, 0.99),
                ("duration", "<=", 3600.0, 0.99), ("duration", "<=", 5.5, None), ("freshness", "<=", 7200.0, 0.8),
                ("recall(threshold=0.3)", ">=", 0.9, 0.5),
            ])
        )  # fmt: skip
    made = Objective(draw(TEXTS), draw(TEXTS), metric, op, bound)
    by = draw(st.lists(TEXTS, max_size=2, unique=True)) if metric in ("recall", "roc_auc") else []
    return config.make_objective(
        made.name, made.expression, window=draw(WINDOWS), by=by, goal=goal, owner=draw(st.just("") | TEXTS),
        runbook=draw(st.just("") | TEXTS), estimates=draw(st.booleans()), description=draw(st.just("") | TEXTS),
    ), events  # fmt: skip


def check(document: dict[str, Any]) -> None:
    """What the specification asks of an SLO, as far as fourfold writes it."""
    assert (document["apiVersion"], document["kind"]) == ("openslo/v1", "SLO")
    spec = document["spec"]
    names = [document["metadata"]["name"], spec["service"], spec["indicator"]["metadata"]["name"]]
    assert all(re.search(NAME, name) and len(name) <= 255 for name in names)
    assert document["metadata"]["displayName"]
    assert len(spec.get("description", "")) <= 1050
    (kind,) = spec["indicator"]["spec"].keys()
    metric = spec["indicator"]["spec"][kind]
    if kind == "ratioMetric":
        assert {"counter", "total"} < metric.keys()
        assert ("good" in metric) != ("bad" in metric)
    sources = [metric] if kind == "thresholdMetric" else [part for name, part in metric.items() if name != "counter"]
    assert all(isinstance(part["metricSource"]["spec"], dict) for part in sources)
    (window,) = spec["timeWindow"]
    assert re.search(DURATION, window["duration"])
    assert window["isRolling"] != ("calendar" in window)
    if "calendar" in window:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", window["calendar"]["startTime"])
        assert re.search(r"[A-Z][a-zA-Z_]+/[A-Z][a-zA-Z_]+", window["calendar"]["timeZone"])
    (goal,) = spec["objectives"]
    assert 0 <= goal["target"] < 1
    assert ("op" in goal) == ("value" in goal) == (kind == "thresholdMetric")
    assert spec["budgetingMethod"] in ("Occurrences", "Timeslices")
    if spec["budgetingMethod"] == "Timeslices":
        assert 0 < goal["timeSliceTarget"] <= 1
        assert re.search(DURATION, goal["timeSliceWindow"])
    if SCHEMAS:
        validate(document)


def validate(document: dict[str, Any]) -> None:
    """Validate a document against the published schema: its head, and its part for an SLO."""
    import jsonschema
    from referencing import Registry, Resource

    contents = [json.loads(path.read_text()) for path in Path(SCHEMAS).rglob("*.schema.json")]
    registry = Registry().with_resources((content["$id"], Resource.from_contents(content)) for content in contents)
    for part in ("general", "metadata", "slo-spec"):
        schema = {"$ref": f"https://openslo.com/schemas/v1/parts/{part}.schema.json"}
        jsonschema.Draft7Validator(schema, registry=registry).validate(document)


@given(st.lists(objectives(), min_size=1, max_size=4))
def test_what_is_written_is_openslo_and_reads_back_as_it_was(several: list[tuple[Objective, bool]]) -> None:
    text = openslo.dumps(several)
    written = list(yaml.safe_load_all(text))
    for document in written:
        check(document)
    names = [document["metadata"]["name"] for document in written]
    assert len(set(names)) == len(names)
    assert openslo.loads(text) == [objective for objective, _ in several]


def test_a_rate_is_a_ratio_of_events_and_its_bound_the_target() -> None:
    made = config.make_objective("late recall", "recall(late) >= 0.9", by=["carrier"], window="month")
    (document,) = openslo.documents([(made, True)])
    assert document["metadata"] == {"name": "late-recall", "displayName": "late recall"}
    spec = document["spec"]
    assert spec["budgetingMethod"] == "Occurrences"
    assert spec["objectives"][0]["target"] == 0.9
    assert spec["timeWindow"][0]["duration"] == "1M"
    source = spec["indicator"]["spec"]["ratioMetric"]["good"]["metricSource"]
    assert source == {"type": "fourfold", "spec": {"metric": "recall", "target": "late", "by": ["carrier"]}}


def test_a_rate_that_is_to_be_low_counts_the_bad_events() -> None:
    made = config.make_objective("nulls", "null_rate(predict.age) <= 5 %")
    (document,) = openslo.documents([(made, True)])
    assert "bad" in document["spec"]["indicator"]["spec"]["ratioMetric"]
    assert document["spec"]["objectives"][0]["target"] == 0.95


WRITTEN = """
apiVersion: openslo/v1
kind: SLI
metadata: {name: good-recall}
spec:
  ratioMetric:
    counter: false
    good: {metricSource: {type: fourfold, spec: {metric: recall, target: late}}}
    total: {metricSource: {type: fourfold, spec: {metric: recall, target: late}}}
---
apiVersion: openslo/v1
kind: Service
metadata: {name: flights}
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: late-recall}
spec:
  service: flights
  indicatorRef: good-recall
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{targetPercent: 90}]
"""


def test_one_written_by_hand_is_read_with_the_indicator_that_it_refers_to() -> None:
    assert openslo.loads(WRITTEN) == [config.make_objective("late-recall", "recall(late) >= 0.9", window="4w")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("good-recall\n  timeWindow", "other\n  timeWindow", "'other' is no SLI"),
        ("type: fourfold", "type: Prometheus", "'Prometheus'"),
        ("openslo/v1", "openslo/v2alpha", "v2alpha"),
        ("targetPercent: 90", "targetPercent: 100", "100"),
        ("targetPercent: 90", "target: much", "much"),
        ("4w, isRolling: true", "4w, isRolling: false", "timeWindow"),
        ("4w, isRolling: true", "1M, calendar: {startTime: x, timeZone: America/New_York}", "New_York"),
        ("duration: 4w", "duration: 1Y", "1Y"),
        ("metric: recall, ", "", "metric"),
        ("metric: recall", "metric: 'a) >= 1 or (b'", "no objective"),
        ("[{targetPercent: 90}]", "[]", "exactly one"),
        ("indicatorRef: good-recall", "other: 1", "indicator is missing"),
        ("kind: SLO", "kind: [", "no YAML"),
        ("apiVersion: openslo/v1\nkind: SLI", "- 3", "YAML"),
        ("spec:\n  service", "spec: 3\n  service", "YAML"),
        ("metadata: {name: late-recall}", "metadata: 7", "metadata=7"),
        ("target: late}", "target: [1]}", "not a text"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(old: str, new: str, said: str) -> None:
    assert old in WRITTEN
    with pytest.raises(ConfigError) as error:
        openslo.loads(WRITTEN.replace(old, new))
    assert said in str(error.value)


FIELDS = st.sampled_from(["spec", "kind", "indicator", "objectives", "metadata", "ratioMetric", "good", "timeWindow"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
)


@given(ANYTHING)
def test_any_yaml_is_read_or_refused(anything: Any) -> None:
    document = {"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": "a"}, "spec": anything}
    with pytest.raises(ConfigError):
        openslo.loads(yaml.safe_dump(document))
