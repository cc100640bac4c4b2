"""Ranked differences as a page shows them: each a pair of small distributions."""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.charts import Chart, Pair
from fourfold.model import Where
from fourfold.query.filtered import chosen
from fourfold.reports.box import Difference
from fourfold.views.asking import Asked, path
from fourfold.views.page import Plain
from fourfold.watch.lineage import Lineage, Node

_LARGE, _MEDIUM, _SMALL = 0.35, 0.2, 0.1  # Hellinger distances, about Cohen's h of 0.8, 0.5 and 0.2 on two groups


def gathered(found: Sequence[Difference], lineage: Lineage) -> list[list[Difference]]:
    """Differences, those of a column that passes through several streams in one: where it first is leads.

    Two are of the same column if they have its name, one feeds the other or something feeds both, and the effect of one
    lies in the interval of the other.
    """
    groups: list[list[Difference]] = []
    through: dict[tuple[str, str, Node], list[list[Difference]]] = {}
    for one in found:
        fed = lineage.upstream(("stream", one.where))
        keys = [(one.name, one.presence, place) for place in fed] if one.kind == "column" else []
        near = [group for key in keys for group in through.get(key, ())]
        group = next((g for g in near if g[0].effect.low <= one.effect.value <= g[0].effect.high), None)
        if group is None:
            group = []
            groups.append(group)
            for key in keys:
                through.setdefault(key, []).append(group)
        group.append(one)
    return [sorted(group, key=lambda one: lineage.depth(Where(stream=one.where))) for group in groups]


def listed(
    found: Sequence[Sequence[Difference]],
    asked: Asked,
    prefix: str,
    names: tuple[str, str],
    charts: dict[str, Chart],
) -> list[Plain]:
    """The rows that are asked for, with a chart each, and the other streams that have the same column."""
    rows = []
    for i, (one, *others) in enumerate(found[asked.offset : asked.offset + asked.limit]):
        chart = f"{prefix}:{i}"
        groups = one.groups
        charts[chart] = Pair(f"{one.where} {one.name}", groups.labels, names, groups.shares)
        also = [{"stream": other.where, "href": path("columns", other.where, other.name)} for other in others]
        rows.append({**row(one), "chart": chart, "also": also})
    return rows


def row(one: Difference) -> Plain:
    """One difference."""
    column, slices = one.kind == "column", one.kind in ("slice", "version")
    text = chosen(one.name, one.value if one.value != "(none)" else None) if slices and one.value is not None else None
    inside, baseline = one.words
    low, high = (None, None) if one.kind == "parameter" else (one.effect.low, one.effect.high)  # runs are no sample
    href = path("columns", one.where, one.name) if column else path("streams", one.where) if slices else \
        path("runs", component=one.where)  # fmt: skip
    return {
        "kind": one.kind, "stream": one.where if column or slices else "", "where": one.where,
        "column": one.name if column else "", "name": one.name, "value": one.value, "presence": one.presence,
        "effect": one.effect.value, "low": low, "high": high,
        "size": _size(one.sure) if one.is_known else "cannot be told yet",
        "usual": one.usual, "inside": {"n": one.inside, "words": inside},
        "baseline": {"n": one.baseline, "words": baseline}, "href": href,
        "only": text, "without": text,
    }  # fmt: skip


def _size(low: float) -> str:
    """How large an effect surely is, in words."""
    return "large" if low >= _LARGE else "medium" if low >= _MEDIUM else "small" if low >= _SMALL else "none"
