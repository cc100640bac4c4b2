"""Charts: both renderings hold the same data, and hostile text stays text in both."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourfold.charts import (
    Band,
    Bands,
    Bars,
    Bin,
    Chart,
    Confusion,
    Curve,
    Graph,
    Heat,
    Limit,
    Line,
    Node,
    Pair,
    Reliability,
    Series,
    Span,
    Stretch,
    Timeline,
)  # fmt: skip
from fourfold.charts.graph import layers, ordered
from fourfold.charts.spec import plain
from fourfold.charts.tokens import COLOURS

HOSTILE = [
    "<script>alert(1)</script>", "{a} {b|c} {@x}", '" onload="x', "]]>&<!--", "token:accent", "\u202egnihton\u202c",
    "\x00\x1b[31m\ud800", "x" * 10_000, "${1+1} #{1} \\u003c", "</title><svg onload=x>", "",
]  # fmt: skip
NUMBERS = [0.0, -1.0, 1e308, -1e308, math.nan, math.inf, -math.inf, 5e-324, float(2**70), None]
TIMES = [float(i * 86_400) for i in range(len(NUMBERS))]
_COLOUR_KEYS = {"color", "borderColor", "backgroundColor"}


def charts(text: str, numbers: Sequence[float | None]) -> list[Chart]:
    """One of each kind, in which every text is ``text``."""
    known = [0.0 if n is None or not math.isfinite(n) else n for n in numbers]
    return [
        Line(text, TIMES, [Curve(text, numbers, numbers, numbers), Curve(text + "2", numbers)], "share",
             Band(numbers, numbers, text), [Limit(1e308, text)], [Span(0, 1e18, text)]),
        Bars(text, [Series(text, numbers), Series(text, numbers)], times=TIMES),
        Bars(text, [Series(text, numbers)], labels=[text] * len(numbers), stacked=False),
        Heat(text, [text, text], TIMES, [numbers, numbers], whole=numbers),
        Heat(text, [text, text], TIMES, [numbers, numbers]),
        Bands(text, TIMES, [(0.05, numbers), (0.5, numbers), (0.95, numbers)]),
        Pair(text, [text] * len(known), (text, text), (known, known)),
        Reliability(text, [Bin(n, n, n, n, 3) for n in known]),
        Confusion(text, [text, text], [[3, 0], [1, 2]]),
        Timeline(text, [Stretch(text, n, n, -n) for n in known]),
        Graph(text, [Node(text, text, marks=("worse",)), Node("b", text, "task")], [(text, "b"), ("b", text)]),
    ]  # fmt: skip


def walked(option: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(option, dict):
        for name, value in option.items():
            yield name, value
            yield from walked(value, name)
    elif isinstance(option, list):
        for value in option:
            yield key, value
            yield from walked(value, key)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_never_markup_nor_a_template(text: str) -> None:
    for chart in charts(text, NUMBERS):
        root = ET.fromstring(chart.svg())  # well-formed: nothing has broken out
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "title", "desc", "line", "polyline", "polygon", "circle", "rect", "text"}, chart
        names = {name for element in root.iter() for name in element.attrib}
        assert not any(name.startswith("on") or "href" in name or name == "style" for name in names)
        for name, value in walked(plain(chart)["option"]):
            assert name not in ("formatter", "rich", "renderItem", "extraCssText", "link", "sublink", "image"), chart
            if name in _COLOUR_KEYS and isinstance(value, str):
                assert value.removeprefix("token:") in COLOURS and value.startswith("token:")
            if isinstance(value, str) and value.startswith("image://"):
                raise AssertionError(chart)


def test_options_are_plain_json_without_numbers_that_json_has_not() -> None:
    for chart in charts("x", NUMBERS):
        text = json.dumps(plain(chart), allow_nan=False)
        assert all(abs(value) <= 1e300 for _, value in walked(json.loads(text)) if isinstance(value, float))
        for number in re.findall(r'="(-?[\d.]+(?:e[+-]?\d+)?|nan|inf|-inf)"', chart.svg()):
            assert math.isfinite(float(number))


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=len(TIMES), max_size=len(TIMES)))
def test_any_numbers_can_be_drawn(numbers: list[float | None]) -> None:
    for chart in charts("x", numbers):
        ET.fromstring(chart.svg())
        json.dumps(chart.echarts(), allow_nan=False)
        assert chart.summary


def test_a_line_has_its_interval_and_the_expected_range_as_areas_that_can_be_hidden() -> None:
    line = Line("recall", [0.0, 60.0], [Curve("recall", [0.5, None], [0.4, None], [0.7, None])], "share",
                Band([0.3, 0.3], [0.6, 0.6]), [Limit(0.9, "at least 0.9", "broken")])  # fmt: skip
    series = {one["id"]: one for one in line.echarts()["series"]}
    assert set(series) == {"expected:low", "expected:width", "interval:low", "interval:width", "line:0"}
    assert series["interval:width"]["data"] == [[0, pytest.approx(0.3)], [60_000, None]]
    assert series["line:0"]["markLine"]["data"][0]["yAxis"] == 0.9
    assert "newest 50 %" in line.summary


def test_a_gap_in_the_data_is_a_gap_in_the_picture() -> None:
    line = Line("x", TIMES[:5], [Curve("x", [1.0, 2.0, None, 3.0, 4.0])])
    assert line.svg().count("<polyline") == 2


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_a_graph_has_each_node_once_and_what_feeds_it_comes_before_it(edges: list[tuple[int, int]]) -> None:
    ids = [str(i) for i in range(8)]
    pairs = [(str(a), str(b)) for a, b in edges]
    found = layers(ids, pairs)
    assert sorted(id_ for row in ordered(found, pairs) for id_ in row) == ids
    if all(a < b for a, b in edges):
        assert all(found[a] < found[b] for a, b in pairs)


def test_the_three_marks_look_different() -> None:
    nodes = [Node("a", "a", marks=("changed",)), Node("b", "b", marks=("worse",)), Node("c", "c", marks=("touched",))]
    drawn = Graph("g", nodes, [("a", "b"), ("b", "c")]).echarts()["series"][0]["data"]
    assert len({node["itemStyle"]["borderColor"] for node in drawn}) == 3


def test_a_heat_map_colours_what_surely_differs_from_the_whole_at_that_time() -> None:
    values, low, high = [[0.5, 0.1, 0.9, 0.2, None]], [[0.3, 0.0, 0.8, 0.1, None]], [[0.7, 0.2, 1.0, 0.3, None]]
    chart = Heat("recall", ["AA"], [0.0, 1.0, 2.0, 3.0, 4.0], values, "share", [0.4, 0.4, 0.4, None, 0.4], low, high)
    assert chart.shades == [[0.0, pytest.approx(-0.2), pytest.approx(0.4), 0.0, None]]
    assert list(chart.ends) == pytest.approx([-0.4, 0.4])
    cells = chart.echarts()["series"][0]["data"]
    assert [cell[:3] for cell in cells] == [[0, 0, 0.5], [1, 0, 0.1], [2, 0, 0.9], [3, 0, 0.2]]
    assert chart.echarts()["xAxis"]["data"] == [0, 1_000, 2_000, 3_000, 4_000]  # for the reader's zone
