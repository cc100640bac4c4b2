"""How objectives stand, worked out once for all pages."""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.query.reader import Reader
from fourfold.watch.objectives import ObjectiveView, report


def standings(reader: Reader, now: float) -> Sequence[ObjectiveView]:
    """All objectives as of a minute; remembered until the state changes, as estimates take long."""
    minute = now // 60 * 60
    return reader.database.remember((report, reader.project, minute), lambda: report(reader, minute))
