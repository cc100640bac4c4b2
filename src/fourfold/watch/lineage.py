"""What feeds what: components, the streams that they log or pass on, and the tasks on these. Pure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from fourfold.model import Task, Where

Node = tuple[str, str]  # "component", "stream" or "task", and its name


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The edges, by upstream node: what is read feeds the component that reads it, and this what it puts out."""

    feeds: Mapping[Node, frozenset[Node]]

    @staticmethod
    def of(
        edges: Iterable[tuple[str, str, str]],
        inputs: Iterable[tuple[str, str]],
        streams: Mapping[str, str],
        tasks: Iterable[Task],
    ) -> Lineage:
        """From what components pass on, and read (see ``state.runs``), streams' components ("": unknown), and tasks."""
        read = {f"{component}.{name}": component for component, name in inputs}
        pairs: list[tuple[Node, Node]] = []
        for up, down, name in edges:
            pairs += [(("component", up), ("component", down))]
            if f"{down}.{name}" in streams:
                pairs += [(("component", up), ("stream", f"{down}.{name}"))]
        for stream, name in streams.items():
            if stream in read:
                pairs += [(("stream", stream), ("component", read[stream]))]
            elif name:
                pairs += [(("component", name), ("stream", stream))]
        for task in tasks:
            pairs += [(("stream", stream), ("task", task.name)) for stream in task.streams]
        feeds: dict[Node, set[Node]] = {}
        for up_node, down_node in pairs:
            feeds.setdefault(up_node, set()).add(down_node)
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
        """How much feeds a place: the fewer, the further upstream it is.

        What a component reads is where the component itself is, and what it puts out comes after both.
        """
        near = {_node(where)}
        if where.stream:
            stream = "stream", where.stream
            near |= {stream, *(node for node in self.feeds.get(stream, ()) if node[0] == "component")}
        return len(frozenset[Node]().union(*map(self.upstream, near)))

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
