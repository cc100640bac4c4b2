"""Ranked differences as a page shows them: each a pair of small distributions."""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.charts import Chart, Pair
from fourfold.query.filtered import chosen
from fourfold.reports.box import Difference
from fourfold.views.asking import Asked, path
from fourfold.views.page import Plain

_LARGE, _MEDIUM, _SMALL = 0.35, 0.2, 0.1  # Hellinger distances, about Cohen's h of 0.8, 0.5 and 0.2 on two groups


def listed(
    found: Sequence[Difference], asked: Asked, prefix: str, names: tuple[str, str], charts: dict[str, Chart]
) -> list[Plain]:
    """The rows that are asked for, with a chart each."""
    rows = []
    for i, one in enumerate(found[asked.offset : asked.offset + asked.limit]):
        chart = f"{prefix}:{i}"
        groups = one.groups
        charts[chart] = Pair(f"{one.where} {one.name}", groups.labels, names, groups.shares)
        rows.append({**row(one), "chart": chart})
    return rows


def row(one: Difference) -> Plain:
    """One difference."""
    slices = one.kind in ("slice", "version") and one.value is not None
    text = chosen(one.name, one.value if one.value != "(none)" else None)
    column = one.kind == "column"
    inside, baseline = one.words
    href = path("columns", one.where, one.name) if column else path("streams", one.where) if slices else \
        path("runs", component=one.where)  # fmt: skip
    return {
        "kind": one.kind, "stream": one.where if column or slices else "", "where": one.where,
        "column": one.name if column else "", "name": one.name, "value": one.value, "effect": one.effect.value,
        "low": one.effect.low, "high": one.effect.high, "size": _size(one.sure),
        "usual": one.usual, "inside": {"n": one.inside, "words": inside},
        "baseline": {"n": one.baseline, "words": baseline}, "href": href,
        "only": text if slices else None, "without": text if slices else None,
    }  # fmt: skip


def _size(low: float) -> str:
    """How large an effect surely is, in words."""
    return "large" if low >= _LARGE else "medium" if low >= _MEDIUM else "small" if low >= _SMALL else "none"
