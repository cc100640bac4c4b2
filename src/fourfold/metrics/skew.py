"""Train/serve skew in words: the differences of a column between two places.

A distance alone does not say whether a column is missing, has another type or unit, spells its categories differently,
or has really changed. Each of these leaves its own mark in the counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from fourfold.counts import Counts
from fourfold.counts.binning import Binning
from fourfold.metrics import drift, quality
from fourfold.metrics.declared import METRICS
from fourfold.metrics.intervals import wilson
from fourfold.model import Value

# Conversions that people forget: the factor, and its meaning.
_UNITS = {
    1.609344: "miles to kilometres", 0.3048: "feet to metres", 2.54: "inches to centimetres",
    0.45359237: "pounds to kilograms", 60.0: "minutes to seconds, or hours to minutes", 3600.0: "hours to seconds",
    24.0: "days to hours", 86_400.0: "days to seconds", 7.0: "weeks to days", 100.0: "a share to percent",
    1_000.0: "a factor of a thousand", 1e6: "a factor of a million", 1e9: "a factor of a billion",
}  # fmt: skip
_BOOLEAN = {"0.0": "0", "1.0": "1", "true": "true", "false": "false"}  # how these may be written
_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_SHIFTED = 0.1  # of the stability index, beyond sampling noise: from here on the column has changed
_EXPLAINED = 0.02  # beyond sampling noise: the most stability index that a conversion leaves
_LARGEST = 1e100  # beyond this, and below its inverse, no unit is sought: the squares of such numbers overflow
_SAME_UNIT = 0.02  # a factor nearer to 1 than this is none


@dataclasses.dataclass(frozen=True, slots=True)
class SkewFinding:
    """One difference. ``kind`` is "schema", "type", "unit", "categories", "nulls" or "distribution"."""

    kind: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class ColumnSkew:
    """A column in two places: the distance between its distributions, and the findings."""

    column: str
    findings: tuple[SkewFinding, ...]
    distances: Mapping[str, Value]

    def __repr__(self) -> str:
        return f"<{self.column!r} {self.words}>"

    @property
    def words(self) -> str:
        """All findings in words, or "alike"."""
        return "; ".join(f"{finding.kind}: {finding.message}" for finding in self.findings) or "alike"

    @property
    def severity(self) -> float:
        """The order of attention, from 0 to 3: missing columns and other types first, then by distance."""
        kinds = {finding.kind for finding in self.findings}
        far = self.distances.get("jensen_shannon", Value(0.0))
        beyond = max((far.value or 0.0) - (far.expected or 0.0), 0.0)
        return 2.0 * bool(kinds & {"schema", "type"}) + bool(kinds) * 0.5 + 0.5 * beyond


def column_skew(column: str, current: Mapping[str, Counts], reference: Mapping[str, Counts]) -> ColumnSkew:
    """The findings about a column, from its counts by kind; a missing column has none."""
    if not current or not reference:
        where = "the reference" if not current else "this stream"
        return ColumnSkew(column, (SkewFinding("schema", f"only in {where}"),), {})
    shared = [kind for kind in ("category", "numeric") if kind in current and kind in reference]
    if (finding := _boolean(current, reference)) is not None:
        return ColumnSkew(column, (finding, *_nulls(current, reference)), {})
    if not shared or ("numeric" in current) != ("numeric" in reference):
        message = f"{_type(current)} here, {_type(reference)} in the reference"
        return ColumnSkew(column, (SkewFinding("type", message), *_nulls(current, reference)), {})
    distances = {}
    for metric in (metric for several in METRICS.values() for metric in several if metric.distance):
        kind = next((kind for kind in metric.kinds if kind in shared), None)
        if kind is not None:
            distances[metric.name] = metric.of(current[kind], reference[kind])
    findings = [*_nulls(current, reference)]
    found = None
    if "numeric" in shared and _changed(current["numeric"], reference["numeric"]):
        found = _unit(current["numeric"], reference["numeric"])
    if found is None and shared[0] == "category" and _changed(current["category"], reference["category"]):
        found = _categories(current["category"], reference["category"])
    if found is None and _changed(current[shared[-1]], reference[shared[-1]]):
        found = _shift(current[shared[-1]], reference[shared[-1]])
    return ColumnSkew(column, (*findings, *([found] if found else [])), distances)


def _type(kinds: Mapping[str, Counts]) -> str:
    return "numbers" if "numeric" in kinds else "text" if "category" in kinds else "neither numbers nor text"


def _boolean(current: Mapping[str, Counts], reference: Mapping[str, Counts]) -> SkewFinding | None:
    """Whether one side has booleans and the other the same as text or as 1 and 0."""
    written = [_values(kinds) for kinds in (current, reference)]
    told = all(values and values <= {"true", "false"} for values in written)
    if told and ("numeric" in current) != ("numeric" in reference):
        words = ["booleans" if "numeric" in kinds else "text" for kinds in (current, reference)]
        return SkewFinding("type", f"the same values in another type: {words[0]} here, {words[1]} in the reference")
    for one, other in (written, written[::-1]):
        if one and other and one <= {"true", "false"} and other <= {"0", "1"}:
            words = ["true and false" if values is one else "1 and 0" for values in written]
            return SkewFinding("type", f"the same values in another type: {words[0]} here, {words[1]} in the reference")
    return None


def _values(kinds: Mapping[str, Counts]) -> set[str] | None:
    """The values of a column, including whole numbers, if all are counted; else None."""
    if "category" in kinds:
        labels = _shares(kinds["category"])
        return None if kinds["category"].tally("other") else {_BOOLEAN.get(label.casefold(), label) for label in labels}
    found = kinds.get("numeric")
    if found is None or (found.low, found.high) != (0.0, 1.0):
        return None
    if found.binning is None:
        return None
    n, centre, scale = int(found.counts.sum()), found.binning.centre, found.binning.scale
    first, second = (found.sum(name) for name in ("offset", "offset_squared"))
    between = (
        n * centre * (1 - centre) + (1 - 2 * centre) * scale * first - scale * scale * second
    )  # the sum of x·(1 − x)
    return {"0", "1"} if abs(between) < 1e-6 * n else None


def _changed(current: Counts, reference: Counts) -> bool:
    value = drift.population_stability_index(current, reference)
    return value.value is not None and value.value > _SHIFTED + 2 * (value.expected or 0.0)


def _nulls(current: Mapping[str, Counts], reference: Mapping[str, Counts]) -> list[SkewFinding]:
    """Whether the share of missing values differs by more than sampling noise and one in a hundred."""
    sides = []
    for kinds in (current, reference):
        counts = kinds.get("numeric") or next(iter(kinds.values()))
        rows = counts.tally("rows")
        if rows <= 0:
            return []
        sides.append((counts.missing / rows, *wilson(counts.missing, rows)))
    (here, low, high), (there, other_low, other_high) = sides
    if abs(here - there) < 0.01 or (low <= other_high and other_low <= high):
        return []
    return [SkewFinding("nulls", f"{here:.1%} missing here, {there:.1%} in the reference")]


def _unit(current: Counts, reference: Counts) -> SkewFinding | None:
    """A conversion (a factor, or a factor and an offset) after which the two distributions agree."""
    points = []
    for counts in (current, reference):
        found = [quality.quantile(counts, q).value for q in _QUANTILES]
        if any(value is None for value in found):
            return None
        points.append(np.array(found, np.float64))
    here, there = points
    if not all(1 / _LARGEST < float(np.abs(side).max()) < _LARGEST for side in points):
        return None
    candidates = []
    if (there**2).sum() > 0:
        candidates.append((float(here @ there / (there @ there)), 0.0))
        spread = np.abs(there) > 1e-12
        if spread.any():
            candidates.append((float(np.median(here[spread] / there[spread])), 0.0))
    if np.ptp(there) > 0:
        slope, offset = np.polyfit(there, here, 1)
        candidates.append((float(slope), float(offset)))
    for factor, offset in candidates:
        if not (math.isfinite(factor) and factor > 0) or abs(math.log(factor)) < _SAME_UNIT:
            continue
        known = _known(factor, offset)
        if known is None and offset:  # any two bell curves agree after some factor and offset
            continue
        factor = known[0] if known else factor
        after = drift.population_stability_index(_converted(current, factor, offset), reference)
        if after.value is not None and after.value <= _EXPLAINED + 3 * (after.expected or 0.0):
            words = f": {known[1]}?" if known else ""
            plus = f" {'+' if offset > 0 else '−'} {abs(offset):.4g}" if offset else ""
            return SkewFinding("unit", f"another unit: values here are {factor:.4g} × the reference's{plus}{words}")
    return None


def _known(factor: float, offset: float) -> tuple[float, str] | None:
    if abs(factor / 1.8 - 1) < 0.05 and abs(offset - 32) < 3:
        return 1.8, "degrees Celsius to Fahrenheit"
    if abs(factor * 1.8 - 1) < 0.05 and abs(offset + 17.8) < 2:
        return 1 / 1.8, "degrees Fahrenheit to Celsius"
    if offset:
        return None
    for unit, name in _UNITS.items():
        for value, words in ((unit, name), (1 / unit, f"the inverse of {name}")):
            if abs(factor / value - 1) < 0.03:
                return value, words
    return None


def _converted(counts: Counts, factor: float, offset: float) -> Counts:
    """The counts of (value − offset) ÷ factor: the bins stay, their positions move."""
    assert counts.binning is not None
    old = counts.binning
    binning = Binning((old.centre - offset) / factor, old.scale / factor, old.bits, -1)
    return dataclasses.replace(
        counts, binning=binning, low=(counts.low - offset) / factor, high=(counts.high - offset) / factor
    )  # fmt: skip


def _categories(current: Counts, reference: Counts) -> SkewFinding | None:
    """New and lost values, and whether they are old ones in another spelling."""
    here, there = (_shares(counts) for counts in (current, reference))
    new = {label: share for label, share in here.items() if label not in there}
    gone = {label: share for label, share in there.items() if label not in here}
    if not new or sum(new.values()) < 0.01:
        return None
    spelled = {_plain(label): label for label in there}
    same = {label: spelled[_plain(label)] for label in new if _plain(label) in spelled}
    if sum(new[label] for label in same) > 0.5 * sum(new.values()):
        label = max(same, key=lambda one: new[one])
        return SkewFinding(
            "categories", f"the same values in another spelling: {label!r} here, {same[label]!r} in the reference"
        )
    message = f"{len(new)} values are new ({sum(new.values()):.1%} of the records: {_some(new)})"
    if gone:
        message += f", {len(gone)} are gone ({sum(gone.values()):.1%} of the reference: {_some(gone)})"
    return SkewFinding("categories", message)


def _shares(counts: Counts) -> dict[str, float]:
    total = max(int(counts.counts.sum()) + counts.tally("other"), 1)
    return {label: n / total for label, n in zip(counts.labels, counts.counts.tolist(), strict=True) if n > 0}


def _plain(label: str) -> str:
    return "".join(character for character in label.casefold() if character.isalnum())


def _some(shares: Mapping[str, float]) -> str:
    heavy = sorted(shares, key=lambda label: -shares[label])[:3]
    return ", ".join(map(repr, heavy)) + (", …" if len(shares) > 3 else "")


def _shift(current: Counts, reference: Counts) -> SkewFinding:
    if current.kind != "numeric":
        here, there = _shares(current), _shares(reference)
        most = max({*here, *there}, key=lambda label: abs(here.get(label, 0.0) - there.get(label, 0.0)))
        message = f"{most!r} is {here.get(most, 0.0):.1%} of the records, {there.get(most, 0.0):.1%} of the reference"
        return SkewFinding("distribution", f"other shares: {message}")
    medians = [quality.quantile(counts, 0.5).value for counts in (current, reference)]
    return SkewFinding(
        "distribution", f"another distribution: median {medians[0]:.4g} here, {medians[1]:.4g} in the reference"
    )
