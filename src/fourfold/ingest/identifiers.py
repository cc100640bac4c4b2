"""Columns that are identifiers: nearly all their values are distinct, so that counting these tells nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import sqlalchemy as sa

from fourfold import counts
from fourfold.fold import NEVER, nearly_all_distinct
from fourfold.fold.columns import LEAST_OF_IDENTIFIER
from fourfold.metrics.quality import distinct
from fourfold.model import DAY, EVERYTHING
from fourfold.state import catalogue, series
from fourfold.state.series import Series


def recognise_identifiers(
    connection: sa.Connection, project: str, owner: str, added: pa.Table, owned: Sequence[Series]
) -> None:
    """Take text columns for identifiers whose newest day shows that they are.

    Judged by what the state holds of that day, so that records that come a few at a time are judged too. It holds
    from the day after all that is counted: what is corrected or deleted later is taken back as it was counted.
    ``owned`` are the owner's series.
    """
    new = set(zip(added["column"].to_pylist(), added["kind"].to_pylist(), added["slice"].to_pylist(), strict=True))
    texts = [row for row in owned if row[2] == "category" and row[3] == EVERYTHING and row[1:] in new]
    if not texts:
        return
    known = catalogue.identifiers(connection, project, owner)
    undecided = [row for row in texts if known.get(row[1]) == NEVER]
    if not undecided:
        return
    day = max(added["bucket"].to_pylist()) // DAY * DAY
    table = series.select(connection, undecided, DAY, day, day + DAY)
    columns = [column.column for column in counts.rows(table, {}) if _is_identifier(column)]
    span = series.span(connection, project, owner, DAY) if columns else None
    if span is not None:
        catalogue.set_identifiers(connection, project, owner, dict.fromkeys(columns, span[1] + DAY))


def _is_identifier(column: counts.Counts) -> bool:
    values = column.tally("rows") - column.tally("null")
    return values >= LEAST_OF_IDENTIFIER and nearly_all_distinct(values, distinct(column).value or 0.0)
