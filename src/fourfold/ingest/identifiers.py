"""Columns that are identifiers: nearly all their values are distinct, so that counting these tells nothing."""

from __future__ import annotations

import pyarrow as pa
import sqlalchemy as sa

from fourfold import counts
from fourfold.fold import NEVER, nearly_all_distinct
from fourfold.metrics.quality import distinct
from fourfold.model import DAY, EVERYTHING
from fourfold.state import catalogue, series


def recognise_identifiers(connection: sa.Connection, project: str, owner: str, added: pa.Table) -> None:
    """Take text columns for identifiers whose newest day shows that they are.

    Judged by what the state holds of that day, so that records that come a few at a time are judged too. It holds
    from the day after all that is counted: what is corrected or deleted later is taken back as it was counted.
    """
    known = catalogue.identifiers(connection, project, owner)
    here = set(zip(added["column"].to_pylist(), added["kind"].to_pylist(), added["slice"].to_pylist(), strict=True))
    open_ = {name for name, start in known.items() if start == NEVER and (name, "category", EVERYTHING) in here}
    if not open_:
        return
    wanted = [row for row in series.find(connection, project, owner)
              if row[1] in open_ and row[2] == "category" and row[3] == EVERYTHING]  # fmt: skip
    day = max(added["bucket"].to_pylist()) // DAY * DAY
    table = series.select(connection, wanted, DAY, day, day + DAY)
    found = [c.column for c in counts.rows(table, {}) if nearly_all_distinct(_values(c), distinct(c).value or 0.0)]
    span = series.span(connection, project, owner, DAY)
    if found and span is not None:
        catalogue.set_identifiers(connection, project, owner, dict.fromkeys(found, span[1] + DAY))


def _values(found: counts.Counts) -> int:
    return found.tally("rows") - found.tally("null")
