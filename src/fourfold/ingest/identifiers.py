"""Identifier columns: nearly all their values are distinct, so that counting them by value is useless."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fourfold import counts
from fourfold.fold import NEVER, nearly_all_distinct
from fourfold.fold.columns import LEAST_OF_IDENTIFIER
from fourfold.metrics.quality import distinct
from fourfold.model import DAY, EVERYTHING, Owner
from fourfold.state import catalogue, series
from fourfold.state.adding import Added


def recognise_identifiers(
    connection: sa.Connection, project: str, known: Mapping[Owner, Mapping[str, int]], added: Added
) -> None:
    """Take text columns for identifiers whose newest day shows that they are.

    Judged by what the state holds of that day, so that records that come a few at a time are judged too. It holds
    from the day after all that is counted: what is corrected or deleted later is taken back as it was counted.

    Args:
        connection: a transaction.
        project: the project.
        known: each owner's text columns, with the event times from which they are identifiers.
        added: the counts that were added, of days.
    """
    undecided = {
        str(number): (owner, column)
        for owner, numbers in added.numbers.items()
        for (column, kind, key), number in numbers.items()
        if kind == "category" and key == EVERYTHING and known[owner].get(column) == NEVER
    }
    if not undecided:
        return
    days = added.totals.filter(pc.is_in(added.totals["column"], pa.array(list(undecided)))).sort_by("bucket")
    newest = {column.column: column for column in counts.rows(days, {})}
    starts: dict[Owner, dict[str, int]] = {}
    for number, column in newest.items():
        if _is_identifier(column):
            owner, name = undecided[number]
            span = series.span(connection, project, owner, DAY)
            assert span is not None
            starts.setdefault(owner, {})[name] = span[1] + DAY
    for owner, columns in starts.items():
        catalogue.set_identifiers(connection, project, owner, columns)


def _is_identifier(column: counts.Counts) -> bool:
    values = column.tally("rows") - column.tally("null")
    return values >= LEAST_OF_IDENTIFIER and nearly_all_distinct(values, distinct(column).value or 0.0)
