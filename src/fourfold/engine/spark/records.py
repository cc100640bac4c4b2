"""A stream's changed records, counted on the cluster: the records themselves, and the repetitions of a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold import counts
from fourfold.engine.drive import count_records, divided
from fourfold.engine.duckdb import parts_of
from fourfold.engine.duckdb.files import needed, sliced
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.engine.spark.partial import ROWS_A_PART, Passed, collected, combined
from fourfold.engine.spark.reading import ADDED, BEFORE, PLACES, REMOVED, Reading, Records, still_open, union
from fourfold.engine.spark.repeated import (
    FEW,
    Compare,
    CountRepetitions,
    Hashes,
    SubtractFirsts,
    parts_of_firsts,
    several_of,
)
from fourfold.fold import Plan
from fourfold.model.records import EVENT_TIME, KEY, users

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def fold_records(
    session: SparkSession, log: ChangedLog, splits: Splits, plan: Plan, extent: Extent, parts: int
) -> pa.Table:
    """The counts of a log's added and removed records, and of the repetitions of a key."""
    names = [*{*users(log.schema.names), KEY, EVENT_TIME} | sliced(log.schema, splits)]
    reading = Reading(log, {ADDED: names, REMOVED: names, BEFORE: [KEY]}, extent)
    compared = 1 + log.rows() // ROWS_A_PART
    frames = reading.counted(session, _CountRecords(extent, splits, plan, compared), parts)
    table, passed = collected(combined(union(frames), max(parts, compared), Compare(FEW // compared)))
    several = several_of(passed)
    if several is not None and not len(several):
        return table
    compared = parts_of_firsts(log, several)
    reading = Reading(log, dict.fromkeys(PLACES, needed(log.schema, (), splits)), extent)
    frames = reading.counted(session, CountRepetitions(extent, splits, several, compared), 1)
    repeated, _ = collected(combined(union(frames), compared, SubtractFirsts(extent, splits)))
    return counts.merge(table, repeated)


@dataclasses.dataclass(frozen=True)
class _CountRecords:
    """Counts records, and passes on the hashes of their keys; of earlier records these alone are asked for."""

    extent: Extent
    splits: Splits
    plan: Plan
    compared: int

    def __call__(self, records: Records) -> Iterator[pa.Table | Passed]:
        hashes, kept = Hashes(self.compared), divided(self.splits)
        for place, table in records:
            yield from hashes.add(table[KEY], earlier=place == BEFORE)
            if place != BEFORE and (changed := still_open(table, self.extent)).num_rows:
                batch = Batch(1 if place == ADDED else -1, changed, parts_of(changed, kept))
                yield from count_records(batch, self.splits, self.plan)
        yield from hashes.passed()
