"""What Prometheus scrapes, read by Prometheus's own parsers."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fourfold.counts.binning import Binning, bins_of
from fourfold.counts.entry import Counts
from fourfold.integrations.prometheus import (
    OPENMETRICS,
    Family,
    ObjectiveState,
    Sample,
    Watched,
    boundaries,
    exposition,
    families,
    wants_openmetrics,
)
from fourfold.model import Group, Incident, IncidentState, Severity, Where

NOW = 1_700_000_000.0
HOSTILE = 'a"b\\c\nd{}é,=#'
Parsed = dict[tuple[str, tuple[tuple[str, str], ...]], float]
PARSERS: list[tuple[bool, Callable[[str], Any]]] = [
    (False, parse_text), (True, openmetrics.text_string_to_metric_families),
]  # fmt: skip


def incident(id_: str, severity: Severity, state: IncidentState = IncidentState.OPEN) -> Incident:
    return Incident(id_, state, severity, "t", "k", Group.STATEFUL_CROSS, 0, 0, 0, 0, Where())


def numeric(values: list[float]) -> Counts:
    binning = Binning(1.0, 2.0)
    bins, counts = np.unique(bins_of(np.array(values, float), binning), return_counts=True)
    t = (np.array(values) - 1.0) / 2.0
    tallies = [len(values), 0, 0, 0, 0, 0, 0]
    made = Counts(
        "numeric", tallies, [float(t.sum()), float((t * t).sum())], min(values), max(values), bins, [], counts,
        np.zeros(0, np.int32), binning, "x",
    )  # fmt: skip
    assert made.finite == len(values)
    return made


WATCHED = Watched(
    HOSTILE, NOW,
    [incident("1", Severity.PAGE), incident("2", Severity.PAGE), incident("3", Severity.TICKET, IncidentState.SNOOZED),
     incident("4", Severity.PAGE, IncidentState.RESOLVED)],
    [ObjectiveState("late-recall", '{"carrier": "AA"}', "missed", 0.9, 0.81, -0.5, 14.4),
     ObjectiveState("new", "", "no_data", 0.9, None, None, None)],
    {HOSTILE: NOW - 3600.0}, 2, {("predict", "score"): numeric([-3.0, 0.5, 0.6, 1.0, 9.0])},
)  # fmt: skip


def parsed(text: str, parse: Callable[[str], Any]) -> Parsed:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def read(watched: Watched, *, is_open: bool, parse: Callable[[str], Any]) -> Callable[..., float]:
    found = parsed(exposition(families(watched), openmetrics=is_open), parse)

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted({"project": watched.project, **labels}.items()))]

    return value


@pytest.mark.parametrize(("is_open", "parse"), PARSERS)
def test_the_official_parsers_read_back_what_was_meant(is_open: bool, parse: Callable[[str], Any]) -> None:
    value = read(WATCHED, is_open=is_open, parse=parse)
    assert value("fourfold_check_timestamp_seconds") == NOW
    assert value("fourfold_incidents", severity="page", state="open") == 2
    assert value("fourfold_incidents", severity="ticket", state="snoozed") == 1
    assert value("fourfold_incidents", severity="notice", state="open") == 0
    assert value("fourfold_notices_waiting") == 2
    assert value("fourfold_stream_newest_timestamp_seconds", stream=HOSTILE) == NOW - 3600
    place = {"objective": "late-recall", "slice": '{"carrier": "AA"}'}
    assert value("fourfold_objective_value", **place) == 0.81
    assert value("fourfold_objective_target", **place) == 0.9
    assert value("fourfold_objective_budget_remaining_ratio", **place) == -0.5
    assert value("fourfold_objective_burn_rate", **place) == 14.4
    assert value("fourfold_objective_status", **place, status="missed") == 1


def test_what_is_not_known_is_no_sample() -> None:
    found = parsed(exposition(families(WATCHED), openmetrics=True), openmetrics.text_string_to_metric_families)
    assert [
        labels for name, labels in found if name == "fourfold_objective_value" and ("objective", "new") in labels
    ] == []


@pytest.mark.parametrize(("is_open", "parse"), PARSERS)
def test_a_histogram_counts_the_values_up_to_each_power_of_two(is_open: bool, parse: Callable[[str], Any]) -> None:
    value = read(WATCHED, is_open=is_open, parse=parse)
    column = {"stream": "predict", "column": "score"}
    for bound, number in {"-4.0": 0, "-2.0": 1, "0.0": 1, "0.5": 2, "1.0": 4, "8.0": 4, "16.0": 5, "+Inf": 5}.items():
        assert value("fourfold_column_value_bucket", **column, le=bound) == number, bound
    if not is_open:  # which has no sum beside negative buckets
        assert value("fourfold_column_value_count", **column) == 5
        assert value("fourfold_column_value_sum", **column) == pytest.approx(8.1)


@pytest.mark.parametrize(("is_open", "parse"), PARSERS)
def test_a_histogram_of_values_above_zero_has_a_sum(is_open: bool, parse: Callable[[str], Any]) -> None:
    watched = dataclasses.replace(WATCHED, histograms={("predict", "score"): numeric([0.5, 9.0])})
    value = read(watched, is_open=is_open, parse=parse)
    assert value("fourfold_column_value_count", stream="predict", column="score") == 2
    assert value("fourfold_column_value_sum", stream="predict", column="score") == pytest.approx(9.5)


def test_a_column_without_finite_values_has_an_empty_histogram() -> None:
    empty = dataclasses.replace(
        numeric([1.0]), tallies=[3, 3, 0, 0, 0, 0, 0], sums=[0.0, 0.0], low=math.nan, high=math.nan,
        bins=np.zeros(0, np.int64), counts=np.zeros(0, np.int64),
    )  # fmt: skip
    watched = dataclasses.replace(WATCHED, histograms={("predict", "score"): empty})
    value = read(watched, is_open=True, parse=openmetrics.text_string_to_metric_families)
    assert value("fourfold_column_value_bucket", stream="predict", column="score", le="+Inf") == 0
    assert value("fourfold_column_value_sum", stream="predict", column="score") == 0


@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=30))
def test_any_column_makes_a_valid_histogram(values: list[float]) -> None:
    watched = dataclasses.replace(WATCHED, histograms={("s", "c"): numeric(values)})
    text = exposition([f for f in families(watched) if f.kind == "histogram"], openmetrics=False)
    (family,) = parse_text(text)
    numbers = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
    assert numbers == sorted(numbers)
    assert numbers[-1] == len(values)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_boundaries_are_few_ascending_and_around_all_values(values: list[float]) -> None:
    found = boundaries(values)
    assert found == sorted(set(found))
    assert len(found) <= 70
    if values and max(values) < 2.0**1023:
        assert max(values) <= found[-1]
    assert all(bound == 0 or math.frexp(abs(bound))[0] == 0.5 for bound in found)


@given(st.text(), st.floats())
def test_any_label_and_any_number_come_back(text: str, number: float) -> None:
    family = Family("a", "gauge", text, [Sample({"b": text}, number)])
    for is_open, parse in PARSERS:
        (sample,) = next(iter(parse(exposition([family], openmetrics=is_open)))).samples
        assert sample.labels["b"] == text.encode("utf-8", "replace").decode()
        assert sample.value == number or math.isnan(number)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False), ("*/*", False), ("text/html,*/*;q=0.8", False), ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; q=0.75, text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=abc", False),
    ],
)  # fmt: skip
def test_the_format_is_the_one_that_is_asked_for(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected
    assert "openmetrics" in OPENMETRICS


def test_each_metric_is_in_the_docs() -> None:
    text = (Path(__file__).parent.parent / "docs" / "notifications.md").read_text(encoding="utf-8")
    for family in families(WATCHED):
        assert f"`{family.name}`" in text or f"`{family.name.replace('fourfold_objective', '')}`" in text, family.name


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((Path(__file__).parent.parent / "examples" / "serve" / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [one["definition"] for one in dashboard["templating"]["list"] if "definition" in one]
    asked = {name for query in queries for name in re.findall(r"fourfold_\w+", query)}
    assert asked and asked <= {family.name for family in families(WATCHED)}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
