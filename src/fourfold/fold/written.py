"""Plans as JSON: what a process that counts frames elsewhere is told of a stream's columns."""

from __future__ import annotations

import dataclasses
from typing import Any

from fourfold.counts.binning import Binning
from fourfold.fold.columns import Plan


def plan_to_plain(plan: Plan) -> dict[str, Any]:
    """A plan as values that JSON has.

    >>> plan_from_plain(plan_to_plain(Plan().adding({"age": Binning(40.0, 12.5)}))) == Plan().adding(
    ...     {"age": Binning(40.0, 12.5)}
    ... )
    True
    """
    return {
        "binnings": {
            name: [[start, *dataclasses.astuple(binning)] for start, binning in versions]
            for name, versions in plan.binnings.items()
        },
        "small": sorted(plan.small),
        "identifiers": dict(plan.identifiers),
    }


def plan_from_plain(written: Any) -> Plan:
    """The plan of these values.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: they are none.
    """
    return Plan(
        {
            str(name): [
                (int(start), Binning(float(centre), float(scale), int(bits), int(version)))
                for start, centre, scale, bits, version in versions
            ]
            for name, versions in written["binnings"].items()
        },
        frozenset(map(str, written["small"])),
        {str(name): int(start) for name, start in written["identifiers"].items()},
    )
