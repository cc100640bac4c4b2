"""Predictions joined with their labels: the outcome of each, and how a kind of task says what to count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts import KINDS, LARGEST, OUTCOMES, SIZED, sizes_of
from fourfold.counts.binning import Binning, Floats, Ints
from fourfold.fold.columns import Plan
from fourfold.fold.counted import Counted, counts_table
from fourfold.fold.groups import Groups
from fourfold.fold.numeric import count_codes, fold_numeric
from fourfold.model import Task

Mask = npt.NDArray[np.bool_]
DELAY_BINNING = Binning(0.0, 60.0)  # delays are read within 0.8 % of (delay + a minute)


@dataclasses.dataclass(frozen=True)
class Joined:
    """Joined records, a row each: a prediction with or without its label, or a label without a prediction.

    Columns that each table has: ``time`` (of the prediction; of an orphan, the label's), ``prediction``, ``label``,
    ``delay`` (label time − prediction time, in seconds), ``orphan``, ``has_label`` (there is one that is not null),
    ``withdrawn`` (the newest label is null) and ``pairs`` (how many rows a plain join makes of it).
    """

    table: pa.Table
    task: Task

    def numbers(self, name: str) -> Floats:
        """A column as floats, with NaN for null."""
        values: Floats = pc.fill_null(self.table[name].cast(pa.float64()), float("nan")).to_numpy()
        return values

    def texts(self, name: str) -> pa.StringArray:
        """A column as text."""
        return self.table[name].cast(pa.string()).combine_chunks()

    def flags(self, name: str) -> Mask:
        """A boolean column."""
        flags: Mask = self.table[name].combine_chunks().to_numpy(zero_copy_only=False)
        return flags

    @property
    def in_time(self) -> Mask:
        """Whether a label has come, and within the horizon."""
        return self.flags("has_label") & ~self.flags("orphan") & ~self.late

    @property
    def late(self) -> Mask:
        """Whether the label came after the horizon."""
        return self.flags("has_label") & ~self.flags("orphan") & (self.numbers("delay") > self.task.horizon)

    def outcomes(self, scored: Mask, valid: Mask) -> dict[str, Mask | Ints]:
        """The tallies of ``OUTCOMES``.

        Args:
            scored: where the prediction is one that can be judged.
            valid: where the label is, too.
        """
        orphan, in_time, pairs = self.flags("orphan"), self.in_time, self.table["pairs"].to_numpy()
        found = {
            "predicted": ~orphan,
            "labelled": scored & valid & in_time,
            "unscored": ~orphan & ~scored,
            "invalid_label": in_time & ~valid,
            "expired": self.late,
            "withdrawn": ~orphan & self.flags("withdrawn"),
            "orphan": orphan,
            "matched": pairs > 0,
            "pairs": pairs,
        }
        assert tuple(found) == OUTCOMES
        return found


@dataclasses.dataclass(frozen=True)
class Measured:
    """What to count of each of n records, as a kind of task decides.

    ``tallies`` are masks, or numbers, of n; ``sums`` are n numbers, zero where a record adds nothing. Entry i counts
    the bin ``codes[i]``, or the label ``names[codes[i]]``, for the record ``records[i]``. ``series`` are numeric
    columns to be counted too, each with the records that have a value. ``magnitudes`` say how large the addends are
    of records that may be of any size (see ``counts.sizes_of``).
    """

    kind: str
    tallies: Mapping[str, Mask | Ints]
    sums: Mapping[str, Floats]
    records: Ints
    codes: Ints
    names: pa.Array | None = None
    series: Mapping[str, tuple[Floats, Mask]] = dataclasses.field(default_factory=dict)
    column: str = ""
    magnitudes: Sequence[Floats] = ()

    def where(self, mask: Mask) -> Measured:
        """Of the records of the mask only."""
        if mask.all():
            return self
        kept = mask[self.records]
        place = np.cumsum(mask) - 1
        return dataclasses.replace(
            self,
            tallies={name: values[mask] for name, values in self.tallies.items()},
            sums={name: values[mask] for name, values in self.sums.items()},
            records=place[self.records[kept]],
            codes=self.codes[kept],
            series={name: (values[mask], valid[mask]) for name, (values, valid) in self.series.items()},
            magnitudes=[values[mask] for values in self.magnitudes],
        )


def count(measured: Measured, groups: Groups, plan: Plan, moment: int) -> pa.Table:
    """The counts of the records in their groups: for the task, for each size of its addends; for its series."""
    parts = [_counted(part, into, plan, moment, size) for size, part, into in _by_size(measured, groups)]
    for name, (series, valid) in measured.series.items():
        if valid.any():
            used = groups.where(valid).used()
            parts.append(fold_numeric(series[valid], None, used, name, plan.binning(name, moment)))
    return counts_table(parts)


def _by_size(measured: Measured, groups: Groups) -> Iterator[tuple[int, Measured, Groups]]:
    """The records by the size of their addends: those of an unusual size are counted in separate rows."""
    if not measured.magnitudes:
        yield 0, measured, groups
        return
    sizes = sizes_of(measured.magnitudes, [*measured.sums.values()])
    for size in np.unique(sizes).tolist():
        mask = sizes == size
        yield size, measured.where(mask), groups if mask.all() else groups.where(mask).used()


def _counted(measured: Measured, groups: Groups, plan: Plan, moment: int, addends: int) -> Counted:
    """The task's counts of records whose addends are of one size."""
    kind, size = KINDS[measured.kind], groups.size
    tallies = np.zeros((size, len(kind.tallies)), np.int64)
    for i, name in enumerate(kind.tallies):
        values = measured.tallies[name]
        if values.dtype == np.bool_:
            tallies[:, i] = np.bincount(groups.ids[values], minlength=size)
        else:
            np.add.at(tallies[:, i], groups.ids, values)
    sums = np.zeros((size, len(measured.sums)))
    for i, numbers in enumerate(measured.sums.values()):
        held = numbers if addends == 0 else np.where(np.abs(numbers) <= LARGEST, numbers, np.inf)
        sums[:, i] = np.bincount(groups.ids, held, minlength=size)
    entries = Groups(groups.ids[measured.records], groups.slices, groups.buckets)
    codes, counted, sizes = count_codes(measured.codes, entries)
    labels = measured.names.take(pa.array(codes)) if measured.names is not None else None
    return Counted(
        measured.column,
        measured.kind,
        groups,
        tallies,
        sums,
        binning=plan.binning(measured.column, moment).version + SIZED * addends,
        bins=codes if labels is None else None,
        labels=labels,
        counts=counted,
        sizes=sizes,
    )


def delays(records: Joined, labelled: Mask) -> dict[str, tuple[Floats, Mask]]:
    """The series of the labels' delays."""
    return {"delay": (records.numbers("delay"), labelled)}


def at(values: Floats, mask: Mask) -> Floats:
    """The values where the mask is, else zero: what is added up."""
    return np.where(mask, values, 0.0)
