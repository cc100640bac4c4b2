"""Columns that are identifiers: nearly all their values are distinct, so that counting these tells nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fourfold import counts
from fourfold.fold import NEVER, nearly_all_distinct
from fourfold.fold.columns import LEAST_OF_IDENTIFIER
from fourfold.metrics.quality import distinct
from fourfold.model import DAY, EVERYTHING
from fourfold.state import catalogue, series


def recognise_identifiers(
    connection: sa.Connection, project: str, owner: str, known: Mapping[str, int], totals: pa.Table
) -> None:
    """Take text columns for identifiers whose newest day shows that they are.

    Judged by what the state holds of that day, so that records that come a few at a time are judged too. It holds
    from the day after all that is counted: what is corrected or deleted later is taken back as it was counted.

    Args:
        connection: a transaction.
        project: the project.
        owner: whose columns they are.
        known: its text columns, with the event times from which they are identifiers.
        totals: the counts of the days that were added to.
    """
    undecided = [column for column, start in known.items() if start == NEVER]
    if not undecided or not totals.num_rows:
        return
    texts = totals.filter(
        (pc.field("kind") == "category")
        & (pc.field("slice") == EVERYTHING)
        & (pc.field("bucket") == pc.max(totals["bucket"]))
        & pc.field("column").isin(undecided)
    )
    columns = [column.column for column in counts.rows(texts, {}) if _is_identifier(column)]
    span = series.span(connection, project, owner, DAY) if columns else None
    if span is not None:
        catalogue.set_identifiers(connection, project, owner, dict.fromkeys(columns, span[1] + DAY))


def _is_identifier(column: counts.Counts) -> bool:
    values = column.tally("rows") - column.tally("null")
    return values >= LEAST_OF_IDENTIFIER and nearly_all_distinct(values, distinct(column).value or 0.0)
