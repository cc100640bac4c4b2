"""A pipeline as a graph, in layers from what comes first to what comes last."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fourfold.charts.drawing import Canvas
from fourfold.charts.tokens import token

_WIDE, _TALL, _GAP = 132.0, 34.0, 28.0  # of a node, and between two, in pixels
_ROUNDS = 4  # of ordering each layer by its neighbours
MARKS = ("worse", "changed", "touched")  # the first that a node has gives its colour


@dataclasses.dataclass(frozen=True)
class Node:
    """A part of the pipeline. ``marks``: *changed* here, *worse* here, or *touched*: downstream of one of these."""

    id: str
    name: str
    type: str = "component"
    marks: tuple[str, ...] = ()
    state: str = ""

    @property
    def colour(self) -> str:
        """The colour of its outline."""
        if self.state in ("failed", "lost"):
            return "broken"
        return next((mark for mark in MARKS if mark in self.marks), "muted")


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes, and which feeds which, by their ids."""

    kind: ClassVar[str] = "graph"

    title: str
    nodes: Sequence[Node]
    edges: Sequence[tuple[str, str]]
    unit: str = ""

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        parts = []
        for mark in MARKS:
            names = [node.name for node in self.nodes if mark in node.marks]
            parts += [f"{mark}: {', '.join(names)}"] if names else []
        return f"{self.title}: {len(self.nodes)} parts. {'; '.join(parts) or 'nothing is marked'}"

    def places(self) -> dict[str, tuple[float, float]]:
        """Where the middle of each node lies, in pixels: layers from left to right."""
        found = layers([node.id for node in self.nodes], self.edges)
        rows = ordered(found, self.edges)
        most = max(map(len, rows), default=0)
        return {
            id_: (x * (_WIDE + 2 * _GAP) + _WIDE / 2, (y + (most - len(row)) / 2) * (_TALL + _GAP) + _TALL / 2)
            for x, row in enumerate(rows)
            for y, id_ in enumerate(row)
        }

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts."""
        at = self.places()
        nodes = [
            {
                "id": node.id, "name": node.name, "x": at[node.id][0], "y": at[node.id][1], "type": node.type,
                "marks": list(node.marks), "state": node.state, "symbol": _symbol(node), "symbolSize": [_WIDE, _TALL],
                "itemStyle": {"color": token("surface"), "borderColor": token(node.colour),
                              "borderWidth": 3 if node.colour != "muted" else 1,
                              "borderType": "dashed" if node.colour == "touched" else "solid"},
            }
            for node in self.nodes
        ]  # fmt: skip
        known = {node.id for node in self.nodes}
        links = [{"source": a, "target": b} for a, b in self.edges if a in known and b in known]
        series = {
            "type": "graph", "id": "graph", "name": self.title, "layout": "none", "roam": True, "data": nodes,
            "links": links, "edgeSymbol": ["none", "arrow"], "edgeSymbolSize": 8,
            "lineStyle": {"color": token("muted"), "curveness": 0.1},
            "label": {"show": True, "position": "inside", "color": token("text"), "width": _WIDE - 16,
                      "overflow": "truncate"},
        }  # fmt: skip
        return {"series": [series]}

    def svg(self, width: int = 0, height: int = 0) -> str:
        """As a static picture; it is as large as the graph unless that is given."""
        at = self.places()
        wide = max((x for x, _ in at.values()), default=0.0) + _WIDE / 2 + 8
        tall = max((y for _, y in at.values()), default=0.0) + _TALL / 2 + 32
        canvas = Canvas(width or int(wide), height or int(tall), self.title, self.summary)
        for a, b in self.edges:
            if a in at and b in at:
                (x0, y0), (x1, y1) = at[a], at[b]
                canvas.line(x0 + _WIDE / 2, y0 + 24, x1 - _WIDE / 2, y1 + 24, "muted")
                canvas.dot(x1 - _WIDE / 2, y1 + 24, "muted", 3)
        for node in self.nodes:
            x, y = at[node.id]
            canvas.frame(x - _WIDE / 2, y - _TALL / 2 + 24, _WIDE, _TALL, node.colour, dash=node.colour == "touched")
            canvas.text(x, y + 28, node.name, anchor="middle", longest=20)
        return canvas.svg()


def layers(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The layer of each node: one more than the last of those that feed it; what feeds itself in a circle ends it.

    >>> layers(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    {'a': 0, 'b': 1, 'c': 2}
    """
    ups: dict[str, list[str]] = {id_: [] for id_ in ids}
    downs: dict[str, list[str]] = {id_: [] for id_ in ids}
    for a, b in dict.fromkeys(edges):
        if a in ups and b in ups and a != b:
            ups[b].append(a)
            downs[a].append(b)
    waiting = {id_: len(up) for id_, up in ups.items()}
    found = dict.fromkeys(ids, 0)
    ready, done = [id_ for id_ in ids if not waiting[id_]], set[str]()
    while len(done) < len(found):
        if not ready:  # a circle: begin with the first that is left
            ready.append(next(id_ for id_ in ids if id_ not in done))
        id_ = ready.pop(0)
        if id_ in done:
            continue
        done.add(id_)
        for down in downs[id_]:
            if down not in done:
                found[down] = max(found[down], found[id_] + 1)
                waiting[down] -= 1
                if waiting[down] == 0:
                    ready.append(down)
    return found


def ordered(found: Mapping[str, int], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The nodes of each layer, in an order with few crossings: by the middle of their neighbours, back and forth.

    Source: Sugiyama, Tagawa & Toda, IEEE Trans. SMC 11 (1981), 109–125 (the barycentre method).
    """
    rows: list[list[str]] = [[] for _ in range(max(found.values(), default=-1) + 1)]
    for id_, layer in found.items():
        rows[layer].append(id_)
    near: dict[str, list[str]] = {id_: [] for id_ in found}
    for a, b in edges:
        if a in near and b in near:
            near[a].append(b)
            near[b].append(a)
    for round_ in range(_ROUNDS):
        for i in range(len(rows)) if round_ % 2 == 0 else reversed(range(len(rows))):
            other = rows[i - 1] if round_ % 2 == 0 and i else rows[i + 1] if round_ % 2 and i + 1 < len(rows) else []
            place = {id_: y for y, id_ in enumerate(other)}
            middles = {}
            for y, id_ in enumerate(rows[i]):
                known = [place[n] for n in near[id_] if n in place]
                middles[id_] = sum(known) / len(known) if known else float(y)
            rows[i] = sorted(rows[i], key=middles.__getitem__)
    return rows


def _symbol(node: Node) -> str:
    return {"component": "roundRect", "stream": "rect", "task": "circle"}.get(node.type, "roundRect")
