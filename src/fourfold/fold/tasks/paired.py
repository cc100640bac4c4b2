"""Two model versions on the same keys: their predictions and the label, counted together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fourfold.counts.binning import Floats
from fourfold.fold.category import labels_of
from fourfold.fold.columns import Plan
from fourfold.fold.tasks.classes import paired_names
from fourfold.fold.tasks.joined import Joined, Measured, at

COLUMN = "versions"


def measure(records: Joined, known: Plan, moment: int) -> Measured | None:
    """What is counted of each pair of predictions; None for kinds whose versions are not compared.

    ``records`` has ``other``, the second version's prediction, beside ``prediction``.
    """
    in_time = records.in_time
    nothing = np.zeros(0, np.int64)
    match records.task.kind:
        case "binary":
            sides = [records.numbers(name) for name in ("prediction", "other")]
            threshold, label = records.task.threshold, records.numbers("label")
            assert threshold is not None
            judged = in_time & np.isfinite(sides[0]) & np.isfinite(sides[1]) & np.isin(label, (0, 1))
            first, second = (pa.array((side >= threshold).astype(np.int8)) for side in sides)
            actual = pa.array((label == 1).astype(np.int8), mask=~judged)
        case "multiclass":
            first, second, actual = (records.texts(name) for name in ("prediction", "other", "label"))
            present = [~side.is_null().to_numpy(zero_copy_only=False) for side in (first, second, actual)]
            judged = in_time & present[0] & present[1] & present[2]
        case "regression":
            label, *sides = (records.numbers(name) for name in ("label", "prediction", "other"))
            judged = in_time & np.isfinite(label) & np.isfinite(sides[0]) & np.isfinite(sides[1])
            sums: dict[str, Floats] = {}
            with np.errstate(over="ignore", invalid="ignore"):
                errors = [at(np.abs(label - side), judged) for side in sides]
                for name, power in (("absolute", 1), ("squared", 2)):
                    difference = errors[0] ** power - errors[1] ** power
                    sums |= {name: difference, f"{name}_squared": difference**2}
            return Measured(
                "paired_errors",
                {"pairs": judged},
                sums,
                nothing,
                nothing,
                column=COLUMN,
                magnitudes=[np.maximum(*errors)],
            )
        case _:
            return None
    at_records = np.flatnonzero(judged)
    texts = [labels_of(side.cast(pa.string())) for side in (actual, first, second)]
    codes, names = paired_names(texts[1], texts[2], at_records)
    codes, names = paired_names(texts[0].take(pa.array(at_records)), names.take(pa.array(codes)), np.arange(len(codes)))
    return Measured("paired", {"pairs": judged}, {}, at_records, codes, names, column=COLUMN)
