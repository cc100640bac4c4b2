"""How far the counts of a store are behind its log."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from fourfold.model.names import Owner


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What the newest round of counting left undone.

    ``behind`` says whether something sent or declared is not counted yet. ``stuck`` holds the streams whose records
    wait in the inbox because their logs cannot be read or written, with the reason; ``damaged`` the owners whose logs
    cannot be read, likewise; ``left`` the messages of a newer fourfold, which stay in the inbox.
    """

    behind: bool = False
    stuck: Mapping[str, str] = dataclasses.field(default_factory=dict)
    damaged: Mapping[Owner, str] = dataclasses.field(default_factory=dict)
    left: frozenset[str] = frozenset()
