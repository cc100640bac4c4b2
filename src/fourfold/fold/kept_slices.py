"""The values of a dimension that have their own slice: all of them, or the most frequent if there are too many."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence

from fourfold.model import MOST_SLICES

SliceValues = tuple[str | None, ...]


@dataclasses.dataclass(frozen=True)
class KeptSlices:
    """The fixed choices of a dimension.

    ``edges`` holds, for each bucketed part, the buckets' inner edges, chosen from the first data seen. ``kept`` are the
    values with their own slice; once ``full``, further ones are counted as *other*.
    """

    edges: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    kept: frozenset[SliceValues] = frozenset()
    full: bool = False

    def admitting(self, heaviest: Sequence[SliceValues]) -> KeptSlices:
        """With further values, the most frequent first, as far as there is room; those already kept stay.

        The first values to fill the room keep it, so that earlier counts stay correct: if all come at once, as in the
        first count of a log, these are the most frequent of all.
        """
        new = [value for value in heaviest if value not in self.kept]
        if self.full or not new:
            return self
        room = MOST_SLICES - len(self.kept)
        return dataclasses.replace(self, kept=self.kept | set(new[:room]), full=len(new) > room)

    def to_json(self) -> str:
        """As text."""
        kept = sorted(map(list, self.kept), key=json.dumps)
        return json.dumps({"edges": dict(self.edges), "kept": kept, "full": self.full}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> KeptSlices:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        edges = {name: tuple(values) for name, values in fields["edges"].items()}
        return KeptSlices(edges, frozenset(map(tuple, fields["kept"])), fields["full"])


def bucket_names(edges: Sequence[float]) -> list[str]:
    """The names of the buckets between inner edges.

    >>> bucket_names([509.0, 888.0])
    ['< 509', '509 to < 888', '≥ 888']
    """
    if not edges:
        return ["all"]
    middle = [f"{low:.6g} to < {high:.6g}" for low, high in itertools.pairwise(edges)]
    return [f"< {edges[0]:.6g}", *middle, f"≥ {edges[-1]:.6g}"]
