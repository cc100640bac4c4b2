"""A page's content: data as JSON has them, and charts by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fourfold.charts import Chart
from fourfold.charts.spec import plain
from fourfold.query.table import arrow_of

Plain = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Page:
    """What a page shows. ``rows`` is its main table, for downloads, or what makes it, where that takes long."""

    data: Plain
    charts: Mapping[str, Chart] = dataclasses.field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] | Callable[[], Sequence[Mapping[str, Any]]] = ()

    def to_json(self) -> Plain:
        """For the page."""
        return {"data": self.data, "charts": {name: plain(chart) for name, chart in self.charts.items()}}

    def listed(self) -> Sequence[Mapping[str, Any]]:
        """The main table."""
        return self.rows() if callable(self.rows) else self.rows

    def table(self) -> Any:
        """The main table in Arrow: nested fields become columns of their own (``value.low``)."""
        return arrow_of([flat(row) for row in self.listed()])


def flat(row: Mapping[str, Any]) -> Plain:
    """A row without nested objects.

    >>> flat({"slice": {"carrier": "AA"}, "n": 3})
    {'slice.carrier': 'AA', 'n': 3}
    """
    found: Plain = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": known for inner, known in flat(value).items()}
        else:
            found[name] = value
    return found
