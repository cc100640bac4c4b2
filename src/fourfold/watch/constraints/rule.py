"""Value constraints, and which records violate them: pure, on the counts of a frame or of a bucket."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from enum import StrEnum

import numpy as np

from fourfold.counts import Counts
from fourfold.metrics.quality import distinct
from fourfold.model.incident import Finding, Group, Severity, Where

_LEAST_SHARE, _LEAST = 0.005, 3  # of an inferred set of values, or of no nulls: fewer records are nobody's fault
_MARGIN = 3  # times as many nulls as are likely, where none was seen in so many records
_SHOWN = 5  # values in a text


class Rule(StrEnum):
    """What a constraint says; named as in ``expects=`` and in fourfold.toml."""

    MIN = "min"
    MAX = "max"
    NULL = "null"
    VALUES = "values"
    UNIQUE = "unique"
    TYPE = "type"


class Status(StrEnum):
    """Whether a constraint counts: it is learned first, or declared, or was changed or muted by the user."""

    LEARNING = "learning"
    ACTIVE = "active"
    DECLARED = "declared"
    MUTED = "muted"
    SETTLED = "settled"  # violated for so long that this is the new normal


@dataclasses.dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint on a column, or on a whole stream where ``column`` is empty (``unique``: its keys).

    ``limit`` is that of ``min`` and ``max``, ``values`` the set or the one type. It is based on ``n`` records in
    ``buckets`` days; ``needed`` is how many days it takes. It holds from the day ``since`` on.
    """

    stream: str
    column: str
    rule: Rule
    status: Status
    limit: float | None = None
    values: tuple[str, ...] = ()
    n: int = 0
    buckets: int = 0
    needed: int = 0
    since: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether a violation is a finding."""
        return self.status in (Status.ACTIVE, Status.DECLARED)

    @property
    def name(self) -> str:
        """The column with its stream, or the stream."""
        return f"{self.stream}.{self.column}" if self.column else self.stream


@dataclasses.dataclass(frozen=True, slots=True)
class Breach:
    """How many records violate a constraint, of how many, and what they have instead."""

    records: int
    n: int
    instead: str = ""
    value: float | None = None

    @property
    def share(self) -> float:
        """The share of the records."""
        return self.records / self.n if self.n else 1.0


Columns = Mapping[str, Counts | Iterable[Counts]]


def violations(columns: Columns, constraints: Iterable[Constraint], at: float = 0.0) -> list[Finding]:
    """The constraints that some records violate.

    Args:
        columns: the counts of each column of a frame: of one kind, or of each. Those of the whole frame are "".
        constraints: what to check; those that do not count, and those on other columns, are left out.
        at: the frame's time, in seconds since 1970.
    """
    found = []
    for constraint in constraints:
        counted = columns.get(constraint.column) if constraint.counts else None
        if counted is None:
            continue
        kinds = [counted] if isinstance(counted, Counts) else list(counted)
        if (breached := breach(constraint, kinds)) is not None:
            found.append(told(constraint, breached, at, at, at))
    return found


def breach(constraint: Constraint, kinds: Iterable[Counts]) -> Breach | None:
    """Which records violate a constraint; None if none does, or if too few do for one that was only inferred."""
    kinds = list(kinds)
    if constraint.rule is Rule.TYPE and any(c.kind in constraint.values and _present(c) > 0 for c in kinds):
        return None  # some of its values are as they were
    if constraint.rule is Rule.VALUES and not any(counts.kind == "category" for counts in kinds):
        others = max(kinds, key=_present)  # numbers that are not counted one by one: none is a value of the set
        return Breach(_present(others), others.tally("rows"), "numbers") if _present(others) > 0 else None
    for counts in kinds:
        found = _CHECKS[constraint.rule](constraint, counts)
        if found is not None and (constraint.status is not Status.ACTIVE or _is_large(constraint, found)):
            return found
    return None


_SUGGEST = "'fourfold suggest' shows the line that changes or mutes it."
_QUARANTINE = "Values of another type are null here and kept aside: 'fourfold doctor' names them. "


def told(constraint: Constraint, found: Breach, began: float, before: float, seen: float) -> Finding:
    """A violation as a finding; times in seconds since 1970."""
    kind = "negative_values" if (constraint.rule, constraint.limit) == (Rule.MIN, 0) else _KINDS[constraint.rule]
    low, high = (constraint.limit, None) if constraint.rule is Rule.MIN else (None, constraint.limit)
    severity = Severity.NOTICE if found.share < 0.001 else Severity.TICKET if found.share < 0.2 else Severity.PAGE
    if constraint.rule is Rule.VALUES and severity is Severity.PAGE and constraint.status is Status.ACTIVE:
        severity = Severity.TICKET
    return Finding(
        series=f"constraint:{constraint.name}:{constraint.rule}", kind=kind,
        what=f"{found.records:,} of {found.n:,} records have {_said(constraint, found)}",
        group=Group.STATELESS_SINGLE, severity=severity,
        where=Where(stream=constraint.stream, column=constraint.column),
        began=began, began_low=before, began_high=began, seen=seen,
        value=found.value if found.value is not None else float(found.records), n=found.n,
        low=low, high=high, weight=1.0 + 10 * found.share,
        advice=_QUARANTINE + _SUGGEST if constraint.rule is Rule.NULL else _SUGGEST,
    )  # fmt: skip


def _said(constraint: Constraint, found: Breach) -> str:
    match constraint.rule:
        case Rule.MIN if constraint.limit == 0:
            return f"values below zero (down to {found.value:g})" if found.value is not None else "values below zero"
        case Rule.MIN | Rule.MAX:
            word = "below" if constraint.rule is Rule.MIN else "above"
            return f"values {word} {constraint.limit:g} ({found.value:g})"
        case Rule.NULL:
            return "nulls, and none before had"
        case Rule.VALUES:
            return f"values that are not expected ({found.instead})"
        case Rule.UNIQUE:
            return "repeated values" if constraint.column else "repeated keys"
        case Rule.TYPE:
            return f"{found.instead} instead of {' or '.join(_TYPES.get(kind, kind) for kind in constraint.values)}"


_KINDS = {
    Rule.MIN: "out_of_range", Rule.MAX: "out_of_range", Rule.NULL: "nulls", Rule.VALUES: "new_category",
    Rule.UNIQUE: "duplicates", Rule.TYPE: "wrong_type",
}  # fmt: skip


def _is_large(constraint: Constraint, found: Breach) -> bool:
    """Whether enough records violate an inferred constraint; one value out of range is enough."""
    if constraint.rule in (Rule.MIN, Rule.MAX, Rule.TYPE):
        return True
    if constraint.rule in (Rule.NULL, Rule.UNIQUE) and constraint.n:
        likely = _MARGIN * found.n / constraint.n  # at most, where none of n has it (the rule of three)
        if found.records <= _MARGIN * likely:
            return False
    return found.records >= _LEAST and found.share >= _LEAST_SHARE


def _below(constraint: Constraint, counts: Counts) -> Breach | None:
    assert constraint.limit is not None
    if counts.kind != "numeric":
        return None
    infinite = counts.tally("negative_infinity")
    if not infinite and not counts.low < constraint.limit:
        return None
    if constraint.limit == 0:
        outside = counts.tally("negative")
    else:
        outside = max(_outside(counts, -math.inf, constraint.limit), int(counts.low < constraint.limit))
    lowest = -math.inf if infinite else counts.low
    return Breach(outside + infinite, counts.tally("rows"), value=lowest) if outside + infinite > 0 else None


def _above(constraint: Constraint, counts: Counts) -> Breach | None:
    assert constraint.limit is not None
    if counts.kind != "numeric":
        return None
    infinite = counts.tally("positive_infinity")
    if not infinite and not counts.high > constraint.limit:
        return None
    outside = max(_outside(counts, constraint.limit, math.inf), int(counts.high > constraint.limit)) + infinite
    return Breach(outside, counts.tally("rows"), value=math.inf if infinite else counts.high)


def _outside(counts: Counts, low: float, high: float) -> int:
    """How many values lie in a range, by the middles of their bins."""
    if counts.binning is None or not len(counts.bins):
        return 0
    middles = np.clip(counts.binning.middles(counts.bins), counts.low, counts.high)
    return int(counts.counts[(middles > low) & (middles < high)].sum())


def _nulls(constraint: Constraint, counts: Counts) -> Breach | None:
    if counts.kind not in ("numeric", "category", "opaque") or counts.missing <= 0:
        return None
    return Breach(counts.missing, counts.tally("rows"))


def _values(constraint: Constraint, counts: Counts) -> Breach | None:
    if counts.kind != "category":
        return None
    known = set(constraint.values)
    new = {
        text: n for text, n in zip(counts.labels, counts.counts.tolist(), strict=True) if n > 0 and text not in known
    }
    if (other := counts.tally("other")) > 0:
        new["…"] = other
    if not new:
        return None
    most = sorted(new, key=lambda text: (-new[text], text))[:_SHOWN]
    more = f", and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
    return Breach(int(sum(new.values())), counts.tally("rows"), ", ".join(map(repr, most)) + more)


def _repeated(constraint: Constraint, counts: Counts) -> Breach | None:
    if counts.kind == "stream" and not constraint.column:
        repeated = counts.tally("duplicate_key")
        return Breach(repeated, counts.tally("rows")) if repeated > 0 else None
    if counts.kind != "category" or not constraint.column:
        return None
    values = counts.tally("rows") - counts.tally("null")
    different = distinct(counts).high  # of an estimate, its upper end
    repeated = values - math.ceil(different) if different is not None else 0
    return Breach(repeated, counts.tally("rows")) if repeated > 0 else None


def _type(constraint: Constraint, counts: Counts) -> Breach | None:
    if (present := _present(counts)) <= 0 or counts.kind in constraint.values:
        return None
    return Breach(present, counts.tally("rows"), _TYPES.get(counts.kind, counts.kind))


def _present(counts: Counts) -> int:
    """How many values there are."""
    return counts.tally("rows") - counts.missing if counts.kind in _TYPES else 0


_TYPES = {"numeric": "numbers", "category": "texts", "opaque": "other values"}
_CHECKS = {
    Rule.MIN: _below, Rule.MAX: _above, Rule.NULL: _nulls, Rule.VALUES: _values, Rule.UNIQUE: _repeated,
    Rule.TYPE: _type,
}  # fmt: skip
