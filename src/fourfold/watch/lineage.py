"""What feeds what: components, the streams that they log or pass on, and the tasks on these. Pure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from fourfold.model import Task, Where

Node = tuple[str, str]  # "component", "stream" or "task", and its name


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The edges, by upstream node."""

    feeds: Mapping[Node, frozenset[Node]]

    @staticmethod
    def of(
        edges: Iterable[tuple[str, str]], streams: Mapping[str, str], tasks: Iterable[Task], parents: Iterable[str] = ()
    ) -> Lineage:
        """From the edges between components, each stream's component ("": unknown), and the tasks."""
        pairs: list[tuple[Node, Node]] = [(("component", up), ("component", down)) for up, down in edges]
        pairs += [(("component", name), ("stream", stream)) for stream, name in streams.items() if name]
        for task in tasks:
            pairs += [(("stream", stream), ("task", task.name)) for stream in task.streams]
        feeds: dict[Node, set[Node]] = {}
        for up, down in pairs:
            feeds.setdefault(up, set()).add(down)
        return Lineage({up: frozenset(downs) for up, downs in feeds.items()})

    @functools.cached_property
    def _ups(self) -> Mapping[Node, frozenset[Node]]:
        ups: dict[Node, set[Node]] = {}
        for up, downs in self.feeds.items():
            for down in downs:
                ups.setdefault(down, set()).add(up)
        return {down: frozenset(found) for down, found in ups.items()}

    def downstream(self, node: Node) -> frozenset[Node]:
        """All that a node feeds, with itself."""
        return self._reached(node, self.feeds)

    def upstream(self, node: Node) -> frozenset[Node]:
        """All that feeds a node, with itself."""
        return self._reached(node, self._ups)

    @staticmethod
    def _reached(node: Node, edges: Mapping[Node, frozenset[Node]]) -> frozenset[Node]:
        found, waiting = {node}, [node]
        while waiting:
            new = edges.get(waiting.pop(), frozenset()) - found
            found |= new
            waiting += new
        return frozenset(found)

    def touch(self, one: Where, other: Where) -> bool:
        """Whether two places are one, one feeds the other, or both feed the same task."""
        ends = _node(one), _node(other)
        if ends[0] == ends[1] or ends[1] in self.downstream(ends[0]) or ends[0] in self.downstream(ends[1]):
            return True
        shared = self.downstream(ends[0]) & self.downstream(ends[1])
        return any(kind == "task" for kind, _ in shared)

    def depth(self, where: Where) -> int:
        """How much feeds a place: the fewer, the further upstream it is."""
        return len(self.upstream(_node(where)))

    def tasks_of(self, where: Where) -> Sequence[str]:
        """The tasks that a place feeds, or is."""
        return sorted(name for kind, name in self.downstream(_node(where)) if kind == "task")


def _node(where: Where) -> Node:
    if where.component:
        return "component", where.component
    return ("stream", where.stream) if where.stream else ("task", where.task)


def component_of(stream: str, components: Iterable[str]) -> str:
    """The component that a stream is named after: "train.features" is of "train"; "" if there is none.

    >>> component_of("train.features", ["train", "predict"]), component_of("predict", ["predict"])
    ('train', 'predict')
    """
    fitting = [name for name in components if stream == name or stream.startswith(f"{name}.")]
    return max(fitting, key=len, default="")
