"""All faults, by their numbers in the list of twenty."""

from __future__ import annotations

from bench.faults.families import distributions, labels, runs, values
from bench.faults.fault import Fault

FAULTS: dict[int, Fault] = {
    fault.number: fault
    for fault in sorted(
        (*runs.FAULTS, *values.FAULTS, *distributions.FAULTS, *labels.FAULTS), key=lambda fault: fault.number
    )
}
